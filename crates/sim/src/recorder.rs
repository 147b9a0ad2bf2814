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

/// A part of a run from its beginning, and what was heard in it.
pub struct Stretch {
    ended: u64,
    history: History,
}

/// A watch in the history.
#[derive(Clone, Copy)]
pub struct WatchId(usize);

// === impl Stretch ===

impl Stretch {
    /// The highest revision that anybody was told of.
    pub fn last_told(&self) -> u64 {
        let answers = self.history.operations.iter().filter_map(Operation::revision);
        let items = self.history.watches.iter().flat_map(|watch| &watch.items);
        let heard = items.filter_map(|item| match &item.said {
            Said::Created { revision } | Said::Progress { revision } => Some(*revision),
            Said::Events(events) => events.iter().map(|event| event.revision).max(),
            Said::Ended(_) => None,
        });
        answers.chain(heard).max().unwrap_or(0)
    }

    /// With what was answered later to who asked in it.
    pub fn close(self, whole: &History) -> History {
        let operations = whole.operations.iter();
        let asked = operations.filter(|operation| operation.call <= self.ended).cloned();
        History { operations: asked.collect(), ..self.history }
    }
}

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

    /// What was recorded so far, as long as nothing is asked at this moment, and
    /// nobody has heard anything since.
    pub fn stretch(&self, drift_ppm: u64) -> Stretch {
        Stretch { ended: self.stamp(), history: self.history(drift_ppm) }
    }

    /// What was recorded after that.
    pub fn since(&self, drift_ppm: u64, stretch: &Stretch) -> History {
        let mut history = self.history(drift_ppm);
        history.operations.retain(|operation| operation.call > stretch.ended);
        let watches = history.watches.iter_mut();
        watches.for_each(|watch| watch.items.retain(|item| item.at > stretch.ended));
        // One that was open at the time hears only of its end.
        let heard = stretch.history.watches.len();
        let mut index = 0;
        history.watches.retain(|_| {
            index += 1;
            index > heard
        });
        history.log.clear();
        history
    }
}
