//! The twin: a copy of the whole map for every revision, and no cleverness.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use kv::{
    Compare, CompareOp, CompareTarget, DeleteResponse, Error, Event, EventKind, KeyValue, LeaseId,
    Op, OpResponse, PutRequest, PutResponse, RangeRequest, RangeResponse, Revision, SortOrder,
    SortTarget, Txn, TxnResponse, WatchFilter, WatchRequest,
};

type Map = BTreeMap<Bytes, KeyValue>;

#[derive(Clone, Debug)]
pub struct Naive {
    /// By revision; index 0 is revision 0.
    pub maps: Vec<Map>,
    pub events: Vec<Vec<(EventKind, KeyValue)>>,
    pub compacted: u64,
    /// Granted, and when it ends.
    pub leases: BTreeMap<LeaseId, (Duration, u64)>,
    pub notes: BTreeMap<&'static str, &'static str>,
}

/// A transaction under way.
struct Doing<'a> {
    before: &'a Naive,
    map: Map,
    events: Vec<(EventKind, KeyValue)>,
}

impl Naive {
    pub fn new() -> Naive {
        Naive {
            maps: vec![Map::new(), Map::new()],
            events: vec![Vec::new(), Vec::new()],
            compacted: 0,
            leases: BTreeMap::new(),
            notes: BTreeMap::new(),
        }
    }

    pub fn revision(&self) -> u64 {
        self.maps.len() as u64 - 1
    }

    pub fn newest(&self) -> &Map {
        self.maps.last().expect("never empty")
    }

    /// The caller has seen that the transaction is well formed.
    pub fn txn(&mut self, txn: &Txn) -> Result<TxnResponse, Error> {
        self.refuse(txn)?;
        let mut doing = Doing { before: self, map: self.newest().clone(), events: Vec::new() };
        let response = doing.txn(txn);
        let (map, events) = (doing.map, doing.events);
        self.commit(map, events);
        Ok(response)
    }

    fn commit(&mut self, map: Map, events: Vec<(EventKind, KeyValue)>) {
        if !events.is_empty() {
            self.maps.push(map);
            self.events.push(events);
        }
    }

    fn refuse(&self, txn: &Txn) -> Result<(), Error> {
        for op in self.branch(txn).1 {
            match op {
                Op::Range(range) => {
                    if range.revision == Some(Revision::ZERO) {
                        return Err(Error::Compacted { compacted: Revision(self.compacted) });
                    }
                    self.readable(range.revision, self.revision())?;
                }
                Op::Put(put) => {
                    if put.lease.is_some_and(|id| !self.leases.contains_key(&id)) {
                        return Err(Error::LeaseNotFound);
                    }
                    let keeps = put.ignore_value || put.ignore_lease;
                    if keeps && !self.newest().contains_key(&put.key) {
                        return Err(Error::KeyNotFound);
                    }
                }
                Op::Delete(_) => {}
                Op::Txn(nested) => self.refuse(nested)?,
            }
        }
        Ok(())
    }

    fn branch<'t>(&self, txn: &'t Txn) -> (bool, &'t [Op]) {
        let holds = txn.compares.iter().all(|compare| self.holds(compare));
        (holds, if holds { &txn.success } else { &txn.failure })
    }

    fn holds(&self, compare: &Compare) -> bool {
        let inside: Vec<_> =
            self.newest().values().filter(|kv| compare.range.contains(&kv.key)).collect();
        if inside.is_empty() {
            let nothing = KeyValue {
                key: Bytes::new(),
                value: Bytes::new(),
                create_revision: Revision(0),
                mod_revision: Revision(0),
                version: 0,
                lease: None,
            };
            return !matches!(compare.target, CompareTarget::Value(_)) && one(compare, &nothing);
        }
        inside.into_iter().all(|kv| one(compare, kv))
    }

    fn readable(&self, asked: Option<Revision>, newest: u64) -> Result<u64, Error> {
        let revision = asked.map_or(newest, |revision| revision.0);
        if revision > newest {
            return Err(Error::FutureRevision);
        }
        if revision < self.compacted {
            return Err(Error::Compacted { compacted: Revision(self.compacted) });
        }
        Ok(revision)
    }

    pub fn range(&self, request: &RangeRequest, visible: u64) -> Result<RangeResponse, Error> {
        let revision = self.readable(request.revision, visible)?;
        Ok(read(&self.maps[revision as usize], request, visible))
    }

    pub fn compact(&mut self, revision: u64, visible: u64) -> Result<(), Error> {
        if revision <= self.compacted {
            return Err(Error::Compacted { compacted: Revision(self.compacted) });
        }
        if revision > visible {
            return Err(Error::FutureRevision);
        }
        self.compacted = revision;
        Ok(())
    }

    pub fn revoke(&mut self, id: LeaseId) -> Result<(), Error> {
        self.leases.remove(&id).ok_or(Error::LeaseNotFound)?;
        let mut map = self.newest().clone();
        let mut events = Vec::new();
        let at = Revision(self.revision() + 1);
        map.retain(|key, kv| {
            if kv.lease == Some(id) {
                events.push((EventKind::Delete, tombstone(key, at)));
            }
            kv.lease != Some(id)
        });
        self.commit(map, events);
        Ok(())
    }

    pub fn lease_keys(&self, id: LeaseId) -> BTreeSet<Bytes> {
        let leased = self.newest().values().filter(|kv| kv.lease == Some(id));
        leased.map(|kv| kv.key.clone()).collect()
    }

    /// All events of a watch from `from` to `to`.
    pub fn watch(&self, request: &WatchRequest, from: u64, to: u64) -> Vec<Event> {
        let mut out = Vec::new();
        for revision in from..=to {
            for (kind, kv) in self.events.get(revision as usize).into_iter().flatten() {
                let filter = match kind {
                    EventKind::Put => WatchFilter::NoPut,
                    EventKind::Delete => WatchFilter::NoDelete,
                };
                if request.range.contains(&kv.key) && !request.filters.contains(&filter) {
                    let known = request.prev_kv && revision > self.compacted;
                    let prev_kv =
                        known.then(|| self.maps[revision as usize - 1].get(&kv.key)).flatten();
                    out.push(Event { kind: *kind, kv: kv.clone(), prev_kv: prev_kv.cloned() });
                }
            }
        }
        out
    }
}

