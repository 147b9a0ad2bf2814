//! Bolt, the protocol of SOFARPC, in both versions.
//!
//! Source: sofa-bolt 1.6 (`RpcProtocol.java`, `RpcProtocolV2.java` and the
//! decoders beside them). A frame is a head of 20 to 24 bytes that ends with
//! three lengths, then the name of the class that is sent, a flat map of
//! strings, the content, and in version 2 perhaps a CRC-32 of all before it.
//!
//! What SOFARPC puts into frames is in [`sofa`].

mod frame;
mod head;
mod headers;
pub mod sofa;

pub use frame::{Frame, next};
pub use head::{Command, Head, Kind, Version};
pub use headers::Headers;

/// Largest frame that is taken unless told otherwise. The protocol knows no
/// bound; Dubbo, for the same calls, has 8 MiB, and this is twice that.
pub const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The peers count these in a signed 16-bit number.
pub const HEADER_BYTES_MAX: usize = i16::MAX as usize;

/// The serializations that tell how a content is read.
pub const HESSIAN: u8 = 1;
pub const PROTOBUF: u8 = 11;

/// Why a connection cannot go on, or a frame is not what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("{0:#04x} is no version of Bolt")]
    UnknownVersion(u8),
    #[error("{0:#04x} is no kind of command")]
    UnknownKind(u8),
    #[error("a frame of {bytes} bytes; {max} are allowed")]
    TooLarge { bytes: u64, max: usize },
    #[error("the header has {0} bytes; {HEADER_BYTES_MAX} are allowed")]
    HeaderTooLarge(usize),
    #[error("the header is no list of pairs")]
    BadHeader,
    #[error("the checksum does not match")]
    Damaged,
}
