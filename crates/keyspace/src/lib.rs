//! The rules of one keyspace: etcd v3's multi-version map, as a value.
//!
//! A [`Keyspace`] holds an ordered index of keys with their history since the
//! last compaction, the leases, and which keys each revision changed. Every
//! change is applied at once and described by [`Record`]s; a caller makes those
//! durable before it lets anyone see the change. Three rules connect the two:
//!
//! - Reads and watches name the newest revision they may see (`visible`).
//!   Because history is kept, a newer tail that is not durable yet is in the
//!   index and yet out of sight.
//! - When the log refuses or loses a batch, the caller drops the whole value
//!   and builds another with [`Keyspace::load`]; nothing is ever undone here.
//! - Large values may live outside ([`Place`]). `needs` names what a request
//!   will read, the caller fetches it, and then the request runs in one go.
//!
//! What this crate must never know: tokio, clocks, files, protobuf.

#![forbid(unsafe_code)]

pub mod auth;
mod base;
mod check;
mod checkpoint;
mod codec;
mod history;
mod index;
mod keyspace;
mod lease;
mod load;
mod log;
mod note;
mod older;
mod range;
mod record;
mod txn;
mod value;
mod watch;

pub use base::{Base, Fold, LeaseRow, NoteRow, Row};
pub use check::KEY_BYTES_MAX;
pub use checkpoint::{LEASE_CHECKPOINT_EVERY, LEASE_CHECKPOINTS_AT_ONCE_MAX};
pub use codec::{DecodeError, FORMAT_VERSION};
pub use keyspace::{Applied, Config, Keyspace};
pub use lease::{LEASE_TTL_MAX, LEASES_EXPIRED_AT_ONCE_MAX};
pub use load::{LoadError, Loader};
pub use note::NOTE_NAME_BYTES_MAX;
pub use record::{Change, Record};
pub use value::{Handle, Place, Values};
pub use watch::Watch;
