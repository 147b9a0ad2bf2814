//! How far each shard of a move is, and what to intend next.
//!
//! A shard's trace is brought up to date from the map alone, so it does not
//! matter who changed the map, or who died before writing down what it did.

use std::collections::{BTreeMap, BTreeSet};

use resources::MoveState;
use topology::{Epoch, Shard, ShardMap, ShardState, UnitName};

use super::selection::Leg;
use crate::unit::Places;

/// Shards held at the same time: what a target that turns out to be unwell
/// may cost.
pub const BATCH_SHARDS: usize = 10;

/// A shard that went back so often is left where it is.
pub const REVERTS_MAX: u32 = 3;

/// What is known of one shard.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Trace {
    pub from: UnitName,
    pub to: UnitName,
    pub state: MoveState,
    pub epoch: Epoch,
    pub reverts: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub traces: BTreeMap<Shard, Trace>,
}

/// Something that happened to a shard since the last look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub shard: Shard,
    pub epoch: Epoch,
    pub state: MoveState,
    /// Who serves or shall.
    pub unit: UnitName,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Publish Moving for these.
    Intend(Vec<(Shard, UnitName)>),
    Wait(Why),
    /// Every shard has arrived or was given up.
    Done,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    #[error("{0} shards are held")]
    Held(usize),
    #[error("unit {0} is not ready")]
    NotReady(UnitName),
    #[error("unit {0}, which serves shard {1}, does not answer: that is for failover")]
    OwnerSilent(UnitName, Shard),
    #[error("shard {0} is on its way to {1}")]
    Elsewhere(Shard, UnitName),
    #[error("shard {0} went back and is tried again in a while")]
    Cools(Shard),
}

// === impl Progress ===

impl Progress {
    /// A plan, or another one: what is known of a shard is kept.
    pub fn take(&mut self, legs: Vec<Leg>) {
        let mut before = std::mem::take(&mut self.traces);
        for Leg { shard, from, to } in legs {
            let known = before.remove(&shard).filter(|known| known.to == to);
            let fresh = || Trace {
                from,
                to,
                state: MoveState::Waiting,
                epoch: Epoch::default(),
                reverts: 0,
            };
            self.traces.insert(shard, known.unwrap_or_else(fresh));
        }
    }

    /// Brings every trace up to the map.
    pub fn observe(&mut self, map: &ShardMap) -> Vec<Event> {
        let mut events = Vec::new();
        for (shard, trace) in &mut self.traces {
            let Some(assignment) = map.get(*shard) else { continue };
            let epoch = assignment.epoch;
            // An older map than the one that was written down from.
            if epoch < trace.epoch {
                continue;
            }
            let unit = assignment.state.target();
            let mut state = match &assignment.state {
                ShardState::Serving { unit } if *unit == trace.to => MoveState::Moved,
                ShardState::Serving { .. } => MoveState::Waiting,
                ShardState::Moving { to, .. } if *to == trace.to => MoveState::Holding,
                ShardState::Moving { .. } => MoveState::Elsewhere,
            };
            if trace.state == MoveState::GivenUp && state != MoveState::Moved {
                continue;
            }
            // A hold whose epoch has passed without an arrival was broken off.
            let broken = trace.state == MoveState::Holding
                && epoch > trace.epoch
                && state != MoveState::Moved;
            trace.reverts += u32::from(broken);
            if state == MoveState::Waiting && trace.reverts >= REVERTS_MAX {
                state = MoveState::GivenUp;
            }
            let first_look = trace.epoch == Epoch::default() && state == MoveState::Waiting;
            if (state, epoch) != (trace.state, trace.epoch) && !first_look {
                events.push(Event { shard: *shard, epoch, state, unit: unit.clone() });
            }
            (trace.state, trace.epoch) = (state, epoch);
        }
        events
    }

    /// What to intend now, judged by the map that was observed last. Shards
    /// that `cool` went back a moment ago.
    #[must_use]
    pub fn next(&self, map: &ShardMap, places: &Places, cool: &BTreeSet<Shard>) -> Next {
        let held = self.count(MoveState::Holding);
        if held > 0 {
            return Next::Wait(Why::Held(held));
        }
        let (mut batch, mut why) = (Vec::new(), None);
        for (shard, trace) in &self.traces {
            match obstacle(*shard, trace, map, places, cool) {
                Ok(true) => batch.push((*shard, trace.to.clone())),
                Ok(false) => {}
                Err(obstacle) => why = why.or(Some(obstacle)),
            }
        }
        batch.truncate(BATCH_SHARDS);
        match why {
            _ if !batch.is_empty() => Next::Intend(batch),
            Some(why) => Next::Wait(why),
            None => Next::Done,
        }
    }

