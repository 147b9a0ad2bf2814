//! Watches over workers that wait for the disk themselves.
//!
//! A worker of the runtime that commits in place looks after no socket and no
//! timer meanwhile, and if the others are asleep nobody does. Waking one each
//! time would cost as much as committing in place saves. So a thread looks
//! every few milliseconds whether a commit takes longer than they should, and
//! only then wakes another worker. It sleeps when nothing is committed so.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread::{JoinHandle, Thread},
    time::Duration,
};

use tokio::runtime::{Handle, RuntimeFlavor};

/// Sockets and timers are left alone for twice this at most.
const LOOK_EVERY: Duration = Duration::from_millis(2);

pub(super) struct Lookout {
    watched: Arc<Watched>,
    thread: Option<JoinHandle<()>>,
}

/// A commit in place; ends with it.
#[derive(Debug)]
pub(super) struct Watch<'a>(&'a Watched);

#[derive(Debug)]
struct Watched {
    runtime: OnceLock<Handle>,
    /// Commits begun and ended: odd while one is under way.
    turns: AtomicU64,
    sleeps: AtomicBool,
    ends: AtomicBool,
}

// === impl Lookout ===

impl Lookout {
    pub fn start() -> std::io::Result<Lookout> {
        let watched = Arc::new(Watched {
            runtime: OnceLock::new(),
            turns: AtomicU64::new(0),
            sleeps: AtomicBool::new(false),
            ends: AtomicBool::new(false),
        });
        let of = watched.clone();
        let thread =
            std::thread::Builder::new().name("engine-lookout".into()).spawn(move || of.look())?;
        Ok(Lookout { watched, thread: Some(thread) })
    }

    /// Begins a commit on this thread, of which there may be one at a time. None
    /// if it should be left to another: there is no worker to take over.
    pub fn watch(&self) -> Option<Watch<'_>> {
        let current = Handle::try_current().ok()?;
        let runtime = self.watched.runtime.get_or_init(|| current.clone());
        let has_others = current.id() == runtime.id()
            && current.runtime_flavor() == RuntimeFlavor::MultiThread
            && current.metrics().num_workers() > 1;
        if !has_others {
            return None;
        }
        self.watched.turns.fetch_add(1, SeqCst);
        if self.watched.sleeps.swap(false, SeqCst) {
            self.thread().unpark();
        }
        Some(Watch(&self.watched))
    }

    fn thread(&self) -> &Thread {
        self.thread.as_ref().expect("it ends with us").thread()
    }
}

impl Drop for Lookout {
    fn drop(&mut self) {
        self.watched.ends.store(true, SeqCst);
        self.thread().unpark();
        if let Some(thread) = self.thread.take() {
            // A panic in there has already been told; nothing depends on it.
            let _ = thread.join();
        }
    }
}

// === impl Watch ===

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.0.turns.fetch_add(1, SeqCst);
    }
}

// === impl Watched ===

impl Watched {
    fn look(&self) {
        let mut seen = self.turns.load(SeqCst);
        while !self.ends.load(SeqCst) {
            std::thread::park_timeout(LOOK_EVERY);
            let turns = self.turns.load(SeqCst);
            if turns != seen {
                seen = turns;
            } else if turns % 2 == 1 {
                // From outside, so that it does not wait for that worker.
                if let Some(runtime) = self.runtime.get() {
                    drop(runtime.spawn(async {}));
                }
            } else {
                self.sleeps.store(true, SeqCst);
                while self.sleeps.load(SeqCst)
                    && self.turns.load(SeqCst) == seen
                    && !self.ends.load(SeqCst)
                {
                    std::thread::park();
                }
                self.sleeps.store(false, SeqCst);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(120);

    #[test]
    fn timers_fire_while_a_worker_waits_for_the_disk() {
        let lookout = Arc::new(Lookout::start().expect("a thread"));
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).enable_all().build().expect("a runtime");
        for turn in 0..50 {
            let (fired, heard) = mpsc::channel();
            let lookout = lookout.clone();
            let commit = runtime.spawn(async move {
                tokio::spawn(async move {
                    tokio::time::sleep(LOOK_EVERY * 2).await;
                    let _ = fired.send(());
                });
                // Whoever looked after timers goes on with this one's task.
                tokio::time::sleep(LOOK_EVERY).await;
                let _watch = lookout.watch().expect("there is another worker");
                heard.recv_timeout(DEADLINE)
            });
            let heard = runtime.block_on(commit).expect("it does not panic");
            assert!(heard.is_ok(), "in turn {turn}");
        }
    }

    #[test]
    fn without_another_worker_nobody_commits_in_place() {
        let lookout = Lookout::start().expect("a thread");
        assert!(lookout.watch().is_none());
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.build().expect("a runtime");
        runtime.block_on(async { assert!(lookout.watch().is_none()) });
    }
}
