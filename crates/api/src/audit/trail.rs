//! What becomes known of a request on its way, until it is written down.
//!
//! A trail begins as soon as it is known who asks ([`Trail::receive`]) and ends
//! with the answer ([`Trail::finish`]); that of a watch or a shell ends with
//! whoever holds it last. A request that is dropped half-way, or panics, is
//! written down all the same: its record says so when it goes.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, header, request::Parts};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{BodyExt as _, Full};
use serde_json::Value;

use super::{
    Audit, AuditId, DECISION, REASON, asked, bodies,
    event::{self, Event, Status},
    policy::{Asked, Level, Stage, Subject, Verdict},
};
use crate::{caller::Caller, failure::Failure, object, request::path::Target, response::Body};

/// Annotations of one request; webhooks make them.
const ANNOTATIONS_MAX: usize = 256;

/// Longest annotation that is kept, in bytes.
const ANNOTATION_BYTES_MAX: usize = 10 * 1024;

/// Nothing without a policy. Cheap to clone.
#[derive(Clone)]
pub struct Trail(Option<Arc<Record>>);

/// Whoever holds it lets the request go on.
pub struct Record {
    audit: Arc<Audit>,
    draft: Mutex<Draft>,
}

struct Draft {
    event: Event,
    phase: Phase,
    verdict: Verdict,
    asked: Option<Asked>,
    /// What was read of the request's body.
    body: Vec<Bytes>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nobody knows yet who asks.
    Arrived,
    /// It is to be written down.
    Open,
    /// It was, or is not to be.
    Done,
}

/// An answer that goes on.
struct Going {
    body: Body,
    _record: Arc<Record>,
}

tokio::task_local! {
    static CURRENT: Option<Arc<Record>>;
}

/// Says something about the request that is being served: webhooks do.
pub fn annotate(key: &str, value: &str) {
    let _ = CURRENT.try_with(|record| {
        let Some(record) = record else { return };
        let mut draft = record.draft();
        let annotations = &mut draft.event.annotations;
        if annotations.len() < ANNOTATIONS_MAX && !annotations.contains_key(key) {
            let end = value.floor_char_boundary(ANNOTATION_BYTES_MAX.min(value.len()));
            annotations.insert(key.to_owned(), value[..end].to_owned());
        }
    });
}

/// Whether anything is written down of the request that is being served.
pub fn is_on() -> bool {
    CURRENT.try_with(Option::is_some).unwrap_or(false)
}

/// Whether patches of webhooks are to be told, which show parts of objects.
pub fn wants_bodies() -> bool {
    let wants = |record: &Option<Arc<Record>>| {
        record.as_ref().is_some_and(|record| record.draft().verdict.level >= Level::Request)
    };
    CURRENT.try_with(wants).unwrap_or(false)
}

/// The request that is being served goes on as long as this is held.
pub fn held() -> Option<Arc<Record>> {
    CURRENT.try_with(Clone::clone).ok().flatten()
}

// === impl Trail ===

impl Trail {
    pub fn start(
        audit: Option<&Arc<Audit>>,
        parts: &Parts,
        peer: Option<IpAddr>,
        id: &AuditId,
    ) -> Trail {
        let Some(audit) = audit else { return Trail(None) };
        let text = |name| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let uri = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let event = Event {
            level: Level::None,
            id: id.as_str().to_owned(),
            uri: uri.to_owned(),
            verb: String::new(),
            user: None,
            impersonated: None,
            source_ips: asked::source_ips(&parts.headers, peer),
            user_agent: event::user_agent(text(header::USER_AGENT).unwrap_or_default()),
            object: None,
            status: None,
            request: None,
            response: None,
            received: object::now(),
            annotations: BTreeMap::new(),
        };
        let verdict = Verdict {
            level: Level::None,
            omit_stages: super::policy::Stages::default(),
            omit_managed_fields: false,
        };
        let phase = Phase::Arrived;
        let draft = Draft { event, phase, verdict, asked: None, body: Vec::new() };
        Trail(Some(Arc::new(Record { audit: audit.clone(), draft: Mutex::new(draft) })))
    }

    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// `work` may annotate, and hold.
    pub fn scope<F: Future>(&self, work: F) -> impl Future<Output = F::Output> {
        CURRENT.scope(self.0.clone(), work)
    }

    /// What it asks for.
    pub fn asks(&self, parts: &Parts, target: &Result<Target, Failure>) {
        let Some(record) = &self.0 else { return };
        record.draft().asked = Some(asked::of(parts, target));
    }

