//! A split in the middle of everything else, checked in every order of events.
//!
//! One shard of two halves, two units, two controllers with pictures of their own.
//! `protocol.rs` checks moves of a shard; here the map may be split between any two
//! steps of them, while raises that were asked for by the map of before are lost,
//! doubled, and late. The map changes by the crate's own rules; a unit raises what a
//! message names, all of it or nothing.
//!
//! Each bug that is planted must be found.

use std::collections::BTreeSet;

use planner::shard_map::{self, Plan, Raised};
use stateright::{Checker, Model, Property};
use topology::{
    Assignment, BucketRange, Epoch, Layout, MapVersion, Shard, ShardMap, ShardState, UnitName,
};

/// A move of the whole, and one of each half after it.
const EPOCH_MAX: u8 = 3;
const NET_MAX: usize = 2;
const UNITS: u8 = 2;
const CONTROLLERS: usize = 2;
const HALVES: [usize; 2] = [0, 1];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    None,
    /// A unit takes the number of a shard for the buckets that it had once.
    RaiseByNumber,
    /// The part counts its epochs from the beginning.
    PartStartsAnew,
    /// The part is given to another unit as it is cut off.
    SplitMoves,
}

struct Protocol(Bug);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Row {
    epoch: u8,
    is_moving: bool,
    unit: u8,
}

/// The shard alone, or what is left of it and the part.
type Map = (Row, Option<Row>);

/// Of the shard or of the part, and whether of the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Message {
    answer: bool,
    part: bool,
    whole: bool,
    unit: u8,
    epoch: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    map: Map,
    fences: [(u8, u8); 2],
    views: [Map; CONTROLLERS],
    net: BTreeSet<Message>,
    /// Whom the map named for each half under each epoch.
    named: [[Option<u8>; EPOCH_MAX as usize + 1]; 2],
    fell: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    See(usize),
    Split(usize),
    Move(usize, bool, u8),
    FailOver(usize, u8),
    Send(Message),
    Publish(usize, Message),
    Deliver(Message),
    DeliverTwice(Message),
    Lose(Message),
}

// === impl Protocol ===

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let row = Row { epoch: 1, is_moving: false, unit: 0 };
        let mut named = [[None; EPOCH_MAX as usize + 1]; 2];
        for half in &mut named {
            half[1] = Some(0);
        }
        let (map, views) = ((row, None), [(row, None); CONTROLLERS]);
        vec![State { map, fences: [(1, 0); 2], views, net: BTreeSet::new(), named, fell: false }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (at, view) in state.views.iter().enumerate() {
            if *view != state.map {
                actions.push(Action::See(at));
            }
            actions.push(Action::Split(at));
            let units = 0..UNITS;
            for part in [false, true] {
                let Some(row) = row_of(view, part) else { continue };
                if row.epoch < EPOCH_MAX {
                    actions.extend(units.clone().map(|unit| Action::Move(at, part, unit)));
                }
                if row.is_moving && state.net.len() < NET_MAX {
                    let Row { unit, epoch, .. } = row;
                    let whole = view.1.is_none();
                    let raise = Message { answer: false, part, whole, unit, epoch };
                    actions.push(Action::Send(raise));
                }
            }
            if view.0.epoch < EPOCH_MAX && view.1.is_none_or(|part| part.epoch < EPOCH_MAX) {
                actions.extend(units.map(|unit| Action::FailOver(at, unit)));
            }
            let answers = state.net.iter().filter(|message| message.answer);
            actions.extend(answers.map(|message| Action::Publish(at, *message)));
        }
        for message in &state.net {
            actions.push(Action::Deliver(*message));
            actions.push(Action::DeliverTwice(*message));
            actions.push(Action::Lose(*message));
        }
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        match action {
            Action::See(at) => state.views[at] = state.map,
            Action::Split(at) => {
                state.propose(at, |map| shard_map::split(map, half(1)).ok().flatten())?;
                let part = state.map.1.as_mut().expect("it was split");
                match self.0 {
                    Bug::PartStartsAnew => part.epoch = 1,
                    Bug::SplitMoves => part.unit = 1 - part.unit,
                    Bug::None | Bug::RaiseByNumber => {}
                }
                state.views[at] = state.map;
            }
            Action::Move(at, part, to) => {
                let to = name(to);
                state.propose(at, |map| shard_map::move_planned(map, [(shard(part), &to)]))?;
            }
            Action::FailOver(at, to) => {
                let lost = BTreeSet::from([name(1 - to)]);
                state.propose(at, |map| shard_map::fail_over(map, &lost, |_, _| Some(name(to))))?;
            }
            Action::Send(message) => {
                state.net.insert(message);
            }
            Action::Publish(at, Message { part, unit, epoch, .. }) => {
                let unit = name(unit);
                let proof = Raised { shard: shard(part), epoch: Epoch(epoch.into()), unit };
                state.propose(at, |map| {
                    shard_map::publish_serving(map, std::slice::from_ref(&proof))
                })?;
            }
            Action::Deliver(message) => {
                state.net.remove(&message);
                state.receive(message, self.0);
            }
            Action::DeliverTwice(message) => state.receive(message, self.0),
            Action::Lose(message) => {
                state.net.remove(&message);
            }
        }
        (state != *before).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Protocol>> {
        vec![
            Property::<Protocol>::always("the fence stands where the map said", |_, state| {
                HALVES.iter().all(|half| {
                    let (epoch, unit) = state.fences[*half];
                    state.named[*half][usize::from(epoch)] == Some(unit)
                })
            }),
            Property::<Protocol>::always("who serves holds the fence", |_, state| {
                HALVES.iter().all(|half| {
                    let Row { epoch, is_moving, unit } = state.row_at(*half);
                    is_moving || state.fences[*half] == (epoch, unit)
                })
            }),
            Property::<Protocol>::always(
                "nobody is named twice under an epoch, and none falls",
                |_, s| !s.fell,
            ),
            Property::<Protocol>::sometimes("the halves are served by two units", |_, state| {
                let rows = HALVES.map(|half| state.row_at(half));
                rows.iter().all(|row| !row.is_moving && row.epoch > 1)
                    && rows[0].unit != rows[1].unit
            }),
        ]
    }
}

