//! etcd's lock service: one holder at a time, in the order of arrival, for as
//! long as the holder's lease lives.

use std::sync::Arc;

use bytes::Bytes;
use kv::{KeyRange, Kv, RangeRequest, Revision, Value};

use crate::contest::{self, Contest, Error};

pub(crate) struct Locked {
    /// Deleting it is unlocking.
    pub key: Bytes,
    pub revision: Revision,
}

/// Waits for its turn; dropping it while it waits gives the place up. A lease
/// that holds the lock already gets it at once.
pub(crate) async fn lock(kv: Arc<dyn Kv>, name: &[u8], lease: i64) -> Result<Locked, Error> {
    let contest = Contest::new(kv, name);
    let lease = contest::lease(contest.kv(), lease).await?;
    let mut entry = contest.enter(lease, Value::new()).await?;
    let mut revision = entry.revision;
    if contest.wait_turn(&entry).await? {
        // The lease may have ended while we waited.
        let own = contest.kv().range(RangeRequest::new(KeyRange::Key(entry.key.clone()))).await?;
        if own.kvs.first().is_none_or(|kv| kv.create_revision != entry.created) {
            return Err(Error::SessionExpired);
        }
        revision = own.revision;
    }
    entry.keep();
    Ok(Locked { key: entry.key.clone(), revision })
}
