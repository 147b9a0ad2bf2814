//! Which keys each revision changed, since the last compaction.
//!
//! Only names are kept here; what a key became stands in its history, so that
//! nothing is held twice.

use std::collections::VecDeque;

use bytes::Bytes;
use kv::Revision;

#[derive(Clone, Debug)]
pub(crate) struct Touched {
    pub key: Bytes,
    pub deleted: bool,
}

/// Consecutive revisions from `first` on.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    first: Revision,
    revisions: VecDeque<Box<[Touched]>>,
}

// === impl Log ===

impl Log {
    /// Empty; the first revision to come is `first`.
    pub(crate) fn starting_at(first: Revision) -> Log {
        Log { first, revisions: VecDeque::new() }
    }

    /// The revision that the next push gets.
    pub(crate) fn next(&self) -> Revision {
        Revision(self.first.0 + self.revisions.len() as u64)
    }

    pub(crate) fn push(&mut self, touched: Vec<Touched>) {
        self.revisions.push_back(touched.into_boxed_slice());
    }

    pub(crate) fn get(&self, revision: Revision) -> Option<&[Touched]> {
        let offset = usize::try_from(revision.0.checked_sub(self.first.0)?).ok()?;
        self.revisions.get(offset).map(|touched| &touched[..])
    }

    /// Removes and returns the oldest revision if it lies below `floor`.
    pub(crate) fn pop_below(&mut self, floor: Revision) -> Option<Box<[Touched]>> {
        if self.first >= floor {
            return None;
        }
        let oldest = self.revisions.pop_front()?;
        self.first = self.first.next();
        Some(oldest)
    }

    pub(crate) fn shrink(&mut self) {
        if self.revisions.len() * 4 < self.revisions.capacity() {
            self.revisions.shrink_to(self.revisions.len() * 2);
        }
    }
}
