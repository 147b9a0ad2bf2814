//! Monotonic time as a value, so that rules and simulations can own it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Milliseconds since an arbitrary start of this process's clock. Comparable
/// only with values of the same clock; never sent to another process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

/// A source of monotonic time.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    Real(Instant),
    Runtime(tokio::time::Instant),
    Manual(Arc<AtomicU64>),
}

/// Moves a manual clock.
#[derive(Clone, Debug)]
pub struct Hand(Arc<AtomicU64>);

// === impl Millis ===

impl Millis {
    /// Elapsed since `earlier`; zero if that lies ahead.
    #[must_use]
    pub fn since(self, earlier: Millis) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    #[must_use]
    pub fn plus(self, ms: u64) -> Millis {
        Millis(self.0.saturating_add(ms))
    }
}

// === impl Clock ===

impl Clock {
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place where real time enters")]
    pub fn real() -> Clock {
        Clock(Source::Real(Instant::now()))
    }

    /// The clock of the tokio runtime that it is made in, which may be paused
    /// and run by a simulation.
    #[must_use]
    pub fn of_runtime() -> Clock {
        Clock(Source::Runtime(tokio::time::Instant::now()))
    }

    /// A clock that stands still until its hand is moved.
    #[must_use]
    pub fn manual() -> (Clock, Hand) {
        let now = Arc::new(AtomicU64::new(0));
        (Clock(Source::Manual(now.clone())), Hand(now))
    }

    #[must_use]
    pub fn now(&self) -> Millis {
        match &self.0 {
            Source::Real(start) => millis(start.elapsed()),
            Source::Runtime(start) => millis(start.elapsed()),
            Source::Manual(now) => Millis(now.load(Ordering::SeqCst)),
        }
    }
}

fn millis(elapsed: Duration) -> Millis {
    Millis(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
}

// === impl Hand ===

impl Hand {
    pub fn advance(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}
