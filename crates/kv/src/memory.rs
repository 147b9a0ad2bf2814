//! Bytes of a value: cheap to clone, never copied between layers.

/// A value, at most [`crate::Txn::REQUEST_BYTES_MAX`] long.
pub type Value = bytes::Bytes;
