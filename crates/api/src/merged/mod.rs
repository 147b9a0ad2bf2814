//! The federation's view over all units: pods and nodes of everywhere,
//! read-only, with one resourceVersion that clients can list and watch by.
//!
//! Get, list and watch are answered from a [`merger::Merger`] that follows all
//! units, so what a watch tells continues exactly what a list showed. The view
//! trails a unit's own door by the time of one watch event. Two units may hold
//! objects of one name: both are listed, and a get says where they are.

mod merger;
mod view;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::stream;
use http::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;
use topology::UnitName;

use self::{
    merger::Merger,
    view::{Gone, Item, LogEntry, Version, View},
};
use crate::{
    cluster::Clusters,
    failure::Failure,
    handler::{Ask, Handler},
    limits::Ticket,
    object,
    registry::{
        self, Page,
        watch::{Before, Change, Moment, Moments, Opening},
    },
    request::{
        options::{ListOptions, WatchOptions},
        path::Place,
    },
    resource::{Resource, Text},
    response::{self, Body},
    table::UNIT_ANNOTATION,
    verbs::{Showing, Verb, start_watch},
    watch,
};

/// Where an object of the view keeps its unit's own resourceVersion.
const VERSION_ANNOTATION: &str = "polis.dev/resource-version";

/// A merger that nobody looked at for this long is stopped.
const IDLE: Duration = Duration::from_secs(300);

/// How often that is looked at, while there is a merger.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// A part of the view that is older than this is said to be.
const STALE: Duration = Duration::from_secs(5);

/// Changes handed to a watcher in one step.
const CHANGES_MAX: usize = 64;

type Running = HashMap<Text, (Arc<Merger>, Instant)>;

/// The mergers that run in this replica.
pub struct Mergers {
    clusters: Arc<Clusters>,
    running: Arc<Mutex<Running>>,
    /// One start at a time, so that a burst of first lists takes one epoch.
    starting: tokio::sync::Mutex<()>,
}

// === impl Mergers ===

impl Mergers {
    pub fn new(clusters: Arc<Clusters>) -> Mergers {
        Mergers { clusters, running: Arc::default(), starting: tokio::sync::Mutex::default() }
    }

    /// The merger of `resource`, with a picture of every unit.
    async fn get(&self, resource: &Arc<Resource>) -> Result<Arc<Merger>, Failure> {
        let merger = match self.used(resource) {
            Some(merger) => merger,
            None => {
                let _one = self.starting.lock().await;
                match self.used(resource) {
                    Some(merger) => merger,
                    None => self.start(resource).await?,
                }
            }
        };
        merger.shared.complete().await?;
        Ok(merger)
    }

    fn used(&self, resource: &Resource) -> Option<Arc<Merger>> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let (merger, used) = running.get_mut(&resource.plural)?;
        *used = Instant::now();
        Some(merger.clone())
    }

    async fn start(&self, resource: &Arc<Resource>) -> Result<Arc<Merger>, Failure> {
        let merger = Arc::new(Merger::start(self.clusters.clone(), resource.clone()).await?);
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.is_empty() {
            tokio::spawn(sweep(Arc::downgrade(&self.running)));
        }
        running.insert(resource.plural.clone(), (merger.clone(), Instant::now()));
        Ok(merger)
    }
}

/// Stops mergers that nobody uses; ends with the last one.
async fn sweep(running: std::sync::Weak<Mutex<Running>>) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        let Some(running) = running.upgrade() else { return };
        let mut running = running.lock().unwrap_or_else(PoisonError::into_inner);
        // Watchers hold their merger.
        running.retain(|_, (merger, used)| Arc::strong_count(merger) > 1 || used.elapsed() < IDLE);
        if running.is_empty() {
            return;
        }
    }
}

// === impl Handler ===

impl Handler {
    pub(crate) async fn serve_merged(
        &self,
        verb: Verb,
        ask: &Ask<'_>,
        place: &Place,
        showing: &Showing,
    ) -> Result<Response<Body>, Failure> {
        let merger = self.shared.mergers.get(&place.resource).await?;
        let table = showing.table(place);
        match (verb, place.name.as_deref()) {
            (Verb::Watch, _) => {
                let options = WatchOptions::parse(&ask.query, place)?;
                let ticket =
                    Ticket::long_running(&self.shared.metrics, &self.shared.callers, ask.caller)?;
                let opening = open(&merger, place, &options)?;
                let view = watch::View::new(place.resource.clone(), showing.shape, table);
                start_watch(ask, options, view, opening, ticket)
            }
            (_, Some(name)) => {
                let (_, object) = only_one(&merger, place, name)?;
                response::object(
                    StatusCode::OK,
                    showing.shape,
                    &table,
                    registry::Item::Made(object),
                )
            }
            (_, None) => {
                let options = ListOptions::parse(&ask.query, place)?;
                let page = list(&merger.shared.view(), place, &options)?;
                let mut answer = response::list(showing.shape, &table, page)?;
                let stale = merger.shared.stale(STALE);
                let warnings = stale.iter().map(|(unit, age)| {
                    let age = age.as_secs();
                    format!("unit {unit} could not be read for {age} s: its part may be old")
                });
                response::warn(&mut answer, &warnings.collect::<Vec<_>>());
                Ok(answer)
            }
        }
    }

    pub(crate) async fn unit_of(&self, place: &Place, name: &str) -> Result<UnitName, Failure> {
        let merger = self.shared.mergers.get(&place.resource).await?;
        Ok(only_one(&merger, place, name)?.0)
    }
}

