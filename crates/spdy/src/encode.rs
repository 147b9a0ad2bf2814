//! Frames to bytes.

use bytes::{BufMut as _, BytesMut};

use crate::{
    Frame,
    block::Deflater,
    frame::{FIN, GOAWAY, HEADERS, LENGTH_MAX, PING, RST_STREAM, SYN_REPLY, SYN_STREAM, VERSION},
};

#[derive(Default)]
pub struct Encoder {
    deflater: Deflater,
}

// === impl Encoder ===

impl Encoder {
    /// Appends a frame. The order of calls is the order on the wire: headers
    /// are one stream of their own.
    pub fn put(&mut self, frame: &Frame, to: &mut BytesMut) {
        match frame {
            Frame::Open { id, fin, headers } => {
                let packed = self.deflater.pack(headers);
                control(to, SYN_STREAM, *fin, packed.len() + 10);
                to.put_u32(*id);
                to.put_bytes(0, 6);
                to.put_slice(&packed);
            }
            Frame::Reply { id, fin, headers } => {
                let packed = self.deflater.pack(headers);
                control(to, SYN_REPLY, *fin, packed.len() + 4);
                to.put_u32(*id);
                to.put_slice(&packed);
            }
            Frame::Headers { id, fin, headers } => {
                let packed = self.deflater.pack(headers);
                control(to, HEADERS, *fin, packed.len() + 4);
                to.put_u32(*id);
                to.put_slice(&packed);
            }
            Frame::Reset { id, status } => {
                control(to, RST_STREAM, false, 8);
                to.put_u32(*id);
                to.put_u32(*status);
            }
            Frame::Ping(number) => {
                control(to, PING, false, 4);
                to.put_u32(*number);
            }
            Frame::GoAway { last, status } => {
                control(to, GOAWAY, false, 8);
                to.put_u32(*last);
                to.put_u32(*status);
            }
            Frame::Data { id, fin, bytes } => {
                to.put_u32(*id);
                length(to, *fin, bytes.len());
                to.put_slice(bytes);
            }
        }
    }
}

fn control(to: &mut BytesMut, kind: u16, fin: bool, len: usize) {
    to.put_u16(0x8000 | VERSION);
    to.put_u16(kind);
    length(to, fin, len);
}

fn length(to: &mut BytesMut, fin: bool, len: usize) {
    assert!(len <= LENGTH_MAX, "a frame of {len} bytes");
    to.put_u8(if fin { FIN } else { 0 });
    to.put_uint(len as u64, 3);
}
