//! etcd, as plainly as it can be written: a map, and what a transaction does.

use std::collections::BTreeMap;

use crate::history::{
    Answer, Base, Change, Compare, History, Is, KeyValue, Keys, Op, OpResult, Range, Txn,
};

/// Where a keyspace stands.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub revision: u64,
    pub keys: BTreeMap<String, KeyValue>,
}

/// What a transaction would do.
pub(crate) struct Ran {
    /// In the order of the operations.
    pub changes: Vec<Change>,
    pub answer: Answer,
}

/// A transaction under way, over a state that stays as it is.
struct Run<'a> {
    state: &'a State,
    written: BTreeMap<String, Option<KeyValue>>,
    changes: Vec<Change>,
}

// === impl State ===

impl State {
    /// Where a history begins; an empty keyspace is at 1.
    pub fn before(history: &History) -> State {
        match &history.base {
            None => State { revision: 1, keys: BTreeMap::new() },
            Some(Base { revision, kvs }) => {
                let keys = kvs.iter().map(|kv| (kv.key.clone(), kv.clone())).collect();
                State { revision: *revision, keys }
            }
        }
    }

    pub fn run(&self, txn: &Txn) -> Ran {
        let succeeded = txn.compares.iter().all(|compare| self.holds(compare));
        let mut run = Run { state: self, written: BTreeMap::new(), changes: Vec::new() };
        let ops = if succeeded { &txn.success } else { &txn.failure };
        let results = ops.iter().map(|op| run.op(op)).collect();
        let revision = self.revision + u64::from(!run.changes.is_empty());
        Ran { changes: run.changes, answer: Answer { revision, succeeded, results } }
    }

    pub fn apply(&mut self, changes: &[Change]) {
        self.revision += 1;
        for change in changes {
            match change {
                Change::Put(kv) => self.keys.insert(kv.key.clone(), kv.clone()),
                Change::Delete { key } => self.keys.remove(key),
            };
        }
    }

    /// Those that were asked for, and how many there are without the limit.
    pub fn read(&self, range: &Range) -> (Vec<KeyValue>, usize) {
        let mut kvs: Vec<_> = self.within(&range.keys).cloned().collect();
        let count = kvs.len();
        kvs.truncate(range.limit.unwrap_or(usize::MAX));
        (kvs, count)
    }

    pub fn leased(&self, lease: i64) -> Vec<&str> {
        let leased = self.keys.values().filter(|kv| kv.lease == Some(lease));
        leased.map(|kv| kv.key.as_str()).collect()
    }

    fn within<'a>(&'a self, keys: &'a Keys) -> impl Iterator<Item = &'a KeyValue> {
        self.keys.values().filter(|kv| keys.contain(&kv.key))
    }

    fn holds(&self, compare: &Compare) -> bool {
        let kv = self.keys.get(&compare.key);
        match &compare.is {
            Is::Modified(other) => kv.map_or(0, |kv| kv.modified) == *other,
            Is::Created(other) => kv.map_or(0, |kv| kv.created) == *other,
            Is::Version(other) => kv.map_or(0, |kv| kv.version) == *other,
            Is::Value(other) => kv.is_some_and(|kv| kv.value == *other),
        }
    }
}

// === impl Run ===

impl Run<'_> {
    fn op(&mut self, op: &Op) -> OpResult {
        let modified = self.state.revision + 1;
        match op {
            Op::Put { key, value, lease } => {
                let (created, version) = match self.get(key) {
                    Some(old) => (old.created, old.version + 1),
                    None => (modified, 1),
                };
                let (key, value, lease) = (key.clone(), value.clone(), *lease);
                let kv = KeyValue { key, value, created, modified, version, lease };
                self.written.insert(kv.key.clone(), Some(kv.clone()));
                self.changes.push(Change::Put(kv));
                OpResult::Put
            }
            Op::Delete(keys) => {
                let doomed: Vec<_> = self.within(keys).into_iter().map(|kv| kv.key).collect();
                for key in &doomed {
                    self.written.insert(key.clone(), None);
                    self.changes.push(Change::Delete { key: key.clone() });
                }
                OpResult::Deleted(doomed.len())
            }
            Op::Get(keys) => OpResult::Got(self.within(keys)),
        }
    }

    fn get(&self, key: &str) -> Option<&KeyValue> {
        match self.written.get(key) {
            Some(written) => written.as_ref(),
            None => self.state.keys.get(key),
        }
    }

    fn within(&self, keys: &Keys) -> Vec<KeyValue> {
        let mut found: BTreeMap<&str, &KeyValue> =
            self.state.within(keys).map(|kv| (kv.key.as_str(), kv)).collect();
        for (key, written) in self.written.iter().filter(|(key, _)| keys.contain(key)) {
            match written {
                Some(kv) => found.insert(key, kv),
                None => found.remove(key.as_str()),
            };
        }
        found.into_values().cloned().collect()
    }
}
