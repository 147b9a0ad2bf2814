//! Why a stream or a connection ended (RFC 9113, section 7).

use std::fmt;

/// As on the wire; what a peer makes up itself passes through.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Code(pub u32);

/// The connection cannot go on. What is to be written still is written, the
/// GOAWAY with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code:?}: {reason}")]
pub struct Fatal {
    pub code: Code,
    pub reason: &'static str,
}

// === impl Code ===

impl Code {
    pub const NO_ERROR: Code = Code(0);
    pub const PROTOCOL_ERROR: Code = Code(1);
    pub const INTERNAL_ERROR: Code = Code(2);
    pub const FLOW_CONTROL_ERROR: Code = Code(3);
    pub const STREAM_CLOSED: Code = Code(5);
    pub const FRAME_SIZE_ERROR: Code = Code(6);
    pub const REFUSED_STREAM: Code = Code(7);
    pub const CANCEL: Code = Code(8);
    pub const COMPRESSION_ERROR: Code = Code(9);
    pub const ENHANCE_YOUR_CALM: Code = Code(11);

    pub(crate) fn fatal(self, reason: &'static str) -> Fatal {
        Fatal { code: self, reason }
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match *self {
            Code::NO_ERROR => "NO_ERROR",
            Code::PROTOCOL_ERROR => "PROTOCOL_ERROR",
            Code::INTERNAL_ERROR => "INTERNAL_ERROR",
            Code::FLOW_CONTROL_ERROR => "FLOW_CONTROL_ERROR",
            Code::STREAM_CLOSED => "STREAM_CLOSED",
            Code::FRAME_SIZE_ERROR => "FRAME_SIZE_ERROR",
            Code::REFUSED_STREAM => "REFUSED_STREAM",
            Code::CANCEL => "CANCEL",
            Code::COMPRESSION_ERROR => "COMPRESSION_ERROR",
            Code::ENHANCE_YOUR_CALM => "ENHANCE_YOUR_CALM",
            Code(other) => return write!(f, "code {other}"),
        };
        f.write_str(name)
    }
}
