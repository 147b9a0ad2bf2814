//! Frames by hand, as an honest or a hostile client writes them.
#![allow(dead_code, reason = "each test uses what it needs")]

use bytes::BytesMut;
use http2::{Connection, Event, Fatal, Limits, PREFACE};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const ACK: u8 = 1;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;
pub const PRIORITIZED: u8 = 0x20;

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("small").to_be_bytes();
    let mut out = length[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

pub fn setting(name: u16, value: u32) -> Vec<u8> {
    [&name.to_be_bytes()[..], &value.to_be_bytes()].concat()
}

/// A field in full, not kept; shorter than 127 bytes each.
pub fn field(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).expect("short")], text.as_bytes()].concat();
    [&[0][..], &text(name), &text(value)].concat()
}

/// `POST /` over http, with `more` behind.
pub fn post(more: &[u8]) -> Vec<u8> {
    [&[0x83, 0x86, 0x84], more].concat()
}

pub fn request(stream: u32, end: bool) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | u8::from(end), stream, &post(&[]))
}

/// The preface and empty settings.
pub fn hello() -> Vec<u8> {
    [&PREFACE[..], &frame(SETTINGS, 0, 0, &[])].concat()
}

/// One frame as it was written: kind, flags, stream, payload.
pub type Written = (u8, u8, u32, Vec<u8>);

pub struct Side {
    pub connection: Connection,
}

impl Side {
    /// After the hellos.
    pub fn new(limits: Limits) -> Side {
        let mut side = Side { connection: Connection::new(limits) };
        side.takes(&hello()).expect("a hello");
        side.written();
        side
    }

    pub fn takes(&mut self, bytes: &[u8]) -> Result<Vec<Event>, Fatal> {
        let mut input = BytesMut::from(bytes);
        self.connection.receive(&mut input)?;
        Ok(std::iter::from_fn(|| self.connection.next_event()).collect())
    }

    pub fn written(&mut self) -> Vec<Written> {
        let bytes = std::mem::take(self.connection.output());
        let mut rest = &bytes[..];
        let mut frames = Vec::new();
        while let Some(([a, b, c, kind, flags, s, t, u, v], after)) = rest.split_first_chunk() {
            let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
            let stream = u32::from_be_bytes([*s, *t, *u, *v]);
            frames.push((*kind, *flags, stream, after[..length].to_vec()));
            rest = &after[length..];
        }
        assert!(rest.is_empty(), "a frame is cut");
        frames
    }

    /// Bytes of data written to `stream`, and whether it ended.
    pub fn data_written(&mut self, stream: u32) -> (usize, bool) {
        let frames = self.written();
        let of = frames.iter().filter(|frame| frame.2 == stream);
        let bytes = of.clone().filter(|frame| frame.0 == DATA).map(|frame| frame.3.len()).sum();
        (bytes, of.clone().any(|frame| frame.0 <= HEADERS && frame.1 & END_STREAM != 0))
    }
}
