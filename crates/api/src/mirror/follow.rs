//! Follows the store: reads everything once, then every change.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures::StreamExt;
use kv::{
    EventKind, KeyRange, KeyValue, Kv, RangeRequest, Revision, WatchBatch, WatchItem, WatchRequest,
};
use rt::{backoff::Backoff, random::Random};

use super::{Collection, Held, ROOT, Shared, prefix_of};

/// Keys fetched at a time.
const CHUNK: usize = 500;

const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// Runs until the mirror is gone.
pub(super) async fn follow(kv: Arc<dyn Kv>, held: Held) {
    let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MAX, Random::from_entropy());
    let mut reached: Option<Revision> = None;
    loop {
        let result = match reached {
            None => load(&*kv, &held).await.map(|revision| reached = Some(revision)),
            Some(from) => {
                let (last, result) = watch(&*kv, &held, from, &mut backoff).await;
                reached = Some(last);
                result
            }
        };
        if held.strong_count() == 0 {
            return;
        }
        match result {
            Ok(()) => continue,
            // What happened meanwhile cannot be told any more.
            Err(kv::Error::Compacted { .. } | kv::Error::FutureRevision) => reached = None,
            Err(error) => tracing::debug!(%error, "the mirror's watch of the store"),
        }
        tokio::time::sleep(backoff.step()).await;
    }
}

async fn load(kv: &dyn Kv, held: &Held) -> Result<Revision, kv::Error> {
    let mut loaded: HashMap<String, BTreeMap<Bytes, KeyValue>> = HashMap::new();
    let all = KeyRange::prefix(ROOT);
    let mut range = all.clone();
    let mut at = None;
    loop {
        let mut request = RangeRequest::new(range).limit(CHUNK);
        request.revision = at;
        let response = kv.range(request).await?;
        let revision = *at.get_or_insert(response.revision);
        let last = response.kvs.last().map(|kv| kv.key.clone());
        for kv in response.kvs {
            let Some(prefix) = prefix_of(&kv.key) else { continue };
            match loaded.get_mut(prefix) {
                Some(entries) => entries.insert(kv.key.clone(), kv),
                None => loaded.entry(prefix.to_owned()).or_default().insert(kv.key.clone(), kv),
            };
        }
        match last {
            Some(last) if response.more => range = crate::registry::after(&last, &all),
            _ => {
                if let Some(shared) = held.upgrade() {
                    replace(&shared, loaded, revision);
                }
                return Ok(revision);
            }
        }
    }
}

fn replace(
    shared: &Shared,
    mut loaded: HashMap<String, BTreeMap<Bytes, KeyValue>>,
    revision: Revision,
) {
    // Nobody opens a collection meanwhile: it would seem complete from before.
    let mut known = shared.collections.write().unwrap_or_else(PoisonError::into_inner);
    for prefix in loaded.keys() {
        known.entry(prefix.clone()).or_insert_with(|| Arc::new(Mutex::new(Collection::new(0))));
    }
    for (prefix, collection) in known.iter() {
        let entries = loaded.remove(prefix).unwrap_or_default();
        collection.lock().unwrap_or_else(PoisonError::into_inner).reset(entries, revision.0);
    }
    shared.set_reached(revision.0);
}

/// Follows changes after `from`; says how far it came.
async fn watch(
    kv: &dyn Kv,
    held: &Held,
    from: Revision,
    backoff: &mut Backoff,
) -> (Revision, Result<(), kv::Error>) {
    let mut request = WatchRequest::new(KeyRange::prefix(ROOT)).from(from.next());
    request.progress_notify = true;
    let mut reached = from;
    let mut items = match kv.watch(request).await {
        Ok(items) => items,
        Err(error) => return (reached, Err(error)),
    };
    while let Some(item) = items.next().await {
        let Some(shared) = held.upgrade() else { return (reached, Ok(())) };
        match item {
            Ok(WatchItem::Created { .. }) => backoff.reset(),
            Ok(WatchItem::Progress { revision }) => {
                reached = reached.max(revision);
                shared.set_reached(reached.0);
            }
            Ok(WatchItem::Events(batch)) => {
                reached = batch.revision;
                apply(&shared, batch);
                shared.set_reached(reached.0);
            }
            Err(error) => return (reached, Err(error)),
        }
    }
    (reached, Ok(()))
}

/// A collection gets all of a batch at once, so that whoever looks at it sees
/// whole revisions.
fn apply(shared: &Shared, batch: WatchBatch) {
    let mut parts: Vec<(String, Vec<kv::Event>)> = Vec::new();
    for event in batch.events {
        let Some(prefix) = prefix_of(&event.kv.key) else { continue };
        match parts.iter_mut().find(|(known, _)| known == prefix) {
            Some((_, events)) => events.push(event),
            None => parts.push((prefix.to_owned(), vec![event])),
        }
    }
    for (prefix, events) in parts {
        let collection = shared.collection(&prefix);
        let mut collection = collection.lock().unwrap_or_else(PoisonError::into_inner);
        for event in events {
            let (key, revision) = (event.kv.key.clone(), event.kv.mod_revision.0);
            let now = (event.kind == EventKind::Put).then_some(event.kv);
            collection.apply(key, now, revision);
        }
    }
}
