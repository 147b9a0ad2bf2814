//! Watching the other centers: probes in, [`Health`] and observations out.
//!
//! The rules are `planner::center`'s; here is the loop that feeds them. Answers
//! that have arrived are told before time is, so that a wait of our own is not
//! taken for theirs.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use planner::center::{Judgement, PROBE_INTERVAL_MS, Reports, Tower};
use resources::Observation;
use rt::{Clock, Millis};
use tokio::{
    sync::{mpsc, watch},
    time::MissedTickBehavior,
};
use topology::{CenterName, CityName};

use crate::{
    picture::Picture,
    prober::{Answer, Heard, Prober, Probing},
};

/// Answers that wait to be told: one probe per center is under way at a time.
const ANSWERS_MAX: usize = 64;

/// What is known of the other centers now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// We have watched for a whole window; without it nothing may be decided.
    pub fresh: bool,
    pub me: Option<CenterName>,
    pub heard: BTreeSet<CenterName>,
    pub suspects: BTreeSet<CenterName>,
    /// While there are suspects: who else has not answered for half the window.
    pub quiet: BTreeSet<CenterName>,
    /// Lost by evidence from two cities.
    pub lost: BTreeSet<CenterName>,
    /// Too much evidence at once to act on.
    pub withheld: BTreeSet<CenterName>,
    /// Half of the centers or more, suspected by us without evidence.
    pub unsure: BTreeSet<CenterName>,
    /// Those of all that seem to be paused only.
    pub mute: BTreeSet<CenterName>,
    /// Since when each suspect has not answered.
    pub silent_since: BTreeMap<CenterName, Millis>,
    /// Silence of those that are lost, in milliseconds, when they were judged.
    pub silence_ms: u64,
}

pub type Seen = BTreeMap<CenterName, Observation>;

pub struct Watchman {
    me: CenterName,
    clock: Clock,
    picture: Picture,
    health: watch::Sender<Arc<Health>>,
    looked: watch::Sender<Millis>,
    seen: watch::Sender<Seen>,
}

/// What the watchman tells.
pub struct Sights {
    pub health: watch::Receiver<Arc<Health>>,
    /// When the watchman was last awake: to be read, not waited for.
    pub looked: watch::Receiver<Millis>,
    pub seen: watch::Receiver<Seen>,
}

/// Who is probed, and where.
type Probes = BTreeMap<CenterName, (String, Probing)>;

// === impl Health ===

impl Health {
    /// Whether the center answers us; we always do.
    pub fn hears(&self, center: &CenterName) -> bool {
        self.me.as_ref() == Some(center) || self.heard.contains(center)
    }

    /// Those that look lost, whether that may move anything by itself or not.
    pub fn look_lost(&self) -> BTreeSet<CenterName> {
        self.lost.iter().chain(&self.withheld).chain(&self.unsure).cloned().collect()
    }

    /// Whether what looked lost at some time still does, by the judgement of
    /// now.
    pub fn confirms(&self, looked_lost: &BTreeSet<CenterName>) -> bool {
        self.fresh && looked_lost.is_subset(&self.look_lost())
    }
}

// === impl Watchman ===

impl Watchman {
    pub fn new(me: CenterName, clock: Clock, picture: Picture) -> (Watchman, Sights) {
        let (health, health_seen) = watch::channel(Arc::default());
        let (looked, last_look) = watch::channel(clock.now());
        let (seen, seen_by_us) = watch::channel(Seen::new());
        let sights = Sights { health: health_seen, looked: last_look, seen: seen_by_us };
        (Watchman { me, clock, picture, health, looked, seen }, sights)
    }

