//! One connection, as either side has it: a state machine without I/O.
//!
//! [`Connection::receive`] takes frames from what was read and turns them into
//! [`Event`]s; the calls beside it turn answers into bytes of
//! [`Connection::output`]. Everything that a peer can make it hold is bounded:
//! streams and windows by [`Limits`], heads by their bytes and by how many
//! frames they may be cut into, acknowledgements by the output's bound, beyond
//! which no more input is taken, and work for nothing by the guard.

mod ask;
mod heads;
mod receive;
mod send;
mod settings;
mod stream;

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;

pub use ask::Asked;
pub use stream::{Spread, StreamId};

use crate::{
    Code, Field, Head, Limits, Response,
    frame::{self, WINDOW_DEFAULT},
    guard::Guard,
    hpack::Encoder,
};
use heads::Heads;
use stream::Streams;

/// What a peer did, in the order it did it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Request {
        stream: StreamId,
        head: Arc<Head>,
        /// There is no body.
        end: bool,
    },
    /// The answer to what we asked; those that only inform are passed over.
    Response {
        stream: StreamId,
        head: Response,
        /// There is no body.
        end: bool,
    },
    /// Whoever is done with the bytes says so by [`Connection::release`], with
    /// `credit`, which counts padding too.
    Data { stream: StreamId, bytes: Bytes, credit: u32, end: bool },
    /// The body is over, and this was said after it.
    Trailers { stream: StreamId, fields: Vec<Field> },
    /// The call is over, by the peer or by a fault of its; nothing more can be
    /// said about it.
    Reset { stream: StreamId, code: Code },
    /// The peer begins nothing more.
    GoAway { code: Code },
    /// Our [`Connection::ping`] was answered.
    Pong,
}

pub struct Connection {
    limits: Limits,
    side: Side,
    events: VecDeque<Event>,
    output: Vec<u8>,

    preface_left: usize,
    has_settings: bool,
    heads: Heads,
    encoder: Encoder,
    guard: Guard,

    streams: Streams,
    /// The newest that the client has begun.
    last: StreamId,
    /// Bytes the peer may still send in all streams.
    receive_window: i64,
    /// Of what it has sent, what it was not yet given back.
    released: u32,
    /// Bytes we may send in all streams.
    send_window: i64,
    /// Streams that the peer lets us have open at once.
    streams_max: u32,
    /// What the peer gives a new stream to begin with.
    stream_send_window: u32,
    frame_bytes_max: usize,

    /// Streams that could send something now if the connection lets them.
    ready: VecDeque<StreamId>,
    queued_bytes: usize,
    sent_bytes: u64,
    leaving: Leaving,
}

/// Which of the two we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Server,
    Client,
}

/// How far our going away has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    No,
    /// Said, without a last stream: what was on its way still counts.
    Soon,
    /// From this stream on nothing is begun.
    After(StreamId),
}

// === impl Connection ===

impl Connection {
    /// A server's.
    #[must_use]
    pub fn new(limits: Limits) -> Connection {
        Connection::of(Side::Server, limits)
    }

    /// A client's.
    #[must_use]
    pub fn client(limits: Limits) -> Connection {
        Connection::of(Side::Client, limits)
    }

    fn of(side: Side, limits: Limits) -> Connection {
        let mut connection = Connection {
            limits,
            side,
            events: VecDeque::new(),
            output: Vec::new(),
            preface_left: if side == Side::Server { frame::PREFACE.len() } else { 0 },
            has_settings: false,
            heads: Heads::new(limits.head_bytes as usize),
            encoder: Encoder::new(),
            guard: Guard::new(),
            streams: Streams::default(),
            last: 0,
            receive_window: i64::from(limits.connection_window_bytes),
            released: 0,
            send_window: i64::from(WINDOW_DEFAULT),
            streams_max: ask::STREAMS_UNTOLD,
            stream_send_window: WINDOW_DEFAULT,
            frame_bytes_max: frame::FRAME_BYTES_MAX,
            ready: VecDeque::new(),
            queued_bytes: 0,
            sent_bytes: 0,
            leaving: Leaving::No,
        };
        connection.introduce();
        connection
    }

    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// What [`Connection::next_event`] gives next.
    #[must_use]
    pub fn peek_event(&self) -> Option<&Event> {
        self.events.front()
    }

    /// To be written and taken out by whoever drives this.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Neither read from nor answered into until some of it is written.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.output.len() >= self.limits.output_bytes
    }

    /// The peer has said its settings, which come first.
    #[must_use]
    pub fn is_greeted(&self) -> bool {
        self.has_settings
    }

    /// The stream whose head has begun and is not whole.
    #[must_use]
    pub fn half_head(&self) -> Option<StreamId> {
        self.heads.half()
    }

    /// Calls under way.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Whether one is, and not only its body or its answer's.
    #[must_use]
    pub fn is_open(&self, stream: StreamId) -> bool {
        self.streams.get(stream).is_some()
    }

    /// Bytes of a stream's answer that wait for its windows.
    #[must_use]
    pub fn pending(&self, stream: StreamId) -> usize {
        self.streams.get(stream).map_or(0, |stream| stream.queued_bytes)
    }

    /// Those of all streams, and how many bytes were ever sent. Where the first
    /// is not nothing and the second has not changed for long, a peer has us
    /// hold answers that it does not take; the caller has the clock.
    #[must_use]
    pub fn progress(&self) -> (usize, u64) {
        (self.queued_bytes, self.sent_bytes)
    }

    /// Seconds have gone by, in which a peer may have done something for
    /// nothing.
    pub fn rest(&mut self, seconds: u32) {
        self.guard.rest(seconds);
    }

    /// Nothing more will be begun.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.leaving != Leaving::No
    }

    /// Nothing is under way and nothing more will be begun.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.streams.len() == 0 && matches!(self.leaving, Leaving::After(_))
    }
}
