//! Moves that do not come to an end: their target's center answers, but its
//! service does not get ready, so nobody raises the fence.
//!
//! A target whose center does not answer is left to failover, which has the
//! evidence for it.

use std::collections::{BTreeMap, BTreeSet};

use rt::Millis;
use topology::{Epoch, Shard, ShardMap, ShardState};

use crate::unit::Places;

/// A ledger is started anew well within this.
pub const STUCK_AFTER_MS: u64 = 5_000;

/// A first assignment waits for its home as long as a whole estate may take to
/// come up; nothing is served yet that would be missed.
pub const FIRST_STUCK_AFTER_MS: u64 = 20_000;

/// Since when each move has been seen.
#[derive(Debug, Default)]
pub struct Moves {
    since: BTreeMap<(Shard, Epoch), Millis>,
}

// === impl Moves ===

impl Moves {
    pub fn observe(&mut self, map: &ShardMap, now: Millis) {
        let moving = map.assignments.iter().filter_map(|(shard, assignment)| {
            let moves = matches!(assignment.state, ShardState::Moving { .. });
            moves.then_some((*shard, assignment.epoch))
        });
        let mut before = std::mem::take(&mut self.since);
        self.since = moving.map(|intent| (intent, before.remove(&intent).unwrap_or(now))).collect();
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.since.is_empty()
    }

    /// Moves of `map` that have been seen for long enough, to targets that are
    /// not ready now.
    #[must_use]
    pub fn stuck(&self, map: &ShardMap, places: &Places, now: Millis) -> BTreeSet<(Shard, Epoch)> {
        let is_stuck = |(shard, epoch): &(Shard, Epoch), since: Millis| {
            let Some(assignment) = map.get(*shard) else { return false };
            let patience_ms = match *epoch == Epoch::default().next() {
                true => FIRST_STUCK_AFTER_MS,
                false => STUCK_AFTER_MS,
            };
            // A unit that is gone will not get ready either.
            let place = places.get(assignment.state.target());
            let hopeless = place.is_none_or(|place| place.alive && !place.ready);
            hopeless && now.since(since) >= patience_ms
        };
        let stuck = self.since.iter().filter(|(intent, since)| is_stuck(intent, **since));
        stuck.map(|(intent, _)| *intent).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unit::Place;
    use topology::{Assignment, MapVersion};

    fn shard() -> Shard {
        Shard::new(42).expect("a shard")
    }

    fn moving(epoch: u64) -> ShardMap {
        let to = "rz01".parse().expect("a name");
        let state = ShardState::Moving { from: None, to };
        let assignments = [(shard(), Assignment { epoch: Epoch(epoch), state })].into();
        ShardMap { version: MapVersion(1), assignments, ..ShardMap::default() }
    }

    fn places(alive: bool, ready: bool) -> Places {
        let name = |text: &str| text.parse().expect("a name");
        let (center, city) = (name("east-1"), "east".parse().expect("a name"));
        let place = Place {
            center,
            city,
            standbys: Vec::new(),
            alive,
            wavers: false,
            ready,
            shards_max: None,
        };
        [("rz01".parse().expect("a name"), place)].into()
    }

    #[test]
    fn a_move_is_stuck_once_its_target_was_given_time_to_get_ready() {
        let (map, mut moves) = (moving(7), Moves::default());
        moves.observe(&map, Millis(1_000));
        moves.observe(&map, Millis(5_000));
        let stuck = |places, now| !moves.stuck(&map, &places, Millis(now)).is_empty();
        assert!(!stuck(places(true, false), 5_999));
        assert!(stuck(places(true, false), 6_000));
        assert!(stuck(Places::new(), 6_000));
        assert!(!stuck(places(true, true), 6_000));
        assert!(!stuck(places(false, false), 6_000), "that is for failover to judge");
    }

    #[test]
    fn another_epoch_is_another_move() {
        let mut moves = Moves::default();
        moves.observe(&moving(7), Millis(0));
        moves.observe(&moving(8), Millis(4_000));
        assert!(moves.stuck(&moving(8), &places(true, false), Millis(8_999)).is_empty());
        let stuck = moves.stuck(&moving(8), &places(true, false), Millis(9_000));
        assert_eq!(stuck, BTreeSet::from([(shard(), Epoch(8))]));
    }

    #[test]
    fn a_first_assignment_waits_for_an_estate_that_comes_up() {
        let (map, mut moves) = (moving(1), Moves::default());
        moves.observe(&map, Millis(0));
        let stuck = |now| !moves.stuck(&map, &places(true, false), Millis(now)).is_empty();
        assert!(!stuck(FIRST_STUCK_AFTER_MS - 1));
        assert!(stuck(FIRST_STUCK_AFTER_MS));
    }
}
