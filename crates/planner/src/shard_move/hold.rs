//! Holds that do not end in their bound: the shard goes back to whom it came
//! from, at the next epoch.
//!
//! Time is counted from when this process first saw the intent, on its own
//! clock: a new leader counts anew, which costs waiting and nothing else. Only
//! planned moves are judged; a failover has nowhere to go back to, and is
//! `stuck`'s.

use std::collections::{BTreeMap, BTreeSet};

use rt::Millis;
use topology::{Epoch, Shard, ShardMap, ShardState, UnitName};

/// Between a shard's way back and the next try.
pub const COOL_MS: u64 = 5_000;

/// A shard that went back from a unit so often in a row is not sent there any
/// more by itself: each try costs its users a hold.
pub const TRIES_MAX: u32 = 3;

/// Planned moves under way, and those that went back lately.
#[derive(Debug, Default)]
pub struct Holds {
    since: BTreeMap<(Shard, Epoch), Hold>,
    went_back: BTreeMap<Shard, Millis>,
    /// How often in a row each shard went back from which unit.
    failures: BTreeMap<(Shard, UnitName), u32>,
}

#[derive(Clone, Debug)]
struct Hold {
    from: UnitName,
    to: UnitName,
    seen: Millis,
}

// === impl Holds ===

impl Holds {
    pub fn observe(&mut self, map: &ShardMap, now: Millis) {
        let mut before = std::mem::take(&mut self.since);
        for (shard, assignment) in &map.assignments {
            let (from, to) = match &assignment.state {
                ShardState::Moving { from: Some(from), to } => (from, to),
                ShardState::Moving { from: None, .. } => continue,
                ShardState::Serving { unit } => {
                    self.failures.remove(&(*shard, unit.clone()));
                    continue;
                }
            };
            let intent = (*shard, assignment.epoch);
            let seen = before.remove(&intent).map_or(now, |hold| hold.seen);
            self.since.insert(intent, Hold { from: from.clone(), to: to.clone(), seen });
        }
        // What is left has come to an end, one way or the other.
        for ((shard, epoch), hold) in before {
            let back = map
                .get(shard)
                .is_some_and(|after| after.epoch > epoch && *after.state.target() == hold.from);
            if back {
                self.went_back.insert(shard, now);
                *self.failures.entry((shard, hold.to)).or_default() += 1;
            }
        }
        self.went_back.retain(|_, at| now.since(*at) < COOL_MS);
    }

    /// Starts every hold anew: time that nobody watched counts for none.
    pub fn forget(&mut self, now: Millis) {
        self.since.values_mut().for_each(|hold| hold.seen = now);
    }

    /// A unit that is not `well` is another one once it is well again.
    pub fn forgive(&mut self, well: &BTreeSet<UnitName>) {
        self.failures.retain(|(_, unit), _| well.contains(unit));
    }

    /// Whether the shard went back from `unit` too often to be sent there again.
    #[must_use]
    pub fn has_given_up(&self, shard: Shard, unit: &UnitName) -> bool {
        self.failures.get(&(shard, unit.clone())).is_some_and(|failures| *failures >= TRIES_MAX)
    }

    /// Holds that have lasted longer than `bound_ms` says for their shard.
    #[must_use]
    pub fn overdue(
        &self,
        bound_ms: impl Fn(Shard) -> u64,
        now: Millis,
    ) -> BTreeSet<(Shard, Epoch)> {
        let overdue =
            self.since.iter().filter(|((shard, _), hold)| now.since(hold.seen) >= bound_ms(*shard));
        overdue.map(|(intent, _)| *intent).collect()
    }

    /// Shards that went back a moment ago.
    #[must_use]
    pub fn cool(&self) -> BTreeSet<Shard> {
        self.went_back.keys().copied().collect()
    }

    /// Whether time alone can change what is said here.
    #[must_use]
    pub fn waits(&self) -> bool {
        !self.since.is_empty() || !self.went_back.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        shard_map::retarget,
        shard_move::progress::tests::{map, unit},
    };

    #[test]
    fn a_hold_that_lasts_goes_back_at_the_next_epoch_and_cools() {
        let mut holds = Holds::default();
        let moving = map("07 moving rz01>rz02@2\n08 moving >rz02@2\n09 serving rz01@1");
        holds.observe(&moving, Millis(100));
        holds.observe(&moving, Millis(2_000));
        assert!(holds.overdue(|_| 3_000, Millis(3_099)).is_empty());
        let overdue = holds.overdue(|_| 3_000, Millis(3_100));
        assert_eq!(overdue.len(), 1, "a failover is not judged: {overdue:?}");

        let plan = retarget(&moving, &overdue, |from, _| from.cloned()).expect("a plan");
        let back = plan.map.get("07".parse().expect("a shard")).expect("it is there");
        let state = ShardState::Moving { from: None, to: unit("rz01") };
        assert_eq!((back.epoch, &back.state), (Epoch(3), &state));
        holds.observe(&plan.map, Millis(3_200));
        assert_eq!(holds.cool().len(), 1);
        holds.observe(&plan.map, Millis(3_200 + COOL_MS));
        assert!(!holds.waits());
    }

    #[test]
    fn a_shard_that_goes_back_too_often_is_let_be_until_the_unit_was_unwell() {
        let (mut holds, shard) = (Holds::default(), "07".parse().expect("a shard"));
        let home = unit("rz02");
        let mut epoch = 1;
        let mut round_trip = |holds: &mut Holds| {
            holds.observe(&map(&format!("07 moving rz01>rz02@{}", epoch + 1)), Millis(0));
            holds.observe(&map(&format!("07 serving rz01@{}", epoch + 2)), Millis(0));
            epoch += 2;
        };
        for _ in 0..TRIES_MAX {
            assert!(!holds.has_given_up(shard, &home));
            round_trip(&mut holds);
        }
        assert!(holds.has_given_up(shard, &home) && !holds.has_given_up(shard, &unit("rz03")));
        holds.forgive(&BTreeSet::from([home.clone()]));
        assert!(holds.has_given_up(shard, &home), "it was well all the time");
        holds.forgive(&BTreeSet::new());
        assert!(!holds.has_given_up(shard, &home));

        round_trip(&mut holds);
        holds.observe(&map("07 serving rz02@90"), Millis(0));
        (0..TRIES_MAX - 1).for_each(|_| round_trip(&mut holds));
        assert!(!holds.has_given_up(shard, &home), "an arrival starts the count anew");
    }

    #[test]
    fn a_hold_that_ends_well_leaves_nothing_behind() {
        let mut holds = Holds::default();
        holds.observe(&map("07 moving rz01>rz02@2"), Millis(0));
        holds.observe(&map("07 serving rz02@2"), Millis(50));
        assert!(!holds.waits() && holds.cool().is_empty());
    }

    #[test]
    fn another_intent_and_time_unwatched_start_anew() {
        let mut holds = Holds::default();
        holds.observe(&map("07 moving rz01>rz02@2"), Millis(0));
        holds.observe(&map("07 moving rz02>rz03@3"), Millis(2_900));
        assert!(holds.overdue(|_| 3_000, Millis(5_899)).is_empty());
        holds.forget(Millis(5_899));
        assert!(holds.overdue(|_| 3_000, Millis(8_898)).is_empty());
        assert_eq!(holds.overdue(|_| 3_000, Millis(8_899)).len(), 1);
    }
}
