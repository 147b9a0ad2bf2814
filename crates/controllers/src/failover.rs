//! Proposing a failover: as soon as a center is lost by evidence, and the
//! policy lets that move something, its units' shards become Moving to their
//! successors.
//!
//! Every center does this on its own, from warm caches; the first to commit
//! wins, the others then find nothing left to do. What the policy wants
//! approved is `approval`'s to ask for.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use client::{Objects, k8s_openapi::jiff::Timestamp};
use planner::{
    center::STALL_MS,
    failover::{Look, Sighting, Verdict, judge, loads, steps},
    shard_map,
    takeover::Takeover,
};
use resources::{
    Evidence, Failover as Record, FailoverLoad, FailoverPhase, FailoverSpec, FailoverStatus,
    Metadata,
};
use rt::{Millis, backoff::Backoff, random::Random};
use topology::{CenterName, ShardSet};

use crate::{center::Health, events::Reason, pace::Pace, role::Shared};

const RETRY_FIRST: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_millis(500);

pub struct Failover {
    shared: Shared,
    pace: Pace,
    records: Objects<Record>,
}

pub type Verdicts = BTreeMap<CenterName, Verdict>;

// === impl Failover ===

impl Failover {
    pub fn new(shared: Shared) -> Failover {
        let records = shared.client.federation().all();
        Failover { shared, pace: Pace::default(), records }
    }

    pub async fn run(mut self) {
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MAX, Random::from_entropy());
        loop {
            let health = self.shared.health.borrow_and_update().clone();
            self.shared.metrics.suspects.set(health.suspects.len() as u64);
            self.shared.metrics.lost.set(health.lost.len() as u64);
            let records = self.shared.picture.failovers();
            self.pace.observe(&records, self.shared.clock.now(), Timestamp::now());
            let verdicts = verdicts(&self.shared, &health, &self.pace);
            let pause = match self.propose(&health, &verdicts).await {
                Ok(()) => {
                    backoff.reset();
                    next_look(&verdicts)
                }
                Err(error) => {
                    tracing::warn!(%error, "propose failover");
                    Some(backoff.step())
                }
            };
            tokio::select! {
                _ = self.shared.health.changed() => {}
                () = self.shared.picture.changed() => {}
                () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => {}
            }
        }
    }

    async fn propose(&mut self, health: &Health, verdicts: &Verdicts) -> Result<(), client::Error> {
        let go = verdicts.iter().filter(|(_, verdict)| verdict.wait.is_none());
        let go: BTreeSet<_> = go.map(|(center, _)| center.clone()).collect();
        if !health.fresh || go.is_empty() {
            return Ok(());
        }
        let Shared { picture, maps, clock, metrics, .. } = &self.shared;
        let started = clock.now();
        let lost = picture.units_in(&go);
        let places = picture.places(health);
        let prefer = picture.failover_policy().prefer;
        // Asked before every try. When it no longer holds, its next change or
        // the map that was faster wakes us.
        let plan = |map: &resources::ShardMapObject| {
            if !self.holds(&go, started) {
                return None;
            }
            let mut takeover = Takeover::of(&map.status, &places, prefer);
            shard_map::fail_over(&map.status, &lost, |unit, _| takeover.next(unit))
        };
        let before = picture.map();
        let Some(plan) = maps.commit(plan).await? else { return Ok(()) };

        let decide_ms = clock.now().since(started);
        metrics.shards_failed_over.add(plan.steps.len());
        metrics.detect_ms.set(health.silence_ms);
        metrics.decide_ms.set(decide_ms);
        let shards: ShardSet = plan.steps.iter().map(|step| step.shard).collect();
        let version = plan.map.version;
        tracing::info!(
            lost = ?go, %shards, %version, detect_ms = health.silence_ms, decide_ms,
            "failover committed"
        );
        let before = before.map(|map| map.status.clone()).unwrap_or_default();
        let loads = loads(&before, &plan, &places, prefer);
        self.tell(health, &go, &plan, &loads);
        self.pace.note(&go, clock.now());
        let evidence = verdicts.values().filter(|verdict| verdict.wait.is_none());
        let evidence = evidence.map(|verdict| verdict.evidence).min().expect("one may go");
        self.record(go, evidence, &plan, loads).await;
        Ok(())
    }

    fn tell(
        &self,
        health: &Health,
        lost: &BTreeSet<CenterName>,
        plan: &shard_map::Plan,
        loads: &[FailoverLoad],
    ) {
        let recorder = &self.shared.recorder;
        for center in lost {
            let silence = health.silence_ms;
            let message = format!("no answer for {silence} ms, seen from two or more cities");
            recorder.warn(Reason::CenterLost, "Center", center.as_str(), message);
        }
        let version = plan.map.version;
        for (unit, shards) in by_unit(plan) {
            let load = loads.iter().find(|load| load.unit.as_str() == unit).map(said);
            let load = load.unwrap_or_default();
            let message = format!("takes over shards {shards} (map version {version}){load}");
            recorder.warn(Reason::Failover, "Unit", &unit, message);
        }
    }

    /// Keeps what was done for people to read. The failover does not wait for
    /// it, and a record that got lost only makes the next failover come early.
    /// What an approval asked for has a record already.
    async fn record(
        &self,
        centers: BTreeSet<CenterName>,
        evidence: Evidence,
        plan: &shard_map::Plan,
        loads: Vec<FailoverLoad>,
    ) {
        let open = self.shared.picture.failovers();
        let mut open = open.iter().filter(|record| !record.status.phase.is_final());
        if open.any(|record| record.spec.centers.iter().any(|center| centers.contains(center))) {
            return;
        }
        let name = format!("failover-v{}", plan.map.version);
        let centers = centers.into_iter().collect();
        let spec = FailoverSpec { centers, evidence, approved: false };
        let status = FailoverStatus {
            phase: FailoverPhase::Done,
            message: "moved by its evidence".into(),
            plan: steps(plan),
            loads,
        };
        let written = async {
            let created = self.records.create(&Record::new(Metadata::named(name), spec)).await?;
            self.records.update_status(&Record { status, ..created }).await
        };
        if let Err(error) = written.await {
            tracing::debug!(%error, "keep a record of the failover");
        }
    }

    /// Whether the evidence of a decision that was begun at `started` stands.
    fn holds(&self, acting: &BTreeSet<CenterName>, started: Millis) -> bool {
        let Shared { health, looked, clock, .. } = &self.shared;
        is_current(started, *looked.borrow(), clock.now()) && health.borrow().confirms(acting)
    }
}

