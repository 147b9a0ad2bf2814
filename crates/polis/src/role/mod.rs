//! Wiring: from a role's options to the role, running until a signal.

pub mod ledger;
pub mod options;
pub mod server;
pub mod store;

use anyhow::Context;
use rt::{Drain, Trigger};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// How long a role may take to finish what it has begun.
const DRAIN_DEADLINE: Duration = Duration::from_secs(8);

/// A drain that SIGINT and SIGTERM start.
fn lifecycle() -> anyhow::Result<(Drain, Shutdown)> {
    let (trigger, drain) = rt::drain::channel();
    let interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    Ok((drain, Shutdown { trigger, interrupt, terminate }))
}

struct Shutdown {
    trigger: Trigger,
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

// === impl Shutdown ===

impl Shutdown {
    /// Waits for a signal, then for the drain.
    async fn wait(mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
        tracing::info!("draining");
        let drained = self.trigger.drain(DRAIN_DEADLINE).await;
        tracing::info!(?drained, "stopped");
    }
}

/// Several threads for roles that serve many, one for those that serve few.
fn runtime(workers: usize) -> anyhow::Result<tokio::runtime::Runtime> {
    let mut builder = match workers {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    builder.worker_threads(workers).enable_all().build().context("start the runtime")
}
