//! One request's hold of a connection to an endpoint.

use std::{
    cell::{OnceCell, RefCell},
    rc::Rc,
    task::{Context, Poll, ready},
};

use tokio::time::Instant;

use http::{HeaderMap, Method, StatusCode, Uri, header, response};
use http2::Code;

use super::{Busy, LocalEndpoint};
use crate::{
    flow::{Broken, Sink, Source},
    h1::{self, Bounds, Coder, Connection, Decoder, Framing},
    h2::{Held, Sender},
    io::Io,
};

pub(crate) enum Lease {
    H1 { io: Box<RefCell<Io>>, busy: Busy, reused: bool },
    H2 { sender: Rc<Sender>, stream: OnceCell<Held> },
}

/// An answer that is awaited.
pub(crate) enum Waiting {
    H1 { scanned: usize, method: Method },
    H2,
}

/// The head of an answer, and its body to come.
pub(crate) struct Answer<'l> {
    pub(crate) parts: response::Parts,
    pub(crate) source: Source<'l>,
    /// The connection serves another request after this one.
    pub(crate) keep: bool,
}

/// The connection took nothing of the request.
#[derive(Debug)]
pub(crate) struct Unsent;

/// What is sent: a head, and what is known of the body.
#[derive(Clone, Copy)]
pub(crate) struct Outgoing<'a> {
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) headers: &'a HeaderMap,
    /// None if unknown until it has ended.
    pub(crate) length: Option<u64>,
    pub(crate) upgrade: Option<&'a [u8]>,
}

// === impl Lease ===

impl Lease {
    pub(super) fn h1(io: Box<RefCell<Io>>, busy: Busy, reused: bool) -> Lease {
        Lease::H1 { io, busy, reused }
    }

    pub(super) fn h2(sender: Rc<Sender>) -> Lease {
        Lease::H2 { sender, stream: OnceCell::new() }
    }

    /// It has served before, so that it may be closing this very moment.
    pub(crate) fn is_reused(&self) -> bool {
        matches!(self, Lease::H1 { reused: true, .. } | Lease::H2 { .. })
    }

    /// Begins the request; the sink takes its body.
    pub(crate) fn send(&self, request: Outgoing<'_>) -> Result<(Sink<'_>, Waiting), Unsent> {
        match self {
            Lease::H1 { io, .. } => {
                let said = request.headers.contains_key(header::CONTENT_LENGTH);
                let plain = |length| Framing { coder: Coder::Plain, length };
                let framing = match request.length {
                    // What was said is kept to by whoever reads it for us.
                    _ if said => plain(None),
                    None => Framing { coder: Coder::Chunked, length: None },
                    // A method with a body says so even when it is empty.
                    Some(0) => plain(has_body(request.method).then_some(0)),
                    Some(length) => plain(Some(length)),
                };
                let connection = request.upgrade.map_or(Connection::Keep, Connection::Upgrade);
                let Outgoing { method, uri, headers, .. } = request;
                let output = &mut io.borrow_mut().output;
                h1::write_request(output, method, uri, headers, framing, connection);
                let waiting = Waiting::H1 { scanned: 0, method: request.method.clone() };
                Ok((Sink::H1 { io, coder: framing.coder }, waiting))
            }
            Lease::H2 { sender, stream } => {
                let Outgoing { method, uri, headers, length, .. } = request;
                let end = length == Some(0);
                let held = sender.ask(method, uri, headers, end).ok_or(Unsent)?;
                let held = stream.get_or_init(|| held);
                let sink =
                    if end { Sink::Nowhere } else { Sink::H2 { stream: held.stream().clone() } };
                Ok((sink, Waiting::H2))
            }
        }
    }

    /// The head of the answer; those that only inform are passed over.
    pub(crate) fn poll_answer(
        &self,
        waiting: &mut Waiting,
        bounds: Bounds,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Answer<'_>, Broken>> {
        match (self, waiting) {
            (Lease::H1 { io, .. }, Waiting::H1 { scanned, method }) => loop {
                let mut inner = io.borrow_mut();
                if let Some(head) = h1::response(&mut inner.input, scanned, bounds, method)? {
                    let upgraded = head.parts.status == http::StatusCode::SWITCHING_PROTOCOLS;
                    if head.parts.status.is_informational() && !upgraded {
                        continue;
                    }
                    drop(inner);
                    let source = if head.body.is_done() {
                        Source::Empty
                    } else {
                        Source::H1 { io, decoder: head.body.clone() }
                    };
                    let keep = head.keep_alive && head.body != Decoder::until_end();
                    return Poll::Ready(Ok(Answer { parts: head.parts, source, keep }));
                }
                if ready!(inner.poll_fill(cx))? == 0 {
                    return Poll::Ready(Err(h1::Malformed::CutOff.into()));
                }
            },
            (Lease::H2 { stream, .. }, Waiting::H2) => {
                let stream = stream.get().expect("a lease is sent once").stream();
                let (head, has_body) = ready!(stream.poll_head(cx))?;
                let parts = h2_answer(&head).ok_or(Broken::Reset(Code::PROTOCOL_ERROR))?;
                let source =
                    if has_body { Source::H2 { stream: stream.clone() } } else { Source::Empty };
                Poll::Ready(Ok(Answer { parts, source, keep: true }))
            }
            _ => unreachable!("what is waited for was begun on this very lease"),
        }
    }

    /// The answer has come as a whole: the connection is for the next.
    pub(crate) fn finish(self, endpoint: &Rc<LocalEndpoint>, now: Instant) {
        if let Lease::H1 { io, busy, .. } = self {
            // What comes unasked is nobody's answer.
            if io.borrow().input.is_empty() {
                endpoint.put_idle(io, busy, now);
            }
        }
    }

    /// The connection itself, to be a tunnel from here on.
    pub(crate) fn into_io(self) -> Option<(Io, Busy)> {
        match self {
            Lease::H1 { io, busy, .. } => Some((io.into_inner(), busy)),
            Lease::H2 { .. } => None,
        }
    }
}

fn has_body(method: &Method) -> bool {
    *method == Method::POST || *method == Method::PUT || *method == Method::PATCH
}

fn h2_answer(head: &http2::Response) -> Option<response::Parts> {
    let (mut parts, ()) = http::Response::new(()).into_parts();
    parts.status = StatusCode::from_u16(head.status).ok()?;
    parts.headers = http2::map(&head.fields)?;
    Some(parts)
}
