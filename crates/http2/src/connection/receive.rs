//! Frames in.

use bytes::{Buf as _, BytesMut};

use super::{
    Connection, Event, Leaving, StreamId,
    stream::{Stream, Tail},
};
use crate::{
    Code, Fatal,
    frame::{
        self, ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, FRAME_BYTES_MAX, GOAWAY,
        HEADER_BYTES, HEADERS, Header, PADDED, PING, PREFACE, PRIORITIZED, PRIORITY, PUSH_PROMISE,
        RST_STREAM, SETTINGS, WINDOW_MAX, WINDOW_UPDATE,
    },
    head::Unfit,
};

const PRIORITY_BYTES: usize = 5;

impl Connection {
    /// Takes the whole frames of `input`, as long as there is room for what
    /// they cause. After an error nothing is taken any more, and the output
    /// ends with a GOAWAY that says why.
    pub fn receive(&mut self, input: &mut BytesMut) -> Result<(), Fatal> {
        self.take_all(input).inspect_err(|fatal| self.give_up(*fatal))
    }

    fn take_all(&mut self, input: &mut BytesMut) -> Result<(), Fatal> {
        if self.preface_left > 0 {
            self.preface(input)?;
        }
        while self.preface_left == 0
            && !self.is_full()
            && let Some(header) = Header::read(input)
        {
            if header.length > FRAME_BYTES_MAX {
                return Err(Code::FRAME_SIZE_ERROR.fatal("a frame beyond MAX_FRAME_SIZE"));
            }
            if input.len() < HEADER_BYTES + header.length {
                break;
            }
            self.admit(header)?;
            if header.kind == DATA {
                input.advance(HEADER_BYTES);
                self.data_frame(header, input.split_to(header.length))?;
            } else {
                let end = HEADER_BYTES + header.length;
                self.frame_of(header, &input[HEADER_BYTES..end])?;
                input.advance(end);
            }
        }
        Ok(())
    }

    fn preface(&mut self, input: &mut BytesMut) -> Result<(), Fatal> {
        let expected = &PREFACE[PREFACE.len() - self.preface_left..];
        let count = expected.len().min(input.len());
        if input[..count] != expected[..count] {
            return Err(Code::PROTOCOL_ERROR.fatal("no HTTP/2"));
        }
        input.advance(count);
        self.preface_left -= count;
        Ok(())
    }

    /// What may not come now, whatever it says.
    fn admit(&mut self, header: Header) -> Result<(), Fatal> {
        if !self.has_settings && (header.kind != SETTINGS || header.has(ACK)) {
            return Err(Code::PROTOCOL_ERROR.fatal("SETTINGS must come first"));
        }
        if self.heads.is_partial() && header.kind != CONTINUATION {
            return Err(Code::PROTOCOL_ERROR.fatal("a frame within a head"));
        }
        Ok(())
    }

    fn frame_of(&mut self, header: Header, payload: &[u8]) -> Result<(), Fatal> {
        match header.kind {
            HEADERS => self.headers(header, payload),
            CONTINUATION => {
                let is_last = header.has(END_HEADERS);
                match self.heads.go_on(header.stream, payload, is_last)? {
                    Some(whole) => self.block(whole.stream, whole.end, &whole.block),
                    None => Ok(()),
                }
            }
            RST_STREAM => self.reset_frame(header, payload),
            SETTINGS => self.settings(header, payload),
            PING => self.ping_frame(header, payload),
            GOAWAY => self.go_away_frame(header, payload),
            WINDOW_UPDATE => self.window_update(header, payload),
            PRIORITY => {
                if payload.len() != PRIORITY_BYTES {
                    return Err(Code::FRAME_SIZE_ERROR.fatal("PRIORITY is five bytes"));
                }
                self.chatter()?;
                self.priority(header.stream, payload)
            }
            PUSH_PROMISE => Err(Code::PROTOCOL_ERROR.fatal("clients do not push")),
            // Extensions are passed over, says the RFC.
            _ => self.chatter(),
        }
    }

    // === heads ===

    fn headers(&mut self, header: Header, payload: &[u8]) -> Result<(), Fatal> {
        let id = header.stream;
        if id.is_multiple_of(2) {
            return Err(Code::PROTOCOL_ERROR.fatal("HEADERS on a stream that no client begins"));
        }
        let mut block = unpadded(header, payload)?;
        if header.has(PRIORITIZED) {
            if block.len() < PRIORITY_BYTES {
                return Err(Code::FRAME_SIZE_ERROR.fatal("HEADERS cut short"));
            }
            self.priority(id, block)?;
            block = &block[PRIORITY_BYTES..];
        }
        let end = header.has(END_STREAM);
        if header.has(END_HEADERS) {
            return self.block(id, end, block);
        }
        self.heads.begin(id, end, block);
        Ok(())
    }

