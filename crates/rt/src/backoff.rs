//! Waiting longer after each failure, with jitter, up to a bound.

use std::time::Duration;

use crate::random::Random;

/// Doubles from `first` to `max`; each wait is between half and all of it.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    next: Duration,
    random: Random,
}

// === impl Backoff ===

impl Backoff {
    #[must_use]
    pub fn new(first: Duration, max: Duration, random: Random) -> Backoff {
        Backoff { first, max, next: first, random }
    }

    /// How long to wait before the next try.
    pub fn step(&mut self) -> Duration {
        let full = self.next;
        self.next = (full * 2).min(self.max);
        let half = full / 2;
        let jitter_us = self.random.below(u64::try_from(half.as_micros()).unwrap_or(u64::MAX));
        half + Duration::from_micros(jitter_us)
    }

    /// Something worked: start over from the first wait.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_their_bound_and_start_over_after_a_success() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(100), ms(400), Random::seeded(1));
        let waits: Vec<_> = (0..6).map(|_| backoff.step()).collect();
        assert!(waits[0] >= ms(50) && waits[0] <= ms(100));
        assert!(waits[5] >= ms(200) && waits[5] <= ms(400));
        backoff.reset();
        assert!(backoff.step() <= ms(100));
    }
}
