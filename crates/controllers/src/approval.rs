//! Asking a person, by the leader: centers that look lost and that the policy
//! does not let move by themselves get a `Failover`, which says what would
//! happen. Approved, it is carried out by `failover` in any center; when the
//! centers answer again first, it is withdrawn.

use std::collections::{BTreeMap, BTreeSet};

use client::{DeleteOptions, Leadership, Objects, k8s_openapi::jiff::Timestamp};
use planner::{
    failover::{Wait, loads, steps},
    shard_map,
    takeover::Takeover,
};
use resources::{
    Evidence, Failover, FailoverPhase, FailoverSpec, FailoverStatus, Metadata, ShardMapObject,
};
use rt::random::Random;
use topology::{CenterName, CityName};

use crate::{
    center::Health,
    events::Reason,
    failover::{said, verdicts},
    pace::Pace,
    role::Shared,
    rounds::Rounds,
};

/// Records that are kept once they are over.
const FINISHED_MAX: usize = 100;

pub struct Approvals {
    shared: Shared,
    leadership: Leadership,
    pace: Pace,
    objects: Objects<Failover>,
}

/// Centers that are judged as one: of a city, or all of a majority.
type Group = (Option<CityName>, Evidence);

// === impl Approvals ===

impl Rounds for Approvals {
    const WORK: &'static str = "ask for approval of a failover";

    fn wakes(&mut self) -> (&mut Shared, &mut Leadership) {
        (&mut self.shared, &mut self.leadership)
    }

    async fn round(&mut self) -> Result<bool, client::Error> {
        let health = self.shared.health.borrow_and_update().clone();
        let records = self.shared.picture.failovers();
        self.pace.observe(&records, self.shared.clock.now(), Timestamp::now());
        let Some(map) = self.shared.picture.map() else { return Ok(false) };
        if !self.leadership.leads() || !health.fresh || !records.synced {
            return Ok(false);
        }
        let verdicts = verdicts(&self.shared, &health, &self.pace);
        let open: Vec<_> = records.iter().filter(|one| !one.status.phase.is_final()).collect();
        let mut asked = BTreeSet::new();
        for record in &open {
            asked.extend(record.spec.centers.iter().cloned());
            let wait = record.spec.centers.iter().find_map(|center| verdicts.get(center)?.wait);
            self.follow(record, &map, &health, wait).await?;
        }
        let mut groups = BTreeMap::<Group, Vec<CenterName>>::new();
        for (center, verdict) in &verdicts {
            let askable = matches!(verdict.wait, Some(Wait::Approval | Wait::TooSoon { .. }));
            if askable && !asked.contains(center) {
                let majority = verdict.evidence == Evidence::Majority;
                let city = self.shared.picture.center(center).map(|found| found.spec.city.clone());
                let group = (city.filter(|_| !majority), verdict.evidence);
                groups.entry(group).or_default().push(center.clone());
            }
        }
        for ((_, evidence), centers) in groups {
            self.ask(centers, evidence, &map, &health).await?;
        }
        self.tidy(records.iter().map(|one| &**one)).await?;
        // Those that wait for time alone are looked at again.
        Ok(verdicts.values().any(|verdict| verdict.wait.is_some_and(|w| w.left_ms().is_some())))
    }
}

impl Approvals {
    pub fn new(shared: Shared, leadership: Leadership) -> Approvals {
        let objects = shared.client.federation().all();
        Approvals { shared, leadership, pace: Pace::default(), objects }
    }

    async fn ask(
        &self,
        centers: Vec<CenterName>,
        evidence: Evidence,
        map: &ShardMapObject,
        health: &Health,
    ) -> Result<(), client::Error> {
        let status = self.effect(&centers, map, health);
        if status.plan.is_empty() {
            return Ok(());
        }
        let first = centers.first().expect("a group has a center");
        // A center may look lost more than once while the map stays the same.
        let name =
            format!("failover-{first}-{:06x}", Random::from_entropy().next_u64() & 0xff_ffff);
        let spec = FailoverSpec { centers, evidence, approved: false };
        let created = self.objects.create(&Failover::new(Metadata::named(&name), spec)).await?;
        let code = errors::FAILOVER_WAITS;
        let loads: Vec<_> =
            status.loads.iter().map(|load| format!("{}{}", load.unit, said(load))).collect();
        let loads = loads.join("; ");
        tracing::warn!(%code, name, ?evidence, loads, "a failover waits. {}", code.remedy());
        for center in &created.spec.centers {
            let message = format!("looks lost ({evidence:?}); {name} waits for approval: {loads}");
            self.shared.recorder.warn(Reason::FailoverWaits, "Center", center.as_str(), message);
        }
        self.objects.update_status(&Failover { status, ..created }).await.map(drop)
    }

    /// Brings a record that is open up to date.
    async fn follow(
        &self,
        record: &Failover,
        map: &ShardMapObject,
        health: &Health,
        wait: Option<Wait>,
    ) -> Result<(), client::Error> {
        let centers: BTreeSet<_> = record.spec.centers.iter().cloned().collect();
        let still_lost = centers.iter().any(|center| health.look_lost().contains(center));
        let units = self.shared.picture.units_in(&centers);
        let empty = units.iter().all(|unit| map.status.of_unit(unit).next().is_none());
        let before = &record.status;
        let over = |phase, message: &str| FailoverStatus {
            phase,
            message: message.into(),
            ..before.clone()
        };
        let status = if empty {
            let message = if record.spec.approved { "approved, and moved" } else { "moved" };
            over(FailoverPhase::Done, message)
        } else if !still_lost {
            over(FailoverPhase::Withdrawn, "the centers answer again")
        } else {
            let wait = wait.map_or_else(|| "approved".to_owned(), |wait| wait.to_string());
            FailoverStatus { message: wait, ..self.effect(&record.spec.centers, map, health) }
        };
        // How long ago the last one was is no news.
        let same = status.message.starts_with("the failover before")
            && (&status.plan, &status.loads) == (&before.plan, &before.loads)
            && before.message.starts_with("the failover before");
        if same || status == *before {
            return Ok(());
        }
        let next = Failover { status, ..record.clone() };
        self.objects.update_status(&next).await.map(drop)
    }

    /// What moving these would do now.
    fn effect(
        &self,
        centers: &[CenterName],
        map: &ShardMapObject,
        health: &Health,
    ) -> FailoverStatus {
        let picture = &self.shared.picture;
        let lost = picture.units_in(&centers.iter().cloned().collect());
        let places = picture.places(health);
        let prefer = picture.failover_policy().prefer;
        let mut takeover = Takeover::of(&map.status, &places, prefer);
        let plan = shard_map::fail_over(&map.status, &lost, |unit, _| takeover.next(unit));
        let Some(plan) = plan else { return FailoverStatus::default() };
        FailoverStatus {
            message: Wait::Approval.to_string(),
            plan: steps(&plan),
            loads: loads(&map.status, &plan, &places, prefer),
            ..FailoverStatus::default()
        }
    }

    /// Deletes the oldest of too many that are over.
    async fn tidy(&self, records: impl Iterator<Item = &Failover>) -> Result<(), client::Error> {
        let mut over: Vec<_> = records.filter(|one| one.status.phase.is_final()).collect();
        over.sort_by_key(|one| one.metadata.creation_timestamp.clone());
        let surplus = over.len().saturating_sub(FINISHED_MAX);
        for record in &over[..surplus] {
            self.objects.delete(record.name(), &DeleteOptions::default()).await?;
        }
        Ok(())
    }
}
