//! The engine on a database that several processes share, over the MySQL
//! protocol: OceanBase and seekdb, MariaDB and Galera, MySQL, TiDB.
//!
//! A batch is one transaction that moves its keyspace's head on by comparison
//! of epoch and seq and adds one row to the log. The comparison is the server's:
//! a batch that arrives late, after its writer gave up, finds another epoch and
//! does nothing. That is what settles an unknown outcome: its writer raises the
//! epoch, which comes after the lost batch or kills it, and loads again.
//!
//! In reading order: [`Sql`] speaks in batches, [`Database`] in transactions,
//! [`Mysql`] in statements. Nothing here relies on AUTO_INCREMENT, GET_LOCK, XA,
//! serializable isolation or anybody's wall clock.

mod database;
mod pool;

mod cell;
mod fold;
mod load;
mod log;
mod recover;
mod rest;
mod restore;
mod scan;
mod size;
mod walk;

mod config;
mod mysql;
mod tls;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use keyspace::{Change, Fold, Place, Record, Values};
use kv::{KeyspaceName, Revision};
use rt::{TaskKind, random::Random};
use tokio::time::Instant;

use self::{
    fold::Folded,
    pool::{Pool, Tries, again},
    rest::Rests,
    size::Size,
    walk::Walk,
};
use crate::{
    Batch, Board, Engine, Epoch, Error, Loaded, Metrics, Outcome, Raised, Replica, ReplicaId, Scan,
    Seq, Shared, Tail, Tailed, metrics::Counters, stored::EncodedBatch,
};

pub use config::{Endpoint, SqlConfig};
pub use database::{
    Append, CELL_NAME_BYTES_MAX, Cell, Connection, Database, Failure, Founded, LogRow, Mark, Piece,
    Stand,
};
pub use mysql::{Answer, Arg, Broke, Mysql, Session, Text};
pub use recover::{Recovered, Seen};
pub use restore::Restoring;
pub use tls::{Checks, ClientCertificate, ServerCheck, Tls};

/// A row holds this much beside key and value.
const ROW_OVERHEAD_BYTES: usize = 1024;

pub struct Sql {
    pool: Arc<Pool>,
    cluster_id: u64,
    /// Keyspaces' batches under way, in the order of the calls.
    lanes: Mutex<HashMap<KeyspaceName, Arc<tokio::sync::Mutex<()>>>>,
    /// One fold at a time: commits of others go on beside it.
    folding: tokio::sync::Mutex<()>,
    /// Folds that can wait do; none does where this is not.
    rests: Option<Mutex<Rests>>,
    /// Whoever comes second wants what the first is doing.
    reclaiming: tokio::sync::Mutex<()>,
    counters: Counters,
    size: Arc<Size>,
}

// === impl Sql ===

impl Sql {
    /// Connects to a real database.
    pub async fn connect(config: SqlConfig) -> Result<Sql, Error> {
        Sql::open(Arc::new(Mysql::new(config)?)).await
    }

    /// Makes or migrates the tables, if need be.
    pub async fn open(database: Arc<dyn Database>) -> Result<Sql, Error> {
        let pool = Arc::new(Pool::new(database));
        let candidate = Random::from_entropy().next_u64().max(1);
        let found = again!(pool, session => session.found(candidate));
        Ok(Sql::over(pool, found.map_err(unreachable)?))
    }

    /// Connects to a real database, of which nothing is to be changed; `None`
    /// where no store was ever started.
    pub async fn look_into(config: SqlConfig) -> Result<Option<Sql>, Error> {
        let pool = Arc::new(Pool::new(Arc::new(Mysql::new(config)?)));
        match again!(pool, session => session.founded()).map_err(unreachable)? {
            None => Ok(None),
            Some(Founded { is_whole: false, .. }) => Err(restore::unfinished()),
            Some(Founded { cluster_id, .. }) => Ok(Some(Sql::over(pool, cluster_id))),
        }
    }

