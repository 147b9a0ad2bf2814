//! Tells the API what is seen of a Pod: the newest status, when it differs from
//! what was told, again and again until it arrives.

use std::time::Duration;

use client::{Door, Objects};
use k8s_openapi::api::core::v1::PodStatus;
use rt::{backoff::Backoff, random::Random};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::seen::{PodRef, SeenPod};

/// The first retry is soon, for a replica that was lost; the last spares an API
/// that is away.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(5);

pub(crate) struct Publisher {
    pods: Objects<SeenPod>,
    id: PodRef,
    wanted: Option<Value>,
    told: Value,
    not_before: Option<Instant>,
    backoff: Backoff,
}

// === impl Publisher ===

impl Publisher {
    pub(crate) fn new(door: Door, id: PodRef, pod: &SeenPod) -> Publisher {
        let backoff = Backoff::new(RETRY_FIRST, RETRY_MAX, Random::from_entropy());
        let pods = door.namespaced(&id.namespace);
        let told = pod.status.clone();
        Publisher { pods, id, wanted: None, told, not_before: None, backoff }
    }

    pub(crate) fn want(&mut self, status: PodStatus) {
        let status = serde_json::to_value(status).expect("a status is JSON");
        self.wanted = Some(status).filter(|status| *status != self.told);
    }

    /// One try to tell what is wanted; waits for ever if that is nothing. Safe
    /// to drop: what may have arrived is told again.
    pub(crate) async fn step(&mut self) {
        let Some(status) = &self.wanted else { return std::future::pending().await };
        if let Some(not_before) = self.not_before {
            tokio::time::sleep_until(not_before).await;
        }
        // The uid is a precondition: a later Pod of the name is left alone.
        let patch = json!({ "metadata": { "uid": self.id.uid }, "status": status });
        match self.pods.patch_status(&self.id.name, &patch).await {
            Ok(_) => self.backoff.reset(),
            Err(error) if error.is_not_found() || error.is_conflict() => {}
            Err(error) if error.is_definite() => {
                tracing::warn!(pod = %self.id, %error, "the API refused a status");
            }
            Err(error) => {
                tracing::debug!(pod = %self.id, %error, "could not tell a status, trying again");
                self.not_before = Some(Instant::now() + self.backoff.step());
                return;
            }
        }
        self.not_before = None;
        self.told = self.wanted.take().expect("checked at the start");
    }
}
