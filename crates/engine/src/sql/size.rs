//! What the tables take, as of some time ago.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::pool::Pool;

/// Databases keep statistics and do not count: asking more often tells nothing.
const EVERY: Duration = Duration::from_secs(15);

#[derive(Default)]
pub(super) struct Size {
    bytes: AtomicU64,
    asked: Mutex<Option<Instant>>,
}

// === impl Size ===

impl Size {
    /// Zero until it was measured.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Whether it is time to measure; whoever is told so does.
    pub fn is_due(&self) -> bool {
        let mut asked = self.asked.lock().expect("no holder panics");
        let is_due = asked.is_none_or(|asked| asked.elapsed() >= EVERY);
        if is_due {
            *asked = Some(Instant::now());
        }
        is_due
    }

    pub async fn measure(&self, pool: &Arc<Pool>) {
        let Ok(mut session) = pool.session().await else { return };
        // Who reads the size can wait for the next time.
        if let Ok(Ok(bytes)) = tokio::time::timeout(EVERY, session.bytes()).await {
            self.bytes.store(bytes, Relaxed);
            session.keep();
        }
    }
}
