//! The estate as the API last showed it: one set of watches for all
//! controllers of the process, and one mark that changes with any of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use client::{Cache, Client, Entity, Scope, Snapshot, k8s_openapi::api::core::v1::Pod};
use planner::unit::{Place, Places};
use resources::{
    CafeDeployment, Center, FAILOVER_POLICY_NAME, Failover, FailoverPolicy, FailoverPolicySpec,
    Fence, SHARD_MAP_NAME, Service, ShardMapObject, ShardMove, Unit, UnitKind, UnitRental,
};
use rt::{TaskKind, spawn};
use tokio::sync::watch;
use topology::{CenterName, UnitName};

use crate::{center::Health, service};

/// Cheap to clone; each clone has its own mark of what it has seen.
#[derive(Clone)]
pub struct Picture {
    centers: Cache<Center>,
    units: Cache<Unit>,
    maps: Cache<ShardMapObject>,
    moves: Cache<ShardMove>,
    rentals: Cache<UnitRental>,
    policies: Cache<FailoverPolicy>,
    failovers: Cache<Failover>,
    deployments: Cache<CafeDeployment>,
    pods: watch::Receiver<Arc<BTreeMap<UnitName, Cache<Pod>>>>,
    changes: watch::Receiver<u64>,
}

// === impl Picture ===

impl Picture {
    pub fn start(client: &Client) -> Picture {
        let federation = client.federation();
        let (marker, changes) = watch::channel(0);
        let (pods_sender, pods) = watch::channel(Arc::default());
        let picture = Picture {
            centers: federation.watch(Scope::everything()),
            units: federation.watch(Scope::everything()),
            maps: federation.watch(Scope::everything()),
            moves: federation.watch(Scope::everything()),
            rentals: federation.watch(Scope::everything()),
            policies: federation.watch(Scope::everything()),
            failovers: federation.watch(Scope::everything()),
            deployments: federation.watch(Scope::everything()),
            pods,
            changes,
        };
        follow(picture.centers.clone(), marker.clone());
        follow(picture.units.clone(), marker.clone());
        follow(picture.maps.clone(), marker.clone());
        follow(picture.moves.clone(), marker.clone());
        follow(picture.rentals.clone(), marker.clone());
        follow(picture.policies.clone(), marker.clone());
        follow(picture.failovers.clone(), marker.clone());
        follow(picture.deployments.clone(), marker.clone());
        let units = picture.units.clone();
        let open = open_units(client.clone(), units, pods_sender, marker);
        spawn(TaskKind::Critical, "units", open);
        picture
    }

