//! Carrying out ShardMoves, and taking back holds that last too long.
//!
//! The leader plans: it writes the plan into the order's status before it
//! intends anything, and each round brings the status up to the map. A leader
//! that dies leaves the map and the order behind, from which the next goes on.
//! What was intended is finished by `fence` without any leader.
//!
//! A hold that lasts is taken back by any center, the leader first: users wait
//! for it. The map's compare-and-swap lets one of them win.

use std::collections::BTreeSet;

use client::{DeleteOptions, Leadership, Objects, k8s_openapi::jiff::Timestamp};
use planner::{
    shard_map,
    shard_move::{
        hold::Holds,
        progress::{Event, Next, Progress, Trace},
        selection::select,
    },
    unit::Places,
};
use resources::{MoveEvent, MovePhase, MoveProgress, MoveState, ShardMove, ShardMoveSpec};
use topology::{Epoch, Shard, ShardMap, ShardSet};

use crate::{center::Health, events::Reason, role::Shared, rounds::Rounds};

/// How long a hold that lasts is left to the leader.
const TAKEOVER_MS: u64 = 1_000;

/// Rows of an order's history: a few for each shard, and room for retries.
const HISTORY_MAX: usize = 200;

/// Finished orders that are kept for people to read.
const FINISHED_MAX: usize = 100;

pub struct ShardMoves {
    shared: Shared,
    leadership: Leadership,
    objects: Objects<ShardMove>,
    holds: Holds,
}

/// Whether the buckets of an order are a shard of their own.
enum CutOff {
    Done,
    Waits(String),
    /// They can never be, as the layout is now.
    Never(String),
}

/// What one round looks at.
struct View<'a> {
    map: &'a ShardMap,
    places: &'a Places,
    cool: BTreeSet<Shard>,
}

/// Shards that orders under way claim, in a picture of them.
pub fn claimed<'a>(orders: impl Iterator<Item = &'a ShardMove>) -> BTreeSet<Shard> {
    let open = orders.filter(|order| !order.status.phase.is_final());
    open.flat_map(|order| order.status.progress.iter().flat_map(|row| row.shards.iter())).collect()
}

// === impl ShardMoves ===

impl Rounds for ShardMoves {
    const WORK: &'static str = "carry out shard moves";

    fn wakes(&mut self) -> (&mut Shared, &mut Leadership) {
        (&mut self.shared, &mut self.leadership)
    }

    async fn round(&mut self) -> Result<bool, client::Error> {
        let health = self.shared.health.borrow_and_update().clone();
        let Some(map) = self.shared.picture.map() else { return Ok(false) };
        let orders = self.shared.picture.shard_moves();
        if !orders.synced {
            return Ok(false);
        }
        let now = self.shared.clock.now();
        self.holds.observe(&map.status, now);
        if !health.fresh {
            self.holds.forget(now);
            return Ok(true);
        }
        let mut open: Vec<_> =
            orders.iter().filter(|order| !order.status.phase.is_final()).collect();
        open.sort_by_key(|order| {
            (order.metadata.creation_timestamp.clone(), order.name().to_owned())
        });
        let bound = |shard: Shard| {
            let order = open.iter().find(|order| claims(order, shard));
            order.map_or(ShardMoveSpec::default().hold_ms, |order| order.spec.hold_ms)
        };
        let leads = self.leadership.leads();
        let patience_ms = if leads { 0 } else { TAKEOVER_MS };
        let overdue = self.holds.overdue(|shard| bound(shard) + patience_ms, now);
        let places = self.shared.picture.places(&health);
        if !overdue.is_empty() {
            self.take_back(&overdue, &places).await?;
        }
        if leads {
            let view = View { map: &map.status, places: &places, cool: self.holds.cool() };
            let mut taken = BTreeSet::new();
            for order in &open {
                self.step(order, &view, &taken, &health).await?;
                taken.extend(claimed(std::iter::once(&***order)));
            }
            self.tidy(orders.iter().map(|order| &**order)).await?;
        }
        Ok(self.holds.waits())
    }
}

impl ShardMoves {
    pub fn new(shared: Shared, leadership: Leadership) -> ShardMoves {
        let objects = shared.client.federation().all();
        ShardMoves { shared, leadership, objects, holds: Holds::default() }
    }

