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

use crate::{request::path::Place, resource::Text, subresource::Subresource, verbs::Verb};

/// Upper bounds of the latency buckets in seconds: from a read out of memory
/// to the request timeout.
const BUCKETS: [f64; 10] = [0.001, 0.005, 0.025, 0.1, 0.25, 1.0, 5.0, 15.0, 30.0, 60.0];

/// What a request is counted under. Kinds are those that are served, so that
/// callers cannot make series.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Labels {
    /// As kube-apiserver counts: `GET`, `LIST`, `POST`.
    pub verb: &'static str,
    pub group: Text,
    pub version: Text,
    pub resource: Text,
    pub subresource: &'static str,
    /// `cluster`, `namespace` or `resource`: how much was asked about.
    pub scope: &'static str,
}

#[derive(Default)]
pub struct Metrics {
    requests: Mutex<BTreeMap<(Labels, u16), u64>>,
    latency: Mutex<BTreeMap<Labels, Histogram>>,
    /// Health checks that were answered well, whose beat takes no lock.
    beats: AtomicU64,
    pub in_flight: AtomicI64,
    pub mutating_in_flight: AtomicI64,
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
    pub const OTHER: Labels = Labels {
        verb: "other",
        group: Text::Borrowed(""),
        version: Text::Borrowed(""),
        resource: Text::Borrowed(""),
        subresource: "",
        scope: "",
    };

    pub fn of(verb: Verb, place: &Place) -> Labels {
        let resource = &place.resource;
        let connects = place.subresource.is_some_and(Subresource::connects);
        Labels {
            verb: if connects { CONNECT } else { method(verb) },
            group: resource.group.clone(),
            version: resource.version.clone(),
            resource: resource.plural.clone(),
            subresource: place.subresource.map_or("", Subresource::as_str),
            scope: match (&place.name, &place.namespace) {
                (Some(_), _) => "resource",
                (None, Some(_)) => "namespace",
                (None, None) => "cluster",
            },
        }
    }

    /// It goes on for as long as the client wants.
    fn is_long(&self) -> bool {
        matches!(self.verb, WATCH | CONNECT)
    }
}

const WATCH: &str = "WATCH";
const CONNECT: &str = "CONNECT";

fn method(verb: Verb) -> &'static str {
    match verb {
        Verb::Get => "GET",
        Verb::List => "LIST",
        Verb::Watch => WATCH,
        Verb::Create => "POST",
        Verb::Update => "PUT",
        Verb::Patch => "PATCH",
        Verb::Delete => "DELETE",
        Verb::DeleteCollection => "DELETECOLLECTION",
    }
}

// === impl Metrics ===

impl Metrics {
    /// Watches are counted, but how long they last is no latency.
    pub fn record(&self, labels: Labels, code: u16, took: Duration) {
        self.count(labels.clone(), code);
        if !labels.is_long() {
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
        let latency = self.latency.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // Dashboards ask for both; they differ in Kubernetes by the time that
        // webhooks take, which is not told apart here.
        for name in ["apiserver_request_duration_seconds", "apiserver_request_sli_duration_seconds"]
        {
            header(out, name, "histogram", "Time from the request's head to its answer's.")?;
            for (labels, histogram) in &latency {
                histogram.write(out, name, labels)?;
            }
        }
        header(out, "apiserver_current_inflight_requests", "gauge", "Requests being served.")?;
        for (kind, count) in [("mutating", &self.mutating_in_flight), ("readOnly", &self.in_flight)]
        {
            let count = count.load(Ordering::Relaxed);
            writeln!(
                out,
                "apiserver_current_inflight_requests{{request_kind=\"{kind}\"}} {count}"
            )?;
        }
        header(out, "apiserver_longrunning_requests", "gauge", "Watches and logs being served.")?;
        writeln!(out, "apiserver_longrunning_requests {}", self.watches.load(Ordering::Relaxed))
    }
}

fn header(out: &mut String, name: &str, kind: &str, help: &str) -> std::fmt::Result {
    writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

// === impl Histogram ===

impl Histogram {
    fn write(&self, out: &mut String, name: &str, labels: &Labels) -> std::fmt::Result {
        for (bound, count) in BUCKETS.iter().zip(self.counts) {
            writeln!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {count}")?;
        }
        let Histogram { count, sum_s, .. } = self;
        writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {count}")?;
        writeln!(out, "{name}_sum{{{labels}}} {sum_s}")?;
        writeln!(out, "{name}_count{{{labels}}} {count}")
    }

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
        let Labels { verb, group, version, resource, subresource, scope } = self;
        write!(f, "verb=\"{verb}\",group=\"{group}\",version=\"{version}\",")?;
        write!(f, "resource=\"{resource}\",subresource=\"{subresource}\",scope=\"{scope}\",")?;
        f.write_str("component=\"apiserver\"")
    }
}
