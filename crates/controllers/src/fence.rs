//! Carrying out intents: for every shard in Moving, let the old owner go (in a
//! planned move), have the new owner raise the fence, publish Serving.
//!
//! One worker per unit, so that one slow unit holds up no other. The center of
//! the target unit acts at once; the others only when it has not within
//! [`TAKEOVER`]. Whoever acts, and however often: the fence only rises, and
//! Serving needs the fence's own answer.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::future::join_all;
use planner::shard_map::{self, Moving, Raised};
use resources::Service;
use rt::{TaskKind, backoff::Backoff, random::Random, spawn};
use tokio::task::JoinHandle;
use topology::{Epoch, Shard, ShardSet, UnitName};

use crate::{
    edges,
    picture::fenced,
    role::Shared,
    service::{Services, Standing},
};

/// How long the target's own center is left to it.
const TAKEOVER: Duration = Duration::from_secs(1);

/// On the critical path of a failover.
const RETRY_FIRST: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_millis(500);

/// Starts a worker for every unit.
pub struct Fences {
    shared: Shared,
    services: Arc<Services>,
}

struct Worker {
    unit: UnitName,
    shared: Shared,
    services: Arc<Services>,
    /// What we published and our picture does not show yet.
    published: Intents,
}

/// Ends with this value.
struct Running(JoinHandle<()>);

/// What is to be done, to recognise that it is still the same.
type Intents = BTreeSet<(Shard, Epoch)>;

// === impl Fences ===

impl Fences {
    pub fn new(shared: Shared, services: Services) -> Fences {
        Fences { shared, services: Arc::new(services) }
    }

