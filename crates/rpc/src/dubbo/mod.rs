//! Dubbo 2: frames, calls, and answers of our own.
//!
//! Source: Dubbo 3.3 (`ExchangeCodec.java`, `DubboCodec.java`). A frame is a head
//! of 16 bytes and a body; the body of a call is Hessian: five strings, the
//! arguments, and a map of attachments, in which most of what routes a call is.
//!
//! Dubbo's own decoder searches for the next magic number in what is no frame,
//! and takes the rest as commands of telnet; here both end the connection.

mod call;
mod frame;
mod status;

pub use call::Call;
pub use frame::{Frame, Head, next};
pub use status::Status;

/// Largest body that is taken unless told otherwise: Dubbo's own default is
/// 8 MiB, and who raised it has a reason to raise this too.
pub const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;

pub const MAGIC: [u8; 2] = [0xda, 0xbb];
pub const HEAD_BYTES: usize = 16;
/// The serialization that is understood.
pub const HESSIAN: u8 = 2;

/// The attachment in which a caller says how many milliseconds it waits, where
/// its `enable-timeout-countdown` is on (`RpcUtils.java`, `ContextFilter.java`).
pub const TIMEOUT: &str = "_TO";
/// The same in clients of Dubbo 2.6; no provider heeds it.
pub const TIMEOUT_OLD: &str = "timeout";

/// Why a connection cannot go on, or a call is not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("no frame begins here")]
    NoMagic,
    #[error("a body of {bytes} bytes; {max} are allowed")]
    TooLarge { bytes: u32, max: usize },
    #[error("serialization {0} is not Hessian")]
    NotHessian(u8),
    #[error("it is no call")]
    NotACall,
    #[error("the types of parameters are not as Java writes them")]
    BadParameters,
    #[error(transparent)]
    Hessian(#[from] crate::hessian::Error),
}
