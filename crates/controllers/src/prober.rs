//! Probing the other centers: `GET /livez` at their API servers, over one
//! connection each.
//!
//! A probe that fails on an old connection is sent again at once on a new one,
//! so that a restart of the other side costs no suspicion.
//!
//! While a probe waits for its answer, the machine is knocked at: it takes a
//! connection even for a process that is paused, and a machine that is gone
//! does not. The knocks of a whole estate must not fill the queue of a process
//! that is paused for long (1,024), so they are few; filled, it looks silent.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{Method, StatusCode};
use planner::center::{PROBE_INTERVAL_MS, SUSPECT_AFTER_MS};
use rt::{Clock, Millis, TaskKind};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, MissedTickBehavior},
};
use topology::CenterName;

use crate::{
    Error, Metrics,
    link::{Link, LinkError},
    network::{Road, Roads},
    role::SYSTEM_NAMESPACE,
};

/// A probe is answered well within this, unless something is wrong; what is
/// learnt by then is known before a suspicion arises.
const KNOCK_AFTER: Duration = Duration::from_millis(300);
const KNOCK_INTERVAL: Duration = Duration::from_secs(1);
const KNOCK_TIMEOUT: Duration = Duration::from_millis(300);

/// The service account of the processes that are probed.
const API_SERVER: &str = "apiserver";

/// Half the window, so that two tries fit into it.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(SUSPECT_AFTER_MS / 2);
const ANSWER_TIMEOUT: Duration = Duration::from_millis(SUSPECT_AFTER_MS);

#[derive(Clone)]
pub struct Prober {
    road: Road,
    clock: Clock,
    metrics: Arc<Metrics>,
}

/// What was heard of a center.
#[derive(Debug)]
pub struct Answer {
    pub center: CenterName,
    pub heard: Heard,
}

#[derive(Debug)]
pub enum Heard {
    Answered {
        sent: Millis,
        received: Millis,
    },
    /// Its machine took a connection while it did not answer, or did not.
    Knocked {
        taken: bool,
        at: Millis,
    },
}

/// Ends with this value.
pub struct Probing(JoinHandle<()>);

// === impl Prober ===

impl Prober {
    pub fn build(roads: &Roads, clock: Clock, metrics: Arc<Metrics>) -> Result<Prober, Error> {
        let road = roads.to(SYSTEM_NAMESPACE, API_SERVER, None).map_err(Error::ProbeTls)?;
        Ok(Prober { road, clock, metrics })
    }

    /// Probes `center` at `address` from now on.
    pub fn start(
        &self,
        center: CenterName,
        address: String,
        answers: mpsc::Sender<Answer>,
    ) -> Probing {
        let prober = self.clone();
        Probing(rt::spawn(TaskKind::Critical, "probe", prober.run(center, address, answers)))
    }

    async fn run(self, center: CenterName, address: String, answers: mpsc::Sender<Answer>) {
        // All probes of a center go out at one moment of its clock: waking up
        // costs an idle process more than the probes do.
        let first = PROBE_INTERVAL_MS - self.clock.now().0 % PROBE_INTERVAL_MS;
        let first = Instant::now() + Duration::from_millis(first);
        let interval = Duration::from_millis(PROBE_INTERVAL_MS);
        let mut ticks = tokio::time::interval_at(first, interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut link = None;
        let mut knock_at = Instant::now();
        loop {
            ticks.tick().await;
            self.metrics.probes.add(1);
            let answered = {
                let probe = pin!(self.probe_twice(&mut link, &address));
                let knock = || self.knock(&center, &address, &answers);
                knocking(probe, &mut knock_at, knock).await
            };
            match answered {
                Ok((sent, StatusCode::OK)) => {
                    self.metrics.probes_answered.add(1);
                    let received = self.clock.now();
                    let heard = Heard::Answered { sent, received };
                    let answer = Answer { center: center.clone(), heard };
                    if answers.send(answer).await.is_err() {
                        return;
                    }
                }
                Ok((_, status)) => tracing::debug!(%center, %status, "center is up but not well"),
                Err(error) => tracing::trace!(%center, %error, "no answer to a probe"),
            }
        }
    }

    async fn probe_twice(
        &self,
        link: &mut Option<Link>,
        address: &str,
    ) -> Result<(Millis, StatusCode), LinkError> {
        let had_link = link.is_some();
        let answered = self.probe(link, address).await;
        match answered {
            Err(LinkError::Http(_) | LinkError::Broken(_)) if had_link => {
                self.probe(link, address).await
            }
            answered => answered,
        }
    }

    /// Finds out beside the probe whether the machine takes a connection.
    fn knock(&self, center: &CenterName, address: &str, answers: &mpsc::Sender<Answer>) {
        let (center, address) = (center.clone(), address.to_owned());
        let (answers, clock, road) = (answers.clone(), self.clock.clone(), self.road.clone());
        rt::spawn(TaskKind::Connection, "knock", async move {
            let taken = tokio::time::timeout(KNOCK_TIMEOUT, road.knock(&address)).await;
            let taken = taken.unwrap_or(false);
            let heard = Heard::Knocked { taken, at: clock.now() };
            // Ends with the watchman, who then wants to know nothing more.
            let _ = answers.send(Answer { center, heard }).await;
        });
    }

    async fn probe(
        &self,
        link: &mut Option<Link>,
        address: &str,
    ) -> Result<(Millis, StatusCode), LinkError> {
        // Put back only after an answer: a broken connection is not kept.
        let mut open = match link.take() {
            Some(open) => open,
            None => Link::connect(&self.road, address, CONNECT_TIMEOUT).await?,
        };
        let sent = self.clock.now();
        let (status, _) = open.send(Method::GET, "/livez", Bytes::new(), ANSWER_TIMEOUT).await?;
        *link = Some(open);
        Ok((sent, status))
    }
}

/// Waits for `probe`, and knocks while it lasts.
async fn knocking<T>(
    mut probe: Pin<&mut impl Future<Output = T>>,
    knock_at: &mut Instant,
    knock: impl Fn(),
) -> T {
    *knock_at = (*knock_at).max(Instant::now() + KNOCK_AFTER);
    loop {
        tokio::select! {
            answered = &mut probe => return answered,
            () = tokio::time::sleep_until(*knock_at) => {
                knock();
                *knock_at += KNOCK_INTERVAL;
            }
        }
    }
}

// === impl Probing ===

impl Drop for Probing {
    fn drop(&mut self) {
        self.0.abort();
    }
}
