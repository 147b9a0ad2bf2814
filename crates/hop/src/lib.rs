//! HTTP of a hop: one side asks us, we ask the other, in HTTP/1.1 and HTTP/2.
//!
//! A [`Handler`] gets requests as they come and says its [`Reply`]; a [`Call`]
//! asks an endpoint. Bodies are pieces between a [`Source`] and a [`Sink`] of
//! either version, moved by one [`Pump`]. All of a connection is on one thread:
//! the client's task itself writes to the endpoint's socket and reads from it.
//! Why not hyper: `docs/decisions/0009`.
//!
//! Reading order: [`serve()`] is what one is asked for, [`Reply`] and [`Call`]
//! are the two sides, `flow` is between them, `h1` and `h2` are the wires, on
//! the [`Io`] of a connection.
//!
//! What this crate must never know: where a request goes, and why.

mod serve;

mod call;
mod reply;

mod flow;
mod patience;

pub mod h1;
mod h2;

mod io;
mod transport;

pub use call::{Answer, Call, Outgoing, Rest, Unsent, Waiting};
pub use flow::{Body, Broken, Cut, Piece, Pump, Sink, Source};
pub use h1::{Bounds, Malformed};
pub use h2::{Ended, Sender, start};
pub use io::Io;
pub use patience::End;
pub use reply::{Own, Reply};
pub use serve::{After, Handler, Limits, Request, Unread, serve};
pub use transport::Stream;
