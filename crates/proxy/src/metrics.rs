//! What the edge counts. Every thread has its own counters, which only it
//! writes; a scrape adds them up. So counting costs no shared cache line.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use http::StatusCode;
use topology::{MapVersion, Shard, UnitName};

use crate::config::Place;

/// Upper bounds of the latency buckets, in milliseconds: from a good answer
/// of a local unit to the longest deadline.
const LATENCY_BOUNDS_MS: [u64; 16] =
    [1, 2, 5, 10, 20, 50, 100, 200, 300, 500, 1_000, 2_000, 3_000, 5_000, 10_000, 30_000];

/// Classes 1xx to 5xx.
const CLASSES: usize = 5;
/// Shards are grouped by LDC's first digit, so that a lost unit stands out
/// without a series per shard; a part counts where its shard does.
const GROUPS: usize = 10;

/// Written by one thread, read by any.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

#[derive(Debug, Default)]
pub(crate) struct Histogram {
    buckets: [Counter; LATENCY_BOUNDS_MS.len() + 1],
    sum_us: Counter,
}

#[derive(Debug, Default)]
pub(crate) struct ThreadMetrics {
    /// By shard group and status class; the edge's own refusals included.
    by_group: [[Counter; CLASSES]; GROUPS],
    /// Requests refused before their shard was known.
    pub(crate) unrouted: Counter,
    by_unit: Mutex<BTreeMap<UnitName, Arc<UnitMetrics>>>,
    latency: Histogram,
    hold_wait: Histogram,
    pub(crate) hold_requests: Counter,
    pub(crate) hold_bytes: Counter,
    pub(crate) hold_refused: Counter,
    pub(crate) replays: Counter,
    pub(crate) misdirected: Counter,
    pub(crate) superseded: Counter,
    pub(crate) lost: Counter,
    pub(crate) connect_failures: Counter,
    pub(crate) upstream_connections: Counter,
    pub(crate) connections: Counter,
    pub(crate) connections_refused: Counter,
    pub(crate) requests_in_flight: Counter,
    pub(crate) table_version: Counter,
}

/// What one unit did with what was sent there: by this, a release that runs in
/// one group of units is compared with another.
#[derive(Debug, Default)]
pub(crate) struct UnitMetrics {
    /// Answers by status class.
    by_class: [Counter; CLASSES],
    /// From the start of the try that was answered to the answer's head.
    latency: Histogram,
    /// Tries that were sent and got no answer.
    unanswered: Counter,
}

/// One unit's counters, of all threads.
#[derive(Debug, Default)]
struct UnitTotals {
    by_class: [u64; CLASSES],
    buckets: [u64; LATENCY_BOUNDS_MS.len() + 1],
    sum_us: u64,
    unanswered: u64,
}

// === impl Counter ===

impl Counter {
    /// A load and a store: there is one writer, so nothing is lost.
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    pub(crate) fn sub(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_sub(n), Relaxed);
    }

    pub(crate) fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

// === impl Histogram ===

impl Histogram {
    fn record(&self, elapsed: Duration) {
        let us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        let index = LATENCY_BOUNDS_MS.partition_point(|bound| bound * 1_000 < us);
        self.buckets[index].add(1);
        self.sum_us.add(us);
    }
}

// === impl UnitMetrics ===

impl UnitMetrics {
    pub(crate) fn answered(&self, status: StatusCode, elapsed: Duration) {
        self.by_class[class(status)].add(1);
        self.latency.record(elapsed);
    }

    pub(crate) fn unanswered(&self) {
        self.unanswered.add(1);
    }
}

// === impl ThreadMetrics ===

impl ThreadMetrics {
    /// `hundred` is of the default layout.
    pub(crate) fn answered(&self, hundred: Shard, status: StatusCode, elapsed: Duration) {
        let group = usize::from(hundred.number() / 10).min(GROUPS - 1);
        self.by_group[group][class(status)].add(1);
        self.latency.record(elapsed);
    }

    pub(crate) fn held(&self, elapsed: Duration) {
        self.hold_wait.record(elapsed);
    }

    /// The counters of `unit`, to be kept by the caller: this takes a lock.
    pub(crate) fn unit(&self, unit: &UnitName) -> Arc<UnitMetrics> {
        let mut units = self.by_unit.lock().unwrap_or_else(PoisonError::into_inner);
        units.entry(unit.clone()).or_default().clone()
    }
}

fn class(status: StatusCode) -> usize {
    usize::from(status.as_u16() / 100).clamp(1, CLASSES) - 1
}

