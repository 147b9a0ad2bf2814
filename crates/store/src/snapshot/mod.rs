//! A keyspace as a file that etcd knows, out and in.
//!
//! etcd keeps everything in one bbolt file and hands it out whole as its
//! snapshot ([`layout`] says what is in it). Ours is made from a scan of the
//! durable log: the scan stands still while writes go on, what it finds is
//! spooled to disk and sorted there by revision ([`spool`], [`history`]), and
//! the file is written from that in one go ([`write`]). So a snapshot costs
//! disk and no memory to speak of. The other way, a file is read entry by entry
//! ([`read`]) and goes into a fresh log as a base and the history after it
//! ([`restore`]): keys keep their revisions, versions and leases.
//!
//! HashKV reads the same history, so that it and a restored etcd's agree.

mod gathering;
mod hash;
mod history;
mod layout;
mod read;
mod restore;
mod scratch;
mod spool;
mod users;
mod write;

pub use read::{Snapshot, SnapshotError};
pub use restore::{RestoreError, Restored, restore, restore_database, restore_into};

pub(crate) use gathering::Gathering;
pub(crate) use hash::hash_kv;
pub(crate) use history::{History, HistoryError};
pub(crate) use scratch::Scratch;
pub(crate) use write::{SnapshotHead, WriteError, write};