    /// Sends holds that last back where they came from. Where that is not fit
    /// either, they stay: `stuck` and failover find another.
    async fn take_back(
        &self,
        overdue: &BTreeSet<(Shard, Epoch)>,
        places: &Places,
    ) -> Result<(), client::Error> {
        let fit = |unit: &_| places.get(unit).is_some_and(|place| place.alive && place.ready);
        let plan = |map: &resources::ShardMapObject| {
            shard_map::retarget(&map.status, overdue, |from, _| {
                from.filter(|from| fit(from)).cloned()
            })
        };
        let Some(plan) = self.shared.maps.commit(plan).await? else { return Ok(()) };
        self.shared.metrics.holds_reverted.add(plan.steps.len());
        for (unit, shards) in crate::failover::by_unit(&plan) {
            tracing::warn!(unit, %shards, "held for too long, back");
            let message = format!("shards {shards} come back: their move did not end in its bound");
            self.shared.recorder.warn(Reason::ShardsReverted, "Unit", &unit, message);
        }
        Ok(())
    }

    /// One round of one order.
    async fn step(
        &self,
        order: &ShardMove,
        view: &View<'_>,
        taken: &BTreeSet<Shard>,
        health: &Health,
    ) -> Result<(), client::Error> {
        let mut next = order.clone();
        let mut progress = progress_of(&order.status.progress);
        let generation = order.metadata.generation.unwrap_or(1);
        if order.status.observed_generation != generation {
            match self.cut_off(&order.spec, view, taken).await? {
                CutOff::Done => {}
                CutOff::Waits(why) => {
                    next.status.message = why;
                    return self.write(order, next, &progress).await;
                }
                CutOff::Never(why) => {
                    next.status.phase = MovePhase::Failed;
                    next.status.message = why;
                    next.status.observed_generation = generation;
                    return self.write(order, next, &progress).await;
                }
            }
            // The plan is durable before anything follows from it; the news of
            // it wakes us.
            plan(&mut next, &mut progress, view, taken, generation);
            return self.write(order, next, &progress).await;
        }
        let mut events = progress.observe(view.map);
        let intended = match progress.next(view.map, view.places, &view.cool) {
            Next::Intend(batch) => {
                let shards: ShardSet = batch.iter().map(|(shard, _)| *shard).collect();
                next.status.message = format!("moving {shards}");
                let intents = |map: &resources::ShardMapObject| {
                    // Judged again before every try.
                    let current = self.shared.health.borrow().fresh && health.fresh;
                    let moves = batch.iter().map(|(shard, to)| (*shard, to));
                    current.then(|| shard_map::move_planned(&map.status, moves)).flatten()
                };
                self.shared.maps.commit(intents).await?
            }
            Next::Wait(why) => {
                next.status.message = why.to_string();
                None
            }
            Next::Done => {
                self.finish(&mut next, &progress).await?;
                None
            }
        };
        if let Some(plan) = intended {
            self.shared.metrics.shards_moved.add(plan.steps.len());
            events.extend(progress.observe(&plan.map));
        }
        remember(&mut next, &events);
        self.write(order, next, &progress).await
    }

    /// Makes a shard of the buckets that an order names, and gives it a home; says
    /// what is still to come. Nothing is remembered: the layout shows whether it was
    /// done, and the homes whether the part has one.
    ///
    /// The home is the one that its shard has, and the order is planned only once it
    /// is written. So a crash in between leaves a part without a home, which nobody
    /// sends anywhere, and an order that goes on from here.
    async fn cut_off(
        &self,
        order: &ShardMoveSpec,
        view: &View<'_>,
        taken: &BTreeSet<Shard>,
    ) -> Result<CutOff, client::Error> {
        let Some(buckets) = order.buckets else { return Ok(CutOff::Done) };
        let whole = view.map.layout.shard_of(buckets.first());
        match shard_map::split(view.map, buckets) {
            Err(unfit) if unfit.is_for_good() => Ok(CutOff::Never(unfit.to_string())),
            Err(unfit) => Ok(CutOff::Waits(unfit.to_string())),
            // Another order has split them off.
            Ok(Some(_)) if !order.shards.contains(whole) => {
                Ok(CutOff::Never(format!("buckets {buckets} are of shard {whole}")))
            }
            Ok(Some(_)) if taken.contains(&whole) => {
                Ok(CutOff::Waits(format!("shard {whole} is claimed by an earlier move")))
            }
            Ok(Some(_)) => {
                let plan = |map: &resources::ShardMapObject| {
                    shard_map::split(&map.status, buckets).ok().flatten()
                };
                if let Some(plan) = self.shared.maps.commit(plan).await? {
                    let part = plan.map.layout.shard_of(buckets.first());
                    let version = plan.map.version;
                    tracing::info!(shard = %whole, %part, %buckets, %version, "shard split");
                    let message = format!("buckets {buckets} of shard {whole} are shard {part}");
                    self.shared.recorder.inform(
                        Reason::ShardSplit,
                        "ShardMap",
                        resources::SHARD_MAP_NAME,
                        message,
                    );
                }
                // The news of it wakes us.
                Ok(CutOff::Waits(format!("buckets {buckets} leave shard {whole}")))
            }
            Ok(None) => {
                let spec = self.shared.maps.read().await?.spec;
                let home = order.shards.iter().find_map(|named| spec.home_of(named));
                if let Some(home) = home.filter(|_| spec.home_of(whole).is_none()) {
                    let homes = [(home.clone(), vec![whole])].into();
                    self.shared.maps.rehome(&homes).await?;
                }
                Ok(CutOff::Done)
            }
        }
    }

