//! Counters of an engine, as they stood at one moment.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Upper bounds of the histogram's buckets in seconds, etcd's for its own
/// write-ahead log: doubling from 1 ms.
pub const SYNC_SECONDS_BOUNDS: [f64; 14] = [
    0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096,
    8.192,
];

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Batches made durable.
    pub batches: u64,
    /// Group commits, each with one sync, that it took.
    pub syncs: u64,
    /// Time spent in group commits.
    pub sync_time: Duration,
    /// Syncs by duration: one count for each of [`SYNC_SECONDS_BOUNDS`], not
    /// cumulative, and the last for those above.
    pub sync_seconds: [u64; SYNC_SECONDS_BOUNDS.len() + 1],
    /// On disk; zero where that has no meaning.
    pub disk_bytes: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    batches: AtomicU64,
    syncs: AtomicU64,
    sync_us: AtomicU64,
    sync_seconds: [AtomicU64; SYNC_SECONDS_BOUNDS.len() + 1],
    /// Moving average over about [`RECENT_SYNCS`].
    recent_us: AtomicU64,
}

const RECENT_SYNCS: u64 = 8;

// === impl Counters ===

impl Counters {
    pub(crate) fn synced(&self, batches: u64, took: Duration) {
        self.batches.fetch_add(batches, Relaxed);
        self.syncs.fetch_add(1, Relaxed);
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.sync_us.fetch_add(took_us, Relaxed);
        // One thread at a time gets here.
        let recent_us = self.recent_us.load(Relaxed);
        let moved = recent_us - recent_us / RECENT_SYNCS + took_us / RECENT_SYNCS;
        self.recent_us.store(moved, Relaxed);
        let seconds = took.as_secs_f64();
        let bucket = SYNC_SECONDS_BOUNDS.partition_point(|bound| *bound < seconds);
        self.sync_seconds[bucket].fetch_add(1, Relaxed);
    }

    /// How long a sync takes of late.
    pub(crate) fn recent(&self) -> Duration {
        Duration::from_micros(self.recent_us.load(Relaxed))
    }

    pub(crate) fn read(&self, disk_bytes: u64) -> Metrics {
        Metrics {
            batches: self.batches.load(Relaxed),
            syncs: self.syncs.load(Relaxed),
            sync_time: Duration::from_micros(self.sync_us.load(Relaxed)),
            sync_seconds: std::array::from_fn(|i| self.sync_seconds[i].load(Relaxed)),
            disk_bytes,
        }
    }
}
