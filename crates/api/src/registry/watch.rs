//! Watches: changes of a collection, straight from the store's watch.
//!
//! A [`Change`] is what happened to one object; [`crate::watch`] decides what
//! of it a client is shown. There is no cache in between: one watch of the
//! store per client, so memory stays with those who watch.

use std::pin::Pin;

use futures::{Stream, StreamExt, stream};
use kv::{EventKind, KeyRange, Revision, WatchBatch, WatchItem, WatchRequest, WatchStream};
use serde_json::Value;

use super::{Page, Registry, decode};
use crate::{
    failure::Failure,
    object,
    request::options::{ListOptions, WatchOptions},
    resource::Resource,
};

/// One object's change.
#[derive(Clone, Debug)]
pub struct Change {
    /// None when it was deleted.
    pub now: Option<Value>,
    pub before: Before,
    pub version: u64,
}

#[derive(Clone, Debug)]
pub enum Before {
    /// It was created.
    Absent,
    /// It was there, and nobody asks how it looked.
    Unread,
    Object(Value),
}

#[derive(Debug)]
pub enum Moment {
    Change(Change),
    /// Everything up to this version has been told.
    Reached(u64),
}

/// Ends after its first error, and when the store's watch ends: the client
/// then watches again from the last version it saw.
pub type Moments = Pin<Box<dyn Stream<Item = Result<Moment, Failure>> + Send>>;

/// What a watch starts with.
pub struct Opening {
    /// Objects to be told as added first.
    pub initial: Vec<Value>,
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
        let mut request = WatchRequest::new(self.watched(options)).from(Revision(version).next());
        request.prev_kv = true;
        request.progress_notify = options.bookmarks;
        let stream = self.kv().watch(request).await?;
        let selects = !options.labels.is_empty() || !options.fields.is_empty();
        Ok(Opening { initial, version, moments: moments(self.resource(), stream, selects) })
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

/// The store's watch in the API's words. `selects` says that how objects
/// looked before matters.
pub fn moments(resource: &'static Resource, watch: WatchStream, selects: bool) -> Moments {
    let items = watch.flat_map(move |item| {
        let moments = match item {
            Ok(WatchItem::Created { .. }) => Vec::new(),
            Ok(WatchItem::Progress { revision }) => vec![Ok(Moment::Reached(revision.0))],
            Ok(WatchItem::Events(batch)) => translate(resource, &batch, selects),
            Err(kv::Error::Compacted { .. }) => {
                vec![Err(Failure::expired("too old resource version"))]
            }
            Err(error) => vec![Err(error.into())],
        };
        stream::iter(moments)
    });
    Box::pin(items)
}

fn translate(
    resource: &'static Resource,
    batch: &WatchBatch,
    selects: bool,
) -> Vec<Result<Moment, Failure>> {
    let change = |event: &kv::Event| {
        let version = event.kv.mod_revision.0;
        let deleted = event.kind == EventKind::Delete;
        let before = match &event.prev_kv {
            Some(before) if deleted || selects => {
                let mut before = decode(resource, before)?;
                object::set_version(&mut before, version);
                Before::Object(before)
            }
            _ if !deleted && event.kv.create_revision == event.kv.mod_revision => Before::Absent,
            _ => Before::Unread,
        };
        let now = match deleted {
            true => None,
            false => Some(decode(resource, &event.kv)?),
        };
        Ok(Moment::Change(Change { now, before, version }))
    };
    let mut moments: Vec<Result<Moment, Failure>> = batch.events.iter().map(change).collect();
    moments.push(Ok(Moment::Reached(batch.revision.0)));
    moments
}
