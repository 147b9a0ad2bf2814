//! The protocol of a shard's moves, checked in every order of events.
//!
//! One shard, three units that share a database, two centers' controllers. The
//! map changes by the crate's own rules; what the units do with their fence is
//! restated here in a few lines. Messages are lost, doubled, overtaken; units
//! and controllers stop between any two steps, for as long as they like, and
//! crash. Edges are not modelled one by one: any unit that ever held the fence
//! may come to its commit at any moment with what it believed then, which is the
//! worst that edges with old maps, and pauses in the middle of a write, can do.
//!
//! Each bug that is planted must be found: a model that finds nothing proves
//! nothing.

use std::collections::{BTreeMap, BTreeSet};

use planner::shard_map::{self, Plan, Raised};
use stateright::{Checker, Model, Property};
use topology::{Assignment, Epoch, MapVersion, Shard, ShardMap, ShardState, UnitName};

/// A move, and one more that takes it back, sends it on or fails it over.
const EPOCH_MAX: u8 = 3;

/// Messages under way at the same time: enough to overtake each other twice.
const NET_MAX: usize = 3;

const UNITS: u8 = 3;
const CONTROLLERS: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    None,
    /// The fence is raised before the intent is in the map.
    RaiseBeforeIntent,
    /// A drain does not say which move it is of.
    DrainWithoutEpoch,
    /// A write compares nothing.
    WriteWithoutFence,
    /// Serving is published without the fence's answer.
    ServeWithoutProof,
    /// A raise that got lost is not sent again.
    RaiseOnce,
}

struct Protocol {
    bug: Bug,
    /// Without writes and doubts, a move is to end.
    quiet: bool,
}

/// What the map says of the shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Row {
    epoch: u8,
    /// None while serving.
    moving_from: Option<Option<u8>>,
    unit: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Message {
    Drain { unit: u8, epoch: u8 },
    Raise { unit: u8, epoch: u8 },
    Raised { unit: u8, epoch: u8 },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    map: Row,
    /// The epoch and the unit that may write.
    fence: (u8, u8),
    /// Units drained for the move of this epoch.
    closed: [Option<u8>; UNITS as usize],
    /// The map as each last saw it; none after a crash.
    views: [Option<Row>; CONTROLLERS],
    net: BTreeSet<Message>,
    /// What was sent already, for the bug that never repeats it.
    sent: BTreeSet<Message>,
    /// What an omniscient observer notes: whom the map named under each epoch,
    /// who held the fence, and whether a rule was broken.
    named: [Option<u8>; EPOCH_MAX as usize + 1],
    held: [Option<u8>; EPOCH_MAX as usize + 1],
    fenced_out: bool,
    two_writers: bool,
    fell: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    See(usize),
    Crash(usize),
    Move(usize, u8),
    Revert(usize),
    FailOver(usize, u8),
    Send(usize, Message),
    Publish(usize, Message),
    Deliver(Message),
    DeliverTwice(Message),
    Lose(Message),
    Commit(u8),
    CrashUnit(u8),
}

