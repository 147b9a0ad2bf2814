//! Counters of the controllers, and their Prometheus text.

use std::{
    fmt::Write,
    sync::atomic::{AtomicU64, Ordering},
};

/// A number that is counted up or set.
#[derive(Debug, Default)]
pub struct Number(AtomicU64);

#[derive(Debug, Default)]
pub struct Metrics {
    pub probes: Number,
    pub probes_answered: Number,
    pub suspects: Number,
    pub lost: Number,
    pub leads: Number,
    pub map_version: Number,
    pub map_conflicts: Number,
    pub shards_failed_over: Number,
    pub shards_sent_home: Number,
    pub shards_moved: Number,
    pub holds_reverted: Number,
    pub edges_asked: Number,
    pub edges_acknowledged: Number,
    /// Of the last batch, in milliseconds.
    pub acknowledge_ms: Number,
    pub fences_raised: Number,
    pub fences_refused: Number,
    pub shards_published: Number,
    /// Of the last one, in milliseconds.
    pub detect_ms: Number,
    pub decide_ms: Number,
    pub fence_ms: Number,
    pub publish_ms: Number,
    pub pods_created: Number,
    pub pods_deleted: Number,
}

// === impl Number ===

impl Number {
    pub fn add(&self, count: usize) {
        self.0.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

// === impl Metrics ===

impl Metrics {
    /// Prometheus text exposition, version 0.0.4.
    #[must_use]
    pub fn render(&self) -> String {
        let rows = [
            ("probes_total", "counter", "Probes sent to other centers.", &self.probes),
            ("probes_answered_total", "counter", "Probes answered in time.", &self.probes_answered),
            ("suspect_centers", "gauge", "Centers that do not answer us.", &self.suspects),
            ("lost_centers", "gauge", "Centers lost by evidence.", &self.lost),
            ("leader", "gauge", "1 while this process leads.", &self.leads),
            ("shard_map_version", "gauge", "Version of the shard map.", &self.map_version),
            ("edges_asked_total", "counter", "Edges asked to hold.", &self.edges_asked),
            (
                "edges_acknowledged_total",
                "counter",
                "Edges that held in time.",
                &self.edges_acknowledged,
            ),
            (
                "last_acknowledge_ms",
                "gauge",
                "Wait for the edges of the last batch.",
                &self.acknowledge_ms,
            ),
            (
                "shard_map_conflicts_total",
                "counter",
                "Lost races for the map.",
                &self.map_conflicts,
            ),
            (
                "shards_failed_over_total",
                "counter",
                "Shards moved off lost units.",
                &self.shards_failed_over,
            ),
            (
                "shards_sent_home_total",
                "counter",
                "Shards moved back home.",
                &self.shards_sent_home,
            ),
            ("shards_moved_total", "counter", "Shards moved on order.", &self.shards_moved),
            (
                "holds_reverted_total",
                "counter",
                "Shards sent back after a hold that lasted.",
                &self.holds_reverted,
            ),
            ("fences_raised_total", "counter", "Shard fences raised.", &self.fences_raised),
            (
                "fences_refused_total",
                "counter",
                "Raises refused by a newer epoch.",
                &self.fences_refused,
            ),
            (
                "shards_published_total",
                "counter",
                "Shards published as serving.",
                &self.shards_published,
            ),
            ("last_detect_ms", "gauge", "Silence before the last judgement.", &self.detect_ms),
            ("last_decide_ms", "gauge", "Commit of the last failover.", &self.decide_ms),
            ("last_fence_ms", "gauge", "Raise of the last fences.", &self.fence_ms),
            ("last_publish_ms", "gauge", "Publication of the last raise.", &self.publish_ms),
            ("pods_created_total", "counter", "Pods created.", &self.pods_created),
            ("pods_deleted_total", "counter", "Pods deleted.", &self.pods_deleted),
        ];
        let mut text = String::new();
        for (name, kind, help, number) in rows {
            let value = number.get();
            let name = format!("polis_controllers_{name}");
            writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}")
                .expect("writing to a string cannot fail");
        }
        text
    }
}
