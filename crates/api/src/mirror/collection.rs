//! One kind's objects, and its last changes.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use kv::KeyValue;
use tokio::sync::watch;

/// Changes kept for watches that come back. With [`LOG_BYTES_MAX`] it bounds
/// what a busy kind costs; a watch from before them is served from the store's
/// own history.
const LOG_MAX: usize = 8192;

/// Bytes of objects that only the log still holds, at most about twice this.
const LOG_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What happened to one object.
#[derive(Clone, Debug)]
pub struct Change {
    pub revision: u64,
    /// None when it was deleted.
    pub now: Option<KeyValue>,
    /// None when it was created.
    pub before: Option<KeyValue>,
}

pub struct Collection {
    entries: BTreeMap<Bytes, KeyValue>,
    log: VecDeque<Change>,
    log_bytes: usize,
    /// Every change after this revision is in the log.
    log_start: u64,
    /// The revision of the last change.
    changed: watch::Sender<u64>,
}

/// Changes after a revision are not all kept any more.
#[derive(Debug, PartialEq, Eq)]
pub struct Gone;

// === impl Change ===

impl Change {
    pub fn key(&self) -> &[u8] {
        self.now.as_ref().or(self.before.as_ref()).map_or(&[], |kv| &kv.key)
    }
}

// === impl Collection ===

impl Collection {
    pub(super) fn new(revision: u64) -> Collection {
        Collection {
            entries: BTreeMap::new(),
            log: VecDeque::new(),
            log_bytes: 0,
            log_start: revision,
            changed: watch::channel(revision).0,
        }
    }

    pub fn get(&self, key: &[u8]) -> Option<&KeyValue> {
        self.entries.get(key)
    }

    /// Objects whose keys start with `start`, in order.
    pub fn range<'a>(&'a self, start: &'a [u8]) -> impl Iterator<Item = &'a KeyValue> {
        self.entries
            .range::<[u8], _>((std::ops::Bound::Included(start), std::ops::Bound::Unbounded))
            .map(|(_, kv)| kv)
            .take_while(move |kv| kv.key.starts_with(start))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Everything up to this revision is in, and perhaps more.
    pub fn last(&self) -> u64 {
        *self.changed.borrow()
    }

    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// At most `max` changes after `revision`, but whole revisions.
    pub fn since(&self, revision: u64, max: usize) -> Result<Vec<Change>, Gone> {
        if revision < self.log_start {
            return Err(Gone);
        }
        let from = self.log.partition_point(|change| change.revision <= revision);
        let mut found: Vec<Change> = Vec::new();
        for change in self.log.range(from..) {
            if found.len() >= max
                && found.last().is_some_and(|last| last.revision < change.revision)
            {
                break;
            }
            found.push(change.clone());
        }
        Ok(found)
    }

    /// One change, newer than all before it.
    pub(super) fn apply(&mut self, key: Bytes, now: Option<KeyValue>, revision: u64) {
        let before = match &now {
            Some(kv) => self.entries.insert(key, kv.clone()),
            None => self.entries.remove(&key),
        };
        if before.is_none() && now.is_none() {
            return;
        }
        self.log_bytes += before.as_ref().map_or(0, |kv| kv.value.len());
        self.log.push_back(Change { revision, now, before });
        while self.log.len() > LOG_MAX || self.log_bytes > LOG_BYTES_MAX {
            let Some(oldest) = self.log.pop_front() else { break };
            self.log_bytes -= oldest.before.map_or(0, |kv| kv.value.len());
            self.log_start = oldest.revision;
        }
        self.changed.send_replace(revision);
    }

    /// Everything anew, as of `revision`; how it came to be so is not known.
    pub(super) fn reset(&mut self, entries: BTreeMap<Bytes, KeyValue>, revision: u64) {
        self.entries = entries;
        self.log.clear();
        self.log_bytes = 0;
        self.log_start = revision;
        self.changed.send_replace(revision);
    }
}

#[cfg(test)]
mod tests {
    use kv::Revision;

    use super::*;

    fn kv(key: &str, revision: u64, len: usize) -> KeyValue {
        KeyValue {
            key: key.to_owned().into(),
            value: vec![b'x'; len].into(),
            create_revision: Revision(revision),
            mod_revision: Revision(revision),
            version: 1,
            lease: None,
        }
    }

    #[test]
    fn changes_are_told_whole_revisions_at_a_time_and_never_with_a_gap() {
        let mut collection = Collection::new(1);
        for (key, revision) in [("a", 2), ("b", 2), ("c", 3)] {
            collection.apply(key.into(), Some(kv(key, revision, 1)), revision);
        }
        let told = |after, max| collection.since(after, max).map(|found| found.len());
        assert_eq!(told(1, 1), Ok(2));
        assert_eq!(told(2, 1), Ok(1));
        assert_eq!(told(3, 1), Ok(0));
        assert_eq!(told(0, 9), Err(Gone));
    }

    #[test]
    fn what_only_the_log_holds_is_bounded_and_what_fell_out_is_known_to_be_gone() {
        let mut collection = Collection::new(1);
        let big = LOG_BYTES_MAX / 4;
        for revision in 2..12 {
            collection.apply("a".into(), Some(kv("a", revision, big)), revision);
        }
        assert!(collection.log_bytes <= LOG_BYTES_MAX);
        assert_eq!(collection.since(2, 9).map(|found| found.len()), Err(Gone));
        assert!(collection.since(11, 9).is_ok());
        assert_eq!(collection.range(b"").count(), 1);
    }
}
