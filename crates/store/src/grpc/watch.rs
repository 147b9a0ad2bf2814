//! Watch: many watches on one stream.
//!
//! One task per stream merges the items of its watches and the client's
//! requests, and writes responses as fast as the client reads them; when that
//! is slow, the task does not read its watches, and the hub lets them lag.
//!
//! A progress request is answered for the whole stream once every watch of it
//! has passed the same revision. The hub puts a mark into each watch's own
//! queue, so an answer cannot overtake an event.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt as _;
use kv::{Error, Revision, WatchItem};
use kv_etcd::{status, to_i64, watch};
use pb_etcd::etcdserverpb::{
    self as pb, WatchCreateRequest, watch_request::RequestUnion, watch_server::Watch,
};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::{StreamMap, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming};

use super::{Face, refusal};
use crate::{Handle, Subscription, hub::WatcherId};

/// Responses between this task and the connection's: enough to keep both busy.
const RESPONSES_MAX: usize = 16;

/// Watches on one stream. A client with more has lost count.
const WATCHES_MAX: usize = 2000;

/// etcd's word for a client that wants to hear when there is no leader.
const HAS_LEADER: &str = "hasleader";

/// etcd's id for "no watch" and "all watches".
const NO_WATCH: i64 = -1;

type WatchId = i64;

#[tonic::async_trait]
impl Watch for Face {
    type WatchStream = ReceiverStream<Result<pb::WatchResponse, Status>>;

    async fn watch(
        &self,
        request: Request<Streaming<pb::WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let handle = self.handle(&request)?;
        let needs_leader = request.metadata().get(HAS_LEADER).is_some_and(|value| value == "true");
        let (responses, outgoing) = mpsc::channel(RESPONSES_MAX);
        let conversation = Conversation {
            face: self.clone(),
            handle,
            needs_leader,
            responses,
            items: StreamMap::new(),
            watches: BTreeMap::new(),
            next_id: 0,
            marked: None,
        };
        let task = conversation.run(request.into_inner());
        rt::spawn(rt::TaskKind::Connection, "watch stream", task);
        Ok(Response::new(ReceiverStream::new(outgoing)))
    }
}

/// One stream.
struct Conversation {
    face: Face,
    handle: Handle,
    /// The client goes elsewhere when nobody leads the keyspace.
    needs_leader: bool,
    responses: mpsc::Sender<Result<pb::WatchResponse, Status>>,
    items: StreamMap<WatchId, Subscription>,
    watches: BTreeMap<WatchId, Options>,
    next_id: WatchId,
    marked: Option<Mark>,
}

struct Options {
    watcher: WatcherId,
    /// Progress is passed on: otherwise it only serves our marks.
    progress: bool,
    fragment: bool,
}

/// A progress request on its way through the watches.
struct Mark {
    revision: Revision,
    outstanding: BTreeSet<WatchId>,
}

/// The client reads no more, or the stream must end.
struct Over;

// === impl Conversation ===

impl Conversation {
    async fn run(mut self, mut requests: Streaming<pb::WatchRequest>) {
        let drain = self.face.drain.clone();
        let mut listening = true;
        let (face, name) = (self.face.clone(), self.handle.name().clone());
        let leaderless = face.keyspaces.leaderless(&name);
        tokio::pin!(leaderless);
        loop {
            let handled = tokio::select! {
                request = requests.message(), if listening => match request {
                    Ok(Some(request)) => self.request(request).await,
                    // As etcd: who has said all it had to say may still listen.
                    Ok(None) => {
                        listening = false;
                        Ok(())
                    }
                    Err(_) => return,
                },
                Some((id, item)) = self.items.next() => self.item(id, item).await,
                () = self.responses.closed() => return,
                () = drain.started() => {
                    let _ = self.responses.try_send(Err(refusal(Error::NotLeader)));
                    return;
                }
                () = &mut leaderless, if self.needs_leader => {
                    let _ = self.responses.try_send(Err(refusal(Error::NotLeader)));
                    return;
                }
            };
            if let Err(Over) = handled {
                return;
            }
        }
    }

