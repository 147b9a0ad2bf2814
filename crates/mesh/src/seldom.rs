//! A log line that strangers can cause: at most one a second, with how many
//! there would have been.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use tokio::time::Instant;

const EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(crate) struct Seldom {
    /// Since the process began; 0 before the first.
    next_ms: AtomicU64,
    held: AtomicU64,
}

// === impl Seldom ===

impl Seldom {
    /// How many were held back, if it may be said now.
    pub(crate) fn may(&self, now: Instant) -> Option<u64> {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let now = ms(crate::rules::since_began(now)) + 1;
        let next = self.next_ms.load(Relaxed);
        let said = now >= next
            && self.next_ms.compare_exchange(next, now + ms(EVERY), Relaxed, Relaxed).is_ok();
        if said {
            return Some(self.held.swap(0, Relaxed));
        }
        self.held.fetch_add(1, Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_back_is_told_with_the_next() {
        let seldom = Seldom::default();
        let now = Instant::now();
        assert_eq!([seldom.may(now), seldom.may(now), seldom.may(now)], [Some(0), None, None]);
        assert_eq!(seldom.may(now + 2 * EVERY), Some(2));
    }
}
