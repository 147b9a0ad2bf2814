//! Frames about streams and the connection: resets, pings, goodbyes, windows.

use crate::{
    Code, Fatal,
    connection::{Connection, Event, Leaving, Side, StreamId},
    frame::{self, ACK, Header, PING, WINDOW_MAX},
};

impl Connection {
    pub(super) fn reset_frame(&mut self, header: Header, payload: &[u8]) -> Result<(), Fatal> {
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

    pub(super) fn ping_frame(&mut self, header: Header, payload: &[u8]) -> Result<(), Fatal> {
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

    pub(super) fn go_away_frame(&mut self, header: Header, payload: &[u8]) -> Result<(), Fatal> {
        if header.stream != 0 {
            return Err(Code::PROTOCOL_ERROR.fatal("GOAWAY on a stream"));
        }
        let (Some(last), Some(code)) =
            (frame::number(payload), payload.get(4..).and_then(frame::number))
        else {
            return Err(Code::FRAME_SIZE_ERROR.fatal("GOAWAY is eight bytes at least"));
        };
        if self.side == Side::Client {
            self.leaving = Leaving::After(0);
            self.unbegun(last & WINDOW_MAX);
        }
        self.events.push_back(Event::GoAway { code: Code(code) });
        self.chatter()
    }

    /// Of what comes after `last` the peer has seen nothing.
    fn unbegun(&mut self, last: StreamId) {
        let streams = self.streams.iter_mut().map(|(id, _)| id).filter(|id| *id > last);
        for id in streams.collect::<Vec<_>>() {
            self.forget(id);
            self.events.push_back(Event::Reset { stream: id, code: Code::REFUSED_STREAM });
        }
    }

    pub(super) fn window_update(&mut self, header: Header, payload: &[u8]) -> Result<(), Fatal> {
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
}
