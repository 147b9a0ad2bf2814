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

/// Compactions by age, and those of a full store, are at least so far apart:
/// each costs a sync and rewrites rows, however little it drops.
const EVERY_MS: u64 = 30_000;

/// Compactions by count are at least so far apart: at tens of thousands of
/// revisions a second every row would be rewritten as often as it is written,
/// and what piles up meanwhile is bounded by its bytes.
const COUNT_EVERY_MS: u64 = 1000;

/// Resolution of bytes, and what piles up before a compaction is worth it.
const STRETCH_BYTES: u64 = 4 * 1024 * 1024;

#[derive(Debug)]
pub(crate) struct Retention {
    history: History,
    /// When each of these revisions was the newest, oldest first; at most
    /// about [`MARKS`].
    marks: VecDeque<(Millis, Revision)>,
    /// Bytes written up to and with each of these revisions since the one
    /// before it, oldest first; each but the newest is [`STRETCH_BYTES`].
    stretches: VecDeque<(Revision, u64)>,
    /// When a compaction that [`EVERY_MS`] holds back was last due.
    last: Option<Millis>,
    /// When one by count was last due.
    last_by_count: Option<Millis>,
}

// === impl Retention ===

impl Retention {
    pub fn new(history: History) -> Retention {
        Retention {
            history,
            marks: VecDeque::new(),
            stretches: VecDeque::new(),
            last: None,
            last_by_count: None,
        }
    }

    /// Bytes that became durable with `revision` or just before it.
    pub fn wrote(&mut self, revision: Revision, bytes: usize) {
        if self.history.bytes_max == u64::MAX {
            return;
        }
        let bytes = bytes as u64;
        match self.stretches.back_mut() {
            Some((end, sum)) if *sum < STRETCH_BYTES => {
                *end = revision;
                *sum += bytes;
            }
            _ => self.stretches.push_back((revision, bytes)),
        }
    }

    /// Where to compact now that `visible` is reached, if it is worth it. A
    /// `full` store keeps no past at all.
    pub fn due(
        &mut self,
        now: Millis,
        visible: Revision,
        compacted: Revision,
        full: bool,
    ) -> Option<Revision> {
        let oldest = compacted.max(Revision::FIRST);
        let by_age = self.mark(now, visible);
        let by_bytes = self.overweight(oldest);
        let by_count = Revision(visible.0.saturating_sub(self.history.revisions_max));
        let is_rested = is_past(self.last_by_count, now, COUNT_EVERY_MS);
        let is_long = by_count.0 >= oldest.0 + self.history.slack();
        let by_count = (is_long && is_rested).then_some(by_count);
        if by_count.is_some() {
            self.last_by_count = Some(now);
        }
        // What somebody told us to keep is kept, full or not.
        let gives_way = full && self.history.bytes_max < u64::MAX;
        let at_leisure = if gives_way { Some(visible) } else { by_age };
        let at_leisure =
            at_leisure.filter(|target| *target > oldest && is_past(self.last, now, EVERY_MS));
        if at_leisure.is_some() {
            self.last = Some(now);
        }
        at_leisure.max(by_bytes).max(by_count)
    }

    /// The revision before which history must go to be light enough.
    fn overweight(&mut self, oldest: Revision) -> Option<Revision> {
        let gone = self.stretches.iter().take_while(|(end, _)| *end <= oldest).count();
        self.stretches.drain(..gone);
        let mut bytes: u64 = self.stretches.iter().map(|(_, bytes)| bytes).sum();
        let mut floor = None;
        for (end, stretch) in &self.stretches {
            if bytes <= self.history.bytes_max {
                break;
            }
            bytes -= stretch;
            floor = Some(*end);
        }
        floor
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

fn is_past(last: Option<Millis>, now: Millis, every_ms: u64) -> bool {
    last.is_none_or(|last| now.since(last) >= every_ms)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn retention() -> Retention {
        let age_max = Duration::from_secs(10);
        Retention::new(History { revisions_max: 100, age_max, bytes_max: 64 * 1024 * 1024 })
    }

    #[test]
    fn many_revisions_are_cut_to_the_window_once_the_slack_is_used_up() {
        let mut retention = retention();
        let mut due =
            |ms, visible| retention.due(Millis(ms), Revision(visible), Revision::ZERO, false);
        assert_eq!(due(0, 100), None);
        assert_eq!(due(0, 120), None);
        assert_eq!(due(0, 121), Some(Revision(21)));
        assert_eq!(due(COUNT_EVERY_MS - 1, 999), None);
        assert_eq!(due(COUNT_EVERY_MS, 1000), Some(Revision(900)));
    }

    #[test]
    fn old_revisions_go_even_when_they_are_few() {
        let mut retention = retention();
        let mut due = |ms, visible, compacted| {
            retention.due(Millis(ms), Revision(visible), Revision(compacted), false)
        };
        assert_eq!(due(0, 3, 1), None);
        assert_eq!(due(10_000, 4, 1), None);
        assert_eq!(due(10_001, 5, 1), Some(Revision(3)));
        // Some are old again soon, but it is not worth a compaction yet.
        assert_eq!(due(30_000, 6, 3), None);
        assert_eq!(due(40_001, 6, 3), Some(Revision(6)));
    }

    #[test]
    fn heavy_history_is_cut_to_its_bytes_however_few_revisions_it_is() {
        const MIB: usize = 1024 * 1024;
        let mut retention = retention();
        for revision in 2..66 {
            retention.wrote(Revision(revision), MIB);
            assert_eq!(retention.due(Millis(0), Revision(revision), Revision::FIRST, false), None);
        }
        retention.wrote(Revision(66), MIB);
        let due = retention.due(Millis(0), Revision(66), Revision::FIRST, false);
        assert_eq!(due, Some(Revision(5)));
        assert_eq!(retention.due(Millis(0), Revision(66), Revision(5), false), None);
    }

    #[test]
    fn a_full_store_keeps_no_past_and_looks_again_after_a_while() {
        let mut retention = retention();
        let mut due = |ms, visible, compacted| {
            retention.due(Millis(ms), Revision(visible), Revision(compacted), true)
        };
        assert_eq!(due(0, 9, 1), Some(Revision(9)));
        assert_eq!(due(1, 10, 9), None);
        assert_eq!(due(EVERY_MS, 10, 9), Some(Revision(10)));
        assert_eq!(due(3 * EVERY_MS, 10, 10), None);
    }

    #[test]
    fn an_unlimited_history_is_never_cut_by_itself() {
        let mut retention = Retention::new(History::UNLIMITED);
        for revision in 1..200_000 {
            let now = Millis(revision * 60_000);
            retention.wrote(Revision(revision), 1 << 20);
            assert_eq!(retention.due(now, Revision(revision), Revision::ZERO, false), None);
        }
    }

    #[test]
    fn the_memory_of_ages_is_bounded() {
        let mut retention = retention();
        for ms in 0..100_000 {
            retention.wrote(Revision(ms), 1 << 20);
            retention.due(Millis(ms), Revision(ms), Revision(ms.saturating_sub(50)), false);
        }
        assert!(retention.marks.len() as u64 <= MARKS + 2, "{}", retention.marks.len());
        assert!(retention.stretches.len() <= 50, "{}", retention.stretches.len());
    }
}
