//! Probing the other centers: `GET /livez` at their API servers, over one
//! connection each.
//!
//! A probe that fails on an old connection is sent again at once on a new one,
//! so that a restart of the other side costs no suspicion.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, StatusCode};
use identity::{Credentials, Expected, ServerCheck};
use planner::center::{PROBE_INTERVAL_MS, SUSPECT_AFTER_MS};
use rt::{Clock, Millis, TaskKind};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, MissedTickBehavior},
};
use tokio_rustls::rustls::ClientConfig;
use topology::CenterName;

use crate::{
    Error, Metrics,
    link::{Link, LinkError},
    role::SYSTEM_NAMESPACE,
};

/// The service account of the processes that are probed.
const API_SERVER: &str = "apiserver";

/// Half the window, so that two tries fit into it.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(SUSPECT_AFTER_MS / 2);
const ANSWER_TIMEOUT: Duration = Duration::from_millis(SUSPECT_AFTER_MS);

#[derive(Clone)]
pub struct Prober {
    tls: Arc<ClientConfig>,
    clock: Clock,
    metrics: Arc<Metrics>,
}

/// A center answered.
#[derive(Debug)]
pub struct Answer {
    pub center: CenterName,
    pub sent: Millis,
    pub received: Millis,
}

/// Ends with this value.
pub struct Probing(JoinHandle<()>);

// === impl Prober ===

impl Prober {
    pub fn build(
        credentials: &Credentials,
        trust_domain: &str,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Result<Prober, Error> {
        let expected = Expected::service(trust_domain, SYSTEM_NAMESPACE, API_SERVER);
        let check = ServerCheck::Spiffe(expected);
        let tls = identity::client_config(credentials, check, &[b"http/1.1"]);
        Ok(Prober { tls: tls.map_err(Error::ProbeTls)?, clock, metrics })
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
        loop {
            ticks.tick().await;
            self.metrics.probes.add(1);
            let had_link = link.is_some();
            let mut answered = self.probe(&mut link, &address).await;
            if had_link && matches!(answered, Err(LinkError::Http(_))) {
                answered = self.probe(&mut link, &address).await;
            }
            match answered {
                Ok((sent, StatusCode::OK)) => {
                    self.metrics.probes_answered.add(1);
                    let received = self.clock.now();
                    let answer = Answer { center: center.clone(), sent, received };
                    if answers.send(answer).await.is_err() {
                        return;
                    }
                }
                Ok((_, status)) => tracing::debug!(%center, %status, "center is up but not well"),
                Err(error) => tracing::trace!(%center, %error, "no answer to a probe"),
            }
        }
    }

    async fn probe(
        &self,
        link: &mut Option<Link>,
        address: &str,
    ) -> Result<(Millis, StatusCode), LinkError> {
        // Put back only after an answer: a broken connection is not kept.
        let mut open = match link.take() {
            Some(open) => open,
            None => Link::connect(&self.tls, address, CONNECT_TIMEOUT).await?,
        };
        let sent = self.clock.now();
        let (status, _) = open.send(Method::GET, "/livez", Bytes::new(), ANSWER_TIMEOUT).await?;
        *link = Some(open);
        Ok((sent, status))
    }
}

// === impl Probing ===

impl Drop for Probing {
    fn drop(&mut self) {
        self.0.abort();
    }
}
