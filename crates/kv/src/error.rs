//! What a store may answer instead of a result.
//!
//! Texts are etcd's own (`api/v3rpc/rpctypes/error.go`): clients match on them.

use crate::{AuthError, Revision};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("etcdserver: key is not provided")]
    EmptyKey,
    #[error("etcdserver: value is provided")]
    ValueProvided,
    #[error("etcdserver: lease is provided")]
    LeaseProvided,
    #[error("etcdserver: key not found")]
    KeyNotFound,
    #[error("etcdserver: too many operations in txn request")]
    TooManyOps,
    #[error("etcdserver: duplicate key given in txn request")]
    DuplicateKey,
    #[error("etcdserver: request is too large")]
    RequestTooLarge,
    #[error("etcdserver: invalid range end")]
    InvalidRangeEnd,
    #[error("etcdserver: invalid sort option")]
    InvalidSortOption,
    #[error("etcdserver: mvcc: required revision has been compacted")]
    Compacted {
        /// The oldest revision that can still be read; zero when not known.
        compacted: Revision,
    },
    #[error("etcdserver: mvcc: required revision is a future revision")]
    FutureRevision,
    #[error("etcdserver: requested lease not found")]
    LeaseNotFound,
    #[error("etcdserver: lease already exists")]
    LeaseExists,
    #[error("etcdserver: too large lease TTL")]
    LeaseTtlTooLarge,
    #[error("etcdserver: too many requests")]
    TooManyRequests,
    #[error("etcdserver: mvcc: database space exceeded")]
    NoSpace,
    /// The keyspace's name is not one: 1 to 63 of `a-z0-9-`, starting and
    /// ending with a letter or digit.
    #[error("polis: invalid keyspace name {0:?}")]
    InvalidKeyspace(String),
    #[error("etcdserver: permission denied")]
    PermissionDenied,
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The request was refused before anything was done: it is not applied.
    #[error("etcdserver: no leader")]
    NotLeader,
    /// The outcome is not known: it may or may not have been applied.
    #[error("etcdserver: request timed out")]
    Unknown(String),
    /// The store could not be reached, and the request was not sent.
    #[error("polis: store unreachable: {0}")]
    Unreachable(String),
    /// Stored data failed its check: nothing of it was served.
    #[error("etcdserver: corrupt cluster")]
    Corrupt,
    /// Anything else the other side said, as it said it.
    #[error("{0}")]
    Other(String),
}

// === impl Error ===

impl Error {
    /// A write that got this answer certainly did not happen.
    #[must_use]
    pub fn is_definite(&self) -> bool {
        !matches!(self, Error::Unknown(_) | Error::Other(_) | Error::Corrupt)
    }
}
