//! Which unit takes over, and when shards go home.

use std::collections::{BTreeMap, BTreeSet};

use rt::Millis;
use topology::{CenterName, CityName, Epoch, Shard, ShardMap, ShardState, UnitName};

/// A unit that can own shards, as seen now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub center: CenterName,
    pub city: CityName,
    /// In order of preference.
    pub standbys: Vec<UnitName>,
    /// Its center is not suspect.
    pub alive: bool,
    /// Its center has not answered for half the window: where others of its
    /// city are lost, it may be on its way after them.
    pub wavers: bool,
    /// Its service has a pod that is ready.
    pub ready: bool,
    /// How many shards it can carry. With 0 it is closed: it takes only what an
    /// order names.
    pub shards_max: Option<usize>,
}

/// All units that can own shards.
pub type Places = BTreeMap<UnitName, Place>;

// === impl Place ===

impl Place {
    /// Nobody's successor: it is being given back, or is a group of another.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shards_max == Some(0)
    }
}

/// Who takes over what `lost` had: its first standby that is alive and ready,
/// else any such unit, those of other cities first and in the order of names;
/// else one that is alive, since its service may become ready.
#[must_use]
pub fn successor(places: &Places, lost: &UnitName) -> Option<UnitName> {
    let place = places.get(lost)?;
    let mut others: Vec<_> = places
        .iter()
        .filter(|(name, other)| *name != lost && other.alive && other.center != place.center)
        .filter(|(_, other)| !other.is_closed())
        .collect();
    others.sort_by_key(|(name, other)| {
        let standby = place.standbys.iter().position(|standby| standby == *name);
        (!other.ready, standby.unwrap_or(usize::MAX), other.city == place.city)
    });
    others.first().map(|(name, _)| (*name).clone())
}

/// Who takes a shard whose move to `stuck_at` does not end: where it came from,
/// since the data is warm there, else a successor; only who is ready.
#[must_use]
pub fn refuge(places: &Places, from: Option<&UnitName>, stuck_at: &UnitName) -> Option<UnitName> {
    let is_fit = |unit: &UnitName| places.get(unit).is_some_and(|place| place.alive && place.ready);
    let back = from.filter(|from| is_fit(from)).cloned();
    back.or_else(|| successor(places, stuck_at).filter(is_fit))
}

/// Since when each unit has been well without a break.
#[derive(Debug, Default)]
pub struct Wellness {
    since: BTreeMap<UnitName, Millis>,
}

// === impl Wellness ===

impl Wellness {
    pub fn observe(&mut self, well: &BTreeSet<UnitName>, now: Millis) {
        self.since.retain(|unit, _| well.contains(unit));
        for unit in well {
            self.since.entry(unit.clone()).or_insert(now);
        }
    }

    /// Units that have been well for `after_ms`.
    #[must_use]
    pub fn settled(&self, after_ms: u64, now: Millis) -> BTreeSet<UnitName> {
        let settled = self.since.iter().filter(|(_, since)| now.since(**since) >= after_ms);
        settled.map(|(unit, _)| unit.clone()).collect()
    }
}

