//! What is counted. Every thread has counters that only it writes; a scrape
//! adds them up, so that counting shares no cache line.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::{
    plan::Plan,
    tls::{Counts, Why},
};

/// Upper bounds of the latency buckets in microseconds.
const BOUNDS_US: [u64; 17] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000, 30_000_000,
];

/// Written by one thread, read by any.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

/// A thread's requests on one route.
#[derive(Debug, Default)]
pub(crate) struct RouteMetrics {
    begun: Counter,
    /// 1xx to 5xx; what else is counted as the last.
    classes: [Counter; 5],
    latency: [Counter; BOUNDS_US.len() + 1],
    latency_us: Counter,
}

#[derive(Debug, Default)]
pub(crate) struct ThreadMetrics {
    pub(crate) connections: Counter,
    pub(crate) connections_ended: Counter,
    pub(crate) connections_refused: Counter,
    pub(crate) handshakes_failed: Counts,
    pub(crate) malformed: Counter,
    pub(crate) floods: Counter,
    pub(crate) retries: Counter,
    pub(crate) tunnels: Counter,
    pub(crate) bytes_in: Counter,
    pub(crate) bytes_out: Counter,
}

/// All counters of all threads. Locked when a plan is installed and when it is
/// read, never by a request.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    routes: Mutex<BTreeMap<(String, String, usize), Arc<RouteMetrics>>>,
    threads: Mutex<BTreeMap<usize, Arc<ThreadMetrics>>>,
    pub(crate) from_snapshot: AtomicBool,
}

// === impl Counter ===

impl Counter {
    /// A load and a store: there is one writer, so nothing is lost.
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

// === impl RouteMetrics ===

impl RouteMetrics {
    pub(crate) fn began(&self) {
        self.begun.add(1);
    }

    pub(crate) fn ended(&self, status: u16, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.classes[usize::from(status / 100).clamp(1, 5) - 1].add(1);
        self.latency[BOUNDS_US.partition_point(|bound| *bound < us)].add(1);
        self.latency_us.add(us);
    }
}

// === impl Registry ===

impl Registry {
    pub(crate) fn thread(&self, thread: usize) -> Arc<ThreadMetrics> {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.entry(thread).or_default().clone()
    }

    pub(crate) fn route(&self, thread: usize, listener: &str, route: &str) -> Arc<RouteMetrics> {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        routes.entry((listener.into(), route.into(), thread)).or_default().clone()
    }

    /// Prometheus' text format.
    pub(crate) fn render(&self, plan: &Plan, log_dropped: u64) -> String {
        let mut out = String::new();
        self.render_routes(&mut out);
        self.render_threads(&mut out);
        render_clusters(plan, &mut out);
        head(
            &mut out,
            "access_log_dropped_total",
            "counter",
            "Lines that the disk was too slow for.",
        );
        let _ = writeln!(out, "polis_proxy_access_log_dropped_total {log_dropped}");
        let text = "1 while the configuration in force is what had been kept on disk.";
        head(&mut out, "from_snapshot", "gauge", text);
        let from_snapshot = u8::from(self.from_snapshot.load(Relaxed));
        let _ = writeln!(out, "polis_proxy_from_snapshot {from_snapshot}");
        out
    }

    fn render_routes(&self, out: &mut String) {
        let routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sums: BTreeMap<(&str, &str), Vec<&RouteMetrics>> = BTreeMap::new();
        for ((listener, route, _), metrics) in routes.iter() {
            sums.entry((listener, route)).or_default().push(metrics);
        }
        let sum = |all: &[&RouteMetrics], of: fn(&RouteMetrics) -> u64| -> u64 {
            all.iter().map(|m| of(m)).sum()
        };
        head(out, "requests_total", "counter", "Requests answered, by status class.");
        for ((listener, route), all) in &sums {
            for class in 0..5 {
                let count: u64 = all.iter().map(|metrics| metrics.classes[class].get()).sum();
                let _ = writeln!(
                    out,
                    "polis_proxy_requests_total{{listener=\"{listener}\",route=\"{route}\",class=\"{}xx\"}} {count}",
                    class + 1
                );
            }
        }
        head(out, "requests_in_flight", "gauge", "Requests begun and not answered.");
        for ((listener, route), all) in &sums {
            let ended: u64 = all.iter().flat_map(|m| &m.classes).map(Counter::get).sum();
            let count = sum(all, |metrics| metrics.begun.get()).saturating_sub(ended);
            let _ = writeln!(
                out,
                "polis_proxy_requests_in_flight{{listener=\"{listener}\",route=\"{route}\"}} {count}"
            );
        }
        head(
            out,
            "request_seconds",
            "histogram",
            "From a request's head to the end of its answer.",
        );
        for ((listener, route), all) in &sums {
            let labels = format!("listener=\"{listener}\",route=\"{route}\"");
            let mut count = 0;
            for (at, bound) in BOUNDS_US.iter().enumerate() {
                count += all.iter().map(|metrics| metrics.latency[at].get()).sum::<u64>();
                let bound = *bound as f64 / 1e6;
                let _ = writeln!(
                    out,
                    "polis_proxy_request_seconds_bucket{{{labels},le=\"{bound}\"}} {count}"
                );
            }
            count += all.iter().map(|metrics| metrics.latency[BOUNDS_US.len()].get()).sum::<u64>();
            let seconds = sum(all, |metrics| metrics.latency_us.get()) as f64 / 1e6;
            let _ =
                writeln!(out, "polis_proxy_request_seconds_bucket{{{labels},le=\"+Inf\"}} {count}");
            let _ = writeln!(out, "polis_proxy_request_seconds_sum{{{labels}}} {seconds}");
            let _ = writeln!(out, "polis_proxy_request_seconds_count{{{labels}}} {count}");
        }
    }

