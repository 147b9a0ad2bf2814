//! Frames in.

mod body;
mod control;
mod heads;

use bytes::{Buf as _, BytesMut};

use super::{Connection, Event, Side, StreamId};
use crate::{
    Code, Fatal,
    frame::{
        ACK, CONTINUATION, DATA, END_HEADERS, FRAME_BYTES_MAX, GOAWAY, HEADER_BYTES, HEADERS,
        Header, PADDED, PING, PREFACE, PRIORITY, PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE,
    },
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
            PUSH_PROMISE => Err(Code::PROTOCOL_ERROR.fatal("nobody may push here")),
            // Extensions are passed over, says the RFC.
            _ => self.chatter(),
        }
    }

    /// Ends a stream for what its peer did.
    fn fault(&mut self, id: StreamId, code: Code) -> Result<(), Fatal> {
        self.reset(id, code);
        self.events.push_back(Event::Reset { stream: id, code });
        self.vain()
    }

    /// The peer may have said everything. A client's stream is over when both
    /// sides have; a server's, when it has answered.
    fn heard(&mut self, id: StreamId) {
        let is_over = |stream: &super::stream::Stream| stream.is_heard && stream.is_said;
        if self.side == Side::Client && self.streams.get(id).is_some_and(is_over) {
            self.streams.remove(id);
            self.guard.answered();
        }
    }

    /// What a client is answered with it has paid for itself.
    fn vain(&mut self) -> Result<(), Fatal> {
        if self.side == Side::Client {
            return Ok(());
        }
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
