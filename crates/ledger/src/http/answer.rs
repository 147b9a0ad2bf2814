//! Answers: JSON, plain text, and errors with their codes.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use serde::Serialize;
use topology::{Shard, Stamp};

use crate::{Books, Error, desk::Standing, fence::Fence};

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub type AnswerBody = UnsyncBoxBody<Bytes, BoxError>;

const UNIT_HEADER: HeaderName = HeaderName::from_static("polis-unit");
const SHARD_HEADER: HeaderName = HeaderName::from_static("polis-shard-id");
const EPOCH_HEADER: HeaderName = HeaderName::from_static("polis-epoch");
const FENCE_HEADER: HeaderName = HeaderName::from_static("polis-fence");
const CODE_HEADER: HeaderName = HeaderName::from_static("polis-code");

/// When to come back after "too busy" and its kin, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// An error as clients read it.
#[derive(Serialize)]
pub struct Failure {
    error: FailureBody,
}

#[derive(Serialize)]
struct FailureBody {
    code: String,
    message: String,
    remedy: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    fence: Option<FenceView>,
}

/// A fence as people read it.
#[derive(Serialize)]
pub struct FenceView {
    pub shard: String,
    pub unit: String,
    pub epoch: u64,
}

// === impl Failure ===

impl Failure {
    pub fn new(error: &Error) -> Failure {
        let code = error.code();
        let fence = error.fence().map(|(shard, fence)| FenceView::new(shard, fence));
        let (message, remedy) = (error.to_string(), code.remedy());
        Failure { error: FailureBody { code: code.to_string(), message, remedy, fence } }
    }
}

// === impl FenceView ===

impl FenceView {
    pub fn new(shard: Shard, fence: &Fence) -> FenceView {
        let unit = fence.unit.as_str().to_owned();
        FenceView { shard: shard.to_string(), unit, epoch: fence.epoch.0 }
    }
}

pub fn text(status: StatusCode, text: &str) -> Response<AnswerBody> {
    let mut response = Response::new(full(text.to_owned()));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}

pub fn json<T: Serialize>(status: StatusCode, value: &T) -> Response<AnswerBody> {
    let bytes = serde_json::to_vec(value).expect("our own shapes have string keys only");
    let mut response = Response::new(full(bytes));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// An answer about `shard`, saying who gives it.
pub fn of_shard<T: Serialize>(
    status: StatusCode,
    value: &T,
    books: &Books,
    shard: Shard,
) -> Response<AnswerBody> {
    let mut response = json(status, value);
    stamp(&mut response, books, Some(shard));
    response
}

pub fn stamp(response: &mut Response<AnswerBody>, books: &Books, shard: Option<Shard>) {
    let headers = response.headers_mut();
    headers.insert(UNIT_HEADER, value(books.unit().as_str()));
    let Some(shard) = shard else { return };
    headers.insert(SHARD_HEADER, value(&shard.to_string()));
    if let Standing::Known(fence) = books.desk(shard).standing() {
        headers.insert(EPOCH_HEADER, HeaderValue::from(fence.epoch.0));
    }
}

pub fn failure(error: &Error, books: &Books, shard: Option<Shard>) -> Response<AnswerBody> {
    let code = error.code();
    if error.status() == StatusCode::INTERNAL_SERVER_ERROR {
        tracing::error!(%code, %error, "the books cannot be read");
    }
    let mut response = json(error.status(), &Failure::new(error));
    stamp(&mut response, books, shard);
    let headers = response.headers_mut();
    headers.insert(CODE_HEADER, value(&code.to_string()));
    if let Some((shard, fence)) = error.fence() {
        let Fence { epoch, unit } = fence.clone();
        headers.insert(FENCE_HEADER, value(&Stamp { shard, unit, epoch, hop: 1 }.to_string()));
    }
    if let Error::Method { allow } = error {
        headers.insert(header::ALLOW, value(allow));
    }
    if error.status() == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, RETRY_AFTER);
    }
    response
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("names, numbers and codes are visible ASCII")
}

fn full(bytes: impl Into<Bytes>) -> AnswerBody {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}
