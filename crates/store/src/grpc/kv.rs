//! KV: Range, RangeStream, Put, DeleteRange, Txn, Compact.

use std::pin::Pin;

use futures::{Stream, stream};
use kv::{Error, KeyRange, Kv as _, RangeRequest, RangeResponse, RevisionBounds};
use kv_etcd::{range, txn};
use pb_etcd::etcdserverpb::{self as pb, kv_server::Kv};
use tonic::{Request, Response, Status};

use super::{Face, refusal};
use crate::Handle;

/// Keys in the first chunk of a stream, as in etcd: the caller can begin.
const FIRST_CHUNK_KEYS: usize = 10;
/// And bytes in any, give or take one value: etcd's aim, its largest request.
const CHUNK_BYTES: usize = kv::Txn::REQUEST_BYTES_MAX;

type Chunks = Pin<Box<dyn Stream<Item = Result<pb::RangeStreamResponse, Status>> + Send>>;

/// How far a stream has come.
struct Progress {
    /// What is left to read, at one revision once that is known.
    request: RangeRequest,
    sent: usize,
    first: bool,
    /// Where the keyspace stood when the stream began.
    stood: Option<kv::Revision>,
}

/// What the methods do, whoever tells which keyspace they are about and for
/// whom: tonic's request, or a call that never was one.
impl Face {
    pub(super) async fn answer_range(
        &self,
        request: &pb::RangeRequest,
        open: impl FnOnce() -> Result<Handle, Status>,
    ) -> Result<(RangeResponse, Option<pb::ResponseHeader>), Status> {
        let handle = open()?;
        let range = range::request_from_wire(request).map_err(refusal)?;
        let response = handle.range(range).await.map_err(refusal)?;
        let header = self.header(&handle, Some(response.revision));
        Ok((response, header))
    }

    pub(super) async fn answer_put(
        &self,
        request: &pb::PutRequest,
        open: impl FnOnce() -> Result<Handle, Status>,
    ) -> Result<pb::PutResponse, Status> {
        self.bounded(request)?;
        let handle = open()?;
        let put = txn::put_from_wire(request).map_err(refusal)?;
        let (revision, response) = handle.put(put).await.map_err(refusal)?;
        let header = self.header(&handle, Some(revision));
        Ok(txn::put_response_to_wire(response, header))
    }

    pub(super) async fn answer_delete_range(
        &self,
        request: &pb::DeleteRangeRequest,
        open: impl FnOnce() -> Result<Handle, Status>,
    ) -> Result<pb::DeleteRangeResponse, Status> {
        self.bounded(request)?;
        let handle = open()?;
        let delete = txn::delete_from_wire(request).map_err(refusal)?;
        let (revision, response) = handle.delete(delete).await.map_err(refusal)?;
        let header = self.header(&handle, Some(revision));
        Ok(txn::delete_response_to_wire(response, header))
    }

    pub(super) async fn answer_txn(
        &self,
        request: &pb::TxnRequest,
        open: impl FnOnce() -> Result<Handle, Status>,
    ) -> Result<pb::TxnResponse, Status> {
        self.bounded(request)?;
        let handle = open()?;
        let txn = txn::request_from_wire_within(request, self.limits.txn_ops).map_err(refusal)?;
        let response = handle.txn(txn).await.map_err(refusal)?;
        let header = self.header(&handle, Some(response.revision));
        Ok(txn::response_to_wire(response, header))
    }

    pub(super) async fn answer_compact(
        &self,
        request: &pb::CompactionRequest,
        open: impl FnOnce() -> Result<Handle, Status>,
    ) -> Result<pb::CompactionResponse, Status> {
        let handle = open()?;
        // As etcd: nothing lies before revision 0, so it is compacted already.
        let revision = u64::try_from(request.revision)
            .map_err(|_| refusal(Error::Compacted { compacted: handle.standing().compacted() }))?;
        handle.compact(kv::Revision(revision)).await.map_err(refusal)?;
        Ok(pb::CompactionResponse { header: self.header(&handle, None) })
    }
}

#[tonic::async_trait]
impl Kv for Face {
    async fn range(
        &self,
        request: Request<pb::RangeRequest>,
    ) -> Result<Response<pb::RangeResponse>, Status> {
        let (response, header) =
            self.answer_range(request.get_ref(), || self.handle(&request)).await?;
        Ok(Response::new(range::response_to_wire(response, header)))
    }

    type RangeStreamStream = Chunks;

