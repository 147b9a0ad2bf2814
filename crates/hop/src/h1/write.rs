//! Heads on their way out. Names are written in lower case, as HTTP/2 has them.

use bytes::BytesMut;
use http::{HeaderMap, Method, StatusCode, Uri};

use super::Coder;

/// What the head says about the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection<'a> {
    Keep,
    /// Said to a client of HTTP/1.0, which would close.
    KeepSaid,
    Close,
    Upgrade(&'a [u8]),
}

/// A length that is said, or chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framing {
    pub coder: Coder,
    /// Of a body whose length is known and not in the headers already.
    pub length: Option<u64>,
}

pub fn write_request(
    output: &mut BytesMut,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    framing: Framing,
    connection: Connection<'_>,
) {
    output.reserve(512);
    output.extend_from_slice(method.as_str().as_bytes());
    output.extend_from_slice(b" ");
    let target = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    output.extend_from_slice(target.as_bytes());
    output.extend_from_slice(b" HTTP/1.1\r\n");
    rest(output, headers, framing, connection);
}

pub fn write_response(
    output: &mut BytesMut,
    status: StatusCode,
    headers: &HeaderMap,
    framing: Framing,
    connection: Connection<'_>,
) {
    output.reserve(512);
    output.extend_from_slice(b"HTTP/1.1 ");
    output.extend_from_slice(status.as_str().as_bytes());
    output.extend_from_slice(b" ");
    output.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    output.extend_from_slice(b"\r\n");
    rest(output, headers, framing, connection);
}

fn rest(output: &mut BytesMut, headers: &HeaderMap, framing: Framing, connection: Connection<'_>) {
    for (name, value) in headers {
        output.extend_from_slice(name.as_str().as_bytes());
        output.extend_from_slice(b": ");
        output.extend_from_slice(value.as_bytes());
        output.extend_from_slice(b"\r\n");
    }
    match framing {
        Framing { coder: Coder::Chunked, .. } => {
            output.extend_from_slice(b"transfer-encoding: chunked\r\n");
        }
        Framing { length: Some(length), .. } => {
            output.extend_from_slice(format!("content-length: {length}\r\n").as_bytes());
        }
        _ => {}
    }
    match connection {
        Connection::Keep => {}
        Connection::KeepSaid => output.extend_from_slice(b"connection: keep-alive\r\n"),
        Connection::Close => output.extend_from_slice(b"connection: close\r\n"),
        Connection::Upgrade(protocol) => {
            output.extend_from_slice(b"connection: upgrade\r\nupgrade: ");
            output.extend_from_slice(protocol);
            output.extend_from_slice(b"\r\n");
        }
    }
    output.extend_from_slice(b"\r\n");
}
