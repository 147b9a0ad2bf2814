//! One keyspace of a store, over the wire.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use futures::{Stream, StreamExt as _, stream};
use kv::{
    Error, KeyspaceName, Kv, LeaseGranted, LeaseId, LeaseInfo, RangeRequest, RangeResponse,
    Revision, Txn, TxnResponse, WatchItem, WatchRequest, WatchStream,
};
use pb_etcd::etcdserverpb::{
    self as pb, kv_client::KvClient, lease_client::LeaseClient, watch_client::WatchClient,
    watch_request::RequestUnion,
};
use prost::Message as _;
use tonic::{Request, Response, Status, Streaming, metadata::MetadataValue, transport::Channel};

use crate::{KEYSPACE_METADATA, LEASE_REMAINING_METADATA, range, status, to_i64, txn, watch};

/// A list comes in one message, however long: the bound is protobuf's own.
const RESPONSE_BYTES_MAX: usize = i32::MAX as usize;

/// Requests of one watch stream: its creation and nothing else.
const WATCH_REQUESTS_MAX: usize = 1;

/// Implements [`Kv`] over the client's shared connection. Cheap to clone.
#[derive(Clone)]
pub struct Keyspace {
    channel: Channel,
    name: KeyspaceName,
    timeout: Duration,
}

// === impl Keyspace ===

impl Keyspace {
    pub(crate) fn new(channel: Channel, name: KeyspaceName, timeout: Duration) -> Keyspace {
        Keyspace { channel, name, timeout }
    }

    #[must_use]
    pub fn name(&self) -> &KeyspaceName {
        &self.name
    }

    fn kv(&self) -> KvClient<Channel> {
        KvClient::new(self.channel.clone()).max_decoding_message_size(RESPONSE_BYTES_MAX)
    }

    fn lease(&self) -> LeaseClient<Channel> {
        LeaseClient::new(self.channel.clone())
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let name = MetadataValue::try_from(self.name.as_str())
            .expect("a keyspace name is lower-case ASCII");
        request.metadata_mut().insert(KEYSPACE_METADATA, name);
        request
    }

    /// A request that answers once: the store is told the deadline, and we
    /// keep it whatever the store does.
    fn unary<T>(&self, message: T) -> Request<T> {
        let mut request = self.request(message);
        request.set_timeout(self.timeout);
        request
    }

    async fn call<T>(
        &self,
        call: impl Future<Output = Result<Response<T>, Status>> + Send,
    ) -> Result<T, Error> {
        match tokio::time::timeout(self.timeout, call).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(refused)) => Err(status::from_status(&refused)),
            Err(_) => Err(Error::Unknown("no answer in time".into())),
        }
    }
}

#[async_trait]
impl Kv for Keyspace {
    async fn range(&self, request: RangeRequest) -> Result<RangeResponse, Error> {
        let request = self.unary(range::request_to_wire(&request));
        let response = self.call(self.kv().range(request)).await?;
        Ok(range::response_from_wire(&response))
    }

    async fn txn(&self, txn: Txn) -> Result<TxnResponse, Error> {
        let message = txn::request_to_wire(&txn);
        // The store would say the same after megabytes of travel.
        if message.encoded_len() > Txn::REQUEST_BYTES_MAX {
            return Err(Error::RequestTooLarge);
        }
        let response = self.call(self.kv().txn(self.unary(message))).await?;
        txn::response_from_wire(&response)
    }

    async fn compact(&self, revision: Revision) -> Result<Revision, Error> {
        let request = pb::CompactionRequest { revision: to_i64(revision.0), physical: false };
        let response = self.call(self.kv().compact(self.unary(request))).await?;
        Ok(range::header_revision(response.header.as_ref()))
    }

    async fn watch(&self, request: WatchRequest) -> Result<WatchStream, Error> {
        let create = pb::WatchRequest {
            request_union: Some(RequestUnion::CreateRequest(watch::request_to_wire(&request))),
        };
        let (requests, outgoing) = tokio::sync::mpsc::channel(WATCH_REQUESTS_MAX);
        requests.try_send(create).expect("a new channel has room for its first message");
        let outgoing = tokio_stream::wrappers::ReceiverStream::new(outgoing);
        let mut client =
            WatchClient::new(self.channel.clone()).max_decoding_message_size(RESPONSE_BYTES_MAX);
        let responses = self.call(client.watch(self.request(outgoing))).await?;
        Ok(Box::pin(Watching { responses, _requests: requests, ended: false }))
    }

