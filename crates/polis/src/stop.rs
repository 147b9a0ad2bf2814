//! Being told to stop: Ctrl-C, a supervisor, a terminal that closes.

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The exit code by which a shell says that Ctrl-C ended a program.
pub const INTERRUPTED: u8 = 130;

/// SIGINT, SIGTERM and SIGHUP, from when it is made: later ones do not end the
/// process by themselves any more.
pub struct StopSignal([Signal; 3]);

// === impl StopSignal ===

impl StopSignal {
    pub fn new() -> anyhow::Result<StopSignal> {
        let listen = |kind| signal(kind).context("listen for signals");
        Ok(StopSignal([
            listen(SignalKind::interrupt())?,
            listen(SignalKind::terminate())?,
            listen(SignalKind::hangup())?,
        ]))
    }

    /// The next one.
    pub async fn received(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
