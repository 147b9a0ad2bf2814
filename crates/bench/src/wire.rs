//! One HTTP/2 connection (RFC 9113), as little of it as a load generator needs.
//!
//! Requests gather in a buffer and go out in one write; whatever one read
//! brings is handed out as events. Answers' headers are not decoded: a gRPC
//! call that failed carries no message, and that is all we need to know.

use std::{collections::VecDeque, io};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{
    hpack::{self, Encoder},
    target::{Stream, Target},
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

const FRAME_HEADER_BYTES: usize = 9;
/// Every peer takes frames of this size.
const FRAME_BYTES_MAX: usize = 16_384;
const SETTING_INITIAL_WINDOW: u16 = 4;
const WINDOW_MAX: u32 = 0x7fff_ffff;
const WINDOW_DEFAULT: u32 = 65_535;
/// Received before it is given back to the connection's window.
const WINDOW_STEP: u32 = 1 << 26;

const READ_BYTES: usize = 256 * 1024;

pub(crate) type StreamId = u32;

#[derive(Debug)]
pub(crate) enum Event {
    Data(StreamId, Bytes),
    /// The answer is over.
    End(StreamId),
}

pub(crate) struct Connection {
    stream: Stream,
    inbox: BytesMut,
    outbox: BytesMut,
    headers: Encoder,
    next_stream: StreamId,
    /// Bytes that the server takes in all streams together. Those of a single
    /// stream are not counted: no request of ours is as large.
    send_window: i64,
    /// Data frames that wait for it.
    held: VecDeque<Vec<u8>>,
    received: u32,
}

// === impl Connection ===

impl Connection {
    pub async fn open(target: &Target) -> io::Result<Connection> {
        let mut connection = Connection {
            stream: target.connect().await?,
            inbox: BytesMut::with_capacity(READ_BYTES),
            outbox: BytesMut::new(),
            headers: Encoder::new(target.scheme(), target.address.to_string()),
            next_stream: 1,
            send_window: i64::from(WINDOW_DEFAULT),
            held: VecDeque::new(),
            received: 0,
        };
        connection.outbox.extend_from_slice(PREFACE);
        let mut setting = SETTING_INITIAL_WINDOW.to_be_bytes().to_vec();
        setting.extend(WINDOW_MAX.to_be_bytes());
        connection.frame(SETTINGS, 0, 0, &setting);
        connection.frame(WINDOW_UPDATE, 0, 0, &(WINDOW_MAX - WINDOW_DEFAULT).to_be_bytes());
        Ok(connection)
    }

    /// Begins a call with its first message, which is its only one when `last`.
    pub fn call(&mut self, path: &str, message: &[u8], last: bool) -> StreamId {
        self.call_with(path, &[], message, last)
    }

    /// The same, with fields that differ from call to call.
    pub fn call_with(
        &mut self,
        path: &str,
        fields: &[(&str, &str)],
        message: &[u8],
        last: bool,
    ) -> StreamId {
        let mut block = Vec::with_capacity(128);
        self.headers.request(path, &mut block);
        let stream = self.begin(block, fields, END_HEADERS);
        self.send(stream, message, last);
        stream
    }

    /// Begins a request that has no body.
    pub fn get(&mut self, path: &str, fields: &[(&str, &str)]) -> StreamId {
        let mut block = Vec::with_capacity(128);
        self.headers.get(path, &mut block);
        self.begin(block, fields, END_HEADERS | END_STREAM)
    }

    fn begin(&mut self, mut block: Vec<u8>, fields: &[(&str, &str)], flags: u8) -> StreamId {
        fields.iter().for_each(|(name, value)| hpack::once(name, value, &mut block));
        let stream = self.next_stream;
        self.next_stream += 2;
        self.frame(HEADERS, flags, stream, &block);
        stream
    }

    /// Sends another message of a call.
    pub fn send(&mut self, stream: StreamId, message: &[u8], last: bool) {
        let length = u32::try_from(message.len()).expect("requests are small");
        let mut framed = Vec::with_capacity(5 + message.len());
        framed.push(0);
        framed.extend(length.to_be_bytes());
        framed.extend_from_slice(message);
        let pieces = framed.chunks(FRAME_BYTES_MAX);
        let count = pieces.len();
        for (n, piece) in pieces.enumerate() {
            let flags = if last && n + 1 == count { END_STREAM } else { 0 };
            if self.held.is_empty() && self.send_window >= piece.len() as i64 {
                self.send_window -= piece.len() as i64;
                self.frame(DATA, flags, stream, piece);
            } else {
                let mut frame = header(DATA, flags, stream, piece.len()).to_vec();
                frame.extend_from_slice(piece);
                self.held.push_back(frame);
            }
        }
    }

    /// Sends what there is to send, then waits for something to come. May be
    /// dropped at any time and called again.
    pub async fn turn(&mut self, events: &mut Vec<Event>) -> io::Result<()> {
        self.flush().await?;
        self.inbox.reserve(READ_BYTES / 4);
        if self.stream.read_buf(&mut self.inbox).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        while let Some(frame) = self.next_frame() {
            self.receive(frame, events)?;
        }
        Ok(())
    }

    pub async fn flush(&mut self) -> io::Result<()> {
        while !self.outbox.is_empty() {
            self.stream.write_buf(&mut self.outbox).await?;
        }
        // Of TLS, which has a buffer of its own.
        self.stream.flush().await
    }

    fn next_frame(&mut self) -> Option<Frame> {
        let head = self.inbox.get(..FRAME_HEADER_BYTES)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let (kind, flags) = (head[3], head[4]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & WINDOW_MAX;
        if self.inbox.len() < FRAME_HEADER_BYTES + length {
            return None;
        }
        self.inbox.advance(FRAME_HEADER_BYTES);
        let payload = match kind {
            DATA => Payload::Data(self.inbox.split_to(length).freeze()),
            _ => {
                let mut start = [0; 8];
                let looked_at = length.min(start.len());
                start[..looked_at].copy_from_slice(&self.inbox[..looked_at]);
                self.inbox.advance(length);
                Payload::Other(start)
            }
        };
        Some(Frame { kind, flags, stream, payload })
    }

    fn receive(&mut self, frame: Frame, events: &mut Vec<Event>) -> io::Result<()> {
        let Frame { kind, flags, stream, payload } = frame;
        match (kind, payload) {
            (DATA, Payload::Data(data)) => {
                self.received += u32::try_from(data.len()).expect("a frame is small");
                if self.received >= WINDOW_STEP {
                    let given_back = std::mem::take(&mut self.received).to_be_bytes();
                    self.frame(WINDOW_UPDATE, 0, 0, &given_back);
                }
                events.push(Event::Data(stream, data));
            }
            (SETTINGS, _) if flags & ACK == 0 => self.frame(SETTINGS, ACK, 0, &[]),
            (PING, Payload::Other(opaque)) if flags & ACK == 0 => self.frame(PING, ACK, 0, &opaque),
            (WINDOW_UPDATE, Payload::Other([a, b, c, d, ..])) if stream == 0 => {
                self.send_window += i64::from(u32::from_be_bytes([a, b, c, d]) & WINDOW_MAX);
                self.send_held();
            }
            (GOAWAY, _) => return Err(io::ErrorKind::ConnectionAborted.into()),
            _ => {}
        }
        let ends = matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0;
        if ends || kind == RST_STREAM {
            events.push(Event::End(stream));
        }
        Ok(())
    }

    fn send_held(&mut self) {
        while let Some(frame) = self.held.front()
            && self.send_window >= (frame.len() - FRAME_HEADER_BYTES) as i64
        {
            self.send_window -= (frame.len() - FRAME_HEADER_BYTES) as i64;
            let frame = self.held.pop_front().expect("it was looked at");
            self.outbox.extend_from_slice(&frame);
        }
    }

    fn frame(&mut self, kind: u8, flags: u8, stream: StreamId, payload: &[u8]) {
        self.outbox.extend_from_slice(&header(kind, flags, stream, payload.len()));
        self.outbox.extend_from_slice(payload);
    }
}

struct Frame {
    kind: u8,
    flags: u8,
    stream: StreamId,
    payload: Payload,
}

enum Payload {
    Data(Bytes),
    /// As much of it as anyone looks at.
    Other([u8; 8]),
}

fn header(kind: u8, flags: u8, stream: StreamId, length: usize) -> [u8; FRAME_HEADER_BYTES] {
    let [_, a, b, c] = u32::try_from(length).expect("a frame is small").to_be_bytes();
    let [s, t, u, v] = stream.to_be_bytes();
    [a, b, c, kind, flags, s, t, u, v]
}
