//! The one order of all writes, as their revisions tell it.
//!
//! Replays the log and asks of every revision who made it: an operation that
//! was answered with it, one of unknown outcome that would have done exactly
//! this, or the end of a lease. An unknown operation is used up by that, so one
//! that was applied twice leaves a revision that nobody made. Then every read
//! is held against the state at its revision.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Violation,
    history::{
        Change, History, KeyValue, OpResult, Operation, Outcome, Range, Request, Response, Said,
    },
    model::{Ran, State},
};

/// Everything that happened, in order.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    pub(crate) revisions: BTreeMap<u64, Entry>,
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub changes: Vec<Changed>,
    /// By now somebody knew of it.
    pub known_at: u64,
    pub cause: Cause,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Changed {
    pub change: Change,
    pub before: Option<KeyValue>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Its index in the history.
    Operation(usize),
    Revoked,
    Expired {
        lease: i64,
    },
}

/// When each revision was known to somebody at the latest.
struct Known(BTreeMap<u64, u64>);

/// A replay under way.
struct Replay<'a> {
    history: &'a History,
    known: Known,
    /// Answered with this revision, and wrote.
    writers: BTreeMap<u64, usize>,
    /// Of unknown outcome, and not found in the log so far.
    open: BTreeSet<usize>,
    state: State,
}

/// Puts the log together and finds out who made each revision.
///
/// # Errors
/// What is wrong with it; nothing when the history does not claim to know the
/// whole log, so that nothing can be said.
pub fn replay(history: &History) -> Result<Timeline, Vec<Violation>> {
    if !history.setup.complete {
        return Err(Vec::new());
    }
    let log = log(history).map_err(|violation| vec![violation])?;
    let mut replay = Replay::new(history)?;
    let mut timeline = Timeline::default();
    let mut violations = Vec::new();
    for (revision, changes) in log {
        if revision != replay.state.revision + 1 {
            let what = format!("{} is followed by {revision}", replay.state.revision);
            violations.push(Violation::new("no gaps", what));
            return Err(violations);
        }
        match replay.cause(revision, &changes) {
            Ok(cause) => {
                let known_at = replay.known.at(revision);
                let keys = &replay.state.keys;
                let changed = |change: Change| {
                    let before = keys.get(change.key()).cloned();
                    Changed { change, before }
                };
                let entry = Entry {
                    changes: changes.iter().cloned().map(changed).collect(),
                    known_at,
                    cause,
                };
                timeline.revisions.insert(revision, entry);
            }
            Err(violation) => violations.push(violation),
        }
        replay.state.apply(&changes);
    }
    let last = replay.state.revision;
    if let Some((revision, told)) = replay.known.0.last_key_value().filter(|(at, _)| **at > last) {
        let what = format!("revision {revision} was told of at {told}, but the log ends at {last}");
        violations.push(Violation::new("nothing acknowledged is lost", what));
    }
    match violations.is_empty() {
        true => Ok(timeline),
        false => Err(violations),
    }
}

/// As recorded, or as watchers of everything saw it.
fn log(history: &History) -> Result<BTreeMap<u64, Vec<Change>>, Violation> {
    if !history.log.is_empty() {
        return Ok(history.log.iter().map(|at| (at.revision, at.changes.clone())).collect());
    }
    let mut log: BTreeMap<u64, Vec<Change>> = BTreeMap::new();
    let whole =
        |watch: &&crate::history::Watch| watch.keys.are_all() && !watch.no_put && !watch.no_delete;
    for watch in history.watches.iter().filter(whole) {
        let mut seen: BTreeMap<u64, Vec<Change>> = BTreeMap::new();
        for item in &watch.items {
            let Said::Events(events) = &item.said else { continue };
            for event in events {
                seen.entry(event.revision).or_default().push(event.change.clone());
            }
        }
        for (revision, changes) in seen {
            match log.get(&revision) {
                None => drop(log.insert(revision, changes)),
                Some(known) if same(known, &changes) => {}
                Some(known) => {
                    let what = format!(
                        "revision {revision} was {known:?} to one watcher and {changes:?} to another"
                    );
                    return Err(Violation::new("one history for all", what));
                }
            }
        }
    }
    Ok(log)
}

