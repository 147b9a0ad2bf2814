//! The messages in the body of a gRPC response, and the status at its end.

use bytes::{Buf as _, Bytes, BytesMut};
use http_body_util::BodyExt as _;
use tonic::{Code, Status, body::Body};

/// Before each message: a flag for compression, and the length.
pub(super) const PREFIX_BYTES: usize = 5;

pub(super) struct Frames {
    body: Body,
    buffer: BytesMut,
}

// === impl Frames ===

impl Frames {
    pub fn new(body: Body) -> Frames {
        Frames { body, buffer: BytesMut::new() }
    }

    /// The next message; none once the call has ended well.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        loop {
            if let Some(message) = self.take() {
                return Ok(Some(message));
            }
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            match frame?.into_data() {
                Ok(data) => self.buffer.extend_from_slice(&data),
                Err(other) => {
                    let trailers = other.into_trailers().unwrap_or_default();
                    return match Status::from_header_map(&trailers) {
                        Some(status) if status.code() != Code::Ok => Err(status),
                        _ => Ok(None),
                    };
                }
            }
        }
    }

    fn take(&mut self) -> Option<Bytes> {
        let prefix: [u8; PREFIX_BYTES] = self.buffer.get(..PREFIX_BYTES)?.try_into().ok()?;
        let [_, length @ ..] = prefix;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if self.buffer.len() - PREFIX_BYTES < length {
            return None;
        }
        self.buffer.advance(PREFIX_BYTES);
        Some(self.buffer.split_to(length).freeze())
    }
}

/// One message as it goes into a body; our services use no compression.
pub(super) fn framed(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).expect("requests are bounded to megabytes");
    [&[0], &length.to_be_bytes()[..], message].concat().into()
}
