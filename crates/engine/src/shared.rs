//! What several processes over one log tell each other through it.

use async_trait::async_trait;
use keyspace::Record;
use kv::{KeyspaceName, Revision};

use crate::{Epoch, Error, Outcome, Seq};

/// One process that may lead. Chosen at random when it starts, so that a
/// process that starts again is another replica and inherits nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaId(pub u64);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    pub id: ReplicaId,
    /// For people.
    pub name: String,
    /// Where clients and the other replicas reach it.
    pub urls: Vec<String>,
    /// Rises while the process lives. There is no clock in it: whoever sees it
    /// stand still measures how long by its own.
    pub beat: u64,
}

/// How far one keyspace has come, and who leads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub keyspace: KeyspaceName,
    pub epoch: Epoch,
    /// Who raised the epoch, unless it has released the keyspace since.
    pub leader: Option<ReplicaId>,
    /// Of the last batch.
    pub seq: Seq,
    pub revision: Revision,
}

/// Everyone and everything, as of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Board {
    /// Changes when a person accepts a loss.
    pub cluster_id: u64,
    pub replicas: Vec<Replica>,
    pub heads: Vec<Head>,
}

/// One batch of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tailed {
    pub seq: Seq,
    pub records: Vec<Record>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tail {
    /// The next ones, without a hole; none when there are no more yet.
    Batches(Vec<Tailed>),
    /// The log does not go back so far any more: load.
    Folded,
}

/// Never answers from a copy that may lag behind what was committed: leases
/// are judged by what is read here.
#[async_trait]
pub trait Shared: Send + Sync {
    /// Writes this replica's row and reads the board after it. An error leaves
    /// open whether it was written, which does no harm.
    async fn beat(&self, me: &Replica) -> Result<Board, Error>;

    /// Only reads.
    async fn look(&self) -> Result<Board, Error>;

    /// Batches after `after`, until they come to about `bytes_max`.
    async fn tail(
        &self,
        keyspace: &KeyspaceName,
        after: Seq,
        bytes_max: usize,
    ) -> Result<Tail, Error>;

    /// Leads no more: anyone may raise the epoch at once. The caller has no
    /// batch under way and begins none.
    async fn release(&self, keyspace: &KeyspaceName, epoch: Epoch) -> Result<Outcome, Error>;

    /// Removes a replica's row: one's own at the end, or that of one long dead.
    async fn retire(&self, replica: ReplicaId) -> Result<(), Error>;
}
