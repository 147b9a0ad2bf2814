//! When a client may ask: at once, or so many times a second in all.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use tokio::{sync::Semaphore, time::Instant};

/// Requests that fall due together: a fifth of a millisecond's worth.
const TICK: Duration = Duration::from_micros(200);

/// So many ticks' worth are kept, and no more: a server that cannot follow is
/// asked less, and a generator that was not scheduled does not make a burst of it.
const BACKLOG_TICKS: f64 = 10.0;

/// Kept at any rate.
const BACKLOG_MIN: usize = 16;

/// Cheap to clone.
#[derive(Clone)]
pub(crate) enum Pace {
    /// Every client has one request under way, always.
    Closed,
    Open(Arc<Semaphore>),
}

/// Lets requests go at an even rate, whatever becomes of them. A thread of its
/// own: the runtime's timer knows no time below a millisecond.
pub(crate) struct Pacer {
    due: Arc<Semaphore>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

// === impl Pace ===

impl Pace {
    /// Waits until one more may be asked; false when there will be none.
    pub async fn next(&self) -> bool {
        match self {
            Pace::Closed => true,
            Pace::Open(due) => due.acquire().await.map(|permit| permit.forget()).is_ok(),
        }
    }

    pub fn try_next(&self) -> bool {
        match self {
            Pace::Closed => true,
            Pace::Open(due) => due.try_acquire().map(|permit| permit.forget()).is_ok(),
        }
    }
}

// === impl Pacer ===

impl Pacer {
    pub fn start(per_s: f64) -> Pacer {
        let (due, is_over) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicBool::new(false)));
        let (giving, ends) = (due.clone(), is_over.clone());
        let kept = per_s * TICK.as_secs_f64() * BACKLOG_TICKS;
        let kept = BACKLOG_MIN.max(kept as usize);
        let thread = std::thread::spawn(move || {
            let (start, mut given) = (Instant::now(), 0);
            while !ends.load(Ordering::Relaxed) {
                tick();
                let fell_due = (start.elapsed().as_secs_f64() * per_s) as usize;
                let more = fell_due - given;
                given = fell_due;
                giving.add_permits(more.min(kept.saturating_sub(giving.available_permits())));
            }
            giving.close();
        });
        Pacer { due, is_over, thread: Some(thread) }
    }

    pub fn pace(&self) -> Pace {
        Pace::Open(self.due.clone())
    }

    /// No request more; those who wait are told.
    pub fn stop(&self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.due.close();
    }
}

impl Drop for Pacer {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this thread only keeps time")]
fn tick() {
    std::thread::sleep(TICK);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn requests_fall_due_until_the_pacer_stops() {
        let pacer = Pacer::start(1e6);
        let pace = pacer.pace();
        for _ in 0..100 {
            assert!(pace.next().await);
        }
        drop(pacer);
        assert!(!pace.next().await);
        assert!(!pace.try_next());
    }
}
