//! The keyspace itself: what a leader asks of the rules.

use std::{sync::Arc, time::Duration};

use kv::{
    Error, LeaseGranted, LeaseId, LeaseInfo, RangeRequest, RangeResponse, Revision, Txn,
    TxnResponse, WatchBatch,
};
use rt::Millis;

use crate::{
    LEASE_TTL_MAX, LEASES_EXPIRED_AT_ONCE_MAX, Place, Record, Values, Watch,
    auth::Auth,
    check::check,
    index::Index,
    lease::Leases,
    log::Log,
    note::Notes,
    range::{Readable, page, range},
    txn::{Plan, Run},
    value::Missing,
    watch,
};

#[derive(Clone, Debug)]
pub struct Config {
    /// Values longer than this leave memory once they are durable.
    pub inline_bytes_max: usize,
    /// Shorter leases are granted this long; etcd's default is 2 s, from its
    /// election timeout.
    pub lease_ttl_min: Duration,
    /// Operations in each list of a transaction.
    pub txn_ops_max: usize,
}

/// One keyspace. Not `Clone` on purpose: there is one leader.
#[derive(Debug)]
pub struct Keyspace {
    pub(crate) config: Config,
    pub(crate) index: Index,
    pub(crate) log: Log,
    pub(crate) leases: Leases,
    pub(crate) notes: Notes,
    /// Read from the notes.
    pub(crate) auth: Arc<Auth>,
    compacted: Revision,
    /// Values up to here have been considered for leaving memory.
    settled: Revision,
    pub(crate) has_outside: bool,
}

/// An answer, with the records that must be durable before it goes out. No
/// records: it may go out as soon as what was applied before it is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "records that are dropped are writes that are lost"]
pub struct Applied<T> {
    pub response: T,
    pub records: Vec<Record>,
}

// === impl Config ===

impl Default for Config {
    fn default() -> Config {
        Config {
            inline_bytes_max: usize::MAX,
            lease_ttl_min: Duration::from_secs(2),
            txn_ops_max: Txn::OPS_MAX,
        }
    }
}

// === impl Keyspace: building ===

impl Keyspace {
    /// Empty, at revision 1.
    #[must_use]
    pub fn new(config: Config) -> Keyspace {
        Keyspace {
            config,
            index: Index::default(),
            log: Log::starting_at(Revision::FIRST.next()),
            leases: Leases::default(),
            notes: Notes::default(),
            auth: Arc::default(),
            compacted: Revision::ZERO,
            settled: Revision::FIRST,
            has_outside: false,
        }
    }
}

// === impl Keyspace: reading ===

impl Keyspace {
    /// Newest applied revision; parts of it may not be durable yet.
    #[must_use]
    pub fn revision(&self) -> Revision {
        Revision(self.log.next().0 - 1)
    }

    /// Oldest revision that can be read; zero before the first compaction.
    #[must_use]
    pub fn compacted(&self) -> Revision {
        self.compacted
    }

