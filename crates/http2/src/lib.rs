//! HTTP/2 as servers and clients speak it (RFC 9113, HPACK of RFC 7541).
//!
//! Two halves. [`Connection`] is the protocol without I/O: bytes in, events
//! out; calls in, bytes out; no clock and no runtime, so that every rule and
//! every bound can be tried by a table of bytes. [`drive()`] runs one over a
//! stream as a server's, with one task: whatever one read brings is answered
//! with one write, and a call that is answered at once costs no task, no channel
//! and no lock. Whoever has streams of both kinds to move bytes between them
//! drives connections itself, as crate `hop` does.
//!
//! Why not hyper here: `docs/decisions/0006`. HTTP/1 stays with it.
//!
//! What this crate must never know: what is asked and answered.

mod code;
mod frame;
mod hpack;

mod guard;
mod head;
mod limits;

mod connection;
pub mod grpc;

mod drive;

#[doc(hidden)]
pub mod fuzz;

pub use code::{Code, Fatal};
pub use connection::{Asked, Connection, Event, Spread, StreamId};
pub use drive::{Body, Cut, Ended, Handler, Manners, drive, fields, map, request, trailers};
pub use frame::PREFACE;
pub use head::{Field, Head, Response};
pub use limits::Limits;
