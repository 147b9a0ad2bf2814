//! The way back to the client: a head, then a sink for the body, in whichever
//! version the client speaks.

use std::{
    cell::{Cell, RefCell},
    io,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header, response};
use http2::Code;

use crate::{
    flow::{Broken, Sink},
    h1::{self, Coder, Connection, Framing, Version},
    h2::Held,
    io::{Io, flush},
};

/// Pipelined requests are read ahead so far, to see whether the client is there.
const AHEAD_BYTES_MAX: usize = 64 << 10;

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// An answer that is whole.
#[derive(Clone, Debug)]
pub struct Own {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

pub enum Reply<'a> {
    H1 {
        io: &'a RefCell<Io>,
        version: Version,
        /// A head alone is asked for.
        head_only: bool,
        /// The client and we mean to go on afterwards.
        keep: bool,
        /// Asked when the answer begins: a drain may have begun meanwhile.
        draining: &'a Cell<bool>,
        /// The client waits for a word before it sends the body.
        expects_continue: bool,
    },
    H2(Held),
}

// === impl Reply ===

impl<'a> Reply<'a> {
    /// Has a client send the body that asked whether it may.
    pub async fn go_on(&mut self) -> io::Result<()> {
        let Reply::H1 { io, expects_continue: true, .. } = self else { return Ok(()) };
        io.borrow_mut().output.extend_from_slice(CONTINUE);
        flush(io).await
    }

    /// Sends the head. `length` is that of the body, if known; `whole` says
    /// that the request has been read to its end.
    pub fn head(
        &mut self,
        parts: response::Parts,
        length: Option<u64>,
        whole: bool,
    ) -> Result<Sink<'a>, Broken> {
        match self {
            Reply::H1 { io, version, head_only, keep, draining, .. } => {
                *keep &= whole && !draining.get();
                let framing = self::framing(&parts, length, *version, *head_only);
                if framing.coder == Coder::Plain && length.is_none() && !*head_only {
                    *keep = false;
                }
                let connection = match (*keep, *version) {
                    (true, Version::V11) => Connection::Keep,
                    (true, Version::V10) => Connection::KeepSaid,
                    (false, _) => Connection::Close,
                };
                let output = &mut io.borrow_mut().output;
                h1::write_response(output, parts.status, &parts.headers, framing, connection);
                Ok(Sink::H1 { io, coder: framing.coder })
            }
            Reply::H2(held) => {
                let (stream, end) = (held.stream(), length == Some(0));
                stream.respond(parts.status, &parts.headers, end)?;
                Ok(if end { Sink::Nowhere } else { Sink::H2 { stream: stream.clone() } })
            }
        }
    }

    /// The answer that takes the connection over to another protocol.
    pub fn switch(&mut self, mut parts: response::Parts) -> bool {
        let Reply::H1 { io, keep, .. } = self else { return false };
        let protocol = parts.headers.remove(header::UPGRADE);
        let protocol = protocol.as_ref().map_or(&b""[..], HeaderValue::as_bytes);
        let framing = Framing { coder: Coder::Plain, length: None };
        let output = &mut io.borrow_mut().output;
        h1::write_response(
            output,
            parts.status,
            &parts.headers,
            framing,
            Connection::Upgrade(protocol),
        );
        *keep = false;
        true
    }

    /// Answers ourselves.
    pub fn own(&mut self, own: Own, whole: bool) -> Result<(), Broken> {
        let Own { status, headers, body } = own;
        let (mut parts, ()) = http::Response::new(()).into_parts();
        parts.status = status;
        parts.headers = headers;
        let silent = matches!(self, Reply::H1 { head_only: true, .. });
        let mut sink = self.head(parts, Some(body.len() as u64), whole)?;
        match &mut sink {
            Sink::H1 { io, .. } if !silent => io.borrow_mut().output.extend_from_slice(&body),
            Sink::H2 { stream } => stream.data(body, true)?,
            _ => {}
        }
        Ok(())
    }

    /// Ready when the client will not take an answer any more.
    pub fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Reply::H1 { io, .. } => {
                let mut io = io.borrow_mut();
                while io.input.len() < AHEAD_BYTES_MAX {
                    match io.poll_fill(cx) {
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(Ok(read)) if read > 0 => {}
                        Poll::Ready(_) => return Poll::Ready(()),
                    }
                }
                Poll::Pending
            }
            Reply::H2(held) => held.stream().poll_lost(cx),
        }
    }

    /// Whether the client's connection serves another request.
    pub fn keeps(&self) -> bool {
        match self {
            Reply::H1 { keep, .. } => *keep,
            Reply::H2(_) => true,
        }
    }

    /// The answer broke off: its client must not take it for the whole.
    pub fn broke_off(&mut self, sink: &mut Sink<'_>) {
        sink.break_off(Code::INTERNAL_ERROR);
        if let Reply::H1 { keep, .. } = self {
            *keep = false;
        }
    }
}

fn framing(
    parts: &response::Parts,
    length: Option<u64>,
    version: Version,
    head_only: bool,
) -> Framing {
    let plain = |length| Framing { coder: Coder::Plain, length };
    let bodiless = head_only
        || parts.status.is_informational()
        || parts.status == StatusCode::NO_CONTENT
        || parts.status == StatusCode::NOT_MODIFIED;
    let said = parts.headers.contains_key(header::CONTENT_LENGTH);
    match length {
        _ if bodiless || said => plain(None),
        Some(length) => plain(Some(length)),
        None if version == Version::V11 => Framing { coder: Coder::Chunked, length: None },
        None => plain(None),
    }
}
