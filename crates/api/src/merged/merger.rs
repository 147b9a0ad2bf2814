//! Follows one kind in every unit and feeds the view.
//!
//! A merger lives while someone looks at the federation's view, and a while
//! after. Each start takes a new epoch from a counter in the federation's
//! keyspace, so versions of different mergers, in whichever replica, are never
//! mistaken for each other.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::StreamExt;
use kv::{
    Compare, EventKind, KeyRange, Kv, Op, RangeRequest, Revision, Txn, WatchItem, WatchRequest,
};
use rt::{backoff::Backoff, random::Random};
use tokio::{sync::watch, task::JoinSet, time::Instant};
use topology::UnitName;

use super::view::View;
use crate::{catalog, cluster::Clusters, failure::Failure, kinds::unit, resource::Resource};

/// The counter of epochs, beside the objects.
const EPOCH_KEY: &str = "/polis/merged-epoch";

/// Tries at taking an epoch while other replicas take theirs.
const EPOCH_ATTEMPTS_MAX: usize = 8;

/// How long the first picture of all units may take.
const FIRST_PICTURE: Duration = Duration::from_secs(10);

const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);

pub struct Merger {
    pub shared: Arc<Shared>,
    supervisor: tokio::task::JoinHandle<()>,
}

pub struct Shared {
    resource: Arc<Resource>,
    clusters: Arc<Clusters>,
    view: Mutex<View>,
    units: Mutex<Units>,
    /// Counts up with every change of the view or of what is known of units.
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct Units {
    /// The list of units has been read.
    listed: bool,
    by_name: BTreeMap<UnitName, Standing>,
}

/// What is known of one unit's part.
#[derive(Clone, Copy)]
enum Standing {
    /// Its objects have not been seen yet.
    Awaited,
    Followed,
    /// The picture of it is as old as this.
    Stale(Instant),
}

// === impl Merger ===

impl Merger {
    pub async fn start(
        clusters: Arc<Clusters>,
        resource: Arc<Resource>,
    ) -> Result<Merger, Failure> {
        let epoch = take_epoch(&*clusters.federation().kv).await?;
        let shared = Arc::new(Shared {
            resource,
            clusters,
            view: Mutex::new(View::new(epoch)),
            units: Mutex::default(),
            changed: watch::channel(0).0,
        });
        let supervisor = tokio::spawn(follow_units(shared.clone()));
        Ok(Merger { shared, supervisor })
    }
}

impl Drop for Merger {
    fn drop(&mut self) {
        // Its followers are in a set that it owns.
        self.supervisor.abort();
    }
}

// === impl Shared ===

impl Shared {
    pub fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn units(&self) -> MutexGuard<'_, Units> {
        self.units.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes whoever waits for changes.
    fn tell(&self) {
        self.changed.send_modify(|changes| *changes += 1);
    }

    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Waits until every unit has been seen once.
    pub async fn complete(&self) -> Result<(), Failure> {
        let mut changes = self.changed.subscribe();
        let complete = changes.wait_for(|_| self.units().are_complete());
        match tokio::time::timeout(FIRST_PICTURE, complete).await {
            Ok(_) => Ok(()),
            Err(_) => {
                let code = errors::API_STORE_UNAVAILABLE;
                let what = "not every unit's objects could be read";
                Err(Failure::unavailable(format!("{code}: {what}. {}", code.remedy())))
            }
        }
    }

    /// Units whose part of the view is older than `age`.
    pub fn stale(&self, age: Duration) -> Vec<(UnitName, Duration)> {
        let units = self.units();
        let old = units.by_name.iter().filter_map(|(unit, standing)| match standing {
            Standing::Stale(since) if since.elapsed() > age => {
                Some((unit.clone(), since.elapsed()))
            }
            _ => None,
        });
        old.collect()
    }

