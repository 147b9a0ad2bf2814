//! A keyspace as its callers see it: in this process, or behind the gRPC face.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use keyspace::auth::{Auth, Caller, Order};
use kv::{
    Error, KeyRange, KeyspaceName, Kv, LeaseGranted, LeaseId, LeaseInfo, RangeRequest,
    RangeResponse, Revision, Txn, TxnResponse, WatchRequest, WatchStream,
};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::WatchStream as Changes;

use crate::{
    credential::Credential,
    guard::Guard,
    hub::WatcherId,
    news::NewsResult,
    request::{Asked, Change, KeyspaceHash, Reply, Request},
    standing::Standing,
};

/// Cheap to clone. Acts for this process itself, and may do everything, until it
/// is told for whom else.
///
/// Rights to change are judged where changes are applied. Rights to read are
/// judged here, before and after: what was read in between is given out only if
/// the caller might still read it.
#[derive(Clone)]
pub struct Handle {
    door: Arc<Door>,
    credential: Credential,
}

/// The way to a keyspace's actor.
struct Door {
    name: KeyspaceName,
    requests: mpsc::Sender<Request>,
    /// Watchers whose callers have gone. Each says so once in its life, so the
    /// number of watchers bounds this queue.
    gone: mpsc::UnboundedSender<WatcherId>,
    standing: Arc<Standing>,
    guard: Arc<Guard>,
}

/// A watch that can be named: the gRPC face needs that to ask for progress.
pub(crate) struct Subscription {
    id: WatcherId,
    items: mpsc::Receiver<NewsResult>,
    gone: mpsc::UnboundedSender<WatcherId>,
    sentry: Option<Sentry>,
    ended: bool,
}

/// Ends a watch whose owner may not read it any more.
struct Sentry {
    caller: Caller,
    range: KeyRange,
    changes: Changes<Option<Arc<Auth>>>,
}

// === impl Handle ===

impl Handle {
    pub(crate) fn new(
        name: KeyspaceName,
        requests: mpsc::Sender<Request>,
        gone: mpsc::UnboundedSender<WatcherId>,
        standing: Arc<Standing>,
        guard: Arc<Guard>,
    ) -> Handle {
        let door = Arc::new(Door { name, requests, gone, standing, guard });
        Handle { door, credential: Credential::Trusted }
    }

    pub(crate) fn on_behalf_of(self, credential: Credential) -> Handle {
        Handle { credential, ..self }
    }

    /// For what the store needs to know itself, whoever asks.
    pub(crate) fn trusted(&self) -> Handle {
        self.clone().on_behalf_of(Credential::Trusted)
    }

    #[must_use]
    pub fn name(&self) -> &KeyspaceName {
        &self.door.name
    }

    pub(crate) fn standing(&self) -> &Standing {
        &self.door.standing
    }

    /// Requests that its actor has not looked at yet.
    pub(crate) fn waiting(&self) -> u64 {
        (self.door.requests.max_capacity() - self.door.requests.capacity()) as u64
    }

    pub(crate) fn guard(&self) -> &Guard {
        &self.door.guard
    }

    pub(crate) async fn caller(&self) -> Result<Caller, Error> {
        self.credential.caller(&self.door.guard).await
    }

    /// Asks for no right but to be someone, once auth is on.
    pub(crate) async fn check_known(&self) -> Result<(), Error> {
        let caller = self.caller().await?;
        self.door.guard.loaded().await?.check_known(&caller)
    }

    /// Asks for the root role, once auth is on.
    pub(crate) async fn check_admin(&self) -> Result<(), Error> {
        let caller = self.caller().await?;
        self.door.guard.loaded().await?.check_admin(&caller)
    }

    /// Users and roles as of now.
    pub(crate) async fn auth(&self) -> Result<Arc<Auth>, Error> {
        self.change(Change::Auth).await
    }

    pub(crate) async fn order(&self, order: Order) -> Result<(), Error> {
        self.change(|reply| Change::Order(order, reply)).await
    }

    /// Shows that the actor answers; one that leads, after the batch under way.
    pub(crate) async fn ping(&self) -> Result<(), Error> {
        match self.door.standing.is_leading() {
            true => self.leases().await.map(|_| ()),
            false => self.ask(Request::Ping).await,
        }
    }

    /// Chooses who is to lead, by name.
    pub(crate) async fn prefer(&self, replica: String) -> Result<(), Error> {
        self.change(|reply| Change::Prefer(replica, reply)).await
    }

    /// The store's own bookkeeping: no right of any user's.
    pub(crate) async fn set_note(&self, name: Bytes, value: Option<Bytes>) -> Result<(), Error> {
        self.change(|reply| Change::SetNote { name, value, reply }).await
    }

    pub(crate) async fn leases(&self) -> Result<Vec<LeaseId>, Error> {
        self.change(Change::Leases).await
    }

    pub(crate) async fn hash(&self, revision: Option<Revision>) -> Result<KeyspaceHash, Error> {
        self.ask(|reply| Request::Hash(revision, reply)).await
    }

