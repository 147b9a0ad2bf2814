//! What waits for a bucket: whoever gets the lane takes along what has gathered.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Mutex as LaneLock, OwnedMutexGuard};

use crate::{Error, job::Job, lane::Lane};

/// Jobs in one transaction. A payment needs three rows, and with the fence that
/// stays below the 128 operations that the store takes in one.
const JOBS_MAX: usize = 40;

/// Jobs that wait for one bucket: four of the largest batches, or all the
/// requests that the service lets in at once.
const QUEUE_MAX: usize = 1024;

#[derive(Default)]
pub struct Queue {
    lane: Arc<LaneLock<Lane>>,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<(Ticket, Box<dyn Job>)>,
    next: Ticket,
}

/// A place in the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ticket(u64);

// === impl Queue ===

impl Queue {
    pub fn lane(&self) -> &Arc<LaneLock<Lane>> {
        &self.lane
    }

    /// The right to write the bucket.
    pub async fn turn(&self) -> OwnedMutexGuard<Lane> {
        self.lane.clone().lock_owned().await
    }

    pub fn push(&self, job: Box<dyn Job>) -> Result<Ticket, Error> {
        let mut waiting = self.waiting();
        if waiting.jobs.len() >= QUEUE_MAX {
            return Err(Error::Busy);
        }
        let ticket = waiting.next;
        waiting.next = Ticket(ticket.0 + 1);
        waiting.jobs.push_back((ticket, job));
        Ok(ticket)
    }

    /// The first that somebody still waits for; for whoever has the turn.
    pub fn take(&self) -> Vec<Box<dyn Job>> {
        let mut waiting = self.waiting();
        let mut taken = Vec::new();
        while taken.len() < JOBS_MAX
            && let Some((_, job)) = waiting.jobs.pop_front()
        {
            if job.is_awaited() {
                taken.push(job);
            }
        }
        taken
    }

    /// Removes a job. False if it was taken: it may be on its way.
    pub fn withdraw(&self, ticket: Ticket) -> bool {
        let mut waiting = self.waiting();
        let before = waiting.jobs.len();
        waiting.jobs.retain(|(known, _)| *known != ticket);
        waiting.jobs.len() < before
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // No code that can panic runs under this lock.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
