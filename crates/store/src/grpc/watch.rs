//! Watch: many watches on one stream.
//!
//! A stream merges the news of its watches and the client's requests, and is
//! asked for responses as fast as the client reads them; when that is slow, it
//! does not read its watches, and the hub lets them lag.
//!
//! A progress request is answered for the whole stream once every watch of it
//! has passed the same revision. The hub puts a mark into each watch's own
//! queue, so an answer cannot overtake an event.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    pin::Pin,
};

use futures::{
    FutureExt as _, Stream, StreamExt as _,
    stream::{self, AbortHandle, BoxStream, SelectAll},
};
use kv::{Error, Revision};
use kv_etcd::{status, to_i64, watch};
use pb_etcd::etcdserverpb::{self as pb, WatchCreateRequest, watch_request::RequestUnion};
use prost::Message as _;
use tonic::{Request, Response, Status, Streaming, body::Body, server::StreamingService};

use super::{
    Face, refusal,
    wire::{Told, WatchCodec},
};
use crate::{
    Handle,
    hub::WatcherId,
    news::{News, NewsResult},
};

/// Watches on one stream. A client with more has lost count.
const WATCHES_MAX: usize = 2000;

/// etcd's word for a client that wants to hear when there is no leader.
const HAS_LEADER: &str = "hasleader";

/// etcd's id for "no watch" and "all watches".
const NO_WATCH: i64 = -1;

type WatchId = i64;

/// Answers the one method of etcd's Watch service. Not by its generated server:
/// that one would encode the same events for every watch anew.
pub(crate) async fn serve(face: Face, request: http::Request<Body>) -> http::Response<Body> {
    tonic::server::Grpc::new(WatchCodec).streaming(Opening(face), request).await
}

struct Opening(Face);

type Responses = Pin<Box<dyn Stream<Item = Result<Told, Status>> + Send>>;

impl StreamingService<pb::WatchRequest> for Opening {
    type Response = Told;
    type ResponseStream = Responses;
    type Future = futures::future::Ready<Result<Response<Responses>, Status>>;

    fn call(&mut self, request: Request<Streaming<pb::WatchRequest>>) -> Self::Future {
        let conversation = Conversation::open(self.0.clone(), request);
        futures::future::ready(conversation.map(|conversation| {
            let next = |mut conversation: Conversation| async move {
                Some((conversation.next().await?, conversation))
            };
            Response::new(stream::unfold(conversation, next).boxed())
        }))
    }
}

/// One stream.
struct Conversation {
    face: Face,
    handle: Handle,
    requests: Streaming<pb::WatchRequest>,
    /// The client may have more to say.
    listening: bool,
    /// Resolves when nobody leads the keyspace, if the client then goes
    /// elsewhere.
    leaderless: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// All of one item or request.
    responses: VecDeque<Told>,
    /// Of all watches; asks only those that were woken.
    items: SelectAll<BoxStream<'static, (WatchId, NewsResult)>>,
    watches: BTreeMap<WatchId, Options>,
    next_id: WatchId,
    marked: Option<Mark>,
    is_over: bool,
}

struct Options {
    watcher: WatcherId,
    /// Its items end.
    stop: AbortHandle,
    /// Progress is passed on: otherwise it only serves our marks.
    progress: bool,
    fragment: bool,
}

/// A progress request on its way through the watches.
struct Mark {
    revision: Revision,
    outstanding: BTreeSet<WatchId>,
}

// === impl Conversation ===

impl Conversation {
    fn open(
        face: Face,
        request: Request<Streaming<pb::WatchRequest>>,
    ) -> Result<Conversation, Status> {
        let handle = face.handle(&request)?;
        let needs_leader = request.metadata().get(HAS_LEADER).is_some_and(|value| value == "true");
        let (keyspaces, name) = (face.keyspaces.clone(), handle.name().clone());
        let leaderless = match needs_leader {
            true => async move { keyspaces.leaderless(&name).await }.boxed(),
            false => std::future::pending().boxed(),
        };
        Ok(Conversation {
            face,
            handle,
            requests: request.into_inner(),
            listening: true,
            leaderless,
            responses: VecDeque::new(),
            items: SelectAll::new(),
            watches: BTreeMap::new(),
            next_id: 0,
            marked: None,
            is_over: false,
        })
    }

    /// The next response, or the end.
    async fn next(&mut self) -> Option<Result<Told, Status>> {
        let drain = self.face.drain.clone();
        while !self.is_over {
            if let Some(response) = self.responses.pop_front() {
                return Some(Ok(response));
            }
            tokio::select! {
                request = self.requests.message(), if self.listening => match request {
                    Ok(Some(request)) => self.request(request).await,
                    // As etcd: who has said all it had to say may still listen.
                    Ok(None) => self.listening = false,
                    Err(_) => self.is_over = true,
                },
                Some((id, item)) = self.items.next() => self.item(id, item),
                () = drain.started() => return self.leave(),
                () = &mut self.leaderless => return self.leave(),
            }
        }
        None
    }

    /// The client is to ask another replica.
    fn leave(&mut self) -> Option<Result<Told, Status>> {
        self.is_over = true;
        Some(Err(refusal(Error::NotLeader)))
    }

