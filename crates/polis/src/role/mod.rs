//! Wiring: from a role's options to the role, running until a signal.

mod api;
pub mod guardian;
pub mod ledger;
pub mod options;
pub mod proxy;
mod proxy_host;
pub mod server;
pub mod store;

use std::time::Duration;

use anyhow::Context;
use rt::{Drain, Trigger};

use crate::stop::StopSignal;

/// How long a role may take to finish what it has begun.
const DRAIN_DEADLINE: Duration = Duration::from_secs(8);

/// A drain that a signal starts.
fn lifecycle() -> anyhow::Result<(Drain, Shutdown)> {
    let (trigger, drain) = rt::drain::channel();
    Ok((drain, Shutdown { trigger, stop: StopSignal::new()? }))
}

struct Shutdown {
    trigger: Trigger,
    stop: StopSignal,
}

// === impl Shutdown ===

impl Shutdown {
    /// Waits for a signal, then for the drain.
    async fn wait(mut self) {
        self.stop.received().await;
        tracing::info!("draining");
        let drained = self.trigger.drain(DRAIN_DEADLINE).await;
        tracing::info!(?drained, "stopped");
    }
}

/// With this many threads; one per core unless given.
pub fn runtime(workers: Option<usize>) -> anyhow::Result<tokio::runtime::Runtime> {
    let mut builder = match workers {
        Some(1) => tokio::runtime::Builder::new_current_thread(),
        Some(_) | None => tokio::runtime::Builder::new_multi_thread(),
    };
    if let Some(workers) = workers {
        builder.worker_threads(workers.max(1));
    }
    builder.enable_all().build().context("start the runtime")
}
