//! HTTP/1.1 as RFC 9112 has it, and stricter where two readers could differ.
//!
//! A head is looked for as a whole and parsed once; what it says about the
//! body's length must be said once and plainly, or the connection ends. That
//! is what makes smuggling impossible: no message leaves here whose length
//! another reader could see differently.

mod body;
mod head;
mod server;
mod write;

pub use body::{Coder, Decoded, Decoder};
pub(crate) use head::is_host;
pub use head::{Bounds, RequestHead, Version, request, response};
pub(crate) use server::serve;
pub use write::{Connection, Framing, write_request, write_response};

use http::StatusCode;

/// Why a message is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("the head is larger than allowed")]
    HeadTooLarge,
    #[error("there are more headers than allowed")]
    TooManyHeaders,
    #[error("the target is longer than allowed")]
    TargetTooLong,
    #[error("a line ends without a carriage return")]
    BareNewline,
    #[error("the head is not as HTTP/1.1 has it")]
    Head,
    #[error("the target is not as HTTP/1.1 has it")]
    Target,
    #[error("there must be exactly one Host, of a name and perhaps a port")]
    Host,
    #[error("the length of the body is said twice, or unclearly")]
    Length,
    #[error("a transfer coding other than chunked")]
    Coding,
    #[error("the body's chunks are not as HTTP/1.1 has them")]
    Chunk,
    #[error("the peer ended in the middle of a message")]
    CutOff,
}

// === impl Malformed ===

impl Malformed {
    /// What to tell a client.
    pub fn status(self) -> StatusCode {
        match self {
            Malformed::HeadTooLarge | Malformed::TooManyHeaders => {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            Malformed::TargetTooLong => StatusCode::URI_TOO_LONG,
            Malformed::Coding => StatusCode::NOT_IMPLEMENTED,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}