    pub async fn run(mut self) {
        let mut workers = BTreeMap::<UnitName, Running>::new();
        loop {
            let units = self.shared.picture.units();
            let names: BTreeSet<_> = units.iter().filter_map(|unit| unit.unit().ok()).collect();
            workers.retain(|name, _| names.contains(name));
            for unit in names {
                workers.entry(unit.clone()).or_insert_with(|| {
                    let (shared, services) = (self.shared.clone(), self.services.clone());
                    let worker = Worker { unit, shared, services, published: Intents::new() };
                    Running(spawn(TaskKind::Critical, "fence", worker.run()))
                });
            }
            self.shared.picture.changed().await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

// === impl Worker ===

impl Worker {
    async fn run(mut self) {
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MAX, Random::from_entropy());
        loop {
            let moving = self.moving();
            if moving.is_empty() {
                backoff.reset();
                self.shared.picture.changed().await;
                continue;
            }
            if !self.is_ours() && !self.left_undone(intents(&moving)).await {
                continue;
            }
            let published = self.carry_out(&moving).await;
            if published.is_empty() {
                let pause = backoff.step();
                // A pod that becomes ready, or a newer map, ends the wait.
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = self.shared.picture.changed() => {}
                }
            }
            self.published.extend(published);
        }
    }

    fn moving(&mut self) -> Vec<Moving> {
        let map = self.shared.picture.map();
        let mut moving = map.map(|map| shard_map::moving(&map.status)).unwrap_or_default();
        let mut moving = moving.remove(&self.unit).unwrap_or_default();
        let shown = intents(&moving);
        self.published.retain(|published| shown.contains(published));
        moving.retain(|moving| !self.published.contains(&(moving.shard, moving.epoch)));
        moving
    }

    fn is_ours(&self) -> bool {
        let unit = self.shared.picture.unit(&self.unit);
        unit.is_some_and(|unit| unit.spec.center == self.shared.me)
    }

    /// Waits for the target's own center. True when the same intents are still
    /// there after that.
    async fn left_undone(&mut self, intents: Intents) -> bool {
        let deadline = tokio::time::sleep(TAKEOVER);
        tokio::pin!(deadline);
        loop {
            tokio::select! {
                // Who has not been watching may be the one that is cut off.
                () = &mut deadline => return self.shared.health.borrow().fresh,
                () = self.shared.picture.changed() => {
                    if !intents.is_subset(&self::intents(&self.moving())) {
                        return false;
                    }
                }
            }
        }
    }

    /// What was published.
    async fn carry_out(&self, moving: &[Moving]) -> Intents {
        let Some(unit) = self.shared.picture.unit(&self.unit) else { return Intents::new() };
        let mut services: Vec<_> = fenced(&unit).cloned().collect();
        let Some(first) = services.pop() else {
            tracing::debug!(unit = %self.unit, "no fenced service runs here");
            return Intents::new();
        };
        self.let_go(moving, services.iter().chain([&first])).await;

        let started = self.shared.clock.now();
        // Serving needs every service's fence.
        let mut raised = self.raise(&first, moving).await;
        for service in &services {
            let also = self.raise(service, moving).await;
            raised.retain(|proof| also.contains(proof));
        }
        if raised.is_empty() {
            return Intents::new();
        }
        let fence_ms = self.shared.clock.now().since(started);
        self.shared.metrics.fence_ms.set(fence_ms);
        self.publish(&raised, fence_ms).await
    }

    /// Asks the old owners to drain what is moved from them on purpose.
    async fn let_go(&self, moving: &[Moving], services: impl Iterator<Item = &Service>) {
        let mut by_owner = BTreeMap::<_, Vec<_>>::new();
        for moving in moving {
            if let Some(from) = &moving.from {
                by_owner.entry(from).or_default().push(moving);
            }
        }
        if by_owner.is_empty() {
            return;
        }
        self.wait_for_edges().await;
        let mut asked = Vec::new();
        for service in services {
            for (owner, shards) in &by_owner {
                let endpoints = self.shared.picture.endpoints(owner, service);
                asked.push(async move {
                    let drained = self.services.drain(owner, service, &endpoints, shards).await;
                    if let Err(error) = drained {
                        tracing::debug!(%owner, %error, "old owner did not drain, the fence will");
                    }
                });
            }
        }
        join_all(asked).await;
    }

    /// Until the edges of the centers that answer hold what is moved.
    async fn wait_for_edges(&self) {
        let Shared { picture, health, metrics, clock, .. } = &self.shared;
        let Some(map) = picture.map() else { return };
        let health = health.borrow().clone();
        let centers = picture.centers();
        let edges = centers.iter().filter(|c| c.center().is_ok_and(|name| health.hears(&name)));
        let edges: Vec<_> = edges.filter_map(|c| c.spec.edge_admin_address.clone()).collect();
        let started = clock.now();
        let in_time = edges::acknowledge(self.services.played(), &edges, map.status.version).await;
        metrics.edges_asked.add(edges.len());
        metrics.edges_acknowledged.add(in_time);
        metrics.acknowledge_ms.set(clock.now().since(started));
    }

    async fn raise(&self, service: &Service, moving: &[Moving]) -> Vec<Raised> {
        let endpoints = self.shared.picture.endpoints(&self.unit, service);
        let raise = match self.services.raise(&self.unit, service, &endpoints, moving).await {
            Ok(raise) => raise,
            Err(error) => {
                tracing::debug!(unit = %self.unit, %error, "raise fences");
                return Vec::new();
            }
        };
        self.shared.metrics.fences_raised.add(raise.raised.len());
        self.shared.metrics.fences_refused.add(raise.refused.len());
        if !raise.refused.is_empty() {
            self.explain(&raise.refused).await;
        }
        // Only what was asked for proves anything.
        let asked = intents(moving);
        let ours =
            |proof: &Raised| proof.unit == self.unit && asked.contains(&(proof.shard, proof.epoch));
        raise.raised.into_iter().filter(ours).collect()
    }

    /// A refusal usually means that our picture is old. If the map itself is
    /// behind the fence, a person must look.
    async fn explain(&self, refused: &BTreeSet<Standing>) {
        let map = match self.shared.maps.read().await {
            Ok(map) => map.status,
            Err(error) => {
                tracing::debug!(%error, "read the map after a refusal");
                return;
            }
        };
        let ahead: ShardSet = refused
            .iter()
            .filter(|fence| {
                map.get(fence.shard).is_some_and(|assignment| assignment.epoch < fence.epoch)
            })
            .map(|fence| fence.shard)
            .collect();
        if ahead.is_empty() {
            tracing::debug!(unit = %self.unit, "fence refused an old epoch, map read again");
        } else {
            let code = errors::FENCE_AHEAD;
            tracing::error!(
                %code, unit = %self.unit, shards = %ahead,
                "fences are ahead of the shard map. {}", code.remedy()
            );
        }
    }

    async fn publish(&self, raised: &[Raised], fence_ms: u64) -> Intents {
        let Shared { maps, clock, metrics, .. } = &self.shared;
        let started = clock.now();
        let plan =
            |map: &resources::ShardMapObject| shard_map::publish_serving(&map.status, raised);
        match maps.commit(plan).await {
            Ok(Some(plan)) => {
                let publish_ms = clock.now().since(started);
                metrics.publish_ms.set(publish_ms);
                metrics.shards_published.add(plan.steps.len());
                let shards: ShardSet = plan.steps.iter().map(|step| step.shard).collect();
                tracing::info!(
                    unit = %self.unit, %shards, version = %plan.map.version, fence_ms, publish_ms,
                    "serving published"
                );
                plan.steps.iter().map(|step| (step.shard, step.epoch)).collect()
            }
            // Somebody else published, or the map has moved on.
            Ok(None) => Intents::new(),
            Err(error) => {
                tracing::warn!(unit = %self.unit, %error, "publish serving");
                Intents::new()
            }
        }
    }
}

fn intents(moving: &[Moving]) -> Intents {
    moving.iter().map(|moving| (moving.shard, moving.epoch)).collect()
}
