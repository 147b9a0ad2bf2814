//! Counters in Prometheus text. Fixed routes and status classes, so that no
//! client can make them grow.

use std::{
    fmt::Write,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use http::StatusCode;

const ROUTES: [&str; 14] = [
    "none",
    "admin",
    "open_account",
    "account",
    "entries",
    "pay",
    "pay_batch",
    "payment",
    "resolve",
    "shard_payments",
    "shard_audit",
    "fence",
    "drain",
    "fenced",
];

/// Statuses that mean something of their own here; others count by class.
const STATUSES: [(u16, &str); 12] = [
    (200, "200"),
    (201, "201"),
    (400, "400"),
    (403, "403"),
    (404, "404"),
    (405, "405"),
    (409, "409"),
    (413, "413"),
    (421, "421"),
    (422, "422"),
    (500, "500"),
    (503, "503"),
];

/// Upper bounds in microseconds: a round trip to the store lies in the middle.
const BOUNDS_US: [u64; 10] =
    [500, 1_000, 2_000, 5_000, 10_000, 25_000, 50_000, 100_000, 1_000_000, 10_000_000];

#[derive(Default)]
pub struct Metrics {
    answers: [[AtomicU64; STATUSES.len()]; ROUTES.len()],
    /// Of payments.
    latency: [AtomicU64; BOUNDS_US.len()],
    latency_sum_us: AtomicU64,
    latency_count: AtomicU64,
}

// === impl Metrics ===

impl Metrics {
    pub fn answered(&self, route: &'static str, status: StatusCode, took: Duration) {
        let route_at = ROUTES.iter().position(|known| *known == route);
        let status_at = STATUSES.iter().position(|(known, _)| *known == status.as_u16());
        if let (Some(route), Some(status)) = (route_at, status_at) {
            self.answers[route][status].fetch_add(1, Ordering::Relaxed);
        }
        if route == "pay" {
            let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            if let Some(at) = BOUNDS_US.iter().position(|bound| us <= *bound) {
                self.latency[at].fetch_add(1, Ordering::Relaxed);
            }
            self.latency_sum_us.fetch_add(us, Ordering::Relaxed);
            self.latency_count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub fn render(&self) -> String {
        let mut text = String::from("# TYPE polis_ledger_answers_total counter\n");
        for (route, statuses) in ROUTES.iter().zip(&self.answers) {
            for ((_, status), count) in STATUSES.iter().zip(statuses) {
                let count = count.load(Ordering::Relaxed);
                if count > 0 {
                    let labels = format!("route=\"{route}\",status=\"{status}\"");
                    line(&mut text, &format!("polis_ledger_answers_total{{{labels}}}"), count);
                }
            }
        }
        text.push_str("# TYPE polis_ledger_payment_seconds histogram\n");
        let mut below = 0;
        for (bound, count) in BOUNDS_US.iter().zip(&self.latency) {
            below += count.load(Ordering::Relaxed);
            let seconds = *bound as f64 / 1e6;
            line(
                &mut text,
                &format!("polis_ledger_payment_seconds_bucket{{le=\"{seconds}\"}}"),
                below,
            );
        }
        let count = self.latency_count.load(Ordering::Relaxed);
        line(&mut text, "polis_ledger_payment_seconds_bucket{le=\"+Inf\"}", count);
        let sum = self.latency_sum_us.load(Ordering::Relaxed) as f64 / 1e6;
        line(&mut text, "polis_ledger_payment_seconds_sum", sum);
        line(&mut text, "polis_ledger_payment_seconds_count", count);
        text
    }
}

fn line(text: &mut String, name: &str, value: impl std::fmt::Display) {
    writeln!(text, "{name} {value}").expect("a String takes any text");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_route_and_status() {
        let metrics = Metrics::default();
        metrics.answered("pay", StatusCode::CREATED, Duration::from_micros(1_500));
        metrics.answered("pay", StatusCode::CREATED, Duration::from_micros(700));
        let text = metrics.render();
        assert!(
            text.contains("polis_ledger_answers_total{route=\"pay\",status=\"201\"} 2"),
            "{text}"
        );
        assert!(text.contains("bucket{le=\"0.001\"} 1"), "{text}");
        assert!(text.contains("bucket{le=\"0.002\"} 2"), "{text}");
    }
}