    #[must_use]
    pub fn count(&self, state: MoveState) -> usize {
        self.traces.values().filter(|trace| trace.state == state).count()
    }

    /// Shards that have arrived, by the unit they are at.
    #[must_use]
    pub fn arrived(&self) -> BTreeMap<UnitName, Vec<Shard>> {
        let mut arrived = BTreeMap::<_, Vec<_>>::new();
        for (shard, trace) in &self.traces {
            if trace.state == MoveState::Moved {
                arrived.entry(trace.to.clone()).or_default().push(*shard);
            }
        }
        arrived
    }
}

/// Whether the shard is to be moved now, or what is in the way.
fn obstacle(
    shard: Shard,
    trace: &Trace,
    map: &ShardMap,
    places: &Places,
    cool: &BTreeSet<Shard>,
) -> Result<bool, Why> {
    let Some(assignment) = map.get(shard) else { return Ok(false) };
    let owner = assignment.state.target();
    match (trace.state, &assignment.state) {
        (MoveState::Moved | MoveState::GivenUp | MoveState::Holding, _) => return Ok(false),
        // What nobody was asked to let go of is a revert or a failover, and
        // comes to its end first. A planned move takes another target at once.
        (MoveState::Elsewhere, ShardState::Moving { from: None, .. }) => {
            return Err(Why::Elsewhere(shard, owner.clone()));
        }
        (MoveState::Elsewhere | MoveState::Waiting, _) => {}
    }
    if cool.contains(&shard) {
        return Err(Why::Cools(shard));
    }
    if !places.get(&trace.to).is_some_and(|place| place.alive && place.ready) {
        return Err(Why::NotReady(trace.to.clone()));
    }
    if !places.get(owner).is_some_and(|place| place.alive) {
        return Err(Why::OwnerSilent(owner.clone(), shard));
    }
    Ok(true)
}

#[cfg(test)]
pub mod tests {
    use topology::{Assignment, MapVersion, ShardSet};

    use super::*;
    use crate::{shard_map, unit::Place};

    pub fn unit(name: &str) -> UnitName {
        name.parse().expect("a name")
    }

    /// `00-19 serving rz01@17`, `42 moving rz01>rz02@18`, `42 moving >rz02@18`.
    pub fn map(lines: &str) -> ShardMap {
        let mut assignments = BTreeMap::new();
        for line in lines.lines().map(str::trim) {
            let words: Vec<_> = line.split_whitespace().collect();
            let (place, epoch) = words[2].split_once('@').expect("an epoch");
            let state = match place.split_once('>') {
                None => ShardState::Serving { unit: unit(place) },
                Some((from, to)) => {
                    let from = (!from.is_empty()).then(|| unit(from));
                    ShardState::Moving { from, to: unit(to) }
                }
            };
            let epoch = Epoch(epoch.parse().expect("an epoch"));
            for shard in words[0].parse::<ShardSet>().expect("shards").iter() {
                assignments.insert(shard, Assignment { epoch, state: state.clone() });
            }
        }
        ShardMap { version: MapVersion(7), assignments, ..ShardMap::default() }
    }

    /// `rz01` is well, `rz01!` not ready, `rz01x` not alive.
    pub fn places(names: &[&str]) -> Places {
        let place = |name: &&str| {
            let bare = name.trim_end_matches(['!', 'x']);
            let place = Place {
                center: format!("at-{bare}").parse().expect("a name"),
                city: "east".parse().expect("a name"),
                standbys: Vec::new(),
                alive: !name.ends_with('x'),
                wavers: false,
                ready: !name.ends_with(['!', 'x']),
                shards_max: None,
            };
            (unit(bare), place)
        };
        names.iter().map(place).collect()
    }

    fn progress(shards: &str, from: &str, to: &str) -> Progress {
        let mut progress = Progress::default();
        let shards: ShardSet = shards.parse().expect("shards");
        let leg = |shard| Leg { shard, from: unit(from), to: unit(to) };
        progress.take(shards.iter().map(leg).collect());
        progress
    }

    fn next(progress: &Progress, map: &ShardMap, names: &[&str]) -> String {
        match progress.next(map, &places(names), &BTreeSet::new()) {
            Next::Intend(batch) => {
                let shards: ShardSet = batch.iter().map(|(shard, _)| *shard).collect();
                format!("intend {shards}")
            }
            Next::Wait(why) => why.to_string(),
            Next::Done => "done".into(),
        }
    }

    const WELL: [&str; 3] = ["rz01", "rz02", "rz03"];

