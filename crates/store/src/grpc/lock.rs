//! Lock: Lock, Unlock.

use std::sync::Arc;

use kv::{DeleteRequest, Error, KeyRange, Kv as _};
use pb_etcd::v3lockpb::{
    LockRequest, LockResponse, UnlockRequest, UnlockResponse, lock_server::Lock,
};
use tonic::{Request, Response, Status};

use super::{Face, refusal};
use crate::{contest, lock};

#[tonic::async_trait]
impl Lock for Face {
    async fn lock(&self, request: Request<LockRequest>) -> Result<Response<LockResponse>, Status> {
        let handle = self.handle(&request)?;
        let LockRequest { name, lease } = request.get_ref();
        let locked = tokio::select! {
            locked = lock::lock(Arc::new(handle.clone()), name, *lease) => locked.map_err(lost)?,
            () = self.drain.started() => return Err(refusal(Error::NotLeader)),
        };
        let header = self.header(&handle, Some(locked.revision));
        Ok(Response::new(LockResponse { header, key: locked.key }))
    }

    async fn unlock(
        &self,
        request: Request<UnlockRequest>,
    ) -> Result<Response<UnlockResponse>, Status> {
        let handle = self.handle(&request)?;
        let UnlockRequest { key } = request.into_inner();
        if key.is_empty() {
            return Err(lost(Error::EmptyKey.into()));
        }
        let delete = DeleteRequest { range: KeyRange::Key(key), prev_kv: false };
        let (revision, _) = handle.delete(delete).await.map_err(|error| lost(error.into()))?;
        Ok(Response::new(UnlockResponse { header: self.header(&handle, Some(revision)) }))
    }
}

/// What etcd answers: texts without a code of their own, since its services of
/// this kind are clients of the store within the store.
#[expect(clippy::needless_pass_by_value, reason = "reads as a function in map_err")]
pub(super) fn lost(error: contest::Error) -> Status {
    Status::unknown(error.to_string())
}
