//! How long a container that ended waits before it is started again. Pure.
//!
//! As with Kubernetes: the first restart is immediate, then 10 s, doubling to
//! 5 min; ten minutes of running forgive everything.

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(10);
const MAX: Duration = Duration::from_secs(300);
const FORGIVEN_AFTER: Duration = Duration::from_secs(600);

#[derive(Debug, Default)]
pub(crate) struct CrashLoop {
    next: Duration,
}

// === impl CrashLoop ===

impl CrashLoop {
    /// The container ended after running for `ran`: how long to wait now.
    pub(crate) fn ended(&mut self, ran: Duration) -> Duration {
        if ran >= FORGIVEN_AFTER {
            self.next = Duration::ZERO;
        }
        let wait = self.next;
        self.next = (wait * 2).clamp(FIRST, MAX);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_five_minutes_and_a_long_run_forgives() {
        let mut crash = CrashLoop::default();
        let second = Duration::from_secs(1);
        let waits: Vec<_> = (0..8).map(|_| crash.ended(second).as_secs()).collect();
        assert_eq!(waits, [0, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(crash.ended(FORGIVEN_AFTER), Duration::ZERO);
        assert_eq!(crash.ended(second), FIRST);
    }
}
