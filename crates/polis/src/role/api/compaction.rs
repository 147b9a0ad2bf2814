//! Dropping old revisions of an etcd, which does not do so by itself.
//!
//! Several API servers may share an etcd, kube-apiserver among them: the key
//! that all of them compare counts the rounds, and whoever counts one further
//! compacts. What is dropped is at least one interval old, so that watches and
//! continued lists of that age still find what they need.

use std::{sync::Arc, time::Duration};

use kv::{Compare, CompareOp, CompareTarget, Error, KeyRange, Kv, Op, OpResponse, Revision, Txn};
use rt::Drain;

/// As kube-apiserver names it.
const KEY: &str = "compact_rev_key";

/// What we know of the rounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Round {
    version: u64,
    /// Where the keyspace stood in that round.
    revision: Revision,
}

pub async fn run(kv: Arc<dyn Kv>, interval: Duration, drain: Drain) {
    let mut round = Round::default();
    loop {
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            () = drain.started() => return,
        }
        match next(&*kv, round).await {
            Ok(next) => round = next,
            Err(error) => tracing::warn!(%error, "etcd was not compacted"),
        }
    }
}

/// Counts one further and compacts to the round before; or learns where the
/// others are.
async fn next(kv: &dyn Kv, seen: Round) -> Result<Round, Error> {
    let compare = Compare::new(KEY, CompareOp::Equal, CompareTarget::Version(seen.version));
    let txn = Txn::when(vec![compare])
        .then(vec![Op::put(KEY, seen.revision.0.to_string())])
        .otherwise(vec![Op::Range(kv::RangeRequest::new(KeyRange::key(KEY)))]);
    let answer = kv.txn(txn).await?;
    if !answer.succeeded {
        let version = match answer.responses.first() {
            Some(OpResponse::Range(found)) => found.kvs.first().map_or(0, |kv| kv.version),
            _ => 0,
        };
        return Ok(Round { version, revision: answer.revision });
    }
    if seen.revision != Revision::ZERO {
        match kv.compact(seen.revision).await {
            Ok(_) => tracing::debug!(revision = seen.revision.0, "etcd compacted"),
            // Somebody compacts further than we do.
            Err(Error::Compacted { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Round { version: seen.version + 1, revision: answer.revision })
}
