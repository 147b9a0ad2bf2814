//! What two sides say to each other.

use bytes::Bytes;

/// Odd ones are the client's, even ones the server's; 0 is none.
pub type StreamId = u32;

/// Why a stream was reset (SPDY/3 section 2.6.3).
pub const RESET_PROTOCOL_ERROR: u32 = 1;
pub const RESET_REFUSED: u32 = 3;
pub const RESET_CANCEL: u32 = 5;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A stream begins.
    Open { id: StreamId, fin: bool, headers: Headers },
    /// It is accepted.
    Reply { id: StreamId, fin: bool, headers: Headers },
    /// More headers.
    Headers { id: StreamId, fin: bool, headers: Headers },
    /// It ends at once, both ways.
    Reset { id: StreamId, status: u32 },
    /// To be answered with the same number.
    Ping(u32),
    /// No more streams are taken.
    GoAway { last: StreamId, status: u32 },
    /// With `fin` its sender has said all. A long frame comes in pieces.
    Data { id: StreamId, fin: bool, bytes: Bytes },
}

/// Names in lower case with their values, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(pub Vec<(String, String)>);

/// Types of control frames.
pub(crate) const SYN_STREAM: u16 = 1;
pub(crate) const SYN_REPLY: u16 = 2;
pub(crate) const RST_STREAM: u16 = 3;
pub(crate) const PING: u16 = 6;
pub(crate) const GOAWAY: u16 = 7;
pub(crate) const HEADERS: u16 = 8;

pub(crate) const VERSION: u16 = 3;
pub(crate) const FIN: u8 = 1;

/// Lengths are of 24 bits.
pub(crate) const LENGTH_MAX: usize = (1 << 24) - 1;

// === impl Headers ===

impl Headers {
    /// The first value of `name`, which is in lower case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}