    async fn request(&mut self, request: pb::WatchRequest) {
        match request.request_union {
            Some(RequestUnion::CreateRequest(create)) => self.create(create).await,
            Some(RequestUnion::CancelRequest(cancel)) => self.cancel(cancel.watch_id),
            Some(RequestUnion::ProgressRequest(_)) => self.progress().await,
            None => {}
        }
    }

    async fn create(&mut self, create: WatchCreateRequest) {
        // As etcd, in this order: what is refused here takes no id.
        let request = match watch::request_from_wire(&create) {
            Ok(request) => request,
            Err(error) => return self.refuse(error.to_string()),
        };
        if is_empty(&create) {
            return self.refuse("mvcc: watcher range is empty".into());
        }
        let id = match self.choose_id(create.watch_id) {
            Ok(id) => id,
            Err(reason) => return self.refuse(reason),
        };
        let mut subscription = match self.handle.subscribe(request).await {
            Ok(subscription) => subscription,
            Err(error) => return self.refuse(cancel_reason(&error)),
        };
        // Its first item says that it is in place: told at once, so that
        // clients hear of their watches in the order in which they asked.
        let created = subscription.next().await.unwrap_or(Err(Error::NotLeader));
        let watcher = subscription.id();
        let (items, stop) = stream::abortable(subscription.map(move |item| (id, item)));
        let options =
            Options { watcher, stop, progress: create.progress_notify, fragment: create.fragment };
        self.watches.insert(id, options);
        self.items.push(items.boxed());
        self.item(id, created);
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
    fn refuse(&mut self, reason: String) {
        let response = pb::WatchResponse {
            created: true,
            canceled: true,
            cancel_reason: reason,
            ..self.response(NO_WATCH, None)
        };
        self.tell(response);
    }

    fn cancel(&mut self, id: WatchId) {
        if !self.forget(id) {
            return;
        }
        self.tell(pb::WatchResponse { canceled: true, ..self.response(id, None) });
        self.passed(id, None);
    }

    /// Whether there was such a watch.
    fn forget(&mut self, id: WatchId) -> bool {
        let known = self.watches.remove(&id);
        known.map(|options| options.stop.abort()).is_some()
    }

    /// As etcd: a stream with a watch that lags gets no answer now, and asks
    /// again.
    async fn progress(&mut self) {
        if self.marked.is_some() {
            return;
        }
        let watchers = self.watches.values().map(|options| options.watcher).collect();
        let Ok(Some(revision)) = self.handle.mark(watchers).await else { return };
        self.marked = Some(Mark { revision, outstanding: self.watches.keys().copied().collect() });
        self.answer_mark();
    }

    fn item(&mut self, id: WatchId, item: NewsResult) {
        match item {
            Ok(News::Created { revision }) => {
                let created = self.response(id, Some(revision));
                self.tell(pb::WatchResponse { created: true, ..created });
            }
            Ok(News::Changes(changes)) => {
                let head = self.response(id, Some(changes.batch.revision));
                let fragment = self.watches.get(&id).is_some_and(|options| options.fragment);
                // As etcd: what its largest request may have, if the client
                // can put the pieces together again.
                let bytes_max = self.face.limits.request_bytes;
                if fragment && head.encoded_len() + changes.wire().len() >= bytes_max {
                    let events = changes.batch.events.iter().cloned();
                    let events = events.map(watch::event_to_wire).collect();
                    let whole = pb::WatchResponse { events, ..head };
                    self.responses.extend(fragments(whole, bytes_max).into_iter().map(Told::Whole));
                } else {
                    self.responses.push_back(Told::Changes(head, changes));
                }
            }
            Ok(News::Progress { revision }) => {
                if self.watches.get(&id).is_some_and(|options| options.progress) {
                    self.tell(self.response(id, Some(revision)));
                }
                self.passed(id, Some(revision));
            }
            Err(error) => self.end(id, &error),
        }
    }

    /// The watch cannot go on; the stream does.
    fn end(&mut self, id: WatchId, error: &Error) {
        self.forget(id);
        // As etcd: of a compaction the revision alone is told.
        let (at, compact_revision, cancel_reason) = match error {
            Error::Compacted { compacted } => {
                (Some(Revision::ZERO), to_i64(compacted.0), String::new())
            }
            _ => (None, 0, cancel_reason(error)),
        };
        let response = pb::WatchResponse {
            canceled: true,
            compact_revision,
            cancel_reason,
            ..self.response(id, at)
        };
        self.tell(response);
        self.passed(id, None);
    }

    /// A watch has delivered everything up to `revision`, or is no more.
    fn passed(&mut self, id: WatchId, revision: Option<Revision>) {
        if let Some(mark) = &mut self.marked
            && revision.is_none_or(|revision| revision >= mark.revision)
        {
            mark.outstanding.remove(&id);
        }
        self.answer_mark();
    }

    fn answer_mark(&mut self) {
        if let Some(mark) = self.marked.take_if(|mark| mark.outstanding.is_empty()) {
            self.tell(self.response(NO_WATCH, Some(mark.revision)));
        }
    }

    fn response(&self, watch_id: WatchId, revision: Option<Revision>) -> pb::WatchResponse {
        let header = self.face.header(&self.handle, revision);
        pb::WatchResponse { header, watch_id, ..Default::default() }
    }

    fn tell(&mut self, response: pb::WatchResponse) {
        self.responses.push_back(Told::Whole(response));
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
