//! Counts and latencies, in Prometheus' text form.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

/// Upper bounds of the latency buckets in seconds: from a read out of memory
/// to the request timeout.
const BUCKETS: [f64; 9] = [0.001, 0.005, 0.025, 0.1, 0.25, 1.0, 5.0, 15.0, 60.0];

/// What a request is counted under. All are from closed sets, so that callers
/// cannot make series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Labels {
    pub verb: &'static str,
    pub group: &'static str,
    pub resource: &'static str,
}

#[derive(Default)]
pub struct Metrics {
    requests: Mutex<BTreeMap<(Labels, u16), u64>>,
    latency: Mutex<BTreeMap<Labels, Histogram>>,
    /// Health checks that were answered well, whose beat takes no lock.
    beats: AtomicU64,
    pub in_flight: AtomicI64,
    pub watches: AtomicI64,
}

#[derive(Clone, Default)]
struct Histogram {
    counts: [u64; BUCKETS.len()],
    count: u64,
    sum_s: f64,
}

// === impl Labels ===

impl Labels {
    pub const OTHER: Labels = Labels { verb: "other", group: "", resource: "" };
}

// === impl Metrics ===

impl Metrics {
    /// Watches are counted, but how long they last is no latency.
    pub fn record(&self, labels: Labels, code: u16, took: Duration) {
        self.count(labels, code);
        if labels.verb != "watch" {
            let mut latency = self.latency.lock().unwrap_or_else(PoisonError::into_inner);
            latency.entry(labels).or_default().record(took.as_secs_f64());
        }
    }

    /// Health checks are counted, but how long they take is not kept.
    pub fn record_beat(&self, code: u16) {
        match code {
            200 => {
                self.beats.fetch_add(1, Ordering::Relaxed);
            }
            _ => self.count(Labels::OTHER, code),
        }
    }

    fn count(&self, labels: Labels, code: u16) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry((labels, code)).or_default() += 1;
    }

    pub fn show(&self) -> String {
        let mut out = String::with_capacity(4096);
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        header(out, "apiserver_request_total", "counter", "Requests, by what was asked and code.")?;
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone();
        *requests.entry((Labels::OTHER, 200)).or_default() += self.beats.load(Ordering::Relaxed);
        for ((labels, code), count) in requests {
            writeln!(out, "apiserver_request_total{{{labels},code=\"{code}\"}} {count}")?;
        }
        let name = "apiserver_request_duration_seconds";
        header(out, name, "histogram", "Time from the request's head to its answer's.")?;
        let latency = self.latency.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (labels, histogram) in latency {
            for (bound, count) in BUCKETS.iter().zip(histogram.counts) {
                writeln!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {count}")?;
            }
            let Histogram { count, sum_s, .. } = histogram;
            writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {count}")?;
            writeln!(out, "{name}_sum{{{labels}}} {sum_s}")?;
            writeln!(out, "{name}_count{{{labels}}} {count}")?;
        }
        header(out, "apiserver_current_inflight_requests", "gauge", "Requests being served.")?;
        let in_flight = self.in_flight.load(Ordering::Relaxed);
        writeln!(out, "apiserver_current_inflight_requests {in_flight}")?;
        header(out, "apiserver_longrunning_requests", "gauge", "Watches and logs being served.")?;
        writeln!(out, "apiserver_longrunning_requests {}", self.watches.load(Ordering::Relaxed))
    }
}

fn header(out: &mut String, name: &str, kind: &str, help: &str) -> std::fmt::Result {
    writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

// === impl Histogram ===

impl Histogram {
    fn record(&mut self, seconds: f64) {
        for (bound, count) in BUCKETS.iter().zip(&mut self.counts) {
            *count += u64::from(seconds <= *bound);
        }
        self.count += 1;
        self.sum_s += seconds;
    }
}

impl std::fmt::Display for Labels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Labels { verb, group, resource } = self;
        write!(f, "verb=\"{verb}\",group=\"{group}\",resource=\"{resource}\"")
    }
}
