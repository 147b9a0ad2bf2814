//! Who comes first among the keys of a prefix: what locks and elections share.
//!
//! The layout is that of etcd's own clients, so that they and we contend for
//! the same things: whoever wants in puts `NAME/LEASE` (the lease's id in
//! hexadecimal) under its lease, the oldest key by create revision is first,
//! and everyone else waits for the key just before its own to go. So a release
//! wakes one, not all.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::StreamExt as _;
use kv::{
    Compare, CompareOp, CompareTarget, DeleteRequest, Error as StoreError, EventKind, KeyRange,
    KeyValue, Kv, LeaseId, Op, OpResponse, PutRequest, RangeRequest, RangeResponse, Revision,
    RevisionBounds, Sort, SortOrder, SortTarget, Txn, Value, WatchItem, WatchRequest,
};
use rt::TaskKind;

/// Of a lease that the caller left to us: what etcd's sessions have.
const LEASE_TTL: Duration = Duration::from_secs(60);

/// Everyone who wants one lock, or one office.
#[derive(Clone)]
pub(crate) struct Contest {
    kv: Arc<dyn Kv>,
    prefix: Bytes,
}

/// A place among them. One that was made here and is not kept is given up when
/// it is dropped: its caller has gone.
pub(crate) struct Entry {
    kv: Arc<dyn Kv>,
    pub key: Bytes,
    pub created: Revision,
    /// Where the keyspace stood when this was found out.
    pub revision: Revision,
    /// What the key held before us; none if there was no such key.
    pub before: Option<Value>,
    kept: bool,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("mutex: session is expired")]
    SessionExpired,
    #[error("election: not leader")]
    NotLeader,
    #[error("election: no leader")]
    NoLeader,
}

// === impl Contest ===

impl Contest {
    pub fn new(kv: Arc<dyn Kv>, name: &[u8]) -> Contest {
        Contest { kv, prefix: [name, b"/"].concat().into() }
    }

    pub fn kv(&self) -> &dyn Kv {
        &*self.kv
    }

    /// Takes a place, or finds the one that the lease has already.
    pub async fn enter(&self, lease: LeaseId, value: Value) -> Result<Entry, Error> {
        let key: Bytes = [&self.prefix[..], format!("{:x}", lease.0).as_bytes()].concat().into();
        let put = PutRequest { lease: Some(lease), ..PutRequest::new(key.clone(), value) };
        let txn = Txn::when(vec![Compare::absent(key.clone())])
            .then(vec![Op::Put(put)])
            .otherwise(vec![Op::get(key.clone())]);
        let entered = self.kv.txn(txn).await?;
        let there = match entered.responses.into_iter().next() {
            Some(OpResponse::Range(found)) => found.kvs.into_iter().next(),
            _ => None,
        };
        Ok(Entry {
            kv: self.kv.clone(),
            key,
            created: there.as_ref().map_or(entered.revision, |kv| kv.create_revision),
            revision: entered.revision,
            kept: there.is_some(),
            before: there.map(|kv| kv.value),
        })
    }

    /// Returns once nobody is before `entry`; tells whether somebody was.
    pub async fn wait_turn(&self, entry: &Entry) -> Result<bool, Error> {
        let mut waited = false;
        let before = Revision(entry.created.0 - 1);
        loop {
            let bounds = RevisionBounds { max_create: Some(before), ..RevisionBounds::default() };
            let last = RangeRequest { bounds, ..self.ordered(SortOrder::Descending) };
            let found = self.kv.range(last).await?;
            let Some(neighbour) = found.kvs.into_iter().next() else { return Ok(waited) };
            waited = true;
            match self.gone(neighbour.key, found.revision).await {
                // So much has happened meanwhile that it must be looked at anew.
                Ok(()) | Err(Error::Store(StoreError::Compacted { .. })) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The oldest key, as a range that has it or nothing.
    pub async fn first(&self) -> Result<RangeResponse, Error> {
        Ok(self.kv.range(self.ordered(SortOrder::Ascending)).await?)
    }

    /// The next key that anyone puts after `revision`.
    pub async fn entered(&self, revision: Revision) -> Result<KeyValue, Error> {
        let watch = WatchRequest::new(KeyRange::prefix(self.prefix.clone()));
        let mut items = self.kv.watch(watch.from(revision.next())).await?;
        while let Some(item) = items.next().await {
            if let WatchItem::Events(batch) = item? {
                let put = batch.events.into_iter().find(|event| event.kind == EventKind::Put);
                if let Some(event) = put {
                    return Ok(event.kv);
                }
            }
        }
        Err(StoreError::NotLeader.into())
    }

    /// Returns once the key is deleted; it was there at `revision`.
    async fn gone(&self, key: Bytes, revision: Revision) -> Result<(), Error> {
        let watch = WatchRequest::new(KeyRange::Key(key)).from(revision.next());
        let mut items = self.kv.watch(watch).await?;
        while let Some(item) = items.next().await {
            if let WatchItem::Events(batch) = item?
                && batch.events.iter().any(|event| event.kind == EventKind::Delete)
            {
                return Ok(());
            }
        }
        Err(StoreError::NotLeader.into())
    }

    fn ordered(&self, order: SortOrder) -> RangeRequest {
        RangeRequest {
            sort: Some(Sort { target: SortTarget::Create, order }),
            ..RangeRequest::new(KeyRange::prefix(self.prefix.clone())).limit(1)
        }
    }
}

/// The caller's lease, or a new one if it has none.
pub(crate) async fn lease(kv: &dyn Kv, asked: i64) -> Result<LeaseId, Error> {
    match asked {
        0 => Ok(kv.lease_grant(None, LEASE_TTL).await?.id),
        id => Ok(LeaseId(id)),
    }
}

/// The key is still the one that was made at `created`.
pub(crate) fn is_still(key: &Bytes, created: Revision) -> Compare {
    Compare::new(key.clone(), CompareOp::Equal, CompareTarget::Create(created))
}

// === impl Entry ===

impl Entry {
    /// The place is its lease's now.
    pub fn keep(&mut self) {
        self.kept = true;
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        let kv = self.kv.clone();
        let delete = DeleteRequest { range: KeyRange::Key(self.key.clone()), prev_kv: false };
        let txn = Txn::when(vec![is_still(&self.key, self.created)]).then(vec![Op::Delete(delete)]);
        rt::spawn(TaskKind::Connection, "give up a place", async move {
            // If this fails too, the lease ends it.
            let _ = kv.txn(txn).await;
        });
    }
}
