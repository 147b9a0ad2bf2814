//! The contract between a leader and its log.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use keyspace::{Base, Fold, Place, Record, Values};
use kv::{KeyspaceName, Revision};

use crate::{Error, Metrics, ReplicaId, Scan, Shared};

/// Who may write: a new leader takes the next number, and that shuts out the
/// one before. Zero is "nobody yet".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

/// Number of a batch in the log of its keyspace. Rises by exactly one with
/// every batch, also with those that spend no revision; that is why it, and
/// not the revision, is what a writer is checked by. Zero is "none yet".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

/// Records that become durable together or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The epoch that the writer holds.
    pub epoch: Epoch,
    /// One more than the last committed batch's.
    pub seq: Seq,
    pub records: Vec<Record>,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// Durable.
    Committed,
    /// Certainly not applied: somebody holds a higher epoch, or the log has
    /// moved on. Load again before writing.
    Deposed,
    /// Nobody knows. Raise the epoch, which settles it, and load again.
    Unknown,
}

/// What became of a claim to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Raised {
    /// The claimant's epoch; nothing can be appended under a lower one.
    Won(Epoch),
    /// Somebody else was first; this is the epoch that stands.
    Lost(Epoch),
    Unknown,
}

/// Everything durable of one keyspace, as of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    pub epoch: Epoch,
    /// Of the last batch.
    pub seq: Seq,
    pub base: Base,
    /// In order.
    pub log: Vec<Record>,
}

/// Durable logs of many keyspaces. A keyspace that was never written is empty;
/// it comes to be with the first raise of its epoch.
#[async_trait]
pub trait Engine: Send + Sync + 'static {
    /// Chosen once, when the data was first made; never zero.
    fn cluster_id(&self) -> u64;

    /// Keyspaces that somebody has claimed, by name.
    async fn keyspaces(&self) -> Result<Vec<KeyspaceName>, Error>;

    /// Claims the right to write for `by`, if `seen` is still the epoch that
    /// stands.
    async fn raise(
        &self,
        keyspace: &KeyspaceName,
        seen: Epoch,
        by: ReplicaId,
    ) -> Result<Raised, Error>;

    /// Does not change anything.
    async fn load(&self, keyspace: &KeyspaceName) -> Result<Loaded, Error>;

    /// Makes a batch durable. Batches of one keyspace may be under way
    /// together; they are taken in the order of the calls. An error means that
    /// the batch was not applied.
    async fn append(&self, keyspace: &KeyspaceName, batch: Batch) -> Result<Outcome, Error>;

    /// Folds log before `revision` into the base. Call it once the compaction
    /// to that revision is committed; doing it late or again does no harm.
    async fn compact(
        &self,
        keyspace: &KeyspaceName,
        epoch: Epoch,
        revision: Revision,
    ) -> Result<Outcome, Error>;

    /// Gives back the space of what was folded and removed, which may take as
    /// long as reading and writing everything once. Nothing waits for it.
    /// [`Error::ReclaimsByItself`] where nobody can.
    async fn reclaim(&self) -> Result<(), Error>;

    /// Reads values that left memory. [`Error::Gone`] when one of them was
    /// compacted away meanwhile: ask the keyspace again what it needs.
    async fn fetch(&self, keyspace: &KeyspaceName, places: &[Place]) -> Result<Values, Error>;

    /// Reads everything as of one moment, a piece at a time, and holds up
    /// nobody meanwhile. Changes nothing.
    async fn scan(&self, keyspace: &KeyspaceName) -> Result<Scan, Error> {
        Ok(Scan::of(self.load(keyspace).await?))
    }

    /// Adds to the base of a keyspace that has no log yet: so state comes in
    /// from elsewhere, in pieces whose revisions do not fall.
    async fn install(
        &self,
        keyspace: &KeyspaceName,
        epoch: Epoch,
        piece: Fold,
    ) -> Result<Outcome, Error> {
        let _ = (keyspace, epoch, piece);
        Err(Error::CannotInstall)
    }

    /// Cheap enough to be scraped.
    fn metrics(&self) -> Metrics;

    /// How long it takes of late to make a batch durable; zero where that is no
    /// time to speak of.
    fn pace(&self) -> Duration {
        Duration::ZERO
    }

    /// What replicas know of each other through the log they share; `None`
    /// where only one process can open it.
    fn shared(&self) -> Option<&dyn Shared> {
        None
    }
}

// === impl Epoch ===

impl Epoch {
    #[must_use]
    pub fn next(self) -> Epoch {
        Epoch(self.0 + 1)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// === impl Seq ===

impl Seq {
    #[must_use]
    pub fn next(self) -> Seq {
        Seq(self.0 + 1)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
