//! The engine on local disk: one log and one group commit for all keyspaces.
//!
//! The log is made of files of our own ([`wal`]), and a single committer thread
//! owns who may write to it ([`commit`]). While one sync is under way, batches
//! of every keyspace gather; they go to disk as one frame with one sync. The
//! base is in an LSM tree (fjall). Folding log into it ([`fold`]) and giving
//! files back ([`tidy`]) run beside the committer, and reading ([`read`]) uses
//! snapshots; so none of them holds up a commit, which never waits for the file
//! system's own tables either. A failed write or sync ends the process: after
//! it nobody can say what is on disk, and only a fresh start reads what really
//! is.

mod commit;
mod entry;
mod fold;
pub mod fuzz;
mod index;
mod journal;
mod layout;
mod lookout;
mod read;
mod recover;
mod scan;
mod tidy;
mod unborn;
mod wal;

use std::{
    fs::TryLockError,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use fjall::{AbstractTree as _, Database, KeyspaceCreateOptions, PersistMode};
use keyspace::{Fold, Place, Values};
use kv::{KeyspaceName, Revision};
use rt::random::Random;
use tokio::task::spawn_blocking;

use self::{
    commit::Committer,
    index::Index,
    tidy::Tidy,
    wal::{Recovered, Shelf, Wal},
};
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
    /// Length of the log's files.
    pub segment_bytes: u64,
    /// Full files of the log that may wait for their batches to be folded;
    /// beyond it the oldest is given back, and its batches move into a tree.
    pub segments_max: usize,
}

/// Open until dropped.
pub struct Embedded {
    disk: Arc<Disk>,
    committer: Committer,
    _tidy: Tidy,
    reclaiming: Arc<Mutex<()>>,
}

/// The open database.
struct Disk {
    path: PathBuf,
    db: Database,
    /// Heads, marks, leases, notes, and batches whose file was given back.
    log: fjall::Keyspace,
    /// The base: rewritten when a key's change leaves the log.
    rows: fjall::Keyspace,
    cluster_id: u64,
    index: Mutex<Index>,
    shelf: Arc<Shelf>,
    segments_max: usize,
    /// One at a time: two folds of one keyspace would take the same log.
    folding: Mutex<()>,
    /// One at a time: two would give the same files back.
    giving_back: Mutex<()>,
    counters: Counters,
    /// Released last, when nothing writes any more.
    _lock: std::fs::File,
}

/// Our own lock, because we look at the journal before the library locks it.
const LOCK_FILE: &str = "polis.lock";

/// Flushing and compaction must not wait for each other, or writes would.
const WORKER_THREADS: usize = 2;

const WAL_FOLDER: &str = "wal";

/// The tree's own journal: the least that the library allows.
const JOURNAL_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Writing out a memtable takes milliseconds, and some seconds on a slow disk.
const FLUSH_LOOK_EVERY: Duration = Duration::from_millis(20);
const FLUSH_LOOKS_MAX: usize = 250;

// === impl EmbeddedConfig ===

impl EmbeddedConfig {
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> EmbeddedConfig {
        const MIB: u64 = 1024 * 1024;
        EmbeddedConfig {
            path: path.into(),
            cache_bytes: 4 * MIB,
            memtable_bytes: 4 * MIB,
            segment_bytes: 16 * MIB,
            segments_max: 16,
        }
    }
}

// === impl Embedded ===

impl Embedded {
    /// Opens or makes the data. Blocks: on a large journal for a second or so.
    pub fn open(config: EmbeddedConfig) -> Result<Embedded, Error> {
        let path = config.path.clone();
        let (disk, recovered) = Disk::open(config)?;
        let disk = Arc::new(disk);
        let wal = Wal::new(disk.shelf.clone(), recovered);
        let wal = wal.map_err(|error| Error::open(&path, error))?;
        let committer = Committer::start(disk.clone(), wal)?;
        let tidy = Tidy::start(disk.clone())?;
        Ok(Embedded { disk, committer, _tidy: tidy, reclaiming: Arc::default() })
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
        Ok(self.disk.index().lines().map(|(name, _)| name.clone()).collect())
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
        let changes = batch.records.len();
        self.committer.append(keyspace.clone(), EncodedBatch::new(&batch)?, changes).await
    }

    async fn compact(
        &self,
        keyspace: &KeyspaceName,
        epoch: Epoch,
        revision: Revision,
    ) -> Result<Outcome, Error> {
        let name = keyspace.clone();
        self.blocking(move |disk| {
            let _folding = disk.folding.lock().expect("a fold does not panic");
            disk.fold(&name, epoch, revision)
        })
        .await
    }

    async fn reclaim(&self) -> Result<(), Error> {
        self.committer.rotate().await?;
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

    fn pace(&self) -> Duration {
        self.disk.counters.recent()
    }

    /// What the log and the trees hold: not the files that are made ahead of
    /// need, and not the trees' journal, which is one of them.
    fn metrics(&self) -> Metrics {
        let held = |tree: &fjall::Keyspace| tree.disk_space() + tree.tree.active_memtable().size();
        let trees = held(&self.disk.log) + held(&self.disk.rows);
        self.disk.counters.read(trees + self.disk.shelf.bytes())
    }
}

// === impl Disk ===

impl Disk {
    fn open(config: EmbeddedConfig) -> Result<(Disk, Recovered), Error> {
        let path = config.path.clone();
        let lock = lock(&path)?;
        unborn::clear(&path).map_err(|error| Error::open(&path, error))?;
        journal::mend(&path)?;
        let open_error = |error| Error::open(&path, Storage::from(error));
        let db = Database::builder(&config.path)
            .cache_size(config.cache_bytes)
            .worker_threads(WORKER_THREADS)
            .max_journaling_size(JOURNAL_BYTES_MAX)
            // What is in the log need not be handed to the system twice.
            .manual_journal_persist(true)
            .open()
            .map_err(open_error)?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(config.memtable_bytes);
        let log = db.keyspace("log", options).map_err(open_error)?;
        let rows = db.keyspace("rows", options).map_err(open_error)?;
        let cluster_id = Self::cluster_id(&db, &log, &path)?;
        let (index, recovered) = recover::recover(&path, &db, &log, cluster_id)?;
        sync_names(&path).map_err(|error| Error::open(&path, error))?;
        let folder = path.join(WAL_FOLDER);
        let shelf = Shelf::new(folder, cluster_id, config.segment_bytes, recovered.last);
        let disk = Disk {
            path,
            db,
            log,
            rows,
            cluster_id,
            index: Mutex::new(index),
            shelf: Arc::new(shelf),
            segments_max: config.segments_max,
            folding: Mutex::default(),
            giving_back: Mutex::default(),
            counters: Counters::default(),
            _lock: lock,
        };
        Ok((disk, recovered))
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().expect("nobody panics while holding it")
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
        self.give_back(0)?;
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

/// The library makes a folder for each tree, and leaves it to the system when
/// their names are durable: without them the journal is of trees unknown.
fn sync_names(path: &Path) -> std::io::Result<()> {
    for folder in [&path.join(unborn::TREES_FOLDER), path] {
        std::fs::File::open(folder)?.sync_all()?;
    }
    Ok(())
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

impl std::fmt::Debug for Embedded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Embedded").field("disk", &self.disk).finish_non_exhaustive()
    }
}
