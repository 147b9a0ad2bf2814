//! [`kv`] over etcd's gRPC interface.
//!
//! Two halves. The conversions (`range`, `txn`, `watch`, `status`) translate
//! between the words of `kv` and the wire in both directions and check what
//! comes in; the store serves with them and the client asks with them. The
//! [`Client`] speaks to a Polis store, or to any etcd, over one connection that
//! all its keyspaces share.
//!
//! What this crate must never know: how a store keeps or orders anything.

pub mod client;
pub mod connect;
pub mod encode;
mod handle;
pub mod range;
pub mod status;
pub mod txn;
pub mod watch;

pub use client::{Client, Config};
pub use handle::Keyspace;

/// The gRPC metadata entry that names the keyspace; absent means
/// [`kv::KeyspaceName::DEFAULT`].
pub const KEYSPACE_METADATA: &str = "polis-keyspace";

/// In the metadata of a LeaseGrant: how much is left of a lease that lives
/// elsewhere, in milliseconds. Such a lease may exist already. etcd does not
/// look at it.
pub const LEASE_REMAINING_METADATA: &str = "polis-lease-remaining-ms";

/// Numbers on the wire are `int64`, ours count up from zero and stay far below
/// the limit; saturating is for what a broken peer sends.
pub fn to_i64(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}
