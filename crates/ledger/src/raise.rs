//! Taking a shard over, and letting it go.

use std::time::Duration;

use futures::future::join_all;
use rt::{backoff::Backoff, random::Random};
use tokio::time::{Instant, timeout_at};
use topology::{Epoch, Shard};

use crate::{
    Books, Error,
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
    pub shard: Shard,
    /// Lanes that were at work when the drain began, and those that still are.
    pub busy: usize,
    pub left: usize,
}

// === impl Books ===

impl Books {
    /// Raises the fences of `shard` to `epoch` for this unit, all buckets in one
    /// transaction. Idempotent, so an unknown outcome is simply tried again.
    pub async fn raise(
        &self,
        shard: Shard,
        epoch: Epoch,
        deadline: Instant,
    ) -> Result<Raised, Error> {
        let wanted = Fence { epoch, unit: self.unit().clone() };
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MAX, Random::from_entropy());
        let mut failure = Error::Contention;
        for _ in 0..ROUNDS_MAX {
            let attempt = timeout_at(deadline, self.raise_once(shard, &wanted)).await;
            match attempt.map_err(|_| Error::Deadline)? {
                Ok(Some(raised)) => {
                    let fence = match &raised {
                        Raised::Ours(fence) | Raised::Refused(fence) => fence.clone(),
                    };
                    self.desk(shard).learn(Some(fence));
                    return Ok(raised);
                }
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
    async fn raise_once(&self, shard: Shard, wanted: &Fence) -> Result<Option<Raised>, Error> {
        let stored = self.database().fences(shard).await?;
        let lower = match judge(&stored.rows, wanted) {
            Verdict::Held => return Ok(Some(Raised::Ours(wanted.clone()))),
            Verdict::Refused(fence) => return Ok(Some(Raised::Refused(fence))),
            Verdict::Raise(lower) => lower,
        };
        let raised = self.database().raise(shard, &stored, &lower, wanted).await?;
        Ok(raised.then(|| Raised::Ours(wanted.clone())))
    }

    /// All shards at once: each is a transaction of its own.
    pub async fn raise_all(
        &self,
        shards: &[(Shard, Epoch)],
        deadline: Instant,
    ) -> Vec<(Shard, Result<Raised, Error>)> {
        join_all(
            shards.iter().map(|(shard, epoch)| async {
                (*shard, self.raise(*shard, *epoch, deadline).await)
            }),
        )
        .await
    }

    /// Stops new writes of `shard` for its move of epoch `moving`, and waits
    /// until those under way are done. It opens again when its fence is raised
    /// to that epoch or higher; where that was done already, the request is late
    /// and there is nothing to let go.
    pub async fn drain(
        &self,
        shard: Shard,
        moving: Epoch,
        deadline: Instant,
    ) -> Result<Drained, Error> {
        // Without knowing the fence there would be nothing to judge by.
        self.fence(shard, deadline).await?;
        let desk = self.desk(shard);
        let mut drained = Drained { shard, busy: 0, left: 0 };
        if !desk.close(moving) {
            return Ok(drained);
        }
        for lane in desk.queues().iter().map(|queue| queue.lane()) {
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
