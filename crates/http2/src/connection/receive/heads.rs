//! Heads in: requests begun, answers to ours, and trailers.

use super::{PRIORITY_BYTES, unpadded};
use crate::{
    Code, Fatal,
    connection::{
        Connection, Event, Leaving, Side, StreamId,
        stream::{Expected, Stream},
    },
    frame::{self, END_HEADERS, END_STREAM, Header, PRIORITIZED, WINDOW_MAX},
    head::Unfit,
};

impl Connection {
    pub(super) fn headers(&mut self, header: Header, payload: &[u8]) -> Result<(), Fatal> {
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
    pub(super) fn priority(&mut self, id: StreamId, payload: &[u8]) -> Result<(), Fatal> {
        let on = frame::number(payload).expect("five bytes") & WINDOW_MAX;
        match id {
            0 => Err(Code::PROTOCOL_ERROR.fatal("PRIORITY without a stream")),
            _ if on == id => Err(Code::PROTOCOL_ERROR.fatal("a stream that depends on itself")),
            _ => Ok(()),
        }
    }

    pub(super) fn block(&mut self, id: StreamId, end: bool, block: &[u8]) -> Result<(), Fatal> {
        let stream = self.streams.get(id);
        if id > self.last {
            match self.side {
                Side::Server => self.request(id, end, block),
                Side::Client => Err(Code::PROTOCOL_ERROR.fatal("an answer to nothing")),
            }
        } else if let Some(stream) = stream {
            match (self.side, stream.answer) {
                (Side::Server, _) | (_, Expected::Rest) => self.trailers_block(id, end, block),
                (_, expected) => self.answer_block(id, end, block, expected),
            }
        } else if self.side == Side::Client {
            // Taken back, and answered meanwhile.
            self.heads.skip(block)
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
        let mut stream = Stream::new(self.limits.stream_window_bytes, self.stream_send_window);
        (stream.is_heard, stream.body_left) = (end, head.content_length);
        self.streams.open(id, stream);
        self.events.push_back(Event::Request { stream: id, head, end });
        Ok(())
    }

    fn answer_block(
        &mut self,
        id: StreamId,
        end: bool,
        block: &[u8],
        expected: Expected,
    ) -> Result<(), Fatal> {
        let head = match self.heads.response(block)? {
            // Nobody goes over to another protocol here (RFC 9113, section 8.6).
            Ok(head) if head.status != 101 && !(end && head.status < 200) => head,
            _ => return self.fault(id, Code::PROTOCOL_ERROR),
        };
        if head.status < 200 {
            return self.chatter();
        }
        let is_bodiless = expected == Expected::HeadAlone || matches!(head.status, 204 | 304);
        let is_short = end && !is_bodiless && head.content_length.is_some_and(|length| length > 0);
        if is_short {
            return self.fault(id, Code::PROTOCOL_ERROR);
        }
        let stream = self.streams.get_mut(id).expect("its caller looked");
        stream.answer = Expected::Rest;
        stream.body_left = if is_bodiless { Some(0) } else { head.content_length };
        stream.is_heard = end;
        self.events.push_back(Event::Response { stream: id, head, end });
        self.heard(id);
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
                self.heard(id);
                Ok(())
            }
            _ => self.fault(id, Code::PROTOCOL_ERROR),
        }
    }
}