    fn over(pool: Arc<Pool>, cluster_id: u64) -> Sql {
        Sql {
            pool,
            cluster_id,
            lanes: Mutex::default(),
            folding: tokio::sync::Mutex::default(),
            rests: Some(Mutex::default()),
            reclaiming: tokio::sync::Mutex::default(),
            counters: Counters::default(),
            size: Arc::default(),
        }
    }

    /// Folds whenever it is told to.
    #[must_use]
    pub fn eager(self) -> Sql {
        Sql { rests: None, ..self }
    }

    fn rests(&self) -> Option<MutexGuard<'_, Rests>> {
        self.rests.as_ref().map(|rests| rests.lock().expect("no holder panics"))
    }

    async fn fold(
        &self,
        keyspace: &KeyspaceName,
        epoch: Epoch,
        revision: Revision,
    ) -> Result<Outcome, Error> {
        let _folding = self.folding.lock().await;
        loop {
            let began = Instant::now();
            // A piece whose answer was lost is read again: it is folded or not.
            let folded = again!(self.pool, session => {
                fold::fold_piece(&mut *session, keyspace, epoch, revision)
            });
            match folded? {
                Folded::Deposed => return Ok(Outcome::Deposed),
                Folded::All => return Ok(Outcome::Committed),
                // Commits come first: a fold takes every other moment, while it
                // keeps up with them.
                Folded::Some if self.rests().is_some_and(|rests| !rests.presses(keyspace)) => {
                    tokio::time::sleep(began.elapsed()).await;
                }
                Folded::Some => {}
            }
        }
    }

    fn lane(&self, keyspace: &KeyspaceName) -> Arc<tokio::sync::Mutex<()>> {
        let mut lanes = self.lanes.lock().expect("no holder panics");
        lanes.entry(keyspace.clone()).or_default().clone()
    }
}

#[async_trait]
impl Engine for Sql {
    fn cluster_id(&self) -> u64 {
        self.cluster_id
    }

    async fn keyspaces(&self) -> Result<Vec<KeyspaceName>, Error> {
        Ok(self.look().await?.heads.into_iter().map(|head| head.keyspace).collect())
    }

    /// A claim whose answer was lost is made again on another session. If the
    /// first one took place, the second finds the epoch raised by `by`; if the
    /// first one is only late, it will find the epoch raised by the second. In
    /// both cases the epoch is ours, once.
    async fn raise(
        &self,
        keyspace: &KeyspaceName,
        seen: Epoch,
        by: ReplicaId,
    ) -> Result<Raised, Error> {
        let mut tries = Tries::new();
        let mut lost = false;
        loop {
            let failure = match self.pool.session().await {
                Err(failure) => failure,
                Ok(mut session) => match session.raise(keyspace, seen, by).await {
                    Ok(stand) => {
                        session.keep();
                        // An id that several may have proves nothing.
                        let is_ours = stand.epoch == seen.next() && stand.leader == Some(by);
                        let is_proven = is_ours && by != ReplicaId::default();
                        return Ok(match stand.raised || (lost && is_proven) {
                            true => Raised::Won(stand.epoch),
                            false => Raised::Lost(stand.epoch),
                        });
                    }
                    Err(failure) => {
                        lost |= matches!(failure, Failure::Lost(_));
                        session.keep_after(&failure);
                        failure
                    }
                },
            };
            if let Err(error) = tries.after(failure).await {
                return if lost { Ok(Raised::Unknown) } else { Err(error) };
            }
        }
    }

    async fn load(&self, keyspace: &KeyspaceName) -> Result<Loaded, Error> {
        again!(self.pool, session => load::load(&mut *session, keyspace))
    }

