//! What most keys do not have, in as few bytes: older versions, and a lease.
//!
//! Millions of keys are in memory, each with one history; a vector would take
//! 24 bytes of it and an optional lease 16.

use kv::LeaseId;

use crate::history::Version;

/// Older versions of one key; a pointer where there are none.
#[derive(Clone, Debug, Default)]
#[expect(clippy::box_collection, reason = "a thin pointer is what this is for")]
pub(crate) struct Older(Option<Box<Vec<Version>>>);

/// The lease that a key is bound to, if any. No lease has the id 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bound(i64);

// === impl Older ===

impl Older {
    pub(crate) fn as_slice(&self) -> &[Version] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [Version] {
        self.0.as_deref_mut().map_or(&mut [], Vec::as_mut_slice)
    }

    pub(crate) fn push(&mut self, version: Version) {
        match &mut self.0 {
            // The default first growth would take room for four.
            None => self.0 = Some(Box::new(vec![version])),
            Some(versions) => versions.push(version),
        }
    }

    /// Forgets the oldest `count`.
    pub(crate) fn forget(&mut self, count: usize) {
        let Some(versions) = &mut self.0 else { return };
        if count >= versions.len() {
            self.0 = None;
            return;
        }
        versions.drain(..count);
        if versions.len() * 2 < versions.capacity() {
            versions.shrink_to_fit();
        }
    }
}

// === impl Bound ===

impl Bound {
    pub(crate) fn lease(self) -> Option<LeaseId> {
        (self.0 != 0).then_some(LeaseId(self.0))
    }
}

impl From<Option<LeaseId>> for Bound {
    fn from(lease: Option<LeaseId>) -> Bound {
        Bound(lease.map_or(0, |lease| lease.0))
    }
}
