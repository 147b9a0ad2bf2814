//! Watches: every change of a range from a revision on, in order, once, whole
//! revisions at a time.

use std::pin::Pin;

use futures::Stream;

use crate::{Error, KeyRange, KeyValue, Revision};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    Put,
    Delete,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub kind: EventKind,
    /// For a delete only `key` and `mod_revision` (the deletion's) are set.
    pub kv: KeyValue,
    /// What the key held before, when asked for and not compacted away.
    pub prev_kv: Option<KeyValue>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchFilter {
    NoPut,
    NoDelete,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchRequest {
    pub range: KeyRange,
    /// First revision wanted; `None` is "after now". May lie in the future.
    pub start: Option<Revision>,
    pub prev_kv: bool,
    /// Ask for an empty [`WatchItem::Progress`] now and then while idle.
    pub progress_notify: bool,
    pub filters: Vec<WatchFilter>,
}

/// All events of one or more whole revisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchBatch {
    /// Everything up to and including this revision has been delivered.
    pub revision: Revision,
    pub events: Vec<Event>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchItem {
    /// The watch is in place: nothing after `revision` will be missed.
    Created {
        revision: Revision,
    },
    Events(WatchBatch),
    /// No event up to and including `revision` is outstanding.
    Progress {
        revision: Revision,
    },
}

/// Ends after its first error. [`Error::Compacted`] tells where a new watch
/// may start; any other error means: watch again from the last revision seen.
pub type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchItem, Error>> + Send>>;

// === impl WatchRequest ===

impl WatchRequest {
    #[must_use]
    pub fn new(range: KeyRange) -> WatchRequest {
        WatchRequest {
            range,
            start: None,
            prev_kv: false,
            progress_notify: false,
            filters: Vec::new(),
        }
    }

    #[must_use]
    pub fn from(self, start: Revision) -> WatchRequest {
        WatchRequest { start: Some(start), ..self }
    }
}
