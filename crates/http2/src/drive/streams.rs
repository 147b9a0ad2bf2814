//! Calls that are answered with a body, piece by piece.

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{HeaderValue, Response, header::CONTENT_LENGTH};
use http_body::Body as _;

use super::{Handler, body::Inlet, bridge, wakes::Wakes};
use crate::{Code, Connection, StreamId};

pub struct Streams<H: Handler> {
    slots: Vec<Option<Stream<H>>>,
    free: Vec<usize>,
    wakes: Wakes,
    /// Those that have given more than the peer takes.
    blocked: Vec<usize>,
}

pub struct Stream<H: Handler> {
    pub id: StreamId,
    /// Its answer has no body, whatever it says.
    pub is_head: bool,
    pub inlet: Inlet,
    pub state: State<H>,
}

pub enum State<H: Handler> {
    Asked(Pin<Box<dyn Future<Output = Response<H::Body>> + Send>>),
    Telling(Pin<Box<H::Body>>),
}

/// How far a stream got in one turn.
enum Turn {
    Waits,
    /// For the peer.
    Blocked,
    Over,
}

// === impl Streams ===

impl<H: Handler> Streams<H> {
    pub fn new(wakes: Wakes) -> Streams<H> {
        Streams { slots: Vec::new(), free: Vec::new(), wakes, blocked: Vec::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.free.len() == self.slots.len()
    }

    /// A place, and who wakes what will be there.
    pub fn place(&mut self) -> (usize, Waker) {
        let at = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        (at, self.wakes.waker(at))
    }

    pub fn put(&mut self, at: usize, stream: Stream<H>) {
        self.slots[at] = Some(stream);
    }

    pub fn inlet(&self, at: usize) -> Option<&Inlet> {
        self.slots[at].as_ref().map(|stream| &stream.inlet)
    }

    /// Whether the head of its answer was sent.
    pub fn has_answered(&self, at: usize) -> bool {
        matches!(&self.slots[at], Some(Stream { state: State::Telling(_), .. }))
    }

    /// A place that was not needed.
    pub fn give_back(&mut self, at: usize) {
        self.free.push(at);
    }

    /// Appends the slots that can go on.
    pub fn woken(
        &mut self,
        connection: &Connection,
        send_buffer_bytes: usize,
        woken: &mut Vec<usize>,
    ) {
        self.wakes.take(woken);
        self.blocked.retain(|at| {
            let pending =
                self.slots[*at].as_ref().map_or(0, |stream| connection.pending(stream.id));
            let can_go_on = pending < send_buffer_bytes;
            if can_go_on {
                woken.push(*at);
            }
            !can_go_on
        });
    }

    /// Goes on with one. Gives back its id when it is over.
    pub fn poll(
        &mut self,
        at: usize,
        connection: &mut Connection,
        send_buffer_bytes: usize,
    ) -> Option<StreamId> {
        let waker = self.wakes.waker(at);
        let stream = self.slots[at].as_mut()?;
        let id = stream.id;
        stream.inlet.attend();
        let turn = stream.turn(&mut Context::from_waker(&waker), connection, send_buffer_bytes);
        let credit = stream.inlet.take_credit();
        if credit > 0 {
            connection.release(id, credit);
        }
        match turn {
            Turn::Waits => None,
            Turn::Blocked => {
                if !self.blocked.contains(&at) {
                    self.blocked.push(at);
                }
                None
            }
            Turn::Over => {
                // Credit for what was not read comes back with the body.
                let left = self.close(at);
                connection.release(id, left);
                Some(id)
            }
        }
    }

    /// Ends one, and gives back the credit that it held.
    pub fn close(&mut self, at: usize) -> u32 {
        let Some(Stream { inlet, state, .. }) = self.slots[at].take() else { return 0 };
        drop(state);
        self.free.push(at);
        inlet.take_all_credit()
    }
}

// === impl Stream ===

impl<H: Handler> Stream<H> {
    fn turn(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut Connection,
        send_buffer_bytes: usize,
    ) -> Turn {
        if let State::Asked(answer) = &mut self.state {
            let Poll::Ready(response) = answer.as_mut().poll(cx) else { return Turn::Waits };
            let (mut head, body) = response.into_parts();
            if let Some(length) = body.size_hint().exact()
                && !head.headers.contains_key(CONTENT_LENGTH)
                && !(length == 0 && head.headers.contains_key("grpc-status"))
            {
                head.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
            }
            let end = self.is_head || body.is_end_stream();
            let fields = bridge::fields(&head.headers);
            connection.respond(self.id, head.status.as_u16(), fields, end);
            if end {
                return Turn::Over;
            }
            self.state = State::Telling(Box::pin(body));
        }
        let State::Telling(body) = &mut self.state else { return Turn::Waits };
        while connection.pending(self.id) < send_buffer_bytes {
            match body.as_mut().poll_frame(cx) {
                Poll::Pending => return Turn::Waits,
                Poll::Ready(None) => {
                    connection.data(self.id, Bytes::new(), true);
                    return Turn::Over;
                }
                Poll::Ready(Some(Err(error))) => {
                    tracing::debug!(%error, "an answer was cut off");
                    connection.reset(self.id, Code::INTERNAL_ERROR);
                    return Turn::Over;
                }
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(bytes) => {
                        let end = body.is_end_stream();
                        connection.data(self.id, bytes, end);
                        if end {
                            return Turn::Over;
                        }
                    }
                    Err(frame) => {
                        if let Ok(fields) = frame.into_trailers() {
                            connection.trailers(self.id, bridge::trailers(&fields));
                            return Turn::Over;
                        }
                    }
                },
            }
        }
        Turn::Blocked
    }
}