    /// Priorities are over (RFC 9113, section 5.3); only nonsense is refused.
    fn priority(&mut self, id: StreamId, payload: &[u8]) -> Result<(), Fatal> {
        let on = frame::number(payload).expect("five bytes") & WINDOW_MAX;
        match id {
            0 => Err(Code::PROTOCOL_ERROR.fatal("PRIORITY without a stream")),
            _ if on == id => Err(Code::PROTOCOL_ERROR.fatal("a stream that depends on itself")),
            _ => Ok(()),
        }
    }

    fn block(&mut self, id: StreamId, end: bool, block: &[u8]) -> Result<(), Fatal> {
        if id > self.last {
            self.request(id, end, block)
        } else if self.streams.get(id).is_some() {
            self.trailers_block(id, end, block)
        } else if self.streams.has_ended(id) {
            self.heads.skip(block)?;
            self.chatter()
        } else {
            Err(Code::STREAM_CLOSED.fatal("HEADERS on a closed stream"))
        }
    }

    fn request(&mut self, id: StreamId, end: bool, block: &[u8]) -> Result<(), Fatal> {
        if let Leaving::After(last) = self.leaving
            && id > last
        {
            self.heads.skip(block)?;
            return self.vain();
        }
        self.last = id;
        if self.streams.len() >= self.limits.streams as usize {
            self.heads.skip(block)?;
            self.refuse(id, Code::REFUSED_STREAM);
            return self.vain();
        }
        let head = match self.heads.request(block)? {
            Ok(head) => head,
            Err(Unfit::TooLarge) => {
                self.too_large(id, end);
                return self.vain();
            }
            Err(Unfit::Malformed) => {
                self.refuse(id, Code::PROTOCOL_ERROR);
                return self.vain();
            }
        };
        if end && head.content_length.is_some_and(|length| length > 0) {
            self.refuse(id, Code::PROTOCOL_ERROR);
            return self.vain();
        }
        let stream = Stream {
            is_heard: end,
            body_left: head.content_length,
            receive_window: i64::from(self.limits.stream_window_bytes),
            released: 0,
            send_window: i64::from(self.stream_send_window),
            queue: std::collections::VecDeque::new(),
            queued_bytes: 0,
            tail: Tail::Open,
            is_ready: false,
        };
        self.streams.open(id, stream);
        self.events.push_back(Event::Request { stream: id, head, end });
        Ok(())
    }

    fn trailers_block(&mut self, id: StreamId, end: bool, block: &[u8]) -> Result<(), Fatal> {
        let fields = self.heads.trailers(block)?;
        let stream = self.streams.get_mut(id).expect("its caller looked");
        if stream.is_heard {
            return self.fault(id, Code::STREAM_CLOSED);
        }
        let is_short = stream.body_left.is_some_and(|left| left > 0);
        match fields {
            Ok(fields) if end && !is_short => {
                stream.is_heard = true;
                self.events.push_back(Event::Trailers { stream: id, fields });
                Ok(())
            }
            _ => self.fault(id, Code::PROTOCOL_ERROR),
        }
    }

    // === bodies ===

    fn data_frame(&mut self, header: Header, payload: BytesMut) -> Result<(), Fatal> {
        let id = header.stream;
        let credit = u32::try_from(payload.len()).expect("a frame is small");
        let end = header.has(END_STREAM);
        if id == 0 {
            return Err(Code::PROTOCOL_ERROR.fatal("DATA without a stream"));
        }
        self.receive_window -= i64::from(credit);
        if self.receive_window < 0 {
            return Err(Code::FLOW_CONTROL_ERROR.fatal("more than the connection's window"));
        }
        let mut bytes = payload.freeze();
        let (start, length) = padding(header, &bytes)?;
        bytes = bytes.slice(start..start + length);
        let Some(stream) = self.streams.get_mut(id) else {
            return self.stray(id, credit);
        };
        stream.receive_window -= i64::from(credit);
        let is_over = stream.is_heard;
        let is_beyond = stream.receive_window < 0;
        let left = stream.body_left.map(|left| left.checked_sub(bytes.len() as u64));
        let is_wrong = matches!(left, Some(None)) || (end && matches!(left, Some(Some(1..))));
        if is_over || is_beyond || is_wrong {
            self.credit(credit);
            return self.fault(
                id,
                match (is_over, is_beyond) {
                    (true, _) => Code::STREAM_CLOSED,
                    (_, true) => Code::FLOW_CONTROL_ERROR,
                    _ => Code::PROTOCOL_ERROR,
                },
            );
        }
        stream.body_left = left.flatten();
        stream.is_heard = end;
        if bytes.is_empty() && !end {
            self.release(id, credit);
            return self.chatter();
        }
        self.events.push_back(Event::Data { stream: id, bytes, credit, end });
        Ok(())
    }

    /// Data of no stream that is open.
    fn stray(&mut self, id: StreamId, credit: u32) -> Result<(), Fatal> {
        if id > self.last {
            return Err(Code::PROTOCOL_ERROR.fatal("DATA on a stream that was not begun"));
        }
        self.credit(credit);
        if !self.streams.has_ended(id) {
            self.refuse(id, Code::STREAM_CLOSED);
        }
        self.chatter()
    }

