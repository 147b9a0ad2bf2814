//! Bodies in, within the windows and the length that was announced.

use bytes::BytesMut;

use super::padding;
use crate::{
    Code, Fatal,
    connection::{Connection, Event, Side, StreamId, stream::Expected},
    frame::{END_STREAM, Header},
};

impl Connection {
    pub(super) fn data_frame(&mut self, header: Header, payload: BytesMut) -> Result<(), Fatal> {
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
        let is_early = self.side == Side::Client && stream.answer != Expected::Rest;
        let is_wrong =
            is_early || matches!(left, Some(None)) || (end && matches!(left, Some(Some(1..))));
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
        self.heard(id);
        Ok(())
    }

    /// Data of no stream that is open.
    fn stray(&mut self, id: StreamId, credit: u32) -> Result<(), Fatal> {
        if id > self.last {
            return Err(Code::PROTOCOL_ERROR.fatal("DATA on a stream that was not begun"));
        }
        self.credit(credit);
        if self.side == Side::Client {
            // Of what we took back there is never more than a window.
            return Ok(());
        }
        if !self.streams.has_ended(id) {
            self.refuse(id, Code::STREAM_CLOSED);
        }
        self.chatter()
    }
}
