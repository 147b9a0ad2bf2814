//! The thread that keeps the log's files: makes the next one, and gives back
//! those that nobody needs.

use std::{fmt, sync::Arc, thread::JoinHandle, time::Duration};

use fjall::PersistMode;

use super::{
    Disk,
    index::{Site, Stored},
    layout::{START_KEY, encode_start, head_key, log_key},
    wal::{Chore, Segment, Start},
};
use crate::{Error, Seq, Storage};

/// Bytes of batches that one write moves into the tree.
const PIECE_BYTES_MAX: usize = 1024 * 1024;

/// After a file could not be made (disk full): the log goes on in the one there
/// is, so this is no emergency yet.
const RETRY: Duration = Duration::from_secs(1);

/// Ends when this is dropped.
#[derive(Debug)]
pub(super) struct Tidy {
    disk: Arc<Disk>,
    thread: Option<JoinHandle<()>>,
}

// === impl Tidy ===

impl Tidy {
    pub fn start(disk: Arc<Disk>) -> Result<Tidy, Error> {
        let path = disk.path.clone();
        let of_thread = disk.clone();
        let thread = std::thread::Builder::new()
            .name("engine-tidy".into())
            .spawn(move || of_thread.tidy())
            .map_err(|error| Error::Open { path, source: Storage(error.to_string()) })?;
        Ok(Tidy { disk, thread: Some(thread) })
    }
}

impl Drop for Tidy {
    fn drop(&mut self) {
        self.disk.shelf.close();
        if let Some(thread) = self.thread.take() {
            // A panic in there has already been told; the data is as it was.
            let _ = thread.join();
        }
    }
}

// === impl Disk ===

impl Disk {
    #[allow(clippy::disallowed_methods, reason = "a thread of its own, which may block")]
    fn tidy(&self) {
        loop {
            let done = match self.shelf.chore() {
                Chore::Stop => return,
                Chore::Prepare => self.shelf.prepare().map_err(|error| error.to_string()),
                Chore::Free => self.give_back(self.segments_max).map_err(|error| error.to_string()),
            };
            if let Err(error) = done {
                tracing::warn!(%error, "the log's files are not tidied");
                std::thread::sleep(RETRY);
            }
        }
    }

    /// Gives back files that nobody needs; and, when more than `keep` are full,
    /// the oldest, whose batches move into the tree.
    pub(super) fn give_back(&self, keep: usize) -> Result<(), Error> {
        let _giving = self.giving_back.lock().expect("giving back does not panic");
        loop {
            if let Some((count, start)) = self.shelf.free() {
                self.begin_log_at(start);
                self.shelf.discard(count).map_err(|error| Error::Read(error.into()))?;
            }
            if self.shelf.full() <= keep {
                return Ok(());
            }
            let Some(oldest) = self.shelf.oldest() else { return Ok(()) };
            self.move_into_tree(&oldest)?;
            let number = oldest.number;
            drop(oldest);
            // Somebody reads it still, or the log has not begun anew after it.
            if self.shelf.free().is_none() {
                tracing::debug!(number, "a file of the log is still in use");
                return Ok(());
            }
        }
    }

    /// From now on the log begins later. Everything that stood before it is
    /// durable elsewhere: bases and batches in the trees, and the heads here.
    fn begin_log_at(&self, start: Start) {
        let mut write = self.db.batch().durability(Some(PersistMode::SyncAll));
        for (name, line) in self.index().lines() {
            write.insert(&self.log, head_key(name), line.head.encode());
        }
        write.insert(&self.log, START_KEY, encode_start(start));
        if let Err(error) = write.commit() {
            end_process(&error);
        }
    }

    /// Moves the batches that only this file holds.
    fn move_into_tree(&self, segment: &Arc<Segment>) -> Result<(), Error> {
        // A fold in the meantime would remove them before they are there.
        let _folding = self.folding.lock().expect("a fold does not panic");
        let stays = |stored: &Stored| matches!(&stored.site, Site::File { segment: of, .. } if of.number == segment.number);
        let mut moving = Vec::new();
        for (name, line) in self.index().lines() {
            let mut seq = line.folded;
            for stored in &line.batches {
                seq = seq.next();
                if stays(stored) {
                    moving.push((name.clone(), line.head.id, seq, stored.clone()));
                }
            }
        }
        let mut write = self.db.batch();
        let mut bytes = 0;
        for (name, id, seq, stored) in &moving {
            let batch = self.stored(name, *id, *seq, stored)?;
            bytes += batch.len();
            write.insert(&self.log, log_key(*id, *seq), batch);
            if bytes > PIECE_BYTES_MAX {
                bytes = 0;
                let full = std::mem::replace(&mut write, self.db.batch());
                full.commit().unwrap_or_else(|error| end_process(&error));
            }
        }
        write.commit().unwrap_or_else(|error| end_process(&error));
        let moved: Vec<_> = moving
            .into_iter()
            .map(|(name, _, seq, stored)| {
                drop(stored);
                (name, seq)
            })
            .collect();
        self.now_in_tree(moved);
        Ok(())
    }

    fn now_in_tree(&self, moved: Vec<(kv::KeyspaceName, Seq)>) {
        let mut index = self.index();
        for (name, seq) in moved {
            let Some(line) = index.line_mut(&name) else { continue };
            if let Some(stored) = line.batch_mut(seq) {
                stored.site = Site::Tree;
            }
        }
    }
}

/// After a failed write or sync nobody can say what is on disk: a retry can
/// report success for pages the kernel has dropped.
pub(super) fn end_process(error: &dyn fmt::Display) -> ! {
    tracing::error!(%error, "the store's log could not be written; ending the process");
    std::process::abort()
}
