//! A picture of objects that follows the API and outlives its absence.
//!
//! One task lists, then watches from there. When the watch ends it resumes from
//! the last version seen; when that is compacted (410) it lists again, and the
//! picture changes in one step, never through an empty one. Readers share
//! immutable snapshots and are woken by each change. An object that cannot be
//! parsed is reported and left out.

use std::{collections::BTreeMap, marker::PhantomData, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, pin_mut};
use http::Request;
use kube::core::WatchEvent;
use rt::{backoff::Backoff, random::Random};
use serde_json::Value;
use tokio::{sync::watch, task::JoinHandle};

use crate::{Door, Entity, Error, Key, Objects, objects::encode};

/// The first retry must cost a failover nothing; the last must not hammer an
/// API that is down.
const RETRY_FIRST: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// The server ends a watch after this long, so that replicas that come back
/// get their share of watchers again.
const WATCH_SECONDS: u32 = 600;

/// What to watch. Selectors in Kubernetes' syntax, empty for everything.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    pub namespace: Option<String>,
    pub labels: String,
    pub fields: String,
}

/// The objects as of one moment.
#[derive(Debug)]
pub struct Snapshot<T> {
    pub objects: BTreeMap<Key, Arc<T>>,
    /// False until the first list has been read.
    pub synced: bool,
    /// Whether a watch is open; a picture that is not live may be old.
    pub live: bool,
}

/// Cheap to clone; each clone has its own mark of what it has seen. The task
/// ends with the last of them.
pub struct Cache<T> {
    snapshots: watch::Receiver<Arc<Snapshot<T>>>,
    _task: Arc<Task>,
}

struct Task(JoinHandle<()>);

struct Follower<T> {
    objects: Objects<T>,
    door: Door,
    query: String,
    sender: watch::Sender<Arc<Snapshot<T>>>,
    resource_version: String,
}

/// Why a watch ended.
enum Ended {
    /// Resume from the last version seen.
    Closed,
    /// The last version seen is too old.
    Gone,
}

/// What an event did to the objects.
#[derive(Debug, PartialEq, Eq)]
enum Applied {
    Changed,
    /// Only time has passed.
    Unchanged,
    /// History from here on is compacted.
    Gone,
}

// === impl Scope ===

impl Scope {
    #[must_use]
    pub fn everything() -> Scope {
        Scope::default()
    }

    #[must_use]
    pub fn namespace(namespace: &str) -> Scope {
        Scope { namespace: Some(namespace.into()), ..Scope::default() }
    }

    #[must_use]
    pub fn with_labels(self, labels: &str) -> Scope {
        Scope { labels: labels.into(), ..self }
    }

    #[must_use]
    pub fn with_fields(self, fields: &str) -> Scope {
        Scope { fields: fields.into(), ..self }
    }

    fn query(&self) -> String {
        [("labelSelector", &self.labels), ("fieldSelector", &self.fields)]
            .into_iter()
            .filter(|(_, selector)| !selector.is_empty())
            .map(|(name, selector)| format!("{name}={}", encode(selector)))
            .collect::<Vec<_>>()
            .join("&")
    }
}

// === impl Snapshot ===

impl<T> Default for Snapshot<T> {
    fn default() -> Snapshot<T> {
        Snapshot { objects: BTreeMap::new(), synced: false, live: false }
    }
}

impl<T> Snapshot<T> {
    /// A cluster-scoped object.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<T>> {
        self.objects.get(&Key::cluster(name))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<T>> {
        self.objects.values()
    }
}

// === impl Cache ===

impl<T> Clone for Cache<T> {
    fn clone(&self) -> Cache<T> {
        Cache { snapshots: self.snapshots.clone(), _task: self._task.clone() }
    }
}

impl<T: Entity> Cache<T> {
    pub(crate) fn start(door: Door, scope: Scope, _: PhantomData<T>) -> Cache<T> {
        let (sender, snapshots) = watch::channel(Arc::new(Snapshot::default()));
        let objects = Objects::new(door.clone(), scope.namespace.clone());
        let query = scope.query();
        let follower = Follower { objects, door, query, sender, resource_version: String::new() };
        let task = Task(rt::spawn(rt::TaskKind::Critical, "cache", follower.run()));
        Cache { snapshots, _task: Arc::new(task) }
    }

    /// The newest snapshot; does not count as seen by [`Cache::changed`].
    #[must_use]
    pub fn current(&self) -> Arc<Snapshot<T>> {
        self.snapshots.borrow().clone()
    }

    /// Waits for a snapshot newer than the last one this clone waited for.
    pub async fn changed(&mut self) -> Arc<Snapshot<T>> {
        self.snapshots.changed().await.expect("the task lives as long as any of its caches");
        self.snapshots.borrow_and_update().clone()
    }

    /// Waits until the first list has been read.
    pub async fn synced(&mut self) -> Arc<Snapshot<T>> {
        let synced = self.snapshots.wait_for(|snapshot| snapshot.synced).await;
        synced.expect("the task lives as long as any of its caches").clone()
    }
}

// === impl Task ===

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

// === impl Follower ===

