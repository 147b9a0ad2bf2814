//! Where the books are kept, as far as the rules know: rows of buckets, read as
//! of one moment, and changed only under a fence and by comparison.
//!
//! One rule book stands above it (`transact`, `raise`, `read`); below it are the
//! store's keyspaces ([`crate::OnKv`]) and databases of the MySQL protocol
//! ([`crate::OnSql`]). [`Error::is_definite`] says whether a write may have
//! happened.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use kv::{KeyRange, Revision};
use topology::{Bucket, BucketRange};

use crate::{Error, fence::Fence, place::Table};

/// A row as read: its bytes, if it exists, and the commit that wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub value: Option<Bytes>,
    /// Zero if there is no row. Commits of one bucket are numbered upwards.
    pub modified: Revision,
}

/// A bucket's fence and rows as of one moment.
#[derive(Clone, Debug)]
pub struct Seen {
    pub fence: Option<Fence>,
    pub rows: Vec<Row>,
    pub cut: Cut,
}

/// What one transaction writes in one bucket.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    pub bucket: Bucket,
    /// Must stand, and must be changed or compared by the write itself.
    pub fence: &'a Fence,
    pub keys: &'a [Bytes],
    /// As `keys` were when this was decided: all must be so still.
    pub rows: &'a [Row],
    /// Each index is that of a key.
    pub puts: &'a [(usize, Bytes)],
}

#[derive(Debug)]
pub enum Outcome {
    /// Committed, durable.
    At(Revision),
    /// Nothing was changed: the fence or a row is another; this is what is there.
    Moved(Seen),
}

/// The fences of a range.
#[derive(Clone, Debug)]
pub struct Fences {
    pub rows: Vec<(Bucket, Option<Fence>)>,
    pub at: Revision,
}

/// A moment from which payments can be read later, since they never change: a
/// number of the store's own, or how many commits each bucket had seen.
#[derive(Clone, Debug, Default)]
pub struct Cut {
    pub revision: Revision,
    pub commits: Arc<[(Bucket, u64)]>,
}

/// A stored row on a walk.
#[derive(Clone, Debug)]
pub struct Record {
    pub key: Bytes,
    pub value: Bytes,
    /// The commit that wrote it first, and how often it was written.
    pub committed: Revision,
    pub writes: u64,
}

#[derive(Debug)]
pub struct Page {
    pub rows: Vec<Record>,
    /// There are rows of the range after the last one here.
    pub more: bool,
}

/// A bucket's rows but its payments, and the moment they are of.
#[derive(Debug)]
pub struct Standing {
    pub rows: Vec<(Table, Record)>,
    pub cut: Cut,
}

/// Dropping a call abandons it: it may have been carried out.
#[async_trait]
pub trait Database: Send + Sync + 'static {
    /// Whether it answers at all.
    async fn ready(&self) -> Result<(), Error>;

    async fn read(&self, bucket: Bucket, keys: &[Bytes]) -> Result<Seen, Error>;

    /// All of it or nothing, durable before it is answered.
    async fn commit(&self, change: Change<'_>) -> Result<Outcome, Error>;

    async fn fence(&self, bucket: Bucket) -> Result<Option<Fence>, Error>;

    async fn fences(&self, range: BucketRange) -> Result<Fences, Error>;

    /// Sets the fences of `buckets`, those of `range` that were lower when
    /// `seen`, in one transaction. False if a fence of the range has moved since.
    async fn raise(
        &self,
        range: BucketRange,
        seen: &Fences,
        buckets: &[Bucket],
        wanted: &Fence,
    ) -> Result<bool, Error>;

    /// The present moment of a range, and its fences then.
    async fn cut(&self, range: BucketRange) -> Result<(Fences, Cut), Error>;

    /// A bucket's accounts, clearing accounts and equity at `cut`, or at a later
    /// moment, which is returned.
    async fn standing(&self, bucket: Bucket, cut: &Cut) -> Result<Standing, Error>;

    /// The first payments of a range within one bucket, as of `cut`.
    async fn payments(
        &self,
        bucket: Bucket,
        range: &KeyRange,
        cut: &Cut,
        limit: usize,
    ) -> Result<Page, Error>;
}

// === impl Row ===

impl Row {
    pub const ABSENT: Row = Row { value: None, modified: Revision::ZERO };
}

// === impl Cut ===

impl Cut {
    /// Of a database that numbers the commits of each bucket.
    pub fn of_commits(commits: Vec<(Bucket, u64)>) -> Cut {
        let revision = Revision(commits.iter().map(|(_, commits)| commits).sum());
        Cut { revision, commits: commits.into() }
    }

    pub fn commits_of(&self, bucket: Bucket) -> u64 {
        let found = self.commits.iter().find(|(known, _)| *known == bucket);
        found.map_or(0, |(_, commits)| *commits)
    }
}
