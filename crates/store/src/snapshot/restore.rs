//! A snapshot into a fresh log.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use engine::{
    Batch, Embedded, EmbeddedConfig, Engine, Epoch, Outcome, Raised, ReplicaId, Seq, SqlConfig,
    sql::Restoring,
};
use keyspace::{Change, Fold, Handle, Record, Row, auth::Secret};
use kv::{KeyspaceName, LeaseId, Revision};
use pb_etcd::mvccpb;
use prost::Message as _;

use super::{
    Snapshot, SnapshotError,
    layout::{At, Entry},
};
use crate::store::LOG_FOLDER;

/// What goes to the log at once.
const PIECE_BYTES: usize = 1024 * 1024;

/// The log grows here, and is moved to its place when it is whole.
const UNFINISHED_FOLDER: &str = "log.restoring";

/// What a keyspace came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    pub keyspace: KeyspaceName,
    pub revision: Revision,
    pub compacted: Revision,
    /// Versions of keys, deletions included.
    pub entries: u64,
    pub leases: usize,
    pub users: usize,
}

#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error(transparent)]
    Engine(#[from] engine::Error),
    #[error(
        "data-dir {:?} not empty or could not be read: a restore makes a store of its own, and \
         never changes one",
        path.display().to_string()
    )]
    NotEmpty { path: PathBuf },
    #[error("write {}", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("keyspace {0} is not empty")]
    KeyspaceNotEmpty(KeyspaceName),
    #[error("somebody else writes to keyspace {0}")]
    Deposed(KeyspaceName),
}

/// A folder that a store can be started on, from a snapshot for each of its
/// keyspaces. It is whole or not there.
pub async fn restore(
    data_dir: &Path,
    snapshots: Vec<(KeyspaceName, Snapshot)>,
) -> Result<Vec<Restored>, RestoreError> {
    let folder_error = |source| RestoreError::Folder { path: data_dir.into(), source };
    let not_empty = || RestoreError::NotEmpty { path: data_dir.into() };
    let unfinished = data_dir.join(UNFINISHED_FOLDER);
    // What an earlier attempt left is ours to remove.
    match fs::remove_dir_all(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(folder_error(error)),
        _ => {}
    }
    match fs::read_dir(data_dir).map(|mut entries| entries.next().is_none()) {
        Ok(true) => {}
        Ok(false) => return Err(not_empty()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(data_dir).map_err(folder_error)?;
        }
        Err(_) => return Err(not_empty()),
    }
    let mut restored = Vec::new();
    {
        let engine = Embedded::open(EmbeddedConfig::new(&unfinished))?;
        for (keyspace, snapshot) in snapshots {
            restored.push(restore_into(&engine, &keyspace, &snapshot).await?);
        }
    }
    fs::rename(&unfinished, data_dir.join(LOG_FOLDER)).map_err(folder_error)?;
    fs::File::open(data_dir).and_then(|folder| folder.sync_all()).map_err(folder_error)?;
    Ok(restored)
}

/// A database that stores can be started on, from a snapshot for each of its
/// keyspaces. Until it is whole, every store refuses it; `start_over` removes
/// what a restore that was cut off has left there.
pub async fn restore_database(
    database: SqlConfig,
    start_over: bool,
    snapshots: Vec<(KeyspaceName, Snapshot)>,
) -> Result<Vec<Restored>, RestoreError> {
    let restoring = Restoring::connect(database, start_over).await?;
    let mut restored = Vec::new();
    for (keyspace, snapshot) in snapshots {
        restored.push(restore_into(restoring.engine(), &keyspace, &snapshot).await?);
    }
    restoring.finish().await?;
    Ok(restored)
}

/// Into a keyspace that nobody has written to.
pub async fn restore_into(
    engine: &dyn Engine,
    keyspace: &KeyspaceName,
    snapshot: &Snapshot,
) -> Result<Restored, RestoreError> {
    let head = engine.scan(keyspace).await?.head;
    if head.seq != Seq::default() || head.base != Revision::ZERO {
        return Err(RestoreError::KeyspaceNotEmpty(keyspace.clone()));
    }
    let raised = engine.raise(keyspace, head.epoch, ReplicaId::default()).await?;
    let Raised::Won(epoch) = raised else {
        return Err(RestoreError::Deposed(keyspace.clone()));
    };
    let compacted = snapshot.compacted()?;
    let restored = Restored {
        keyspace: keyspace.clone(),
        revision: compacted.max(Revision::FIRST),
        compacted,
        entries: 0,
        leases: 0,
        users: 0,
    };
    let fold = empty_fold(compacted);
    let mut target = Target {
        engine,
        epoch,
        seq: Seq::default(),
        fold,
        pending: Vec::new(),
        bytes: 0,
        restored,
    };
    target.take_in_bookkeeping(snapshot)?;
    let mut in_base = true;
    let mut txn: Option<(Revision, Vec<Change>)> = None;
    for entry in snapshot.entries()? {
        let entry = entry?;
        target.restored.entries += 1;
        if entry.at.main <= compacted.0 {
            target.add_row(snapshot, entry).await?;
            continue;
        }
        if std::mem::replace(&mut in_base, false) {
            target.flush_base().await?;
        }
        let (at, change) = change_of(snapshot, &entry)?;
        if txn.as_ref().is_none_or(|(revision, _)| revision.0 != at.main) {
            let next = txn.replace((Revision(at.main), Vec::new()));
            target.add_txn(snapshot, next).await?;
        }
        let (_, changes) = txn.as_mut().expect("just set");
        if changes.len() as u64 != at.sub {
            return Err(snapshot.damaged(named(at), "changes before it are missing").into());
        }
        changes.push(change);
    }
    if in_base {
        target.flush_base().await?;
    }
    target.add_txn(snapshot, txn).await?;
    target.flush_log().await?;
    Ok(target.restored)
}

