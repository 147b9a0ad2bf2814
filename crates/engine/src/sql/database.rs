//! What the engine asks of a database: whole transactions, each with one of
//! three ends.
//!
//! A transaction is done, certainly not done, or of unknown outcome because the
//! answer was lost; then it may be applied, may never be, or may be applied
//! later, for as long as the server has not seen that the session is gone. The
//! trait speaks of transactions and not of statements, so that a simulated
//! database with all three ends can stand in for a real one.
//!
//! What is stored: one head for each keyspace, its log (one row a batch), its
//! mark (how far the log was folded), its cells (the base: keys, leases and
//! notes under names of the engine's choice), and a row for each replica.

use async_trait::async_trait;
use bytes::Bytes;
use kv::{KeyspaceName, Revision};

use crate::{Board, Epoch, Error, Head, Replica, ReplicaId, Seq};

/// One database, however many servers it has.
#[async_trait]
pub trait Database: Send + Sync + 'static {
    /// A session with a server that may be read and written. Never answers
    /// [`Failure::Lost`]: nothing has been asked yet.
    async fn connect(&self) -> Result<Box<dyn Connection>, Failure>;
}

/// One session. After [`Failure::Lost`], and after a call that was dropped
/// before its answer, it must not be used again.
///
/// Every read sees what was committed before the call, on every server: leases
/// and claims are judged by it.
#[async_trait]
pub trait Connection: Send {
    /// False once the session ought not to be kept for the next call: another
    /// server is used meanwhile, or it has been idle for long.
    fn is_fit(&self) -> bool {
        true
    }

    /// The largest row that fits into one statement.
    fn row_bytes_max(&self) -> usize;

    /// Makes or migrates the tables. Where no cluster id is chosen yet,
    /// `cluster_id` is it; returns the one that stands.
    async fn found(&mut self, cluster_id: u64) -> Result<u64, Failure>;

    /// Raises the epoch to the next and sets the leader, if `seen` stands. A
    /// keyspace without a head has epoch zero, and gets one.
    async fn raise(
        &mut self,
        keyspace: &KeyspaceName,
        seen: Epoch,
        by: ReplicaId,
    ) -> Result<Stand, Failure>;

    /// Moves the head on by one batch and adds the batch to the log, if `epoch`
    /// stands and the head is at the seq before; otherwise changes nothing and
    /// is false. The comparison is made by the server, so that it holds also
    /// when the request arrives late.
    async fn append(&mut self, keyspace: &KeyspaceName, append: &Append) -> Result<bool, Failure>;

    /// Writes the replica's row and reads the board.
    async fn beat(&mut self, me: &Replica) -> Result<Board, Failure>;

    async fn look(&mut self) -> Result<Board, Failure>;

    /// About how much the tables take on disk; zero where nobody knows.
    async fn bytes(&mut self) -> Result<u64, Failure> {
        Ok(0)
    }

    /// Rewrites the tables without what was removed, while they are used; false
    /// where the database does that by itself, or only by stopping all writers.
    async fn reclaim(&mut self) -> Result<bool, Failure> {
        Ok(false)
    }

    async fn retire(&mut self, replica: ReplicaId) -> Result<(), Failure>;

    /// Removes the leader, if `epoch` stands.
    async fn release(&mut self, keyspace: &KeyspaceName, epoch: Epoch) -> Result<bool, Failure>;

    /// The batches after `after` in order, until they come to about
    /// `bytes_max` and at least one; then the mark, read after them.
    async fn tail(
        &mut self,
        keyspace: &KeyspaceName,
        after: Seq,
        bytes_max: usize,
    ) -> Result<(Vec<LogRow>, Mark), Failure>;

    /// The first batch whose revision is `revision` or more.
    async fn batch_of(
        &mut self,
        keyspace: &KeyspaceName,
        revision: Revision,
    ) -> Result<Option<LogRow>, Failure>;

    async fn cell(
        &mut self,
        keyspace: &KeyspaceName,
        name: &[u8],
    ) -> Result<Option<Bytes>, Failure>;

    /// Begins to read one keyspace as of one moment: until [`Connection::end`],
    /// this session's [`Connection::tail`] and [`Connection::cells`] see that
    /// moment. `None`, and nothing begun, when nobody has claimed the keyspace.
    async fn begin(&mut self, keyspace: &KeyspaceName) -> Result<Option<(Head, Mark)>, Failure>;

    /// Cells after `after` by the order of their names, until they come to
    /// about `bytes_max` and at least one; none at the end.
    async fn cells(
        &mut self,
        keyspace: &KeyspaceName,
        after: &[u8],
        bytes_max: usize,
    ) -> Result<Vec<Cell>, Failure>;

