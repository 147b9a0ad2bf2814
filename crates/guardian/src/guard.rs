//! Looks, and acts. A leader that is silent for some looks in a row is lost:
//! being wrong about that costs a failover and never a payment, so one guardian
//! may decide it alone, and any number may run.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until};

use crate::{DatabaseGroup, Error, Name, Survey, Tended};

#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub look_every: Duration,
    /// Longer than the pauses that machines make, and short against the time
    /// that a payment is held.
    pub silence: Duration,
    /// Between two failovers, so that a fault that they do not cure does not
    /// keep everybody waiting.
    pub between: Duration,
}

pub struct Guard {
    group: Arc<dyn DatabaseGroup>,
    pace: Pace,
    preferred: Option<Name>,
    led: Instant,
    last: Option<Instant>,
    /// Said once, and again when it changes.
    said: Vec<Tended>,
    refused: String,
}

// === impl Pace ===

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            look_every: Duration::from_millis(500),
            silence: Duration::from_millis(1500),
            between: Duration::from_secs(10),
        }
    }
}

// === impl Guard ===

impl Guard {
    /// `preferred` is a city.
    pub fn new(group: Arc<dyn DatabaseGroup>, pace: Pace, preferred: Option<Name>) -> Guard {
        Guard {
            group,
            pace,
            preferred,
            led: Instant::now(),
            last: None,
            said: Vec::new(),
            refused: String::new(),
        }
    }

    pub async fn run(mut self, drain: rt::Drain) {
        let mut drained = std::pin::pin!(drain.started());
        loop {
            let next = Instant::now() + self.pace.look_every;
            tokio::select! {
                () = &mut drained => return,
                () = async { self.look().await; sleep_until(next).await } => {}
            }
        }
    }

    async fn look(&mut self) {
        let began = Instant::now();
        let Survey { leader, epoch, .. } = self.group.survey().await;
        if let Some(leader) = leader {
            self.led = Instant::now();
            self.refused.clear();
            match self.group.tend(&leader).await {
                Ok(tended) => self.say(tended),
                Err(error) => tracing::debug!(%error, "members are not tended"),
            }
            return;
        }
        let Some(epoch) = epoch else { return };
        let is_soon = self.last.is_some_and(|last| last.elapsed() < self.pace.between);
        if began.saturating_duration_since(self.led) < self.pace.silence || is_soon {
            return;
        }
        tracing::warn!(%epoch, "the group has no leader");
        match self.group.fail_over(epoch, self.preferred.as_ref()).await {
            Ok(_) => self.last = Some(Instant::now()),
            // Others are at it, or done; the next look shows.
            Err(error @ (Error::Busy { .. } | Error::Moved { .. })) => {
                tracing::info!(%error, "the failover is another's");
            }
            Err(error) => {
                let why = error.to_string();
                if why != self.refused {
                    tracing::error!(why, "nobody can lead");
                    self.refused = why;
                }
            }
        }
    }

    fn say(&mut self, tended: Vec<Tended>) {
        for one in &tended {
            match one {
                Tended::Errant { .. } | Tended::Stuck { .. } if self.said.contains(one) => {}
                Tended::Errant { member, transactions } => {
                    let transactions = transactions.join(", ");
                    tracing::error!(%member, transactions, "a member has what the leader has not, and is left out");
                }
                Tended::Stuck { member, problem } => {
                    tracing::error!(%member, problem, "a member does not follow");
                }
                Tended::Joined(member) => tracing::info!(%member, "a member follows"),
                Tended::Acknowledges(member) => tracing::info!(%member, "a member acknowledges"),
                Tended::Deposed(member) => tracing::warn!(%member, "an old leader was deposed"),
            }
        }
        self.said = tended;
    }
}
