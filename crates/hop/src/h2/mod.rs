//! HTTP/2, to clients and to endpoints, on the engine of crate `http2`.
//!
//! One task drives a connection: it reads, and writes what has gathered. A
//! stream belongs to whoever relays it, in a task of its own, which says its
//! part straight into the connection's output and finds what has come in the
//! stream's [mail](stream::Stream). All of it is on one thread, so that a call
//! from a client to an endpoint crosses two cells, and no channel and no lock.

mod client;
mod head;
mod server;
mod stream;
mod wire;

pub use client::{Sender, start};
pub(crate) use server::serve;
pub use stream::{Held, Stream};
pub use wire::Ended;
