//! What is remembered of a key to compare it later: 32 bytes, and no name.

use std::hash::{DefaultHasher, Hash, Hasher};

use keyspace::{Handle, Row};
use kv::{KeyValue, LeaseId, Revision};

/// One key at its last change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trace {
    key: u64,
    /// Revisions, version and lease.
    state: u64,
    value: u64,
    /// To say something of a key whose name is not known.
    changed: Revision,
}

/// Those that were not found yet.
#[derive(Debug, Default)]
pub(super) struct Traces {
    all: Vec<Trace>,
    taken: Vec<bool>,
}

// === impl Trace ===

impl Trace {
    pub fn of_row(row: &Row) -> Trace {
        let Row { key, value, create_revision, mod_revision, version, lease, sub: _ } = row;
        let value = match value {
            Handle::Inline(value) => hash(value),
            Handle::At(_) => 0,
        };
        Trace {
            key: hash(key),
            state: state(*create_revision, *mod_revision, *version, *lease),
            value,
            changed: *mod_revision,
        }
    }

    pub fn of_key(kv: &KeyValue) -> Trace {
        Trace {
            key: hash(&kv.key),
            state: state(kv.create_revision, kv.mod_revision, kv.version, kv.lease),
            value: hash(&kv.value),
            changed: kv.mod_revision,
        }
    }
}

// === impl Traces ===

impl Traces {
    pub fn add(&mut self, trace: Trace) {
        self.all.push(trace);
    }

    /// Once all are in.
    pub fn sort(&mut self) {
        self.all.sort_unstable_by_key(|trace| trace.key);
        self.taken = vec![false; self.all.len()];
    }

    /// Whether it was expected, and not found before. Its value counts unless
    /// it was not at hand.
    pub fn take(&mut self, found: &Trace, without_value: bool) -> bool {
        let from = self.all.partition_point(|trace| trace.key < found.key);
        let same = self.all[from..].iter().take_while(|trace| trace.key == found.key);
        for (at, trace) in (from..).zip(same) {
            let is_it = trace.state == found.state && (without_value || trace.value == found.value);
            if is_it && !self.taken[at] {
                self.taken[at] = true;
                return true;
            }
        }
        false
    }

    /// When those were changed that nobody found.
    pub fn left(&self) -> impl Iterator<Item = Revision> {
        let left = self.all.iter().zip(&self.taken).filter(|(_, taken)| !**taken);
        left.map(|(trace, _)| trace.changed)
    }
}

fn state(create: Revision, changed: Revision, version: u64, lease: Option<LeaseId>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (create, changed, version, lease.map_or(0, |lease| lease.0)).hash(&mut hasher);
    hasher.finish()
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kv(key: &'static str, value: &'static str, version: u64) -> KeyValue {
        KeyValue {
            key: key.into(),
            value: value.into(),
            create_revision: Revision(2),
            mod_revision: Revision(1 + version),
            version,
            lease: None,
        }
    }

    #[test]
    fn a_key_is_found_once_and_only_as_it_is() {
        let mut traces = Traces::default();
        for key in ["a", "b", "c"] {
            traces.add(Trace::of_key(&kv(key, "v", 3)));
        }
        traces.sort();
        assert!(traces.take(&Trace::of_key(&kv("b", "v", 3)), false));
        assert!(!traces.take(&Trace::of_key(&kv("b", "v", 3)), false), "twice");
        assert!(!traces.take(&Trace::of_key(&kv("a", "w", 3)), false), "another value");
        assert!(traces.take(&Trace::of_key(&kv("a", "", 3)), true), "its value is elsewhere");
        assert!(!traces.take(&Trace::of_key(&kv("c", "v", 2)), true), "another version");
        assert!(!traces.take(&Trace::of_key(&kv("d", "v", 3)), true), "nobody knows it");
        assert_eq!(traces.left().collect::<Vec<_>>(), [Revision(4)]);
    }
}
