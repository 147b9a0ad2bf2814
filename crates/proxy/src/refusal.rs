//! A refusal: the edge's own answer when it does not pass a request on.
//!
//! Every refusal has a code of crate `errors`, says what was wrong with this
//! request and what to do. What the ledger answers passes through untouched.

use bytes::Bytes;
use errors::Code;
use hop::Own;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

/// Seconds a client should wait before it asks a moving shard again: a move
/// takes a fraction of one, a failover two or three.
const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("1");

/// The code again, for scripts and logs that do not read bodies; the ledger
/// sets it too.
const CODE: HeaderName = HeaderName::from_static("polis-code");

/// Longest part of a client's text that is repeated to it.
const QUOTE_CHARS_MAX: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: StatusCode,
    pub code: Code,
    pub message: String,
    /// Methods that the path knows, for a 405.
    pub allow: Option<&'static str>,
}

// === impl Refusal ===

impl Refusal {
    #[must_use]
    pub fn new(status: StatusCode, code: Code, message: impl Into<String>) -> Refusal {
        Refusal { status, code, message: message.into(), allow: None }
    }

    #[must_use]
    pub fn bad_request(code: Code, message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// The whole answer. A 503 or 504 says when to come back.
    #[must_use]
    pub fn into_response<B: From<Bytes>>(self) -> Response<B> {
        let body = serde_json::json!({"error": {
            "code": self.code.to_string(),
            "message": self.message,
            "remedy": self.code.remedy(),
        }});
        let mut response = Response::new(B::from(Bytes::from(body.to_string())));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let code = HeaderValue::from_str(&self.code.to_string()).expect("letters and digits");
        headers.insert(CODE, code);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if matches!(self.status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT) {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER_S);
        }
        if let Some(allow) = self.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        response
    }

    /// The same for a user.
    pub(crate) fn into_own(self) -> Own {
        let (head, body) = self.into_response::<Bytes>().into_parts();
        Own { status: head.status, headers: dated(head.headers), body }
    }
}

/// An answer without a word, to what is no request.
pub(crate) fn bare(status: StatusCode) -> Own {
    Own { status, headers: dated(HeaderMap::new()), body: Bytes::new() }
}

/// With the date that every answer of a server has (RFC 9110 section 6.6.1);
/// the ledger dates its own.
fn dated(mut headers: HeaderMap) -> HeaderMap {
    #[allow(clippy::disallowed_methods, reason = "a wall clock for whoever reads the answer")]
    let now = httpdate::fmt_http_date(std::time::SystemTime::now());
    headers.insert(header::DATE, HeaderValue::from_str(&now).expect("a date is text"));
    headers
}

/// The client's own text, shortened, as it may be repeated in a message.
pub(crate) fn quote(text: &str) -> String {
    format!("{:?}", text.chars().take(QUOTE_CHARS_MAX).collect::<String>())
}