    // === the rest ===

    fn reset_frame(&mut self, header: Header, payload: &[u8]) -> Result<(), Fatal> {
        let id = header.stream;
        let code = match frame::number(payload) {
            Some(code) if payload.len() == 4 => Code(code),
            _ => return Err(Code::FRAME_SIZE_ERROR.fatal("RST_STREAM is four bytes")),
        };
        if id == 0 || id > self.last {
            return Err(Code::PROTOCOL_ERROR.fatal("RST_STREAM of a stream that was not begun"));
        }
        if self.forget(id) {
            self.events.push_back(Event::Reset { stream: id, code });
            return self.vain();
        }
        self.streams.over(id);
        self.chatter()
    }

    fn ping_frame(&mut self, header: Header, payload: &[u8]) -> Result<(), Fatal> {
        if header.stream != 0 {
            return Err(Code::PROTOCOL_ERROR.fatal("PING on a stream"));
        }
        if payload.len() != 8 {
            return Err(Code::FRAME_SIZE_ERROR.fatal("PING is eight bytes"));
        }
        self.chatter()?;
        match header.has(ACK) {
            true => self.pong(payload),
            false => self.frame(PING, ACK, 0, payload),
        }
        Ok(())
    }

    fn go_away_frame(&mut self, header: Header, payload: &[u8]) -> Result<(), Fatal> {
        if header.stream != 0 {
            return Err(Code::PROTOCOL_ERROR.fatal("GOAWAY on a stream"));
        }
        let Some(code) = payload.get(4..).and_then(frame::number) else {
            return Err(Code::FRAME_SIZE_ERROR.fatal("GOAWAY is eight bytes at least"));
        };
        self.events.push_back(Event::GoAway { code: Code(code) });
        self.chatter()
    }

    fn window_update(&mut self, header: Header, payload: &[u8]) -> Result<(), Fatal> {
        let more = match frame::number(payload) {
            Some(more) if payload.len() == 4 => i64::from(more & WINDOW_MAX),
            _ => return Err(Code::FRAME_SIZE_ERROR.fatal("WINDOW_UPDATE is four bytes")),
        };
        let id = header.stream;
        if id > self.last {
            return Err(Code::PROTOCOL_ERROR.fatal("WINDOW_UPDATE of a stream that was not begun"));
        }
        self.chatter()?;
        if id == 0 {
            self.send_window += more;
            if more == 0 {
                return Err(Code::PROTOCOL_ERROR.fatal("WINDOW_UPDATE of nothing"));
            }
            if self.send_window > i64::from(WINDOW_MAX) {
                return Err(Code::FLOW_CONTROL_ERROR.fatal("a window beyond 2^31-1"));
            }
        } else if more == 0 {
            return match self.streams.get(id) {
                Some(_) => self.fault(id, Code::PROTOCOL_ERROR),
                // Answered meanwhile, and nonsense all the same.
                None => {
                    self.refuse(id, Code::PROTOCOL_ERROR);
                    self.vain()
                }
            };
        } else if let Some(stream) = self.streams.get_mut(id) {
            stream.send_window += more;
            if stream.send_window > i64::from(WINDOW_MAX) {
                return self.fault(id, Code::FLOW_CONTROL_ERROR);
            }
            self.make_ready(id);
        }
        self.pump();
        Ok(())
    }

    /// Ends a stream for what its peer did.
    fn fault(&mut self, id: StreamId, code: Code) -> Result<(), Fatal> {
        self.reset(id, code);
        self.events.push_back(Event::Reset { stream: id, code });
        self.vain()
    }

    fn vain(&mut self) -> Result<(), Fatal> {
        let too_many = Code::ENHANCE_YOUR_CALM.fatal("too many calls taken back");
        if self.guard.reset() { Ok(()) } else { Err(too_many) }
    }

    pub(super) fn chatter(&mut self) -> Result<(), Fatal> {
        let too_much = Code::ENHANCE_YOUR_CALM.fatal("too many frames for nothing");
        if self.guard.chatter() { Ok(()) } else { Err(too_much) }
    }
}

fn unpadded(header: Header, payload: &[u8]) -> Result<&[u8], Fatal> {
    let (start, length) = padding(header, payload)?;
    Ok(&payload[start..start + length])
}

/// Where what is meant begins, and how long it is.
fn padding(header: Header, payload: &[u8]) -> Result<(usize, usize), Fatal> {
    if !header.has(PADDED) {
        return Ok((0, payload.len()));
    }
    let Some((padding, rest)) = payload.split_first() else {
        return Err(Code::FRAME_SIZE_ERROR.fatal("padding without its length"));
    };
    let length = rest.len().checked_sub(usize::from(*padding));
    Ok((1, length.ok_or(Code::PROTOCOL_ERROR.fatal("more padding than frame"))?))
}