    /// Says that it is still read from the moment that was begun.
    async fn stay(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    async fn end(&mut self) -> Result<(), Failure>;

    /// Moves the mark, writes and removes cells, and removes the log up to the
    /// mark, if the mark is at `piece.after`; and if `epoch` stands, which need
    /// not be true any more at the commit.
    async fn fold(
        &mut self,
        keyspace: &KeyspaceName,
        epoch: Epoch,
        piece: &Piece,
    ) -> Result<bool, Failure>;

    /// Writes and removes cells and sets the mark, if `epoch` stands and the
    /// keyspace never had a log; the head's revision follows the mark's.
    async fn install(
        &mut self,
        keyspace: &KeyspaceName,
        epoch: Epoch,
        piece: &Piece,
    ) -> Result<bool, Failure>;

    /// Brings a keyspace whose log is all folded to a head of a person's
    /// choice, without a leader, and its mark with it; makes it if need be.
    /// False if there is log left.
    async fn jump(&mut self, head: &Head) -> Result<bool, Failure>;

    /// Sets another cluster id, if `from` stands.
    async fn rename(&mut self, from: u64, to: u64) -> Result<bool, Failure>;

    /// What the tables say of themselves; `None` where there are none. Changes
    /// nothing.
    async fn founded(&mut self) -> Result<Option<Founded>, Failure> {
        Err(Failure::Refused(Error::CannotInstall))
    }

    /// Marks the tables as unfinished, under the cluster id `to`, if `from`
    /// stands and they hold no keyspace or are marked already.
    async fn begin_restore(&mut self, from: u64, to: u64) -> Result<bool, Failure> {
        let _ = (from, to);
        Err(Failure::Refused(Error::CannotInstall))
    }

    /// Empties some of a keyspace, if `epoch` stands. True once it is empty.
    async fn clear_some(&mut self, keyspace: &KeyspaceName, epoch: Epoch) -> Result<bool, Failure> {
        let _ = (keyspace, epoch);
        Err(Failure::Refused(Error::CannotInstall))
    }

    /// Takes the mark away, if it is of this cluster id.
    async fn end_restore(&mut self, cluster_id: u64) -> Result<bool, Failure> {
        let _ = cluster_id;
        Err(Failure::Refused(Error::CannotInstall))
    }
}

/// Tables that were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Founded {
    pub cluster_id: u64,
    /// No restore is filling them, or was cut off.
    pub is_whole: bool,
}

/// Why a transaction was not done, if so.
#[derive(Debug)]
pub enum Failure {
    /// Certainly not applied, and the same again may be: it lost against
    /// another. The session goes on.
    Conflict(String),
    /// Certainly not applied; the server does not serve now.
    Unavailable(String),
    /// Applied, or not, or it will be. The session is over.
    Lost(String),
    /// Certainly not applied, and it will not be until a person acts.
    Refused(Error),
}

/// How a keyspace stands after a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stand {
    /// This very call raised the epoch.
    pub raised: bool,
    pub epoch: Epoch,
    pub leader: Option<ReplicaId>,
}

/// A batch on its way to the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    pub epoch: Epoch,
    pub seq: Seq,
    /// Where it brings the keyspace, if it spends a revision.
    pub revision: Option<Revision>,
    pub data: Bytes,
}

/// A batch in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRow {
    pub seq: Seq,
    /// Where the keyspace stands after it.
    pub revision: Revision,
    pub data: Bytes,
}

/// The foot of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// The last batch that is in the base.
    pub seq: Seq,
    pub revision: Revision,
    pub compacted: Revision,
}

/// A part of the base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// At most [`CELL_NAME_BYTES_MAX`] long.
    pub name: Bytes,
    pub value: Bytes,
}

/// A stretch of log, folded into the base.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// Where the mark stood.
    pub after: Seq,
    pub mark: Mark,
    /// New values by name; `None` removes.
    pub cells: Vec<(Bytes, Option<Bytes>)>,
}

/// Together with a keyspace's name it must fit into an index, whose smallest
/// limit among the databases is 3072 bytes (InnoDB, TiDB).
pub const CELL_NAME_BYTES_MAX: usize = 600;

// === impl Failure ===

/// For callers who do not try again.
impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        match failure {
            Failure::Refused(error) => error,
            Failure::Conflict(problem) | Failure::Unavailable(problem) | Failure::Lost(problem) => {
                Error::Unavailable(problem)
            }
        }
    }
}
