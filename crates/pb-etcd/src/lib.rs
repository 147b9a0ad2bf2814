//! etcd's wire types, generated from `gen/proto/etcd` and committed, so that
//! nobody needs a protobuf compiler to build Polis.
//!
//! What this crate must never know: what the messages mean. The conversions to
//! the words of `kv` are in `kv-etcd`.

#[allow(clippy::all, missing_docs)]
#[rustfmt::skip]
pub mod authpb;

#[allow(clippy::all, missing_docs)]
#[rustfmt::skip]
pub mod mvccpb;

#[allow(clippy::all, missing_docs)]
#[rustfmt::skip]
pub mod etcdserverpb;

#[allow(clippy::all, missing_docs)]
#[rustfmt::skip]
pub mod v3lockpb;

#[allow(clippy::all, missing_docs)]
#[rustfmt::skip]
pub mod v3electionpb;

#[allow(clippy::all, missing_docs)]
#[rustfmt::skip]
pub mod health;

/// A `FileDescriptorSet` of all these packages, for those who translate them
/// by name.
pub const DESCRIPTORS: &[u8] = include_bytes!("descriptors.bin");
