//! The trait itself.

use std::time::Duration;

use async_trait::async_trait;

use crate::{
    DeleteRequest, DeleteResponse, Error, LeaseGranted, LeaseId, LeaseInfo, Op, OpResponse,
    PutRequest, PutResponse, RangeRequest, RangeResponse, Revision, Txn, TxnResponse, WatchRequest,
    WatchStream,
};

/// One keyspace of a store.
///
/// A successful answer to a write means it is durable. [`Error::is_definite`]
/// tells whether a failed write certainly did not happen. Reads are
/// linearizable unless the request says `serializable`.
#[async_trait]
pub trait Kv: Send + Sync + 'static {
    async fn range(&self, request: RangeRequest) -> Result<RangeResponse, Error>;
    async fn txn(&self, txn: Txn) -> Result<TxnResponse, Error>;
    /// Forgets history before `revision`, which itself stays readable.
    async fn compact(&self, revision: Revision) -> Result<Revision, Error>;
    async fn watch(&self, request: WatchRequest) -> Result<WatchStream, Error>;
    /// `id` none lets the store choose.
    async fn lease_grant(&self, id: Option<LeaseId>, ttl: Duration) -> Result<LeaseGranted, Error>;
    /// Deletes the lease's keys in one revision.
    async fn lease_revoke(&self, id: LeaseId) -> Result<(), Error>;
    /// Returns the time to live from now.
    async fn lease_keep_alive(&self, id: LeaseId) -> Result<Duration, Error>;
    async fn lease_info(&self, id: LeaseId, keys: bool) -> Result<LeaseInfo, Error>;

    /// A lease that lives elsewhere, as it stands there: granted if it is not
    /// here yet, and with `remaining` of its time left either way. Stores that
    /// know no such thing give it all of its time.
    async fn lease_carry(
        &self,
        id: LeaseId,
        ttl: Duration,
        remaining: Duration,
    ) -> Result<(), Error> {
        let _ = remaining;
        match self.lease_grant(Some(id), ttl).await {
            Err(Error::LeaseExists) => self.lease_keep_alive(id).await.map(drop),
            granted => granted.map(drop),
        }
    }

    /// Whether the store is in this process, so that reading it costs no more
    /// than reading a copy.
    fn is_near(&self) -> bool {
        false
    }

    async fn put(&self, request: PutRequest) -> Result<(Revision, PutResponse), Error> {
        let txn = self.txn(Txn::default().then(vec![Op::Put(request)])).await?;
        match txn.responses.into_iter().next() {
            Some(OpResponse::Put(put)) => Ok((txn.revision, put)),
            _ => Err(Error::Other("polis: a put answered without a put response".into())),
        }
    }

    async fn delete(&self, request: DeleteRequest) -> Result<(Revision, DeleteResponse), Error> {
        let txn = self.txn(Txn::default().then(vec![Op::Delete(request)])).await?;
        match txn.responses.into_iter().next() {
            Some(OpResponse::Delete(delete)) => Ok((txn.revision, delete)),
            _ => Err(Error::Other("polis: a delete answered without a delete response".into())),
        }
    }
}
