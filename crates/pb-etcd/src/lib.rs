//! etcd's wire types, generated from `gen/proto/etcd` and committed, so that
//! nobody needs a protobuf compiler to build Polis.
//!
//! What this crate must never know: what the messages mean. The conversions to
//! the words of `kv` are in `kv-etcd`.

#[allow(clippy::all, missing_docs)]
#[rustfmt::skip]
pub mod mvccpb;

#[allow(clippy::all, missing_docs)]
#[rustfmt::skip]
pub mod etcdserverpb;