    fn render_threads(&self, out: &mut String) {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        type Of = fn(&ThreadMetrics) -> u64;
        let all: [(&str, &str, &str, Of); 9] = [
            ("connections", "gauge", "Connections of clients that are open.", |m| {
                m.connections.get() - m.connections_ended.get().min(m.connections.get())
            }),
            ("connections_total", "counter", "Connections of clients.", |m| m.connections.get()),
            ("connections_refused_total", "counter", "Connections beyond the limit.", |m| {
                m.connections_refused.get()
            }),
            ("malformed_total", "counter", "Requests that are no HTTP.", |m| m.malformed.get()),
            (
                "floods_total",
                "counter",
                "HTTP/2 connections ended for what their clients did.",
                |m| m.floods.get(),
            ),
            ("retries_total", "counter", "Tries beyond the first.", |m| m.retries.get()),
            ("tunnels_total", "counter", "Connections that carried bytes both ways.", |m| {
                m.tunnels.get()
            }),
            ("tunnel_bytes_in_total", "counter", "Bytes from clients in tunnels.", |m| {
                m.bytes_in.get()
            }),
            ("tunnel_bytes_out_total", "counter", "Bytes to clients in tunnels.", |m| {
                m.bytes_out.get()
            }),
        ];
        for (name, kind, help, of) in all {
            head(out, name, kind, help);
            let count: u64 = threads.values().map(|metrics| of(metrics)).sum();
            let _ = writeln!(out, "polis_proxy_{name} {count}");
        }
        let help = "TLS handshakes of clients that came to nothing, by reason.";
        head(out, "handshakes_failed_total", "counter", help);
        for (why, reason) in Why::ALL {
            let count: u64 = threads.values().map(|m| m.handshakes_failed.get(why)).sum();
            let _ =
                writeln!(out, "polis_proxy_handshakes_failed_total{{reason=\"{reason}\"}} {count}");
        }
    }
}

fn render_clusters(plan: &Plan, out: &mut String) {
    head(out, "cluster_requests_in_flight", "gauge", "Requests under way to a cluster.");
    for cluster in &plan.clusters {
        let count = cluster.load.requests.load(Relaxed);
        let _ = writeln!(
            out,
            "polis_proxy_cluster_requests_in_flight{{cluster=\"{}\"}} {count}",
            cluster.name
        );
    }
    head(out, "cluster_connections", "gauge", "HTTP/1.1 connections to a cluster.");
    for cluster in &plan.clusters {
        let count = cluster.load.connections.load(Relaxed);
        let _ = writeln!(
            out,
            "polis_proxy_cluster_connections{{cluster=\"{}\"}} {count}",
            cluster.name
        );
    }
    let help = "TLS handshakes with a cluster that came to nothing, by reason.";
    head(out, "cluster_handshakes_failed_total", "counter", help);
    for cluster in plan.clusters.iter().filter(|cluster| cluster.tls.is_some()) {
        for (why, reason) in Why::ALL {
            let count = cluster.load.handshakes_failed.get(why);
            let _ = writeln!(
                out,
                "polis_proxy_cluster_handshakes_failed_total{{cluster=\"{}\",reason=\"{reason}\"}} {count}",
                cluster.name
            );
        }
    }
    head(out, "cluster_overflows_total", "counter", "What a circuit breaker refused.");
    for cluster in &plan.clusters {
        let count = cluster.load.overflows.load(Relaxed);
        let _ = writeln!(
            out,
            "polis_proxy_cluster_overflows_total{{cluster=\"{}\"}} {count}",
            cluster.name
        );
    }
    head(out, "endpoint_requests_total", "counter", "Requests to an endpoint, by outcome.");
    for cluster in &plan.clusters {
        for endpoint in &cluster.endpoints {
            let (all, failed) =
                (endpoint.state.requests.load(Relaxed), endpoint.state.failures.load(Relaxed));
            let labels = format!("cluster=\"{}\",endpoint=\"{}\"", cluster.name, endpoint.address);
            let good = all.saturating_sub(failed);
            let _ = writeln!(
                out,
                "polis_proxy_endpoint_requests_total{{{labels},outcome=\"good\"}} {good}"
            );
            let _ = writeln!(
                out,
                "polis_proxy_endpoint_requests_total{{{labels},outcome=\"failed\"}} {failed}"
            );
        }
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP polis_proxy_{name} {help}\n# TYPE polis_proxy_{name} {kind}");
}
