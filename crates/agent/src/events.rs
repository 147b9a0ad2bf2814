//! Events: what happened to a Pod, for `kubectl describe`.
//!
//! Told without waiting, bounded, and counted together when they repeat. They
//! are news, not state: what cannot be delivered is dropped.

use std::{collections::HashMap, sync::Arc, time::Duration};

use client::Door;
use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
    jiff::Timestamp,
};
use serde_json::json;
use tokio::{sync::mpsc, time::Instant};

use crate::{metrics::Metrics, pod::PodRef};

/// Events that wait for the API; more are dropped and counted.
const QUEUE: usize = 128;
/// Events remembered for counting repeats.
const REMEMBERED: usize = 256;
/// A repeat is written once in this time.
const REPEAT_PERIOD: Duration = Duration::from_secs(30);

const MESSAGE_MAX: usize = 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Normal,
    Warning,
}

#[derive(Clone)]
pub(crate) struct Events {
    queue: mpsc::Sender<News>,
    metrics: Arc<Metrics>,
}

struct News {
    pod: PodRef,
    key: Key,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    uid: String,
    container: Option<String>,
    kind: Kind,
    reason: &'static str,
    message: String,
}

struct Known {
    name: String,
    count: i32,
    written: Instant,
}

/// Delivers; runs until every `Events` is gone.
pub(crate) struct Postman {
    news: mpsc::Receiver<News>,
    door: Door,
    node: String,
    known: HashMap<Key, Known>,
}

pub(crate) fn channel(door: Door, node: String, metrics: Arc<Metrics>) -> (Events, Postman) {
    let (queue, news) = mpsc::channel(QUEUE);
    (Events { queue, metrics }, Postman { news, door, node, known: HashMap::new() })
}

// === impl Events ===

impl Events {
    pub(crate) fn tell(
        &self,
        pod: &PodRef,
        container: Option<&str>,
        kind: Kind,
        reason: &'static str,
        message: &str,
    ) {
        let message = message.chars().take(MESSAGE_MAX).collect();
        let container = container.map(str::to_owned);
        let key = Key { uid: pod.uid.clone(), container, kind, reason, message };
        if self.queue.try_send(News { pod: pod.clone(), key }).is_err() {
            self.metrics.events_dropped.add(1);
        }
    }
}

// === impl Postman ===

impl Postman {
    pub(crate) async fn run(mut self) {
        while let Some(News { pod, key }) = self.news.recv().await {
            let delivered = match self.known.get_mut(&key) {
                Some(known) => {
                    known.count = known.count.saturating_add(1);
                    if known.written.elapsed() < REPEAT_PERIOD {
                        continue;
                    }
                    known.written = Instant::now();
                    let again = json!({ "count": known.count, "lastTimestamp": Timestamp::now() });
                    let events = self.door.namespaced::<Event>(&pod.namespace);
                    events.patch(&known.name, &again).await.map(drop)
                }
                None => self.create(pod, key).await,
            };
            if let Err(error) = delivered {
                tracing::debug!(%error, "could not deliver an event");
            }
        }
    }

    async fn create(&mut self, pod: PodRef, key: Key) -> Result<(), client::Error> {
        let now = Timestamp::now();
        let name = format!("{}.{:x}", pod.name, now.as_nanosecond());
        let field = key.container.as_ref().map(|name| format!("spec.containers{{{name}}}"));
        let event = Event {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                namespace: Some(pod.namespace.clone()),
                ..ObjectMeta::default()
            },
            involved_object: ObjectReference {
                api_version: Some("v1".into()),
                kind: Some("Pod".into()),
                namespace: Some(pod.namespace.clone()),
                name: Some(pod.name),
                uid: Some(pod.uid),
                field_path: field,
                ..ObjectReference::default()
            },
            type_: Some(format!("{:?}", key.kind)),
            reason: Some(key.reason.into()),
            message: Some(key.message.clone()),
            count: Some(1),
            first_timestamp: Some(Time(now)),
            last_timestamp: Some(Time(now)),
            source: Some(EventSource {
                component: Some("polis-agent".into()),
                host: Some(self.node.clone()),
            }),
            reporting_component: Some("polis-agent".into()),
            reporting_instance: Some(self.node.clone()),
            ..Event::default()
        };
        self.door.namespaced::<Event>(&pod.namespace).create(&event).await?;
        if self.known.len() >= REMEMBERED {
            self.known.clear();
        }
        self.known.insert(key, Known { name, count: 1, written: Instant::now() });
        Ok(())
    }
}