/// What every thread routes by at least.
pub(crate) fn oldest_table(threads: &[Arc<ThreadMetrics>]) -> MapVersion {
    let versions = threads.iter().map(|thread| thread.table_version.get());
    MapVersion(versions.min().unwrap_or_default())
}

/// All threads together, in Prometheus' text form (version 0.0.4).
pub(crate) fn render(place: &Place, version: MapVersion, threads: &[Arc<ThreadMetrics>]) -> String {
    let mut page = Page { text: String::with_capacity(8 << 10) };
    page.head("polis_edge_info", "gauge", "Where this edge stands.");
    let Place { city, center, unit } = place;
    page.line(
        "polis_edge_info",
        &format!("city=\"{city}\",center=\"{center}\",unit=\"{unit}\""),
        1,
    );

    page.head("polis_edge_requests_total", "counter", "Answers by shard group and status class.");
    for group in 0..GROUPS {
        for class in 0..CLASSES {
            let total = threads.iter().map(|thread| thread.by_group[group][class].get()).sum();
            if total > 0 {
                let labels = format!("shards=\"{group}0-{group}9\",class=\"{}xx\"", class + 1);
                page.line("polis_edge_requests_total", &labels, total);
            }
        }
    }
    page.head("polis_edge_unit_answers_total", "counter", "Answers of units by status class.");
    let units = unit_totals(threads);
    for (unit, totals) in &units {
        for (class, total) in totals.by_class.iter().enumerate().filter(|(_, total)| **total > 0) {
            let labels = format!("unit=\"{unit}\",class=\"{}xx\"", class + 1);
            page.line("polis_edge_unit_answers_total", &labels, *total);
        }
    }
    page.head("polis_edge_unit_unanswered_total", "counter", "Tries that a unit did not answer.");
    for (unit, totals) in units.iter().filter(|(_, totals)| totals.unanswered > 0) {
        let labels = format!("unit=\"{unit}\"");
        page.line("polis_edge_unit_unanswered_total", &labels, totals.unanswered);
    }
    page.head("polis_edge_unit_seconds", "histogram", "Time a unit takes to answer.");
    for (unit, totals) in &units {
        let labels = format!("unit=\"{unit}\"");
        page.buckets("polis_edge_unit_seconds", &labels, &totals.buckets, totals.sum_us);
    }
    page.histogram("polis_edge_request_seconds", "Time from head to answer.", threads, |t| {
        &t.latency
    });
    page.histogram("polis_edge_hold_seconds", "Time spent in the hold queue.", threads, |t| {
        &t.hold_wait
    });

    page.head("polis_edge_map_version", "gauge", "Version of the newest shard map seen.");
    page.line("polis_edge_map_version", "", version.0);
    // The slowest thread says what traffic may still be routed by.
    page.head("polis_edge_table_version", "gauge", "Version of the oldest table in use.");
    page.line("polis_edge_table_version", "", oldest_table(threads).0);

    type Get = fn(&ThreadMetrics) -> &Counter;
    let sums: [(&str, &str, &str, Get); 14] = [
        (
            "polis_edge_unrouted_total",
            "counter",
            "Requests refused before their shard was known.",
            |t| &t.unrouted,
        ),
        ("polis_edge_requests_in_flight", "gauge", "Requests not answered yet.", |t| {
            &t.requests_in_flight
        }),
        ("polis_edge_hold_requests", "gauge", "Requests in the hold queue.", |t| &t.hold_requests),
        ("polis_edge_hold_bytes", "gauge", "Bytes in the hold queue.", |t| &t.hold_bytes),
        (
            "polis_edge_hold_refused_total",
            "counter",
            "Requests refused by a full hold queue.",
            |t| &t.hold_refused,
        ),
        ("polis_edge_replays_total", "counter", "Tries after the first.", |t| &t.replays),
        ("polis_edge_misdirected_total", "counter", "Answers 421 of a fence.", |t| &t.misdirected),
        (
            "polis_edge_superseded_total",
            "counter",
            "Tries given up because the shard moved.",
            |t| &t.superseded,
        ),
        ("polis_edge_lost_total", "counter", "Tries whose connection broke.", |t| &t.lost),
        (
            "polis_edge_connect_failures_total",
            "counter",
            "Connections to endpoints that failed to open.",
            |t| &t.connect_failures,
        ),
        ("polis_edge_upstream_connections", "gauge", "Connections open to endpoints.", |t| {
            &t.upstream_connections
        }),
        ("polis_edge_connections", "gauge", "Connections open from users.", |t| &t.connections),
        (
            "polis_edge_connections_refused_total",
            "counter",
            "Connections closed at the bound.",
            |t| &t.connections_refused,
        ),
        ("polis_edge_threads", "gauge", "Threads that carry requests.", |_| &ONE),
    ];
    for (name, kind, help, get) in sums {
        page.head(name, kind, help);
        page.line(name, "", threads.iter().map(|thread| get(thread).get()).sum());
    }
    page.text
}

