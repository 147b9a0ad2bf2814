//! Who takes over the shards of a lost unit, one shard after the other: what a
//! unit was given counts for the next.

use std::{cmp::Reverse, collections::BTreeMap};

use resources::Preference;
use topology::{ShardMap, UnitName};

use crate::unit::{Place, Places};

pub struct Takeover<'a> {
    places: &'a Places,
    prefer: Preference,
    shards: BTreeMap<UnitName, usize>,
}

// === impl Takeover ===

impl<'a> Takeover<'a> {
    /// By the shards that each unit has in `map`.
    #[must_use]
    pub fn of(map: &ShardMap, places: &'a Places, prefer: Preference) -> Takeover<'a> {
        let shards = places.keys().map(|unit| (unit.clone(), map.of_unit(unit).count())).collect();
        Takeover { places, prefer, shards }
    }

    /// Who takes the next shard of `lost`. Of the units that are alive: one that
    /// is ready, before one that may become ready; one that has room, before one
    /// that is full, for users are better crowded than refused; then by the
    /// preference; then units of other cities, and the one with most room first.
    /// Never one that is closed. Nobody is near who is quiet too: a city that is
    /// lost is not lost in one moment, and its shards would move twice.
    pub fn next(&mut self, lost: &UnitName) -> Option<UnitName> {
        let place = self.places.get(lost)?;
        let others = self
            .places
            .iter()
            .filter(|(name, other)| *name != lost && other.alive && other.center != place.center)
            .filter(|(_, other)| !other.is_closed());
        let best = others.min_by_key(|(name, other)| {
            let shards = self.shards[*name];
            let standby = place.standbys.iter().position(|standby| standby == *name);
            let same_city = other.city == place.city;
            let near = same_city && self.prefer == Preference::SameCity && !other.wavers;
            let order = standby.unwrap_or(usize::MAX);
            let room = Reverse(room(other, shards));
            (!other.ready, room == Reverse(0), !near, order, same_city, room)
        });
        let name = best.map(|(name, _)| name.clone())?;
        *self.shards.entry(name.clone()).or_default() += 1;
        Some(name)
    }
}

/// How many more it can carry. One without a bound has more room than any that
/// has one, and the less the more it carries.
fn room(place: &Place, shards: usize) -> usize {
    place.shards_max.map_or(usize::MAX - shards, |max| max.saturating_sub(shards))
}

#[cfg(test)]
mod tests {
    use topology::Shard;

    use super::*;
    use crate::shard_move::progress::tests::{map, unit};

    /// `rz01 east-1 east rz03` with `max=30`, `!` for not ready, `x` for not
    /// alive, `?` for wavering.
    fn places(lines: &[&str]) -> Places {
        let parse = |line: &&str| {
            let words: Vec<_> = line.split_whitespace().collect();
            let max = words.iter().find_map(|word| word.strip_prefix("max="));
            let place = Place {
                center: words[1].parse().expect("a name"),
                city: words[2].parse().expect("a name"),
                standbys: words[3..].iter().filter_map(|word| word.parse().ok()).collect(),
                alive: !words.contains(&"x"),
                wavers: words.contains(&"?"),
                ready: !words.contains(&"!"),
                shards_max: max.map(|max| max.parse().expect("a number")),
            };
            (unit(words[0]), place)
        };
        lines.iter().map(parse).collect()
    }

    /// Who gets how many of the 20 shards of rz01.
    fn check(prefer: Preference, lines: &[&str], expected: &str) {
        let map = map("00-19 serving rz01@1\n20-39 serving rz02@1\n40-49 serving rz03@1");
        let places = places(lines);
        let mut takeover = Takeover::of(&map, &places, prefer);
        let mut given = BTreeMap::<_, usize>::new();
        for _ in Shard::all().take(20) {
            let to = takeover.next(&unit("rz01")).map_or("nobody".into(), |to| to.to_string());
            *given.entry(to).or_default() += 1;
        }
        let given: Vec<_> = given.iter().map(|(unit, count)| format!("{unit} {count}")).collect();
        assert_eq!(given.join(", "), expected, "{lines:?}");
    }

    const LOST: &str = "rz01 east-1 east rz03 rz04 x";
    const NEAR: &str = "rz02 east-2 east";
    const FIRST: &str = "rz03 south-1 south";
    const SECOND: &str = "rz04 south-2 south";

    #[test]
    fn the_preference_says_who_is_first() {
        let all = [LOST, NEAR, FIRST, SECOND];
        check(Preference::Standbys, &all, "rz03 20");
        check(Preference::SameCity, &all, "rz02 20");
        check(Preference::SameCity, &[LOST, "rz02 east-2 east x", FIRST, SECOND], "rz03 20");
        check(Preference::SameCity, &[LOST, "rz02 east-2 east !", FIRST, SECOND], "rz03 20");
        check(Preference::default(), &all, "rz02 20");
        check(Preference::Standbys, &[LOST, NEAR], "rz02 20");
        check(Preference::Standbys, &["rz01 east-1 east x"], "nobody 20");
    }

    #[test]
    fn who_is_full_is_passed_over_and_the_rest_is_shared() {
        let full = "rz03 south-1 south max=15";
        check(Preference::Standbys, &[LOST, NEAR, full, SECOND], "rz03 5, rz04 15");
        let tight = ["rz02 east-2 east max=20", full, "rz04 south-2 south max=5"];
        let all = [&[LOST][..], &tight].concat();
        check(Preference::Standbys, &all, "rz03 15, rz04 5");
    }

    #[test]
    fn the_same_city_takes_what_it_has_room_for_and_then_the_standbys_do() {
        let near = "rz02 east-2 east max=28";
        check(Preference::SameCity, &[LOST, near, FIRST, SECOND], "rz02 8, rz03 12");
        let first = "rz03 south-1 south max=15";
        check(Preference::SameCity, &[LOST, near, first, SECOND], "rz02 8, rz03 5, rz04 7");
    }

    #[test]
    fn a_city_that_falls_silent_center_by_center_is_not_taken_for_its_own_successor() {
        let near = "rz02 east-2 east ?";
        check(Preference::SameCity, &[LOST, near, FIRST, SECOND], "rz03 20");
        check(Preference::SameCity, &[LOST, near], "rz02 20");
    }

    #[test]
    fn of_others_the_one_with_most_room_is_first() {
        let lost = "rz01 east-1 east x";
        let roomy = ["rz03 south-1 south max=22", "rz04 south-2 south max=8"];
        check(Preference::Standbys, &[&[lost][..], &roomy].concat(), "rz03 12, rz04 8");
    }

    #[test]
    fn who_is_to_carry_none_is_nobodys_successor() {
        check(Preference::Standbys, &[LOST, NEAR, "rz03 south-1 south max=0"], "rz02 20");
        check(Preference::Standbys, &[LOST, "rz03 south-1 south max=0"], "nobody 20");
    }

    #[test]
    fn without_standbys_the_emptiest_take_turns() {
        let lost = "rz01 east-1 east x";
        check(Preference::Standbys, &[lost, NEAR, FIRST, SECOND], "rz03 5, rz04 15");
    }
}
