//! When leases may expire after the process stood still.
//!
//! A process that was paused, swapped out or starved comes back to leases that
//! have run out, while their renewals are still on the way to it: in the
//! sockets, not yet in a mailbox. A lease found long overdue is the sign of
//! it; then all of them wait a little, once, until what was queued is in.

use rt::Millis;

/// A timer is late by a few milliseconds on a busy machine; half a second is
/// a process that did not run.
const STALL_MS: u64 = 500;
/// Enough to read every socket, and no more than the shortest lease.
const GRACE_MS: u64 = 2_000;

#[derive(Debug, Default)]
pub(crate) struct Grace {
    /// No lease expires before this.
    until: Millis,
}

// === impl Grace ===

impl Grace {
    /// When to look at leases of which the first runs out at `due`.
    pub fn wake(&self, due: Millis) -> Millis {
        due.max(self.until)
    }

    /// Whether leases that ran out may expire; `due` is the first of all.
    pub fn is_over(&mut self, due: Millis, now: Millis) -> bool {
        if now.since(self.wake(due)) > STALL_MS {
            self.until = now.plus(GRACE_MS);
        }
        now >= self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_is_forgiven_once_and_then_leases_expire() {
        let mut grace = Grace::default();
        let due = Millis(10_000);
        assert!(grace.is_over(due, Millis(10_000)));
        assert!(grace.is_over(due, Millis(10_500)));
        assert_eq!(grace.wake(due), due);

        assert!(!grace.is_over(due, Millis(10_501)));
        assert_eq!(grace.wake(due), Millis(12_501));
        assert!(!grace.is_over(due, Millis(12_500)));
        assert!(grace.is_over(due, Millis(12_501)));
        assert!(grace.is_over(due, Millis(13_001)));
    }

    #[test]
    fn a_stall_within_the_grace_has_one_of_its_own() {
        let mut grace = Grace::default();
        assert!(!grace.is_over(Millis(1), Millis(10_000)));
        assert!(!grace.is_over(Millis(1), Millis(60_000)));
        assert!(grace.is_over(Millis(1), Millis(62_000)));
    }
}
