//! Watches: changes of a collection.
//!
//! A [`Change`] is what happened to one object; [`crate::watch`] decides what
//! of it a client is shown. Changes come from the mirror, which follows the
//! store once for all watches; a watch from before what the mirror remembers
//! reads the store's own history.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures::{Stream, StreamExt, stream};
use kv::{EventKind, KeyRange, Revision, WatchBatch, WatchItem, WatchRequest, WatchStream};

use super::{Item, Page, Registry};
use crate::{
    cluster::Cluster,
    failure::Failure,
    mirror,
    request::options::{ListOptions, WatchOptions},
};

/// Changes taken from the mirror in one step.
const CHANGES_MAX: usize = 64;

/// How often an idle watch looks how far the mirror has come, so that its
/// bookmarks do not fall behind what the store remembers.
const IDLE: Duration = Duration::from_secs(5);

/// One object's change.
#[derive(Clone, Debug)]
pub struct Change {
    /// None when it was deleted.
    pub now: Option<Item>,
    pub before: Before,
    pub version: u64,
}

#[derive(Clone, Debug)]
pub enum Before {
    /// It was created.
    Absent,
    /// It was there, and nobody asks how it looked.
    Unread,
    Object(Item),
}

#[derive(Debug)]
pub enum Moment {
    Change(Box<Change>),
    /// Everything up to this version has been told.
    Reached(u64),
}

/// Ends after its first error, and when the store's watch ends: the client
/// then watches again from the last version it saw.
pub type Moments = Pin<Box<dyn Stream<Item = Result<Moment, Failure>> + Send>>;

/// What a watch starts with.
pub struct Opening {
    /// Objects to be told as added first.
    pub initial: Vec<Item>,
    pub version: u64,
    pub moments: Moments,
}

// === impl Registry ===

impl Registry {
    pub async fn watch(&self, options: &WatchOptions) -> Result<Opening, Failure> {
        let replay = match options.initial_events {
            Some(initial) => initial,
            None => matches!(options.version, None | Some(0)),
        };
        let from_now =
            options.initial_events == Some(false) && matches!(options.version, None | Some(0));
        let (initial, version) = match (replay, options.version) {
            (true, version) => {
                let page = self.snapshot(options, version).await?;
                (page.items, page.revision)
            }
            (false, Some(version)) if !from_now => (Vec::new(), version),
            (false, _) => (Vec::new(), self.current_version().await?),
        };
        let moments = match self.mirrored(options, version) {
            Some(moments) => moments,
            None => self.stored(options, version).await?,
        };
        let selective = !options.labels.is_empty() || !options.fields.is_empty();
        Ok(Opening { initial, version, moments: self.show_moments(moments, selective) })
    }

    /// From the mirror, when it remembers everything after `version`.
    fn mirrored(&self, options: &WatchOptions, version: u64) -> Option<Moments> {
        let mirror = self.cluster.mirror();
        // A version that lies ahead is the store's to judge.
        let prefix = self.resource().prefix();
        let known = mirror.look(&prefix, |collection| {
            version <= mirror.reached().max(collection.last())
                && collection.since(version, 0).is_ok()
        });
        let source = Source {
            changes: mirror.changes(&prefix),
            cluster: self.cluster.clone(),
            prefix,
            range: self.watched(options),
            version,
        };
        known.then(|| source.moments())
    }

    async fn stored(&self, options: &WatchOptions, version: u64) -> Result<Moments, Failure> {
        let mut request = WatchRequest::new(self.watched(options)).from(Revision(version).next());
        request.prev_kv = true;
        request.progress_notify = options.bookmarks;
        Ok(moments(self.kv().watch(request).await?))
    }

    async fn snapshot(
        &self,
        options: &WatchOptions,
        version: Option<u64>,
    ) -> Result<Page, Failure> {
        let list = ListOptions {
            labels: options.labels.clone(),
            fields: options.fields.clone(),
            version,
            version_match: None,
            limit: 0,
            token: None,
        };
        self.list(&list).await
    }

