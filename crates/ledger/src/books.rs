//! The books of one unit: its name, the database, a desk for every bucket.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::OwnedMutexGuard,
    time::{Instant, timeout_at},
};
use topology::{BUCKETS, Bucket, BucketRange, Epoch, UnitName};

use crate::{
    Error,
    database::Database,
    desk::{Desk, Standing},
    fence::Fence,
    job::{Job, job},
    lane::Lane,
    queue::Queue,
    transact::{Operation, transact},
};

/// A job that shares a transaction may end with the others' deadlines. Whoever
/// waits for it is answered at its own, if not much later: the transaction's
/// word is more exact than ours.
const GRACE: Duration = Duration::from_millis(50);

/// Cheap to clone.
#[derive(Clone)]
pub struct Books(Arc<Inner>);

struct Inner {
    unit: UnitName,
    database: Arc<dyn Database>,
    desks: Vec<Desk>,
}

// === impl Books ===

impl Books {
    pub fn new(unit: UnitName, database: Arc<dyn Database>) -> Books {
        let desks = (0..BUCKETS).filter_map(Bucket::new).map(Desk::new).collect();
        Books(Arc::new(Inner { unit, database, desks }))
    }

    #[must_use]
    pub fn unit(&self) -> &UnitName {
        &self.0.unit
    }

    pub fn database(&self) -> &dyn Database {
        &*self.0.database
    }

    pub fn desk(&self, bucket: Bucket) -> &Desk {
        &self.0.desks[usize::from(bucket.number())]
    }

    pub fn desks_of(&self, range: BucketRange) -> &[Desk] {
        &self.0.desks[usize::from(range.first().number())..=usize::from(range.last().number())]
    }

    /// Fence rows as just read.
    pub fn learn(&self, rows: &[(Bucket, Option<Fence>)]) {
        for (bucket, fence) in rows {
            self.desk(*bucket).learn(fence.clone());
        }
    }

    pub fn desks(&self) -> impl Iterator<Item = &Desk> {
        self.0.desks.iter()
    }

    /// Refuses at once what the caller's `routed` epoch shows to be misrouted,
    /// without asking the store: during a move every proxy would. A map that
    /// serves a fence has its epoch, so whoever is refused waits for a newer map.
    pub fn admit(&self, bucket: Bucket, routed: Option<Epoch>) -> Result<(), Error> {
        match (self.desk(bucket).standing(), routed) {
            (Standing::Known(fence), Some(routed))
                if routed < fence.epoch
                    || (routed == fence.epoch && fence.unit != *self.unit()) =>
            {
                Err(Error::Misdirected { bucket, fence: Some(fence) })
            }
            _ => Ok(()),
        }
    }

    /// The bucket's fence, read if it was not seen yet.
    pub async fn fence(&self, bucket: Bucket, deadline: Instant) -> Result<Option<Fence>, Error> {
        let desk = self.desk(bucket);
        if desk.standing() == Standing::Unseen {
            self.look(bucket, deadline).await?;
        }
        match desk.standing() {
            Standing::Known(fence) => Ok(Some(fence)),
            Standing::Unseen | Standing::NeverRaised => Ok(None),
        }
    }

    /// Takes the stored fence to the desk.
    async fn look(&self, bucket: Bucket, deadline: Instant) -> Result<(), Error> {
        let read = timeout_at(deadline, self.database().fence(bucket)).await;
        self.desk(bucket).learn(read.map_err(|_| Error::Deadline)??);
        Ok(())
    }

    /// Whether a write may start. Asks the store only if we let the bucket go
    /// and the map has gone on since.
    async fn admit_write(
        &self,
        bucket: Bucket,
        routed: Option<Epoch>,
        deadline: Instant,
    ) -> Result<(), Error> {
        let desk = self.desk(bucket);
        if routed.is_some_and(|routed| desk.is_behind(routed)) {
            self.look(bucket, deadline).await?;
        }
        self.admit(bucket, routed)?;
        desk.open()
    }

    /// Runs `operation`, which came `routed` by that epoch of the map, with
    /// whatever else waits for its bucket. Before it is sent it can be abandoned
    /// by dropping the future; afterwards it runs to its end, so that the lane
    /// never passes on with a write in flight.
    pub async fn execute<O: Operation>(
        &self,
        operation: O,
        routed: Option<Epoch>,
        deadline: Instant,
    ) -> Result<O::Answer, Error> {
        let bucket = operation.bucket();
        self.admit_write(bucket, routed, deadline).await?;
        let queue = self.desk(bucket).queue();
        let (job, mut answer) = job(operation, routed, deadline);
        let ticket = queue.push(job)?;
        // A panic in the middle of a write leaves its outcome open.
        let unknown = Err(Error::OutcomeUnknown);
        loop {
            let turn = tokio::select! {
                biased;
                answered = &mut answer => return answered.unwrap_or(unknown),
                turn = timeout_at(deadline, queue.turn()) => turn,
            };
            match turn {
                Ok(lane) => self.serve(bucket, queue, lane),
                Err(_) if queue.withdraw(ticket) => return Err(Error::Deadline),
                Err(_) => break,
            }
        }
        match timeout_at(deadline + GRACE, answer).await {
            Ok(Ok(answered)) => answered,
            Ok(Err(_)) | Err(_) => unknown,
        }
    }

    /// Starts a transaction with what waits.
    fn serve(&self, bucket: Bucket, queue: &Queue, mut lane: OwnedMutexGuard<Lane>) {
        let jobs = queue.take();
        if jobs.is_empty() {
            return;
        }
        let books = self.clone();
        rt::spawn(rt::TaskKind::Connection, "transaction", async move {
            let jobs = books.admitted(bucket, jobs).await;
            let desk = books.desk(bucket);
            transact(books.database(), books.unit(), desk, &mut lane, bucket, jobs).await;
        });
    }

    /// The bucket may have been closed while they queued.
    async fn admitted(&self, bucket: Bucket, jobs: Vec<Box<dyn Job>>) -> Vec<Box<dyn Job>> {
        let mut admitted = Vec::with_capacity(jobs.len());
        for job in jobs {
            match self.admit_write(bucket, job.routed(), job.deadline()).await {
                Ok(()) => admitted.push(job),
                Err(error) => job.fail(error),
            }
        }
        admitted
    }
}
