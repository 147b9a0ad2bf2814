//! Asking a fenced service to let shards go, and to raise its fence: the
//! ledger's `/internal/v1`, spoken with every ready pod of the service.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use client::k8s_openapi::api::core::v1::Pod;
use futures::{StreamExt, future::join_all, stream::FuturesUnordered};
use http::{Method, StatusCode};
use planner::shard_map::{Moving, Raised};
use resources::Service;
use rt::TaskKind;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{sync::Mutex, task::JoinHandle, time::Instant};
use topology::{Epoch, Extent, Shard, UnitName};

use crate::{
    link::{Link, LinkError},
    network::{Network, Road, Roads},
};

/// A pod is on the next host or in another city; a silent one is given up so
/// that another is asked.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(300);

/// A raise writes one transaction a shard.
const RAISE_TIMEOUT: Duration = Duration::from_secs(3);

/// How long the other pods are waited for once one has raised: on the critical
/// path of a failover, and they only spare their clients a retry.
const OTHERS_GRACE: Duration = Duration::from_millis(100);

/// Writes that are under way may finish; the fence cuts off the rest.
const DRAIN_MS: u64 = 1_000;
const DRAIN_TIMEOUT: Duration = Duration::from_millis(DRAIN_MS + 200);

/// The name of the port that serves, in a pod's spec.
const PORT_NAME: &str = "https";

pub struct Services {
    roads: Roads,
    /// By unit, namespace and service: what the server must prove to be.
    known: Mutex<BTreeMap<(UnitName, String, String), Road>>,
}

/// What came of a raise.
#[derive(Debug, Default)]
pub struct Raise {
    pub raised: BTreeSet<Raised>,
    /// The fence stands higher, or with another unit.
    pub refused: BTreeSet<Standing>,
}

/// Where a fence stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Standing {
    pub shard: Shard,
    pub epoch: Epoch,
    pub unit: UnitName,
}

#[derive(Deserialize)]
struct RaiseAnswer {
    raised: Vec<StandingText>,
    refused: Vec<StandingText>,
}

/// On the wire a shard is a text.
#[derive(Deserialize)]
struct StandingText {
    shard: String,
    epoch: Epoch,
    unit: UnitName,
}

#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    #[error("no pod of the service is ready")]
    NoEndpoint,
    #[error("prepare TLS: {0}")]
    Tls(#[from] identity::Error),
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("answered {0}: {1}")]
    Answer(StatusCode, String),
    #[error("read the answer: {0}")]
    Malformed(#[from] serde_json::Error),
}

// === impl Services ===

impl Services {
    pub fn new(roads: Roads) -> Services {
        Services { roads, known: Mutex::default() }
    }

    /// The network that is played, if one is.
    pub fn played(&self) -> Option<&Arc<dyn Network>> {
        self.roads.played()
    }

    /// Asks every pod of `unit` to raise the fence of these shards, since each
    /// keeps a picture of its own; the answer of one is proof. All or some may
    /// succeed.
    pub async fn raise(
        &self,
        unit: &UnitName,
        service: &Service,
        endpoints: &[String],
        shards: &[Moving],
    ) -> Result<Raise, ServiceError> {
        let road = self.road(unit, service).await?;
        let body = Bytes::from(serde_json::to_vec(&raise_body(unit, shards.iter()))?);
        let asked = endpoints.iter().map(|endpoint| {
            let (road, endpoint, body) = (road.clone(), endpoint.clone(), body.clone());
            // A task of its own: who is slow is waited for no longer once
            // another has raised, and still hears of it.
            rt::spawn(TaskKind::Connection, "raise", async move {
                post(&road, &endpoint, "/internal/v1/fence", body, RAISE_TIMEOUT).await
            })
        });
        gather(asked.collect()).await
    }