/// The one object of this name, in whichever unit.
fn only_one(merger: &Merger, place: &Place, name: &str) -> Result<(UnitName, Value), Failure> {
    let key = place.key(name);
    let view = merger.shared.view();
    let found: Vec<&Item> = view.items().filter(|item| item.kv.key == key).collect();
    match found.as_slice() {
        [] => Err(Failure::not_found(&place.resource, name)),
        [only] => Ok((only.unit.clone(), show(&view, &place.resource, only)?)),
        several => {
            let units: Vec<String> = several.iter().map(|item| item.unit.to_string()).collect();
            let why = format!(
                "several units have one of this name: read it at /units/NAME, with NAME one of {}",
                units.join(", ")
            );
            Err(Failure::conflict(&place.resource, name, &why))
        }
    }
}

/// All that is selected. Limits are not followed: a server may show more.
fn list(view: &View, place: &Place, options: &ListOptions) -> Result<Page, Failure> {
    let now = view.version();
    if let Some(asked) = options.version.filter(|asked| *asked > 0) {
        check_version(view, Version::of(asked))?;
    }
    if options.token.is_some() {
        return Err(Failure::bad_request("continue key is not valid"));
    }
    let prefix = place.prefix();
    let mut items = Vec::new();
    for item in view.items().filter(|item| item.kv.key.starts_with(prefix.as_bytes())) {
        let object = show(view, &place.resource, item)?;
        if options.labels.matches(&object) && options.fields.matches(&object) {
            items.push(registry::Item::Made(object));
        }
    }
    Ok(Page { items, revision: now.number(), ..Page::default() })
}

fn check_version(view: &View, asked: Version) -> Result<(), Failure> {
    match view.since(asked, 0) {
        Ok(_) => Ok(()),
        Err(Gone::Expired) => Err(Failure::expired(
            "The resourceVersion is of another sequencer, or too old: list again.",
        )),
        Err(Gone::Ahead) => Err(Failure::version_ahead(asked.number(), view.version().number())),
    }
}

/// An object as the federation shows it.
fn show(view: &View, resource: &Resource, item: &Item) -> Result<Value, Failure> {
    let mut object = registry::decode(resource, &item.kv)?;
    object::set_version(&mut object, view.at(item.sequence).number());
    let annotations =
        object::metadata(&mut object).entry("annotations").or_insert_with(|| json!({}));
    if annotations.is_object() {
        annotations[UNIT_ANNOTATION] = item.unit.as_str().into();
        annotations[VERSION_ANNOTATION] = item.kv.mod_revision.to_string().into();
    }
    Ok(object)
}

fn open(merger: &Arc<Merger>, place: &Place, options: &WatchOptions) -> Result<Opening, Failure> {
    let view = merger.shared.view();
    let fresh = matches!(options.version, None | Some(0));
    let replay = options.initial_events.unwrap_or(fresh);
    let (initial, version) = match (replay, fresh, options.version) {
        (true, ..) => {
            let all = ListOptions {
                labels: options.labels.clone(),
                fields: options.fields.clone(),
                version: options.version,
                version_match: None,
                limit: 0,
                token: None,
            };
            (list(&view, place, &all)?.items, view.version())
        }
        (false, false, Some(asked)) => (Vec::new(), Version::of(asked)),
        (false, ..) => (Vec::new(), view.version()),
    };
    drop(view);
    let moments = moments(merger.clone(), place.clone(), version);
    Ok(Opening { initial, version: version.number(), moments })
}

/// Changes of the view after `version`, in order. Holds the merger.
fn moments(merger: Arc<Merger>, place: Place, version: Version) -> Moments {
    let changes = merger.shared.changes();
    let state = (merger, place, version, changes, Vec::new().into_iter());
    Box::pin(stream::unfold(Some(state), |state| async move {
        let (merger, place, mut version, mut changes, mut ready) = state?;
        loop {
            if let Some(moment) = ready.next() {
                return Some((moment, Some((merger, place, version, changes, ready))));
            }
            changes.borrow_and_update();
            let entries = merger.shared.view().since(version, CHANGES_MAX);
            match entries {
                Err(_) => return Some((Err(Failure::expired("too old resource version")), None)),
                Ok(entries) if entries.is_empty() => changes.changed().await.ok()?,
                Ok(entries) => {
                    let view = merger.shared.view();
                    let told: Vec<_> =
                        entries.iter().filter_map(|entry| tell(&view, &place, entry)).collect();
                    version.sequence = entries.last().map_or(version.sequence, |e| e.sequence);
                    drop(view);
                    ready = told.into_iter();
                }
            }
        }
    }))
}

fn tell(view: &View, place: &Place, entry: &LogEntry) -> Option<Result<Moment, Failure>> {
    let key = &entry.now.as_ref().or(entry.before.as_ref())?.kv.key;
    if !key.starts_with(place.prefix().as_bytes()) {
        return None;
    }
    let version = view.at(entry.sequence).number();
    let shown = |item: &Option<Item>| {
        item.as_ref().map(|item| show(view, &place.resource, item)).transpose()
    };
    let change = || {
        let before = match shown(&entry.before)? {
            Some(mut before) => {
                object::set_version(&mut before, version);
                Before::Object(registry::Item::Made(before))
            }
            None => Before::Absent,
        };
        let now = shown(&entry.now)?.map(registry::Item::Made);
        Ok(Moment::Change(Box::new(Change { now, before, version })))
    };
    Some(change())
}
