//! Taking a shard over, and letting it go.

use std::time::Duration;

use futures::future::join_all;
use rt::{backoff::Backoff, random::Random};
use tokio::time::{Instant, timeout_at};
use topology::{Epoch, Extent};

use crate::{
    Books, Error,
    desk::Standing,
    fence::{Fence, Verdict, judge},
};

/// Rounds of read and write before a raise gives up: only a failing store, or
/// another raise of the same shard at the same moment, can cause a second one.
const ROUNDS_MAX: usize = 8;

/// Waits after the store failed. A raise is on the critical path of a failover.
const RETRY_FIRST: Duration = Duration::from_millis(5);
const RETRY_MAX: Duration = Duration::from_millis(100);

/// How a raise of one shard ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Raised {
    /// Every bucket stands at the wanted epoch and unit.
    Ours(Fence),
    /// A bucket stands at this, which is not lower.
    Refused(Fence),
}

/// How letting go of one shard ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    pub extent: Extent,
    /// Lanes that were at work when the drain began, and those that still are.
    pub busy: usize,
    pub left: usize,
}

// === impl Books ===

impl Books {
    /// Raises the fences of a shard to `epoch` for this unit, all the buckets named
    /// in one transaction. Idempotent, so an unknown outcome is simply tried again.
    pub async fn raise(
        &self,
        extent: Extent,
        epoch: Epoch,
        deadline: Instant,
    ) -> Result<Raised, Error> {
        let wanted = Fence { epoch, unit: self.unit().clone() };
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MAX, Random::from_entropy());
        let mut failure = Error::Contention;
        for _ in 0..ROUNDS_MAX {
            let attempt = timeout_at(deadline, self.raise_once(extent, &wanted)).await;
            match attempt.map_err(|_| Error::Deadline)? {
                Ok(Some(raised)) => return Ok(raised),
                Ok(None) => {}
                Err(error @ Error::Store(_)) => {
                    failure = error;
                    tokio::time::sleep(backoff.step()).await;
                }
                Err(error) => return Err(error),
            }
        }
        Err(failure)
    }

    /// None when a row moved between read and write.
    async fn raise_once(&self, extent: Extent, wanted: &Fence) -> Result<Option<Raised>, Error> {
        let range = extent.buckets;
        let stored = self.database().fences(range).await?;
        self.learn(&stored.rows);
        let lower = match judge(&stored.rows, wanted) {
            Verdict::Held => return Ok(Some(Raised::Ours(wanted.clone()))),
            Verdict::Refused(fence) => return Ok(Some(Raised::Refused(fence))),
            Verdict::Raise(lower) => lower,
        };
        if !self.database().raise(range, &stored, &lower, wanted).await? {
            return Ok(None);
        }
        for desk in self.desks_of(range) {
            desk.learn(Some(wanted.clone()));
        }
        Ok(Some(Raised::Ours(wanted.clone())))
    }

    /// All shards at once: each is a transaction of its own.
    pub async fn raise_all(
        &self,
        shards: &[(Extent, Epoch)],
        deadline: Instant,
    ) -> Vec<(Extent, Result<Raised, Error>)> {
        let raises = shards.iter().map(|(extent, epoch)| async {
            (*extent, self.raise(*extent, *epoch, deadline).await)
        });
        join_all(raises).await
    }

    /// Stops new writes of a shard for its move of epoch `moving`, and waits
    /// until those under way are done. A bucket opens again when its fence is
    /// raised to that epoch or higher; where that was done already, the request is
    /// late and there is nothing to let go.
    pub async fn drain(
        &self,
        extent: Extent,
        moving: Epoch,
        deadline: Instant,
    ) -> Result<Drained, Error> {
        // Without knowing the fence there would be nothing to judge by.
        let desks = self.desks_of(extent.buckets);
        if desks.iter().any(|desk| desk.standing() == Standing::Unseen) {
            let read = timeout_at(deadline, self.database().fences(extent.buckets)).await;
            self.learn(&read.map_err(|_| Error::Deadline)??.rows);
        }
        let mut drained = Drained { extent, busy: 0, left: 0 };
        let closed: Vec<_> = desks.iter().filter(|desk| desk.close(moving)).collect();
        for lane in closed.iter().map(|desk| desk.queue().lane()) {
            if lane.try_lock().is_ok() {
                continue;
            }
            drained.busy += 1;
            // Whoever still queues is refused as soon as it gets the lane.
            if timeout_at(deadline, lane.lock()).await.is_err() {
                drained.left += 1;
            }
        }
        Ok(drained)
    }
}