    async fn range_stream(
        &self,
        request: Request<pb::RangeRequest>,
    ) -> Result<Response<Chunks>, Status> {
        let handle = self.handle(&request)?;
        let request = request.get_ref();
        let range = range::request_from_wire(request).map_err(refusal)?;
        if range.sort.is_some() && !is_default_order(request) {
            let text = "RangeStream does not support custom sort orders";
            return Err(Status::unimplemented(text));
        }
        if range.bounds != RevisionBounds::default() {
            let text = "RangeStream does not support revision filters";
            return Err(Status::unimplemented(text));
        }
        Ok(Response::new(Box::pin(chunks(self.clone(), handle, range))))
    }

    async fn put(
        &self,
        request: Request<pb::PutRequest>,
    ) -> Result<Response<pb::PutResponse>, Status> {
        self.answer_put(request.get_ref(), || self.handle(&request)).await.map(Response::new)
    }

    async fn delete_range(
        &self,
        request: Request<pb::DeleteRangeRequest>,
    ) -> Result<Response<pb::DeleteRangeResponse>, Status> {
        self.answer_delete_range(request.get_ref(), || self.handle(&request))
            .await
            .map(Response::new)
    }

    async fn txn(
        &self,
        request: Request<pb::TxnRequest>,
    ) -> Result<Response<pb::TxnResponse>, Status> {
        self.answer_txn(request.get_ref(), || self.handle(&request)).await.map(Response::new)
    }

    async fn compact(
        &self,
        request: Request<pb::CompactionRequest>,
    ) -> Result<Response<pb::CompactionResponse>, Status> {
        self.answer_compact(request.get_ref(), || self.handle(&request)).await.map(Response::new)
    }
}

// === RangeStream ===

/// The order that needs no sorting; etcd lets it through however it is said.
fn is_default_order(request: &pb::RangeRequest) -> bool {
    use pb::range_request::{SortOrder, SortTarget};
    request.sort_target() == SortTarget::Key
        && matches!(request.sort_order(), SortOrder::None | SortOrder::Ascend)
}

/// Chunks of one revision in key order. Merged they are what Range answers:
/// the last alone has header, count and more.
fn chunks(
    face: Face,
    handle: Handle,
    request: RangeRequest,
) -> impl Stream<Item = Result<pb::RangeStreamResponse, Status>> + Send {
    let start = Progress { request, sent: 0, first: true, stood: None };
    stream::try_unfold(Some(start), move |progress| {
        let (face, handle) = (face.clone(), handle.clone());
        async move {
            let Some(progress) = progress else { return Ok(None) };
            let (chunk, rest) = progress.step(&handle).await.map_err(refusal)?;
            let header = match rest {
                None => face.header(&handle, Some(chunk.revision)),
                Some(_) => None,
            };
            let range_response = Some(range::response_to_wire(chunk, header));
            Ok(Some((pb::RangeStreamResponse { range_response }, rest)))
        }
    })
}

// === impl Progress ===

impl Progress {
    /// The next chunk and what is left after it.
    async fn step(mut self, handle: &Handle) -> Result<(RangeResponse, Option<Progress>), Error> {
        if self.request.count_only {
            let counted = handle.range(self.request).await?;
            return Ok((RangeResponse { more: false, ..counted }, None));
        }
        let wanted = self.request.limit.unwrap_or(usize::MAX);
        let keys_max = if self.first { FIRST_CHUNK_KEYS.min(wanted) } else { wanted };
        let page = RangeRequest { limit: Some(keys_max), ..self.request.clone() };
        let mut chunk = handle.page(page, CHUNK_BYTES).await?;
        let stood = *self.stood.get_or_insert(chunk.revision);
        self.request.revision.get_or_insert(stood);
        self.sent += chunk.count;
        let left = wanted - chunk.count;
        let last = chunk.kvs.last().map(|kv| kv.key.clone());
        let Some(last) = last.filter(|_| chunk.more) else {
            let whole = RangeResponse { revision: stood, count: self.sent, ..chunk };
            return Ok((whole, None));
        };
        self.request.range = after(&self.request.range, &last);
        if left == 0 {
            let rest = RangeRequest { count_only: true, limit: None, ..self.request };
            let rest = handle.range(rest).await?;
            let count = self.sent + rest.count;
            return Ok((RangeResponse { revision: stood, count, ..chunk }, None));
        }
        (chunk.more, chunk.count) = (false, 0);
        self.first = false;
        self.request.limit = self.request.limit.map(|_| left);
        Ok((chunk, Some(self)))
    }
}

/// What of `range` comes after `key`.
fn after(range: &KeyRange, key: &[u8]) -> KeyRange {
    let from = [key, b"\0"].concat().into();
    match range {
        KeyRange::Span { to, .. } => KeyRange::Span { from, to: to.clone() },
        KeyRange::Key(_) | KeyRange::From(_) => KeyRange::From(from),
    }
}