    /// What has arrived belongs there from now on; only then is it said to be
    /// over, since after that nothing keeps shards from going home.
    async fn finish(
        &self,
        order: &mut ShardMove,
        progress: &Progress,
    ) -> Result<(), client::Error> {
        let arrived = progress.arrived();
        self.shared.maps.rehome(&arrived).await?;
        let given_up = progress.count(MoveState::GivenUp);
        order.status.phase = if given_up == 0 { MovePhase::Succeeded } else { MovePhase::Failed };
        order.status.message = match given_up {
            0 => match order.spec.buckets {
                Some(buckets) if progress.traces.is_empty() => {
                    format!("buckets {buckets} are a shard of their own")
                }
                _ => format!("{} shards moved", progress.count(MoveState::Moved)),
            },
            _ => {
                let left = progress.traces.iter();
                let left = left.filter(|(_, trace)| trace.state == MoveState::GivenUp);
                let shards: ShardSet = left.map(|(shard, _)| *shard).collect();
                format!("shards {shards} went back too often and stay where they were")
            }
        };
        for (unit, shards) in arrived {
            let shards: ShardSet = shards.into_iter().collect();
            let message = format!("shards {shards} moved here by {}", order.name());
            self.shared.recorder.inform(Reason::ShardsMoved, "Unit", unit.as_str(), message);
        }
        tracing::info!(order = order.name(), phase = ?order.status.phase, "shard move ended");
        Ok(())
    }

    async fn write(
        &self,
        before: &ShardMove,
        mut after: ShardMove,
        progress: &Progress,
    ) -> Result<(), client::Error> {
        let count = |number| u32::try_from(number).expect("there are few shards");
        after.status.total = count(progress.traces.len());
        after.status.moved = count(progress.count(MoveState::Moved));
        after.status.progress = rows_of(progress);
        if after.status == before.status {
            return Ok(());
        }
        match self.objects.update_status(&after).await {
            Err(error) if error.is_not_found() => Ok(()),
            written => written.map(drop),
        }
    }

    /// Deletes the oldest of too many finished orders.
    async fn tidy(&self, orders: impl Iterator<Item = &ShardMove>) -> Result<(), client::Error> {
        let mut finished: Vec<_> = orders.filter(|order| order.status.phase.is_final()).collect();
        finished.sort_by_key(|order| order.metadata.creation_timestamp.clone());
        let surplus = finished.len().saturating_sub(FINISHED_MAX);
        for order in &finished[..surplus] {
            self.objects.delete(order.name(), &DeleteOptions::default()).await?;
        }
        Ok(())
    }
}

fn claims(order: &ShardMove, shard: Shard) -> bool {
    order.status.progress.iter().any(|row| row.shards.contains(shard))
}

/// Makes the plan of an order, or says why there is none.
fn plan(
    order: &mut ShardMove,
    progress: &mut Progress,
    view: &View<'_>,
    taken: &BTreeSet<Shard>,
    generation: i64,
) {
    let legs = match select(&order.spec, view.map, view.places) {
        Ok(legs) => legs,
        Err(unfit) => {
            order.status.message = unfit.to_string();
            return;
        }
    };
    if let Some(leg) = legs.iter().find(|leg| taken.contains(&leg.shard)) {
        order.status.message = format!("shard {} is claimed by an earlier move", leg.shard);
        return;
    }
    progress.take(legs);
    order.status.observed_generation = generation;
    order.status.phase = MovePhase::Moving;
    order.status.message = "planned".into();
}

