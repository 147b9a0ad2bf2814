//! Durable logs under the keyspaces.
//!
//! An [`Engine`] keeps, for each keyspace, a base and the log after it, and
//! lets exactly one writer at a time add to that log. Kinds: [`Embedded`] on
//! local disk, [`Sql`] in a database that processes share, [`Memory`] for
//! tests. What this crate must never know: what a
//! transaction means, gRPC, who leads.

mod checksum;
mod embedded;
mod engine;
mod error;
mod memory;
mod metrics;
mod scan;
mod shared;
pub mod sql;
mod stored;

#[doc(hidden)]
pub use embedded::fuzz;
pub use embedded::{Embedded, EmbeddedConfig};
pub use engine::{Batch, Engine, Epoch, Loaded, Outcome, Raised, Seq};
pub use error::{Error, Storage};
pub use memory::{Fault, Held, Memory};
pub use metrics::{Metrics, SYNC_SECONDS_BOUNDS};
pub use scan::{Piece, Scan, ScanHead};
pub use shared::{Board, Head, Replica, ReplicaId, Shared, Tail, Tailed};
pub use sql::{Sql, SqlConfig};