    /// Keys that take memory: live ones, and deleted ones not yet compacted.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.index.len()
    }

    /// Values to fetch before [`Self::range`] with the same arguments.
    #[must_use]
    pub fn range_needs(&self, request: &RangeRequest, visible: Revision) -> Vec<Place> {
        let known = Values::default();
        let missing = Missing::new(&known);
        // A refusal is answered by `range` itself.
        let _ = range(&self.index, request, self.readable(visible), visible, &missing);
        missing.into_places()
    }

    /// Reads as of `visible`, or of an older revision when asked for.
    pub fn range(
        &self,
        request: &RangeRequest,
        visible: Revision,
        values: &Values,
    ) -> Result<RangeResponse, Error> {
        range(&self.index, request, self.readable(visible), visible, values)
    }

    /// Values to fetch before [`Self::page`] with the same arguments.
    #[must_use]
    pub fn page_needs(
        &self,
        request: &RangeRequest,
        bytes_max: usize,
        visible: Revision,
    ) -> Vec<Place> {
        let known = Values::default();
        let missing = Missing::new(&known);
        // A refusal is answered by `page` itself.
        let _ = page(&self.index, request, bytes_max, self.readable(visible), visible, &missing);
        missing.into_places()
    }

    /// The beginning of a range, cut at `limit` keys or about `bytes_max`: its
    /// cost is that of the page, however long the range is. `count` is that of
    /// the page; sorts and bounds are ignored.
    pub fn page(
        &self,
        request: &RangeRequest,
        bytes_max: usize,
        visible: Revision,
        values: &Values,
    ) -> Result<RangeResponse, Error> {
        page(&self.index, request, bytes_max, self.readable(visible), visible, values)
    }

    /// Values to fetch before [`Self::poll`] with the same arguments.
    #[must_use]
    pub fn poll_needs(&self, watch: &Watch, visible: Revision, events_max: usize) -> Vec<Place> {
        let known = Values::default();
        let missing = Missing::new(&known);
        // A refusal is answered by `poll` itself.
        let _ = watch::collect(self, watch, visible, events_max, &missing);
        missing.into_places()
    }

    /// The watcher's next events, in order, in whole revisions, none of them
    /// after `visible`. Stops after the revision in which `events_max` or a
    /// mebibyte is reached; ask again until `watch.next()` lies beyond `visible`.
    pub fn poll(
        &self,
        watch: &mut Watch,
        visible: Revision,
        events_max: usize,
        values: &Values,
    ) -> Result<Option<WatchBatch>, Error> {
        let (events, next) = watch::collect(self, watch, visible, events_max, values)?;
        Ok(watch::advance(watch, events, next))
    }

    fn readable(&self, newest: Revision) -> Readable {
        Readable { compacted: self.compacted, newest }
    }
}

// === impl Keyspace: writing ===

impl Keyspace {
    /// Values to fetch before [`Self::apply`]. Fetching can take a second
    /// round, once values that are compared are known: ask until it is empty.
    #[must_use]
    pub fn needs(&self, txn: &Txn, values: &Values) -> Vec<Place> {
        let missing = Missing::new(values);
        let plan = Plan::decide(&self.index, txn, &missing);
        if missing.is_empty() {
            plan.touch(&self.index, self.readable(self.revision()), &missing);
        }
        missing.into_places()
    }

    /// Runs a transaction. A refusal has changed nothing.
    pub fn apply(&mut self, txn: &Txn, values: &Values) -> Result<Applied<TxnResponse>, Error> {
        check(txn, self.config.txn_ops_max)?;
        let plan = Plan::decide(&self.index, txn, values);
        plan.check(self, self.readable(self.revision()))?;
        let mut run = Run::new(self, values);
        let response = run.txn(&plan);
        let record = run.finish().map(|(revision, changes)| Record::Txn { revision, changes });
        Ok(Applied { response, records: record.into_iter().collect() })
    }

    /// Forgets history before `revision`, which itself stays readable. Only
    /// what everyone can see may be compacted.
    pub fn compact(
        &mut self,
        revision: Revision,
        visible: Revision,
    ) -> Result<Applied<Revision>, Error> {
        if revision <= self.compacted {
            return Err(Error::Compacted { compacted: self.compacted });
        }
        if revision > visible {
            return Err(Error::FutureRevision);
        }
        self.forget_before(revision);
        Ok(Applied { response: self.revision(), records: vec![Record::Compact { revision }] })
    }

    /// Everything up to `durable` can be fetched from now on, so large values
    /// may leave memory.
    pub fn settle(&mut self, durable: Revision) {
        let durable = durable.min(self.revision());
        if self.config.inline_bytes_max == usize::MAX || durable <= self.settled {
            return;
        }
        let mut revision = self.settled;
        while revision < durable {
            revision = revision.next();
            for touched in self.log.get(revision).unwrap_or_default() {
                let bytes_max = self.config.inline_bytes_max;
                self.has_outside |= self.index.move_out(&touched.key, revision, bytes_max);
            }
        }
        self.settled = durable;
    }

    /// Bytes of values in memory.
    #[must_use]
    pub fn inline_bytes(&self) -> usize {
        self.index.inline_bytes()
    }

