//! First assignment and return, by the leader: shards that were never given to
//! anyone go home at once, shards that are away go home in batches once their
//! unit has been well for as long as the policy says. A move that is stuck gets
//! another target. What an order claims, or went back a moment ago, is let be,
//! and so is what went back from its home too often, until that was unwell.

use std::collections::BTreeSet;

use client::{Leadership, Objects};
use planner::{
    shard_map,
    shard_move::hold::Holds,
    stuck::Moves,
    unit::{Places, Wellness, homecoming, refuge},
};
use resources::{SHARD_MAP_NAME, ShardMapObject, ShardMapSpec, ShardMove};
use rt::Millis;
use topology::{CenterName, Epoch, Shard, ShardSet, UnitName};

use crate::{
    center::Health, events::Reason, failover::by_unit, role::Shared, rounds::Rounds,
    shard_move::claimed,
};

pub struct Homecoming {
    shared: Shared,
    leadership: Leadership,
    wellness: Wellness,
    moves: Moves,
    holds: Holds,
    orders: Objects<ShardMove>,
    /// When the last batch was sent.
    sent: Option<Millis>,
    /// Shards that are not sent home any more, as they were reported.
    given_up: ShardSet,
}

type Stuck = BTreeSet<(Shard, Epoch)>;

// === impl Homecoming ===

impl Rounds for Homecoming {
    const WORK: &'static str = "assign or return shards";

    fn wakes(&mut self) -> (&mut Shared, &mut Leadership) {
        (&mut self.shared, &mut self.leadership)
    }

    async fn round(&mut self) -> Result<bool, client::Error> {
        let health = self.shared.health.borrow_and_update().clone();
        let now = self.shared.clock.now();
        // Followers watch too, so that a change of leaders starts no new wait.
        let well = self.well(&health);
        self.wellness.observe(&well, now);
        if health.fresh {
            self.holds.forgive(&well);
        }
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
        if !away || !policy.automatic {
            return Ok(!self.moves.is_empty());
        }
        self.report_given_up(&map);
        let settled = self.wellness.settled(policy.after_ms, now);
        // A new leader begins with a batch: the next waits for it anyway.
        let rests = self.sent.is_some_and(|sent| now.since(sent) < policy.pause_ms);
        if !rests && self.send_home(&map, &settled, &stuck).await? {
            self.sent = Some(now);
        }
        Ok(true)
    }
}

impl Homecoming {
    pub fn new(shared: Shared, leadership: Leadership) -> Homecoming {
        Homecoming {
            orders: shared.client.federation().all(),
            shared,
            leadership,
            wellness: Wellness::default(),
            moves: Moves::default(),
            holds: Holds::default(),
            sent: None,
            given_up: ShardSet::default(),
        }
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
            let seen = observer.status.observations.get(center);
            heard && seen.is_some_and(|seen| seen.is_suspicion())
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

    /// Says once which shards are left where they are.
    fn report_given_up(&mut self, map: &ShardMapObject) {
        let away = homes(&map.spec).filter(|(shard, home)| self.holds.has_given_up(*shard, home));
        let shards: ShardSet = away.map(|(shard, _)| shard).collect();
        if !shards.is_empty() && shards != self.given_up {
            tracing::warn!(%shards, "went back from their home too often and stay where they are");
            let message = format!(
                "shards {shards} went back from their home too often; they stay where they are \
                 until it was not ready once"
            );
            self.shared.recorder.warn(Reason::ReturnGivenUp, "ShardMap", SHARD_MAP_NAME, message);
        }
        self.given_up = shards;
    }

    /// Sends the next batch home, by the map of our picture. True when one was
    /// sent.
    ///
    /// Our picture of the orders may be older than that of the map, above all
    /// just after we were elected: it would show what an order has moved, and
    /// not the order. So orders are read once more, after the map. An order
    /// that had moved something in this map is among them, since its plan is
    /// durable first; and should the map have changed since, nothing is
    /// committed, and the next round judges anew.
    async fn send_home(
        &self,
        map: &ShardMapObject,
        settled: &BTreeSet<UnitName>,
        stuck: &Stuck,
    ) -> Result<bool, client::Error> {
        let batch_max = usize::from(map.spec.return_policy.batch_shards);
        let plan = |claimed: &BTreeSet<Shard>| {
            let free = homes(&map.spec).filter(|(shard, home)| {
                !claimed.contains(shard) && !self.holds.has_given_up(*shard, home)
            });
            let batch = homecoming(&map.status, free, settled, stuck, batch_max);
            shard_map::move_planned(&map.status, batch)
        };
        // Most rounds end here, without asking anybody.
        let picture = self.shared.picture.shard_moves();
        let mut known = claimed(picture.iter().map(|order| &**order));
        known.extend(self.holds.cool());
        if plan(&known).is_none() {
            return Ok(false);
        }
        let orders = self.orders.list("").await?.items;
        let mut current = claimed(orders.iter());
        current.extend(self.holds.cool());
        let Some(plan) = plan(&current) else { return Ok(false) };
        if !self.shared.maps.commit_on(map, &plan).await? {
            return Ok(false);
        }
        self.shared.metrics.shards_sent_home.add(plan.steps.len());
        for (unit, shards) in by_unit(&plan) {
            tracing::info!(unit, %shards, "shards return home");
            let message = format!("shards {shards} return home");
            self.shared.recorder.inform(Reason::ShardsReturned, "Unit", &unit, message);
        }
        Ok(true)
    }
}

/// May name shards that there are none of: a manifest can be older, or newer, than
/// the splits.
fn homes(spec: &ShardMapSpec) -> impl Iterator<Item = (Shard, &UnitName)> {
    spec.homes.iter().flat_map(|home| home.shards.iter().map(|shard| (shard, &home.unit)))
}
