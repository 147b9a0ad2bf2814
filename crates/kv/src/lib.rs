//! The words by which roles use a store, in process or over the wire.
//!
//! [`Kv`] is etcd's key-value, watch and lease surface as Rust types. The rules
//! (`keyspace`) speak the same types, so nothing is translated between a
//! caller in this process and the index. What this crate must never know:
//! protobuf, sockets, where the bytes are kept.
//!
//! Semantics are etcd v3's (etcd documentation, "API guarantees" and
//! `rpc.proto`); shapes and limits are stated on each type.

mod auth;
mod error;
mod kv;
mod lease;
mod memory;
mod name;
mod range;
mod revision;
mod txn;
mod watch;

pub use auth::AuthError;
pub use error::Error;
pub use kv::Kv;
pub use lease::{LeaseGranted, LeaseId, LeaseInfo};
pub use memory::Value;
pub use name::KeyspaceName;
pub use range::{
    KeyRange, KeyValue, RangeRequest, RangeResponse, RevisionBounds, Sort, SortOrder, SortTarget,
};
pub use revision::Revision;
pub use txn::{
    Compare, CompareOp, CompareTarget, DeleteRequest, DeleteResponse, Op, OpResponse, PutRequest,
    PutResponse, Txn, TxnResponse,
};
pub use watch::{Event, EventKind, WatchBatch, WatchFilter, WatchItem, WatchRequest, WatchStream};