    /// Whether any value may have left memory, so that reads must look for
    /// what they need.
    #[must_use]
    pub fn has_outside(&self) -> bool {
        self.has_outside
    }

    /// Lets values leave memory until those left come to `bytes_max`, looking
    /// at `keys_max` keys at most; the next call goes on from there. Only what
    /// is `durable` can be fetched again.
    pub fn evict(&mut self, durable: Revision, bytes_max: usize, keys_max: usize) {
        let durable = durable.min(self.revision());
        if self.index.inline_bytes() > bytes_max {
            self.has_outside |= self.index.evict(durable, bytes_max, keys_max);
        }
    }

    pub(crate) fn forget_before(&mut self, floor: Revision) {
        self.compacted = self.compacted.max(floor);
        while let Some(oldest) = self.log.pop_below(floor) {
            for touched in &oldest {
                self.index.trim(&touched.key, floor);
            }
        }
        for touched in self.log.get(floor).unwrap_or_default() {
            self.index.trim(&touched.key, floor);
        }
        self.log.shrink();
    }
}

// === impl Keyspace: leases ===

impl Keyspace {
    /// The caller chooses an id when the client did not, and again when that
    /// one exists.
    pub fn lease_grant(
        &mut self,
        id: LeaseId,
        ttl: Duration,
        now: Millis,
    ) -> Result<Applied<LeaseGranted>, Error> {
        if ttl > LEASE_TTL_MAX {
            return Err(Error::LeaseTtlTooLarge);
        }
        if self.leases.contains(id) {
            return Err(Error::LeaseExists);
        }
        let ttl = ttl.max(self.config.lease_ttl_min);
        self.leases.grant(id, ttl, now);
        let records = vec![Record::LeaseGranted { id, ttl }];
        Ok(Applied { response: LeaseGranted { id, ttl }, records })
    }

    /// Spends nothing durable. Returns the time to live from `now`.
    pub fn lease_keep_alive(&mut self, id: LeaseId, now: Millis) -> Result<Duration, Error> {
        self.leases.renew(id, now)
    }

    /// Deletes the lease and, in one revision, its keys.
    pub fn lease_revoke(&mut self, id: LeaseId) -> Result<Applied<()>, Error> {
        if !self.leases.contains(id) {
            return Err(Error::LeaseNotFound);
        }
        Ok(Applied { response: (), records: self.revoke(id) })
    }

    pub fn lease_info(&self, id: LeaseId, keys: bool, now: Millis) -> Result<LeaseInfo, Error> {
        self.leases.info(id, keys, now)
    }

    /// Every lease, by id.
    #[must_use]
    pub fn leases(&self) -> Vec<LeaseId> {
        self.leases.ids().collect()
    }

    /// Revokes leases whose time has run out, at most
    /// [`LEASES_EXPIRED_AT_ONCE_MAX`]; the rest is due at once. Renewals that
    /// are waiting must be applied first.
    pub fn expire(&mut self, now: Millis) -> Applied<Vec<LeaseId>> {
        let mut applied = Applied { response: Vec::new(), records: Vec::new() };
        while applied.response.len() < LEASES_EXPIRED_AT_ONCE_MAX
            && let Some(id) = self.leases.expired(now)
        {
            applied.records.extend(self.revoke(id));
            applied.response.push(id);
        }
        applied
    }

    #[must_use]
    pub fn has_leases(&self) -> bool {
        self.leases.next_expiry().is_some()
    }

    /// When to call [`Self::expire`] next.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Millis> {
        self.leases.next_expiry()
    }

    fn revoke(&mut self, id: LeaseId) -> Vec<Record> {
        let keys: Vec<_> = self.leases.keys(id).cloned().collect();
        let none = Values::default();
        let mut run = Run::new(self, &none);
        for key in keys {
            run.delete_key(key, Some(id));
        }
        let txn = run.finish().map(|(revision, changes)| Record::Txn { revision, changes });
        self.leases.remove(id);
        txn.into_iter().chain([Record::LeaseRevoked { id }]).collect()
    }
}