/// What the policy says of every center that looks lost.
pub fn verdicts(shared: &Shared, health: &Health, pace: &Pace) -> Verdicts {
    let looks_lost = health.look_lost();
    if !health.fresh || looks_lost.is_empty() || !shared.picture.knows_policy() {
        return Verdicts::new();
    }
    let now = shared.clock.now();
    let sighting = |center: &CenterName| Sighting {
        silent_ms: health.silent_since.get(center).map_or(0, |since| now.since(*since)),
        mute: health.mute.contains(center),
        withheld: !health.lost.contains(center),
    };
    let seen = looks_lost.iter().map(|center| (center.clone(), sighting(center))).collect();
    let centers = shared.picture.centers();
    let cities = centers.iter().filter_map(|center| {
        let name = center.center().ok()?;
        Some((name, center.spec.city.clone()))
    });
    let records = shared.picture.failovers();
    let approved = records
        .iter()
        .filter(|record| record.spec.approved && !record.status.phase.is_final())
        .flat_map(|record| record.spec.centers.iter().cloned());
    judge(&Look {
        policy: &shared.picture.failover_policy(),
        seen: &seen,
        cities: &cities.collect(),
        approved: &approved.collect(),
        last: pace.last(now),
    })
}

/// When time alone lets something happen.
fn next_look(verdicts: &Verdicts) -> Option<Duration> {
    let left = verdicts.values().filter_map(|verdict| verdict.wait?.left_ms());
    left.min().map(|left_ms| Duration::from_millis(left_ms.max(1)))
}

/// `: 40 shards then, 60 if rz05 is lost too`.
pub fn said(load: &FailoverLoad) -> String {
    let another = load
        .another
        .as_ref()
        .map(|unit| format!(", {} if {unit} is lost too", load.shards_if_another_is_lost));
    format!(": {} shards then{}", load.shards_after, another.unwrap_or_default())
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

    fn names(names: &[&str]) -> BTreeSet<CenterName> {
        names.iter().map(|name| name.parse().expect("a name")).collect()
    }

    #[test]
    fn evidence_is_void_after_a_stall_or_once_a_center_answers_again() {
        let health =
            |fresh, lost: &[&str]| Health { fresh, lost: names(lost), ..Health::default() };
        let acting = names(&["east-1", "east-2"]);
        assert!(health(true, &["east-1", "east-2"]).confirms(&acting));
        assert!(health(true, &["east-1", "east-2", "west-1"]).confirms(&acting));
        assert!(!health(true, &["east-1"]).confirms(&acting));
        assert!(!health(false, &["east-1", "east-2"]).confirms(&acting));

        let now = Millis(10_000);
        let (edge, before) = (Millis(now.0 - STALL_MS), Millis(now.0 - STALL_MS - 1));
        assert!(is_current(edge, edge, now));
        assert!(!is_current(before, now, now), "the decision is old");
        assert!(!is_current(now, before, now), "nobody was awake");
    }

    #[test]
    fn a_taker_s_load_is_said_with_that_of_one_more_loss() {
        let mut load = FailoverLoad {
            unit: "rz03".parse().expect("a name"),
            shards_before: 20,
            shards_after: 40,
            shards_if_another_is_lost: 60,
            another: "rz05".parse().ok(),
        };
        assert_eq!(said(&load), ": 40 shards then, 60 if rz05 is lost too");
        load.another = None;
        assert_eq!(said(&load), ": 40 shards then");
    }
}