    async fn current_version(&self) -> Result<u64, Failure> {
        let mut request = kv::RangeRequest::new(KeyRange::prefix(self.place.prefix()));
        request.count_only = true;
        Ok(self.kv().range(request).await?.revision.0)
    }

    /// One key, when only one name can match.
    fn watched(&self, options: &WatchOptions) -> KeyRange {
        let located = self.place.namespace.is_some() || !self.resource().is_namespaced();
        match options.fields.name() {
            Some(name) if located && !name.is_empty() => KeyRange::key(self.place.key(name)),
            _ => KeyRange::prefix(self.place.prefix()),
        }
    }
}

/// The mirror's changes of one collection.
struct Source {
    cluster: Arc<Cluster>,
    prefix: String,
    range: KeyRange,
    changes: tokio::sync::watch::Receiver<u64>,
    /// Everything up to this was told.
    version: u64,
}

// === impl Source ===

impl Source {
    fn moments(self) -> Moments {
        let batches = stream::unfold(Some(self), |source| async move {
            let mut source = source?;
            match source.next().await {
                Ok(moments) => Some((stream::iter(moments), Some(source))),
                // The client watches again, and is told then what it missed or
                // that it cannot be.
                Err(mirror::Gone) => None,
            }
        });
        Box::pin(batches.flatten())
    }

    /// The next changes, once there are some.
    async fn next(&mut self) -> Result<Vec<Result<Moment, Failure>>, mirror::Gone> {
        loop {
            self.changes.borrow_and_update();
            let mirror = self.cluster.mirror();
            let (found, complete) = mirror.look(&self.prefix, |collection| {
                let found = collection.since(self.version, CHANGES_MAX);
                (found, mirror.reached().max(collection.last()))
            });
            let found = found?;
            match found.last() {
                Some(last) => {
                    self.version = last.revision;
                    let told = found.into_iter().filter(|change| self.range.contains(change.key()));
                    let mut moments: Vec<_> = told.map(|change| Ok(tell(change))).collect();
                    moments.push(Ok(Moment::Reached(self.version)));
                    return Ok(moments);
                }
                None if complete > self.version => {
                    self.version = complete;
                    return Ok(vec![Ok(Moment::Reached(complete))]);
                }
                None => {}
            }
            // The mirror lives as long as its cluster.
            let idle = tokio::time::timeout(IDLE, self.changes.changed()).await;
            if matches!(idle, Ok(Err(_))) {
                return Err(mirror::Gone);
            }
        }
    }
}

fn tell(change: mirror::Change) -> Moment {
    let mirror::Change { revision, now, before } = change;
    let before = before.map_or(Before::Absent, |kv| Before::Object(Item::Kept(kv)));
    Moment::Change(Box::new(Change { now: now.map(Item::Kept), before, version: revision }))
}

/// The store's watch in the API's words.
pub fn moments(watch: WatchStream) -> Moments {
    let items = watch.flat_map(move |item| {
        let moments = match item {
            Ok(WatchItem::Created { .. }) => Vec::new(),
            Ok(WatchItem::Progress { revision }) => vec![Ok(Moment::Reached(revision.0))],
            Ok(WatchItem::Events(batch)) => translate(batch),
            Err(kv::Error::Compacted { .. }) => {
                vec![Err(Failure::expired("too old resource version"))]
            }
            Err(error) => vec![Err(error.into())],
        };
        stream::iter(moments)
    });
    Box::pin(items)
}

fn translate(batch: WatchBatch) -> Vec<Result<Moment, Failure>> {
    let change = |event: kv::Event| {
        let version = event.kv.mod_revision.0;
        let deleted = event.kind == EventKind::Delete;
        let before = match event.prev_kv {
            Some(before) => Before::Object(Item::Kept(before)),
            None if !deleted && event.kv.create_revision == event.kv.mod_revision => Before::Absent,
            None => Before::Unread,
        };
        let now = (!deleted).then_some(Item::Kept(event.kv));
        Ok(Moment::Change(Box::new(Change { now, before, version })))
    };
    let mut moments: Vec<Result<Moment, Failure>> = batch.events.into_iter().map(change).collect();
    moments.push(Ok(Moment::Reached(batch.revision.0)));
    moments
}
