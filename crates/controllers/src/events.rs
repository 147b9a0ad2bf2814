//! What happened, for `kubectl get events`: Events in the namespace of what
//! they are about, or `default`.
//!
//! Best effort and bounded: a queue that drops, and a ring of names per center,
//! so that a flapping estate cannot fill the store.

use std::time::Duration;

use client::{
    Door, Entity, Key,
    k8s_openapi::{
        api::core::v1::{Event, EventSource, ObjectReference},
        apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
        jiff::Timestamp,
    },
};
use resources::CafeDeployment;
use tokio::sync::mpsc;
use topology::CenterName;

const NAMESPACE: &str = "default";
const COMPONENT: &str = "polis-controllers";

/// A failover of a city makes a handful.
const QUEUE_MAX: usize = 64;

/// Events kept per center and namespace; older ones are written over.
const EVENTS_KEPT: u64 = 100;

/// The store may be what is wrong; then we do not wait for it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug)]
pub enum Reason {
    CenterLost,
    CenterReady,
    Failover,
    FailoverWaits,
    ShardsReturned,
    ReturnGivenUp,
    ShardsRetargeted,
    ShardSplit,
    ShardsMoved,
    ShardsReverted,
    PortsUsedUp,
    DeploymentFailed,
    UnitRented,
    UnitReturned,
    PlaceLost,
}

#[derive(Clone)]
pub struct Recorder(mpsc::Sender<Note>);

pub struct Writer {
    notes: mpsc::Receiver<Note>,
    federation: Door,
    center: CenterName,
    next: u64,
}

struct Note {
    reason: Reason,
    warning: bool,
    object: ObjectReference,
    message: String,
    at: Timestamp,
}

/// A recorder and the task that writes for it.
pub fn recorder(federation: &Door, center: &CenterName) -> (Recorder, Writer) {
    let (sender, notes) = mpsc::channel(QUEUE_MAX);
    let (federation, center) = (federation.clone(), center.clone());
    (Recorder(sender), Writer { notes, federation, center, next: 0 })
}

// === impl Recorder ===

impl Recorder {
    pub fn warn(&self, reason: Reason, kind: &'static str, name: &str, message: String) {
        self.note(reason, true, reference(kind, name), message);
    }

    /// A warning about a CafeDeployment, beside it.
    pub fn warn_author(&self, reason: Reason, key: &Key, message: String) {
        let object = ObjectReference {
            api_version: Some(format!("{}/{}", CafeDeployment::GROUP, CafeDeployment::VERSION)),
            namespace: Some(key.namespace.to_string()),
            ..reference("CafeDeployment", &key.name)
        };
        self.note(reason, true, object, message);
    }

    pub fn inform(&self, reason: Reason, kind: &'static str, name: &str, message: String) {
        self.note(reason, false, reference(kind, name), message);
    }

    fn note(&self, reason: Reason, warning: bool, object: ObjectReference, message: String) {
        let note = Note { reason, warning, object, message, at: Timestamp::now() };
        if self.0.try_send(note).is_err() {
            tracing::debug!(?reason, "event dropped, too many wait");
        }
    }
}

// === impl Writer ===

impl Writer {
    pub async fn run(mut self) {
        while let Some(note) = self.notes.recv().await {
            let name = format!("controllers.{}.{}", self.center, self.next % EVENTS_KEPT);
            self.next += 1;
            let written = tokio::time::timeout(WRITE_TIMEOUT, self.write(event(name, note)));
            match written.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "write event"),
                Err(_) => tracing::debug!("write event: no answer in time"),
            }
        }
    }

    async fn write(&self, event: Event) -> Result<(), client::Error> {
        let namespace = event.metadata.namespace.as_deref().unwrap_or(NAMESPACE);
        let events = self.federation.namespaced::<Event>(namespace);
        match events.create(&event).await {
            Err(error) if error.is_already_exists() => {
                let name = event.metadata.name.as_deref().unwrap_or_default();
                events.delete(name, &client::DeleteOptions::default()).await?;
                events.create(&event).await.map(drop)
            }
            other => other.map(drop),
        }
    }
}

/// A cluster-scoped object of ours.
fn reference(kind: &str, name: &str) -> ObjectReference {
    ObjectReference {
        api_version: Some("polis.dev/v1alpha1".into()),
        kind: Some(kind.into()),
        name: Some(name.into()),
        ..ObjectReference::default()
    }
}

fn event(name: String, note: Note) -> Event {
    let Note { reason, warning, object: involved_object, message, at } = note;
    let namespace = involved_object.namespace.clone().unwrap_or_else(|| NAMESPACE.into());
    Event {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: Some(namespace),
            ..ObjectMeta::default()
        },
        involved_object,
        reason: Some(format!("{reason:?}")),
        message: Some(message),
        type_: Some(if warning { "Warning" } else { "Normal" }.into()),
        source: Some(EventSource { component: Some(COMPONENT.into()), host: None }),
        first_timestamp: Some(Time(at)),
        last_timestamp: Some(Time(at)),
        count: Some(1),
        reporting_component: Some(COMPONENT.into()),
        ..Event::default()
    }
}
