//! One history, run four times at once: values in memory, values fetched, by a
//! follower that is only told what became durable, and by the naive twin.

use std::{collections::HashMap, time::Duration};

use keyspace::{Applied, Base, Change, Config, Fold, Keyspace, Place, Record, Values, Watch};
use kv::{Error, Event, KeyRange, LeaseId, RangeRequest, Revision, Value, WatchRequest};
use rt::Millis;

use crate::{generate::Step, naive::Naive};

/// Small, so that batches end early and often.
const EVENTS_MAX: usize = 2;

pub struct Run {
    inline: Keyspace,
    fetched: Keyspace,
    /// Never loaded anew: all it knows are the leader's batches.
    follower: Keyspace,
    naive: Naive,
    disk: Disk,
    visible: Revision,
    now: Millis,
    watchers: Vec<Watcher>,
}

/// What an engine does, without a disk.
#[derive(Default)]
struct Disk {
    base: Base,
    log: Vec<Record>,
    values: HashMap<Place, Value>,
    /// Records that were applied and are not durable.
    tail: Vec<Record>,
}

struct Watcher {
    request: WatchRequest,
    start: u64,
    inline: Watch,
    fetched: Watch,
    seen: Vec<Event>,
    /// Answered "compacted", and gone.
    over: bool,
}

fn config(inline_bytes_max: usize) -> Config {
    Config { inline_bytes_max, ..Config::default() }
}

impl Run {
    pub fn new() -> Run {
        Run {
            inline: Keyspace::new(config(usize::MAX)),
            fetched: Keyspace::new(config(0)),
            follower: Keyspace::new(config(usize::MAX)),
            naive: Naive::new(),
            disk: Disk::default(),
            visible: Revision(1),
            now: Millis(0),
            watchers: Vec::new(),
        }
    }

    pub fn step(&mut self, step: Step) {
        match step {
            Step::Txn(txn) => {
                let mut values = Values::default();
                loop {
                    let needs = self.fetched.needs(&txn, &values);
                    if needs.is_empty() {
                        break;
                    }
                    needs.into_iter().for_each(|place| self.disk.fetch_into(&mut values, place));
                }
                let inline = self.inline.apply(&txn, &Values::default());
                assert_eq!(self.fetched.apply(&txn, &values), inline);
                match inline {
                    Err(Error::DuplicateKey) => {}
                    Ok(applied) => {
                        assert_eq!(self.naive.txn(&txn), Ok(applied.response.clone()), "{txn:?}");
                        self.disk.append(applied);
                    }
                    Err(refusal) => assert_eq!(self.naive.txn(&txn), Err(refusal), "{txn:?}"),
                }
            }
            Step::Range(request) => self.range(&request),
            Step::Compact(back) => {
                let revision = Revision(self.visible.0.saturating_sub(back));
                let inline = self.inline.compact(revision, self.visible);
                assert_eq!(self.fetched.compact(revision, self.visible), inline);
                let naive = self.naive.compact(revision.0, self.visible.0);
                assert_eq!(inline.as_ref().map(|_| ()).map_err(Clone::clone), naive);
                if let Ok(applied) = inline {
                    self.disk.append(applied);
                }
            }
            Step::Grant { id, ttl_s } => {
                let (id, ttl) = (LeaseId(id), Duration::from_secs(ttl_s));
                let inline = self.inline.lease_grant(id, ttl, self.now);
                assert_eq!(self.fetched.lease_grant(id, ttl, self.now), inline);
                assert_eq!(inline.is_ok(), !self.naive.leases.contains_key(&id));
                if let Ok(applied) = inline {
                    let ttl = ttl.max(Duration::from_secs(2));
                    assert_eq!(applied.response.ttl, ttl);
                    self.naive.leases.insert(id, (ttl, self.now.0 + ttl.as_millis() as u64));
                    self.disk.append(applied);
                }
            }
            Step::Revoke(id) => {
                let inline = self.inline.lease_revoke(LeaseId(id));
                assert_eq!(self.fetched.lease_revoke(LeaseId(id)), inline);
                let naive = self.naive.revoke(LeaseId(id));
                assert_eq!(inline.as_ref().map(|_| ()).map_err(Clone::clone), naive);
                if let Ok(applied) = inline {
                    self.disk.append(applied);
                }
            }
            Step::KeepAlive(id) => {
                let inline = self.inline.lease_keep_alive(LeaseId(id), self.now);
                assert_eq!(self.fetched.lease_keep_alive(LeaseId(id), self.now), inline);
                let naive = self.naive.leases.get_mut(&LeaseId(id));
                assert_eq!(inline.ok(), naive.as_ref().map(|(ttl, _)| *ttl));
                if let Some((ttl, ends)) = naive {
                    *ends = self.now.0 + ttl.as_millis() as u64;
                }
            }
            Step::Info(id) => self.info(LeaseId(id)),
            Step::Note { name, value } => {
                let applied = self.inline.set_note(name.into(), value.map(Into::into));
                assert_eq!(self.fetched.set_note(name.into(), value.map(Into::into)), applied);
                match value {
                    Some(value) => drop(self.naive.notes.insert(name, value)),
                    None => drop(self.naive.notes.remove(name)),
                }
                self.disk.append(applied);
            }
            Step::Advance(ms) => self.now = self.now.plus(ms),
            Step::Expire => self.expire(),
            Step::Watch(request) => {
                let start = request.start.unwrap_or(self.visible.next()).0;
                let inline = Watch::new(&request, self.visible);
                let fetched = inline.clone();
                let seen = Vec::new();
                self.watchers.push(Watcher { request, start, inline, fetched, seen, over: false });
            }
            Step::Poll => self.poll(),
            Step::Settle => self.settle(),
            Step::Reload => self.reload(),
        }
        assert_eq!(self.inline.revision().0, self.naive.revision());
    }

