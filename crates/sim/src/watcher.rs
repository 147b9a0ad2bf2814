//! Watchers: one of everything at each replica, and short ones of this and
//! that. Each begins again where it last heard from a replica.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use checker::history::{Keys, Said, Watch};
use futures::StreamExt as _;
use kv::{Error, Kv, Revision, WatchFilter, WatchItem, WatchRequest};
use rt::random::Random;

use crate::{convert, recorder::Recorder, replica::Directory};

const AGAIN_AFTER: Duration = Duration::from_millis(50);

pub struct Watcher {
    pub client: u32,
    /// Where it watches.
    pub at: usize,
    pub directory: Directory,
    pub recorder: Recorder,
    pub random: Random,
    pub stop: Arc<AtomicBool>,
}

// === impl Watcher ===

impl Watcher {
    /// Everything from the beginning, for as long as the world lasts.
    pub async fn run_whole(self) {
        let mut next = 1;
        while !self.stop.load(SeqCst) {
            if let Some(kv) = self.replica() {
                let watch = Watch { start: Some(next), prev_kv: true, ..self.of(Keys::all()) };
                next = self.watch(&*kv, watch, None).await;
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }

    /// Something else every few seconds, at another replica each time.
    pub async fn run_short(mut self) {
        let mut known = 1;
        while !self.stop.load(SeqCst) {
            self.at += 1;
            if let Some(kv) = self.replica() {
                let lasts = Duration::from_millis(200 + self.random.below(4_000));
                let watch = self.think(known);
                known = known.max(self.watch(&*kv, watch, Some(lasts)).await);
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }

    fn think(&mut self, known: u64) -> Watch {
        let keys = match self.random.below(4) {
            0 => Keys { key: "p".into(), end: Some("r".into()) },
            1 => Keys { key: "b".into(), end: Some("\0".into()) },
            2 => Keys::one("a"),
            _ => Keys::all(),
        };
        let start = match self.random.below(3) {
            0 => None,
            // Behind, or ahead.
            1 => Some(known.saturating_sub(self.random.below(30)).max(1)),
            _ => Some(known + self.random.below(30)),
        };
        let (no_put, no_delete) = match self.random.below(6) {
            0 => (true, false),
            1 => (false, true),
            _ => (false, false),
        };
        let prev_kv = self.random.below(2) == 0;
        Watch { start, prev_kv, no_put, no_delete, ..self.of(keys) }
    }

    fn of(&self, keys: Keys) -> Watch {
        Watch {
            client: self.client,
            keys,
            start: None,
            prev_kv: false,
            no_put: false,
            no_delete: false,
            items: Vec::new(),
        }
    }

    fn replica(&self) -> Option<Arc<dyn Kv>> {
        let directory = self.directory.lock().expect("one thread");
        directory[self.at % directory.len()].as_ref().map(|reached| reached.kv.clone())
    }

    /// Watches until it ends, and tells where to go on.
    async fn watch(&self, kv: &dyn Kv, watch: Watch, lasts: Option<Duration>) -> u64 {
        let mut filters = Vec::new();
        filters.extend(watch.no_put.then_some(WatchFilter::NoPut));
        filters.extend(watch.no_delete.then_some(WatchFilter::NoDelete));
        let request = WatchRequest {
            range: convert::range_of(&watch.keys),
            start: watch.start.map(Revision),
            prev_kv: watch.prev_kv,
            progress_notify: true,
            filters,
        };
        let mut next = watch.start.unwrap_or(1);
        let id = self.recorder.watch(watch);
        let watching = async {
            let mut stream = match kv.watch(request).await {
                Ok(stream) => stream,
                Err(error) => return self.recorder.said(id, Said::Ended(error.to_string())),
            };
            while let Some(item) = stream.next().await {
                let said = match item {
                    Ok(WatchItem::Created { revision }) => Said::Created { revision: revision.0 },
                    Ok(WatchItem::Progress { revision }) => {
                        next = next.max(revision.0 + 1);
                        Said::Progress { revision: revision.0 }
                    }
                    Ok(WatchItem::Events(batch)) => {
                        next = next.max(batch.revision.0 + 1);
                        Said::Events(batch.events.iter().map(convert::event).collect())
                    }
                    Err(error) => {
                        if let Error::Compacted { compacted } = &error {
                            next = next.max(compacted.0);
                        }
                        Said::Ended(error.to_string())
                    }
                };
                self.recorder.said(id, said);
            }
        };
        match lasts {
            None => watching.await,
            Some(lasts) => drop(tokio::time::timeout(lasts, watching).await),
        }
        next
    }
}
