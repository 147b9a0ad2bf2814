//! Room on disk for work under way.

use std::{
    fs::{File, OpenOptions},
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Each reads a whole keyspace and writes it twice: one after the other is
/// faster than several at once, and needs less room.
const AT_ONCE_MAX: usize = 1;

/// Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Scratch {
    folder: PathBuf,
    turns: Arc<Semaphore>,
}

// === impl Scratch ===

impl Scratch {
    /// Files go into `folder`, if there is one, or where the system keeps such.
    pub fn new(folder: PathBuf) -> Scratch {
        let folder = if folder.is_dir() { folder } else { std::env::temp_dir() };
        Scratch { folder, turns: Arc::new(Semaphore::new(AT_ONCE_MAX)) }
    }

    /// Waits until nobody else needs much room.
    pub async fn turn(&self) -> OwnedSemaphorePermit {
        self.turns.clone().acquire_owned().await.expect("the semaphore is never closed")
    }

    /// A file without a name: it goes with its last handle, however that ends.
    pub fn file(&self) -> io::Result<File> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Relaxed);
        let path = self.folder.join(format!("scratch-{}-{number}", std::process::id()));
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        std::fs::remove_file(path)?;
        Ok(file)
    }
}
