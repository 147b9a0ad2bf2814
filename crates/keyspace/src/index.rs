//! Every key with its history, in byte order.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    ops::Bound::{Excluded, Included, Unbounded},
};

use bytes::Bytes;
use kv::{KeyRange, Revision};

use crate::{
    Handle,
    history::{History, Version},
};

#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    keys: BTreeMap<Bytes, History>,
    /// Of values in memory.
    inline_bytes: usize,
    /// Where the next eviction goes on.
    swept: Bytes,
    /// Loaded, and not in `keys` yet.
    loaded: Vec<(Bytes, History)>,
}

/// Loaded keys go into the tree in bulk, because keys that come one by one in
/// their order leave its nodes half empty. Each bulk makes the whole tree anew,
/// so it is a share of it, and never a small one.
const BULK_SHARE: usize = 4;
const BULK_MIN: usize = 64 * 1024;

// === impl Index ===

impl Index {
    /// The stored key and its history. The stored key shares its allocation
    /// with every other mention of it.
    pub(crate) fn get(&self, key: &[u8]) -> Option<(&Bytes, &History)> {
        self.keys.get_key_value(key)
    }

    /// Lets the value that `revision` put leave memory, if it is longer than
    /// `bytes_max`. Says whether it did.
    pub(crate) fn move_out(&mut self, key: &[u8], revision: Revision, bytes_max: usize) -> bool {
        let history = self.keys.get_mut(key);
        let put = history.and_then(|history| history.put_at_mut(revision));
        let Some(put) = put.filter(|put| put.value.inline_bytes() > bytes_max) else {
            return false;
        };
        self.inline_bytes -= put.value.inline_bytes();
        put.value = Handle::At(revision);
        true
    }

    /// Lets values of `durable` and older versions leave memory, key by key
    /// from where the last call ended, until those left come to `bytes_max` or
    /// `keys_max` keys were looked at. Says whether any did.
    pub(crate) fn evict(&mut self, durable: Revision, bytes_max: usize, keys_max: usize) -> bool {
        let before = self.inline_bytes;
        let swept = std::mem::take(&mut self.swept);
        for (key, history) in
            self.keys.range_mut::<[u8], _>((Included(&swept[..]), Unbounded)).take(keys_max)
        {
            if self.inline_bytes <= bytes_max {
                self.swept = key.clone();
                break;
            }
            self.inline_bytes -= history.evict(durable);
            self.swept = key.clone();
        }
        // The last key, twice: then all of them were looked at.
        if self.swept == swept {
            self.swept = Bytes::new();
        }
        self.inline_bytes < before
    }

    pub(crate) fn inline_bytes(&self) -> usize {
        self.inline_bytes
    }

    /// The key's newest state, if it exists now.
    pub(crate) fn live(&self, key: &[u8]) -> Option<(&Bytes, &Version)> {
        let (key, history) = self.get(key)?;
        let newest = history.newest();
        (!newest.is_deletion()).then_some((key, newest))
    }

    /// Keys of `range` that existed at `revision`, in byte order.
    pub(crate) fn range_at<'a>(
        &'a self,
        range: &'a KeyRange,
        revision: Revision,
    ) -> impl Iterator<Item = (&'a Bytes, &'a Version)> + 'a {
        self.range(range).filter_map(move |(key, history)| Some((key, history.live_at(revision)?)))
    }

    fn range<'a>(
        &'a self,
        range: &'a KeyRange,
    ) -> Box<dyn Iterator<Item = (&'a Bytes, &'a History)> + 'a> {
        match range {
            KeyRange::Key(key) => Box::new(self.keys.get_key_value(&key[..]).into_iter()),
            KeyRange::Span { from, to } if to <= from => Box::new(std::iter::empty()),
            KeyRange::Span { from, to } => {
                Box::new(self.keys.range::<[u8], _>((Included(&from[..]), Excluded(&to[..]))))
            }
            KeyRange::From(from) => {
                Box::new(self.keys.range::<[u8], _>((Included(&from[..]), Unbounded)))
            }
        }
    }

    /// Adds a key that is not there; nothing is found before
    /// [`Self::settle_loaded`].
    pub(crate) fn load(&mut self, key: Bytes, version: Version) {
        self.inline_bytes += version.value.inline_bytes();
        self.loaded.push((key, History::new(version)));
        if self.loaded.len() >= BULK_MIN.max(self.keys.len() / BULK_SHARE) {
            self.settle_loaded();
        }
    }

    pub(crate) fn settle_loaded(&mut self) {
        let loaded = std::mem::take(&mut self.loaded);
        self.keys.append(&mut loaded.into_iter().collect());
    }

    /// Returns the stored key.
    pub(crate) fn push(&mut self, key: &Bytes, version: Version) -> Bytes {
        self.write(key, |_| version)
    }

    /// Adds the version that `next` makes of the key's live one. Looks for a
    /// key that is known only once. Returns the stored key.
    pub(crate) fn write(
        &mut self,
        key: &Bytes,
        next: impl FnOnce(Option<(&Bytes, &Version)>) -> Version,
    ) -> Bytes {
        match self.keys.entry(key.clone()) {
            Entry::Occupied(mut known) => {
                let stored = known.key().clone();
                let before = known.get().newest();
                let version = next((!before.is_deletion()).then_some((&stored, before)));
                self.inline_bytes += version.value.inline_bytes();
                known.get_mut().push(version);
                stored
            }
            Entry::Vacant(_) => {
                // A key usually arrives as a slice of a whole frame; a copy of
                // its own lets that frame go.
                let stored = Bytes::copy_from_slice(key);
                let version = next(None);
                self.inline_bytes += version.value.inline_bytes();
                self.keys.insert(stored.clone(), History::new(version));
                stored
            }
        }
    }

    /// Forgets what of `key` cannot be read at `floor` or later.
    pub(crate) fn trim(&mut self, key: &[u8], floor: Revision) {
        let Some(history) = self.keys.get_mut(key) else { return };
        self.inline_bytes -= history.inline_bytes();
        match history.trim(floor) {
            true => self.inline_bytes += history.inline_bytes(),
            false => drop(self.keys.remove(key)),
        }
    }

    /// Keys with any history, deleted ones included.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }
}
