//! One fenced transaction: read what is needed, decide, write if nothing moved.
//!
//! Every writing transaction proves the fence of its bucket and that every row
//! it was decided on is as it was, so a decision is applied to exactly the state
//! it was made from or not at all. The usual payment costs one round trip: rows
//! come from the lane's cache, and a failed comparison brings the present rows
//! back.
//!
//! What waits for one bucket is decided one after the other, each on what those
//! before it leave behind, and written at once: a merchant or payer that
//! everybody uses costs a commit for many payments. Nobody is answered before
//! the commit that proves all that was decided, refusals too.
//!
//! When the answer to a write is lost we try again. That is safe: a second
//! commit needs the rows as the first found them, and the first changes them.
//! A later answer read from the database is conclusive for the same reason: once
//! a compared row has moved, the lost write can no longer happen. If the
//! deadline comes first, the outcome is said to be unknown, never guessed.

use std::{future::Future, time::Duration};

use bytes::Bytes;
use kv::Revision;
use rt::{backoff::Backoff, random::Random};
use tokio::time::{Instant, timeout_at};
use topology::{Bucket, UnitName};

use crate::{
    Error,
    account::Executed,
    database::{Change, Database, Outcome, Row, Seen},
    desk::Desk,
    fence::Fence,
    job::Job,
    lane::Lane,
    wall::UnixMillis,
};

/// Failed comparisons before a transaction gives up because its rows keep
/// moving. Within one process a bucket's writers queue, so only another writer
/// of the same bucket can cause them. (Failures of the database count against
/// the deadline instead.)
const MOVED_MAX: usize = 16;

/// First and longest wait after the database failed: short against a request's
/// deadline, long against a round trip.
const RETRY_FIRST: Duration = Duration::from_millis(10);
const RETRY_MAX: Duration = Duration::from_millis(320);

/// A row that a decision needs.
#[derive(Clone, Debug)]
pub struct Need {
    pub key: Bytes,
    /// Rows nobody wrote before, such as a new payment's, need no look: the
    /// transaction itself proves that they are absent.
    pub expect_absent: bool,
}

/// What to do, given the rows.
#[derive(Debug)]
pub enum Decision<A> {
    /// Nothing to write.
    Answer(A),
    /// Write these values; each index is that of a need.
    Write { puts: Vec<(usize, Bytes)>, answer: A },
}

/// A change of the books within one bucket. `decide` is pure.
pub trait Operation: Send + 'static {
    type Answer: Send + 'static;

    fn bucket(&self) -> Bucket;
    fn needs(&self) -> Vec<Need>;
    /// `rows` are those of `needs`, in order.
    fn decide(&self, rows: &[Row], by: Executed) -> Result<Decision<Self::Answer>, Error>;
}

/// Runs `jobs`, all of one bucket, while its lane is held, and settles each.
pub async fn transact(
    database: &dyn Database,
    unit: &UnitName,
    desk: &Desk,
    lane: &mut Lane,
    bucket: Bucket,
    mut jobs: Vec<Box<dyn Job>>,
) {
    let Some(deadline) = jobs.iter().map(|job| job.deadline()).max() else { return };
    let batch = Batch::new(&jobs);
    let mut run = Run {
        database,
        desk,
        unit,
        bucket,
        batch: &batch,
        deadline,
        backoff: Backoff::new(RETRY_FIRST, RETRY_MAX, Random::from_entropy()),
        maybe_applied: false,
    };
    match run.finish(lane, &mut jobs).await {
        Ok(()) => jobs.into_iter().for_each(|job| job.settle()),
        Err(error) => jobs.into_iter().for_each(|job| job.fail(error.clone())),
    }
}

/// The rows that some jobs need together.
struct Batch {
    needs: Vec<Need>,
    keys: Vec<Bytes>,
    /// For each job, where its own needs are among them.
    places: Vec<Vec<usize>>,
}

struct View {
    rows: Vec<Row>,
    from_store: bool,
}

enum Commit {
    At(Revision),
    /// Something has moved; these are the present rows.
    Moved(Vec<Row>),
    /// The database failed or fell silent; try again.
    Unclear,
}

struct Run<'a> {
    database: &'a dyn Database,
    desk: &'a Desk,
    unit: &'a UnitName,
    bucket: Bucket,
    batch: &'a Batch,
    deadline: Instant,
    backoff: Backoff,
    /// A write was sent and its answer is not known.
    maybe_applied: bool,
}

// === impl Batch ===

impl Batch {
    fn new(jobs: &[Box<dyn Job>]) -> Batch {
        let mut needs: Vec<Need> = Vec::new();
        let places = jobs.iter().map(|job| {
            let place = |need: &Need| match needs.iter().position(|known| known.key == need.key) {
                Some(at) => {
                    needs[at].expect_absent &= need.expect_absent;
                    at
                }
                None => {
                    needs.push(need.clone());
                    needs.len() - 1
                }
            };
            job.needs().iter().map(place).collect()
        });
        let places = places.collect();
        let keys = needs.iter().map(|need| need.key.clone()).collect();
        Batch { needs, keys, places }
    }