    /// Asks `unit` to take no more writes of these shards below their epochs
    /// and to finish those under way. A courtesy: whoever does not hear it meets
    /// the fence.
    pub async fn drain(
        &self,
        unit: &UnitName,
        service: &Service,
        endpoints: &[String],
        shards: &[&Moving],
    ) -> Result<(), ServiceError> {
        let road = self.road(unit, service).await?;
        let body = Bytes::from(serde_json::to_vec(&drain_body(shards.iter().copied()))?);
        // Each pod has writers of its own.
        let asked = endpoints.iter().map(|endpoint| {
            post(&road, endpoint, "/internal/v1/drain", body.clone(), DRAIN_TIMEOUT)
        });
        join_all(asked).await.into_iter().try_for_each(|answer| answer.map(drop))
    }

    async fn road(&self, unit: &UnitName, service: &Service) -> Result<Road, identity::Error> {
        let key = (unit.clone(), service.namespace.clone(), service.name.clone());
        let mut known = self.known.lock().await;
        if let Some(road) = known.get(&key) {
            return Ok(road.clone());
        }
        let road = self.roads.to(&service.namespace, &service.name, Some(unit.as_str()))?;
        known.insert(key, road.clone());
        Ok(road)
    }
}

/// What is to be done with which shard, and at which epoch: a request that is
/// late must not be taken for one of now. And which buckets those are, where the
/// number alone does not say it: a unit knows no map, and needs none.
fn intents<'a>(shards: impl Iterator<Item = &'a Moving>) -> Vec<Value> {
    let intent = |moving: &Moving| {
        let Moving { shard, buckets, epoch, .. } = moving;
        let mut intent = json!({ "shard": shard.to_string(), "epoch": epoch });
        if let Some(buckets) = (Extent { shard: *shard, buckets: *buckets }).unusual() {
            intent["buckets"] = json!(buckets);
        }
        intent
    };
    shards.map(intent).collect()
}

fn raise_body<'a>(unit: &UnitName, shards: impl Iterator<Item = &'a Moving>) -> Value {
    json!({ "unit": unit, "shards": intents(shards) })
}

fn drain_body<'a>(shards: impl Iterator<Item = &'a Moving>) -> Value {
    json!({ "shards": intents(shards), "deadline_ms": DRAIN_MS })
}

/// Everything that was raised or refused by any; fails when nobody answered.
async fn gather(
    mut asked: FuturesUnordered<JoinHandle<Result<Bytes, ServiceError>>>,
) -> Result<Raise, ServiceError> {
    let (mut raise, mut failure) = (Raise::default(), Some(ServiceError::NoEndpoint));
    let grace = tokio::time::sleep(Duration::ZERO);
    tokio::pin!(grace);
    loop {
        let answer = tokio::select! {
            answer = asked.next() => match answer {
                Some(answer) => answer,
                None => break,
            },
            () = &mut grace, if !raise.raised.is_empty() => break,
        };
        // A task that panicked gave no answer.
        let Ok(answer) = answer else { continue };
        match answer.and_then(|answer| Ok(serde_json::from_slice(&answer)?)) {
            Ok(answer) => {
                raise.add(answer);
                failure = None;
            }
            Err(error) => failure = failure.map(|_| error),
        }
        grace.as_mut().reset(Instant::now() + OTHERS_GRACE);
    }
    failure.map_or(Ok(raise), Err)
}

async fn post(
    road: &Road,
    endpoint: &str,
    path: &str,
    body: Bytes,
    limit: Duration,
) -> Result<Bytes, ServiceError> {
    let mut link = Link::connect(road, endpoint, CONNECT_TIMEOUT).await?;
    let (status, answer) = link.send(Method::POST, path, body, limit).await?;
    if status.is_success() {
        return Ok(answer);
    }
    let text: String = String::from_utf8_lossy(&answer).chars().take(512).collect();
    Err(ServiceError::Answer(status, text))
}

// === impl Raise ===