fn progress_of(rows: &[MoveProgress]) -> Progress {
    let traces = rows.iter().flat_map(|row| {
        let MoveProgress { shards, from, to, state, epoch, reverts } = row.clone();
        let trace = Trace { from, to, state, epoch, reverts };
        shards.iter().map(|shard| (shard, trace.clone())).collect::<Vec<_>>()
    });
    Progress { traces: traces.collect() }
}

fn rows_of(progress: &Progress) -> Vec<MoveProgress> {
    let mut groups = Vec::<(&Trace, Vec<Shard>)>::new();
    for (shard, trace) in &progress.traces {
        match groups.iter_mut().find(|(known, _)| *known == trace) {
            Some((_, shards)) => shards.push(*shard),
            None => groups.push((trace, vec![*shard])),
        }
    }
    let row = |(trace, shards): (&Trace, Vec<Shard>)| {
        let Trace { from, to, state, epoch, reverts } = trace.clone();
        MoveProgress { shards: shards.into_iter().collect(), from, to, state, epoch, reverts }
    };
    groups.into_iter().map(row).collect()
}

/// Writes what happened into the order's history, shards of the same fate in
/// one row.
fn remember(order: &mut ShardMove, events: &[Event]) {
    let at = Timestamp::now().to_string();
    let mut rows = Vec::<(&Event, Vec<Shard>)>::new();
    for event in events {
        let same = |(known, _): &&mut (&Event, Vec<Shard>)| {
            (known.epoch, known.state, &known.unit) == (event.epoch, event.state, &event.unit)
        };
        match rows.iter_mut().find(same) {
            Some((_, shards)) => shards.push(event.shard),
            None => rows.push((event, vec![event.shard])),
        }
    }
    let rows = rows.into_iter().map(|(event, shards)| MoveEvent {
        at: at.clone(),
        shards: shards.into_iter().collect(),
        epoch: event.epoch,
        state: event.state,
        unit: event.unit.clone(),
        reason: reason(event.state).into(),
    });
    let history = &mut order.status.history;
    history.extend(rows);
    history.drain(..history.len().saturating_sub(HISTORY_MAX));
}

fn reason(state: MoveState) -> &'static str {
    match state {
        MoveState::Waiting => "another unit serves it",
        MoveState::Holding => "intent published, requests are held",
        MoveState::Moved => "fence raised, serving published",
        MoveState::Elsewhere => {
            "on its way to another unit: the hold did not end in time, or a failover"
        }
        MoveState::GivenUp => "went back too often",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(rows: Vec<MoveProgress>) -> ShardMove {
        let mut order =
            ShardMove::new(resources::Metadata::named("move-1"), ShardMoveSpec::default());
        order.status.progress = rows;
        order
    }

    fn row(shards: &str, state: MoveState) -> MoveProgress {
        MoveProgress {
            shards: shards.parse().expect("shards"),
            from: "rz01".parse().expect("a name"),
            to: "rz03".parse().expect("a name"),
            state,
            epoch: Epoch(2),
            reverts: 1,
        }
    }

    #[test]
    fn progress_is_kept_in_the_status_and_read_back_the_same() {
        let rows = vec![row("00-04,07", MoveState::Moved), row("05", MoveState::Waiting)];
        let progress = progress_of(&rows);
        assert_eq!(progress.traces.len(), 7);
        assert_eq!(rows_of(&progress), rows);
    }

    #[test]
    fn an_order_claims_its_shards_until_it_is_over() {
        let mut order = order(vec![row("00-04", MoveState::Moved)]);
        assert_eq!(claimed(std::iter::once(&order)).len(), 5);
        order.status.phase = MovePhase::Failed;
        assert!(claimed(std::iter::once(&order)).is_empty());
    }

    #[test]
    fn history_says_once_what_happened_to_many_and_is_bounded() {
        let mut order = order(Vec::new());
        let event = |number, epoch| Event {
            shard: Shard::new(number).expect("a shard"),
            epoch: Epoch(epoch),
            state: MoveState::Holding,
            unit: "rz03".parse().expect("a name"),
        };
        remember(&mut order, &[event(1, 2), event(2, 2), event(3, 5)]);
        let shown: Vec<_> = order.status.history.iter().map(|row| row.shards.to_string()).collect();
        assert_eq!(shown, ["01-02", "03"]);
        for epoch in 0..HISTORY_MAX as u64 {
            remember(&mut order, &[event(1, epoch)]);
        }
        assert_eq!(order.status.history.len(), HISTORY_MAX);
    }
}
