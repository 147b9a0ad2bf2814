//! What happened, for `kubectl get events`: Events in the federation's
//! namespace `default`.
//!
//! Best effort and bounded: a queue that drops, and a ring of names per center,
//! so that a flapping estate cannot fill the store.

use std::time::Duration;

use client::{
    Door, Objects,
    k8s_openapi::{
        api::core::v1::{Event, EventSource, ObjectReference},
        apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
        jiff::Timestamp,
    },
};
use tokio::sync::mpsc;
use topology::CenterName;

const NAMESPACE: &str = "default";
const COMPONENT: &str = "polis-controllers";

/// A failover of a city makes a handful.
const QUEUE_MAX: usize = 64;

/// Events kept per center; older ones are written over.
const EVENTS_KEPT: u64 = 100;

/// The store may be what is wrong; then we do not wait for it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug)]
pub enum Reason {
    CenterLost,
    CenterReady,
    Failover,
    ShardsReturned,
    PortsUsedUp,
}

#[derive(Clone)]
pub struct Recorder(mpsc::Sender<Note>);

pub struct Writer {
    notes: mpsc::Receiver<Note>,
    events: Objects<Event>,
    center: CenterName,
    next: u64,
}

struct Note {
    reason: Reason,
    warning: bool,
    kind: &'static str,
    name: String,
    message: String,
    at: Timestamp,
}

/// A recorder and the task that writes for it.
pub fn recorder(federation: &Door, center: &CenterName) -> (Recorder, Writer) {
    let (sender, notes) = mpsc::channel(QUEUE_MAX);
    let events = federation.namespaced(NAMESPACE);
    (Recorder(sender), Writer { notes, events, center: center.clone(), next: 0 })
}

// === impl Recorder ===

impl Recorder {
    pub fn warn(&self, reason: Reason, kind: &'static str, name: &str, message: String) {
        self.note(reason, true, kind, name, message);
    }

    pub fn inform(&self, reason: Reason, kind: &'static str, name: &str, message: String) {
        self.note(reason, false, kind, name, message);
    }

    fn note(&self, reason: Reason, warning: bool, kind: &'static str, name: &str, message: String) {
        let (name, at) = (name.to_owned(), Timestamp::now());
        let note = Note { reason, warning, kind, name, message, at };
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
        match self.events.create(&event).await {
            Err(error) if error.is_already_exists() => {
                let name = event.metadata.name.as_deref().unwrap_or_default();
                self.events.delete(name, &client::DeleteOptions::default()).await?;
                self.events.create(&event).await.map(drop)
            }
            other => other.map(drop),
        }
    }
}

fn event(name: String, note: Note) -> Event {
    let Note { reason, warning, kind, name: object, message, at } = note;
    let involved_object = ObjectReference {
        api_version: Some("polis.dev/v1alpha1".into()),
        kind: Some(kind.into()),
        name: Some(object),
        ..ObjectReference::default()
    };
    Event {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: Some(NAMESPACE.into()),
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
