//! Counters of an agent, in Prometheus' text format.

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicU64, Ordering},
};

#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub pods: Number,
    pub restarts: Number,
    pub probe_failures: Number,
    pub events_dropped: Number,
    pub log_streams: Number,
    pub sessions: Number,
}

#[derive(Debug, Default)]
pub(crate) struct Number(AtomicU64);

// === impl Number ===

impl Number {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    pub(crate) fn sub(&self, n: u64) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

// === impl Metrics ===

impl Metrics {
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for (name, kind, help, number) in [
            ("pods", "gauge", "Pods on this node.", &self.pods),
            ("container_restarts_total", "counter", "Containers started again.", &self.restarts),
            ("probe_failures_total", "counter", "Probes that failed.", &self.probe_failures),
            ("events_dropped_total", "counter", "Events over the bound.", &self.events_dropped),
            ("log_streams", "gauge", "Logs being read.", &self.log_streams),
            ("sessions", "gauge", "Commands and port forwards of clients.", &self.sessions),
        ] {
            let value = number.get();
            let written = writeln!(
                text,
                "# HELP polis_agent_{name} {help}\n# TYPE polis_agent_{name} {kind}\npolis_agent_{name} {value}"
            );
            written.expect("writing to a String succeeds");
        }
        text
    }
}
