//! How much the store may hold on disk.
//!
//! Asked by every batch, so the disk is looked at only now and then: after
//! enough was written to matter, and while the store is full, when somebody
//! wants to know whether there is room again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use engine::Engine;

/// Written between two looks at the disk. A quota is gigabytes; overshooting
/// it by this much harms nobody.
const LOOK_EVERY_BYTES: u64 = 8 * 1024 * 1024;

/// Looks at a full store after it was compacted, a second apart: by then the
/// memtables have been written out, except on a disk that is in trouble.
const PASSES_MAX: usize = 3;
const PASS_EVERY: Duration = Duration::from_secs(1);

pub(crate) struct Quota {
    engine: Arc<dyn Engine>,
    limit_bytes: u64,
    unseen_bytes: AtomicU64,
    full: AtomicBool,
}

// === impl Quota ===

impl Quota {
    pub fn new(engine: Arc<dyn Engine>, limit_bytes: u64) -> Quota {
        let quota = Quota {
            engine,
            limit_bytes,
            unseen_bytes: AtomicU64::new(0),
            full: AtomicBool::new(false),
        };
        quota.look();
        quota
    }

    pub fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    pub fn wrote(&self, bytes: usize) {
        let bytes = bytes as u64;
        if self.unseen_bytes.fetch_add(bytes, Relaxed) + bytes >= LOOK_EVERY_BYTES {
            self.look();
        }
    }

    /// Whether puts are refused.
    pub fn is_full(&self) -> bool {
        if self.full.load(Relaxed) {
            self.look();
        }
        self.full.load(Relaxed)
    }

    /// Gives a full store its space back. What was freed just now may still be
    /// on its way to a table, so one pass can come too early.
    pub async fn make_room(&self) {
        let mut passes = 0;
        while passes < PASSES_MAX && self.is_full() {
            passes += 1;
            if let Err(error) = self.reclaim().await {
                tracing::warn!(%error, "space not given back");
            }
            if self.is_full() {
                tokio::time::sleep(PASS_EVERY).await;
            }
        }
    }

    /// Rewrites what is stored without what was freed, and looks again.
    pub async fn reclaim(&self) -> Result<(), engine::Error> {
        self.engine.reclaim().await?;
        self.look();
        Ok(())
    }

    fn look(&self) {
        self.unseen_bytes.store(0, Relaxed);
        let disk_bytes = self.engine.metrics().disk_bytes;
        let full = disk_bytes > self.limit_bytes;
        if full && !self.full.swap(full, Relaxed) {
            tracing::error!(
                disk_bytes,
                quota_bytes = self.limit_bytes,
                "{}: the store is full and refuses puts. {}",
                errors::STORE_FULL,
                errors::STORE_FULL.remedy()
            );
        }
        self.full.store(full, Relaxed);
    }
}
