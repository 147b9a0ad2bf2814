//! Transactions: decide all branches, check, then run.
//!
//! As in etcd, every comparison (nested ones too) is answered from the state
//! before the transaction, and everything that can be refused is refused
//! before the first write. So running cannot fail half-way.

use kv::{
    Compare, CompareOp, CompareTarget, DeleteRequest, DeleteResponse, Error, KeyRange, KeyValue,
    Op, OpResponse, PutRequest, PutResponse, RangeRequest, Revision, Txn, TxnResponse,
};

use crate::{
    Change, Handle,
    history::Version,
    index::Index,
    keyspace::Keyspace,
    log::Touched,
    range::{Readable, range},
    value::Resolve,
};

/// A transaction with its branches decided.
pub(crate) struct Plan<'a> {
    succeeded: bool,
    ops: Vec<PlannedOp<'a>>,
}

enum PlannedOp<'a> {
    Range(&'a RangeRequest),
    Put(&'a PutRequest),
    Delete(&'a DeleteRequest),
    Txn(Plan<'a>),
}

/// A transaction under way.
pub(crate) struct Run<'k, V> {
    keyspace: &'k mut Keyspace,
    values: &'k V,
    before: Revision,
    changes: Vec<Change>,
    touched: Vec<Touched>,
}

// === impl Plan ===

impl<'a> Plan<'a> {
    pub(crate) fn decide(index: &Index, txn: &'a Txn, values: &impl Resolve) -> Plan<'a> {
        let succeeded = txn.compares.iter().all(|compare| holds(index, compare, values));
        let ops = if succeeded { &txn.success } else { &txn.failure };
        let ops = ops.iter().map(|op| match op {
            Op::Range(request) => PlannedOp::Range(request),
            Op::Put(request) => PlannedOp::Put(request),
            Op::Delete(request) => PlannedOp::Delete(request),
            Op::Txn(nested) => PlannedOp::Txn(Plan::decide(index, nested, values)),
        });
        Plan { succeeded, ops: ops.collect() }
    }

    /// Refuses what the data does not allow, before anything is written. The
    /// order is etcd's (since 3.6), and so is which fault is named first.
    pub(crate) fn check(&self, keyspace: &Keyspace, readable: Readable) -> Result<(), Error> {
        for op in &self.ops {
            match op {
                PlannedOp::Range(request) if request.revision == Some(Revision::ZERO) => {
                    return Err(Error::Compacted { compacted: readable.compacted });
                }
                PlannedOp::Range(request) => drop(readable.resolve(request.revision)?),
                PlannedOp::Put(put) => {
                    if put.lease.is_some_and(|id| !keyspace.leases.contains(id)) {
                        return Err(Error::LeaseNotFound);
                    }
                    let keeps = put.ignore_value || put.ignore_lease;
                    if keeps && keyspace.index.live(&put.key).is_none() {
                        return Err(Error::KeyNotFound);
                    }
                }
                PlannedOp::Delete(_) => {}
                PlannedOp::Txn(nested) => nested.check(keyspace, readable)?,
            }
        }
        Ok(())
    }

    /// Touches every value that running may read. A limit is ignored: writes
    /// of the transaction itself can move what falls under it.
    pub(crate) fn touch(&self, index: &Index, readable: Readable, values: &impl Resolve) {
        let newest = readable.newest;
        for op in &self.ops {
            match op {
                PlannedOp::Range(request) => {
                    let whole = RangeRequest { limit: None, ..(*request).clone() };
                    // A refusal here is found again, and answered, by `check`.
                    let _ = range(index, &whole, readable, newest, values);
                }
                PlannedOp::Put(put) if put.prev_kv || put.ignore_value => {
                    if let Some((key, version)) = index.live(&put.key) {
                        values.resolve(key, &version.value);
                    }
                }
                PlannedOp::Delete(delete) if delete.prev_kv => {
                    for (key, version) in index.range_at(&delete.range, newest) {
                        values.resolve(key, &version.value);
                    }
                }
                PlannedOp::Put(_) | PlannedOp::Delete(_) => {}
                PlannedOp::Txn(nested) => nested.touch(index, readable, values),
            }
        }
    }
}

/// A range of keys holds when each key does; an empty one holds.
fn holds(index: &Index, compare: &Compare, values: &impl Resolve) -> bool {
    let newest = Revision(u64::MAX);
    if let KeyRange::Key(key) = &compare.range {
        return match index.live(key) {
            Some((key, version)) => version_holds(compare, version, |v| values.resolve(key, v)),
            None => absence_holds(compare),
        };
    }
    let mut keys = index.range_at(&compare.range, newest).peekable();
    if keys.peek().is_none() {
        return absence_holds(compare);
    }
    keys.all(|(key, version)| version_holds(compare, version, |v| values.resolve(key, v)))
}

/// A key that is not there has zero for everything, but no value at all.
fn absence_holds(compare: &Compare) -> bool {
    if matches!(compare.target, CompareTarget::Value(_)) {
        return false;
    }
    version_holds(compare, &Version::deleted(Revision::ZERO), |_| kv::Value::new())
}

fn version_holds(
    compare: &Compare,
    version: &Version,
    value: impl FnOnce(&Handle) -> kv::Value,
) -> bool {
    let ordering = match &compare.target {
        CompareTarget::Version(other) => version.version.cmp(other),
        CompareTarget::Create(other) => version.create_revision.cmp(other),
        CompareTarget::Mod(other) => version.mod_revision.cmp(other),
        CompareTarget::Lease(other) => version.lease.lease().map_or(0, |id| id.0).cmp(other),
        CompareTarget::Value(other) => value(&version.value).cmp(other),
    };
    match compare.op {
        CompareOp::Equal => ordering.is_eq(),
        CompareOp::NotEqual => ordering.is_ne(),
        CompareOp::Greater => ordering.is_gt(),
        CompareOp::Less => ordering.is_lt(),
    }
}

// === impl Run ===

impl<'k, V: Resolve> Run<'k, V> {
    pub(crate) fn new(keyspace: &'k mut Keyspace, values: &'k V) -> Run<'k, V> {
        let before = keyspace.revision();
        Run { keyspace, values, before, changes: Vec::new(), touched: Vec::new() }
    }

    pub(crate) fn txn(&mut self, plan: &Plan<'_>) -> TxnResponse {
        let responses = plan.ops.iter().map(|op| self.op(op)).collect();
        TxnResponse { revision: self.stands_at(), succeeded: plan.succeeded, responses }
    }

    /// The changes, if there were any: then they are one new revision.
    pub(crate) fn finish(self) -> Option<(Revision, Vec<Change>)> {
        if self.changes.is_empty() {
            return None;
        }
        let revision = self.writes_at();
        self.keyspace.log.push(self.touched);
        Some((revision, self.changes))
    }

    fn op(&mut self, op: &PlannedOp<'_>) -> OpResponse {
        match op {
            PlannedOp::Range(request) => OpResponse::Range(self.range(request)),
            PlannedOp::Put(request) => OpResponse::Put(self.put(request)),
            PlannedOp::Delete(request) => OpResponse::Delete(self.delete(request)),
            PlannedOp::Txn(nested) => OpResponse::Txn(self.txn(nested)),
        }
    }

    fn range(&self, request: &RangeRequest) -> kv::RangeResponse {
        let newest = self.stands_at();
        let readable = Readable { compacted: self.keyspace.compacted(), newest };
        range(&self.keyspace.index, request, readable, newest, self.values)
            .expect("checked before anything ran")
    }

    fn put(&mut self, request: &PutRequest) -> PutResponse {
        let revision = self.writes_at();
        let values = self.values;
        let (mut prev_kv, mut old_lease) = (None, None);
        let mut value = request.value.clone();
        let (mut create_revision, mut version) = (revision, 1);
        let mut lease = request.lease;
        let key = self.keyspace.index.write(&request.key, |before| {
            if let Some((key, old)) = before {
                (create_revision, version) = (old.create_revision, old.version + 1);
                old_lease = old.lease.lease();
                prev_kv = request.prev_kv.then(|| old.key_value(key, values));
                if request.ignore_value {
                    value = values.resolve(key, &old.value);
                }
                if request.ignore_lease {
                    lease = old_lease;
                }
            }
            // The record goes to the log and is gone; what stays is a copy of
            // its own, since a slice of a whole frame would keep all of it.
            let kept = Handle::Inline(kv::Value::copy_from_slice(&value));
            Version {
                mod_revision: revision,
                create_revision,
                version,
                lease: lease.into(),
                value: kept,
            }
        });
        self.move_lease(&key, old_lease, lease);
        self.touched.push(Touched { key: key.clone(), deleted: false });
        self.changes.push(Change::Put { key, value, create_revision, version, lease });
        PutResponse { prev_kv }
    }

    fn delete(&mut self, request: &DeleteRequest) -> DeleteResponse {
        let index = &self.keyspace.index;
        let doomed: Vec<(bytes::Bytes, Option<kv::LeaseId>)> = index
            .range_at(&request.range, Revision(u64::MAX))
            .map(|(key, version)| (key.clone(), version.lease.lease()))
            .collect();
        let prev_kvs: Vec<KeyValue> = match request.prev_kv {
            false => Vec::new(),
            true => index
                .range_at(&request.range, Revision(u64::MAX))
                .map(|(key, version)| version.key_value(key, self.values))
                .collect(),
        };
        let deleted = doomed.len();
        for (key, lease) in doomed {
            self.delete_key(key, lease);
        }
        DeleteResponse { deleted, prev_kvs }
    }

    /// Deletes one key that exists.
    pub(crate) fn delete_key(&mut self, key: bytes::Bytes, lease: Option<kv::LeaseId>) {
        let revision = self.writes_at();
        self.keyspace.index.push(&key, Version::deleted(revision));
        self.move_lease(&key, lease, None);
        self.touched.push(Touched { key: key.clone(), deleted: true });
        self.changes.push(Change::Delete { key });
    }

    fn move_lease(
        &mut self,
        key: &bytes::Bytes,
        from: Option<kv::LeaseId>,
        to: Option<kv::LeaseId>,
    ) {
        if from == to {
            return;
        }
        if let Some(id) = from {
            self.keyspace.leases.detach(id, key);
        }
        if let Some(id) = to {
            self.keyspace.leases.attach(id, key.clone());
        }
    }

    fn writes_at(&self) -> Revision {
        self.before.next()
    }

    /// What a read in the midst of the transaction calls "now".
    fn stands_at(&self) -> Revision {
        if self.changes.is_empty() { self.before } else { self.writes_at() }
    }
}
