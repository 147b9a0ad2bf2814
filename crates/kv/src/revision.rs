//! A point in the history of one keyspace.

use std::fmt;

/// Number of a committed transaction; the empty keyspace is at 1 and each
/// transaction with an effective write adds exactly 1. On the wire an `int64`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

// === impl Revision ===

impl Revision {
    /// What etcd writes for "no revision asked for" and "never written".
    pub const ZERO: Revision = Revision(0);
    /// Where an empty keyspace stands.
    pub const FIRST: Revision = Revision(1);

    #[must_use]
    pub fn next(self) -> Revision {
        Revision(self.0 + 1)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
