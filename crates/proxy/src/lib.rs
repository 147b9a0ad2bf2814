//! The edge: user traffic in, each request to the unit that owns its shard.
//!
//! Reading order: a [`key`] is taken from the request, the [`table`] says where
//! the shard lives, [`relay`] lets the request in, [`exchange`] tries and waits
//! until there is an answer, [`attempt`] is one try, [`hold`] is where waiting
//! happens, [`pool`] where connections are. A [`worker`] is one thread of all that; [`source`] watches the API beside them, on the
//! thread that also answers operators ([`admin`]), so that neither drowns.
//!
//! What this crate must never know: what a payment is, or how shards come to
//! move. It believes the map, and the fence over the map.

mod admin;
mod attempt;
mod body;
mod config;
mod connection;
mod edge;
mod exchange;
pub mod fuzz;
mod headers;
mod hold;
mod key;
mod metrics;
mod pool;
mod refusal;
mod relay;
mod snapshot;
mod source;
mod table;
mod transport;
mod worker;

pub use config::{Config, Limits, Place, Source, Upstream};
pub use edge::{Edge, Error};
pub use hold::{Full, Hold, HoldLimits, Ticket};
pub use table::{Route, Table, Target, View, Wait};
