//! How much of its past a keyspace gives up by itself.
//!
//! Decided only after writes: a keyspace in which nothing happens keeps what
//! it has, and costs nothing.

use std::collections::VecDeque;

use kv::Revision;
use rt::Millis;

use crate::History;

/// Resolution of ages: this many marks cover the whole window.
const MARKS: u64 = 10;

#[derive(Debug)]
pub(crate) struct Retention {
    history: History,
    /// When each of these revisions was the newest, oldest first; at most
    /// about [`MARKS`].
    marks: VecDeque<(Millis, Revision)>,
}

// === impl Retention ===

impl Retention {
    pub fn new(history: History) -> Retention {
        Retention { history, marks: VecDeque::new() }
    }

    /// Where to compact now that `visible` is reached, if it is worth it.
    pub fn due(&mut self, now: Millis, visible: Revision, compacted: Revision) -> Option<Revision> {
        let by_age = self.mark(now, visible);
        let by_count = Revision(visible.0.saturating_sub(self.history.revisions_max));
        let target = by_age.unwrap_or_default().max(by_count);
        let oldest = compacted.max(Revision::FIRST);
        (target.0 >= oldest.0 + self.history.slack()).then_some(target)
    }

    /// Remembers `visible` and returns the newest revision that is too old.
    fn mark(&mut self, now: Millis, visible: Revision) -> Option<Revision> {
        let window_ms = u64::try_from(self.history.age_max.as_millis()).unwrap_or(u64::MAX);
        let step_ms = window_ms / MARKS;
        if self.marks.back().is_none_or(|(at, _)| now.since(*at) >= step_ms) {
            self.marks.push_back((now, visible));
        }
        let old = self.marks.iter().take_while(|(at, _)| now.since(*at) > window_ms).count();
        // The newest of the old marks stays: it is the answer until the next
        // one is old as well.
        self.marks.drain(..old.saturating_sub(1));
        self.marks.front().filter(|_| old > 0).map(|(_, revision)| *revision)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn retention() -> Retention {
        Retention::new(History { revisions_max: 100, age_max: Duration::from_secs(10) })
    }

    #[test]
    fn many_revisions_are_cut_to_the_window_once_the_slack_is_used_up() {
        let mut retention = retention();
        let mut due = |visible| retention.due(Millis(0), Revision(visible), Revision::ZERO);
        assert_eq!(due(100), None);
        assert_eq!(due(120), None);
        assert_eq!(due(121), Some(Revision(21)));
        assert_eq!(due(1000), Some(Revision(900)));
    }

    #[test]
    fn old_revisions_go_even_when_they_are_few() {
        let mut retention = retention();
        assert_eq!(retention.due(Millis(0), Revision(60), Revision::FIRST), None);
        assert_eq!(retention.due(Millis(10_000), Revision(61), Revision::FIRST), None);
        assert_eq!(
            retention.due(Millis(10_001), Revision(62), Revision::FIRST),
            Some(Revision(60))
        );
        assert_eq!(retention.due(Millis(10_002), Revision(63), Revision(60)), None);
    }

    #[test]
    fn the_memory_of_ages_is_bounded() {
        let mut retention = retention();
        for ms in 0..100_000 {
            retention.due(Millis(ms), Revision(ms), Revision(ms.saturating_sub(50)));
        }
        assert!(retention.marks.len() as u64 <= MARKS + 2, "{}", retention.marks.len());
    }
}
