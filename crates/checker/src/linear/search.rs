//! The search itself.

use std::collections::HashSet;

use super::{
    Verdict,
    group::{Call, Group, Seen, Step, Txn, What},
};
use crate::history::{Is, KeyValue};

/// What is known of a key that is there. Revisions that nobody has told yet
/// are unknown.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Cell {
    value: String,
    version: u64,
    created: Option<u64>,
    modified: Option<u64>,
    lease: Option<i64>,
}

type State = Vec<Option<Cell>>;

/// Which calls have taken effect.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Done(Vec<u64>);

/// A configuration and the ways on from it.
struct Frame {
    done: Done,
    ways: Vec<(usize, State)>,
}

impl From<&KeyValue> for Cell {
    fn from(kv: &KeyValue) -> Cell {
        Cell {
            value: kv.value.clone(),
            version: kv.version,
            created: Some(kv.created),
            modified: Some(kv.modified),
            lease: kv.lease,
        }
    }
}

/// Whether some order of the group's calls explains their answers.
pub(super) fn explain(group: &Group, steps_max: usize) -> Verdict {
    let closed = group.calls.iter().filter(|call| call.end.is_some()).count();
    let none = Done(vec![0; group.calls.len().div_ceil(64)]);
    let start: State = group.before.iter().map(|kv| kv.as_ref().map(Cell::from)).collect();
    let mut seen: HashSet<(Done, State)> = HashSet::new();
    let first = ways(group, &none, &start);
    let mut best = (0, none.clone(), start);
    let mut stack = vec![Frame { done: none, ways: first }];
    if closed == 0 {
        return Verdict::Explained;
    }
    while let Some(frame) = stack.last_mut() {
        let Some((call, state)) = frame.ways.pop() else {
            stack.pop();
            continue;
        };
        let done = frame.done.with(call);
        if !seen.insert((done.clone(), state.clone())) {
            continue;
        }
        if seen.len() > steps_max {
            return Verdict::Open;
        }
        let explained = explained(group, &done);
        if explained == closed {
            return Verdict::Explained;
        }
        let next = ways(group, &done, &state);
        if explained > best.0 {
            best = (explained, done.clone(), state);
        }
        stack.push(Frame { done, ways: next });
    }
    Verdict::Unexplained(how_far(group, closed, &best))
}

fn explained(group: &Group, done: &Done) -> usize {
    let calls = group.calls.iter().enumerate();
    calls.filter(|(index, call)| call.end.is_some() && done.has(*index)).count()
}

fn how_far(
    group: &Group,
    closed: usize,
    (explained, done, state): &(usize, Done, State),
) -> String {
    let stuck = first_to_end(group, done).map(|(_, call)| call);
    format!("after {explained} of {closed} operations, at {state:?}, nothing explains {stuck:?}")
}

/// Every call that may be next, with what it leads to, the likeliest last.
fn ways(group: &Group, done: &Done, state: &State) -> Vec<(usize, State)> {
    let Some((ends, _)) = first_to_end(group, done) else { return Vec::new() };
    let mut open = Vec::new();
    let mut closed = Vec::new();
    for (index, call) in group.calls.iter().enumerate() {
        if call.call > ends {
            break;
        }
        if done.has(index) {
            continue;
        }
        for next in effects(call, state) {
            match call.end {
                Some(_) => closed.push((index, next)),
                // One that changes nothing may as well never happen.
                None if next == *state => {}
                None => open.push((index, next)),
            }
        }
    }
    open.reverse();
    closed.reverse();
    open.extend(closed);
    open
}

/// Whichever call has not taken effect and was over first: nothing that was
/// called after that can come before it.
fn first_to_end<'g>(group: &'g Group, done: &Done) -> Option<(u64, &'g Call)> {
    let waiting = group.calls.iter().enumerate().filter(|(index, _)| !done.has(*index));
    waiting.filter_map(|(_, call)| Some((call.end?, call))).min_by_key(|(end, _)| *end)
}

