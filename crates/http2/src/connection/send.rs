//! Messages out.

use bytes::{Buf as _, Bytes};

use super::{
    Connection, Leaving, Side, StreamId,
    stream::{Stream, Tail},
};
use crate::{
    Code, Fatal, Field,
    frame::{
        CONTINUATION, DATA, END_HEADERS, END_STREAM, FRAME_BYTES_MAX, GOAWAY, HEADER_BYTES,
        HEADERS, PING, RST_STREAM, WINDOW_MAX, WINDOW_UPDATE, header,
    },
    guard::CHATTER_PER_DATA,
    hpack::Encoder,
};

/// What our pings carry: one that looks whether anybody is there, and one that
/// tells when a GOAWAY has been heard.
const PING_ALIVE: [u8; 8] = *b"p-alive.";
const PING_LEAVING: [u8; 8] = *b"p-leave.";

const HEAD_TOO_LARGE: u16 = 431;

/// What waits in pieces smaller than this is put together: each piece costs
/// its place, whatever its size.
const CRUMB_BYTES_MAX: usize = 1024;

impl Connection {
    /// The head of an answer. Of a stream that is gone nothing is said, here
    /// and below.
    pub fn respond<'a>(
        &mut self,
        id: StreamId,
        status: u16,
        fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
        end: bool,
    ) {
        if self.streams.get(id).is_none() {
            return;
        }
        self.headers_frame(id, end, |encoder, out| {
            encoder.status(status, out);
            for (name, value) in fields {
                encoder.field(name, value, out);
            }
        });
        if end {
            self.said(id);
        }
    }

    /// A whole answer of gRPC that went well: head, message with its prefix,
    /// and end.
    pub fn answer(&mut self, id: StreamId, message: Bytes) {
        let Some(stream) = self.streams.get(id) else { return };
        let length = message.len();
        let is_open = stream.send_window >= length as i64 && self.send_window >= length as i64;
        let fits = length <= self.frame_bytes_max && self.ready.is_empty() && !self.is_full();
        self.headers_frame(id, false, |encoder, out| {
            encoder.status(200, out);
            encoder.grpc(out);
        });
        if !(is_open && fits) {
            self.data(id, message, false);
            return self.well(id);
        }
        self.send_window -= length as i64;
        self.sent(length);
        self.frame(DATA, 0, id, &message);
        self.headers_frame(id, true, Encoder::well);
        self.said(id);
    }

    /// A call of gRPC that was refused: its status, and nothing else.
    pub fn refuse_call(&mut self, id: StreamId, fields: &[Field]) {
        if self.streams.get(id).is_none() {
            return;
        }
        self.headers_frame(id, true, |encoder, out| {
            encoder.status(200, out);
            encoder.grpc(out);
            for field in fields {
                encoder.field(&field.name, &field.value, out);
            }
        });
        self.said(id);
    }

    /// More of an answer's body: sent as the windows allow, kept until then.
    pub fn data(&mut self, id: StreamId, bytes: Bytes, end: bool) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        if !bytes.is_empty() {
            stream.queued_bytes += bytes.len();
            self.queued_bytes += bytes.len();
            match stream.queue.back_mut() {
                Some(last) if last.len() + bytes.len() <= CRUMB_BYTES_MAX => {
                    *last = [&last[..], &bytes].concat().into();
                }
                _ => stream.queue.push_back(bytes),
            }
        }
        if end {
            stream.tail = Tail::Nothing;
        }
        self.make_ready(id);
        self.pump();
    }

    /// The end of an answer, with fields that follow its body.
    pub fn trailers(&mut self, id: StreamId, fields: Vec<Field>) {
        self.end_with(id, Tail::Fields(fields));
    }

    fn well(&mut self, id: StreamId) {
        self.end_with(id, Tail::Well);
    }

    fn end_with(&mut self, id: StreamId, tail: Tail) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        stream.tail = tail;
        self.make_ready(id);
        self.pump();
    }

    /// Ends a stream at once.
    pub fn reset(&mut self, id: StreamId, code: Code) {
        if self.forget(id) {
            self.refuse(id, code);
        }
    }

    /// Nobody looks after a stream any more: an answer that is whole still goes
    /// out, all else ends at once.
    pub fn leave(&mut self, id: StreamId, code: Code) {
        let is_told = |stream: &Stream| !matches!(stream.tail, Tail::Open);
        if self.side == Side::Client || !self.streams.get(id).is_some_and(is_told) {
            self.reset(id, code);
        }
    }

    /// Gives back what was received and is done with.
    pub fn release(&mut self, id: StreamId, credit: u32) {
        self.credit(credit);
        let Some(stream) = self.streams.get_mut(id).filter(|stream| !stream.is_heard) else {
            return;
        };
        stream.released += credit;
        if stream.released < self.limits.stream_window_bytes / 2 {
            return;
        }
        let released = std::mem::take(&mut stream.released);
        stream.receive_window += i64::from(released);
        self.frame(WINDOW_UPDATE, 0, id, &released.to_be_bytes());
    }

    /// Asks whether the peer is there: [`super::Event::Pong`].
    pub fn ping(&mut self) {
        self.frame(PING, 0, 0, &PING_ALIVE);
    }

    /// Asks the peer to begin nothing more. What it began before it heard of
    /// this is still answered; then the last stream is named.
    pub fn go_away(&mut self) {
        if self.leaving == Leaving::No {
            self.leaving = Leaving::Soon;
            self.go_away_after(WINDOW_MAX, Code::NO_ERROR, "");
            self.frame(PING, 0, 0, &PING_LEAVING);
        }
    }

    /// Names the last stream now, whether the peer has heard or not.
    pub fn go_away_now(&mut self, code: Code) {
        if !matches!(self.leaving, Leaving::After(_)) {
            self.leaving = Leaving::After(self.last);
            self.go_away_with(code, "");
        }
    }

    /// Sends what waits, as far as windows and output have room. To be called
    /// when output was written.
    pub fn pump(&mut self) {
        while !self.is_full()
            && let Some(id) = self.ready.pop_front()
        {
            let Some(stream) = self.streams.get_mut(id) else { continue };
            stream.is_ready = false;
            if self.send_window <= 0 && !stream.queue.is_empty() {
                stream.is_ready = true;
                return self.ready.push_front(id);
            }
            self.send_some(id);
        }
    }

    // === within ===

    pub(super) fn make_ready(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        if stream.can_send() && !std::mem::replace(&mut stream.is_ready, true) {
            self.ready.push_back(id);
        }
    }

    /// One frame of a stream's data, so that streams take turns; its end.
    fn send_some(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        if let Some(front) = stream.queue.front_mut() {
            let open = stream.send_window.min(self.send_window).max(0);
            let open = usize::try_from(open).expect("not negative");
            let count = front.len().min(open).min(self.frame_bytes_max);
            if count == 0 {
                return;
            }
            let piece = front.split_to(count);
            if !front.has_remaining() {
                stream.queue.pop_front();
            }
            stream.send_window -= count as i64;
            stream.queued_bytes -= count;
            self.queued_bytes -= count;
            self.send_window -= count as i64;
            let is_last = stream.queue.is_empty() && matches!(stream.tail, Tail::Nothing);
            self.sent(count);
            self.frame(DATA, if is_last { END_STREAM } else { 0 }, id, &piece);
            match is_last {
                true => self.said(id),
                false => self.make_ready(id),
            }
            return;
        }
        match std::mem::replace(&mut stream.tail, Tail::Open) {
            Tail::Open => return,
            Tail::Nothing => self.frame(DATA, END_STREAM, id, &[]),
            Tail::Well => self.headers_frame(id, true, Encoder::well),
            Tail::Fields(fields) => self.headers_frame(id, true, |encoder, out| {
                for field in &fields {
                    encoder.field(&field.name, &field.value, out);
                }
            }),
        }
        self.said(id);
    }

    /// Our side of a stream is over. A server wants no more of a body that is
    /// still coming (RFC 9113, section 8.1); a client waits for its answer.
    pub(super) fn said(&mut self, id: StreamId) {
        if self.side == Side::Client
            && let Some(stream) = self.streams.get_mut(id)
            && !stream.is_heard
        {
            stream.is_said = true;
            return;
        }
        let Some(stream) = self.streams.remove(id) else { return };
        self.guard.answered();
        if !stream.is_heard {
            self.refuse(id, Code::NO_ERROR);
        }
    }

    /// Takes a stream out, with what waits in it.
    pub(super) fn forget(&mut self, id: StreamId) -> bool {
        let stream = self.streams.remove(id);
        self.queued_bytes -= stream.as_ref().map_or(0, |stream| stream.queued_bytes);
        stream.is_some()
    }

    /// Ends a stream that is none of ours any more, or never was.
    pub(super) fn refuse(&mut self, id: StreamId, code: Code) {
        self.streams.ended(id);
        self.frame(RST_STREAM, 0, id, &code.0.to_be_bytes());
    }

    /// Answers a head that was not kept.
    pub(super) fn too_large(&mut self, id: StreamId, is_heard: bool) {
        self.headers_frame(id, true, |encoder, out| encoder.status(HEAD_TOO_LARGE, out));
        if !is_heard {
            self.refuse(id, Code::NO_ERROR);
        }
    }

    /// Gives the connection's window back, in steps of half of it.
    pub(super) fn credit(&mut self, credit: u32) {
        self.released += credit;
        if self.released >= self.limits.connection_window_bytes / 2 {
            let released = std::mem::take(&mut self.released);
            self.receive_window += i64::from(released);
            self.frame(WINDOW_UPDATE, 0, 0, &released.to_be_bytes());
        }
    }

    pub(super) fn pong(&mut self, payload: &[u8]) {
        if payload == PING_ALIVE {
            self.events.push_back(super::Event::Pong);
        } else if payload == PING_LEAVING && self.leaving == Leaving::Soon {
            self.go_away_now(Code::NO_ERROR);
        }
    }

    pub(super) fn give_up(&mut self, fatal: Fatal) {
        self.leaving = Leaving::After(self.last);
        self.go_away_with(fatal.code, fatal.reason);
    }

    /// Servers begin no streams, so that a client has taken none up.
    fn go_away_with(&mut self, code: Code, reason: &str) {
        let last = if self.side == Side::Server { self.last } else { 0 };
        self.go_away_after(last, code, reason);
    }

    fn go_away_after(&mut self, last: StreamId, code: Code, reason: &str) {
        let payload = [&last.to_be_bytes()[..], &code.0.to_be_bytes(), reason.as_bytes()].concat();
        self.frame(GOAWAY, 0, 0, &payload);
    }

    fn sent(&mut self, bytes: usize) {
        self.sent_bytes += bytes as u64;
        self.guard.data(CHATTER_PER_DATA);
    }

    pub(super) fn frame(&mut self, kind: u8, flags: u8, id: StreamId, payload: &[u8]) {
        self.output.extend_from_slice(&header(kind, flags, id, payload.len()));
        self.output.extend_from_slice(payload);
    }

    /// Written in place; the length is known afterwards.
    pub(super) fn headers_frame(
        &mut self,
        id: StreamId,
        end: bool,
        write: impl FnOnce(&mut Encoder, &mut Vec<u8>),
    ) {
        let flags = if end { END_STREAM | END_HEADERS } else { END_HEADERS };
        let start = self.output.len();
        self.output.extend_from_slice(&[0; HEADER_BYTES]);
        self.encoder.begin(&mut self.output);
        write(&mut self.encoder, &mut self.output);
        let length = self.output.len() - start - HEADER_BYTES;
        if length <= FRAME_BYTES_MAX {
            let header = header(HEADERS, flags, id, length);
            self.output[start..start + HEADER_BYTES].copy_from_slice(&header);
            return;
        }
        let block = self.output.split_off(start + HEADER_BYTES);
        self.output.truncate(start);
        let mut pieces = block.chunks(FRAME_BYTES_MAX).peekable();
        let mut kind = HEADERS;
        while let Some(piece) = pieces.next() {
            let last = if pieces.peek().is_none() { END_HEADERS } else { 0 };
            let end = if kind == HEADERS { flags & END_STREAM } else { 0 };
            self.frame(kind, last | end, id, piece);
            kind = CONTINUATION;
        }
    }
}

// === impl Stream ===

impl Stream {
    /// Whether something of it could go, for all it knows itself.
    pub(super) fn can_send(&self) -> bool {
        match self.queue.is_empty() {
            true => !self.is_said && !matches!(self.tail, Tail::Open),
            false => self.send_window > 0,
        }
    }
}