    async fn request(&mut self, request: pb::WatchRequest) -> Result<(), Over> {
        match request.request_union {
            Some(RequestUnion::CreateRequest(create)) => self.create(create).await,
            Some(RequestUnion::CancelRequest(cancel)) => self.cancel(cancel.watch_id).await,
            Some(RequestUnion::ProgressRequest(_)) => self.progress().await,
            None => Ok(()),
        }
    }

    async fn create(&mut self, create: WatchCreateRequest) -> Result<(), Over> {
        // As etcd, in this order: what is refused here takes no id.
        let request = match watch::request_from_wire(&create) {
            Ok(request) => request,
            Err(error) => return self.refuse(error.to_string()).await,
        };
        if is_empty(&create) {
            return self.refuse("mvcc: watcher range is empty".into()).await;
        }
        let id = match self.choose_id(create.watch_id) {
            Ok(id) => id,
            Err(reason) => return self.refuse(reason).await,
        };
        let mut subscription = match self.handle.subscribe(request).await {
            Ok(subscription) => subscription,
            Err(error) => return self.refuse(cancel_reason(&error)).await,
        };
        // Its first item says that it is in place: told at once, so that
        // clients hear of their watches in the order in which they asked.
        let created = subscription.next().await.unwrap_or(Err(Error::NotLeader));
        let options = Options {
            watcher: subscription.id(),
            progress: create.progress_notify,
            fragment: create.fragment,
        };
        self.watches.insert(id, options);
        self.items.insert(id, subscription);
        self.item(id, created).await
    }

    fn choose_id(&mut self, asked: WatchId) -> Result<WatchId, String> {
        if self.watches.len() >= WATCHES_MAX {
            return Err(Error::TooManyRequests.to_string());
        }
        if asked != 0 {
            return match self.watches.contains_key(&asked) {
                true => Err("mvcc: duplicate watch ID provided on the WatchStream".into()),
                false => Ok(asked),
            };
        }
        while self.watches.contains_key(&self.next_id) {
            self.next_id += 1;
        }
        self.next_id += 1;
        Ok(self.next_id - 1)
    }

    /// A watch that never came to be.
    async fn refuse(&mut self, reason: String) -> Result<(), Over> {
        self.send(pb::WatchResponse {
            header: self.face.header(&self.handle, None),
            watch_id: NO_WATCH,
            created: true,
            canceled: true,
            cancel_reason: reason,
            ..Default::default()
        })
        .await
    }

    async fn cancel(&mut self, id: WatchId) -> Result<(), Over> {
        if self.watches.remove(&id).is_none() {
            return Ok(());
        }
        self.items.remove(&id);
        self.send(pb::WatchResponse {
            header: self.face.header(&self.handle, None),
            watch_id: id,
            canceled: true,
            ..Default::default()
        })
        .await?;
        self.passed(id, None).await
    }

    /// As etcd: a stream with a watch that lags gets no answer now, and asks
    /// again.
    async fn progress(&mut self) -> Result<(), Over> {
        if self.marked.is_some() {
            return Ok(());
        }
        let watchers = self.watches.values().map(|options| options.watcher).collect();
        let Ok(Some(revision)) = self.handle.mark(watchers).await else { return Ok(()) };
        self.marked = Some(Mark { revision, outstanding: self.watches.keys().copied().collect() });
        self.answer_mark().await
    }

