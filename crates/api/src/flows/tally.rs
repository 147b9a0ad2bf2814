//! What is counted of one schema's requests, for `/metrics`. Only additions:
//! requests pass here at every hour.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use super::queues::Refusal;

/// Upper bounds of the buckets of waiting, in seconds: kube-apiserver's.
pub const BUCKETS_S: [f64; 13] =
    [0.0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0];

#[derive(Default)]
pub struct Tally {
    pub dispatched: AtomicU64,
    pub executing: AtomicU64,
    pub seats: AtomicU64,
    pub waiting: AtomicU64,
    pub no_seat: AtomicU64,
    pub queue_full: AtomicU64,
    pub time_out: AtomicU64,
    /// By bucket, each with those below it only; the last is what waited longer.
    pub waited: [AtomicU64; BUCKETS_S.len() + 1],
    pub waited_us: AtomicU64,
}

// === impl Tally ===

impl Tally {
    pub fn began(&self, width: usize, waited: Duration) {
        self.dispatched.fetch_add(1, Relaxed);
        self.executing.fetch_add(1, Relaxed);
        self.seats.fetch_add(width as u64, Relaxed);
        let waited_s = waited.as_secs_f64();
        let bucket = BUCKETS_S.iter().position(|bound| waited_s <= *bound);
        self.waited[bucket.unwrap_or(BUCKETS_S.len())].fetch_add(1, Relaxed);
        if !waited.is_zero() {
            let waited_us = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
            self.waited_us.fetch_add(waited_us, Relaxed);
        }
    }

    pub fn ended(&self, width: usize) {
        self.executing.fetch_sub(1, Relaxed);
        self.seats.fetch_sub(width as u64, Relaxed);
    }

    pub fn refused(&self, why: Refusal) {
        self.of(why).fetch_add(1, Relaxed);
    }

    pub fn of(&self, why: Refusal) -> &AtomicU64 {
        match why {
            Refusal::NoSeat => &self.no_seat,
            Refusal::QueueFull => &self.queue_full,
            Refusal::TimeOut => &self.time_out,
        }
    }
}