    async fn scan(&self, keyspace: &KeyspaceName) -> Result<Scan, Error> {
        let mut tries = Tries::new();
        loop {
            let failure = match self.pool.session().await {
                Err(failure) => failure,
                Ok(mut session) => match session.begin(keyspace).await {
                    Ok(Some((head, mark))) => {
                        return Ok(scan::start(session, Walk::new(head, mark)));
                    }
                    Ok(None) => {
                        session.keep();
                        return Ok(Scan::of(Loaded::default()));
                    }
                    Err(failure) => {
                        session.keep_after(&failure);
                        failure
                    }
                },
            };
            tries.after(failure).await?;
        }
    }

    async fn append(&self, keyspace: &KeyspaceName, batch: Batch) -> Result<Outcome, Error> {
        let lane = self.lane(keyspace);
        let _turn = lane.lock().await;
        let largest = batch.records.iter().map(largest_row).max().unwrap_or(0);
        let encoded = EncodedBatch::new(&batch)?;
        let (seq, revision) = (encoded.seq, encoded.revision);
        let name = log::batch_name(keyspace, seq);
        let data = encoded.finish(&name, revision.unwrap_or(Revision(0))).into();
        let append = Append { epoch: batch.epoch, seq, revision, data };
        let mut tries = Tries::new();
        let began = Instant::now();
        loop {
            let failure = match self.pool.session().await {
                Err(failure) => failure,
                Ok(mut session) => {
                    let max = session.row_bytes_max();
                    if largest > max {
                        return Err(Error::TooLarge { bytes: largest, max });
                    }
                    match session.append(keyspace, &append).await {
                        Ok(true) => {
                            session.keep();
                            self.counters.synced(1, began.elapsed());
                            if let Some(mut rests) = self.rests() {
                                rests.appended(keyspace, append.data.len());
                            }
                            return Ok(Outcome::Committed);
                        }
                        Ok(false) => {
                            session.keep();
                            return Ok(Outcome::Deposed);
                        }
                        Err(Failure::Lost(problem)) => {
                            tracing::warn!(%keyspace, seq = %append.seq, problem, "answer to a commit lost");
                            return Ok(Outcome::Unknown);
                        }
                        Err(failure) => {
                            session.keep_after(&failure);
                            failure
                        }
                    }
                }
            };
            tries.after(failure).await?;
        }
    }

    async fn compact(
        &self,
        keyspace: &KeyspaceName,
        epoch: Epoch,
        revision: Revision,
    ) -> Result<Outcome, Error> {
        let now = Instant::now();
        if self.rests().is_some_and(|mut rests| rests.put_off(keyspace, epoch, revision, now)) {
            return Ok(Outcome::Committed);
        }
        // From here on others wait for the next time.
        if let Some(mut rests) = self.rests() {
            rests.folded(keyspace, epoch, now);
        }
        let folded = self.fold(keyspace, epoch, revision).await;
        if !matches!(folded, Ok(Outcome::Committed))
            && let Some(mut rests) = self.rests()
        {
            rests.forget(keyspace);
        }
        folded
    }

    /// Folds what was put off first, or there would be little to give back.
    async fn reclaim(&self) -> Result<(), Error> {
        let Ok(_one) = self.reclaiming.try_lock() else { return Ok(()) };
        let put_off = self.rests().map(|mut rests| rests.take_put_off()).unwrap_or_default();
        for (keyspace, epoch, revision) in put_off {
            // Deposed, it is its successor's to do.
            let _: Outcome = self.fold(&keyspace, epoch, revision).await?;
        }
        // Not tried again: it takes long, and who asked for it can ask again.
        let mut session = self.pool.session().await?;
        let done = session.reclaim().await?;
        session.keep();
        // Whoever reads the size next wants to see what that has brought.
        self.size.measure(&self.pool).await;
        if done { Ok(()) } else { Err(Error::ReclaimsByItself) }
    }

    async fn fetch(&self, keyspace: &KeyspaceName, places: &[Place]) -> Result<Values, Error> {
        again!(self.pool, session => load::fetch(&mut *session, keyspace, places))
    }

