//! Frames from bytes, as they come.

use bytes::{Buf as _, Bytes, BytesMut};

use crate::{
    Frame, StreamId,
    block::Inflater,
    frame::{FIN, GOAWAY, HEADERS, PING, RST_STREAM, SYN_REPLY, SYN_STREAM, VERSION},
};

/// A control frame; those with headers are of a few hundred bytes.
const CONTROL_BYTES_MAX: usize = 16 << 10;

const HEAD: usize = 8;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("a frame of SPDY version {0} where 3 is spoken")]
    Version(u16),
    #[error("a control frame of {0} bytes; {CONTROL_BYTES_MAX} are read at most")]
    TooLong(usize),
    #[error("a frame of type {0} has not its form")]
    Form(u16),
    #[error("a frame of data names no stream")]
    NoStream,
    #[error("a header block cannot be read: {0}")]
    Block(&'static str),
}

pub struct Decoder {
    inflater: Inflater,
    /// The rest of a data frame.
    data: Option<Data>,
}

struct Data {
    id: StreamId,
    fin: bool,
    left: usize,
}

// === impl Decoder ===

impl Default for Decoder {
    fn default() -> Decoder {
        Decoder { inflater: Inflater::new(), data: None }
    }
}

impl Decoder {
    /// Takes the next frame off `input`; none if it is not all there. After an
    /// error the connection is of no further use.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<Frame>, Error> {
        loop {
            if let Some(data) = &mut self.data {
                let Some(frame) = data.take(input) else { return Ok(None) };
                if data.left == 0 {
                    self.data = None;
                }
                return Ok(Some(frame));
            }
            let Some((head, _)) = input.split_first_chunk::<HEAD>() else { return Ok(None) };
            let [a, b, c, d, flags, length @ ..] = *head;
            let length = length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            if a & 0x80 == 0 {
                let id = u32::from_be_bytes([a, b, c, d]);
                if id == 0 {
                    return Err(Error::NoStream);
                }
                input.advance(HEAD);
                self.data = Some(Data { id, fin: flags & FIN != 0, left: length });
                continue;
            }
            let version = u16::from_be_bytes([a & 0x7f, b]);
            if version != VERSION {
                return Err(Error::Version(version));
            }
            if length > CONTROL_BYTES_MAX {
                return Err(Error::TooLong(length));
            }
            if input.len() < HEAD + length {
                return Ok(None);
            }
            input.advance(HEAD);
            let body = input.split_to(length).freeze();
            if let Some(frame) = self.control(u16::from_be_bytes([c, d]), flags, body)? {
                return Ok(Some(frame));
            }
        }
    }

    /// `None` for what needs nothing done.
    fn control(&mut self, kind: u16, flags: u8, mut body: Bytes) -> Result<Option<Frame>, Error> {
        let fin = flags & FIN != 0;
        let mut number =
            || body.try_get_u32().map(|number| number & 0x7fff_ffff).map_err(|_| Error::Form(kind));
        Ok(Some(match kind {
            SYN_STREAM => {
                let id = number()?;
                // Which stream it belongs to, its priority, a slot.
                body.try_get_u32().map_err(|_| Error::Form(kind))?;
                body.try_get_u16().map_err(|_| Error::Form(kind))?;
                let headers = self.inflater.headers(&body)?;
                Frame::Open { id: of_stream(id)?, fin, headers }
            }
            SYN_REPLY => {
                let id = of_stream(number()?)?;
                Frame::Reply { id, fin, headers: self.inflater.headers(&body)? }
            }
            HEADERS => {
                let id = of_stream(number()?)?;
                Frame::Headers { id, fin, headers: self.inflater.headers(&body)? }
            }
            RST_STREAM => Frame::Reset { id: of_stream(number()?)?, status: number()? },
            PING => Frame::Ping(body.try_get_u32().map_err(|_| Error::Form(kind))?),
            GOAWAY => Frame::GoAway { last: number()?, status: number()? },
            // Settings, windows, credentials, and what a later version adds.
            _ => return Ok(None),
        }))
    }
}

fn of_stream(id: StreamId) -> Result<StreamId, Error> {
    if id == 0 { Err(Error::NoStream) } else { Ok(id) }
}

// === impl Data ===

impl Data {
    /// What is there of it; `None` if that is nothing.
    fn take(&mut self, input: &mut BytesMut) -> Option<Frame> {
        if self.left > 0 && input.is_empty() {
            return None;
        }
        let bytes = input.split_to(self.left.min(input.len())).freeze();
        self.left -= bytes.len();
        Some(Frame::Data { id: self.id, fin: self.fin && self.left == 0, bytes })
    }
}