    pub async fn run(mut self, prober: Prober) {
        let (sender, mut answers) = mpsc::channel(ANSWERS_MAX);
        let mut tower = Tower::new(self.me.clone(), self.clock.now());
        let mut probes = Probes::new();
        // Never put off by answers, so that a stall of our own is noticed.
        let mut ticks = tokio::time::interval(Duration::from_millis(PROBE_INTERVAL_MS));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let suspicion = self.until_suspicion(&tower);
            let mut look = true;
            tokio::select! {
                biased;
                answer = answers.recv() => {
                    // Most answers only say that all is as before.
                    look = tell(&mut tower, &answer.expect("we hold a sender"));
                }
                () = self.picture.changed() => {
                    self.set_peers(&mut tower, &mut probes, &prober, &sender);
                }
                () = suspicion => {}
                _ = ticks.tick() => {}
            }
            while let Ok(answer) = answers.try_recv() {
                look |= tell(&mut tower, &answer);
            }
            // Every wake shows that we are awake; few need a judgement.
            let now = self.clock.now();
            look |= tower.tick(now);
            self.looked.send_replace(now);
            if look {
                self.look(&mut tower, now);
            }
        }
    }

    /// Ends when the next suspicion could arise.
    fn until_suspicion(&self, tower: &Tower) -> impl Future<Output = ()> + use<> {
        let now = self.clock.now();
        let pause = tower.next_suspicion().map(|at| Duration::from_millis(at.since(now).max(1)));
        async move {
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => std::future::pending().await,
            }
        }
    }

    fn set_peers(
        &self,
        tower: &mut Tower,
        probes: &mut Probes,
        prober: &Prober,
        sender: &mpsc::Sender<Answer>,
    ) {
        let centers = self.picture.centers();
        let mut wanted = BTreeMap::new();
        for center in centers.iter() {
            match center.center() {
                Ok(name) if name == self.me => {}
                Ok(name) => {
                    wanted.insert(name, &center.spec);
                }
                Err(error) => tracing::debug!(%error, "center object is ignored"),
            }
        }
        let peers = wanted.iter().map(|(name, spec)| (name.clone(), spec.city.clone()));
        tower.set_peers(peers, self.clock.now());
        probes.retain(|name, (address, _)| {
            wanted.get(name).is_some_and(|spec| spec.api_address == *address)
        });
        for (name, spec) in wanted {
            let address = spec.api_address.clone();
            probes.entry(name.clone()).or_insert_with(|| {
                let probing = prober.start(name, address.clone(), sender.clone());
                (address, probing)
            });
        }
    }

    fn look(&self, tower: &mut Tower, now: Millis) {
        let seen = tower.observations();
        let judgement = self.judge(tower, &seen, now);
        self.seen.send_if_modified(|before| replace(before, &seen));

        let before = self.health.borrow().clone();
        let fresh = judgement.is_some();
        let Judgement { lost, withheld, unsure, mute } = judgement.unwrap_or_default();
        let since = |center: &CenterName| Some((center.clone(), tower.silent_since(center)?));
        let suspects: BTreeSet<_> = seen
            .iter()
            .filter(|(_, seen)| seen.is_suspicion())
            .map(|(name, _)| name.clone())
            .collect();
        let silent_since: BTreeMap<_, _> = suspects.iter().filter_map(since).collect();
        let silence = lost.iter().filter_map(|center| silent_since.get(center));
        let silence = silence.map(|since| now.since(*since)).min();
        let silence_ms = match lost.is_subset(&before.lost) {
            true => before.silence_ms,
            false => silence.unwrap_or(0),
        };
        let health = Health {
            fresh,
            me: Some(self.me.clone()),
            heard: seen.keys().filter(|name| !suspects.contains(*name)).cloned().collect(),
            suspects,
            quiet: tower.quiet(now),
            lost,
            withheld,
            unsure,
            mute,
            silent_since,
            silence_ms,
        };
        if health != *before {
            report(&before, &health);
            self.health.send_replace(Arc::new(health));
        }
    }

    fn judge(&self, tower: &mut Tower, seen: &Seen, now: Millis) -> Option<Judgement> {
        let city = self.city()?;
        // Most of the time there is nothing to judge, and no need to gather.
        let anyone = seen.values().any(|seen| seen.is_suspicion());
        let reports = if anyone { self.reports() } else { Reports::new() };
        tower.judge(&city, &reports, now)
    }

    fn city(&self) -> Option<CityName> {
        Some(self.picture.center(&self.me)?.spec.city.clone())
    }

    fn reports(&self) -> Reports {
        let centers = self.picture.centers();
        let others = centers.iter().filter_map(|center| {
            let name = center.center().ok().filter(|name| *name != self.me)?;
            Some((name, center.status.observations.clone()))
        });
        others.collect()
    }
}

/// True when something looks different by this answer.
fn tell(tower: &mut Tower, answer: &Answer) -> bool {
    match answer.heard {
        Heard::Answered { sent, received } => tower.answered(&answer.center, sent, received),
        Heard::Knocked { taken, at } => tower.knocked(&answer.center, taken, at),
    }
}

fn replace<T: Clone + PartialEq>(before: &mut T, after: &T) -> bool {
    let changes = before != after;
    if changes {
        *before = after.clone();
    }
    changes
}

fn report(before: &Health, after: &Health) {
    for center in after.suspects.difference(&before.suspects) {
        tracing::info!(%center, "center does not answer");
    }
    for center in before.suspects.difference(&after.suspects) {
        tracing::info!(%center, "center answers again");
    }
    if !after.unsure.is_subset(&before.unsure) {
        tracing::warn!(
            code = %errors::LOSS_WITHHELD,
            centers = ?after.unsure,
            "half of the centers or more do not answer us, and too few others confirm it. {}",
            errors::LOSS_WITHHELD.remedy()
        );
    }
    if !after.withheld.is_subset(&before.withheld) {
        tracing::error!(
            code = %errors::LOSS_WITHHELD,
            centers = ?after.withheld,
            "half of the centers or more look lost at once; nothing is moved. {}",
            errors::LOSS_WITHHELD.remedy()
        );
    }
}
