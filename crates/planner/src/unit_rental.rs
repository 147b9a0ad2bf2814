//! A rented unit from the order to its return: what to do next, who gives
//! which shards, and where each goes back to.
//!
//! ```text
//! place ─▶ unit ─▶ services ─▶ share moves out ─▶ stays
//!                                                   │ given back, expired, deleted
//! over ◀─ place ◀─ unit ◀─ services ◀─ shards leave ◀─ takes no more
//! ```
//!
//! [`next`] looks only at what is there, never at what was done before: whoever
//! died in the middle left something behind, and the next look finds it. So
//! each step may be taken any number of times.

use std::collections::{BTreeMap, BTreeSet};

use resources::{RentalPhase, RentedShare, UnitRentalSpec};
use topology::{CenterName, CityName, Shard, ShardMap, ShardSet, ShardState, UnitName};

use crate::unit::Places;

/// What is there of a rental.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// It is to be held: not given back, expired or deleted.
    pub wanted: bool,
    pub place: PlaceSeen,
    /// The unit exists.
    pub unit: bool,
    /// The unit is nobody's successor.
    pub closed: bool,
    /// A deployment names it.
    pub deployed: bool,
    pub pods: bool,
    /// Its center answers and its services are ready.
    pub ready: bool,
    /// It was decided what moves here.
    pub chosen: bool,
    pub moved_out: bool,
    /// Shards are, or belong, here.
    pub shards: bool,
    /// Of these, some are served here or on their way from here.
    pub served: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaceSeen {
    None,
    /// Being made, or its provider does not answer.
    Unsure,
    Ready,
    /// Its provider says that it does not run.
    Lost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    CreatePlace,
    CreateUnit,
    Deploy,
    AwaitReady,
    /// Decide who gives what, once.
    ChooseShare,
    MoveOut,
    Stay,
    /// Its shards are served by others at once: it cannot be asked to let go.
    TakeOver,
    /// No failover chooses it any more.
    Close,
    MoveBack,
    Undeploy,
    AwaitPods,
    RemoveUnit,
    DestroyPlace,
    Over,
}

#[must_use]
pub fn next(seen: &Seen) -> Step {
    match seen.wanted {
        true => hold(seen),
        false => give_back(seen),
    }
}

fn hold(seen: &Seen) -> Step {
    match seen.place {
        PlaceSeen::Lost if seen.served => return Step::TakeOver,
        PlaceSeen::None | PlaceSeen::Lost => return Step::CreatePlace,
        PlaceSeen::Unsure if !seen.moved_out => return Step::CreatePlace,
        // Who does not answer says nothing about what runs there.
        PlaceSeen::Unsure | PlaceSeen::Ready => {}
    }
    if !seen.unit {
        Step::CreateUnit
    } else if !seen.deployed {
        Step::Deploy
    } else if !seen.chosen {
        if seen.ready { Step::ChooseShare } else { Step::AwaitReady }
    } else if !seen.moved_out {
        Step::MoveOut
    } else {
        Step::Stay
    }
}

fn give_back(seen: &Seen) -> Step {
    if seen.unit {
        if !seen.closed {
            return Step::Close;
        }
        if seen.served && seen.place != PlaceSeen::Ready && !seen.ready {
            return Step::TakeOver;
        }
        if seen.shards {
            return Step::MoveBack;
        }
        if seen.deployed {
            return Step::Undeploy;
        }
        // Where nothing runs, nobody says that a pod has ended.
        if seen.pods && seen.place == PlaceSeen::Ready {
            return Step::AwaitPods;
        }
        return Step::RemoveUnit;
    }
    match seen.place {
        PlaceSeen::None => Step::Over,
        PlaceSeen::Unsure | PlaceSeen::Ready | PlaceSeen::Lost => Step::DestroyPlace,
    }
}

// === impl Step ===

impl Step {
    /// How far a rental is that takes this step; none when that says nothing.
    #[must_use]
    pub fn phase(self) -> Option<RentalPhase> {
        Some(match self {
            Step::CreatePlace => RentalPhase::Creating,
            Step::CreateUnit | Step::Deploy | Step::AwaitReady | Step::ChooseShare => {
                RentalPhase::Deploying
            }
            Step::MoveOut => RentalPhase::MovingOut,
            Step::Stay => RentalPhase::Active,
            Step::TakeOver => return None,
            Step::Close | Step::MoveBack => RentalPhase::MovingBack,
            Step::Undeploy | Step::AwaitPods | Step::RemoveUnit | Step::DestroyPlace => {
                RentalPhase::Releasing
            }
            Step::Over => RentalPhase::Returned,
        })
    }
}