    /// Every job decides on the rows as those before it leave them.
    fn decide(
        &self,
        jobs: &mut [Box<dyn Job>],
        rows: &[Row],
        by: &Executed,
    ) -> Vec<(usize, Bytes)> {
        let mut rows = rows.to_vec();
        let mut written = vec![false; rows.len()];
        for (job, places) in jobs.iter_mut().zip(&self.places) {
            let own: Vec<Row> = places.iter().map(|at| rows[*at].clone()).collect();
            for (index, value) in job.decide(&own, by.clone()) {
                rows[places[index]].value = Some(value);
                written[places[index]] = true;
            }
        }
        let puts = rows.into_iter().zip(written).enumerate();
        puts.filter_map(|(at, (row, written))| row.value.filter(|_| written).map(|v| (at, v)))
            .collect()
    }
}

/// The rows as remembered, if all that must be known is.
fn cached(desk: &Desk, unit: &UnitName, lane: &Lane, needs: &[Need]) -> Option<View> {
    desk.ours(unit).ok()?;
    let row = |need: &Need| match need.expect_absent {
        true => Some(Row::ABSENT),
        false => lane.get(&need.key),
    };
    let rows = needs.iter().map(row).collect::<Option<Vec<Row>>>()?;
    Some(View { rows, from_store: false })
}

// === impl Run ===

impl Run<'_> {
    /// When it returns well, all that the jobs decided last is proven.
    async fn finish(&mut self, lane: &mut Lane, jobs: &mut [Box<dyn Job>]) -> Result<(), Error> {
        let needs = &self.batch.needs;
        let mut view = cached(self.desk, self.unit, lane, needs);
        let mut moved = 0;
        while moved < MOVED_MAX {
            let View { rows, from_store } = match view.take() {
                Some(view) => view,
                None => View { rows: self.read(lane).await?, from_store: true },
            };
            // A write whose answer was lost may have come before the fence moved.
            let fence = self.desk.ours(self.unit).map_err(|error| self.gave_up(error))?;
            let by =
                Executed { unit: self.unit.clone(), epoch: fence.epoch, at: UnixMillis::now() };
            let puts = self.batch.decide(jobs, &rows, &by);
            if puts.is_empty() {
                // What is remembered may be old: only the database's word is final.
                if from_store {
                    return Ok(());
                }
                continue;
            }
            match self.commit(&fence, &rows, &puts).await? {
                Commit::At(revision) => {
                    for (index, value) in puts {
                        lane.keep(&needs[index], Row { value: Some(value), modified: revision });
                    }
                    return Ok(());
                }
                Commit::Moved(rows) => {
                    moved += 1;
                    lane.keep_all(needs, &rows);
                    view = Some(View { rows, from_store: true });
                }
                Commit::Unclear => {}
            }
        }
        Err(self.gave_up(Error::Contention))
    }

    /// Fence and rows as of one moment.
    async fn read(&mut self, lane: &mut Lane) -> Result<Vec<Row>, Error> {
        loop {
            match self.in_time(self.database.read(self.bucket, &self.batch.keys)).await? {
                Ok(seen) => {
                    let rows = self.learn(seen);
                    lane.keep_all(&self.batch.needs, &rows);
                    return Ok(rows);
                }
                Err(error) => self.wait(error).await?,
            }
        }
    }

    async fn commit(
        &mut self,
        fence: &Fence,
        rows: &[Row],
        puts: &[(usize, Bytes)],
    ) -> Result<Commit, Error> {
        let change = Change { bucket: self.bucket, fence, keys: &self.batch.keys, rows, puts };
        match timeout_at(self.deadline, self.database.commit(change)).await {
            Ok(Ok(Outcome::At(revision))) => Ok(Commit::At(revision)),
            Ok(Ok(Outcome::Moved(seen))) => Ok(Commit::Moved(self.learn(seen))),
            Ok(Err(error)) => {
                self.maybe_applied |= !error.is_definite();
                self.wait(error).await?;
                Ok(Commit::Unclear)
            }
            Err(_) => {
                self.maybe_applied = true;
                Err(self.gave_up(Error::Deadline))
            }
        }
    }

    /// Takes the fence to the desk and returns the rows.
    fn learn(&self, seen: Seen) -> Vec<Row> {
        self.desk.learn(seen.fence);
        seen.rows
    }

    async fn in_time<T>(&self, work: impl Future<Output = T>) -> Result<T, Error> {
        timeout_at(self.deadline, work).await.map_err(|_| self.gave_up(Error::Deadline))
    }

    /// Waits before another try, or says why there will be none.
    async fn wait(&mut self, error: Error) -> Result<(), Error> {
        let passing = matches!(
            error,
            Error::Store(
                kv::Error::NotLeader
                    | kv::Error::Unreachable(_)
                    | kv::Error::TooManyRequests
                    | kv::Error::Unknown(_)
                    | kv::Error::Other(_)
            )
        );
        let pause = self.backoff.step();
        if !passing || Instant::now() + pause >= self.deadline {
            return Err(self.gave_up(error));
        }
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// `error` says "not applied"; that is only true if nothing was sent.
    fn gave_up(&self, error: Error) -> Error {
        if self.maybe_applied { Error::OutcomeUnknown } else { error }
    }
}
