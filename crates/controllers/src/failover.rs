//! Proposing a failover: as soon as a center is lost by evidence, its units'
//! shards become Moving to their successors.
//!
//! Every center does this on its own, from warm caches; the first to commit
//! wins, the others then find nothing left to do.

use std::{collections::BTreeMap, time::Duration};

use planner::{center::STALL_MS, shard_map, unit::successor};
use rt::{Millis, backoff::Backoff, random::Random};
use topology::ShardSet;

use crate::{center::Health, events::Reason, role::Shared};

const RETRY_FIRST: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_millis(500);

pub struct Failover {
    shared: Shared,
}

// === impl Failover ===

impl Failover {
    pub fn new(shared: Shared) -> Failover {
        Failover { shared }
    }

    pub async fn run(mut self) {
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MAX, Random::from_entropy());
        loop {
            let health = self.shared.health.borrow_and_update().clone();
            self.shared.metrics.suspects.set(health.suspects.len() as u64);
            self.shared.metrics.lost.set(health.lost.len() as u64);
            let failed = match self.propose(&health).await {
                Ok(()) => {
                    backoff.reset();
                    false
                }
                Err(error) => {
                    tracing::warn!(%error, "propose failover");
                    true
                }
            };
            tokio::select! {
                _ = self.shared.health.changed() => {}
                () = self.shared.picture.changed() => {}
                () = tokio::time::sleep(backoff.step()), if failed => {}
            }
        }
    }

    async fn propose(&self, health: &Health) -> Result<(), client::Error> {
        if !health.fresh || health.lost.is_empty() {
            return Ok(());
        }
        let Shared { picture, maps, clock, metrics, recorder, .. } = &self.shared;
        let started = clock.now();
        let lost = picture.units_in(&health.lost);
        let places = picture.places(health);
        // Asked before every try. When it no longer holds, its next change or
        // the map that was faster wakes us.
        let plan = |map: &resources::ShardMapObject| {
            if !self.holds(health, started) {
                return None;
            }
            shard_map::fail_over(&map.status, &lost, |unit, _| successor(&places, unit))
        };
        let Some(plan) = maps.commit(plan).await? else { return Ok(()) };

        let decide_ms = clock.now().since(started);
        metrics.shards_failed_over.add(plan.steps.len());
        metrics.detect_ms.set(health.silence_ms);
        metrics.decide_ms.set(decide_ms);
        let shards: ShardSet = plan.steps.iter().map(|step| step.shard).collect();
        let version = plan.map.version;
        tracing::info!(
            lost = ?health.lost, %shards, %version, detect_ms = health.silence_ms, decide_ms,
            "failover committed"
        );
        for center in &health.lost {
            let silence = health.silence_ms;
            let message = format!("no answer for {silence} ms, seen from two or more cities");
            recorder.warn(Reason::CenterLost, "Center", center.as_str(), message);
        }
        for (unit, shards) in by_unit(&plan) {
            let message = format!("takes over shards {shards} (map version {version})");
            recorder.warn(Reason::Failover, "Unit", &unit, message);
        }
        Ok(())
    }

    /// Whether the evidence of a decision that was begun at `started` stands.
    fn holds(&self, judged: &Health, started: Millis) -> bool {
        let Shared { health, looked, clock, .. } = &self.shared;
        is_current(started, *looked.borrow(), clock.now()) && health.borrow().confirms(judged)
    }
}

/// Whether no time has passed at `now` that nobody watched: neither since the
/// decision was begun nor since the watchman was awake.
fn is_current(started: Millis, looked: Millis, now: Millis) -> bool {
    now.since(started.min(looked)) <= STALL_MS
}

/// Shards of a plan by the unit that gets them.
pub fn by_unit(plan: &shard_map::Plan) -> Vec<(String, ShardSet)> {
    let mut units = BTreeMap::<_, Vec<_>>::new();
    for step in &plan.steps {
        units.entry(&step.unit).or_default().push(step.shard);
    }
    let named = units.into_iter();
    named.map(|(unit, shards)| (unit.to_string(), shards.into_iter().collect())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(fresh: bool, lost: &[&str]) -> Health {
        let lost = lost.iter().map(|name| name.parse().expect("a name")).collect();
        Health { fresh, lost, ..Health::default() }
    }

    #[test]
    fn evidence_is_void_after_a_stall_or_once_a_center_answers_again() {
        let judged = health(true, &["east-1", "east-2"]);
        assert!(judged.confirms(&judged));
        assert!(health(true, &["east-1", "east-2", "west-1"]).confirms(&judged));
        assert!(!health(true, &["east-1"]).confirms(&judged));
        assert!(!health(false, &["east-1", "east-2"]).confirms(&judged));

        let now = Millis(10_000);
        let (edge, before) = (Millis(now.0 - STALL_MS), Millis(now.0 - STALL_MS - 1));
        assert!(is_current(edge, edge, now));
        assert!(!is_current(before, now, now), "the decision is old");
        assert!(!is_current(now, before, now), "nobody was awake");
    }
}
