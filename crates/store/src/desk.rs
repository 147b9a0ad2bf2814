//! Who answers on one HTTP/2 connection: KV's calls straight from their bytes,
//! everything else through the services.

use std::{sync::Arc, time::SystemTime};

use bytes::Bytes;
use http::{
    HeaderValue, Request, Response,
    header::{CONTENT_TYPE, DATE},
};
use http_body_util::{BodyExt as _, Full};
use http2::{
    Field, Head,
    grpc::{self, Answer, Unread},
};
use tonic::{Code, Status, body::Body};

use crate::{
    access::Grant,
    forward,
    grpc::{Call, Caller},
    metrics::Method,
    route::Router,
};

pub(crate) struct Desk {
    pub router: Arc<Router>,
    /// Without one there are only pages to be had.
    pub grant: Option<Arc<Grant>>,
}

/// What is known of a KV call from its head.
pub(crate) struct Asked {
    pub method: Method,
    pub call: Call,
    pub caller: Caller,
    /// By another replica, to be answered here or refused.
    pub was_forwarded: bool,
    head: Arc<Head>,
    grant: Arc<Grant>,
}

// === impl Desk ===

impl http2::Handler for Desk {
    type Plan = Arc<Asked>;
    type Body = Body;

    fn unary(&self, head: &Arc<Head>) -> Option<Arc<Asked>> {
        let grant = self.grant.clone()?;
        let call = Call::of(&head.path)?;
        let method = Method::of(std::str::from_utf8(&head.path).ok()?)?;
        let is_grpc =
            head.get("content-type").is_some_and(|value| value.starts_with(b"application/grpc"));
        let is_plain = head.get("grpc-encoding").is_none_or(|encoding| encoding == "identity");
        if head.method != "POST" || !is_grpc || !is_plain {
            return None;
        }
        let caller = Caller::of(head, &grant);
        let was_forwarded = head.get(forward::HOP).is_some();
        Some(Arc::new(Asked { method, call, caller, was_forwarded, head: head.clone(), grant }))
    }

    fn message_bytes_max(&self) -> usize {
        self.router.message_bytes_max()
    }

    async fn answer(self: Arc<Self>, asked: Arc<Asked>, message: Result<Bytes, Unread>) -> Answer {
        let message = message.map_err(|unread| {
            let (code, text) = unread.status();
            Status::new(Code::from_i32(i32::try_from(code).unwrap_or_default()), text)
        });
        match self.router.unary(&asked, message).await {
            Ok(message) => Answer::Message(message),
            Err(status) => Answer::Refused(fields(status)),
        }
    }

    async fn stream(self: Arc<Self>, request: Request<http2::Body>) -> Response<Body> {
        let mut response = match &self.grant {
            Some(grant) => self.router.answer(request, grant).await,
            None => self.router.page(request).await,
        };
        date(&mut response, now());
        response
    }
}

// === impl Asked ===

impl Asked {
    /// As a request that can be passed on.
    pub fn request(&self, message: &Bytes) -> Request<Body> {
        let mut body = grpc::prefixed(message.len());
        body.extend_from_slice(message);
        let body = Body::new(Full::new(body.freeze()));
        let mut request = http2::request(&self.head, body).unwrap_or_default();
        request.extensions_mut().insert(self.grant.clone());
        request
    }
}

/// As hyper says it over HTTP/1. Answers of gRPC have none, with etcd neither.
fn date(response: &mut Response<Body>, now: SystemTime) {
    let content_type = response.headers().get(CONTENT_TYPE);
    let is_grpc = content_type.is_some_and(|it| it.as_bytes().starts_with(b"application/grpc"));
    if !is_grpc && let Ok(date) = HeaderValue::try_from(httpdate::fmt_http_date(now)) {
        response.headers_mut().entry(DATE).or_insert(date);
    }
}

#[allow(clippy::disallowed_methods, reason = "for people, and for caches between us and them")]
fn now() -> SystemTime {
    SystemTime::now()
}

/// What somebody else answered, whole.
pub(crate) async fn whole(response: Response<Body>) -> Result<Bytes, Status> {
    if let Some(status) = Status::from_header_map(response.headers()) {
        return if status.code() == Code::Ok { Ok(Bytes::new()) } else { Err(status) };
    }
    let body = response.into_body().collect().await?;
    match body.trailers().and_then(Status::from_header_map) {
        Some(status) if status.code() != Code::Ok => Err(status),
        _ => Ok(body.to_bytes()),
    }
}

/// A status as the headers of an answer without a body.
fn fields(status: Status) -> Vec<Field> {
    let response: Response<()> = status.into_http();
    let all = response.headers().iter();
    let said = all.filter(|(name, _)| *name != CONTENT_TYPE);
    let field = |(name, value): (&http::HeaderName, &http::HeaderValue)| Field {
        name: Bytes::copy_from_slice(name.as_str().as_bytes()),
        value: Bytes::copy_from_slice(value.as_bytes()),
    };
    said.map(field).collect()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn answers_of_http_have_a_date_and_those_of_grpc_do_not() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (content_type, expected) in [
            ("application/json", Some("Sun, 06 Nov 1994 08:49:37 GMT")),
            ("application/grpc", None),
            ("application/grpc+proto", None),
        ] {
            let mut response = Response::new(Body::empty());
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
            date(&mut response, now);
            let date = response.headers().get(DATE).map(|date| date.to_str().expect("ASCII"));
            assert_eq!(date, expected, "{content_type}");
        }
    }
}
