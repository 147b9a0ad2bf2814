//! The merged state of one kind over all units, and its recent changes. Pure.
//!
//! Versions are decimal numbers that clients may compare: the epoch of the
//! sequencer in the high bits, a sequence in the low ones. A version of another
//! epoch says nothing here.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use kv::{KeyValue, Revision};
use topology::UnitName;

/// Low bits of a version: changes of one epoch. At a million a second they
/// last twelve days, and an epoch is never that old and that busy.
const SEQUENCE_BITS: u32 = 40;

/// Changes kept for watchers that come back. Values are shared with the state,
/// so what this costs is superseded values: a few kilobytes each.
const LOG_MAX: usize = 4096;

/// A point in one sequencer's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub epoch: u32,
    pub sequence: u64,
}

/// One object as its unit keeps it.
#[derive(Clone, Debug)]
pub struct Item {
    pub unit: UnitName,
    pub kv: KeyValue,
    /// When it last changed, in our sequence.
    pub sequence: u64,
}

#[derive(Clone, Debug)]
pub struct LogEntry {
    pub sequence: u64,
    pub before: Option<Item>,
    pub now: Option<Item>,
}

pub struct View {
    epoch: u32,
    sequence: u64,
    /// By key first, so that lists are ordered by namespace and name.
    items: BTreeMap<(Bytes, UnitName), Item>,
    log: VecDeque<LogEntry>,
}

/// Why changes since a version cannot be told.
#[derive(Debug, PartialEq, Eq)]
pub enum Gone {
    /// Another sequencer's, or too old.
    Expired,
    Ahead,
}

// === impl Version ===

impl Version {
    pub fn number(self) -> u64 {
        u64::from(self.epoch) << SEQUENCE_BITS | self.sequence
    }

    pub fn of(number: u64) -> Version {
        let epoch = u32::try_from(number >> SEQUENCE_BITS).unwrap_or(u32::MAX);
        Version { epoch, sequence: number & ((1 << SEQUENCE_BITS) - 1) }
    }
}

// === impl View ===

impl View {
    pub fn new(epoch: u32) -> View {
        // Version 0 means "anything" to clients, so nothing is numbered 0.
        View { epoch, sequence: 1, items: BTreeMap::new(), log: VecDeque::new() }
    }

    pub fn version(&self) -> Version {
        Version { epoch: self.epoch, sequence: self.sequence }
    }

    pub fn at(&self, sequence: u64) -> Version {
        Version { epoch: self.epoch, sequence }
    }

    pub fn items(&self) -> impl Iterator<Item = &Item> {
        self.items.values()
    }

    pub fn put(&mut self, unit: &UnitName, kv: KeyValue) {
        let key = (kv.key.clone(), unit.clone());
        if self.items.get(&key).is_some_and(|item| item.kv.mod_revision >= kv.mod_revision) {
            return;
        }
        let sequence = self.sequence + 1;
        let item = Item { unit: unit.clone(), kv, sequence };
        let before = self.items.insert(key, item.clone());
        self.record(before, Some(item));
    }

    pub fn delete(&mut self, unit: &UnitName, key: &Bytes, at: Revision) {
        let key = (key.clone(), unit.clone());
        if self.items.get(&key).is_none_or(|item| item.kv.mod_revision > at) {
            return;
        }
        let before = self.items.remove(&key);
        self.record(before, None);
    }

    /// The unit's objects are exactly these, whatever was known before.
    pub fn replace(&mut self, unit: &UnitName, kvs: Vec<KeyValue>, at: Revision) {
        let stay: std::collections::BTreeSet<Bytes> = kvs.iter().map(|kv| kv.key.clone()).collect();
        let gone: Vec<Bytes> = self
            .items
            .keys()
            .filter(|(key, own)| own == unit && !stay.contains(key))
            .map(|(key, _)| key.clone())
            .collect();
        for key in gone {
            self.delete(unit, &key, at);
        }
        for kv in kvs {
            self.put(unit, kv);
        }
    }

