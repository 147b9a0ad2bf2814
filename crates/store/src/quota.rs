//! How much the store may hold: on local disk its log and tables, without files
//! that are made ahead of need; in a database its tables and their indexes, as
//! the database last told.
//!
//! Once it held more, the alarm NOSPACE stands, as with etcd: puts and grants
//! are refused until somebody has made room and disarms it. Too early, and the
//! next look raises it again.
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

use crate::alarms::{AlarmKind, Alarms};

/// Written between two looks: a part of the quota by which overshooting it
/// harms nobody, and of gigabytes no more than this.
const LOOK_EVERY_PART: u64 = 32;
const LOOK_EVERY_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Looks at a full store after it was compacted, a second apart: by then the
/// memtables have been written out, except on a disk that is in trouble.
const PASSES_MAX: usize = 3;
const PASS_EVERY: Duration = Duration::from_secs(1);

pub(crate) struct Quota {
    engine: Arc<dyn Engine>,
    limit_bytes: u64,
    unseen_bytes: AtomicU64,
    /// Holds more than it may, as far as was looked.
    full: AtomicBool,
    alarms: Arc<Alarms>,
}

// === impl Quota ===

impl Quota {
    pub fn new(engine: Arc<dyn Engine>, limit_bytes: u64, alarms: Arc<Alarms>) -> Quota {
        let quota = Quota {
            engine,
            limit_bytes,
            unseen_bytes: AtomicU64::new(0),
            full: AtomicBool::new(false),
            alarms,
        };
        quota.look();
        quota
    }

    pub fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    pub fn wrote(&self, bytes: usize) {
        let bytes = bytes as u64;
        let every_bytes = (self.limit_bytes / LOOK_EVERY_PART).min(LOOK_EVERY_BYTES_MAX);
        if self.unseen_bytes.fetch_add(bytes, Relaxed) + bytes >= every_bytes {
            self.look();
        }
    }

    /// Whether puts are refused.
    pub fn refuses_puts(&self) -> bool {
        self.alarms.is_raised(AlarmKind::NoSpace)
    }

    /// Whether there is more than may be, now.
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
            match self.reclaim().await {
                Ok(()) => {}
                // When it does, nobody knows: the next fold looks again.
                Err(engine::Error::ReclaimsByItself) => return,
                Err(error) => tracing::warn!(%error, "space not given back"),
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

    /// Raises the alarm if there is more than may be.
    pub fn look(&self) {
        self.unseen_bytes.store(0, Relaxed);
        let disk_bytes = self.engine.metrics().disk_bytes;
        let full = disk_bytes > self.limit_bytes;
        // Also when it was disarmed too early.
        if full && self.alarms.raise(AlarmKind::NoSpace) {
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
