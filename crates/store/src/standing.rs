//! Where a keyspace stands, for whoever does not need to ask its actor:
//! response headers and metrics.

use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};

use kv::Revision;

/// Written by the actor before it answers, so that no client sees a header
/// older than what it was told before.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    revision: AtomicU64,
    compacted: AtomicU64,
    epoch: AtomicU64,
    leading: AtomicBool,
    pub keys: AtomicU64,
    pub watchers: AtomicU64,
    pub slow_watchers: AtomicU64,
    /// Times that this process came to lead it.
    pub claims: AtomicU64,
}

// === impl Standing ===

impl Standing {
    /// Newest durable revision.
    pub fn revision(&self) -> Revision {
        Revision(self.revision.load(Relaxed).max(Revision::FIRST.0))
    }

    pub fn compacted(&self) -> Revision {
        Revision(self.compacted.load(Relaxed))
    }

    /// Zero until the keyspace is loaded.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Relaxed)
    }

    /// Whether this process takes changes.
    pub fn is_leading(&self) -> bool {
        self.leading.load(SeqCst)
    }

    pub fn set_leading(&self, leading: bool) {
        self.leading.store(leading, SeqCst);
    }

    pub fn set(&self, epoch: u64, revision: Revision, compacted: Revision) {
        self.epoch.store(epoch, Relaxed);
        self.revision.store(revision.0, Relaxed);
        self.compacted.store(compacted.0, Relaxed);
    }
}