    pub fn remove_unit(&mut self, unit: &UnitName) {
        self.replace(unit, Vec::new(), Revision(u64::MAX));
    }

    /// At most `max` changes after `version`.
    pub fn since(&self, version: Version, max: usize) -> Result<Vec<LogEntry>, Gone> {
        if version.epoch != self.epoch {
            return Err(Gone::Expired);
        }
        if version.sequence > self.sequence {
            return Err(Gone::Ahead);
        }
        let oldest = self.log.front().map_or(self.sequence + 1, |entry| entry.sequence);
        if version.sequence + 1 < oldest {
            return Err(Gone::Expired);
        }
        let skip = usize::try_from(version.sequence + 1 - oldest).unwrap_or(usize::MAX);
        Ok(self.log.iter().skip(skip).take(max).cloned().collect())
    }

    fn record(&mut self, before: Option<Item>, now: Option<Item>) {
        self.sequence += 1;
        if self.log.len() == LOG_MAX {
            self.log.pop_front();
        }
        self.log.push_back(LogEntry { sequence: self.sequence, before, now });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kv(key: &str, revision: u64) -> KeyValue {
        KeyValue {
            key: Bytes::from(key.to_owned()),
            value: Bytes::from_static(b"{}"),
            create_revision: Revision(revision),
            mod_revision: Revision(revision),
            version: 1,
            lease: None,
        }
    }

    fn unit(name: &str) -> UnitName {
        name.parse().expect("a unit name")
    }

    fn shown(entries: &[LogEntry]) -> Vec<String> {
        let item = |item: &Option<Item>| {
            item.as_ref().map_or("-".into(), |item| {
                format!("{}@{}", String::from_utf8_lossy(&item.kv.key), item.unit)
            })
        };
        entries.iter().map(|e| format!("{} > {}", item(&e.before), item(&e.now))).collect()
    }

    #[test]
    fn a_relist_tells_only_what_differs() {
        let (a, b) = (unit("a"), unit("b"));
        let mut view = View::new(3);
        view.replace(&a, vec![kv("p", 5), kv("q", 6)], Revision(6));
        view.put(&b, kv("p", 9));
        let start = view.version();
        view.replace(&a, vec![kv("q", 6), kv("r", 8)], Revision(8));
        let entries = view.since(start, 10).expect("kept");
        assert_eq!(shown(&entries), ["p@a > -", "- > r@a"]);
        let left: Vec<_> = view.items().map(|item| item.unit.to_string()).collect();
        assert_eq!(left, ["b", "a", "a"]);
        view.remove_unit(&a);
        assert_eq!(view.items().count(), 1);
    }

    #[test]
    fn late_news_of_a_unit_changes_nothing() {
        let a = unit("a");
        let mut view = View::new(1);
        view.put(&a, kv("p", 5));
        let version = view.version();
        view.put(&a, kv("p", 5));
        view.put(&a, kv("p", 4));
        view.delete(&a, &Bytes::from_static(b"p"), Revision(3));
        view.delete(&a, &Bytes::from_static(b"other"), Revision(9));
        assert_eq!(view.version(), version);
    }

    #[test]
    fn versions_are_comparable_numbers_and_die_with_their_sequencer() {
        let mut view = View::new(7);
        let start = view.version();
        for revision in 1..=(LOG_MAX as u64 + 1) {
            view.put(&unit("a"), kv("p", revision));
        }
        assert!(view.version().number() > start.number());
        assert_eq!(Version::of(view.version().number()), view.version());
        assert_eq!(view.since(start, 1).expect_err("too old"), Gone::Expired);
        let other = Version { epoch: 8, sequence: 1 };
        assert_eq!(view.since(other, 1).expect_err("another epoch"), Gone::Expired);
        let ahead = view.at(u64::from(u32::MAX));
        assert_eq!(view.since(ahead, 1).expect_err("ahead"), Gone::Ahead);
        assert!(view.since(view.version(), 1).expect("now").is_empty());
    }
}
