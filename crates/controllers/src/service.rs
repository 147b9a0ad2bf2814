//! Asking a fenced service to let shards go, and to raise its fence: the
//! ledger's `/internal/v1`, spoken with any ready pod of the service.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use client::k8s_openapi::api::core::v1::Pod;
use http::{Method, StatusCode};
use identity::{Credentials, Expected, ServerCheck};
use planner::shard_map::{Moving, Raised};
use resources::Service;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;
use tokio::sync::Mutex;
use tokio_rustls::rustls::ClientConfig;
use topology::{Epoch, Shard, UnitName};

use crate::link::{Link, LinkError};

/// A pod is on the next host or in another city; a silent one is given up so
/// that another is asked.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(300);

/// A raise writes one transaction a shard.
const RAISE_TIMEOUT: Duration = Duration::from_secs(3);

/// Writes that are under way may finish; the fence cuts off the rest.
const DRAIN_MS: u64 = 1_000;
const DRAIN_TIMEOUT: Duration = Duration::from_millis(DRAIN_MS + 200);

/// The name of the port that serves, in a pod's spec.
const PORT_NAME: &str = "https";

pub struct Services {
    credentials: Credentials,
    trust_domain: String,
    /// By unit, namespace and service: what the server must prove to be.
    tls: Mutex<BTreeMap<(UnitName, String, String), Arc<ClientConfig>>>,
}

/// What came of a raise.
#[derive(Debug, Default)]
pub struct Raise {
    pub raised: Vec<Raised>,
    /// The fence stands higher, or with another unit.
    pub refused: Vec<Standing>,
}

/// Where a fence stands.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
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

/// On the wire a shard is a text of two digits.
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
    pub fn new(credentials: Credentials, trust_domain: String) -> Services {
        Services { credentials, trust_domain, tls: Mutex::default() }
    }

    /// Asks `unit` to raise the fence of these shards. All or some may succeed.
    pub async fn raise(
        &self,
        unit: &UnitName,
        service: &Service,
        endpoints: &[String],
        shards: &[Moving],
    ) -> Result<Raise, ServiceError> {
        let wanted: Vec<_> = shards
            .iter()
            .map(|moving| json!({ "shard": moving.shard.to_string(), "epoch": moving.epoch }))
            .collect();
        let body = json!({ "unit": unit, "shards": wanted });
        let (path, limit) = ("/internal/v1/fence", RAISE_TIMEOUT);
        let answer: RaiseAnswer = self.ask(unit, service, endpoints, path, &body, limit).await?;
        let raised = answer.raised.into_iter().filter_map(StandingText::parse);
        let raised = raised.map(|Standing { shard, epoch, unit }| Raised { shard, epoch, unit });
        let refused = answer.refused.into_iter().filter_map(StandingText::parse);
        Ok(Raise { raised: raised.collect(), refused: refused.collect() })
    }

    /// Asks `unit` to take no more writes of these shards and to finish those
    /// under way. A courtesy: whoever does not hear it meets the fence.
    pub async fn drain(
        &self,
        unit: &UnitName,
        service: &Service,
        endpoints: &[String],
        shards: &[Shard],
    ) -> Result<(), ServiceError> {
        let shards: Vec<_> = shards.iter().map(Shard::to_string).collect();
        let body = json!({ "shards": shards, "deadline_ms": DRAIN_MS });
        let (path, limit) = ("/internal/v1/drain", DRAIN_TIMEOUT);
        // Each pod has writers of its own.
        for endpoint in endpoints {
            let endpoint = std::slice::from_ref(endpoint);
            let _: serde_json::Value =
                self.ask(unit, service, endpoint, path, &body, limit).await?;
        }
        Ok(())
    }

    /// The answer of the first endpoint that gives one.
    async fn ask<A: DeserializeOwned>(
        &self,
        unit: &UnitName,
        service: &Service,
        endpoints: &[String],
        path: &str,
        body: &serde_json::Value,
        limit: Duration,
    ) -> Result<A, ServiceError> {
        let tls = self.tls(unit, service).await?;
        let body = Bytes::from(serde_json::to_vec(body)?);
        let mut failure = ServiceError::NoEndpoint;
        for endpoint in endpoints {
            match post(&tls, endpoint, path, body.clone(), limit).await {
                Ok(answer) => return Ok(serde_json::from_slice(&answer)?),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    async fn tls(
        &self,
        unit: &UnitName,
        service: &Service,
    ) -> Result<Arc<ClientConfig>, identity::Error> {
        let key = (unit.clone(), service.namespace.clone(), service.name.clone());
        let mut configs = self.tls.lock().await;
        if let Some(config) = configs.get(&key) {
            return Ok(config.clone());
        }
        let expected = Expected::service(&self.trust_domain, &service.namespace, &service.name);
        let check = ServerCheck::Spiffe(expected.in_unit(unit.as_str()));
        let config = identity::client_config(&self.credentials, check, &[b"http/1.1"])?;
        configs.insert(key, config.clone());
        Ok(config)
    }
}

async fn post(
    tls: &Arc<ClientConfig>,
    endpoint: &str,
    path: &str,
    body: Bytes,
    limit: Duration,
) -> Result<Bytes, ServiceError> {
    let mut link = Link::connect(tls, endpoint, CONNECT_TIMEOUT).await?;
    let (status, answer) = link.send(Method::POST, path, body, limit).await?;
    if status.is_success() {
        return Ok(answer);
    }
    let text: String = String::from_utf8_lossy(&answer).chars().take(512).collect();
    Err(ServiceError::Answer(status, text))
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
