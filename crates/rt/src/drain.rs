//! Draining: stop accepting → finish under a deadline → force → report.
//!
//! One [`Trigger`] starts it; every task holds a [`Drain`]. Whoever must be
//! waited for keeps its `Drain` alive: [`Trigger::drain`] returns when all
//! are dropped or when the deadline has passed.

use std::time::Duration;

use tokio::sync::{mpsc, watch};

/// Starts the drain and waits for its end. Dropping it starts a drain too, so
/// that nothing outlives its owner.
#[derive(Debug)]
pub struct Trigger {
    draining: watch::Sender<bool>,
    alive: mpsc::Receiver<()>,
    held: Option<mpsc::Sender<()>>,
}

/// A task's view of the drain.
#[derive(Clone, Debug)]
pub struct Drain {
    draining: watch::Receiver<bool>,
    _alive: mpsc::Sender<()>,
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    Clean,
    /// The deadline passed with tasks still at work; the caller forces them.
    TimedOut,
}

/// A connected pair.
#[must_use]
pub fn channel() -> (Trigger, Drain) {
    let (draining_tx, draining_rx) = watch::channel(false);
    // Nothing is ever sent; the channel only counts who is alive.
    let (alive_tx, alive_rx) = mpsc::channel(1);
    let trigger = Trigger { draining: draining_tx, alive: alive_rx, held: Some(alive_tx.clone()) };
    (trigger, Drain { draining: draining_rx, _alive: alive_tx })
}

// === impl Trigger ===

impl Trigger {
    /// Tells everyone to drain, then waits until they have, at most `deadline`.
    pub async fn drain(mut self, deadline: Duration) -> Drained {
        self.start();
        match tokio::time::timeout(deadline, self.alive.recv()).await {
            Ok(_) => Drained::Clean,
            Err(_) => Drained::TimedOut,
        }
    }

    fn start(&mut self) {
        self.draining.send_replace(true);
        self.held = None;
    }
}

impl Drop for Trigger {
    fn drop(&mut self) {
        self.start();
    }
}

// === impl Drain ===

impl Drain {
    /// Resolves once the drain has started.
    pub async fn started(&self) {
        let mut draining = self.draining.clone();
        // An error means that the trigger is gone, which is a drain as well.
        let _ = draining.wait_for(|draining| *draining).await;
    }

    #[must_use]
    pub fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_drain_waits_for_every_holder_and_gives_up_at_its_deadline() {
        let (trigger, drain) = channel();
        let worker = tokio::spawn(async move { drain.started().await });
        assert_eq!(trigger.drain(Duration::from_secs(1)).await, Drained::Clean);
        worker.await.expect("the worker ends");

        let (trigger, stuck) = channel();
        assert_eq!(trigger.drain(Duration::from_secs(1)).await, Drained::TimedOut);
        assert!(stuck.is_draining());
    }
}
