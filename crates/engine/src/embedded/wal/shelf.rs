//! The log's files beside the one that is written: the next, standing ready,
//! and the full ones, until nobody needs them.

use std::{
    collections::VecDeque,
    io,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, Weak, atomic::Ordering::Relaxed},
};

use super::{
    Start,
    segment::{Plan, Segment},
};

/// Of the first file: enough until the next stands ready.
const FIRST_BYTES: u64 = 512 * 1024;

#[derive(Debug)]
pub(in super::super) struct Shelf {
    folder: PathBuf,
    cluster_id: u64,
    segment_bytes: u64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    last_number: u64,
    ready: Option<Segment>,
    /// The next one is being made.
    preparing: bool,
    /// To be made into the next one.
    spare: Option<Segment>,
    /// Oldest first.
    full: VecDeque<Arc<Segment>>,
    current: Weak<Segment>,
    /// Something may have become free.
    stirred: bool,
    closed: bool,
}

/// What the thread that keeps the shelf should do.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) enum Chore {
    Prepare,
    Free,
    Stop,
}

// === impl Shelf ===

impl Shelf {
    pub fn new(folder: PathBuf, cluster_id: u64, segment_bytes: u64, last_number: u64) -> Shelf {
        let state = Mutex::new(State { last_number, ..State::default() });
        Shelf { folder, cluster_id, segment_bytes, state, changed: Condvar::new() }
    }

    /// Bytes of log in them.
    pub fn bytes(&self) -> u64 {
        let state = self.state();
        let current = state.current.upgrade();
        state.full.iter().chain(&current).map(|segment| segment.used.load(Relaxed)).sum()
    }

    pub fn full(&self) -> usize {
        self.state().full.len()
    }

    pub fn oldest(&self) -> Option<Arc<Segment>> {
        self.state().full.front().cloned()
    }

    /// How many of the oldest nobody needs, and where the log would begin
    /// without them.
    pub fn free(&self) -> Option<(usize, Start)> {
        let state = self.state();
        let is_free = |segment: &&Arc<Segment>| Arc::strong_count(segment) == 1;
        let count = state.full.iter().take_while(is_free).count();
        let next = state.full.get(count).cloned().or_else(|| state.current.upgrade())?;
        let frame = *next.first_frame.get()?;
        (count > 0).then_some((count, Start { segment: next.number, frame }))
    }

    /// Takes the oldest off the shelf, once it is durable that the log begins
    /// after them. One is kept to be used again.
    pub fn discard(&self, count: usize) -> io::Result<()> {
        let freed: Vec<_> = self.state().full.drain(..count).filter_map(Arc::into_inner).collect();
        for segment in freed {
            let mut state = self.state();
            if state.spare.is_none() && segment.length == self.segment_bytes {
                state.spare = Some(segment);
            } else {
                drop(state);
                segment.remove()?;
            }
        }
        Ok(())
    }

    /// Waits for the next chore.
    pub fn chore(&self) -> Chore {
        let mut state = self.state();
        loop {
            if state.closed {
                return Chore::Stop;
            }
            if state.ready.is_none() {
                state.preparing = true;
                return Chore::Prepare;
            }
            if std::mem::take(&mut state.stirred) {
                return Chore::Free;
            }
            state = self.changed.wait(state).expect("nobody panics while holding it");
        }
    }

    /// Makes the next file.
    pub fn prepare(&self) -> io::Result<()> {
        let (spare, number) = {
            let mut state = self.state();
            state.last_number += 1;
            (state.spare.take(), state.last_number)
        };
        let plan = self.plan(number);
        let made = match spare {
            Some(spare) => spare.reuse(plan),
            None => Segment::create(plan, true),
        };
        let mut state = self.state();
        state.preparing = false;
        self.changed.notify_all();
        state.ready = Some(made?);
        Ok(())
    }

    /// Something may have become free.
    pub fn stir(&self) {
        self.state().stirred = true;
        self.changed.notify_all();
    }

    pub fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }

    /// The first file of all; what waits for it is the start of the process,
    /// so it is short.
    pub(super) fn first(&self) -> io::Result<Segment> {
        let number = self.next_number();
        let plan = self.plan(number);
        Segment::create(Plan { length: plan.length.min(FIRST_BYTES), ..plan }, true)
    }

    /// The next file can be taken at once.
    pub(super) fn is_ready(&self) -> bool {
        self.state().ready.is_some()
    }

    /// A file for a frame that needs `least` bytes of it.
    pub(super) fn take(&self, least: u64) -> io::Result<Segment> {
        let mut state = self.state();
        while state.preparing && !state.closed {
            state = self.changed.wait(state).expect("nobody panics while holding it");
        }
        let ready = state.ready.take();
        drop(state);
        match ready {
            Some(ready) if ready.length >= least => Ok(ready),
            // Files are in the order of their numbers, so this one is lost.
            Some(small) => {
                small.remove()?;
                self.make(least)
            }
            None => self.make(least),
        }
    }

    pub(super) fn adopt(&self, full: Vec<Arc<Segment>>, current: &Arc<Segment>) {
        let mut state = self.state();
        state.full.extend(full);
        state.current = Arc::downgrade(current);
        state.stirred = true;
        self.changed.notify_all();
    }

    fn make(&self, least: u64) -> io::Result<Segment> {
        let number = self.next_number();
        let plan = self.plan(number);
        Segment::create(Plan { length: least.max(plan.length), ..plan }, false)
    }

    fn next_number(&self) -> u64 {
        let mut state = self.state();
        state.last_number += 1;
        state.last_number
    }

    fn plan(&self, number: u64) -> Plan<'_> {
        let Shelf { folder, cluster_id, segment_bytes, .. } = self;
        Plan { folder, number, cluster_id: *cluster_id, length: *segment_bytes }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while holding it")
    }
}
