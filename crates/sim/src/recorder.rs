//! The history of a run, and the clock that it is written by.

use std::sync::{Arc, Mutex, MutexGuard};

use checker::{
    History,
    history::{Item, Operation, Outcome, Request, Revision, Said, Setup, Watch},
};

/// Cheap to clone; clones write one history.
#[derive(Clone, Default)]
pub struct Recorder(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    history: History,
    /// Nanoseconds; no two stamps are equal, and none goes back.
    last: u64,
    watch_ids: usize,
}

/// A watch in the history.
#[derive(Clone, Copy)]
pub struct WatchId(usize);

// === impl Recorder ===

impl Recorder {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("one thread")
    }

    /// The world's clock shows this now.
    pub fn set_time(&self, now_ms: u64) {
        let mut inner = self.inner();
        inner.last = inner.last.max(now_ms * 1_000_000);
    }

    pub fn stamp(&self) -> u64 {
        let mut inner = self.inner();
        inner.last += 1;
        inner.last
    }

    pub fn operation(&self, client: u32, call: u64, request: Request, outcome: Outcome) {
        let end = Some(self.stamp());
        self.inner().history.operations.push(Operation { client, call, end, request, outcome });
    }

    pub fn watch(&self, watch: Watch) -> WatchId {
        let mut inner = self.inner();
        inner.history.watches.push(watch);
        WatchId(inner.history.watches.len() - 1)
    }

    pub fn said(&self, WatchId(id): WatchId, said: Said) {
        let at = self.stamp();
        self.inner().history.watches[id].items.push(Item { at, said });
    }

    pub fn committed(&self, revision: Revision) {
        self.inner().history.log.push(revision);
    }

    pub fn next_id(&self) -> usize {
        let mut inner = self.inner();
        inner.watch_ids += 1;
        inner.watch_ids
    }

    pub fn history(&self, drift_ppm: u64) -> History {
        let history = self.inner().history.clone();
        History { setup: Setup { drift_ppm, complete: true }, ..history }
    }
}
