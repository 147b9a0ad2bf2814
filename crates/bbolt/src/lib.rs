//! Files in the format of bbolt, the database under etcd: read, and written
//! in one go.
//!
//! A file is pages of one size. Pages 0 and 1 are two copies of the [`meta`],
//! of which the newer whole one counts; it names the page at which the tree of
//! buckets begins. A [`page`] of a tree is a branch (keys and pages below) or a
//! leaf (keys and values); one that needs more room goes on in the pages behind
//! it. A bucket is a value of the tree above: the page where its own tree
//! begins or, for a small one, that page itself.
//!
//! Reading takes one page at a time and believes nothing: damage is an error
//! that names the page. Writing takes keys in order and keeps one page for each
//! level of the tree. Neither maps files, locks them, or changes one in place.
//!
//! What this crate must never know: what anyone keeps in such a file.

#![forbid(unsafe_code)]

mod error;
mod meta;
mod page;
mod read;
mod source;
mod write;

pub use error::Error;
pub use read::{Bolt, Bucket, Cursor, Item};
pub use source::Source;
pub use write::{BucketWriter, Writer};

/// Longest key that bbolt takes (`MaxKeySize`).
pub const KEY_BYTES_MAX: usize = 32768;
/// Longest value that bbolt takes (`MaxValueSize`).
pub const VALUE_BYTES_MAX: usize = (1 << 31) - 2;
