//! What etcd keeps in its file, and under which names
//! (`server/storage/schema`, `server/storage/mvcc`).
//!
//! | bucket | key | value |
//! |---|---|---|
//! | `alarm` | an `AlarmMember` | nothing |
//! | `auth` | `authEnabled`, `authRevision` | a byte; eight, big-endian |
//! | `authRoles`, `authUsers` | a name | a `Role`, a `User` |
//! | `cluster` | `clusterVersion` | text |
//! | `key` | a revision: eight bytes, `_`, eight bytes, and `t` for a deletion | a `KeyValue` |
//! | `lease` | its id, eight bytes | a `Lease` |
//! | `members`, `members_removed` | an id | JSON; a restore writes its own |
//! | `meta` | `consistent_index`, `term`, `confState`, `scheduledCompactRev`, `finishedCompactRev`, `storageVersion` | |

use bytes::Bytes;

pub(super) const ALARM: &[u8] = b"alarm";
pub(super) const AUTH: &[u8] = b"auth";
pub(super) const AUTH_ROLES: &[u8] = b"authRoles";
pub(super) const AUTH_USERS: &[u8] = b"authUsers";
pub(super) const CLUSTER: &[u8] = b"cluster";
pub(super) const KEY: &[u8] = b"key";
pub(super) const LEASE: &[u8] = b"lease";
pub(super) const MEMBERS: &[u8] = b"members";
pub(super) const MEMBERS_REMOVED: &[u8] = b"members_removed";
pub(super) const META: &[u8] = b"meta";

pub(super) const AUTH_ENABLED: &[u8] = b"authEnabled";
pub(super) const AUTH_REVISION: &[u8] = b"authRevision";
pub(super) const CLUSTER_VERSION: &[u8] = b"clusterVersion";
pub(super) const CONF_STATE: &[u8] = b"confState";
pub(super) const CONSISTENT_INDEX: &[u8] = b"consistent_index";
pub(super) const FINISHED_COMPACT: &[u8] = b"finishedCompactRev";
pub(super) const SCHEDULED_COMPACT: &[u8] = b"scheduledCompactRev";
pub(super) const STORAGE_VERSION: &[u8] = b"storageVersion";
pub(super) const TERM: &[u8] = b"term";

const SEPARATOR: u8 = b'_';
const TOMBSTONE: u8 = b't';

/// One version of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub at: At,
    pub deleted: bool,
    pub key: Bytes,
    /// A `KeyValue`, encoded; of a deletion with nothing but the key.
    pub value: Bytes,
}

/// etcd's name for a version: a revision, and which of its changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct At {
    pub main: u64,
    pub sub: u64,
}

/// A lease, as etcd keeps it (`leasepb.Lease`); seconds.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(super) struct Lease {
    #[prost(int64, tag = "1")]
    pub id: i64,
    #[prost(int64, tag = "2")]
    pub ttl: i64,
    /// Written down for long leases; zero for "all of it".
    #[prost(int64, tag = "3")]
    pub remaining_ttl: i64,
}

// === impl At ===

impl At {
    /// The key under which etcd keeps the version.
    pub(super) fn key(self, deleted: bool) -> Vec<u8> {
        let mut key = Vec::with_capacity(18);
        key.extend(self.main.to_be_bytes());
        key.push(SEPARATOR);
        key.extend(self.sub.to_be_bytes());
        if deleted {
            key.push(TOMBSTONE);
        }
        key
    }

    /// And whether it is a deletion.
    pub(super) fn of_key(key: &[u8]) -> Option<(At, bool)> {
        let (main, rest) = key.split_first_chunk()?;
        let (separator, rest) = rest.split_first()?;
        let (sub, rest) = rest.split_first_chunk()?;
        let deleted = match rest {
            [] => false,
            [TOMBSTONE] => true,
            _ => return None,
        };
        let at = At { main: u64::from_be_bytes(*main), sub: u64::from_be_bytes(*sub) };
        (*separator == SEPARATOR).then_some((at, deleted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_named_as_etcd_names_them() {
        let at = At { main: 258, sub: 3 };
        assert_eq!(at.key(false), b"\0\0\0\0\0\0\x01\x02_\0\0\0\0\0\0\0\x03");
        assert_eq!(at.key(true), b"\0\0\0\0\0\0\x01\x02_\0\0\0\0\0\0\0\x03t");
        for deleted in [true, false] {
            assert_eq!(At::of_key(&at.key(deleted)), Some((at, deleted)));
        }
        for wrong in
            [&b""[..], b"\0\0\0\0\0\0\x01\x02", b"\0\0\0\0\0\0\x01\x02_\0\0\0\0\0\0\0\x03x"]
        {
            assert_eq!(At::of_key(wrong), None);
        }
    }
}