    fn stand(&self, unit: &UnitName, standing: Standing) {
        let mut units = self.units();
        // A unit that was removed meanwhile does not come back.
        if let Some(known) = units.by_name.get_mut(unit) {
            *known = match (*known, standing) {
                (Standing::Awaited, Standing::Stale(_)) => Standing::Awaited,
                (Standing::Stale(since), Standing::Stale(_)) => Standing::Stale(since),
                (_, standing) => standing,
            };
        }
        drop(units);
        self.tell();
    }
}

// === impl Units ===

impl Units {
    fn are_complete(&self) -> bool {
        let seen = |standing: &Standing| !matches!(standing, Standing::Awaited);
        self.listed && self.by_name.values().all(seen)
    }
}

async fn take_epoch(kv: &dyn Kv) -> Result<u32, Failure> {
    for _ in 0..EPOCH_ATTEMPTS_MAX {
        let found = kv.range(RangeRequest::new(KeyRange::key(EPOCH_KEY))).await?;
        let (last, revision) = match found.kvs.first() {
            Some(kv) => {
                let text = std::str::from_utf8(&kv.value).unwrap_or_default();
                let last: u32 = text.parse().map_err(|_| Failure::corrupt(&kv.key))?;
                (last, kv.mod_revision)
            }
            None => (0, Revision::ZERO),
        };
        let next = last.wrapping_add(1);
        let compare = match revision {
            Revision::ZERO => Compare::absent(EPOCH_KEY),
            revision => Compare::modified_at(EPOCH_KEY, revision),
        };
        let put = Op::put(EPOCH_KEY, next.to_string());
        if kv.txn(Txn::when(vec![compare]).then(vec![put])).await?.succeeded {
            return Ok(next);
        }
    }
    Err(Failure::unavailable("other replicas are starting too"))
}

fn retries() -> Backoff {
    Backoff::new(RETRY_FIRST, RETRY_MAX, Random::from_entropy())
}

/// Keeps one follower for each Unit there is.
async fn follow_units(shared: Arc<Shared>) {
    let mut followers = JoinSet::new();
    let mut handles = BTreeMap::new();
    let mut backoff = retries();
    loop {
        let result = watch_units(&shared, &mut followers, &mut handles, &mut backoff).await;
        if let Err(error) = result {
            tracing::debug!(%error, "watch of units");
        }
        tokio::time::sleep(backoff.step()).await;
    }
}

type Handles = BTreeMap<UnitName, tokio::task::AbortHandle>;

async fn watch_units(
    shared: &Arc<Shared>,
    followers: &mut JoinSet<()>,
    handles: &mut Handles,
    backoff: &mut Backoff,
) -> Result<(), kv::Error> {
    let kv = shared.clusters.federation().kv.clone();
    let prefix = catalog::units().prefix();
    let name = |key: &[u8]| -> Option<UnitName> {
        std::str::from_utf8(key)
            .ok()?
            .strip_prefix(&prefix)?
            .parse()
            .ok()
            .filter(unit::has_keyspace)
    };
    let mut request = RangeRequest::new(KeyRange::prefix(prefix.clone()));
    request.keys_only = true;
    let listed = kv.range(request).await?;
    let present: Vec<UnitName> = listed.kvs.iter().filter_map(|kv| name(&kv.key)).collect();
    let absent: Vec<UnitName> =
        handles.keys().filter(|unit| !present.contains(unit)).cloned().collect();
    for unit in absent {
        forget(shared, handles, &unit);
    }
    for unit in present {
        follow(shared, followers, handles, unit);
    }
    shared.units().listed = true;
    shared.tell();
    backoff.reset();
    let range = KeyRange::prefix(prefix.clone());
    let mut watch = kv.watch(WatchRequest::new(range).from(listed.revision.next())).await?;
    while let Some(item) = watch.next().await {
        let WatchItem::Events(batch) = item? else { continue };
        for event in batch.events {
            let Some(unit) = name(&event.kv.key) else { continue };
            match event.kind {
                EventKind::Put => follow(shared, followers, handles, unit),
                EventKind::Delete => forget(shared, handles, &unit),
            }
        }
        // Followers that were aborted are collected.
        while followers.try_join_next().is_some() {}
    }
    Ok(())
}

fn follow(
    shared: &Arc<Shared>,
    followers: &mut JoinSet<()>,
    handles: &mut Handles,
    unit: UnitName,
) {
    if handles.contains_key(&unit) {
        return;
    }
    shared.units().by_name.insert(unit.clone(), Standing::Awaited);
    let handle = followers.spawn(follow_unit(shared.clone(), unit.clone()));
    handles.insert(unit, handle);
}

fn forget(shared: &Shared, handles: &mut Handles, unit: &UnitName) {
    if let Some(handle) = handles.remove(unit) {
        handle.abort();
    }
    shared.units().by_name.remove(unit);
    shared.view().remove_unit(unit);
    shared.tell();
}

async fn follow_unit(shared: Arc<Shared>, unit: UnitName) {
    let mut backoff = retries();
    loop {
        if let Err(error) = watch_unit(&shared, &unit, &mut backoff).await {
            tracing::debug!(%unit, %error, "watch of a unit");
        }
        shared.stand(&unit, Standing::Stale(Instant::now()));
        tokio::time::sleep(backoff.step()).await;
    }
}

async fn watch_unit(
    shared: &Shared,
    unit: &UnitName,
    backoff: &mut Backoff,
) -> Result<(), kv::Error> {
    let kv = shared.clusters.unit(unit).kv.clone();
    let range = KeyRange::prefix(shared.resource.prefix());
    let listed = kv.range(RangeRequest::new(range.clone())).await?;
    let revision = listed.revision;
    shared.view().replace(unit, listed.kvs, revision);
    shared.stand(unit, Standing::Followed);
    backoff.reset();
    let mut watch = kv.watch(WatchRequest::new(range).from(revision.next())).await?;
    while let Some(item) = watch.next().await {
        let WatchItem::Events(batch) = item? else { continue };
        let mut view = shared.view();
        for event in batch.events {
            match event.kind {
                EventKind::Put => view.put(unit, event.kv),
                EventKind::Delete => view.delete(unit, &event.kv.key, event.kv.mod_revision),
            }
        }
        drop(view);
        shared.tell();
    }
    Ok(())
}