impl Raise {
    /// What one pod raised stands, whatever another says.
    fn add(&mut self, answer: RaiseAnswer) {
        let raised = answer.raised.into_iter().filter_map(StandingText::parse);
        let raised = raised.map(|Standing { shard, epoch, unit }| Raised { shard, epoch, unit });
        self.raised.extend(raised);
        let refused = answer.refused.into_iter().filter_map(StandingText::parse);
        self.refused.extend(refused);
    }
}

// === impl StandingText ===

impl StandingText {
    fn parse(self) -> Option<Standing> {
        let StandingText { shard, epoch, unit } = self;
        Some(Standing { shard: shard.parse().ok()?, epoch, unit })
    }
}

/// `HOST:PORT` of a pod, if it is of this service and ready.
pub fn endpoint(pod: &Pod, service: &Service) -> Option<String> {
    let metadata = &pod.metadata;
    let app = metadata.labels.as_ref().and_then(|labels| labels.get("app"));
    let ours = app == Some(&service.name)
        && metadata.namespace.as_deref() == Some(service.namespace.as_str());
    if !ours || metadata.deletion_timestamp.is_some() || !is_ready(pod) {
        return None;
    }
    let address = pod.status.as_ref()?.pod_ip.as_ref()?;
    let mut ports = pod.spec.as_ref()?.containers.iter().flat_map(|container| &container.ports);
    let port = ports
        .find_map(|ports| ports.iter().find(|port| port.name.as_deref() == Some(PORT_NAME)))?;
    Some(format!("{address}:{}", port.container_port))
}

pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_names_the_epoch_of_the_move() {
        let from: Option<UnitName> = Some("rz01".parse().expect("a name"));
        let moving = |shard: &str, buckets: &str| Moving {
            shard: shard.parse().expect("a shard"),
            buckets: buckets.parse().expect("buckets"),
            epoch: Epoch(18),
            from: from.clone(),
        };
        let shards =
            [moving("42", "4200-4299"), moving("43", "4300-4349"), moving("100", "4350-4399")];
        let expected = json!({
            "shards": [
                { "shard": "42", "epoch": 18 },
                { "shard": "43", "epoch": 18, "buckets": "4300-4349" },
                { "shard": "100", "epoch": 18, "buckets": "4350-4399" },
            ],
            "deadline_ms": DRAIN_MS,
        });
        assert_eq!(drain_body(shards.iter()), expected);
    }

    fn raised(epoch: u64) -> Result<Bytes, ServiceError> {
        let standing = json!({ "shard": "42", "epoch": epoch, "unit": "rz01" });
        Ok(Bytes::from(json!({ "raised": [standing], "refused": [] }).to_string()))
    }

    async fn outcome(answers: Vec<Result<Bytes, ServiceError>>) -> Result<Raise, ServiceError> {
        let spawn = |answer| rt::spawn(TaskKind::Connection, "test", async move { answer });
        gather(answers.into_iter().map(spawn).collect()).await
    }

    #[tokio::test]
    async fn every_pod_is_asked_and_one_that_raises_is_enough() {
        let failed = || Err(ServiceError::NoEndpoint);
        let raise = outcome(vec![failed(), raised(3), failed(), raised(3)]).await;
        assert_eq!(raise.expect("one is enough").raised.len(), 1);
        assert!(outcome(vec![failed(), failed()]).await.is_err());
        assert!(outcome(Vec::new()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_pod_that_is_silent_delays_a_raise_by_little_and_is_asked_to_the_end() {
        let (tell, heard) = tokio::sync::oneshot::channel();
        let asked = FuturesUnordered::new();
        asked.push(rt::spawn(TaskKind::Connection, "silent", async move {
            tokio::time::sleep(RAISE_TIMEOUT).await;
            tell.send(()).expect("somebody listens");
            raised(3)
        }));
        asked.push(rt::spawn(TaskKind::Connection, "quick", async { raised(3) }));
        let started = Instant::now();
        assert_eq!(gather(asked).await.expect("one is enough").raised.len(), 1);
        assert_eq!(started.elapsed(), OTHERS_GRACE);
        heard.await.expect("the silent one was not given up");
    }
}