    async fn item(&mut self, id: WatchId, item: Result<WatchItem, Error>) -> Result<(), Over> {
        let base = pb::WatchResponse { watch_id: id, ..Default::default() };
        let header = |revision| self.face.header(&self.handle, Some(revision));
        match item {
            Ok(WatchItem::Created { revision }) => {
                let header = header(revision);
                self.send(pb::WatchResponse { header, created: true, ..base }).await
            }
            Ok(WatchItem::Events(batch)) => {
                let header = header(batch.revision);
                let events = batch.events.into_iter().map(watch::event_to_wire).collect();
                // As etcd: what its largest request may have, if the client
                // can put the pieces together again.
                let fragment = self.watches.get(&id).is_some_and(|options| options.fragment);
                let bytes_max = if fragment { self.face.limits.request_bytes } else { usize::MAX };
                for part in fragments(pb::WatchResponse { header, events, ..base }, bytes_max) {
                    self.send(part).await?;
                }
                Ok(())
            }
            Ok(WatchItem::Progress { revision }) => {
                if self.watches.get(&id).is_some_and(|options| options.progress) {
                    let header = header(revision);
                    self.send(pb::WatchResponse { header, ..base }).await?;
                }
                self.passed(id, Some(revision)).await
            }
            Err(error) => self.end(id, error).await,
        }
    }

    /// The watch cannot go on; the stream does.
    async fn end(&mut self, id: WatchId, error: Error) -> Result<(), Over> {
        self.watches.remove(&id);
        self.items.remove(&id);
        // As etcd: of a compaction the revision alone is told.
        let (at, compact_revision, cancel_reason) = match &error {
            Error::Compacted { compacted } => {
                (Some(Revision::ZERO), to_i64(compacted.0), String::new())
            }
            _ => (None, 0, cancel_reason(&error)),
        };
        self.send(pb::WatchResponse {
            header: self.face.header(&self.handle, at),
            watch_id: id,
            canceled: true,
            compact_revision,
            cancel_reason,
            ..Default::default()
        })
        .await?;
        self.passed(id, None).await
    }

    /// A watch has delivered everything up to `revision`, or is no more.
    async fn passed(&mut self, id: WatchId, revision: Option<Revision>) -> Result<(), Over> {
        if let Some(mark) = &mut self.marked
            && revision.is_none_or(|revision| revision >= mark.revision)
        {
            mark.outstanding.remove(&id);
        }
        self.answer_mark().await
    }

    async fn answer_mark(&mut self) -> Result<(), Over> {
        let Some(mark) = self.marked.take_if(|mark| mark.outstanding.is_empty()) else {
            return Ok(());
        };
        self.send(pb::WatchResponse {
            header: self.face.header(&self.handle, Some(mark.revision)),
            watch_id: NO_WATCH,
            ..Default::default()
        })
        .await
    }

    async fn send(&self, response: pb::WatchResponse) -> Result<(), Over> {
        self.responses.send(Ok(response)).await.map_err(|_| Over)
    }
}

/// As etcd: what concerns rights is told with its code, and clients match on
/// that to show who they are anew.
fn cancel_reason(error: &Error) -> String {
    let status = status::to_status(error);
    match error {
        Error::PermissionDenied | Error::Auth(_) => {
            format!("rpc error: code = {:?} desc = {}", status.code(), status.message())
        }
        _ => status.message().to_owned(),
    }
}

/// As etcd: an end that is not after the start holds nothing to watch.
fn is_empty(create: &WatchCreateRequest) -> bool {
    !create.range_end.is_empty() && create.range_end != b"\0"[..] && create.key >= create.range_end
}

/// One response, or several that make one.
fn fragments(whole: pb::WatchResponse, bytes_max: usize) -> Vec<pb::WatchResponse> {
    if whole.encoded_len() < bytes_max {
        return vec![whole];
    }
    let pb::WatchResponse { header, watch_id, events, .. } = whole;
    let empty = || pb::WatchResponse { header, watch_id, fragment: true, ..Default::default() };
    let mut parts = vec![empty()];
    let mut bytes = 0;
    for event in events {
        let event_bytes = event.encoded_len();
        if bytes > 0 && bytes + event_bytes >= bytes_max {
            parts.push(empty());
            bytes = 0;
        }
        bytes += event_bytes;
        parts.last_mut().expect("there is a first part").events.push(event);
    }
    parts.last_mut().expect("there is a first part").fragment = false;
    parts
}
