//! First assignment and return, by the leader: shards that were never given to
//! anyone go home at once, shards that are away go home in batches once their
//! unit has been well for as long as the policy says. A move that is stuck gets
//! another target. What an order claims, or went back a moment ago, is let be.

use std::{collections::BTreeSet, time::Duration};

use client::Leadership;
use planner::{
    shard_map,
    shard_move::hold::Holds,
    stuck::Moves,
    unit::{Places, Wellness, homecoming, refuge},
};
use resources::{Observation, ShardMapSpec};
use topology::{CenterName, Epoch, Shard, UnitName};

use crate::{center::Health, events::Reason, failover::by_unit, role::Shared, shard_move::claimed};

/// How often to look while shards are away or move and only time has to pass.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

pub struct Homecoming {
    shared: Shared,
    leadership: Leadership,
    wellness: Wellness,
    moves: Moves,
    holds: Holds,
}

type Stuck = BTreeSet<(Shard, Epoch)>;

// === impl Homecoming ===

impl Homecoming {
    pub fn new(shared: Shared, leadership: Leadership) -> Homecoming {
        let (wellness, moves, holds) = (Wellness::default(), Moves::default(), Holds::default());
        Homecoming { shared, leadership, wellness, moves, holds }
    }

    pub async fn run(mut self) {
        loop {
            let waiting = match self.reconcile().await {
                Ok(waiting) => waiting,
                Err(error) => {
                    tracing::warn!(%error, "assign or return shards");
                    true
                }
            };
            tokio::select! {
                () = self.shared.picture.changed() => {}
                _ = self.shared.health.changed() => {}
                () = self.leadership.changed() => {}
                () = tokio::time::sleep(LOOK_AGAIN), if waiting => {}
            }
        }
    }

    /// True when there is more to do later.
    async fn reconcile(&mut self) -> Result<bool, client::Error> {
        let health = self.shared.health.borrow_and_update().clone();
        let now = self.shared.clock.now();
        // Followers watch too, so that a change of leaders starts no new wait.
        self.wellness.observe(&self.well(&health), now);
        let Some(map) = self.shared.picture.map() else { return Ok(false) };
        match health.fresh {
            true => self.moves.observe(&map.status, now),
            // Time that we did not watch counts for nobody's delay.
            false => self.moves = Moves::default(),
        }
        self.holds.observe(&map.status, now);
        if !self.leadership.leads() {
            return Ok(false);
        }
        self.assign().await?;
        let places = self.shared.picture.places(&health);
        let stuck = self.moves.stuck(&map.status, &places, now);
        if !stuck.is_empty() {
            self.retarget(&stuck, &places).await?;
        }
        let policy = map.spec.return_policy;
        let away = homes(&map.spec).any(|(shard, home)| {
            map.status.get(shard).is_some_and(|assignment| assignment.state.target() != home)
        });
        let orders = self.shared.picture.shard_moves();
        if !away || !policy.automatic || !orders.synced {
            return Ok(!self.moves.is_empty());
        }
        let mut claimed = claimed(orders.iter().map(|order| &**order));
        claimed.extend(self.holds.cool());
        let settled = self.wellness.settled(policy.after_ms, now);
        self.send_home(&settled, &stuck, &claimed).await?;
        Ok(true)
    }

    /// Units whose center answers everyone and whose services are ready.
    fn well(&self, health: &Health) -> BTreeSet<UnitName> {
        if !health.fresh {
            return BTreeSet::new();
        }
        let picture = &self.shared.picture;
        let units = picture.units();
        let well = units.iter().filter_map(|unit| {
            let name = unit.unit().ok()?;
            let center = &unit.spec.center;
            let heard = health.hears(center) && !self.is_doubted(center, health);
            (heard && picture.is_ready(&name)).then_some(name)
        });
        well.collect()
    }

    /// Whether anyone we hear suspects the center.
    fn is_doubted(&self, center: &CenterName, health: &Health) -> bool {
        let centers = self.shared.picture.centers();
        centers.iter().any(|observer| {
            let heard = observer.center().is_ok_and(|observer| health.hears(&observer));
            heard && observer.status.observations.get(center) == Some(&Observation::Suspect)
        })
    }

    async fn assign(&self) -> Result<(), client::Error> {
        let plan = self
            .shared
            .maps
            .commit(|map| shard_map::assign_homes(&map.status, homes(&map.spec)))
            .await?;
        for (unit, shards) in plan.iter().flat_map(by_unit) {
            tracing::info!(unit, %shards, "shards assigned");
        }
        Ok(())
    }

    async fn retarget(&self, stuck: &Stuck, places: &Places) -> Result<(), client::Error> {
        let plan = |map: &resources::ShardMapObject| {
            shard_map::retarget(&map.status, stuck, |from, at| refuge(places, from, at))
        };
        let Some(plan) = self.shared.maps.commit(plan).await? else { return Ok(()) };
        for (unit, shards) in by_unit(&plan) {
            tracing::warn!(unit, %shards, "stuck shards take another target");
            let message = format!("takes shards {shards}, whose target did not get ready");
            self.shared.recorder.warn(Reason::ShardsRetargeted, "Unit", &unit, message);
        }
        Ok(())
    }

    async fn send_home(
        &self,
        settled: &BTreeSet<UnitName>,
        stuck: &Stuck,
        claimed: &BTreeSet<Shard>,
    ) -> Result<(), client::Error> {
        let plan = |map: &resources::ShardMapObject| {
            let free = homes(&map.spec).filter(|(shard, _)| !claimed.contains(shard));
            let batch = homecoming(&map.status, free, settled, stuck);
            shard_map::move_planned(&map.status, batch)
        };
        let Some(plan) = self.shared.maps.commit(plan).await? else { return Ok(()) };
        self.shared.metrics.shards_sent_home.add(plan.steps.len());
        for (unit, shards) in by_unit(&plan) {
            tracing::info!(unit, %shards, "shards return home");
            let message = format!("shards {shards} return home");
            self.shared.recorder.inform(Reason::ShardsReturned, "Unit", &unit, message);
        }
        Ok(())
    }
}

fn homes(spec: &ShardMapSpec) -> impl Iterator<Item = (Shard, &UnitName)> {
    spec.homes.iter().flat_map(|home| home.shards.iter().map(|shard| (shard, &home.unit)))
}
