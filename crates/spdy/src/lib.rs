//! SPDY/3.1 frames, as Kubernetes' clients carry streams in one connection:
//! `kubectl port-forward` (inside a WebSocket or bare) and the older `exec`.
//!
//! Only what these speak. Flow control is theirs alone: Kubernetes' own library
//! neither sends nor obeys WINDOW_UPDATE and leaves pushing back to TCP, so
//! frames about windows, priorities and settings are read and left unused.
//!
//! Reading order: [`Frame`] is what is said, [`Decoder`] reads it from bytes as
//! they come, [`Encoder`] writes it; `block` packs headers.
//!
//! What this crate must never know: sockets, tasks, what streams carry.

mod block;
mod decode;
mod dictionary;
mod encode;
mod frame;
pub mod fuzz;

pub use decode::{Decoder, Error};
pub use encode::Encoder;
pub use frame::{Frame, Headers, RESET_CANCEL, RESET_PROTOCOL_ERROR, RESET_REFUSED, StreamId};