impl Doing<'_> {
    fn stands_at(&self) -> u64 {
        self.before.revision() + u64::from(!self.events.is_empty())
    }

    fn txn(&mut self, txn: &Txn) -> TxnResponse {
        let (succeeded, ops) = self.before.branch(txn);
        let responses = ops.iter().map(|op| self.op(op)).collect();
        TxnResponse { revision: Revision(self.stands_at()), succeeded, responses }
    }

    fn op(&mut self, op: &Op) -> OpResponse {
        let at = Revision(self.before.revision() + 1);
        match op {
            Op::Range(request) => {
                let now = self.stands_at();
                let past = request.revision.filter(|revision| revision.0 < now);
                let past = past.map(|revision| &self.before.maps[revision.0 as usize]);
                OpResponse::Range(read(past.unwrap_or(&self.map), request, now))
            }
            Op::Put(put) => OpResponse::Put(self.put(put, at)),
            Op::Delete(request) => {
                let doomed: Vec<KeyValue> = self
                    .map
                    .values()
                    .filter(|kv| request.range.contains(&kv.key))
                    .cloned()
                    .collect();
                for kv in &doomed {
                    self.map.remove(&kv.key);
                    self.events.push((EventKind::Delete, tombstone(&kv.key, at)));
                }
                OpResponse::Delete(DeleteResponse {
                    deleted: doomed.len(),
                    prev_kvs: if request.prev_kv { doomed } else { Vec::new() },
                })
            }
            Op::Txn(nested) => OpResponse::Txn(self.txn(nested)),
        }
    }

    fn put(&mut self, put: &PutRequest, at: Revision) -> PutResponse {
        let old = self.map.get(&put.key).cloned();
        let kept = |keep: bool| old.as_ref().filter(|_| keep);
        let new = KeyValue {
            key: put.key.clone(),
            value: kept(put.ignore_value).map_or(put.value.clone(), |old| old.value.clone()),
            create_revision: old.as_ref().map_or(at, |old| old.create_revision),
            mod_revision: at,
            version: old.as_ref().map_or(1, |old| old.version + 1),
            lease: kept(put.ignore_lease).map_or(put.lease, |old| old.lease),
        };
        self.map.insert(put.key.clone(), new.clone());
        self.events.push((EventKind::Put, new));
        PutResponse { prev_kv: old.filter(|_| put.prev_kv) }
    }
}

fn one(compare: &Compare, kv: &KeyValue) -> bool {
    let lease = kv.lease.map_or(0, |id| id.0);
    let order = match &compare.target {
        CompareTarget::Version(other) => kv.version.cmp(other),
        CompareTarget::Create(other) => kv.create_revision.cmp(other),
        CompareTarget::Mod(other) => kv.mod_revision.cmp(other),
        CompareTarget::Value(other) => kv.value.cmp(other),
        CompareTarget::Lease(other) => lease.cmp(other),
    };
    match compare.op {
        CompareOp::Equal => order.is_eq(),
        CompareOp::NotEqual => order.is_ne(),
        CompareOp::Greater => order.is_gt(),
        CompareOp::Less => order.is_lt(),
    }
}

fn tombstone(key: &Bytes, at: Revision) -> KeyValue {
    KeyValue {
        key: key.clone(),
        value: Bytes::new(),
        create_revision: Revision(0),
        mod_revision: at,
        version: 0,
        lease: None,
    }
}

fn read(map: &Map, request: &RangeRequest, header: u64) -> RangeResponse {
    let all: Vec<_> = map.values().filter(|kv| request.range.contains(&kv.key)).cloned().collect();
    let count = all.len();
    let mut response =
        RangeResponse { revision: Revision(header), kvs: Vec::new(), more: false, count };
    if request.count_only {
        return response;
    }
    let above = |low: Option<Revision>, at: Revision| low.is_none_or(|low| at >= low);
    let below = |high: Option<Revision>, at: Revision| high.is_none_or(|high| at <= high);
    let bounds = &request.bounds;
    let mut kvs: Vec<_> = all
        .into_iter()
        .filter(|kv| {
            above(bounds.min_mod, kv.mod_revision) && below(bounds.max_mod, kv.mod_revision)
        })
        .filter(|kv| {
            above(bounds.min_create, kv.create_revision)
                && below(bounds.max_create, kv.create_revision)
        })
        .collect();
    if let Some(sort) = request.sort {
        let ascending = |a: &KeyValue, b: &KeyValue| match sort.target {
            SortTarget::Key => a.key.cmp(&b.key),
            SortTarget::Version => a.version.cmp(&b.version),
            SortTarget::Create => a.create_revision.cmp(&b.create_revision),
            SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
            SortTarget::Value => a.value.cmp(&b.value),
        };
        match sort.order {
            SortOrder::Ascending => kvs.sort_by(ascending),
            SortOrder::Descending => kvs.sort_by(|a, b| ascending(b, a)),
        }
    }
    let limit = request.limit.unwrap_or(usize::MAX);
    response.more = kvs.len() > limit;
    kvs.truncate(limit);
    if request.keys_only {
        kvs.iter_mut().for_each(|kv| kv.value = Bytes::new());
    }
    response.kvs = kvs;
    response
}
