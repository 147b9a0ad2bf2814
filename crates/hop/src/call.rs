//! One request on a connection to an endpoint.

use std::{
    cell::{OnceCell, RefCell},
    rc::Rc,
    task::{Context, Poll, ready},
};

use http::{HeaderMap, Method, StatusCode, Uri, header, response};
use http2::Code;

use crate::{
    flow::{Broken, Sink, Source},
    h1::{self, Bounds, Coder, Connection, Decoder, Framing},
    h2::{Held, Sender},
    io::Io,
};

/// Why there is a stream where an answer is.
const SENT: &str = "an answer is to what was sent";

/// Dropped before its answer has come as a whole, it is given up: with its
/// connection in HTTP/1.1, by itself in HTTP/2.
pub enum Call {
    H1(Box<RefCell<Io>>),
    H2 { sender: Rc<Sender>, stream: OnceCell<Held> },
}

/// An answer that is awaited.
pub enum Waiting {
    H1 { scanned: usize, method: Method },
    H2,
}

/// The head of an answer, and its body to come.
pub struct Answer {
    pub parts: response::Parts,
    pub rest: Rest,
    /// The connection serves another request after this one.
    pub keep: bool,
}

/// What is to come of an answer: [`Call::source`] gives it.
#[derive(Clone, Debug)]
pub enum Rest {
    Nothing,
    H1(Decoder),
    H2,
}

/// The connection took nothing of the request.
#[derive(Debug)]
pub struct Unsent;

/// What is sent: a head, and what is known of the body.
#[derive(Clone, Copy)]
pub struct Outgoing<'a> {
    pub method: &'a Method,
    pub uri: &'a Uri,
    pub headers: &'a HeaderMap,
    /// None if unknown until it has ended.
    pub length: Option<u64>,
    pub upgrade: Option<&'a [u8]>,
}

// === impl Call ===

impl Call {
    pub fn h1(io: Box<RefCell<Io>>) -> Call {
        Call::H1(io)
    }

    pub fn h2(sender: Rc<Sender>) -> Call {
        Call::H2 { sender, stream: OnceCell::new() }
    }

    /// Begins the request; the sink takes its body.
    pub fn send(&self, request: Outgoing<'_>) -> Result<(Sink<'_>, Waiting), Unsent> {
        match self {
            Call::H1(io) => {
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
            Call::H2 { sender, stream } => {
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
    pub fn poll_answer(
        &self,
        waiting: &mut Waiting,
        bounds: Bounds,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Answer, Broken>> {
        match (self, waiting) {
            (Call::H1(io), Waiting::H1 { scanned, method }) => loop {
                let mut inner = io.borrow_mut();
                if let Some(head) = h1::response(&mut inner.input, scanned, bounds, method)? {
                    let upgraded = head.parts.status == http::StatusCode::SWITCHING_PROTOCOLS;
                    if head.parts.status.is_informational() && !upgraded {
                        continue;
                    }
                    drop(inner);
                    let body = head.body;
                    let keep = head.keep_alive && body != Decoder::until_end();
                    let rest = if body.is_done() { Rest::Nothing } else { Rest::H1(body) };
                    return Poll::Ready(Ok(Answer { parts: head.parts, rest, keep }));
                }
                if ready!(inner.poll_fill(cx))? == 0 {
                    return Poll::Ready(Err(h1::Malformed::CutOff.into()));
                }
            },
            (Call::H2 { stream, .. }, Waiting::H2) => {
                let stream = stream.get().expect(SENT).stream();
                let (head, has_body) = ready!(stream.poll_head(cx))?;
                let parts = h2_answer(&head).ok_or(Broken::Reset(Code::PROTOCOL_ERROR))?;
                let rest = if has_body { Rest::H2 } else { Rest::Nothing };
                Poll::Ready(Ok(Answer { parts, rest, keep: true }))
            }
            _ => unreachable!("what is waited for was begun by this very call"),
        }
    }

    /// The body of the answer.
    pub fn source(&self, rest: Rest) -> Source<'_> {
        match (self, rest) {
            (_, Rest::Nothing) => Source::Empty,
            (Call::H1(io), Rest::H1(decoder)) => Source::H1 { io, decoder },
            (Call::H2 { stream, .. }, Rest::H2) => {
                let stream = stream.get().expect(SENT).stream().clone();
                Source::H2 { stream }
            }
            _ => unreachable!("what is to come is of this very call's answer"),
        }
    }

    /// The connection itself, where it was this call's alone.
    pub fn into_io(self) -> Option<Box<RefCell<Io>>> {
        match self {
            Call::H1(io) => Some(io),
            Call::H2 { .. } => None,
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