static ONE: Counter = Counter(AtomicU64::new(1));

fn unit_totals(threads: &[Arc<ThreadMetrics>]) -> BTreeMap<UnitName, UnitTotals> {
    let mut totals: BTreeMap<UnitName, UnitTotals> = BTreeMap::new();
    for thread in threads {
        let units = thread.by_unit.lock().unwrap_or_else(PoisonError::into_inner);
        for (unit, metrics) in units.iter() {
            let total = totals.entry(unit.clone()).or_default();
            for (total, counter) in total.by_class.iter_mut().zip(&metrics.by_class) {
                *total += counter.get();
            }
            for (total, counter) in total.buckets.iter_mut().zip(&metrics.latency.buckets) {
                *total += counter.get();
            }
            total.sum_us += metrics.latency.sum_us.get();
            total.unanswered += metrics.unanswered.get();
        }
    }
    totals
}

struct Page {
    text: String,
}

// === impl Page ===

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &str, value: u64) {
        let _ = match labels {
            "" => writeln!(self.text, "{name} {value}"),
            labels => writeln!(self.text, "{name}{{{labels}}} {value}"),
        };
    }

    fn histogram(
        &mut self,
        name: &str,
        help: &str,
        threads: &[Arc<ThreadMetrics>],
        get: impl Fn(&ThreadMetrics) -> &Histogram,
    ) {
        self.head(name, "histogram", help);
        let buckets = std::array::from_fn(|index| {
            threads.iter().map(|thread| get(thread).buckets[index].get()).sum()
        });
        let sum_us: u64 = threads.iter().map(|thread| get(thread).sum_us.get()).sum();
        self.buckets(name, "", &buckets, sum_us);
    }

    /// One series of a histogram.
    fn buckets(
        &mut self,
        name: &str,
        labels: &str,
        buckets: &[u64; LATENCY_BOUNDS_MS.len() + 1],
        sum_us: u64,
    ) {
        let separator = if labels.is_empty() { "" } else { "," };
        let mut total = 0;
        for (index, count) in buckets.iter().enumerate() {
            total += count;
            let bound = match LATENCY_BOUNDS_MS.get(index) {
                Some(bound) => (*bound as f64 / 1_000.0).to_string(),
                None => "+Inf".into(),
            };
            let labels = format!("{labels}{separator}le=\"{bound}\"");
            self.line(&format!("{name}_bucket"), &labels, total);
        }
        let braced = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        let _ = writeln!(self.text, "{name}_sum{braced} {}", sum_us as f64 / 1e6);
        self.line(&format!("{name}_count"), labels, total);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_added_up_and_buckets_are_cumulative() {
        let place = Place {
            city: "east".parse().expect("name"),
            center: "east-1".parse().expect("name"),
            unit: "rz01".parse().expect("name"),
        };
        let threads = [Arc::new(ThreadMetrics::default()), Arc::new(ThreadMetrics::default())];
        for (thread, ms) in threads.iter().zip([1, 40_000]) {
            let shard = Shard::new(42).expect("a shard");
            thread.answered(shard, StatusCode::CREATED, Duration::from_millis(ms));
            let unit = thread.unit(&"rz03".parse().expect("name"));
            unit.answered(StatusCode::CREATED, Duration::from_millis(ms));
            unit.unanswered();
        }
        let text = render(&place, MapVersion(7), &threads);
        for line in [
            "polis_edge_requests_total{shards=\"40-49\",class=\"2xx\"} 2",
            "polis_edge_unit_answers_total{unit=\"rz03\",class=\"2xx\"} 2",
            "polis_edge_request_seconds_bucket{le=\"0.001\"} 1",
            "polis_edge_request_seconds_bucket{le=\"30\"} 1",
            "polis_edge_request_seconds_bucket{le=\"+Inf\"} 2",
            "polis_edge_request_seconds_sum 40.001",
            "polis_edge_unit_seconds_bucket{unit=\"rz03\",le=\"0.001\"} 1",
            "polis_edge_unit_seconds_sum{unit=\"rz03\"} 40.001",
            "polis_edge_unit_seconds_count{unit=\"rz03\"} 2",
            "polis_edge_unit_unanswered_total{unit=\"rz03\"} 2",
            "polis_edge_map_version 7",
            "polis_edge_threads 2",
        ] {
            assert!(text.lines().any(|known| known == line), "{line} is missing in\n{text}");
        }
    }
}