    /// Every watcher has seen all and only what it asked for; every revision
    /// reads as it was.
    pub fn finish(mut self) {
        self.settle();
        for revision in 0..=self.visible.0 {
            let all = RangeRequest::new(KeyRange::prefix("")).at(Revision(revision));
            self.range(&all);
        }
        self.poll();
        self.reload();
        self.poll();
        for watcher in self.watchers.iter().filter(|watcher| !watcher.over) {
            let mut twin = self.naive.watch(&watcher.request, watcher.start, self.visible.0);
            // What was compacted when a batch was read has no previous value;
            // `poll` has compared that at its time.
            let mut seen = watcher.seen.clone();
            seen.iter_mut().chain(&mut twin).for_each(|event| event.prev_kv = None);
            assert_eq!(seen, twin, "{:?}", watcher.request);
        }
    }

    fn range(&self, request: &RangeRequest) {
        let mut values = Values::default();
        for place in self.fetched.range_needs(request, self.visible) {
            self.disk.fetch_into(&mut values, place);
        }
        let inline = self.inline.range(request, self.visible, &Values::default());
        assert_eq!(self.fetched.range(request, self.visible, &values), inline);
        assert_eq!(inline, self.naive.range(request, self.visible.0), "{request:?}");
    }

    fn info(&self, id: LeaseId) {
        let inline = self.inline.lease_info(id, true, self.now);
        assert_eq!(self.fetched.lease_info(id, true, self.now), inline);
        let naive = self.naive.leases.get(&id);
        assert_eq!(inline.is_ok(), naive.is_some());
        if let (Ok(info), Some((ttl, ends))) = (inline, naive) {
            assert_eq!(info.granted, *ttl);
            assert_eq!(info.remaining.as_millis() as u64, ends.saturating_sub(self.now.0));
            assert_eq!(info.keys, self.naive.lease_keys(id).into_iter().collect::<Vec<_>>());
        }
    }

    fn expire(&mut self) {
        let inline = self.inline.expire(self.now);
        assert_eq!(self.fetched.expire(self.now), inline);
        let mut due: Vec<_> =
            self.naive.leases.iter().map(|(id, (_, ends))| (*ends, *id)).collect();
        due.retain(|(ends, _)| *ends <= self.now.0);
        due.sort_unstable();
        for (_, id) in &due {
            self.naive.revoke(*id).expect("it is there");
        }
        assert_eq!(inline.response, due.into_iter().map(|(_, id)| id).collect::<Vec<_>>());
        assert!(self.inline.next_expiry().is_none_or(|next| next > self.now));
        self.disk.append(inline);
    }

    fn poll(&mut self) {
        for watcher in self.watchers.iter_mut().filter(|watcher| !watcher.over) {
            while !watcher.over && watcher.inline.next() <= self.visible {
                let from = watcher.inline.next();
                let mut values = Values::default();
                let needs = self.fetched.poll_needs(&watcher.fetched, self.visible, EVENTS_MAX);
                needs.into_iter().for_each(|place| self.disk.fetch_into(&mut values, place));
                let none = Values::default();
                let inline = self.inline.poll(&mut watcher.inline, self.visible, EVENTS_MAX, &none);
                let fetched =
                    self.fetched.poll(&mut watcher.fetched, self.visible, EVENTS_MAX, &values);
                assert_eq!(fetched, inline);
                assert_eq!(watcher.fetched, watcher.inline);
                match inline {
                    Err(refusal) => {
                        let compacted = Revision(self.naive.compacted);
                        assert_eq!(refusal, Error::Compacted { compacted });
                        assert!(from < compacted);
                        watcher.over = true;
                    }
                    Ok(batch) => {
                        assert!(from.0 >= self.naive.compacted);
                        let to = watcher.inline.next().0 - 1;
                        assert!(to <= self.visible.0, "nothing that is not durable is seen");
                        let events = batch.map(|batch| (batch.revision.0, batch.events));
                        let twin = self.naive.watch(&watcher.request, from.0, to);
                        let twin = (!twin.is_empty()).then_some((to, twin));
                        assert_eq!(events, twin);
                        watcher.seen.extend(events.into_iter().flat_map(|(_, events)| events));
                    }
                }
            }
        }
    }

