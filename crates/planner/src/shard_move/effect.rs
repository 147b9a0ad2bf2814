//! What a move would do: users and traffic per unit, and what each would carry
//! if any one other were lost (N−1).

use std::collections::BTreeMap;

use resources::Preference;
use topology::{BucketRange, Shard, ShardMap, ShardState, UnitName};

use super::selection::Leg;
use crate::{takeover::Takeover, unit::Places};

/// Requests of each shard in some span of time; none where nobody counted.
pub type Traffic = BTreeMap<Shard, u64>;

/// What a unit has, before or after.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    pub shards: usize,
    /// Users map to buckets evenly, so these stand for them.
    pub buckets: usize,
    pub requests: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub before: Load,
    pub after: Load,
    /// After the move, with the shards of the unit whose loss hits it most.
    pub worst: Load,
    /// That unit; none when it is nobody's successor.
    pub worst_if_lost: Option<UnitName>,
}

/// Every unit that can own shards.
#[must_use]
pub fn effect(
    map: &ShardMap,
    legs: &[Leg],
    traffic: &Traffic,
    places: &Places,
    prefer: Preference,
) -> BTreeMap<UnitName, Change> {
    let (mut before, mut after) = (BTreeMap::new(), BTreeMap::new());
    for (shard, assignment) in &map.assignments {
        let owner = assignment.state.target();
        let leg = legs.iter().find(|leg| leg.shard == *shard);
        let one = Load::one(map, *shard, traffic);
        add(&mut before, owner, one);
        add(&mut after, leg.map_or(owner, |leg| &leg.to), one);
    }
    let load = |loads: &BTreeMap<UnitName, Load>, unit: &UnitName| {
        loads.get(unit).copied().unwrap_or_default()
    };
    let guests = guests(map, legs, traffic, places, prefer);
    let change = |unit: &UnitName| {
        let guests = guests.iter().filter(|((_, to), _)| to == unit);
        let guests = guests.map(|((lost, _), load)| (*load, lost));
        let worst = guests.max_by_key(|(load, _)| (load.buckets, load.requests));
        let own = load(&after, unit);
        Change {
            before: load(&before, unit),
            after: own,
            worst: worst.as_ref().map_or(own, |(guest, _)| own.with(*guest)),
            worst_if_lost: worst.map(|(_, lost)| lost.clone()),
        }
    };
    places.keys().map(|unit| (unit.clone(), change(unit))).collect()
}

/// What each unit would get of each other one, were that lost after the move.
fn guests(
    map: &ShardMap,
    legs: &[Leg],
    traffic: &Traffic,
    places: &Places,
    prefer: Preference,
) -> BTreeMap<(UnitName, UnitName), Load> {
    let to: BTreeMap<_, _> = legs.iter().map(|leg| (leg.shard, &leg.to)).collect();
    let mut after = map.clone();
    for (shard, assignment) in &mut after.assignments {
        if let Some(unit) = to.get(shard) {
            assignment.state = ShardState::Serving { unit: (*unit).clone() };
        }
    }
    let mut guests = BTreeMap::<_, Load>::new();
    // What is dead has nothing more to lose.
    for lost in places.iter().filter(|(_, place)| place.alive).map(|(lost, _)| lost) {
        let mut takeover = Takeover::of(&after, places, prefer);
        for shard in after.of_unit(lost) {
            let Some(to) = takeover.next(lost) else { continue };
            let load = guests.entry((lost.clone(), to)).or_default();
            *load = load.with(Load::one(map, shard, traffic));
        }
    }
    guests
}

fn add(loads: &mut BTreeMap<UnitName, Load>, unit: &UnitName, one: Load) {
    let load = loads.entry(unit.clone()).or_default();
    *load = load.with(one);
}

// === impl Load ===

impl Load {
    fn one(map: &ShardMap, shard: Shard, traffic: &Traffic) -> Load {
        Load {
            shards: 1,
            buckets: map.layout.buckets(shard).map_or(0, BucketRange::len),
            requests: traffic.get(&shard).copied().unwrap_or_default(),
        }
    }

    #[must_use]
    pub fn with(self, other: Load) -> Load {
        Load {
            shards: self.shards + other.shards,
            buckets: self.buckets + other.buckets,
            requests: self.requests + other.requests,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard_move::progress::tests::{map, places, unit};

    #[test]
    fn a_move_is_shown_in_users_traffic_and_the_loss_of_one_unit() {
        let map = map("00-19 serving rz01@1\n20-39 serving rz02@1\n40-44 serving rz03@1");
        let mut places = places(&["rz01", "rz02", "rz03"]);
        for (name, standby) in [("rz01", "rz02"), ("rz02", "rz03"), ("rz03", "rz01")] {
            places.get_mut(&unit(name)).expect("a place").standbys = vec![unit(standby)];
        }
        let leg = |number| Leg {
            shard: Shard::new(number).expect("a shard"),
            from: unit("rz01"),
            to: unit("rz03"),
        };
        let traffic = Traffic::from([(Shard::new(0).expect("a shard"), 7)]);
        let effect = effect(&map, &[leg(0), leg(1)], &traffic, &places, Preference::Standbys);
        let shown: Vec<_> = effect
            .iter()
            .map(|(name, change)| {
                let Change { before, after, worst, worst_if_lost } = change;
                let lost = worst_if_lost.as_ref().expect("a successor of somebody");
                format!(
                    "{name} {}>{} buckets {}>{} requests, {} if {lost} is lost",
                    before.buckets, after.buckets, before.requests, after.requests, worst.shards
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                "rz01 2000>1800 buckets 7>0 requests, 25 if rz03 is lost",
                "rz02 2000>2000 buckets 0>0 requests, 38 if rz01 is lost",
                "rz03 500>700 buckets 0>7 requests, 27 if rz02 is lost",
            ]
        );
    }
}