impl<T: Entity> Follower<T> {
    async fn run(mut self) {
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MAX, Random::from_entropy());
        loop {
            match self.follow(&mut backoff).await {
                Ok(Ended::Closed) => {}
                Ok(Ended::Gone) => self.resource_version.clear(),
                Err(error) if error.is_gone() => self.resource_version.clear(),
                Err(error) => {
                    let path = self.objects.path();
                    tracing::debug!(path, error = %chain(&error), "watch failed, trying again");
                }
            }
            self.set_live(false);
            tokio::time::sleep(backoff.step()).await;
        }
    }

    async fn follow(&mut self, backoff: &mut Backoff) -> Result<Ended, Error> {
        if self.resource_version.is_empty() {
            let list = self.objects.list_raw(&self.query).await?;
            let objects = list.items.into_iter().filter_map(parse::<T>);
            let objects = objects.map(|object| (Key::of(&object), Arc::new(object))).collect();
            self.sender.send_replace(Arc::new(Snapshot { objects, synced: true, live: false }));
            self.resource_version = list.resource_version;
        }
        let events = self.door.client().raw().request_events::<Value>(self.watch_request()).await?;
        let events = StreamExt::map(events, |event| event.map_err(Error::from));
        pin_mut!(events);
        backoff.reset();
        self.set_live(true);

        while let Some(mut event) = events.next().await {
            let mut objects = self.sender.borrow().objects.clone();
            let mut changed = false;
            // What has arrived together is published together, and before an
            // end that came with it: we resume from behind it.
            let ended = loop {
                match event.and_then(|event| apply(&mut objects, &mut self.resource_version, event))
                {
                    Ok(Applied::Changed) => changed = true,
                    Ok(Applied::Unchanged) => {}
                    Ok(Applied::Gone) => break Some(Ok(Ended::Gone)),
                    Err(error) => break Some(Err(error)),
                }
                match events.next().now_or_never() {
                    Some(Some(next)) => event = next,
                    Some(None) => break Some(Ok(Ended::Closed)),
                    None => break None,
                }
            };
            // A bookmark alone wakes nobody.
            if changed {
                self.sender.send_replace(Arc::new(Snapshot { objects, synced: true, live: true }));
            }
            if let Some(ended) = ended {
                return ended;
            }
        }
        Ok(Ended::Closed)
    }

    fn set_live(&self, live: bool) {
        self.sender.send_if_modified(|snapshot| {
            let changes = snapshot.live != live;
            if changes {
                let (objects, synced) = (snapshot.objects.clone(), snapshot.synced);
                *snapshot = Arc::new(Snapshot { objects, synced, live });
            }
            changes
        });
    }

    fn watch_request(&self) -> Request<Vec<u8>> {
        let (path, version) = (self.objects.path(), &self.resource_version);
        let mut uri = format!(
            "{path}?watch=1&allowWatchBookmarks=true&timeoutSeconds={WATCH_SECONDS}&resourceVersion={version}"
        );
        if !self.query.is_empty() {
            uri = format!("{uri}&{}", self.query);
        }
        Request::get(uri).body(Vec::new()).expect("paths are encoded, versions are tokens")
    }
}

fn apply<T: Entity>(
    objects: &mut BTreeMap<Key, Arc<T>>,
    resource_version: &mut String,
    event: WatchEvent<Value>,
) -> Result<Applied, Error> {
    match event {
        WatchEvent::Added(raw) | WatchEvent::Modified(raw) => {
            let key = seen(resource_version, &raw);
            match parse::<T>(raw) {
                Some(object) => objects.insert(key, Arc::new(object)),
                None => objects.remove(&key),
            };
            Ok(Applied::Changed)
        }
        WatchEvent::Deleted(raw) => {
            objects.remove(&seen(resource_version, &raw));
            Ok(Applied::Changed)
        }
        WatchEvent::Bookmark(bookmark) => {
            *resource_version = bookmark.metadata.resource_version;
            Ok(Applied::Unchanged)
        }
        WatchEvent::Error(status) if status.code == 410 => Ok(Applied::Gone),
        WatchEvent::Error(status) => Err(Error::from(*status)),
    }
}

/// Notes the version of an event's object and gives its key.
fn seen(resource_version: &mut String, raw: &Value) -> Key {
    let text = |field| raw["metadata"][field].as_str().unwrap_or_default();
    resource_version.clear();
    resource_version.push_str(text("resourceVersion"));
    Key::new(text("namespace"), text("name"))
}

/// An object that we cannot read (a newer release wrote it, or a hand) is left
/// out; the others must not vanish with it.
fn parse<T: Entity>(raw: Value) -> Option<T> {
    let key = format!("{}/{}", raw["metadata"]["namespace"], raw["metadata"]["name"]);
    match serde_json::from_value(raw) {
        Ok(object) => Some(object),
        Err(error) => {
            tracing::warn!(plural = T::PLURAL, key, %error, "object cannot be read, left out");
            None
        }
    }
}

fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::json;

    #[test]
    fn a_bookmark_moves_the_version_and_changes_no_object() {
        let (mut objects, mut version) = (BTreeMap::<Key, Arc<ConfigMap>>::new(), String::new());
        let mut check = |kind: &str, object: Value, expected: Applied, at: &str| {
            let event = json!({ "type": kind, "object": object });
            let event = serde_json::from_value(event).expect("an event");
            let applied = apply(&mut objects, &mut version, event).expect("no error");
            assert_eq!((applied, version.as_str()), (expected, at), "{kind}");
            objects.len()
        };
        let object = |version: &str| {
            json!({
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": { "name": "one", "namespace": "payments", "resourceVersion": version },
            })
        };
        let status = json!({ "status": "Failure", "code": 410, "reason": "Expired" });
        assert_eq!(check("ADDED", object("5"), Applied::Changed, "5"), 1);
        assert_eq!(check("BOOKMARK", object("7"), Applied::Unchanged, "7"), 1);
        assert_eq!(check("DELETED", object("8"), Applied::Changed, "8"), 0);
        assert_eq!(check("ERROR", status, Applied::Gone, "8"), 0);
    }
}
