//! Memory for values, shared by all keyspaces of a store.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use keyspace::Keyspace;
use kv::Revision;

/// Keys looked at after one batch: more than any batch writes, and a fraction
/// of a millisecond.
const KEYS_AT_ONCE_MAX: usize = 2048;

#[derive(Debug)]
pub(crate) struct Budget {
    bytes_max: usize,
    used: AtomicUsize,
}

/// What one keyspace uses of it, until dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

// === impl Budget ===

impl Budget {
    pub fn new(bytes_max: usize) -> Budget {
        Budget { bytes_max, used: AtomicUsize::new(0) }
    }

    /// What a keyspace that is loaded now may keep.
    pub fn left(&self) -> usize {
        self.bytes_max.saturating_sub(self.used.load(Relaxed))
    }
}

// === impl Share ===

impl Share {
    pub fn of(budget: Arc<Budget>) -> Share {
        Share { budget, bytes: 0 }
    }

    /// Lets values that are durable leave memory while all keyspaces together
    /// are over the budget; each gives in proportion to what it has.
    pub fn keep(&mut self, keyspace: &mut Keyspace, durable: Revision) {
        self.note(keyspace.inline_bytes());
        let (used, bytes_max) = (self.budget.used.load(Relaxed), self.budget.bytes_max);
        if used > bytes_max {
            let share = self.bytes as f64 * (bytes_max as f64 / used as f64);
            keyspace.evict(durable, share as usize, KEYS_AT_ONCE_MAX);
            self.note(keyspace.inline_bytes());
        }
    }

    fn note(&mut self, bytes: usize) {
        self.budget.used.fetch_add(bytes, Relaxed);
        self.budget.used.fetch_sub(std::mem::replace(&mut self.bytes, bytes), Relaxed);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.note(0);
    }
}
