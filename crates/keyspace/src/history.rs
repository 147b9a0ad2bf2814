//! The versions of one key since the last compaction, oldest first.

use bytes::Bytes;
use kv::{KeyValue, Revision};

use crate::{
    older::{Bound, Older},
    value::{Handle, Resolve},
};

/// A shorter value costs as much to fetch, and little to keep.
const EVICTED_BYTES_MIN: usize = 64;

/// A key's state from `mod_revision` until the next version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    pub mod_revision: Revision,
    /// Zero for a deletion.
    pub create_revision: Revision,
    /// Zero for a deletion.
    pub version: u64,
    pub lease: Bound,
    pub value: Handle,
}

/// Never empty. The newest version is held in place, because most keys have
/// no other and then need no second allocation.
#[derive(Clone, Debug)]
pub(crate) struct History {
    older: Older,
    newest: Version,
}

// === impl Version ===

impl Version {
    pub(crate) fn deleted(at: Revision) -> Version {
        Version {
            mod_revision: at,
            create_revision: Revision::ZERO,
            version: 0,
            lease: Bound::default(),
            value: Handle::Inline(Bytes::new()),
        }
    }

    pub(crate) fn is_deletion(&self) -> bool {
        self.version == 0
    }

    pub(crate) fn key_value(&self, key: &Bytes, values: &impl Resolve) -> KeyValue {
        KeyValue { value: values.resolve(key, &self.value), ..self.key_only(key) }
    }

    pub(crate) fn key_only(&self, key: &Bytes) -> KeyValue {
        KeyValue {
            key: key.clone(),
            value: Bytes::new(),
            create_revision: self.create_revision,
            mod_revision: self.mod_revision,
            version: self.version,
            lease: self.lease.lease(),
        }
    }
}

// === impl History ===

impl History {
    pub(crate) fn new(first: Version) -> History {
        History { older: Older::default(), newest: first }
    }

    pub(crate) fn push(&mut self, version: Version) {
        assert!(version.mod_revision >= self.newest.mod_revision, "history runs forward");
        let previous = std::mem::replace(&mut self.newest, version);
        self.older.push(previous);
    }

    pub(crate) fn newest(&self) -> &Version {
        &self.newest
    }

    /// The key's state at `revision`, if it existed then.
    pub(crate) fn live_at(&self, revision: Revision) -> Option<&Version> {
        self.at(revision).filter(|version| !version.is_deletion())
    }

    fn at(&self, revision: Revision) -> Option<&Version> {
        if self.newest.mod_revision <= revision {
            return Some(&self.newest);
        }
        let older = self.older.as_slice();
        let after = older.partition_point(|version| version.mod_revision <= revision);
        older[..after].last()
    }

    /// The put (or the deletion) that `revision` made. One transaction may
    /// put a key and then delete it, so there can be one of each.
    pub(crate) fn written_at(&self, revision: Revision, deletion: bool) -> Option<&Version> {
        let hit = |version: &&Version| {
            version.mod_revision == revision && version.is_deletion() == deletion
        };
        let older = self.older.as_slice();
        let start = older.partition_point(|version| version.mod_revision < revision);
        older[start..]
            .iter()
            .take_while(|version| version.mod_revision == revision)
            .chain([&self.newest])
            .find(hit)
    }

    /// As [`Self::written_at`] for a put, to move its value.
    pub(crate) fn put_at_mut(&mut self, revision: Revision) -> Option<&mut Version> {
        let older = self.older.as_mut_slice();
        let start = older.partition_point(|version| version.mod_revision < revision);
        older[start..]
            .iter_mut()
            .chain([&mut self.newest])
            .find(|version| version.mod_revision == revision && !version.is_deletion())
    }

    /// Lets the values of `durable` and older versions leave memory where that
    /// saves something. Returns the bytes saved.
    pub(crate) fn evict(&mut self, durable: Revision) -> usize {
        let mut saved = 0;
        for version in self.older.as_mut_slice().iter_mut().chain([&mut self.newest]) {
            let bytes = version.value.inline_bytes();
            if version.mod_revision <= durable && bytes >= EVICTED_BYTES_MIN {
                version.value = Handle::At(version.mod_revision);
                saved += bytes;
            }
        }
        saved
    }

    pub(crate) fn inline_bytes(&self) -> usize {
        let older = self.older.as_slice().iter();
        let older: usize = older.map(|version| version.value.inline_bytes()).sum();
        older + self.newest.value.inline_bytes()
    }

    /// Forgets what cannot be read at `floor` or later. Says whether anything
    /// is left.
    pub(crate) fn trim(&mut self, floor: Revision) -> bool {
        if self.newest.mod_revision < floor {
            self.older = Older::default();
            return !self.newest.is_deletion();
        }
        let older = self.older.as_slice();
        let at_floor = older.partition_point(|version| version.mod_revision < floor);
        // The last version below the floor is what is read at the floor,
        // unless the floor's own revision replaced it.
        let replaced = older.get(at_floor).unwrap_or(&self.newest).mod_revision == floor;
        let keep_from = match at_floor.checked_sub(1) {
            Some(below) if !replaced && !older[below].is_deletion() => below,
            _ => at_floor,
        };
        self.older.forget(keep_from);
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn version(at: u64, deleted: bool) -> Version {
        let version = Version::deleted(Revision(at));
        Version { version: u64::from(!deleted), ..version }
    }

    fn history(versions: &[(u64, bool)]) -> History {
        let mut versions = versions.iter().map(|(at, deleted)| version(*at, *deleted));
        let mut history = History::new(versions.next().expect("not empty"));
        versions.for_each(|version| history.push(version));
        history
    }

    proptest! {
        #[test]
        fn trimming_keeps_what_can_be_read_and_nothing_else(
            steps in prop::collection::vec((1u64..3, any::<bool>()), 1..8),
            floor in 1u64..16,
        ) {
            let mut at = 0;
            let mut versions = Vec::new();
            for (step, deleted) in steps {
                at += step;
                versions.push((at, deleted));
            }
            let whole = history(&versions);
            let mut trimmed = whole.clone();
            let is_left = trimmed.trim(Revision(floor));
            let before = versions.iter().rposition(|(at, _)| *at <= floor);
            let first = match before {
                // What is read at the floor; a deletion only if it happened there.
                Some(i) if !versions[i].1 || versions[i].0 == floor => i,
                Some(i) => i + 1,
                None => 0,
            };
            prop_assert_eq!(is_left, first < versions.len());
            if is_left {
                prop_assert_eq!(trimmed.older.as_slice().len() + 1, versions.len() - first);
                for revision in (floor..20).map(Revision) {
                    prop_assert_eq!(trimmed.live_at(revision), whole.live_at(revision));
                    for deleted in [true, false] {
                        prop_assert_eq!(
                            trimmed.written_at(revision, deleted),
                            whole.written_at(revision, deleted)
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn one_revision_can_hold_a_put_and_its_deletion() {
        let both = history(&[(2, false), (5, false), (5, true)]);
        assert_eq!(both.live_at(Revision(5)), None);
        assert!(both.written_at(Revision(5), false).is_some());
        assert!(both.written_at(Revision(5), true).is_some());
        assert_eq!(both.live_at(Revision(4)).map(|v| v.mod_revision), Some(Revision(2)));
    }
}
