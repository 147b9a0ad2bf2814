//! Keys that must be judged together, and what was done to them.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::State;

use crate::history::{
    Compare, History, Is, KeyValue, Keys, Op, OpResult, Operation, Outcome, Request, Response,
};

pub(super) struct Group {
    pub keys: Vec<String>,
    /// What each of them was before.
    pub before: Vec<Option<KeyValue>>,
    /// By the time of their calls.
    pub calls: Vec<Call>,
}

/// One operation, as far as it concerns a group. Keys are indices into the
/// group's.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub call: u64,
    /// None when it may take effect at any later time, or never.
    pub end: Option<u64>,
    pub what: What,
}

#[derive(Clone, Debug)]
pub(super) enum What {
    Read {
        key: usize,
        found: Option<Seen>,
    },
    Txn(Txn),
    /// The lease may end.
    Lapse(i64),
}

#[derive(Clone, Debug)]
pub(super) struct Txn {
    pub compares: Vec<(usize, Is)>,
    pub success: Vec<Step>,
    pub failure: Vec<Step>,
    /// What was answered, if it was: whether it succeeded, and the revision it
    /// made.
    pub answer: Option<(bool, Option<u64>)>,
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    Put {
        key: usize,
        value: String,
        lease: Option<i64>,
    },
    /// Those of the group; how many were there, if all of them are and it is
    /// known.
    Delete {
        keys: Vec<usize>,
        deleted: Option<usize>,
    },
    /// What was found, if it is known.
    Get {
        key: usize,
        found: Option<Option<Seen>>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Seen {
    pub value: String,
    pub version: u64,
    pub created: u64,
    pub modified: u64,
}

pub(super) fn groups(history: &History) -> Vec<Group> {
    let keys = keys(history);
    let mut together = Together::new(keys.len());
    let numbers: BTreeMap<&str, usize> =
        keys.iter().enumerate().map(|(number, key)| (*key, number)).collect();
    for operation in &history.operations {
        let mut touched = touched(operation, &keys, &numbers).into_iter();
        if let Some(first) = touched.next() {
            touched.for_each(|other| together.join(first, other));
        }
    }
    let mut members: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for number in 0..keys.len() {
        members.entry(together.root(number)).or_default().push(number);
    }
    let group = |numbers: Vec<usize>| {
        let keys = numbers.into_iter().map(|number| keys[number].to_owned()).collect();
        Group::new(keys, history)
    };
    members.into_values().map(group).collect()
}

/// Every key that is named anywhere.
fn keys(history: &History) -> Vec<&str> {
    let mut keys = BTreeSet::new();
    for operation in &history.operations {
        match &operation.request {
            Request::Range(range) if range.keys.end.is_none() => {
                keys.insert(range.keys.key.as_str());
            }
            Request::Txn(txn) => {
                keys.extend(txn.compares.iter().map(|compare| compare.key.as_str()));
                for op in txn.success.iter().chain(&txn.failure) {
                    match op {
                        Op::Put { key, .. } => drop(keys.insert(key.as_str())),
                        Op::Delete(range) | Op::Get(range) if range.end.is_none() => {
                            keys.insert(range.key.as_str());
                        }
                        Op::Delete(_) | Op::Get(_) => {}
                    }
                }
            }
            _ => {}
        }
    }
    keys.into_iter().collect()
}

/// Keys that an operation binds to each other.
fn touched(operation: &Operation, keys: &[&str], numbers: &BTreeMap<&str, usize>) -> Vec<usize> {
    let Request::Txn(txn) = &operation.request else { return Vec::new() };
    if matches!(operation.outcome, Outcome::Failed(_)) {
        return Vec::new();
    }
    let mut touched: Vec<usize> =
        txn.compares.iter().map(|compare| numbers[compare.key.as_str()]).collect();
    for op in txn.success.iter().chain(&txn.failure) {
        match op {
            Op::Put { key, .. } => touched.push(numbers[key.as_str()]),
            Op::Delete(range) | Op::Get(range) => {
                let inside = |number: &usize| range.contain(keys[*number]);
                touched.extend((0..keys.len()).filter(inside));
            }
        }
    }
    touched
}

/// Disjoint sets.
struct Together(Vec<usize>);

// === impl Together ===

impl Together {
    fn new(count: usize) -> Together {
        Together((0..count).collect())
    }

    fn root(&self, mut of: usize) -> usize {
        while self.0[of] != of {
            of = self.0[of];
        }
        of
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.root(one), self.root(other));
        self.0[one.max(other)] = one.min(other);
    }
}

// === impl Group ===

impl Group {
    fn new(keys: Vec<String>, history: &History) -> Group {
        let mut state = State::before(history);
        let before: Vec<_> = keys.iter().map(|key| state.keys.remove(key)).collect();
        let held = before.iter().flatten().filter_map(|kv| kv.lease);
        let mut leases: BTreeMap<i64, u64> = held.map(|lease| (lease, 0)).collect();
        let mut group = Group { keys, before, calls: Vec::new() };
        for operation in &history.operations {
            if matches!(operation.outcome, Outcome::Failed(_)) {
                continue;
            }
            match &operation.request {
                Request::Range(_) => group.add_reads(operation),
                Request::Txn(txn) => group.add_txn(operation, txn, &mut leases),
                _ => {}
            }
        }
        for (lease, call) in leases {
            group.calls.push(Call { call, end: None, what: What::Lapse(lease) });
        }
        group.calls.sort_by_key(|call| call.call);
        group
    }

