//! Ranges of keys and how to read them.

use bytes::Bytes;

use crate::{LeaseId, Revision, Value};

/// A half-open range of keys in byte order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum KeyRange {
    /// One key. Never empty.
    Key(Bytes),
    /// `from <= key < to`. Empty when `to <= from`.
    Span { from: Bytes, to: Bytes },
    /// Every key `>= from`; `from` empty means all keys.
    From(Bytes),
}

/// A key with what etcd remembers about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    pub key: Bytes,
    /// Empty when only keys were asked for, and in delete events.
    pub value: Value,
    pub create_revision: Revision,
    pub mod_revision: Revision,
    /// Writes since creation; 1 for a new key.
    pub version: u64,
    pub lease: Option<LeaseId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortTarget {
    Key,
    Version,
    Create,
    Mod,
    Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortOrder {
    Ascending,
    Descending,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sort {
    pub target: SortTarget,
    pub order: SortOrder,
}

/// Inclusive bounds on the revisions of the keys returned; `None` is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RevisionBounds {
    pub min_mod: Option<Revision>,
    pub max_mod: Option<Revision>,
    pub min_create: Option<Revision>,
    pub max_create: Option<Revision>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeRequest {
    pub range: KeyRange,
    /// Read as of this revision; `None` reads the newest.
    pub revision: Option<Revision>,
    /// At most this many keys; `None` is all of them.
    pub limit: Option<usize>,
    /// `None` returns keys in ascending byte order.
    pub sort: Option<Sort>,
    pub keys_only: bool,
    pub count_only: bool,
    /// Allow an answer from a replica that may lag.
    pub serializable: bool,
    pub bounds: RevisionBounds,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeResponse {
    /// Where the keyspace stood when this was read (not the revision asked for).
    pub revision: Revision,
    pub kvs: Vec<KeyValue>,
    /// Keys were left out because of `limit`.
    pub more: bool,
    /// Keys in the range, whatever `limit` and `bounds` left out.
    pub count: usize,
}

// === impl KeyRange ===

impl KeyRange {
    /// Every key that starts with `prefix`; the empty prefix is every key.
    #[must_use]
    pub fn prefix(prefix: impl Into<Bytes>) -> KeyRange {
        let from = prefix.into();
        match prefix_end(&from) {
            Some(to) => KeyRange::Span { from, to },
            None => KeyRange::From(from),
        }
    }

    #[must_use]
    pub fn key(key: impl Into<Bytes>) -> KeyRange {
        KeyRange::Key(key.into())
    }

    /// The lowest key that could be inside.
    #[must_use]
    pub fn start(&self) -> &Bytes {
        match self {
            KeyRange::Key(key) => key,
            KeyRange::Span { from, .. } | KeyRange::From(from) => from,
        }
    }

    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        match self {
            KeyRange::Key(only) => only == key,
            KeyRange::Span { from, to } => from <= key && key < &to[..],
            KeyRange::From(from) => from <= key,
        }
    }
}

/// The first key after every key that starts with `prefix`; none when the
/// prefix is all `0xff`, or empty.
fn prefix_end(prefix: &[u8]) -> Option<Bytes> {
    let last = prefix.iter().rposition(|byte| *byte < 0xff)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end.into())
}

// === impl RangeRequest ===

impl RangeRequest {
    /// The newest state of `range`, whole, in key order.
    #[must_use]
    pub fn new(range: KeyRange) -> RangeRequest {
        RangeRequest {
            range,
            revision: None,
            limit: None,
            sort: None,
            keys_only: false,
            count_only: false,
            serializable: false,
            bounds: RevisionBounds::default(),
        }
    }

    #[must_use]
    pub fn at(self, revision: Revision) -> RangeRequest {
        RangeRequest { revision: Some(revision), ..self }
    }

    #[must_use]
    pub fn limit(self, limit: usize) -> RangeRequest {
        RangeRequest { limit: Some(limit), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_holds_its_keys_and_no_other() {
        let users = KeyRange::prefix("u/");
        assert!(users.contains(b"u/") && users.contains(b"u/\xff\xff"));
        assert!(!users.contains(b"u") && !users.contains(b"u0"));
        assert_eq!(KeyRange::prefix(vec![0xff, 0xff]), KeyRange::From(vec![0xff, 0xff].into()));
        assert!(KeyRange::prefix("").contains(b"anything"));
    }
}
