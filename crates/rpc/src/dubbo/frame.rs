//! One frame: cut out of what was read, its id changed in place, an attachment
//! put behind the others.

use bytes::BytesMut;

use super::{Call, Error, HEAD_BYTES, HESSIAN, MAGIC, Status};
use crate::{
    Parts,
    hessian::{Dialect, Value, Writer},
};

const REQUEST: u8 = 0x80;
const TWO_WAY: u8 = 0x40;
const EVENT: u8 = 0x20;
const SERIALIZATION: u8 = 0x1f;
/// A short string of Hessian.
const HELLO: &[u8] = b"\x0bpolis-proxy";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    flags: u8,
    pub status: Status,
    pub id: u64,
}

#[derive(Clone, Debug)]
pub struct Frame {
    head: Head,
    front: BytesMut,
    body: BytesMut,
    /// Attachments to put behind those of the body.
    added: Vec<u8>,
}

/// Takes the next frame off `input`; none if it is not whole yet. A frame whose
/// head claims a body beyond `max` is refused before any of it is waited for.
pub fn next(input: &mut BytesMut, max: usize) -> Result<Option<Frame>, Error> {
    if input.iter().zip(MAGIC).any(|(found, magic)| *found != magic) {
        return Err(Error::NoMagic);
    }
    let Some(bytes) = input.first_chunk::<HEAD_BYTES>() else { return Ok(None) };
    let [_, _, flags, status, id @ .., a, b, c, d] = *bytes;
    let head = Head { flags, status: Status(status), id: u64::from_be_bytes(id) };
    let length = u32::from_be_bytes([a, b, c, d]);
    let body_bytes = length as usize;
    if body_bytes > max {
        return Err(Error::TooLarge { bytes: length, max });
    }
    if input.len() - HEAD_BYTES < body_bytes {
        return Ok(None);
    }
    let mut front = input.split_to(HEAD_BYTES + body_bytes);
    let body = front.split_off(HEAD_BYTES);
    Ok(Some(Frame { head, front, body, added: Vec::new() }))
}

// === impl Head ===

impl Head {
    #[must_use]
    pub fn is_request(self) -> bool {
        self.flags & REQUEST != 0
    }

    /// Whether an answer is expected.
    #[must_use]
    pub fn is_two_way(self) -> bool {
        self.flags & TWO_WAY != 0
    }

    /// No call: a heartbeat, or a word about the connection.
    #[must_use]
    pub fn is_event(self) -> bool {
        self.flags & EVENT != 0
    }

    #[must_use]
    pub fn serialization(self) -> u8 {
        self.flags & SERIALIZATION
    }
}

// === impl Frame ===

impl Frame {
    fn new(flags: u8, status: Status, id: u64, body: &[u8]) -> Frame {
        let mut front = BytesMut::with_capacity(HEAD_BYTES);
        front.extend_from_slice(&MAGIC);
        front.extend_from_slice(&[flags, status.0]);
        front.extend_from_slice(&id.to_be_bytes());
        front.extend_from_slice(&[0; 4]);
        let head = Head { flags, status, id };
        Frame { head, front, body: BytesMut::from(body), added: Vec::new() }
    }

    /// Tells a client that this connection takes no new calls; those under way
    /// are still answered. A client that has no other connection fails at once.
    #[must_use]
    pub fn readonly(id: u64) -> Frame {
        Frame::new(REQUEST | EVENT | HESSIAN, Status(0), id, b"\x01R")
    }

    /// Asks a provider whether it is there.
    #[must_use]
    pub fn heartbeat(id: u64) -> Frame {
        Frame::new(REQUEST | TWO_WAY | EVENT | HESSIAN, Status(0), id, b"N")
    }

    /// Tells a provider that is a proxy of ours that we heed [`Frame::readonly`]
    /// and have other connections; to all others it is an event that says nothing.
    #[must_use]
    pub fn hello() -> Frame {
        Frame::new(REQUEST | EVENT | HESSIAN, Status(0), 0, HELLO)
    }

    /// What a client asks for now and then, answered without a provider. Its
    /// null is sent back as it came, in whichever serialization that is.
    #[must_use]
    pub fn heartbeat_answer(&self) -> Frame {
        Frame::new(EVENT | self.head.serialization(), Status::OK, self.head.id, &self.body)
    }

    /// The answer to a call of a client, whose error has this text; none to one
    /// that expects none, or that could not read it.
    #[must_use]
    pub fn refuse(&self, status: Status, text: &str) -> Option<Frame> {
        let head = self.head;
        let answered = head.is_request() && head.is_two_way() && head.serialization() == HESSIAN;
        answered.then(|| {
            let mut writer = Writer::new(Dialect::Final);
            writer.text(text);
            Frame::new(HESSIAN, status, head.id, &writer.into_bytes())
        })
    }

    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }

    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// An event that says nothing.
    #[must_use]
    pub fn is_heartbeat(&self) -> bool {
        self.head.is_event() && !self.is_readonly()
    }

    /// Said by [`Frame::hello`].
    #[must_use]
    pub fn is_hello(&self) -> bool {
        self.head.is_request() && self.head.is_event() && self.body[..] == *HELLO
    }

    /// A provider is about to go ([`Frame::readonly`]).
    #[must_use]
    pub fn is_readonly(&self) -> bool {
        self.head.is_request() && self.head.is_event() && self.body[..] == *b"\x01R"
    }

    /// Another id, in place: calls of many clients share one connection.
    pub fn set_id(&mut self, id: u64) {
        self.head.id = id;
        self.front[4..12].copy_from_slice(&id.to_be_bytes());
    }

    /// Adds an attachment, or puts another value to it, for the peer: what this
    /// frame is asked afterwards, it answers as before.
    pub fn set_attachment(&mut self, key: &str, value: &str) -> Result<(), Error> {
        let mut call = Call::of(self)?;
        let old = call.attachment_entry(key)?;
        if !call.is_whole() {
            return Err(Error::NotACall);
        }
        // Of anything but a string later references might count parts; the
        // peer takes the last of two in any case.
        if let Some((place, Value::Text(_))) = old {
            let behind = self.body.split_off(place.end);
            self.body.truncate(place.start);
            self.body.unsplit(BytesMut::from(&behind[..]));
        }
        let mut writer = Writer::new(Dialect::Final);
        writer.text(key).text(value);
        self.added.extend_from_slice(&writer.into_bytes());
        Ok(())
    }

    /// To write it.
    #[must_use]
    pub fn into_parts(mut self) -> Parts {
        let mut tail = BytesMut::new();
        if !self.added.is_empty() {
            // The mark at which the attachments end moves behind the new ones.
            let end = self.body.split_off(self.body.len() - 1);
            tail.extend_from_slice(&self.added);
            tail.extend_from_slice(&end);
        }
        let length = u32::try_from(self.body.len() + tail.len()).expect("a body is bounded");
        self.front[12..].copy_from_slice(&length.to_be_bytes());
        Parts::join([self.front, self.body, tail])
    }
}