    async fn install(
        &self,
        keyspace: &KeyspaceName,
        epoch: Epoch,
        piece: Fold,
    ) -> Result<Outcome, Error> {
        let (revision, compacted) = (piece.revision, piece.compacted);
        let mark = Mark { seq: Seq(0), revision, compacted };
        let cells = cell::cells_of(keyspace, piece);
        let piece = Piece { after: Seq(0), mark, cells };
        // A piece may be written twice: it is absolute.
        let installed = again!(self.pool, session => session.install(keyspace, epoch, &piece))?;
        Ok(if installed { Outcome::Committed } else { Outcome::Deposed })
    }

    fn pace(&self) -> Duration {
        self.counters.recent()
    }

    fn metrics(&self) -> Metrics {
        self.counters.read(self.size.bytes())
    }

    fn shared(&self) -> Option<&dyn Shared> {
        Some(self)
    }
}

#[async_trait]
impl Shared for Sql {
    async fn beat(&self, me: &Replica) -> Result<Board, Error> {
        // Beside it: a lease hangs on the beat, and databases take their time to
        // say how large they are.
        if self.size.is_due() {
            let (size, pool) = (self.size.clone(), self.pool.clone());
            rt::spawn(TaskKind::Connection, "measure tables", async move {
                size.measure(&pool).await;
            });
        }
        again!(self.pool, session => session.beat(me))
    }

    async fn look(&self) -> Result<Board, Error> {
        again!(self.pool, session => session.look())
    }

    async fn tail(
        &self,
        keyspace: &KeyspaceName,
        after: Seq,
        bytes_max: usize,
    ) -> Result<Tail, Error> {
        let (rows, mark) = again!(self.pool, session => session.tail(keyspace, after, bytes_max))?;
        if !log::follows(keyspace, after, &rows, &mark)? {
            return Ok(Tail::Folded);
        }
        let decoded = rows.iter().map(|row| {
            let records = log::decode(keyspace, row)?.records;
            Ok(Tailed { seq: row.seq, records })
        });
        Ok(Tail::Batches(decoded.collect::<Result<_, Error>>()?))
    }

    async fn release(&self, keyspace: &KeyspaceName, epoch: Epoch) -> Result<Outcome, Error> {
        let released = again!(self.pool, session => session.release(keyspace, epoch))?;
        Ok(if released { Outcome::Committed } else { Outcome::Deposed })
    }

    async fn retire(&self, replica: ReplicaId) -> Result<(), Error> {
        again!(self.pool, session => session.retire(replica))
    }
}

/// Nobody has been served yet, so a person must look.
fn unreachable(error: Error) -> Error {
    match error {
        Error::Unavailable(problem) => {
            Error::Database { code: errors::DATABASE_UNREACHABLE, problem }
        }
        other => other,
    }
}

/// What the base will have to store in one row for this record.
fn largest_row(record: &Record) -> usize {
    let size = match record {
        Record::Txn { changes, .. } => changes.iter().map(change_bytes).max().unwrap_or(0),
        Record::Note { name, value } => name.len() + value.as_ref().map_or(0, |value| value.len()),
        Record::LeaseGranted { .. } | Record::LeaseRevoked { .. } | Record::Compact { .. } => 0,
    };
    size + ROW_OVERHEAD_BYTES
}

/// A damaged cell, by what it is named and what it says itself.
fn row_of(name: &[u8], value: &[u8]) -> String {
    let key = String::from_utf8_lossy(name.get(1..).unwrap_or_default());
    match cell::claimed_revision(name, value) {
        Some(revision) => format!("row {key:?}, which says revision {revision}"),
        None => format!("row {key:?}"),
    }
}

fn change_bytes(change: &Change) -> usize {
    match change {
        Change::Put { key, value, .. } => key.len() + value.len(),
        Change::Delete { key } => key.len(),
    }
}

impl std::fmt::Debug for Sql {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sql").field("cluster_id", &self.cluster_id).finish_non_exhaustive()
    }
}
