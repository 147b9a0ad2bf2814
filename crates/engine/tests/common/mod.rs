//! What the engine's tests share.
#![allow(dead_code, reason = "each test binary uses a part")]

pub mod lossy;
pub mod sql;

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use engine::{
    Batch, Embedded, EmbeddedConfig, Engine, Epoch, Error, Outcome, Raised, ReplicaId, Seq,
};
use keyspace::{Change, Record};
use kv::{KeyspaceName, Revision};

/// Far longer than another test takes to start a server.
const FREE_WITHIN: Duration = Duration::from_secs(60);

/// A folder that goes with the test.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("polis-engine-{}-{number}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Folder(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn open(&self) -> Embedded {
        open_once_free(&EmbeddedConfig::new(&self.0))
    }

    /// With log files so short that they are soon given back.
    pub fn open_short(&self, segments_max: usize) -> Embedded {
        let config = EmbeddedConfig::new(&self.0);
        open_once_free(&EmbeddedConfig { segment_bytes: 64 * 1024, segments_max, ..config })
    }

    /// What a crash at this moment would leave.
    pub fn copy(&self) -> Folder {
        let copy = Folder::new();
        copy_tree(&self.0, &copy.0);
        copy
    }

    /// Cuts the zeros off that files end in, so that copies are quick.
    pub fn shrink(&self) {
        for path in self.files() {
            let bytes = std::fs::read(&path).expect("it is readable");
            let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            // The header of a file of the log, and of its first frame.
            let end = end.max(bytes.len().min(8192));
            std::fs::write(&path, &bytes[..end]).expect("it is writable");
        }
    }

    /// Those that are written to all along: the trees' journal and the log.
    pub fn files(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.0).expect("the folder is there");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        let journals = paths.filter(|path| path.extension().is_some_and(|kind| kind == "jnl"));
        journals.chain(self.log_files()).collect()
    }

    /// The first file of the log.
    pub fn log_file(&self) -> PathBuf {
        self.log_files().remove(0)
    }

    pub fn log_files(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.0.join("wal")).expect("the folder is there");
        let mut files: Vec<PathBuf> =
            entries.map(|entry| entry.expect("an entry").path()).collect();
        files.sort();
        files
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What another test starts just now has all our files, and their locks, until
/// it becomes its own program.
fn open_once_free(config: &EmbeddedConfig) -> Embedded {
    let opened = testkit::wait_for(FREE_WITHIN, || match Embedded::open(config.clone()) {
        Err(Error::Locked { .. }) => None,
        opened => Some(opened),
    });
    opened.expect("nobody else has it").expect("the folder opens")
}

fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("the folder can be made");
    for entry in std::fs::read_dir(from).expect("the folder is there") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("the file can be copied");
        }
    }
}

pub fn name(name: &str) -> KeyspaceName {
    KeyspaceName::new(name).expect("a good name")
}

/// One transaction that puts one key.
pub fn put(revision: u64, key: &str, value: &str) -> Record {
    let put = Change::Put {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        create_revision: Revision(revision),
        version: 1,
        lease: None,
    };
    Record::Txn { revision: Revision(revision), changes: vec![put] }
}

pub fn batch(epoch: Epoch, seq: u64, records: Vec<Record>) -> Batch {
    Batch { epoch, seq: Seq(seq), records }
}

pub async fn claim(engine: &dyn Engine, keyspace: &KeyspaceName) -> Epoch {
    let seen = engine.load(keyspace).await.expect("it loads").epoch;
    match engine.raise(keyspace, seen, ReplicaId::default()).await.expect("it can be claimed") {
        Raised::Won(epoch) => epoch,
        other => panic!("{other:?}"),
    }
}

pub async fn commit(engine: &dyn Engine, keyspace: &KeyspaceName, batch: Batch) {
    let outcome = engine.append(keyspace, batch).await.expect("it can be appended");
    assert_eq!(outcome, Outcome::Committed);
}

pub async fn fold(engine: &dyn Engine, keyspace: &KeyspaceName, epoch: Epoch, before: Revision) {
    let outcome = engine.compact(keyspace, epoch, before).await.expect("it can be folded");
    assert_eq!(outcome, Outcome::Committed);
}