/// The next shards to send home, at most `batch_max`: none while others are on
/// their way, save for those that are `stuck`, which may be on their way for
/// long.
#[must_use]
pub fn homecoming<'a>(
    map: &ShardMap,
    homes: impl IntoIterator<Item = (Shard, &'a UnitName)>,
    settled: &BTreeSet<UnitName>,
    stuck: &BTreeSet<(Shard, Epoch)>,
    batch_max: usize,
) -> Vec<(Shard, &'a UnitName)> {
    let moves = map.assignments.iter().any(|(shard, assignment)| {
        let moving = matches!(assignment.state, ShardState::Moving { .. });
        moving && !stuck.contains(&(*shard, assignment.epoch))
    });
    if moves {
        return Vec::new();
    }
    let is_away = |shard: &Shard, home: &UnitName| {
        map.get(*shard).is_some_and(|assignment| assignment.state.target() != home)
    };
    homes
        .into_iter()
        .filter(|(shard, home)| settled.contains(*home) && is_away(shard, home))
        .take(batch_max)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use topology::{Assignment, MapVersion};

    fn unit(name: &str) -> UnitName {
        name.parse().expect("a name")
    }

    /// `rz01 east-1 east rz03` with `!` for not ready and `x` for not alive.
    fn places(lines: &[&str]) -> Places {
        let parse = |line: &&str| {
            let mut words = line.split_whitespace();
            let mut word = || words.next().expect("a word");
            let (name, center, city) = (word(), word(), word());
            let rest: Vec<_> = words.collect();
            let standbys =
                rest.iter().filter_map(|word| word.parse().ok()).filter(|n| *n != unit("x"));
            let place = Place {
                center: center.parse().expect("a name"),
                city: city.parse().expect("a name"),
                standbys: standbys.collect(),
                alive: !rest.contains(&"x"),
                wavers: false,
                ready: !rest.contains(&"!"),
                shards_max: None,
            };
            (unit(name), place)
        };
        lines.iter().map(parse).collect()
    }

    fn check(lines: &[&str], expected: Option<&str>) {
        let successor = successor(&places(lines), &unit("rz01"));
        assert_eq!(successor, expected.map(unit), "{lines:?}");
    }

    #[test]
    fn the_first_standby_that_is_well_takes_over() {
        let (lost, near) = ("rz01 east-1 east rz03 rz04 x", "rz02 east-2 east");
        check(&[lost, near, "rz03 south-1 south", "rz04 south-2 south"], Some("rz03"));
        check(&[lost, near, "rz03 south-1 south x", "rz04 south-2 south"], Some("rz04"));
        check(&[lost, near, "rz03 south-1 south !", "rz04 south-2 south"], Some("rz04"));
        check(&[lost, near, "rz03 south-1 south x", "rz05 west-1 west"], Some("rz05"));
        check(&[lost, near, "rz03 south-1 south x"], Some("rz02"));
        check(&[lost, "rz02 east-2 east !", "rz03 south-1 south x"], Some("rz02"));
        check(&[lost, "rz02 east-2 east x"], None);
    }

    #[test]
    fn a_stuck_shard_goes_back_where_it_came_from_or_to_who_is_ready() {
        let check = |lines: &[&str], from: Option<&str>, expected: Option<&str>| {
            let from = from.map(unit);
            let refuge = refuge(&places(lines), from.as_ref(), &unit("rz01"));
            assert_eq!(refuge, expected.map(unit), "{lines:?}");
        };
        let (stuck, from) = ("rz01 east-1 east rz03 !", Some("rz02"));
        let (warm, near) = ("rz02 east-2 east", "rz03 south-1 south");
        check(&[stuck, warm, near], from, Some("rz02"));
        check(&[stuck, warm, near], None, Some("rz03"));
        check(&[stuck, "rz02 east-2 east !", near], from, Some("rz03"));
        check(&[stuck, "rz02 east-2 east x", near], from, Some("rz03"));
        check(&[stuck, "rz02 east-2 east !", "rz03 south-1 south !"], from, None);
    }

    fn map(states: &[(u16, ShardState)]) -> ShardMap {
        let assignment = |state: &ShardState| Assignment { epoch: Epoch(2), state: state.clone() };
        let assignments = states
            .iter()
            .map(|(number, state)| (Shard::new(*number).expect("a shard"), assignment(state)))
            .collect();
        ShardMap { version: MapVersion(1), assignments, ..ShardMap::default() }
    }

    #[test]
    fn shards_go_home_in_batches_and_only_when_nothing_moves() {
        let (home, away) = (unit("rz01"), unit("rz03"));
        let serving = |unit: &UnitName| ShardState::Serving { unit: unit.clone() };
        let mut states: Vec<_> = (0..25).map(|number| (number, serving(&away))).collect();
        states.push((25, serving(&home)));
        let homes = || (0..26).map(|number| (Shard::new(number).expect("a shard"), &home));
        let settled = BTreeSet::from([home.clone()]);

        let none = BTreeSet::new();
        let batch = homecoming(&map(&states), homes(), &settled, &none, 10);
        assert_eq!(batch.len(), 10);
        assert!(homecoming(&map(&states), homes(), &BTreeSet::new(), &none, 10).is_empty());
        states[25].1 = ShardState::Moving { from: None, to: home.clone() };
        let shard = Shard::new(25).expect("a shard");
        let earlier = BTreeSet::from([(shard, Epoch(1))]);
        assert!(homecoming(&map(&states), homes(), &settled, &none, 10).is_empty());
        assert!(homecoming(&map(&states), homes(), &settled, &earlier, 10).is_empty());

        let stuck = BTreeSet::from([(shard, Epoch(2))]);
        let batch = homecoming(&map(&states), homes(), &settled, &stuck, 10);
        assert_eq!(batch.len(), 10, "a stuck shard blocks no other");
    }

    #[test]
    fn a_unit_that_flaps_starts_its_wait_anew() {
        let mut wellness = Wellness::default();
        let well = BTreeSet::from([unit("rz01")]);
        wellness.observe(&well, Millis(0));
        wellness.observe(&well, Millis(4_000));
        assert_eq!(wellness.settled(5_000, Millis(5_000)).len(), 1);
        wellness.observe(&BTreeSet::new(), Millis(5_100));
        wellness.observe(&well, Millis(5_200));
        assert!(wellness.settled(5_000, Millis(10_100)).is_empty());
        assert_eq!(wellness.settled(5_000, Millis(10_200)).len(), 1);
    }
}
