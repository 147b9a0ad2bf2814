//! The thread that follows all spools of a runtime by inotify.
//!
//! A thread, because files block: a stalled disk must not stall the tasks of
//! whoever runs containers.

use std::{
    collections::HashMap,
    io,
    mem::MaybeUninit,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll},
    fs::inotify::{self, CreateFlags, WatchFlags},
    io::Errno,
};

use super::Capture;

/// Writes that arrive within it are moved together: a busy container costs 50
/// rounds a second, a silent one nothing.
const GATHER: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

pub(crate) struct Pump {
    shared: Arc<Shared>,
}

/// A capture, taken out when its process has ended.
pub(crate) type Slot = Arc<Mutex<Option<Capture>>>;

struct Shared {
    inotify: OwnedFd,
    stop: OwnedFd,
    slots: Mutex<HashMap<i32, Slot>>,
}

// === impl Pump ===

impl Pump {
    pub(crate) fn start() -> io::Result<Pump> {
        let shared = Arc::new(Shared {
            inotify: inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?,
            stop: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            slots: Mutex::default(),
        });
        let follow = shared.clone();
        thread::Builder::new().name("logs".into()).stack_size(256 << 10).spawn(move || {
            if let Err(error) = follow.run() {
                tracing::error!(%error, "logs of containers are no longer followed");
            }
        })?;
        Ok(Pump { shared })
    }

    /// Follows `capture` until the slot is emptied, and moves what is there now.
    pub(crate) fn follow(&self, capture: Capture) -> io::Result<Slot> {
        let slot: Slot = Arc::new(Mutex::new(None));
        {
            let mut slots = lock(&self.shared.slots);
            slots.retain(|_, slot| lock(slot).is_some());
            for path in capture.paths() {
                let watch = inotify::add_watch(&self.shared.inotify, path, WatchFlags::MODIFY)?;
                slots.insert(watch, slot.clone());
            }
            *lock(&slot) = Some(capture);
        }
        drain(&slot);
        Ok(slot)
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        let _ = rustix::io::write(&self.shared.stop, &1_u64.to_ne_bytes());
    }
}

// === impl Shared ===

impl Shared {
    fn run(&self) -> io::Result<()> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        loop {
            let mut wait =
                [PollFd::new(&self.inotify, PollFlags::IN), PollFd::new(&self.stop, PollFlags::IN)];
            match poll(&mut wait, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let mut stopping = [PollFd::new(&self.stop, PollFlags::IN)];
            if poll(&mut stopping, Some(&GATHER)) == Ok(1) {
                return Ok(());
            }
            let mut written = Vec::new();
            let mut events = inotify::Reader::new(&self.inotify, &mut buffer);
            loop {
                match events.next() {
                    Ok(event) if !written.contains(&event.wd()) => written.push(event.wd()),
                    Ok(_) => {}
                    Err(Errno::WOULDBLOCK) => break,
                    Err(Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            // -1 says that the kernel dropped events: look at every spool.
            let all = written.contains(&-1);
            let slots: Vec<Slot> = {
                let slots = lock(&self.slots);
                let wanted = |(watch, _): &(&i32, &Slot)| all || written.contains(watch);
                slots.iter().filter(wanted).map(|(_, slot)| slot.clone()).collect()
            };
            slots.iter().for_each(drain);
        }
    }
}

fn drain(slot: &Slot) {
    if let Some(capture) = lock(slot).as_mut()
        && let Err(error) = capture.drain()
    {
        tracing::warn!(%error, "could not move a container's output to its log");
    }
}

/// A panic while draining leaves a capture that reads on from saved offsets.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
