//! Answers: text, JSON, errors with a code.

use bytes::Bytes;
use errors::Code;
use http::{Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};

pub(crate) type Body = UnsyncBoxBody<Bytes, std::io::Error>;
pub(crate) type Answer = Response<Body>;

pub(crate) fn text(text: impl Into<Bytes>) -> Answer {
    whole(200, "text/plain; charset=utf-8", text.into())
}

pub(crate) fn json(value: &serde_json::Value) -> Answer {
    whole(200, "application/json", value.to_string().into())
}

pub(crate) fn refuse(status: u16, code: Code, message: &str) -> Answer {
    let error = serde_json::json!({
        "error": { "code": code.to_string(), "message": message, "remedy": code.remedy() }
    });
    whole(status, "application/json", error.to_string().into())
}

pub(crate) fn stream(body: Body) -> Answer {
    let mut answer = Response::new(body);
    let kind = http::HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}

fn whole(status: u16, kind: &'static str, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body).map_err(|never| match never {}).boxed_unsync());
    *answer.status_mut() = StatusCode::from_u16(status).expect("a constant status is valid");
    answer.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static(kind));
    answer
}