/// The states that a call may lead to: none if it contradicts, several if it
/// depends on what nobody has told.
fn effects(call: &Call, state: &State) -> Vec<State> {
    match &call.what {
        What::Read { key, found } => {
            let mut next = state.clone();
            match observe(&mut next[*key], found.as_ref()) {
                true => vec![next],
                false => Vec::new(),
            }
        }
        What::Lapse(lease) => {
            let mut next = state.clone();
            for cell in &mut next {
                if cell.as_ref().is_some_and(|cell| cell.lease == Some(*lease)) {
                    *cell = None;
                }
            }
            vec![next]
        }
        What::Txn(txn) => txn_effects(txn, state),
    }
}

fn txn_effects(txn: &Txn, state: &State) -> Vec<State> {
    let mut branches = Vec::new();
    let truths: Vec<_> = txn.compares.iter().map(|(key, is)| holds(&state[*key], is)).collect();
    let may_hold = truths.iter().all(|truth| *truth != Some(false));
    let may_fail = truths.iter().any(|truth| *truth != Some(true));
    if may_hold && txn.answer.is_none_or(|(succeeded, _)| succeeded) {
        let mut next = state.clone();
        txn.compares.iter().for_each(|(key, is)| learn(&mut next[*key], is));
        branches.push((next, &txn.success));
    }
    if may_fail && txn.answer.is_none_or(|(succeeded, _)| !succeeded) {
        branches.push((state.clone(), &txn.failure));
    }
    let revision = txn.answer.and_then(|(_, revision)| revision);
    let run = |(next, steps): (State, &Vec<Step>)| run(next, steps, revision);
    branches.into_iter().filter_map(run).collect()
}

fn run(mut state: State, steps: &[Step], revision: Option<u64>) -> Option<State> {
    for step in steps {
        match step {
            Step::Put { key, value, lease } => {
                let cell = &mut state[*key];
                let (created, version) = match cell {
                    Some(old) => (old.created, old.version + 1),
                    None => (revision, 1),
                };
                let (value, lease) = (value.clone(), *lease);
                *cell = Some(Cell { value, version, created, modified: revision, lease });
            }
            Step::Delete { keys, deleted } => {
                let mut here = 0;
                for key in keys {
                    here += usize::from(state[*key].take().is_some());
                }
                if deleted.is_some_and(|deleted| deleted != here) {
                    return None;
                }
            }
            Step::Get { key, found } => {
                if let Some(found) = found
                    && !observe(&mut state[*key], found.as_ref())
                {
                    return None;
                }
            }
        }
    }
    Some(state)
}

/// None when it depends on a revision that nobody has told.
fn holds(cell: &Option<Cell>, is: &Is) -> Option<bool> {
    let Some(cell) = cell else {
        return Some(matches!(is, Is::Modified(0) | Is::Created(0) | Is::Version(0)));
    };
    match is {
        Is::Modified(other) => {
            cell.modified.map(|modified| modified == *other).or_else(|| never(*other))
        }
        Is::Created(other) => {
            cell.created.map(|created| created == *other).or_else(|| never(*other))
        }
        Is::Version(other) => Some(cell.version == *other),
        Is::Value(other) => Some(cell.value == *other),
    }
}

/// No key that is there was written at zero.
fn never(revision: u64) -> Option<bool> {
    (revision == 0).then_some(false)
}

fn learn(cell: &mut Option<Cell>, is: &Is) {
    let Some(cell) = cell else { return };
    match is {
        Is::Modified(revision) => cell.modified = Some(*revision),
        Is::Created(revision) => cell.created = Some(*revision),
        Is::Version(_) | Is::Value(_) => {}
    }
}

/// Whether the key can have been seen like this; learns what was not known.
fn observe(cell: &mut Option<Cell>, found: Option<&Seen>) -> bool {
    let (Some(cell), Some(found)) = (cell.as_mut(), found) else {
        return cell.is_none() && found.is_none();
    };
    let agrees = cell.value == found.value
        && cell.version == found.version
        && cell.created.is_none_or(|created| created == found.created)
        && cell.modified.is_none_or(|modified| modified == found.modified);
    cell.created = Some(found.created);
    cell.modified = Some(found.modified);
    agrees
}

// === impl Done ===

impl Done {
    fn has(&self, call: usize) -> bool {
        self.0[call / 64] >> (call % 64) & 1 == 1
    }

    fn with(&self, call: usize) -> Done {
        let mut done = self.clone();
        done.0[call / 64] |= 1 << (call % 64);
        done
    }
}