    fn settle(&mut self) {
        let batch = self.disk.sync();
        self.follower.follow(batch, self.now).expect("the leader leaves no gap");
        self.visible = self.inline.revision();
        self.inline.settle(self.visible);
        self.fetched.settle(self.visible);
        self.compare_follower();
    }

    /// Everything that can be seen of it is as it is at the leader.
    fn compare_follower(&self) {
        let (leader, follower) = (&self.inline, &self.follower);
        assert_eq!(follower.revision(), leader.revision());
        assert_eq!(follower.compacted(), leader.compacted());
        let none = Values::default();
        for revision in [leader.compacted().max(Revision(1)), self.visible] {
            let all = RangeRequest::new(KeyRange::prefix("")).at(revision);
            let range = |keyspace: &Keyspace| keyspace.range(&all, self.visible, &none);
            assert_eq!(range(follower), range(leader), "at {revision}");
        }
        let request = WatchRequest::new(KeyRange::prefix("")).from(leader.compacted());
        let request = WatchRequest { prev_kv: true, ..request };
        let events = |keyspace: &Keyspace| {
            keyspace.poll(&mut Watch::new(&request, self.visible), self.visible, 1_000, &none)
        };
        assert_eq!(events(follower), events(leader));
        assert_eq!(follower.leases(), leader.leases());
        for id in leader.leases() {
            // When they end, only the leader knows.
            let keys = |keyspace: &Keyspace| {
                keyspace.lease_info(id, true, self.now).map(|info| (info.granted, info.keys))
            };
            assert_eq!(keys(follower), keys(leader));
        }
        let notes = |keyspace: &Keyspace| {
            let notes = keyspace.notes(b"").map(|(name, value)| (name.clone(), value.clone()));
            notes.collect::<Vec<_>>()
        };
        assert_eq!(notes(follower), notes(leader));
        let naive = self.naive.notes.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        assert_eq!(notes(leader), naive.collect::<Vec<_>>());
    }

    fn reload(&mut self) {
        self.settle();
        self.disk.fold_before(self.inline.compacted());
        let load = |max| {
            Keyspace::load(config(max), self.disk.base.clone(), self.disk.log.clone(), self.now)
                .expect("the log is whole")
        };
        (self.inline, self.fetched) = (load(usize::MAX), load(0));
        for (ttl, ends) in self.naive.leases.values_mut() {
            *ends = self.now.0 + ttl.as_millis() as u64;
        }
        assert_eq!(self.inline.leases(), self.naive.leases.keys().copied().collect::<Vec<_>>());
        assert_eq!(self.inline.compacted().0, self.naive.compacted);
    }
}

impl Disk {
    fn append<T>(&mut self, applied: Applied<T>) {
        for record in applied.records {
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            assert_eq!(Record::decode(&bytes), Ok(record.clone()));
            self.tail.push(record);
        }
    }

    /// What has become durable by this.
    fn sync(&mut self) -> Vec<Record> {
        let batch = std::mem::take(&mut self.tail);
        for record in &batch {
            if let Record::Txn { revision, changes } = record {
                for change in changes {
                    if let Change::Put { key, value, .. } = change {
                        let place = Place { key: key.clone(), written: *revision };
                        self.values.insert(place, value.clone());
                    }
                }
            }
            self.log.push(record.clone());
        }
        batch
    }

    /// Folds one record at a time, up to the first that must stay.
    fn fold_before(&mut self, floor: Revision) {
        let kept = |record: &Record| record.revision().is_some_and(|revision| revision >= floor);
        let end = self.log.iter().position(kept).unwrap_or(0);
        for record in self.log.drain(..end) {
            let mut fold = Fold::default();
            fold.add(record);
            self.base.apply(fold);
        }
    }

    fn fetch_into(&self, values: &mut Values, place: Place) {
        let value = self.values.get(&place).expect("only durable values are fetched").clone();
        values.insert(place, value);
    }
}
