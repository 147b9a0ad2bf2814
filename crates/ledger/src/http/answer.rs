//! Answers: JSON, plain text, and errors with their codes.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use serde::Serialize;
use topology::{Bucket, BucketRange, Extent, Shard, Stamp};

use crate::{Books, Error, desk::Standing, fence::Fence};

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub type AnswerBody = UnsyncBoxBody<Bytes, BoxError>;

const UNIT_HEADER: HeaderName = HeaderName::from_static("polis-unit");
const SHARD_HEADER: HeaderName = HeaderName::from_static("polis-shard-id");
const EPOCH_HEADER: HeaderName = HeaderName::from_static("polis-epoch");
const FENCE_HEADER: HeaderName = HeaderName::from_static("polis-fence");
/// In a 421: where the request belongs, whatever it was routed by.
const BUCKET_HEADER: HeaderName = HeaderName::from_static("polis-bucket");
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

/// What an answer is about: a bucket, and the shard that it is of by the map of
/// whoever routed the request here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    pub extent: Extent,
    pub bucket: Bucket,
}

/// A fence as people read it.
#[derive(Serialize)]
pub struct FenceView {
    pub shard: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub buckets: Option<BucketRange>,
    pub unit: String,
    pub epoch: u64,
}

// === impl About ===

impl About {
    /// By the default layout: nobody has said another.
    pub fn bucket(bucket: Bucket) -> About {
        About { extent: Extent::around(bucket), bucket }
    }

    pub fn extent(extent: Extent) -> About {
        About { extent, bucket: extent.buckets.first() }
    }

    pub fn shard(&self) -> Shard {
        self.extent.shard
    }

    /// The shard of a bucket that an error speaks of.
    fn extent_of(about: Option<About>, bucket: Bucket) -> Extent {
        let known = about.map(|about| about.extent);
        let known = known.filter(|extent| extent.buckets.contains(bucket));
        known.unwrap_or_else(|| Extent::around(bucket))
    }
}

// === impl Failure ===

impl Failure {
    pub fn new(error: &Error, about: Option<About>) -> Failure {
        let code = error.code();
        let fence = error
            .fence()
            .map(|(bucket, fence)| FenceView::new(&About::extent_of(about, bucket), fence));
        let (message, remedy) = (error.to_string(), code.remedy());
        Failure { error: FailureBody { code: code.to_string(), message, remedy, fence } }
    }
}

// === impl FenceView ===

impl FenceView {
    pub fn new(extent: &Extent, fence: &Fence) -> FenceView {
        let (unit, epoch) = (fence.unit.as_str().to_owned(), fence.epoch.0);
        let buckets = extent.unusual();
        FenceView { shard: extent.shard.to_string(), buckets, unit, epoch }
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
    about: About,
) -> Response<AnswerBody> {
    let mut response = json(status, value);
    stamp(&mut response, books, Some(about));
    response
}

pub fn stamp(response: &mut Response<AnswerBody>, books: &Books, about: Option<About>) {
    let headers = response.headers_mut();
    headers.insert(UNIT_HEADER, value(books.unit().as_str()));
    let Some(about) = about else { return };
    headers.insert(SHARD_HEADER, value(&about.shard().to_string()));
    if let Standing::Known(fence) = books.desk(about.bucket).standing() {
        headers.insert(EPOCH_HEADER, HeaderValue::from(fence.epoch.0));
    }
}

pub fn failure(error: &Error, books: &Books, about: Option<About>) -> Response<AnswerBody> {
    let code = error.code();
    if error.status() == StatusCode::INTERNAL_SERVER_ERROR {
        tracing::error!(%code, %error, "the books cannot be read");
    }
    let mut response = json(error.status(), &Failure::new(error, about));
    stamp(&mut response, books, about);
    let headers = response.headers_mut();
    headers.insert(CODE_HEADER, value(&code.to_string()));
    if let Some((bucket, fence)) = error.fence() {
        let Fence { epoch, unit } = fence.clone();
        let extent = About::extent_of(about, bucket);
        headers.insert(FENCE_HEADER, value(&Stamp { extent, unit, epoch, hop: 1 }.to_string()));
    }
    if let Error::OtherPart { bucket, .. } = error {
        headers.insert(BUCKET_HEADER, value(&bucket.to_string()));
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