/// A log being filled.
struct Target<'a> {
    engine: &'a dyn Engine,
    epoch: Epoch,
    seq: Seq,
    fold: Fold,
    pending: Vec<Record>,
    bytes: usize,
    restored: Restored,
}

// === impl Target ===

impl Target<'_> {
    fn take_in_bookkeeping(&mut self, snapshot: &Snapshot) -> Result<(), RestoreError> {
        let leases = snapshot.leases()?;
        self.restored.leases = leases.len();
        self.fold.leases.extend(leases.into_iter().map(|lease| (lease.id, Some(lease))));
        if let Some(mut users) = snapshot.users()? {
            self.restored.users = users.users.len();
            users.secret = users.enabled.then(fresh_secret);
            let notes = users.notes().into_iter();
            self.fold.notes.extend(notes.map(|note| (note.name.clone(), Some(note))));
        }
        Ok(())
    }

    /// The last version of a key up to the compaction is what counts.
    async fn add_row(&mut self, snapshot: &Snapshot, entry: Entry) -> Result<(), RestoreError> {
        let (at, change) = change_of(snapshot, &entry)?;
        self.bytes += entry.value.len();
        match change {
            // etcd marks a revision that was raised by hand with such an entry.
            Change::Put { key, .. } if key.is_empty() => {}
            Change::Put { key, value, create_revision, version, lease } => {
                let sub = u32::try_from(at.sub)
                    .map_err(|_| snapshot.damaged(named(at), "more changes than any has"))?;
                let row = Row {
                    key: key.clone(),
                    value: Handle::Inline(value),
                    create_revision,
                    mod_revision: Revision(at.main),
                    sub,
                    version,
                    lease,
                };
                self.fold.rows.insert(key, Some(row));
            }
            Change::Delete { key } => {
                self.fold.rows.insert(key, None);
            }
        }
        if self.bytes >= PIECE_BYTES {
            self.flush_base().await?;
        }
        Ok(())
    }

    async fn flush_base(&mut self) -> Result<(), RestoreError> {
        let next = empty_fold(self.restored.compacted);
        let fold = std::mem::replace(&mut self.fold, next);
        self.bytes = 0;
        let installed = self.engine.install(&self.restored.keyspace, self.epoch, fold).await?;
        self.expect(installed)
    }

    async fn add_txn(
        &mut self,
        snapshot: &Snapshot,
        txn: Option<(Revision, Vec<Change>)>,
    ) -> Result<(), RestoreError> {
        let Some((revision, changes)) = txn else { return Ok(()) };
        if revision != self.restored.revision.next() {
            let at = At { main: revision.0, sub: 0 };
            return Err(snapshot.damaged(named(at), "revisions before it are missing").into());
        }
        self.restored.revision = revision;
        let record = Record::Txn { revision, changes };
        self.bytes += crate::batch::size(&record);
        self.pending.push(record);
        if self.bytes >= PIECE_BYTES {
            self.flush_log().await?;
        }
        Ok(())
    }

    async fn flush_log(&mut self) -> Result<(), RestoreError> {
        let records = std::mem::take(&mut self.pending);
        self.bytes = 0;
        if records.is_empty() {
            return Ok(());
        }
        self.seq = self.seq.next();
        let batch = Batch { epoch: self.epoch, seq: self.seq, records };
        let appended = self.engine.append(&self.restored.keyspace, batch).await?;
        self.expect(appended)
    }

    fn expect(&self, outcome: Outcome) -> Result<(), RestoreError> {
        match outcome {
            Outcome::Committed => Ok(()),
            Outcome::Deposed | Outcome::Unknown => {
                Err(RestoreError::Deposed(self.restored.keyspace.clone()))
            }
        }
    }
}

fn empty_fold(compacted: Revision) -> Fold {
    Fold { revision: compacted, compacted, ..Fold::default() }
}

fn change_of(snapshot: &Snapshot, entry: &Entry) -> Result<(At, Change), SnapshotError> {
    let at = entry.at;
    let damaged = |problem| snapshot.damaged(named(at), problem);
    let kv = mvccpb::KeyValue::decode(entry.value.clone())
        .map_err(|_| damaged("it cannot be decoded"))?;
    // Slices of a page would keep all of it.
    let key = kv_etcd::range::owned(&kv.key);
    if entry.deleted {
        return Ok((at, Change::Delete { key }));
    }
    let number = |number: i64| u64::try_from(number).map_err(|_| damaged("a negative number"));
    if !key.is_empty() && number(kv.mod_revision)? != at.main {
        return Err(damaged("it holds another revision"));
    }
    let put = Change::Put {
        key,
        value: kv_etcd::range::owned(&kv.value),
        create_revision: Revision(number(kv.create_revision)?),
        version: number(kv.version)?,
        lease: (kv.lease != 0).then_some(LeaseId(kv.lease)),
    };
    Ok((at, put))
}

fn named(at: At) -> String {
    format!("revision {}.{}", at.main, at.sub)
}

/// Tokens of before are void.
fn fresh_secret() -> Secret {
    let mut secret = [0; 32];
    aws_lc_rs::rand::fill(&mut secret).expect("the system gives random bytes");
    Secret(secret)
}
