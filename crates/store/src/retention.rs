//! How much of its past a keyspace gives up by itself.
//!
//! By age as etcd's periodic compactor does: to where the keyspace stood a
//! window ago, also when nothing was written since. Once that is done there is
//! nothing to wake up for, and an idle keyspace costs nothing.

use std::{collections::VecDeque, time::Duration};

use kv::Revision;
use rt::Millis;

use crate::History;

/// Ages are told apart by a tenth of the window, and where that is long by a
/// tenth of an hour, like etcd's; but no window takes more marks than this.
const MARKS_MAX: u64 = 1_000;
const STEPS: u64 = 10;
const STEPS_IN_MS: u64 = 3_600_000;

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
    /// about [`MARKS_MAX`].
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
        let at_leisure = at_leisure
            .filter(|target| *target > oldest && is_past(self.last, now, self.every_ms()));
        if at_leisure.is_some() {
            self.last = Some(now);
        }
        at_leisure.max(by_bytes).max(by_count)
    }

    /// When to ask for what is due although nothing was written: once what was
    /// written before is too old. None if nothing will be.
    pub fn wakes(&self, now: Millis, visible: Revision, compacted: Revision) -> Option<Millis> {
        let window_ms = self.window_ms()?;
        let oldest = compacted.max(Revision::FIRST);
        if visible <= oldest {
            return None;
        }
        let old_at = match self.marks.iter().find(|(_, revision)| *revision > oldest) {
            Some((at, _)) => at.plus(window_ms + 1),
            None => self.marks.back().map_or(now, |(at, _)| at.plus(step_ms(window_ms))),
        };
        let rested_at = self.last.map_or(now, |last| last.plus(self.every_ms()));
        Some(old_at.max(rested_at))
    }

    /// None, if nothing is ever too old.
    fn window_ms(&self) -> Option<u64> {
        let window_ms = u64::try_from(self.history.age_max.as_millis()).ok()?;
        (self.history.age_max < Duration::MAX).then_some(window_ms)
    }

    /// Whoever asks for a shorter window than most gets it.
    fn every_ms(&self) -> u64 {
        self.window_ms().unwrap_or(EVERY_MS).min(EVERY_MS)
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
        let window_ms = self.window_ms()?;
        let step_ms = step_ms(window_ms);
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

fn step_ms(window_ms: u64) -> u64 {
    (window_ms.min(STEPS_IN_MS) / STEPS).max(window_ms / MARKS_MAX)
}

fn is_past(last: Option<Millis>, now: Millis, every_ms: u64) -> bool {
    last.is_none_or(|last| now.since(last) >= every_ms)
}

#[cfg(test)]
mod tests {
    use rt::random::Random;

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
        assert_eq!(due(20_000, 6, 3), None);
        assert_eq!(due(20_001, 6, 3), Some(Revision(4)));
        // Some are old again soon, but it is not worth a compaction yet.
        assert_eq!(due(30_000, 6, 4), None);
        assert_eq!(due(40_001, 6, 4), Some(Revision(6)));
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

    /// A keyspace in which nothing happens from `idle` on: the compactions until
    /// it wakes up no more, by time and revision.
    fn idles(retention: &mut Retention, idle: u64, visible: u64, from: u64) -> Vec<(u64, u64)> {
        let (mut now, mut compacted) = (Millis(idle), Revision(from));
        let mut done = Vec::new();
        for _ in 0..100 {
            let Some(at) = retention.wakes(now, Revision(visible), compacted) else { return done };
            assert!(at >= now, "{at:?} is over at {now:?}");
            now = at;
            if let Some(target) = retention.due(now, Revision(visible), compacted, false) {
                compacted = target;
                done.push((now.0, target.0));
            }
        }
        panic!("it wakes up all the time: {done:?}");
    }

    #[test]
    fn what_was_written_last_goes_too_once_it_is_old_and_then_nobody_wakes_up() {
        let mut retention = retention();
        assert_eq!(idles(&mut retention, 0, 1, 1), []);
        assert_eq!(retention.due(Millis(100), Revision(5), Revision::FIRST, false), None);
        assert_eq!(retention.due(Millis(400), Revision(7), Revision::FIRST, false), None);
        // Revision 7 was the newest at the first mark after 400 ms.
        let compactions = idles(&mut retention, 400, 7, 1);
        assert_eq!(compactions, [(10_101, 5), (20_102, 7)]);
        assert_eq!(retention.wakes(Millis(99_999), Revision(7), Revision(7)), None);
    }

    #[test]
    fn wherever_writes_stop_all_of_the_past_goes_and_none_that_is_young() {
        for seed in 0..200 {
            let mut random = Random::seeded(seed);
            let (mut retention, mut now, mut compacted) = (retention(), 0, Revision::FIRST);
            // When each revision stopped being the newest.
            let mut ended = vec![0, 0];
            for _ in 0..random.below(60) {
                now += random.below(4_000);
                ended.push(u64::MAX);
                let visible = ended.len() as u64 - 1;
                ended[visible as usize - 1] = now;
                if let Some(target) =
                    retention.due(Millis(now), Revision(visible), compacted, false)
                {
                    compacted = target;
                }
            }
            let visible = ended.len() as u64 - 1;
            let compactions = idles(&mut retention, now, visible, compacted.0);
            assert_eq!(compactions.last().map_or(compacted.0, |last| last.1), visible);
            for (at, target) in compactions {
                let newest_gone = target as usize - 1;
                assert!(at - ended[newest_gone] > 10_000 || newest_gone < 1, "seed {seed}");
            }
        }
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
        assert!(retention.marks.len() as u64 <= STEPS + 2, "{}", retention.marks.len());
        let day = Duration::from_secs(30 * 24 * 3600);
        let mut retention = Retention::new(History { age_max: day, ..History::UNLIMITED });
        for minute in 0..100_000 {
            retention.due(Millis(60_000 * minute), Revision(minute), Revision(minute / 2), false);
        }
        assert!(retention.marks.len() as u64 <= MARKS_MAX + 2, "{}", retention.marks.len());
        assert!(retention.stretches.len() <= 50, "{}", retention.stretches.len());
    }
}