    async fn lease_grant(&self, id: Option<LeaseId>, ttl: Duration) -> Result<LeaseGranted, Error> {
        let request =
            pb::LeaseGrantRequest { id: id.map_or(0, |id| id.0), ttl: to_i64(whole_seconds(ttl)) };
        granted(self.call(self.lease().lease_grant(self.unary(request))).await?)
    }

    async fn lease_carry(
        &self,
        id: LeaseId,
        ttl: Duration,
        remaining: Duration,
    ) -> Result<(), Error> {
        let message = pb::LeaseGrantRequest { id: id.0, ttl: to_i64(whole_seconds(ttl)) };
        let mut request = self.unary(message);
        let left = MetadataValue::try_from(remaining.as_millis().to_string());
        request.metadata_mut().insert(LEASE_REMAINING_METADATA, left.expect("digits are ASCII"));
        let answer = self.call(self.lease().lease_grant(request)).await;
        match answer.and_then(granted) {
            // Not one of ours: an etcd.
            Err(Error::LeaseExists) => self.lease_keep_alive(id).await.map(drop),
            carried => carried.map(drop),
        }
    }

    async fn lease_revoke(&self, id: LeaseId) -> Result<(), Error> {
        let request = pb::LeaseRevokeRequest { id: id.0 };
        self.call(self.lease().lease_revoke(self.unary(request))).await.map(|_| ())
    }

    async fn lease_keep_alive(&self, id: LeaseId) -> Result<Duration, Error> {
        let once = stream::once(async move { pb::LeaseKeepAliveRequest { id: id.0 } });
        // The stream stays half open until it has answered: a store may take
        // the end of requests for the end of the conversation.
        let requests = once.chain(stream::pending());
        let ask = async {
            let mut answers =
                self.lease().lease_keep_alive(self.request(requests)).await?.into_inner();
            answers.message().await.map(Response::new)
        };
        match self.call(ask).await? {
            Some(answer) if answer.ttl > 0 => Ok(seconds(answer.ttl)),
            Some(_) => Err(Error::LeaseNotFound),
            None => Err(Error::Unknown("the stream ended without an answer".into())),
        }
    }

    async fn lease_info(&self, id: LeaseId, keys: bool) -> Result<LeaseInfo, Error> {
        let request = pb::LeaseTimeToLiveRequest { id: id.0, keys };
        let response = self.call(self.lease().lease_time_to_live(self.unary(request))).await?;
        if response.ttl < 0 {
            return Err(Error::LeaseNotFound);
        }
        Ok(LeaseInfo {
            id: LeaseId(response.id),
            granted: seconds(response.granted_ttl),
            remaining: seconds(response.ttl),
            keys: response.keys.iter().map(range::owned).collect(),
        })
    }
}

fn granted(response: pb::LeaseGrantResponse) -> Result<LeaseGranted, Error> {
    match response.error.as_str() {
        "" => Ok(LeaseGranted { id: LeaseId(response.id), ttl: seconds(response.ttl) }),
        text => Err(status::from_text(text).unwrap_or_else(|| Error::Other(text.into()))),
    }
}

/// The wire counts whole seconds; a lease is never shorter than asked for.
fn whole_seconds(ttl: Duration) -> u64 {
    ttl.as_secs().saturating_add(u64::from(ttl.subsec_nanos() > 0))
}

fn seconds(ttl: i64) -> Duration {
    Duration::from_secs(u64::try_from(ttl).unwrap_or(0))
}

/// One watch on one stream of its own: HTTP/2 already multiplexes.
struct Watching {
    responses: Streaming<pb::WatchResponse>,
    /// Dropped with the watch, which ends the stream at the store.
    _requests: tokio::sync::mpsc::Sender<pb::WatchRequest>,
    ended: bool,
}

impl Stream for Watching {
    type Item = Result<WatchItem, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let item = match std::task::ready!(self.responses.poll_next_unpin(cx)) {
            Some(Ok(response)) => watch::item_from_wire(&response),
            Some(Err(broken)) => Err(status::from_status(&broken)),
            None => Err(Error::Unknown("the store ended the watch".into())),
        };
        self.ended = item.is_err();
        Poll::Ready(Some(item))
    }
}