    /// As long as `body` is read, what is read of it is kept for the event.
    pub fn hear<B>(&self, body: B) -> impl HttpBody<Data = Bytes, Error = B::Error> + use<B>
    where
        B: HttpBody<Data = Bytes>,
    {
        let record = self.0.clone();
        body.map_frame(move |frame| {
            if let (Some(record), Some(data)) = (&record, frame.data_ref()) {
                record.hear(data);
            }
            frame
        })
    }

    /// It is known who asks. Fails when the operator wants nothing done that is
    /// not written down before.
    pub async fn receive(&self, caller: &Caller) -> Result<(), Failure> {
        let Some(record) = &self.0 else { return Ok(()) };
        if !record.open(Some(caller)) {
            return Ok(());
        }
        if record.write(Stage::RequestReceived).await {
            return Ok(());
        }
        record.audit.rejected.fetch_add(1, Ordering::Relaxed);
        Err(Failure::internal("failed to store audit event"))
    }

    /// For whom they speak.
    pub fn impersonates(&self, caller: &Caller) {
        let Some(record) = &self.0 else { return };
        record.draft().event.impersonated = Some(caller.clone());
    }

    /// What was decided, and why; the last decision counts.
    pub fn decides(&self, is_allowed: bool, reason: &str) {
        let Some(record) = &self.0 else { return };
        let decision = if is_allowed { "allow" } else { "forbid" };
        let annotations = &mut record.draft().event.annotations;
        annotations.insert(DECISION.to_owned(), decision.to_owned());
        annotations.insert(REASON.to_owned(), reason.to_owned());
    }

    /// Nothing could be decided.
    pub fn fails_to_decide(&self) {
        let Some(record) = &self.0 else { return };
        let annotations = &mut record.draft().event.annotations;
        annotations.insert(REASON.to_owned(), "internal error".to_owned());
    }

    /// The answer, before it is encoded for the caller.
    pub async fn see(&self, response: Response<Body>) -> Response<Body> {
        let Some(record) = &self.0 else { return response };
        if !record.wants(&response) {
            return response;
        }
        let (parts, body) = response.into_parts();
        let Ok(bytes) = body.collect().await.map(http_body_util::Collected::to_bytes);
        record.see(parts.status, &bytes);
        Response::from_parts(parts, Full::new(bytes).boxed_unsync())
    }

    /// The answer as it is about to be sent.
    pub async fn finish(
        &self,
        headers: &HeaderMap,
        certificate_refused: bool,
        response: Response<Body>,
    ) -> Response<Body> {
        let Some(record) = &self.0 else { return response };
        let code = response.status();
        match record.phase() {
            Phase::Arrived => {
                record.refuse(headers, certificate_refused, code).await;
                return response;
            }
            Phase::Open => {}
            Phase::Done => return response,
        }
        let long_running = record.take(headers, code);
        if long_running {
            record.write(Stage::ResponseStarted).await;
            let goes_on = response.body().size_hint().exact().is_none();
            if goes_on {
                let record = record.clone();
                return response.map(|body| Going { body, _record: record }.boxed_unsync());
            }
            // Whoever relays it holds it.
            if code == StatusCode::SWITCHING_PROTOCOLS {
                return response;
            }
        }
        record.draft().phase = Phase::Done;
        record.write(Stage::ResponseComplete).await;
        response
    }
}

// === impl Record ===

impl Record {
    fn draft(&self) -> MutexGuard<'_, Draft> {
        self.draft.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn phase(&self) -> Phase {
        self.draft().phase
    }

    /// Whether the policy wants anything written down.
    fn open(&self, caller: Option<&Caller>) -> bool {
        let mut guard = self.draft();
        let draft = &mut *guard;
        let Some(asked) = &draft.asked else { return false };
        draft.verdict = self.audit.policy.judge(caller, asked);
        let level = draft.verdict.level;
        self.audit.levels[level as usize].fetch_add(1, Ordering::Relaxed);
        if level == Level::None {
            draft.phase = Phase::Done;
            return false;
        }
        draft.phase = Phase::Open;
        draft.event.level = level;
        draft.event.user = caller.cloned();
        draft.event.verb.clone_from(&asked.verb);
        draft.event.object = match &asked.subject {
            Subject::Resource(object) => Some(object.clone()),
            Subject::Path(_) => None,
        };
        true
    }

