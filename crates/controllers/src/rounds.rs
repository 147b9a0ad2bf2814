//! The rounds of a controller that the leader runs: one look at the estate,
//! then the wait for news, or for time where only time has to pass.

use std::{future::Future, time::Duration};

use client::Leadership;

use crate::role::Shared;

/// How often to look while only time has to pass.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

pub trait Rounds: Send {
    /// What has failed with a round that fails.
    const WORK: &'static str;

    /// By what the next round is woken.
    fn wakes(&mut self) -> (&mut Shared, &mut Leadership);

    /// One round; followers go through it too. True when time alone can give
    /// us more to do.
    fn round(&mut self) -> impl Future<Output = Result<bool, client::Error>> + Send;
}

pub async fn run<R: Rounds>(mut work: R) {
    loop {
        let waiting = match work.round().await {
            Ok(waiting) => waiting,
            // Somebody else was faster: the news of it wakes us.
            Err(error) if error.is_conflict() => true,
            Err(error) => {
                tracing::warn!(%error, "{}", R::WORK);
                true
            }
        };
        let (shared, leadership) = work.wakes();
        tokio::select! {
            () = shared.picture.changed() => {}
            _ = shared.health.changed() => {}
            () = leadership.changed() => {}
            () = tokio::time::sleep(LOOK_AGAIN), if waiting => {}
        }
    }
}
