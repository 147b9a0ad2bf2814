//! How slowly an end of a body's way may send or take it.
//!
//! A deadline bounds a whole request, and streams have none. What bounds those
//! is that an end makes headway while it is that end that we wait for:
//! [`BYTES_PER_S_MIN`] over each stall timeout, as Apache's mod_reqtimeout has
//! it. Waiting for the other end does not count.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

/// What any line carries, and a byte a second does not come to.
const BYTES_PER_S_MIN: u64 = 16;

/// An end of a body's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Source,
    Sink,
}

pub struct Patience {
    whom: End,
    window: Duration,
    /// The end of this window, and how many bytes had moved at its beginning.
    until: Option<(Pin<Box<Sleep>>, u64)>,
}

// === impl Patience ===

impl Patience {
    pub fn new(whom: End, window: Duration) -> Patience {
        Patience { whom, window, until: None }
    }

    /// Asked whenever the way stands still. Ready when it has done so for too
    /// long because of that end; `moved` is all that has got across so far.
    pub fn poll_out(&mut self, awaited: End, moved: u64, cx: &mut Context<'_>) -> Poll<()> {
        if awaited != self.whom || self.window.is_zero() {
            self.until = None;
            return Poll::Pending;
        }
        let window = self.window;
        let (sleep, before) = self.until.get_or_insert_with(|| (Box::pin(sleep(window)), moved));
        let enough = (window.as_millis() as u64).saturating_mul(BYTES_PER_S_MIN) / 1_000;
        loop {
            ready!(sleep.as_mut().poll(cx));
            if moved.saturating_sub(*before) < enough.max(1) {
                return Poll::Ready(());
            }
            *before = moved;
            sleep.as_mut().reset(Instant::now() + window);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(60);

    /// Whether the source is given up at the end of a window in which so much
    /// has moved.
    async fn is_out(awaited: End, moved: u64) -> bool {
        let mut patience = Patience::new(End::Source, WINDOW);
        let mut look = |moved| {
            let mut cx = Context::from_waker(std::task::Waker::noop());
            patience.poll_out(awaited, moved, &mut cx).is_ready()
        };
        assert!(!look(100), "a window begins");
        tokio::time::advance(WINDOW - Duration::from_secs(1)).await;
        assert!(!look(100), "it is not over");
        tokio::time::advance(Duration::from_secs(2)).await;
        look(100 + moved)
    }

    #[tokio::test(start_paused = true)]
    async fn only_an_end_that_is_waited_for_is_given_up() {
        assert!(is_out(End::Source, 0).await);
        assert!(is_out(End::Source, 60).await, "a byte a second");
        assert!(!is_out(End::Source, 16 * 60).await);
        assert!(!is_out(End::Sink, 0).await, "it is the other end that is slow");
    }
}
