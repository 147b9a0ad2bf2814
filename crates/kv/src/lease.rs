//! Leases: keys that go when their owner stops saying it lives.

use std::{fmt, time::Duration};

use bytes::Bytes;

/// Chosen by the client or, when it asks with zero, by the store. Positive on
/// the wire (`int64`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub i64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseGranted {
    pub id: LeaseId,
    /// What was granted; never shorter than what was asked for.
    pub ttl: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseInfo {
    pub id: LeaseId,
    pub granted: Duration,
    pub remaining: Duration,
    /// Sorted; empty unless asked for.
    pub keys: Vec<Bytes>,
}

impl fmt::Display for LeaseId {
    /// Sixteen hexadecimal digits, as etcdctl prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
