//! How many seats a level would use if it had them, over a period.

use std::time::Duration;

use tokio::time::Instant;

/// How much of what was known stays known after a period: half of it after
/// five minutes, when the period is 10 s (kube-apiserver's figure).
const SMOOTHING: f64 = 0.977;

/// Adds up a level's demand while it changes.
pub struct Demand {
    began: Instant,
    since: Instant,
    now: usize,
    highest: usize,
    /// Of demand and of its square, in seconds.
    sum: f64,
    sum_of_squares: f64,
}

/// Of one period, and what is left of those before.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Observed {
    pub highest: usize,
    pub average: f64,
    pub deviation: f64,
    /// Follows what is wanted at once upwards, and downwards slowly: a level
    /// that lent its seats has them back before its next burst.
    pub smoothed: f64,
}

// === impl Demand ===

impl Demand {
    pub fn new(at: Instant) -> Demand {
        Demand { began: at, since: at, now: 0, highest: 0, sum: 0.0, sum_of_squares: 0.0 }
    }

    pub fn set(&mut self, at: Instant, seats: usize) {
        let wanted = real(self.now);
        let lasted = (at - self.since).as_secs_f64();
        self.sum += wanted * lasted;
        self.sum_of_squares += wanted * wanted * lasted;
        self.since = self.since.max(at);
        self.now = seats;
        self.highest = self.highest.max(seats);
    }

    /// What the period that ends showed; another begins.
    pub fn take(&mut self, at: Instant, before: Observed) -> Observed {
        self.set(at, self.now);
        let lasted = at.saturating_duration_since(self.began);
        let ended = std::mem::replace(self, Demand::new(at));
        (self.now, self.highest) = (ended.now, ended.now);
        if lasted == Duration::ZERO {
            return Observed { highest: ended.highest, ..before };
        }
        let average = ended.sum / lasted.as_secs_f64();
        let variance = ended.sum_of_squares / lasted.as_secs_f64() - average * average;
        let deviation = variance.max(0.0).sqrt();
        let envelope = average + deviation;
        let faded = SMOOTHING * before.smoothed + (1.0 - SMOOTHING) * envelope;
        Observed { highest: ended.highest, average, deviation, smoothed: envelope.max(faded) }
    }
}

fn real(seats: usize) -> f64 {
    f64::from(u32::try_from(seats).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_is_seen_at_once_and_forgotten_slowly() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut demand = Demand::new(start);
        demand.set(at(0), 10);
        demand.set(at(5), 0);
        let busy = demand.take(at(10), Observed::default());
        assert_eq!(busy, Observed { highest: 10, average: 5.0, deviation: 5.0, smoothed: 10.0 });
        let mut seen = busy;
        for period in 2..=31 {
            seen = demand.take(at(10 * period), seen);
            assert_eq!((seen.highest, seen.average), (0, 0.0));
        }
        assert!((4.9..5.1).contains(&seen.smoothed), "{seen:?}");
    }
}