/// Why a rental cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("there is no unit {0} that owns user shards; `polis shard list` shows them")]
    NoUnit(UnitName),
    #[error("unit {0} has no shard to give; name others with --from")]
    Empty(UnitName),
    #[error("no unit has a shard to give")]
    Nobody,
}

/// Who gives which shards: the fullest one after the other, so that all that
/// give are left with about the same.
pub fn share(
    unit: &UnitName,
    spec: &UnitRentalSpec,
    map: &ShardMap,
    places: &Places,
) -> Result<Vec<RentedShare>, Unfit> {
    let mut left = BTreeMap::new();
    for giver in &spec.from {
        if !places.contains_key(giver) {
            return Err(Unfit::NoUnit(giver.clone()));
        }
    }
    for (giver, place) in places.iter().filter(|(giver, _)| *giver != unit) {
        let named = spec.from.contains(giver);
        if !named && (!spec.from.is_empty() || place.is_closed()) {
            continue;
        }
        let shards: Vec<_> = map.of_unit(giver).collect();
        if named && shards.is_empty() {
            return Err(Unfit::Empty(giver.clone()));
        }
        left.insert(giver.clone(), shards);
    }
    let all: usize = left.values().map(Vec::len).sum();
    if all == 0 {
        return Err(Unfit::Nobody);
    }
    // Rounded up: a share is never nothing.
    let wanted = (all * spec.share_percent as usize).div_ceil(100);
    let mut given = BTreeMap::<_, Vec<Shard>>::new();
    for _ in 0..wanted {
        let fullest = left.iter_mut().rev().max_by_key(|(_, shards)| shards.len());
        let (giver, shards) = fullest.expect("somebody has a shard");
        given.entry(giver.clone()).or_default().push(shards.remove(0));
    }
    let mut shares: Vec<_> = given
        .into_iter()
        .map(|(from, shards)| RentedShare { shards: shards.into_iter().collect(), from })
        .collect();
    shares.sort_by_key(|share| std::cmp::Reverse(share.shards.len()));
    Ok(shares)
}

/// Who takes over when the unit is lost: those who gave, of another center, and
/// of another city first.
#[must_use]
pub fn standbys(
    center: &CenterName,
    city: &CityName,
    shares: &[RentedShare],
    places: &Places,
) -> Vec<UnitName> {
    let givers: BTreeSet<_> = shares.iter().map(|share| &share.from).collect();
    let mut standbys: Vec<_> = places
        .iter()
        .filter(|(name, other)| givers.contains(name) && other.center != *center)
        .collect();
    standbys.sort_by_key(|(_, other)| other.city == *city);
    standbys.into_iter().map(|(name, _)| name.clone()).collect()
}

/// Who gave this shard; of a part that was cut off since, who gave the whole.
#[must_use]
pub fn giver<'a>(shares: &'a [RentedShare], map: &ShardMap, shard: Shard) -> Option<&'a UnitName> {
    let of = |shard: Shard| shares.iter().find(move |share| share.shards.contains(shard));
    let whole = map.layout.buckets(shard).map(|buckets| buckets.hundred());
    of(shard).or_else(|| of(whole?)).map(|share| &share.from)
}

/// Where the shards that are or belong at `unit` go: home, if that is
/// elsewhere; else to who gave them; else to `heir`, or whoever has least.
#[must_use]
pub fn leave<'a>(
    unit: &UnitName,
    shares: &[RentedShare],
    heir: Option<&UnitName>,
    map: &ShardMap,
    home_of: impl Fn(Shard) -> Option<&'a UnitName>,
    places: &Places,
) -> BTreeMap<UnitName, ShardSet> {
    let mut to = BTreeMap::<UnitName, Vec<Shard>>::new();
    for (shard, assignment) in &map.assignments {
        let home = home_of(*shard);
        if home != Some(unit) && !is_at(&assignment.state, unit) {
            continue;
        }
        let known = [home, giver(shares, map, *shard), heir];
        let known = known.into_iter().flatten().find(|to| *to != unit && places.contains_key(*to));
        let emptiest = || {
            let others =
                places.iter().filter(|(other, place)| *other != unit && !place.is_closed());
            let others = others.map(|(other, _)| other);
            others
                .min_by_key(|other| map.of_unit(other).count() + to.get(*other).map_or(0, Vec::len))
        };
        if let Some(target) = known.or_else(emptiest) {
            to.entry(target.clone()).or_default().push(*shard);
        }
    }
    to.into_iter().map(|(to, shards)| (to, shards.into_iter().collect())).collect()
}

