//! Tells the API what is seen of a Pod: the newest status, when it differs from
//! what the API has, again and again until it arrives.
//!
//! A task of its own that never drops a request under way: a newer status sent
//! beside an older one could be overtaken by it. What arrived late all the same
//! (after a timeout) is noticed in the watch, and corrected.

use std::time::Duration;

use client::{Door, Objects};
use k8s_openapi::api::core::v1::PodStatus;
use rt::{backoff::Backoff, random::Random};
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinHandle};

use super::seen::{PodRef, SeenPod};

/// The first retry is soon, for a replica that was lost; the last spares an API
/// that is away.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Dropping it ends the telling.
pub(crate) struct Publisher {
    desk: watch::Sender<Desk>,
    task: JoinHandle<()>,
}

#[derive(Clone)]
struct Desk {
    wanted: Option<Value>,
    /// What the API has, as far as we know; null if we do not.
    told: Value,
    /// The object's version with that.
    version: u64,
}

// === impl Publisher ===

impl Publisher {
    pub(crate) fn start(door: &Door, id: PodRef, pod: &SeenPod) -> Publisher {
        let (told, version) = (pod.status.clone(), pod.version());
        let desk = watch::Sender::new(Desk { wanted: None, told, version });
        let task = tokio::spawn(run(door.namespaced(&id.namespace), id, desk.clone()));
        Publisher { desk, task }
    }

    pub(crate) fn want(&self, status: PodStatus) {
        let status = serde_json::to_value(status).expect("a status is JSON");
        self.desk.send_if_modified(|desk| {
            let news = desk.wanted.as_ref() != Some(&status);
            desk.wanted = Some(status);
            news
        });
    }

    /// The API shows this by now.
    pub(crate) fn seen(&self, pod: &SeenPod) {
        self.desk.send_if_modified(|desk| {
            let news = pod.version() > desk.version && pod.status != desk.told;
            if news {
                (desk.told, desk.version) = (pod.status.clone(), pod.version());
            }
            news
        });
    }

    /// Waits until the API has what is wanted.
    pub(crate) async fn settled(&self) {
        // The desk cannot be gone: we hold it.
        let _ = self.desk.subscribe().wait_for(|desk| desk.news().is_none()).await;
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(pods: Objects<SeenPod>, id: PodRef, desk: watch::Sender<Desk>) {
    let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MAX, Random::from_entropy());
    let mut changes = desk.subscribe();
    loop {
        let news = changes.wait_for(|desk| desk.news().is_some()).await;
        let Some(status) = news.ok().and_then(|desk| desk.news().cloned()) else { return };
        // The uid is a precondition: a later Pod of the name is left alone.
        let patch = json!({ "metadata": { "uid": id.uid }, "status": status });
        match pods.patch_status(&id.name, &patch).await {
            Ok(pod) => {
                backoff.reset();
                let version = pod.version();
                desk.send_modify(|desk| (desk.told, desk.version) = (status, version));
            }
            Err(error) if error.is_definite() => {
                if !(error.is_not_found() || error.is_conflict()) {
                    tracing::warn!(pod = %id, %error, "the API refused a status");
                }
                // The same again would be refused again.
                desk.send_modify(|desk| desk.told = status);
            }
            Err(error) => {
                tracing::debug!(pod = %id, %error, "could not tell a status, trying again");
                desk.send_modify(|desk| desk.told = Value::Null);
                tokio::time::sleep(backoff.step()).await;
            }
        }
    }
}

// === impl Desk ===

impl Desk {
    fn news(&self) -> Option<&Value> {
        self.wanted.as_ref().filter(|wanted| **wanted != self.told)
    }
}
