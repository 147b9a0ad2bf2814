//! etcd's election service: one leader at a time, in the order of candidacy,
//! for as long as its lease lives; and whoever wants to know who it is.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use kv::{
    DeleteRequest, EventKind, KeyRange, KeyValue, Kv, LeaseId, Op, PutRequest, Revision, Txn,
    Value, WatchItem, WatchRequest,
};
use tokio::sync::mpsc;

use crate::contest::{self, Contest, Error, is_still};

/// Proof of leadership: as long as `key` is the one made at `created`.
pub(crate) struct Office {
    pub key: Bytes,
    pub created: Revision,
    pub lease: LeaseId,
    pub revision: Revision,
}

/// Who leads, and where the keyspace stood then.
pub(crate) type Leader = (Revision, KeyValue);

/// Waits to be elected; dropping it while it waits ends the candidacy.
pub(crate) async fn campaign(
    kv: Arc<dyn Kv>,
    name: &[u8],
    lease: i64,
    value: Value,
) -> Result<Office, Error> {
    let contest = Contest::new(kv, name);
    let lease = contest::lease(contest.kv(), lease).await?;
    let mut entry = contest.enter(lease, value.clone()).await?;
    let (key, created) = (entry.key.clone(), entry.created);
    let mut revision = entry.revision;
    if entry.before.as_ref().is_some_and(|before| *before != value) {
        revision = proclaim(contest.kv(), key.clone(), created, lease, value).await?;
    }
    // etcd takes a candidate whose lease ended while it waited for elected.
    if contest.wait_turn(&entry).await? && !holds(contest.kv(), &key, created).await? {
        return Err(Error::NotLeader);
    }
    entry.keep();
    Ok(Office { key, created, lease, revision })
}

/// Says something new as the leader.
pub(crate) async fn proclaim(
    kv: &dyn Kv,
    key: Bytes,
    created: Revision,
    lease: LeaseId,
    value: Value,
) -> Result<Revision, Error> {
    let still = is_still(&key, created);
    let put = PutRequest { lease: Some(lease), ..PutRequest::new(key, value) };
    let said = kv.txn(Txn::when(vec![still]).then(vec![Op::Put(put)])).await?;
    if said.succeeded { Ok(said.revision) } else { Err(Error::NotLeader) }
}

/// Steps down; as etcd, also well when there is nothing to step down from.
pub(crate) async fn resign(kv: &dyn Kv, key: Bytes, created: Revision) -> Result<Revision, Error> {
    let still = is_still(&key, created);
    let delete = DeleteRequest { range: KeyRange::Key(key), prev_kv: false };
    let resigned = kv.txn(Txn::when(vec![still]).then(vec![Op::Delete(delete)])).await?;
    Ok(resigned.revision)
}

pub(crate) async fn leader(kv: Arc<dyn Kv>, name: &[u8]) -> Result<Leader, Error> {
    let first = Contest::new(kv, name).first().await?;
    match first.kvs.into_iter().next() {
        Some(kv) => Ok((first.revision, kv)),
        None => Err(Error::NoLeader),
    }
}

/// Tells of the leader and whatever it proclaims, and of each one after it,
/// until nobody listens.
pub(crate) async fn observe(
    kv: Arc<dyn Kv>,
    name: &[u8],
    leaders: &mpsc::Sender<Result<Leader, Error>>,
) -> Result<(), Error> {
    let contest = Contest::new(kv, name);
    loop {
        let first = contest.first().await?;
        let (stood, kv) = match first.kvs.into_iter().next() {
            Some(kv) => (first.revision, kv),
            None => {
                let kv = contest.entered(first.revision).await?;
                (kv.mod_revision, kv)
            }
        };
        let watch = WatchRequest::new(KeyRange::Key(kv.key.clone())).from(stood.next());
        if leaders.send(Ok((stood, kv))).await.is_err() {
            return Ok(());
        }
        let mut items = contest.kv().watch(watch).await?;
        'term: while let Some(item) = items.next().await {
            let WatchItem::Events(batch) = item? else { continue };
            for event in batch.events {
                if event.kind == EventKind::Delete {
                    break 'term;
                }
                if leaders.send(Ok((batch.revision, event.kv))).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
}

async fn holds(kv: &dyn Kv, key: &Bytes, created: Revision) -> Result<bool, Error> {
    Ok(kv.txn(Txn::when(vec![is_still(key, created)])).await?.succeeded)
}
