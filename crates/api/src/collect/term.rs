//! A term: the time during which one replica collects.

use std::{sync::Arc, time::Duration};

use kv::{Compare, Kv, LeaseId, Op, PutRequest, Txn};
use tokio::time::Instant;

/// The key whose holder collects: below the root of all objects, which may have
/// been given another place.
const KEY: &str = "/registry/polis.dev/collectors/term";

/// How long a holder that is gone keeps others waiting.
const LEASE: Duration = Duration::from_secs(15);

/// How often it says that it is there.
const BEAT: Duration = Duration::from_secs(4);

/// How often others look whether it is gone.
const LOOK: Duration = Duration::from_secs(5);

pub struct Term {
    kv: Arc<dyn Kv>,
    lease: LeaseId,
}

/// Waits until nobody else holds the term; none after a failure.
pub async fn begin(kv: Arc<dyn Kv>) -> Option<Term> {
    match try_begin(&kv).await {
        Ok(Some(lease)) => return Some(Term { kv, lease }),
        Ok(None) => {}
        Err(error) => tracing::debug!(%error, "a term to collect in"),
    }
    tokio::time::sleep(LOOK).await;
    None
}

async fn try_begin(kv: &Arc<dyn Kv>) -> Result<Option<LeaseId>, kv::Error> {
    let held = kv.range(kv::RangeRequest::new(kv::KeyRange::key(KEY))).await?;
    if !held.kvs.is_empty() {
        return Ok(None);
    }
    let lease = kv.lease_grant(None, LEASE).await?.id;
    let mut put = PutRequest::new(KEY, "");
    put.lease = Some(lease);
    let txn = Txn::when(vec![Compare::absent(KEY)]).then(vec![Op::Put(put)]);
    match kv.txn(txn).await?.succeeded {
        true => Ok(Some(lease)),
        false => {
            kv.lease_revoke(lease).await?;
            Ok(None)
        }
    }
}

// === impl Term ===

impl Term {
    /// Returns when it cannot be sure any more to be the only one.
    pub async fn end(&self) {
        let mut sure_until = Instant::now() + LEASE;
        loop {
            tokio::time::sleep(BEAT).await;
            let asked = Instant::now();
            match self.kv.lease_keep_alive(self.lease).await {
                Ok(_) => sure_until = asked + LEASE,
                Err(kv::Error::LeaseNotFound) => return,
                Err(_) if Instant::now() >= sure_until => return,
                Err(_) => {}
            }
        }
    }
}
