//! The engine on local disk: an LSM tree (fjall) with one journal, and one
//! group commit for all keyspaces.
//!
//! A single committer thread owns who may write ([`commit`]). While one sync
//! is under way, batches of every keyspace gather; they go to disk as one
//! atomic write with one sync. Folding log into the base ([`fold`]) runs beside
//! it in small atomic pieces, and reading ([`read`]) uses snapshots, so neither
//! holds up a commit. A failed write or sync ends the process: after it nobody
//! can say what is on disk, and only a fresh start reads what really is.

mod commit;
mod fold;
mod journal;
mod layout;
mod read;
mod scan;

use std::{
    fs::TryLockError,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use fjall::{AbstractTree as _, Database, KeyspaceCreateOptions, PersistMode};
use keyspace::{Fold, Place, Values};
use kv::{KeyspaceName, Revision};
use rt::random::Random;
use tokio::task::spawn_blocking;

use self::commit::Committer;
use crate::{
    Batch, Engine, Epoch, Error, Loaded, Metrics, Outcome, Raised, ReplicaId, Scan, Storage,
    metrics::Counters, stored::EncodedBatch,
};

#[derive(Clone, Debug)]
pub struct EmbeddedConfig {
    /// Made when it does not exist; locked while open.
    pub path: PathBuf,
    /// Blocks kept in memory. Reads are rare (start, large values), so little
    /// is enough.
    pub cache_bytes: u64,
    /// Each of the two trees gathers this much before it writes a table.
    pub memtable_bytes: u64,
}

/// Open until dropped.
#[derive(Debug)]
pub struct Embedded {
    disk: Arc<Disk>,
    committer: Committer,
    folding: Arc<Mutex<()>>,
    reclaiming: Arc<Mutex<()>>,
}

/// The open database.
struct Disk {
    path: PathBuf,
    db: Database,
    /// Heads, marks, leases and the log: written once, soon removed.
    log: fjall::Keyspace,
    /// The base: rewritten when a key's change leaves the log.
    rows: fjall::Keyspace,
    cluster_id: u64,
    counters: Counters,
    /// Released last, when nothing writes any more.
    _lock: std::fs::File,
}

/// Our own lock, because we look at the journal before the library locks it.
const LOCK_FILE: &str = "polis.lock";

/// Flushing and compaction must not wait for each other, or writes would.
const WORKER_THREADS: usize = 2;

/// The least that the library allows, and hours of our writes.
const JOURNAL_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Writing out a memtable takes milliseconds, and some seconds on a slow disk.
const FLUSH_LOOK_EVERY: Duration = Duration::from_millis(20);
const FLUSH_LOOKS_MAX: usize = 250;

// === impl EmbeddedConfig ===

impl EmbeddedConfig {
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> EmbeddedConfig {
        const MIB: u64 = 1024 * 1024;
        EmbeddedConfig { path: path.into(), cache_bytes: 4 * MIB, memtable_bytes: 4 * MIB }
    }
}

// === impl Embedded ===

impl Embedded {
    /// Opens or makes the data. Blocks: on a large journal for a second or so.
    pub fn open(config: EmbeddedConfig) -> Result<Embedded, Error> {
        let disk = Arc::new(Disk::open(config)?);
        let committer = Committer::start(disk.clone())?;
        Ok(Embedded { disk, committer, folding: Arc::default(), reclaiming: Arc::default() })
    }

    /// Runs what reads or folds on a thread that may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Disk) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let disk = self.disk.clone();
        spawn_blocking(move || work(&disk)).await.map_err(|_| Error::Stopped)?
    }
}

#[async_trait]
impl Engine for Embedded {
    fn cluster_id(&self) -> u64 {
        self.disk.cluster_id
    }

    async fn keyspaces(&self) -> Result<Vec<KeyspaceName>, Error> {
        self.blocking(|disk| Ok(disk.heads()?.into_iter().map(|(name, _)| name).collect())).await
    }

    async fn raise(
        &self,
        keyspace: &KeyspaceName,
        seen: Epoch,
        _by: ReplicaId,
    ) -> Result<Raised, Error> {
        self.committer.raise(keyspace.clone(), seen).await
    }

    async fn load(&self, keyspace: &KeyspaceName) -> Result<Loaded, Error> {
        let name = keyspace.clone();
        self.blocking(move |disk| disk.load(&name)).await
    }

    async fn append(&self, keyspace: &KeyspaceName, batch: Batch) -> Result<Outcome, Error> {
        self.committer.append(keyspace.clone(), EncodedBatch::new(&batch)?).await
    }