/// The same changes, in any order.
fn same(one: &[Change], other: &[Change]) -> bool {
    let sorted = |changes: &[Change]| {
        let mut changes = changes.to_vec();
        changes.sort_by(|a, b| a.key().cmp(b.key()));
        changes
    };
    one.len() == other.len() && sorted(one) == sorted(other)
}

fn wrote(results: &[OpResult]) -> bool {
    results.iter().any(|result| match result {
        OpResult::Put => true,
        OpResult::Deleted(keys) => *keys > 0,
        OpResult::Got(_) => false,
    })
}

/// The revision that an operation made, as it was told.
pub(crate) fn written(operation: &Operation) -> Option<u64> {
    match &operation.outcome {
        Outcome::Ok(Response::Txn(answer)) if wrote(&answer.results) => Some(answer.revision),
        _ => None,
    }
}

// === impl Replay ===

impl<'a> Replay<'a> {
    fn new(history: &'a History) -> Result<Replay<'a>, Vec<Violation>> {
        let mut writers = BTreeMap::new();
        let mut violations = Vec::new();
        let mut open = BTreeSet::new();
        for (index, operation) in history.operations.iter().enumerate() {
            if operation.is_open() {
                open.insert(index);
            }
            let Some(revision) = written(operation) else { continue };
            if let Some(other) = writers.insert(revision, index) {
                let other = &history.operations[other];
                let what = format!("{revision} was given to {other:?} and to {operation:?}");
                violations.push(Violation::new("unique revisions", what));
            }
        }
        match violations.is_empty() {
            true => {
                let known = Known::of(history);
                Ok(Replay { history, known, writers, open, state: State::before(history) })
            }
            false => Err(violations),
        }
    }

    fn cause(&mut self, revision: u64, changes: &[Change]) -> Result<Cause, Violation> {
        if let Some(index) = self.writers.get(&revision) {
            return self.confirm(*index, changes).map(|()| Cause::Operation(*index));
        }
        let known_at = self.known.at(revision);
        let made = self.open.iter().copied().find(|index| {
            let operation = &self.history.operations[*index];
            let Request::Txn(txn) = &operation.request else { return false };
            operation.call < known_at && same(&self.state.run(txn).changes, changes)
        });
        if let Some(index) = made {
            self.open.remove(&index);
            return Ok(Cause::Operation(index));
        }
        if let Some(lease) = self.lease_of(changes) {
            return Ok(match self.was_revoked(lease, known_at) {
                true => Cause::Revoked,
                false => Cause::Expired { lease },
            });
        }
        let what = format!("{revision} was made by nobody: {changes:?}");
        Err(Violation::new("every revision has a cause", what))
    }

    /// The operation that was answered with this revision did exactly this.
    fn confirm(&self, index: usize, changes: &[Change]) -> Result<(), Violation> {
        let operation = &self.history.operations[index];
        let Request::Txn(txn) = &operation.request else { return Ok(()) };
        let Ran { changes: due, answer } = self.state.run(txn);
        if !same(&due, changes) {
            let what = format!("{operation:?} was due to do {due:?} and did {changes:?}");
            return Err(Violation::new("strict serializability", what));
        }
        answered(operation, &Response::Txn(answer))
    }

    /// The lease that these deletions were all the keys of.
    fn lease_of(&self, changes: &[Change]) -> Option<i64> {
        let first = self.state.keys.get(changes.first()?.key())?;
        let lease = first.lease?;
        let mut deleted = Vec::new();
        for change in changes {
            let Change::Delete { key } = change else { return None };
            deleted.push(key.as_str());
        }
        deleted.sort_unstable();
        (deleted == self.state.leased(lease)).then_some(lease)
    }

    fn was_revoked(&self, lease: i64, known_at: u64) -> bool {
        self.history.operations.iter().any(|operation| {
            operation.request == Request::Revoke { lease }
                && operation.call < known_at
                && !matches!(operation.outcome, Outcome::Failed(_))
        })
    }
}

fn answered(operation: &Operation, due: &Response) -> Result<(), Violation> {
    match &operation.outcome {
        Outcome::Ok(response) if response == due => Ok(()),
        _ => {
            let what = format!("{operation:?} was due to be answered {due:?}");
            Err(Violation::new("strict serializability", what))
        }
    }
}

// === impl Known ===

impl Known {
    fn of(history: &History) -> Known {
        let mut known: BTreeMap<u64, u64> = BTreeMap::new();
        let mut tell = |revision: u64, at: u64| {
            let first = known.entry(revision).or_insert(at);
            *first = at.min(*first);
        };
        for operation in &history.operations {
            if let (Some(revision), Some(end)) = (operation.revision(), operation.end) {
                tell(revision, end);
            }
        }
        for item in history.watches.iter().flat_map(|watch| &watch.items) {
            match &item.said {
                Said::Created { revision } | Said::Progress { revision } => {
                    tell(*revision, item.at)
                }
                Said::Events(events) => {
                    events.iter().for_each(|event| tell(event.revision, item.at));
                }
                Said::Ended(_) => {}
            }
        }
        for revision in &history.log {
            if let Some(at) = revision.at {
                tell(revision.revision, at);
            }
        }
        let mut earliest = u64::MAX;
        for at in known.values_mut().rev() {
            earliest = earliest.min(*at);
            *at = earliest;
        }
        Known(known)
    }

