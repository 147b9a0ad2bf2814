//! KV: Range, Put, DeleteRange, Txn, Compact.

use std::pin::Pin;

use futures::Stream;
use kv::{Error, Kv as _};
use kv_etcd::{range, txn};
use pb_etcd::etcdserverpb::{self as pb, kv_server::Kv};
use tonic::{Request, Response, Status};

use super::{Face, bounded, refusal};

#[tonic::async_trait]
impl Kv for Face {
    async fn range(
        &self,
        request: Request<pb::RangeRequest>,
    ) -> Result<Response<pb::RangeResponse>, Status> {
        let handle = self.handle(&request)?;
        let range = range::request_from_wire(request.get_ref()).map_err(refusal)?;
        let response = handle.range(range).await.map_err(refusal)?;
        let header = self.header(&handle, Some(response.revision));
        Ok(Response::new(range::response_to_wire(response, header)))
    }

    type RangeStreamStream =
        Pin<Box<dyn Stream<Item = Result<pb::RangeStreamResponse, Status>> + Send>>;

    async fn range_stream(
        &self,
        _: Request<pb::RangeRequest>,
    ) -> Result<Response<Self::RangeStreamStream>, Status> {
        Err(Status::unimplemented("polis: RangeStream is not served; ask in pages"))
    }

    async fn put(
        &self,
        request: Request<pb::PutRequest>,
    ) -> Result<Response<pb::PutResponse>, Status> {
        bounded(request.get_ref())?;
        let handle = self.handle(&request)?;
        let put = txn::put_from_wire(request.get_ref()).map_err(refusal)?;
        let (revision, response) = handle.put(put).await.map_err(refusal)?;
        let header = self.header(&handle, Some(revision));
        Ok(Response::new(txn::put_response_to_wire(response, header)))
    }

    async fn delete_range(
        &self,
        request: Request<pb::DeleteRangeRequest>,
    ) -> Result<Response<pb::DeleteRangeResponse>, Status> {
        bounded(request.get_ref())?;
        let handle = self.handle(&request)?;
        let delete = txn::delete_from_wire(request.get_ref()).map_err(refusal)?;
        let (revision, response) = handle.delete(delete).await.map_err(refusal)?;
        let header = self.header(&handle, Some(revision));
        Ok(Response::new(txn::delete_response_to_wire(response, header)))
    }

    async fn txn(
        &self,
        request: Request<pb::TxnRequest>,
    ) -> Result<Response<pb::TxnResponse>, Status> {
        bounded(request.get_ref())?;
        let handle = self.handle(&request)?;
        let txn = txn::request_from_wire(request.get_ref()).map_err(refusal)?;
        let response = handle.txn(txn).await.map_err(refusal)?;
        let header = self.header(&handle, Some(response.revision));
        Ok(Response::new(txn::response_to_wire(response, header)))
    }

    async fn compact(
        &self,
        request: Request<pb::CompactionRequest>,
    ) -> Result<Response<pb::CompactionResponse>, Status> {
        let handle = self.handle(&request)?;
        // As etcd: nothing lies before revision 0, so it is compacted already.
        let revision = u64::try_from(request.get_ref().revision)
            .map_err(|_| refusal(Error::Compacted { compacted: handle.standing().compacted() }))?;
        handle.compact(kv::Revision(revision)).await.map_err(refusal)?;
        Ok(Response::new(pb::CompactionResponse { header: self.header(&handle, None) }))
    }
}