/// Whether the unit serves some shard, or is about to, or still finishes.
#[must_use]
pub fn serves(map: &ShardMap, unit: &UnitName) -> bool {
    map.assignments.values().any(|assignment| is_at(&assignment.state, unit))
}

fn is_at(state: &ShardState, unit: &UnitName) -> bool {
    let leaves = matches!(state, ShardState::Moving { from: Some(from), .. } if from == unit);
    leaves || state.target() == unit
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard_move::progress::tests::{map, places, unit};

    /// What is there: `+` before what is, as `+unit +ready place`.
    fn seen(words: &str) -> Seen {
        let has = |word: &str| words.split(' ').any(|known| known == word);
        let place = match words {
            _ if has("place") => PlaceSeen::Ready,
            _ if has("lost") => PlaceSeen::Lost,
            _ if has("unsure") => PlaceSeen::Unsure,
            _ => PlaceSeen::None,
        };
        Seen {
            wanted: has("wanted"),
            place,
            unit: has("unit"),
            closed: has("closed"),
            deployed: has("deployed"),
            pods: has("pods"),
            ready: has("ready"),
            chosen: has("chosen"),
            moved_out: has("out"),
            shards: has("shards") || has("served"),
            served: has("served"),
        }
    }

    #[test]
    fn each_step_follows_from_what_is_there() {
        for (words, expected) in [
            ("wanted", Step::CreatePlace),
            ("wanted unsure", Step::CreatePlace),
            ("wanted place", Step::CreateUnit),
            ("wanted place unit", Step::Deploy),
            ("wanted place unit deployed", Step::AwaitReady),
            ("wanted place unit deployed ready", Step::ChooseShare),
            ("wanted place unit deployed ready chosen", Step::MoveOut),
            ("wanted place unit deployed ready chosen out served", Step::Stay),
            ("wanted unsure unit deployed ready chosen out served", Step::Stay),
            ("wanted place unit deployed chosen out served", Step::Stay),
            ("wanted lost unit deployed chosen out served", Step::TakeOver),
            ("wanted lost unit deployed chosen out shards", Step::CreatePlace),
            ("place unit deployed pods ready served", Step::Close),
            ("place unit deployed pods ready served closed", Step::MoveBack),
            ("unsure unit deployed pods ready served closed", Step::MoveBack),
            ("lost unit deployed pods served closed", Step::TakeOver),
            ("lost unit deployed pods shards closed", Step::MoveBack),
            ("place unit deployed pods ready closed", Step::Undeploy),
            ("place unit pods closed", Step::AwaitPods),
            ("lost unit pods closed", Step::RemoveUnit),
            ("place unit closed", Step::RemoveUnit),
            ("place", Step::DestroyPlace),
            ("unsure", Step::DestroyPlace),
            ("", Step::Over),
        ] {
            assert_eq!(next(&seen(words)), expected, "{words}");
        }
    }

    /// A rental that is asked for, held, and given back, played against a world
    /// that does what each step says: it comes to its end from any start.
    #[test]
    fn from_whatever_was_left_behind_it_is_held_and_given_back_whole() {
        for bits in 0..1_u32 << 9 {
            let bit = |n: u32| bits & 1 << n != 0;
            let mut world = Seen {
                wanted: true,
                place: if bit(0) { PlaceSeen::Ready } else { PlaceSeen::None },
                unit: bit(1),
                closed: false,
                deployed: bit(2) && bit(1),
                pods: bit(3) && bit(1),
                ready: bit(4) && bit(3) && bit(1) && bit(0),
                chosen: bit(5),
                moved_out: bit(6),
                shards: bit(7) && bit(1),
                served: bit(8) && bit(7) && bit(1),
            };
            for wanted in [true, false] {
                world.wanted = wanted;
                let end = if wanted { Step::Stay } else { Step::Over };
                let steps = (0..20).find(|_| {
                    let step = next(&world);
                    play(&mut world, step);
                    step == end
                });
                assert!(steps.is_some(), "{bits:b}: {world:?}");
            }
            let nothing =
                (world.place, world.unit, world.served) == (PlaceSeen::None, false, false);
            assert!(nothing, "{bits:b}: {world:?}");
        }
    }

    fn play(world: &mut Seen, step: Step) {
        match step {
            Step::CreatePlace => world.place = PlaceSeen::Ready,
            Step::CreateUnit => world.unit = true,
            Step::Deploy => (world.deployed, world.pods) = (true, true),
            Step::AwaitReady => world.ready = true,
            Step::ChooseShare => world.chosen = true,
            Step::MoveOut => (world.moved_out, world.shards, world.served) = (true, true, true),
            Step::TakeOver => world.served = false,
            Step::Close => world.closed = true,
            Step::MoveBack => (world.shards, world.served) = (false, false),
            Step::Undeploy => (world.deployed, world.ready) = (false, false),
            Step::AwaitPods => world.pods = false,
            Step::RemoveUnit => (world.unit, world.pods) = (false, false),
            Step::DestroyPlace => world.place = PlaceSeen::None,
            Step::Stay | Step::Over => {}
        }
    }

    fn said(shares: &[RentedShare]) -> String {
        let said = shares.iter().map(|share| format!("{} of {}", share.shards, share.from));
        said.collect::<Vec<_>>().join(", ")
    }

    fn check(spec: &str, expected: Result<&str, &str>) {
        let map = map("00-19 serving rz01@3\n20-39 serving rz02@1\n40-44 serving rz03@1");
        let places = places(&["rz01", "rz02", "rz03", "rz04", "rz06"]);
        let spec: UnitRentalSpec = serde_json::from_str(spec).expect(spec);
        let shares = share(&unit("rz06"), &spec, &map, &places);
        let shares = shares.map(|shares| said(&shares)).map_err(|unfit| unfit.to_string());
        assert_eq!(shares, expected.map(Into::into).map_err(Into::into), "{spec:?}");
    }

    #[test]
    fn the_fullest_give_first() {
        check(r#"{"center": "a"}"#, Ok("00-02 of rz01, 20-21 of rz02"));
        check(
            r#"{"center": "a", "sharePercent": 100}"#,
            Ok("00-19 of rz01, 20-39 of rz02, 40-44 of rz03"),
        );
        check(r#"{"center": "a", "from": ["rz03"], "sharePercent": 1}"#, Ok("40 of rz03"));
        check(
            r#"{"center": "a", "from": ["rz04"]}"#,
            Err("unit rz04 has no shard to give; name others with --from"),
        );
        check(
            r#"{"center": "a", "from": ["rz09"]}"#,
            Err("there is no unit rz09 that owns user shards; `polis shard list` shows them"),
        );
    }

    #[test]
    fn every_shard_goes_back_where_it_came_from_or_belongs() {
        let map = map(
            "00-01 serving rz06@3\n02 moving rz06>rz01@4\n20 serving rz01@3\n40 serving rz06@3\n\
             50 serving rz06@1\n60 serving rz02@1",
        );
        let shares = [
            RentedShare { shards: "00-02,60".parse().expect("shards"), from: unit("rz01") },
            RentedShare { shards: "20".parse().expect("shards"), from: unit("rz02") },
        ];
        let (here, far) = (unit("rz06"), unit("rz03"));
        // 40 is a guest; 60 was moved on by somebody and belongs there now.
        let home = |shard: Shard| match shard.number() {
            40 | 60 => Some(&far),
            _ => Some(&here),
        };
        let places = places(&["rz01", "rz02", "rz03", "rz04", "rz06"]);
        let shown = |heir: Option<&UnitName>| {
            let to = leave(&unit("rz06"), &shares, heir, &map, home, &places);
            to.iter().map(|(to, shards)| format!("{to} {shards}")).collect::<Vec<_>>().join(", ")
        };
        assert_eq!(shown(None), "rz01 00-02, rz02 20, rz03 40, rz04 50");
        assert_eq!(shown(Some(&unit("rz02"))), "rz01 00-02, rz02 20,50, rz03 40");
    }

    #[test]
    fn a_part_that_was_cut_off_goes_back_with_its_shard() {
        let map = map("00-01 serving rz06@3\n20-39 serving rz02@1");
        let half = "0150-0199".parse().expect("buckets");
        let map = crate::shard_map::split(&map, half).expect("it is served").expect("a plan").map;
        let shares = [RentedShare { shards: "00-01".parse().expect("shards"), from: unit("rz02") }];
        let (here, places) = (unit("rz06"), places(&["rz01", "rz02", "rz06"]));
        // A part has no home until somebody gives it one.
        let home = |shard: Shard| (shard.number() < 2).then_some(&here);
        let to = leave(&here, &shares, None, &map, home, &places);
        let to: Vec<_> = to.iter().map(|(to, shards)| format!("{to} {shards}")).collect();
        assert_eq!(to, ["rz02 00-01,100"], "and not to rz01, which has least");
    }
}