    fn at(&self, revision: u64) -> u64 {
        self.0.range(revision..).next().map_or(u64::MAX, |(_, at)| *at)
    }
}

// === impl Timeline ===

impl Timeline {
    /// Every read, and every transaction that wrote nothing, is the state at
    /// its revision; nobody was told of a write before it was asked for.
    #[must_use]
    pub fn check(&self, history: &History) -> Vec<Violation> {
        let mut reads: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        for (index, operation) in history.operations.iter().enumerate() {
            let (Some(revision), None) = (operation.revision(), written(operation)) else {
                continue;
            };
            let asked = match &operation.request {
                Request::Range(Range { revision: asked, .. }) => *asked,
                _ => None,
            };
            reads.entry(asked.unwrap_or(revision)).or_default().push(index);
        }
        let mut violations = Vec::new();
        let mut state = State::before(history);
        let mut read = |state: &State| {
            for index in reads.remove(&state.revision).unwrap_or_default() {
                violations.extend(confirm_read(state, &history.operations[index]));
            }
        };
        read(&state);
        for entry in self.revisions.values() {
            let changes: Vec<_> = entry.changes.iter().map(|at| at.change.clone()).collect();
            state.apply(&changes);
            read(&state);
        }
        for (revision, indices) in reads {
            let operation = &history.operations[indices[0]];
            let what = format!("nothing is known of revision {revision}: {operation:?}");
            violations.push(Violation::new("strict serializability", what));
        }
        for entry in self.revisions.values() {
            let Cause::Operation(index) = entry.cause else { continue };
            let operation = &history.operations[index];
            if operation.call > entry.known_at {
                let what = format!("{operation:?} was seen at {} already", entry.known_at);
                violations.push(Violation::new("real time", what));
            }
        }
        violations
    }

    #[must_use]
    pub fn last(&self) -> u64 {
        self.revisions.last_key_value().map_or(1, |(revision, _)| *revision)
    }
}

fn confirm_read(state: &State, operation: &Operation) -> Option<Violation> {
    let due = match (&operation.request, &operation.outcome) {
        (Request::Range(range), Outcome::Ok(Response::Range(ranged))) => {
            let (kvs, count) = state.read(range);
            let due = crate::history::Ranged { revision: ranged.revision, kvs, count };
            Response::Range(due)
        }
        (Request::Txn(txn), _) => Response::Txn(state.run(txn).answer),
        _ => return None,
    };
    answered(operation, &due).err()
}
