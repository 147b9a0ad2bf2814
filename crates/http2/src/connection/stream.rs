//! Streams: what is open, and what was until a moment ago.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasherDefault, Hasher},
};

use bytes::Bytes;

use crate::Field;

/// Odd, and rising: clients begin them.
pub type StreamId = u32;

/// Streams that we ended before the peer did, of which more may be on its way.
/// What comes for one that is forgotten is answered with a reset once more.
const ENDED_MAX: usize = 256;

#[derive(Default)]
pub(super) struct Streams {
    open: HashMap<StreamId, Stream, BuildHasherDefault<Spread>>,
    ended: VecDeque<StreamId>,
}

pub(super) struct Stream {
    /// The peer has said everything.
    pub is_heard: bool,
    /// We have said everything. A server's stream is over then.
    pub is_said: bool,
    /// A client's: what the answer may be.
    pub answer: Expected,
    /// Bytes of the body that were promised and have not come.
    pub body_left: Option<u64>,
    /// Bytes that the peer may still send.
    pub receive_window: i64,
    /// Of what it has sent, what it was not yet given back.
    pub released: u32,
    /// Bytes that we may send.
    pub send_window: i64,
    pub queue: VecDeque<Bytes>,
    pub queued_bytes: usize,
    pub tail: Tail,
    pub is_ready: bool,
}

/// How far a client's answer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    Head,
    /// Of a request that is answered without a body, whatever its length.
    HeadAlone,
    Rest,
}

/// What follows the body of a message.
pub(super) enum Tail {
    /// Not known yet.
    Open,
    Nothing,
    Well,
    Fields(Vec<Field>),
}

/// Stream ids need no secret hash: there are never more of them than streams
/// may be open.
#[derive(Default)]
pub struct Spread(u64);

// === impl Streams ===

impl Streams {
    pub fn len(&self) -> usize {
        self.open.len()
    }

    pub fn get(&self, id: StreamId) -> Option<&Stream> {
        self.open.get(&id)
    }

    pub fn get_mut(&mut self, id: StreamId) -> Option<&mut Stream> {
        self.open.get_mut(&id)
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (StreamId, &mut Stream)> {
        self.open.iter_mut().map(|(id, stream)| (*id, stream))
    }

    pub fn open(&mut self, id: StreamId, stream: Stream) {
        self.open.insert(id, stream);
    }

    pub fn remove(&mut self, id: StreamId) -> Option<Stream> {
        self.open.remove(&id)
    }

    /// Remembers one that the peer may not know the end of yet.
    pub fn ended(&mut self, id: StreamId) {
        if self.ended.len() == ENDED_MAX {
            self.ended.pop_front();
        }
        self.ended.push_back(id);
    }

    /// The peer has ended it as well: nothing more of it can be on its way.
    pub fn over(&mut self, id: StreamId) {
        self.ended.retain(|ended| *ended != id);
    }

    pub fn has_ended(&self, id: StreamId) -> bool {
        self.ended.contains(&id)
    }
}

// === impl Stream ===

impl Stream {
    pub fn new(receive_window: u32, send_window: u32) -> Stream {
        Stream {
            is_heard: false,
            is_said: false,
            answer: Expected::Head,
            body_left: None,
            receive_window: i64::from(receive_window),
            released: 0,
            send_window: i64::from(send_window),
            queue: VecDeque::new(),
            queued_bytes: 0,
            tail: Tail::Open,
            is_ready: false,
        }
    }
}

// === impl Spread ===

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    /// Fibonacci hashing.
    fn write_u32(&mut self, number: u32) {
        self.0 = (self.0 ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 ^= self.0 >> 32;
    }
}