    async fn compact(
        &self,
        keyspace: &KeyspaceName,
        epoch: Epoch,
        revision: Revision,
    ) -> Result<Outcome, Error> {
        let name = keyspace.clone();
        let folding = self.folding.clone();
        self.blocking(move |disk| {
            // One fold at a time: two of one keyspace would take the same log.
            let _folding = folding.lock().expect("a fold does not panic");
            disk.fold(&name, epoch, revision)
        })
        .await
    }

    async fn reclaim(&self) -> Result<(), Error> {
        let reclaiming = self.reclaiming.clone();
        self.blocking(move |disk| {
            // Whoever comes second wants what the first is doing.
            let Ok(_reclaiming) = reclaiming.try_lock() else { return Ok(()) };
            disk.reclaim()
        })
        .await
    }

    async fn scan(&self, keyspace: &KeyspaceName) -> Result<Scan, Error> {
        let name = keyspace.clone();
        let disk = self.disk.clone();
        let (head, heard) = tokio::sync::oneshot::channel();
        // Detached: it ends with its reader.
        spawn_blocking(move || disk.scan(&name, head));
        heard.await.unwrap_or(Err(Error::Stopped))
    }

    async fn install(
        &self,
        keyspace: &KeyspaceName,
        epoch: Epoch,
        piece: Fold,
    ) -> Result<Outcome, Error> {
        self.committer.install(keyspace.clone(), epoch, piece).await
    }

    async fn fetch(&self, keyspace: &KeyspaceName, places: &[Place]) -> Result<Values, Error> {
        let name = keyspace.clone();
        let places = places.to_vec();
        self.blocking(move |disk| disk.fetch(&name, &places)).await
    }

    fn metrics(&self) -> Metrics {
        // An error leaves the size unknown, which is not worth an answer of
        // its own: a disk in trouble shows in the next commit.
        self.disk.counters.read(self.disk.db.disk_space().unwrap_or(0))
    }
}

// === impl Disk ===

impl Disk {
    fn open(config: EmbeddedConfig) -> Result<Disk, Error> {
        let path = config.path.clone();
        let lock = lock(&path)?;
        journal::mend(&path)?;
        let open_error = |error| Error::open(&path, Storage::from(error));
        let db = Database::builder(&config.path)
            .cache_size(config.cache_bytes)
            .worker_threads(WORKER_THREADS)
            .max_journaling_size(JOURNAL_BYTES_MAX)
            // Each commit syncs by itself; without this a write would first
            // be handed to the system once more.
            .manual_journal_persist(true)
            .open()
            .map_err(open_error)?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(config.memtable_bytes);
        let log = db.keyspace("log", options).map_err(open_error)?;
        let rows = db.keyspace("rows", options).map_err(open_error)?;
        let cluster_id = Self::cluster_id(&db, &log, &path)?;
        let counters = Counters::default();
        Ok(Disk { path, db, log, rows, cluster_id, counters, _lock: lock })
    }

    fn cluster_id(db: &Database, log: &fjall::Keyspace, path: &Path) -> Result<u64, Error> {
        let failed = |error| Error::open(path, Storage::from(error));
        if let Some(stored) = log.get(layout::CLUSTER_KEY).map_err(failed)? {
            return layout::decode_cluster(&stored);
        }
        let id = Random::from_entropy().next_u64().max(1);
        log.insert(layout::CLUSTER_KEY, layout::encode_cluster(id)).map_err(failed)?;
        db.persist(PersistMode::SyncAll).map_err(failed)?;
        Ok(id)
    }
}

impl Disk {
    /// Removed rows vanish from the disk only when the tables that hold them
    /// are rewritten, and the journal's files only when nothing in them is left
    /// in memory alone.
    #[allow(clippy::disallowed_methods, reason = "may block, and the library has no signal")]
    fn reclaim(&self) -> Result<(), Error> {
        for tree in [&self.log, &self.rows] {
            tree.rotate_memtable().map_err(Storage::from).map_err(Error::Read)?;
        }
        // A flush that does not come about in time is left to the library: its
        // removals then count the next time.
        for _ in 0..FLUSH_LOOKS_MAX {
            let unwritten = [&self.log, &self.rows].map(|tree| tree.tree.sealed_memtable_count());
            if unwritten == [0, 0] {
                break;
            }
            std::thread::sleep(FLUSH_LOOK_EVERY);
        }
        for tree in [&self.log, &self.rows] {
            tree.major_compact().map_err(Storage::from).map_err(Error::Read)?;
        }
        Ok(())
    }
}

/// Makes the folder and takes its lock.
fn lock(path: &Path) -> Result<std::fs::File, Error> {
    let failed = |error: std::io::Error| Error::open(path, error);
    std::fs::create_dir_all(path).map_err(failed)?;
    let lock = std::fs::File::create(path.join(LOCK_FILE)).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(Error::Locked { path: path.into() }),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disk").field("path", &self.path).finish_non_exhaustive()
    }
}
