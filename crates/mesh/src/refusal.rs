//! A refusal: our own answer, when a request is not passed on or came to nothing.

use bytes::Bytes;
use errors::Code;
use hop::Own;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

/// The code again, for scripts and logs that do not read bodies.
const CODE: HeaderName = HeaderName::from_static("polis-code");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) code: Code,
    pub(crate) message: String,
    /// When to come again.
    pub(crate) retry_after_s: Option<u64>,
}

// === impl Refusal ===

impl Refusal {
    pub(crate) fn new(status: StatusCode, code: Code, message: impl Into<String>) -> Refusal {
        let unavailable = status == StatusCode::SERVICE_UNAVAILABLE;
        Refusal { status, code, message: message.into(), retry_after_s: unavailable.then_some(1) }
    }

    pub(crate) fn no_route() -> Refusal {
        Refusal::new(StatusCode::NOT_FOUND, errors::MESH_NO_ROUTE, "no route matches this request")
    }

    pub(crate) fn deadline(sent: bool) -> Refusal {
        let (code, message) = if sent {
            (errors::MESH_SILENT, "the service did not answer within the deadline")
        } else {
            (errors::MESH_UNREACHABLE, "no endpoint could be reached within the deadline")
        };
        Refusal::new(StatusCode::GATEWAY_TIMEOUT, code, message)
    }

    /// As whoever asked reads it.
    pub(crate) fn answer(&self, grpc: bool) -> Own {
        if grpc {
            return Own { status: StatusCode::OK, headers: self.grpc_head(), body: Bytes::new() };
        }
        Own { status: self.status, headers: self.head(), body: self.body() }
    }

    fn head(&self) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(CODE, self.code_value());
        if let Some(after) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(after));
        }
        headers
    }

    fn body(&self) -> Bytes {
        let error = serde_json::json!({"error": {
            "code": self.code.to_string(),
            "message": self.message,
            "remedy": self.code.remedy(),
        }});
        Bytes::from(error.to_string())
    }

    /// For gRPC an error is a head alone, with status 200.
    fn grpc_head(&self) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(4);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        // As gRPC maps HTTP's statuses to its own.
        let status = match self.status.as_u16() {
            400 => 13,
            401 => 16,
            403 => 7,
            404 => 12,
            429 | 502 | 503 => 14,
            504 => 4,
            _ => 2,
        };
        headers.insert(GRPC_STATUS, HeaderValue::from(status));
        let message: String =
            self.message.chars().filter(|c| (' '..='~').contains(c) && *c != '%').collect();
        let message = HeaderValue::from_str(&message).expect("printable ASCII is a value");
        headers.insert(GRPC_MESSAGE, message);
        headers.insert(CODE, self.code_value());
        headers
    }

    fn code_value(&self) -> HeaderValue {
        HeaderValue::from_str(&self.code.to_string()).expect("letters and digits")
    }
}