    /// Bodies complete the reference to an object, whatever the level; what is
    /// only asked about a path has none that is kept.
    fn hear(&self, data: &Bytes) {
        let mut draft = self.draft();
        if draft.phase == Phase::Open && draft.event.object.is_some() {
            draft.body.push(data.clone());
        }
    }

    /// Whether the answer is to be looked at.
    fn wants(&self, response: &Response<Body>) -> bool {
        let json = response.headers().get(header::CONTENT_TYPE);
        let json = json.is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
        if !json || response.body().size_hint().exact().is_none() {
            return false;
        }
        let draft = self.draft();
        let told = draft.event.object.is_some() && draft.verdict.level >= Level::RequestResponse;
        // These may be answered by a `Status` as well.
        let deleted = draft.event.verb.starts_with("delete");
        draft.phase != Phase::Done && (told || deleted || !response.status().is_success())
    }

    fn see(&self, code: StatusCode, json: &Bytes) {
        let mut draft = self.draft();
        let level = draft.verdict.level;
        if !code.is_success() || draft.event.verb.starts_with("delete") {
            let value = serde_json::from_slice::<Value>(json).unwrap_or_default();
            draft.event.status = Status::read(&value);
        }
        if draft.event.object.is_some() && level >= Level::RequestResponse {
            draft.event.response = bodies::line(json, draft.verdict.omit_managed_fields);
        }
    }

    /// What the request's body and the answer say; whether it goes on for long.
    fn take(&self, headers: &HeaderMap, code: StatusCode) -> bool {
        let mut guard = self.draft();
        let Draft { event, verdict, asked, body, .. } = &mut *guard;
        event.status.get_or_insert_default().code = code.as_u16();
        let frames = std::mem::take(body);
        if let Some(object) = &mut event.object
            && !frames.is_empty()
        {
            let bytes = match frames.as_slice() {
                [one] => one.clone(),
                several => several.concat().into(),
            };
            let writes = matches!(event.verb.as_str(), "create" | "update");
            if (writes || verdict.level >= Level::Request)
                && let Some(json) = bodies::of_request(headers, &bytes)
            {
                if writes {
                    bodies::complete(object, &json);
                }
                if verdict.level >= Level::Request {
                    event.request = bodies::line(&json, verdict.omit_managed_fields);
                }
            }
        }
        asked.as_ref().is_some_and(asked::is_long_running)
    }

    /// Refused before it was known who asks.
    async fn refuse(&self, headers: &HeaderMap, certificate: bool, code: StatusCode) {
        if !self.open(None) {
            return;
        }
        {
            let mut draft = self.draft();
            draft.phase = Phase::Done;
            let status = draft.event.status.get_or_insert_default();
            status.code = code.as_u16();
            if code == StatusCode::UNAUTHORIZED {
                *status = Status::of_code(status.code);
                status.message = asked::attempts(headers, certificate);
            }
        }
        self.write(Stage::ResponseStarted).await;
    }

    /// False when the operator wants nothing done without it.
    async fn write(&self, stage: Stage) -> bool {
        let Some(line) = self.line(stage) else { return true };
        self.audit.log.write(line).await
    }

    /// None when the policy leaves this stage out.
    fn line(&self, stage: Stage) -> Option<Vec<u8>> {
        let draft = self.draft();
        if draft.verdict.omit_stages.has(stage) {
            return None;
        }
        let at = match stage {
            Stage::RequestReceived => draft.event.received,
            _ => object::now(),
        };
        Some(draft.event.line(stage, at, self.audit.event_bytes_max))
    }
}

impl Drop for Record {
    /// What goes on for long ends here, as does what was dropped half-way.
    fn drop(&mut self) {
        if self.phase() != Phase::Open {
            return;
        }
        let stage = match std::thread::panicking() {
            true => Stage::Panic,
            false => Stage::ResponseComplete,
        };
        let mut draft = self.draft();
        if stage == Stage::Panic {
            draft.event.status = Some(Status {
                status: "Failure".into(),
                reason: "InternalError".into(),
                message: "APIServer panic'd".into(),
                ..Status::of_code(500)
            });
        }
        // As kube-apiserver says it of a request whose caller is gone: nobody was
        // told what came of it.
        draft.event.status.get_or_insert_with(|| Status {
            status: "Success".into(),
            message: "Connection closed early".into(),
            ..Status::of_code(200)
        });
        drop(draft);
        if let Some(line) = self.line(stage) {
            self.audit.log.post(line);
        }
    }
}

// === impl Going ===

impl HttpBody for Going {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