    #[test]
    fn a_move_goes_batch_by_batch_to_its_end() {
        let mut moves = progress("00-11", "rz01", "rz02");
        let mut now = map("00-11 serving rz01@1\n12 serving rz02@1");
        assert!(moves.observe(&now).is_empty());
        for expected in ["intend 00-09", "intend 10-11"] {
            assert_eq!(next(&moves, &now, &WELL), expected);
            let Next::Intend(batch) = moves.next(&now, &places(&WELL), &BTreeSet::new()) else {
                unreachable!("it said so a line before")
            };
            let intents = batch.iter().map(|(shard, to)| (*shard, to));
            now = shard_map::move_planned(&now, intents).expect("a plan").map;
            assert_eq!(moves.observe(&now).len(), batch.len());
            assert!(next(&moves, &now, &WELL).ends_with("are held"));
            let raised: Vec<_> = batch
                .into_iter()
                .map(|(shard, unit)| shard_map::Raised { shard, epoch: Epoch(2), unit })
                .collect();
            now = shard_map::publish_serving(&now, &raised).expect("a plan").map;
            assert!(moves.observe(&now).iter().all(|event| event.state == MoveState::Moved));
        }
        assert_eq!(next(&moves, &now, &WELL), "done");
        assert_eq!(moves.count(MoveState::Moved), 12);
    }

    #[test]
    fn any_state_of_the_map_has_one_answer() {
        let check = |line: &str, names: &[&str], expected: &str| {
            let (mut moves, now) = (progress("07", "rz01", "rz02"), map(line));
            moves.observe(&now);
            assert_eq!(next(&moves, &now, names), expected, "{line}");
            // Whoever takes over with nothing but the plan says the same.
            let mut again = progress("07", "rz01", "rz02");
            again.observe(&now);
            assert_eq!(next(&again, &now, names), expected, "{line}");
        };
        check("07 serving rz01@4", &WELL, "intend 07");
        check("07 serving rz03@4", &WELL, "intend 07");
        check("07 moving rz01>rz02@5", &WELL, "1 shards are held");
        check("07 moving >rz02@5", &WELL, "1 shards are held");
        check("07 moving rz01>rz03@5", &WELL, "intend 07");
        check("07 moving >rz03@5", &WELL, "shard 07 is on its way to rz03");
        check("07 serving rz02@5", &WELL, "done");
        check("07 serving rz01@4", &["rz01", "rz02!"], "unit rz02 is not ready");
        check("07 serving rz01@4", &["rz01", "rz02x"], "unit rz02 is not ready");
        let silent = "unit rz01, which serves shard 07, does not answer: that is for failover";
        check("07 serving rz01@4", &["rz01x", "rz02"], silent);
    }

    #[test]
    fn a_shard_that_goes_back_too_often_is_given_up() {
        let mut moves = progress("07", "rz01", "rz02");
        for round in 0..REVERTS_MAX {
            let base = u64::from(round) * 2 + 1;
            assert_eq!(next(&moves, &map(&format!("07 serving rz01@{base}")), &WELL), "intend 07");
            moves.observe(&map(&format!("07 moving rz01>rz02@{}", base + 1)));
            moves.observe(&map(&format!("07 moving >rz01@{}", base + 2)));
            moves.observe(&map(&format!("07 serving rz01@{}", base + 2)));
        }
        assert_eq!(moves.count(MoveState::GivenUp), 1);
        assert_eq!(next(&moves, &map("07 serving rz01@7"), &WELL), "done");
        assert!(moves.arrived().is_empty());
    }

    #[test]
    fn an_older_map_than_the_one_seen_before_says_nothing() {
        let mut moves = progress("07", "rz01", "rz02");
        moves.observe(&map("07 moving rz01>rz02@2"));
        let before = moves.clone();
        assert!(moves.observe(&map("07 serving rz01@1")).is_empty());
        assert_eq!(moves, before);
        assert_eq!(next(&moves, &map("07 serving rz01@1"), &WELL), "1 shards are held");
    }

    #[test]
    fn a_shard_that_cools_waits_and_the_others_go_on() {
        let mut moves = progress("07-08", "rz01", "rz02");
        let now = map("07-08 serving rz01@4");
        moves.observe(&now);
        let cool: BTreeSet<_> = ["07"].map(|text| text.parse().expect("a shard")).into();
        let Next::Intend(batch) = moves.next(&now, &places(&WELL), &cool) else { panic!("waits") };
        assert_eq!(batch.len(), 1);
    }

    #[test]
    fn an_order_that_changes_turns_what_is_on_its_way() {
        let mut moves = progress("07-08", "rz01", "rz02");
        let now = map("07 moving rz01>rz02@2\n08 serving rz02@2");
        moves.observe(&now);
        let leg = |number: &str, from: &str| Leg {
            shard: number.parse().expect("a shard"),
            from: unit(from),
            to: unit("rz03"),
        };
        moves.take(vec![leg("07", "rz02"), leg("08", "rz02")]);
        moves.observe(&now);
        assert_eq!(next(&moves, &now, &WELL), "intend 07-08");
    }
}
