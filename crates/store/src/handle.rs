//! A keyspace as its callers see it: in this process, or behind the gRPC face.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use futures::Stream;
use kv::{
    Error, KeyspaceName, Kv, LeaseGranted, LeaseId, LeaseInfo, RangeRequest, RangeResponse,
    Revision, Txn, TxnResponse, WatchItem, WatchRequest, WatchStream,
};
use tokio::sync::{mpsc, oneshot};

use crate::{
    hub::{WatchItemResult, WatcherId},
    request::{Change, KeyspaceHash, Reply, Request},
    standing::Standing,
};

/// Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    name: KeyspaceName,
    requests: mpsc::Sender<Request>,
    /// Watchers whose callers have gone. Each says so once in its life, so the
    /// number of watchers bounds this queue.
    gone: mpsc::UnboundedSender<WatcherId>,
    standing: Arc<Standing>,
}

/// A watch that can be named: the gRPC face needs that to ask for progress.
pub struct Subscription {
    id: WatcherId,
    items: mpsc::Receiver<WatchItemResult>,
    gone: mpsc::UnboundedSender<WatcherId>,
    ended: bool,
}

// === impl Handle ===

impl Handle {
    pub(crate) fn new(
        name: KeyspaceName,
        requests: mpsc::Sender<Request>,
        gone: mpsc::UnboundedSender<WatcherId>,
        standing: Arc<Standing>,
    ) -> Handle {
        Handle { name, requests, gone, standing }
    }

    #[must_use]
    pub fn name(&self) -> &KeyspaceName {
        &self.name
    }

    pub(crate) fn standing(&self) -> &Standing {
        &self.standing
    }

    pub(crate) async fn leases(&self) -> Result<Vec<LeaseId>, Error> {
        self.change(Change::Leases).await
    }

    pub(crate) async fn hash(&self, revision: Option<Revision>) -> Result<KeyspaceHash, Error> {
        self.ask(|reply| Request::Hash(revision, reply)).await
    }

    /// Puts a progress item into the stream of each watcher and returns its
    /// revision; none when a watcher is behind.
    pub(crate) async fn mark(&self, ids: Vec<WatcherId>) -> Result<Option<Revision>, Error> {
        self.ask(|reply| Request::Mark(ids, reply)).await
    }

    pub(crate) async fn subscribe(&self, request: WatchRequest) -> Result<Subscription, Error> {
        let watching = self.ask(|reply| Request::Watch(request, reply)).await?;
        let gone = self.gone.clone();
        Ok(Subscription { id: watching.id, items: watching.items, gone, ended: false })
    }

    async fn change<T>(&self, make: impl FnOnce(Reply<T>) -> Change) -> Result<T, Error> {
        self.ask(|reply| Request::Change(make(reply))).await
    }

    async fn ask<T>(&self, make: impl FnOnce(Reply<T>) -> Request) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.requests.try_send(make(reply)).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => Error::TooManyRequests,
            mpsc::error::TrySendError::Closed(_) => Error::NotLeader,
        })?;
        answer.await.unwrap_or_else(|_| Err(Error::Unknown("the store stopped".into())))
    }
}

#[async_trait]
impl Kv for Handle {
    async fn range(&self, request: RangeRequest) -> Result<RangeResponse, Error> {
        self.ask(|reply| Request::Range(request, reply)).await
    }

    async fn txn(&self, txn: Txn) -> Result<TxnResponse, Error> {
        self.change(|reply| Change::Txn(txn, reply)).await
    }

    async fn compact(&self, revision: Revision) -> Result<Revision, Error> {
        self.change(|reply| Change::Compact(revision, reply)).await
    }

    async fn watch(&self, request: WatchRequest) -> Result<WatchStream, Error> {
        Ok(Box::pin(self.subscribe(request).await?))
    }

    async fn lease_grant(&self, id: Option<LeaseId>, ttl: Duration) -> Result<LeaseGranted, Error> {
        self.change(|reply| Change::Grant { id, ttl, reply }).await
    }

    async fn lease_revoke(&self, id: LeaseId) -> Result<(), Error> {
        self.change(|reply| Change::Revoke(id, reply)).await
    }

    async fn lease_keep_alive(&self, id: LeaseId) -> Result<Duration, Error> {
        self.change(|reply| Change::KeepAlive(id, reply)).await
    }

    async fn lease_info(&self, id: LeaseId, keys: bool) -> Result<LeaseInfo, Error> {
        self.change(|reply| Change::LeaseInfo { id, keys, reply }).await
    }
}

// === impl Subscription ===

impl Subscription {
    pub(crate) fn id(&self) -> WatcherId {
        self.id
    }
}

impl Stream for Subscription {
    type Item = Result<WatchItem, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        // The actor closes the buffer only when it stops.
        let item = std::task::ready!(self.items.poll_recv(cx)).unwrap_or(Err(Error::NotLeader));
        self.ended = item.is_err();
        Poll::Ready(Some(item))
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        // No actor, no watcher to remove.
        let _ = self.gone.send(self.id);
    }
}
