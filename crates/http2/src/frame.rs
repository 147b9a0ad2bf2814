//! Frames: nine bytes, then the payload.

/// What a client says first.
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const PADDED: u8 = 8;
pub(crate) const PRIORITIZED: u8 = 0x20;

pub(crate) const SETTING_TABLE_BYTES: u16 = 1;
pub(crate) const SETTING_PUSH: u16 = 2;
pub(crate) const SETTING_STREAMS: u16 = 3;
pub(crate) const SETTING_WINDOW: u16 = 4;
pub(crate) const SETTING_FRAME_BYTES: u16 = 5;
pub(crate) const SETTING_LIST_BYTES: u16 = 6;

pub(crate) const HEADER_BYTES: usize = 9;
/// What every peer takes, and all that we take.
pub(crate) const FRAME_BYTES_MAX: usize = 16_384;
pub(crate) const WINDOW_DEFAULT: u32 = 65_535;
pub(crate) const WINDOW_MAX: u32 = 0x7fff_ffff;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub length: usize,
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
}

// === impl Header ===

impl Header {
    pub fn read(bytes: &[u8]) -> Option<Header> {
        let [a, b, c, kind, flags, s, t, u, v] = *bytes.first_chunk::<HEADER_BYTES>()?;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        let stream = u32::from_be_bytes([s, t, u, v]) & WINDOW_MAX;
        Some(Header { length, kind, flags, stream })
    }

    pub fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// The nine bytes before `length` more.
pub(crate) fn header(kind: u8, flags: u8, stream: u32, length: usize) -> [u8; HEADER_BYTES] {
    let [_, a, b, c] = u32::try_from(length).expect("a frame is small").to_be_bytes();
    let [s, t, u, v] = stream.to_be_bytes();
    [a, b, c, kind, flags, s, t, u, v]
}

/// The first four bytes as a number.
pub(crate) fn number(payload: &[u8]) -> Option<u32> {
    payload.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}