    pub fn name(&self) -> String {
        self.keys.join(" ")
    }

    fn number(&self, key: &str) -> Option<usize> {
        self.keys.binary_search_by(|known| known.as_str().cmp(key)).ok()
    }

    fn inside(&self, range: &Keys) -> Vec<usize> {
        (0..self.keys.len()).filter(|number| range.contain(&self.keys[*number])).collect()
    }

    fn add_reads(&mut self, operation: &Operation) {
        let (Request::Range(range), Outcome::Ok(Response::Range(ranged))) =
            (&operation.request, &operation.outcome)
        else {
            return;
        };
        let whole = ranged.kvs.len() == ranged.count;
        if range.serializable || range.revision.is_some() || !whole {
            return;
        }
        for key in self.inside(&range.keys) {
            let found = seen(&ranged.kvs, &self.keys[key]);
            let what = What::Read { key, found };
            self.calls.push(Call { call: operation.call, end: operation.end, what });
        }
    }

    fn add_txn(
        &mut self,
        operation: &Operation,
        txn: &crate::history::Txn,
        leases: &mut BTreeMap<i64, u64>,
    ) {
        let answer = match &operation.outcome {
            Outcome::Ok(Response::Txn(answer)) => Some(answer),
            _ => None,
        };
        let compare = |Compare { key, is }: &Compare| Some((self.number(key)?, is.clone()));
        let compares: Vec<_> = txn.compares.iter().filter_map(compare).collect();
        let results = |succeeded| {
            answer.filter(|answer| answer.succeeded == succeeded).map(|answer| &answer.results[..])
        };
        let txn_here = Txn {
            compares,
            success: self.steps(&txn.success, results(true)),
            failure: self.steps(&txn.failure, results(false)),
            answer: answer.map(|answer| (answer.succeeded, crate::timeline::written(operation))),
        };
        let steps = || txn_here.success.iter().chain(&txn_here.failure);
        if txn_here.compares.is_empty() && steps().next().is_none() {
            return;
        }
        for step in steps() {
            if let Step::Put { lease: Some(lease), .. } = step {
                let first = leases.entry(*lease).or_insert(operation.call);
                *first = operation.call.min(*first);
            }
        }
        let (call, end) = (operation.call, operation.ended());
        self.calls.push(Call { call, end, what: What::Txn(txn_here) });
    }

    fn steps(&self, ops: &[Op], results: Option<&[OpResult]>) -> Vec<Step> {
        let mut steps = Vec::new();
        for (index, op) in ops.iter().enumerate() {
            let result = results.and_then(|results| results.get(index));
            match (op, result) {
                (Op::Put { key, value, lease }, _) => {
                    if let Some(key) = self.number(key) {
                        steps.push(Step::Put { key, value: value.clone(), lease: *lease });
                    }
                }
                (Op::Delete(range), result) => {
                    let keys = self.inside(range);
                    let deleted = match result {
                        Some(OpResult::Deleted(deleted)) => Some(*deleted),
                        _ => None,
                    };
                    if !keys.is_empty() {
                        steps.push(Step::Delete { keys, deleted });
                    }
                }
                (Op::Get(range), result) => {
                    for key in self.inside(range) {
                        let found = match result {
                            Some(OpResult::Got(kvs)) => Some(seen(kvs, &self.keys[key])),
                            _ => None,
                        };
                        steps.push(Step::Get { key, found });
                    }
                }
            }
        }
        steps
    }
}

fn seen(kvs: &[KeyValue], key: &str) -> Option<Seen> {
    let kv = kvs.iter().find(|kv| kv.key == key)?;
    let KeyValue { version, created, modified, .. } = *kv;
    Some(Seen { value: kv.value.clone(), version, created, modified })
}
