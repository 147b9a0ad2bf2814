//! What happened, second by second and over all.

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::{Outcome, Record};

/// Highest latency told apart, in microseconds: a minute.
const LATENCY_US_MAX: u64 = 60_000_000;

/// One second of a run, by when payments ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Second {
    /// Seconds since the run began.
    pub second: u64,
    pub acked: u64,
    pub refused: u64,
    pub unknown: u64,
    /// Tries that settled nothing.
    pub failed_tries: u64,
    pub p50_us: u64,
    pub p99_us: u64,
}

/// A whole run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    pub sent: u64,
    pub acked: u64,
    pub refused: u64,
    /// No definite answer within 10 s.
    pub unknown: u64,
    pub resolved_committed: u64,
    pub resolved_cancelled: u64,
    /// Still unknown after asking for the final word.
    pub unresolved: u64,
    pub not_sent: u64,
    pub failed_tries: u64,
    pub p50_us: u64,
    pub p90_us: u64,
    pub p99_us: u64,
    pub p999_us: u64,
    pub max_us: u64,
}

pub(crate) struct Stats {
    summary: Summary,
    latencies: Histogram<u64>,
    second: Second,
    second_latencies: Histogram<u64>,
}

// === impl Stats ===

impl Stats {
    pub(crate) fn new() -> Stats {
        Stats {
            summary: Summary::default(),
            latencies: histogram(),
            second: Second::default(),
            second_latencies: histogram(),
        }
    }

    /// Counts a payment that has ended.
    pub(crate) fn add(&mut self, record: &Record) {
        let (summary, second) = (&mut self.summary, &mut self.second);
        summary.failed_tries += record.failed.len() as u64;
        second.failed_tries += record.failed.len() as u64;
        match record.outcome {
            Outcome::Acked => {
                (summary.acked, second.acked) = (summary.acked + 1, second.acked + 1);
                self.latencies.saturating_record(record.latency_us());
                self.second_latencies.saturating_record(record.latency_us());
            }
            Outcome::Refused => {
                (summary.refused, second.refused) = (summary.refused + 1, second.refused + 1);
            }
            Outcome::Unknown => {
                (summary.unknown, second.unknown) = (summary.unknown + 1, second.unknown + 1);
            }
            Outcome::NotSent => summary.not_sent += 1,
            Outcome::ResolvedCommitted | Outcome::ResolvedCancelled => {}
        }
        if record.outcome != Outcome::NotSent {
            summary.sent += 1;
        }
    }

    /// Counts unknown payments that nobody gave a final word on.
    pub(crate) fn add_unresolved(&mut self, count: usize) {
        self.summary.unresolved += count as u64;
    }

    /// Counts what an unknown payment was resolved to.
    pub(crate) fn add_resolved(&mut self, record: &Record) {
        match record.outcome {
            Outcome::ResolvedCommitted => self.summary.resolved_committed += 1,
            Outcome::ResolvedCancelled => self.summary.resolved_cancelled += 1,
            _ => self.summary.unresolved += 1,
        }
    }

    /// Closes the current second and begins the next.
    pub(crate) fn tick(&mut self) -> Second {
        let next = Second { second: self.second.second + 1, ..Second::default() };
        let mut closed = std::mem::replace(&mut self.second, next);
        closed.p50_us = self.second_latencies.value_at_quantile(0.5);
        closed.p99_us = self.second_latencies.value_at_quantile(0.99);
        self.second_latencies.reset();
        closed
    }

    pub(crate) fn summary(&self) -> Summary {
        let at = |quantile| self.latencies.value_at_quantile(quantile);
        Summary {
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: self.latencies.max(),
            ..self.summary.clone()
        }
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("constant bounds are valid")
}