// === impl State ===

impl State {
    fn row_at(&self, half: usize) -> Row {
        self.map.1.filter(|_| half == 1).unwrap_or(self.map.0)
    }

    /// Plans from what the controller saw, and commits if it still is so.
    fn propose(&mut self, at: usize, plan: impl Fn(&ShardMap) -> Option<Plan>) -> Option<()> {
        let view = self.views[at];
        let plan = plan(&as_map(&view))?;
        if view != self.map {
            return None;
        }
        let before = HALVES.map(|half| self.row_at(half));
        let row = |part| plan.map.get(shard(part)).map(row_from);
        self.map = (row(false)?, row(true));
        self.views[at] = self.map;
        for half in HALVES {
            let Row { epoch, unit, .. } = self.row_at(half);
            let named = &mut self.named[half][usize::from(epoch)];
            self.fell |= epoch < before[half].epoch || named.is_some_and(|known| known != unit);
            *named = Some(unit);
        }
        Some(())
    }

    /// All rows that are named, or none.
    fn receive(&mut self, message: Message, bug: Bug) {
        let Message { answer, part, whole, unit, epoch } = message;
        if answer {
            return;
        }
        let whole = whole || (bug == Bug::RaiseByNumber && !part);
        let rows: Vec<_> =
            HALVES.into_iter().filter(|half| whole || (*half == 1) == part).collect();
        let ahead = |half: &usize| {
            let (stands, owner) = self.fences[*half];
            stands > epoch || (stands == epoch && owner != unit)
        };
        if rows.iter().any(ahead) {
            return;
        }
        for half in rows {
            self.fences[half] = (epoch, unit);
        }
        if self.net.len() < NET_MAX {
            self.net.insert(Message { answer: true, ..message });
        }
    }
}

fn row_of(map: &Map, part: bool) -> Option<Row> {
    if part { map.1 } else { Some(map.0) }
}

fn as_map(map: &Map) -> ShardMap {
    let mut layout = Layout::default();
    if map.1.is_some() {
        let part = layout.split(half(1)).expect("it was split so");
        assert_eq!(part, shard(true));
    }
    let rows = [(false, Some(map.0)), (true, map.1)];
    let assignments = rows.into_iter().filter_map(|(part, row)| {
        let Row { epoch, is_moving, unit } = row?;
        let state = match is_moving {
            true => ShardState::Moving { from: None, to: name(unit) },
            false => ShardState::Serving { unit: name(unit) },
        };
        Some((shard(part), Assignment { epoch: Epoch(epoch.into()), state }))
    });
    ShardMap { version: MapVersion(1), layout, assignments: assignments.collect() }
}

fn row_from(assignment: &Assignment) -> Row {
    let epoch = u8::try_from(assignment.epoch.0).expect("bounded by the model");
    let is_moving = matches!(assignment.state, ShardState::Moving { .. });
    let unit = assignment.state.target().as_str()[2..].parse().expect("a name of ours");
    Row { epoch, is_moving, unit }
}

fn half(upper: usize) -> BucketRange {
    ["4200-4249", "4250-4299"][upper].parse().expect("buckets")
}

fn shard(part: bool) -> Shard {
    Shard::new(if part { 100 } else { 42 }).expect("a shard")
}

fn name(unit: u8) -> UnitName {
    format!("rz{unit:02}").parse().expect("a name")
}

#[test]
fn no_order_of_events_around_a_split_lets_two_units_write() {
    let checker = Protocol(Bug::None).checker().threads(2).spawn_bfs().join();
    println!("{} states", checker.unique_state_count());
    checker.assert_properties();
}

#[test]
fn every_planted_bug_is_found() {
    for (bug, property) in [
        (Bug::RaiseByNumber, "the fence stands where the map said"),
        (Bug::PartStartsAnew, "who serves holds the fence"),
        (Bug::SplitMoves, "who serves holds the fence"),
    ] {
        let found = stateright::HasDiscoveries::AnyOf(BTreeSet::from([property]));
        let checker = Protocol(bug).checker().threads(2).finish_when(found).spawn_bfs().join();
        assert!(checker.discovery(property).is_some(), "{bug:?} was not found");
    }
}