// === impl Protocol ===

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let map = Row { epoch: 1, moving_from: None, unit: 0 };
        let mut named = [None; EPOCH_MAX as usize + 1];
        named[1] = Some(0);
        vec![State {
            map,
            fence: (1, 0),
            closed: [None; UNITS as usize],
            views: [Some(map), None],
            net: BTreeSet::new(),
            sent: BTreeSet::new(),
            named,
            held: named,
            fenced_out: false,
            two_writers: false,
            fell: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (at, view) in state.views.iter().enumerate() {
            if *view != Some(state.map) {
                actions.push(Action::See(at));
            }
            let Some(view) = view else { continue };
            if !self.quiet {
                actions.push(Action::Crash(at));
            }
            if view.epoch < EPOCH_MAX && (!self.quiet || view.epoch == 1) {
                actions.extend((0..UNITS).map(|unit| Action::Move(at, unit)));
                actions.push(Action::Revert(at));
                if !self.quiet {
                    actions.extend((0..UNITS).map(|unit| Action::FailOver(at, unit)));
                }
            }
            let full = state.net.len() >= NET_MAX;
            actions.extend(
                self.sends(view).into_iter().filter(|_| !full).map(|m| Action::Send(at, m)),
            );
            actions.extend(state.net.iter().map(|message| Action::Publish(at, *message)));
            if self.bug == Bug::ServeWithoutProof {
                let proof = Message::Raised { unit: view.unit, epoch: view.epoch };
                actions.push(Action::Publish(at, proof));
            }
        }
        for message in &state.net {
            actions.push(Action::Deliver(*message));
            actions.push(Action::Lose(*message));
            if !self.quiet {
                actions.push(Action::DeliverTwice(*message));
            }
        }
        if !self.quiet {
            let each = |unit| [Action::Commit(unit), Action::CrashUnit(unit)];
            actions.extend((0..UNITS).flat_map(each));
        }
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        match action {
            Action::See(at) => state.views[at] = Some(state.map),
            Action::Crash(at) => state.views[at] = None,
            Action::Move(at, to) => {
                let to = name(to);
                state.propose(at, |map| shard_map::move_planned(map, [(shard(), &to)]))?;
            }
            Action::Revert(at) => state.propose(at, |map| {
                let stuck = map.get(shard()).map(|now| (shard(), now.epoch));
                shard_map::retarget(map, &stuck.into_iter().collect(), |from, _| from.cloned())
            })?,
            Action::FailOver(at, to) => state.propose(at, |map| {
                let lost = map.get(shard()).map(|now| now.state.target().clone());
                let lost: BTreeSet<_> = lost.into_iter().collect();
                shard_map::fail_over(map, &lost, |_, _| Some(name(to)))
            })?,
            Action::Send(_, message) => {
                if self.bug == Bug::RaiseOnce && !state.sent.insert(message) {
                    return None;
                }
                state.net.insert(message);
            }
            Action::Publish(at, message) => {
                let Message::Raised { unit, epoch } = message else { return None };
                let unit = name(unit);
                let proof = Raised { shard: shard(), epoch: Epoch(epoch.into()), unit };
                state.propose(at, |map| {
                    shard_map::publish_serving(map, std::slice::from_ref(&proof))
                })?;
            }
            Action::Deliver(message) => {
                state.net.remove(&message);
                self.receive(&mut state, message);
            }
            Action::DeliverTwice(message) => self.receive(&mut state, message),
            Action::Lose(message) => {
                state.net.remove(&message);
            }
            Action::Commit(unit) => state.commit(unit, self.bug),
            Action::CrashUnit(unit) => state.closed[usize::from(unit)] = None,
        }
        (state != *before).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Protocol>> {
        let mut properties = vec![
            Property::<Protocol>::always("one writer per epoch", |_, state| !state.two_writers),
            Property::<Protocol>::always("epochs rise", |_, state| !state.fell),
            Property::<Protocol>::always("nobody fenced out is acknowledged", |_, state| {
                !state.fenced_out
            }),
            Property::<Protocol>::always("the fence stands where the map said", |_, state| {
                let (epoch, unit) = state.fence;
                state.named[usize::from(epoch)] == Some(unit)
            }),
            Property::<Protocol>::always("who serves holds the fence", |_, state| {
                let Row { epoch, moving_from, unit } = state.map;
                moving_from.is_some() || state.fence == (epoch, unit)
            }),
            Property::<Protocol>::always("who serves is not shut", |_, state| {
                let Row { moving_from, unit, .. } = state.map;
                moving_from.is_some() || state.closed[usize::from(unit)].is_none()
            }),
        ];
        if self.quiet {
            properties.push(Property::<Protocol>::eventually("a move ends", |_, state| {
                state.map.epoch > 1 && state.map.moving_from.is_none()
            }));
        } else {
            properties.push(Property::<Protocol>::sometimes("a second move ends", |_, state| {
                state.map.epoch == EPOCH_MAX && state.map.moving_from.is_none()
            }));
        }
        properties
    }
}

impl Protocol {
    /// What a controller with this view tells the units.
    fn sends(&self, view: &Row) -> Vec<Message> {
        let mut messages = Vec::new();
        if let Some(from) = view.moving_from {
            messages.extend(from.map(|unit| Message::Drain { unit, epoch: view.epoch }));
            messages.push(Message::Raise { unit: view.unit, epoch: view.epoch });
        } else if self.bug == Bug::RaiseBeforeIntent && view.epoch < EPOCH_MAX {
            let unit = (view.unit + 1) % UNITS;
            messages.push(Message::Raise { unit, epoch: view.epoch + 1 });
        }
        messages
    }

    fn receive(&self, state: &mut State, message: Message) {
        match message {
            Message::Drain { unit, epoch } => {
                let late = state.fence.0 >= epoch && self.bug != Bug::DrainWithoutEpoch;
                let closed = &mut state.closed[usize::from(unit)];
                if !late {
                    *closed = (*closed).max(Some(epoch));
                }
            }
            Message::Raise { unit, epoch } => {
                if state.fence.0 < epoch {
                    state.fence = (epoch, unit);
                    state.held[usize::from(epoch)] = Some(unit);
                } else if state.fence != (epoch, unit) {
                    return;
                }
                let closed = &mut state.closed[usize::from(unit)];
                *closed = closed.filter(|closed| *closed > epoch);
                // An answer that finds no room in the net is one that is lost.
                if state.net.len() < NET_MAX {
                    state.net.insert(Message::Raised { unit, epoch });
                }
            }
            Message::Raised { .. } => {}
        }
    }
}

// === impl State ===

impl State {
    /// Plans from what the controller saw, and commits if it still is so.
    fn propose(&mut self, at: usize, plan: impl Fn(&ShardMap) -> Option<Plan>) -> Option<()> {
        let view = self.views[at]?;
        let plan = plan(&view.as_map())?;
        if view != self.map {
            return None;
        }
        self.map = Row::of(plan.map.get(shard())?);
        self.fell |= self.map.epoch < view.epoch;
        let named = &mut self.named[usize::from(self.map.epoch)];
        *named = Some(self.map.unit);
        self.views[at] = Some(self.map);
        Some(())
    }

    /// A write comes to its commit, whatever its unit still believes.
    fn commit(&mut self, unit: u8, bug: Bug) {
        for epoch in 1..=EPOCH_MAX {
            let stands = self.fence == (epoch, unit);
            let believes = self.held[usize::from(epoch)] == Some(unit);
            if stands || (believes && bug == Bug::WriteWithoutFence) {
                self.fenced_out |= !stands;
                self.two_writers |= self.named[usize::from(epoch)] != Some(unit);
            }
        }
    }
}

// === impl Row ===

impl Row {
    fn as_map(self) -> ShardMap {
        let state = match self.moving_from {
            None => ShardState::Serving { unit: name(self.unit) },
            Some(from) => ShardState::Moving { from: from.map(name), to: name(self.unit) },
        };
        let assignment = Assignment { epoch: Epoch(self.epoch.into()), state };
        let assignments = BTreeMap::from([(shard(), assignment)]);
        ShardMap { version: MapVersion(1), assignments, ..ShardMap::default() }
    }

    fn of(assignment: &Assignment) -> Row {
        let epoch = u8::try_from(assignment.epoch.0).expect("bounded by the model");
        let moving_from = match &assignment.state {
            ShardState::Serving { .. } => None,
            ShardState::Moving { from, .. } => Some(from.as_ref().map(number)),
        };
        Row { epoch, moving_from, unit: number(assignment.state.target()) }
    }
}

fn shard() -> Shard {
    Shard::new(42).expect("a shard")
}

fn name(unit: u8) -> UnitName {
    format!("rz{unit:02}").parse().expect("a name")
}

fn number(unit: &UnitName) -> u8 {
    unit.as_str()[2..].parse().expect("a name of ours")
}

/// Looks at every state there is.
fn explore(bug: Bug, quiet: bool) -> impl Checker<Protocol> {
    Protocol { bug, quiet }.checker().threads(2).spawn_bfs().join()
}

#[test]
fn no_order_of_events_lets_two_units_write() {
    let checker = explore(Bug::None, false);
    println!("{} states", checker.unique_state_count());
    checker.assert_properties();
}

#[test]
fn a_move_that_nobody_doubts_ends() {
    let checker = explore(Bug::None, true);
    println!("{} states", checker.unique_state_count());
    checker.assert_properties();
}

#[test]
fn every_planted_bug_is_found() {
    for (bug, quiet, property) in [
        (Bug::RaiseBeforeIntent, false, "the fence stands where the map said"),
        (Bug::DrainWithoutEpoch, false, "who serves is not shut"),
        (Bug::WriteWithoutFence, false, "nobody fenced out is acknowledged"),
        (Bug::ServeWithoutProof, false, "who serves holds the fence"),
        (Bug::RaiseOnce, true, "a move ends"),
    ] {
        let found = explore_until(bug, quiet, property);
        assert!(found, "{bug:?} was not found");
    }
}

/// Stops at the first state that breaks anything.
fn explore_until(bug: Bug, quiet: bool, property: &'static str) -> bool {
    let found = stateright::HasDiscoveries::AnyOf(BTreeSet::from([property]));
    let checker =
        Protocol { bug, quiet }.checker().threads(2).finish_when(found).spawn_bfs().join();
    checker.discovery(property).is_some()
}