    /// The beginning of a range; see [`keyspace::Keyspace::page`].
    pub(crate) async fn page(
        &self,
        request: RangeRequest,
        bytes_max: usize,
    ) -> Result<RangeResponse, Error> {
        let range = request.range.clone();
        let page = self.ask(|reply| Request::Page(request, bytes_max, reply));
        Ok(self.read(&range, page).await?.0)
    }

    /// Puts a progress item into the stream of each watcher and returns its
    /// revision; none when a watcher is behind.
    pub(crate) async fn mark(&self, ids: Vec<WatcherId>) -> Result<Option<Revision>, Error> {
        self.ask(|reply| Request::Mark(ids, reply)).await
    }

    pub(crate) async fn subscribe(&self, request: WatchRequest) -> Result<Subscription, Error> {
        let range = request.range.clone();
        let watch = self.ask(|reply| Request::Watch(request, reply));
        let (watching, caller) = self.read(&range, watch).await?;
        let changes = || Changes::new(self.door.guard.changes());
        let is_limited = caller != Caller::Trusted;
        Ok(Subscription {
            id: watching.id,
            items: watching.items,
            gone: self.door.gone.clone(),
            sentry: is_limited.then(|| Sentry { caller, range, changes: changes() }),
            ended: false,
        })
    }

    /// What `answer` is, if the caller may read `range` before and after.
    async fn read<T>(
        &self,
        range: &KeyRange,
        answer: impl Future<Output = Result<T, Error>>,
    ) -> Result<(T, Caller), Error> {
        let caller = self.caller().await?;
        if caller == Caller::Trusted {
            return Ok((answer.await?, caller));
        }
        let before = self.door.guard.auth();
        if let Some(auth) = &before {
            auth.check_read(&caller, range)?;
        }
        let answer = answer.await?;
        let after = self.door.guard.auth().ok_or(Error::NotLeader)?;
        if before.is_none_or(|before| !Arc::ptr_eq(&before, &after)) {
            after.check_read(&caller, range)?;
        }
        Ok((answer, caller))
    }

    async fn change<T>(&self, make: impl FnOnce(Reply<T>) -> Change) -> Result<T, Error> {
        let caller = self.caller().await?;
        self.ask(|reply| Request::Change(Asked { caller, change: make(reply) })).await
    }

    async fn ask<T>(&self, make: impl FnOnce(Reply<T>) -> Request) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.door.requests.try_send(make(reply)).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => Error::TooManyRequests,
            mpsc::error::TrySendError::Closed(_) => Error::NotLeader,
        })?;
        answer.await.unwrap_or_else(|_| Err(Error::Unknown("the store stopped".into())))
    }
}

#[async_trait]
impl Kv for Handle {
    fn is_near(&self) -> bool {
        true
    }

    async fn range(&self, request: RangeRequest) -> Result<RangeResponse, Error> {
        let range = request.range.clone();
        let answer = self.ask(|reply| Request::Range(request, reply));
        self.read(&range, answer).await.map(|(response, _)| response)
    }

    async fn txn(&self, txn: Txn) -> Result<TxnResponse, Error> {
        self.change(|reply| Change::Txn(txn, reply)).await
    }

    async fn compact(&self, revision: Revision) -> Result<Revision, Error> {
        self.change(|reply| Change::Compact(revision, reply)).await
    }

    async fn watch(&self, request: WatchRequest) -> Result<WatchStream, Error> {
        let subscription = self.subscribe(request).await?;
        Ok(Box::pin(subscription.map(|news| news.map(Into::into))))
    }

    async fn lease_grant(&self, id: Option<LeaseId>, ttl: Duration) -> Result<LeaseGranted, Error> {
        self.change(|reply| Change::Grant { id, ttl, reply }).await
    }

    async fn lease_carry(
        &self,
        id: LeaseId,
        ttl: Duration,
        remaining: Duration,
    ) -> Result<(), Error> {
        self.change(|reply| Change::Carry { id, ttl, remaining, reply }).await
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
    type Item = NewsResult;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let polled = self.items.poll_recv(cx);
        // Rights are known before what became durable with them is shown, so
        // they are looked at after it.
        if let Some(refusal) = self.sentry.as_mut().and_then(|sentry| sentry.refusal(cx)) {
            self.ended = true;
            return Poll::Ready(Some(Err(refusal)));
        }
        // The actor closes the buffer only when it stops.
        let item = std::task::ready!(polled).unwrap_or(Err(Error::NotLeader));
        self.ended = item.is_err();
        Poll::Ready(Some(item))
    }
}

// === impl Sentry ===

impl Sentry {
    fn refusal(&mut self, cx: &mut Context<'_>) -> Option<Error> {
        while let Poll::Ready(Some(auth)) = self.changes.poll_next_unpin(cx) {
            let Some(auth) = auth else { continue };
            if let Err(refusal) = auth.check_read(&self.caller, &self.range) {
                return Some(refusal);
            }
        }
        None
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        // No actor, no watcher to remove.
        let _ = self.gone.send(self.id);
    }
}