    /// Waits until anything looks different from when this clone last waited.
    pub async fn changed(&mut self) {
        if self.changes.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    pub fn centers(&self) -> Arc<Snapshot<Center>> {
        self.centers.current()
    }

    pub fn units(&self) -> Arc<Snapshot<Unit>> {
        self.units.current()
    }

    pub fn deployments(&self) -> Arc<Snapshot<CafeDeployment>> {
        self.deployments.current()
    }

    /// The shard map, once it exists.
    pub fn map(&self) -> Option<Arc<ShardMapObject>> {
        self.maps.current().get(SHARD_MAP_NAME).cloned()
    }

    pub fn shard_moves(&self) -> Arc<Snapshot<ShardMove>> {
        self.moves.current()
    }

    pub fn unit_rentals(&self) -> Arc<Snapshot<UnitRental>> {
        self.rentals.current()
    }

    /// The policy; the defaults where there is none.
    pub fn failover_policy(&self) -> FailoverPolicySpec {
        let policies = self.policies.current();
        policies.get(FAILOVER_POLICY_NAME).map(|policy| policy.spec).unwrap_or_default()
    }

    /// Whether it was read if there is a policy: until then nobody knows what it
    /// forbids.
    pub fn knows_policy(&self) -> bool {
        self.policies.current().synced
    }

    pub fn failovers(&self) -> Arc<Snapshot<Failover>> {
        self.failovers.current()
    }

    /// The pods of a unit, once they have been listed.
    pub fn pods(&self, unit: &UnitName) -> Option<Arc<Snapshot<Pod>>> {
        let snapshot = self.pods.borrow().get(unit)?.current();
        snapshot.synced.then_some(snapshot)
    }

    pub fn center(&self, name: &CenterName) -> Option<Arc<Center>> {
        self.centers().get(name.as_str()).cloned()
    }

    pub fn unit(&self, name: &UnitName) -> Option<Arc<Unit>> {
        self.units().get(name.as_str()).cloned()
    }

    /// Units in any of these centers.
    pub fn units_in(&self, centers: &BTreeSet<CenterName>) -> BTreeSet<UnitName> {
        let units = self.units();
        let inside = units.iter().filter(|unit| centers.contains(&unit.spec.center));
        inside.filter_map(|unit| unit.unit().ok()).collect()
    }

    /// Units that can own shards, judged by `health`.
    pub fn places(&self, health: &Health) -> Places {
        let mut places = Places::new();
        let units = self.units();
        for unit in units.iter().filter(|unit| unit.spec.kind == UnitKind::RZone) {
            let center = unit.spec.center.clone();
            let (Ok(name), Some(home)) = (unit.unit(), self.center(&center)) else { continue };
            let place = Place {
                alive: health.hears(&center),
                wavers: health.quiet.contains(&center),
                ready: self.is_ready(&name),
                city: home.spec.city.clone(),
                standbys: unit.spec.standbys.clone(),
                shards_max: unit.spec.shards_max.map(usize::from),
                center,
            };
            places.insert(name, place);
        }
        places
    }

    /// Whether every fenced service of the unit has a pod that is ready.
    pub fn is_ready(&self, unit: &UnitName) -> bool {
        let Some(object) = self.unit(unit) else { return false };
        let mut fenced = fenced(&object).peekable();
        fenced.peek().is_some() && fenced.all(|service| !self.endpoints(unit, service).is_empty())
    }

    /// `HOST:PORT` of the service's ready pods in the unit.
    pub fn endpoints(&self, unit: &UnitName, service: &Service) -> Vec<String> {
        let Some(pods) = self.pods(unit) else { return Vec::new() };
        pods.iter().filter_map(|pod| service::endpoint(pod, service)).collect()
    }
}

/// The services of a unit whose writes a fence checks.
pub fn fenced(unit: &Unit) -> impl Iterator<Item = &Service> {
    unit.spec.services.iter().filter(|service| service.fence == Fence::Database)
}

fn follow<T: Entity>(mut cache: Cache<T>, marker: watch::Sender<u64>) {
    spawn(TaskKind::Critical, "picture", async move {
        // Ends with the picture; the cache would live as long as we hold it.
        loop {
            tokio::select! {
                _ = cache.changed() => marker.send_modify(|mark| *mark = mark.wrapping_add(1)),
                () = marker.closed() => return,
            }
        }
    });
}

/// Opens a watch on the pods of every unit that appears, and closes those of
/// units that are gone.
async fn open_units(
    client: Client,
    mut units: Cache<Unit>,
    sender: watch::Sender<Arc<BTreeMap<UnitName, Cache<Pod>>>>,
    marker: watch::Sender<u64>,
) {
    loop {
        let snapshot = tokio::select! {
            snapshot = units.changed() => snapshot,
            () = sender.closed() => return,
        };
        let before = sender.borrow().clone();
        let mut caches = BTreeMap::new();
        for name in snapshot.iter().filter_map(|unit| unit.unit().ok()) {
            let cache = before.get(&name).cloned().unwrap_or_else(|| {
                let cache = client.unit(&name).watch(Scope::everything());
                follow(cache.clone(), marker.clone());
                cache
            });
            caches.insert(name, cache);
        }
        sender.send_replace(Arc::new(caches));
        marker.send_modify(|mark| *mark = mark.wrapping_add(1));
    }
}
