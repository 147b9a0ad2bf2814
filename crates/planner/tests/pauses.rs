//! A paused process is not a dead city: five observers with the crate's own
//! rules, of which one process at a time stops for five seconds at any moment
//! and goes on, a thousand times. By a policy that lets pauses pass, nothing
//! moves; by the defaults, at most what stood still.

use std::collections::{BTreeMap, BTreeSet};

use planner::{
    center::{PROBE_INTERVAL_MS, Reports, SUSPECT_AFTER_MS, Tower},
    failover::{Look, Sighting, judge},
};
use resources::{Evidence, FailoverPolicySpec, Observation};
use rt::{Millis, random::Random};
use topology::{CenterName, CityName};

const ESTATE: [(&str, &str); 5] = [
    ("east-1", "east"),
    ("east-2", "east"),
    ("south-1", "south"),
    ("south-2", "south"),
    ("west-1", "west"),
];

const STEP_MS: u64 = 50;
const PAUSE_MS: u64 = 5_000;
const ROUNDS: u64 = 1_000;

/// What the controllers do: a probe that waits so long is followed by a knock.
const KNOCK_AFTER_MS: u64 = 300;
const KNOCK_INTERVAL_MS: u64 = 1_000;

/// Who stands still, and what becomes of those who knock there.
#[derive(Clone, Copy)]
enum Fault {
    Paused(usize),
    /// Nothing can be written down or read.
    StorePaused,
    /// Nobody takes a connection there.
    Silent(usize),
}

struct Observer {
    tower: Tower,
    phase_ms: u64,
    /// Since when each peer's probe waits, and when it is knocked at next.
    waits: BTreeMap<usize, (u64, u64)>,
}

struct World {
    observers: Vec<Observer>,
    /// What each has written down, as it can be read.
    board: Reports,
    now: u64,
}

fn center(at: usize) -> CenterName {
    ESTATE[at].0.parse().expect("a name")
}

fn city(at: usize) -> CityName {
    ESTATE[at].1.parse().expect("a name")
}

// === impl World ===

impl World {
    fn new(random: &mut Random) -> World {
        let observer = |at: usize| {
            let mut tower = Tower::new(center(at), Millis(0));
            let others = (0..ESTATE.len()).filter(|other| *other != at);
            tower.set_peers(others.map(|other| (center(other), city(other))), Millis(0));
            let phase_ms = random.next_u64() % (PROBE_INTERVAL_MS / STEP_MS) * STEP_MS;
            Observer { tower, phase_ms, waits: BTreeMap::new() }
        };
        let observers = (0..ESTATE.len()).map(observer).collect();
        World { observers, board: Reports::new(), now: 0 }
    }

    /// One step; who may be moved in the eyes of whom, and by which evidence.
    fn step(
        &mut self,
        fault: Option<Fault>,
        policy: &FailoverPolicySpec,
    ) -> Vec<(usize, Evidence)> {
        self.now += STEP_MS;
        let mut moved = Vec::new();
        for at in 0..ESTATE.len() {
            if matches!(fault, Some(Fault::Paused(who) | Fault::Silent(who)) if who == at) {
                continue;
            }
            self.probe(at, fault);
            let observer = &mut self.observers[at];
            if (self.now + observer.phase_ms).is_multiple_of(PROBE_INTERVAL_MS) {
                observer.tower.tick(Millis(self.now));
            }
            if !matches!(fault, Some(Fault::StorePaused)) {
                self.board.insert(center(at), observer.tower.observations());
            }
            moved.extend(self.judge(at, policy));
        }
        moved
    }

    fn probe(&mut self, at: usize, fault: Option<Fault>) {
        let (now, observer) = (self.now, &mut self.observers[at]);
        let due = (now + observer.phase_ms).is_multiple_of(PROBE_INTERVAL_MS);
        for other in (0..ESTATE.len()).filter(|other| *other != at) {
            let taken = match fault {
                Some(Fault::Paused(who)) if who == other => Some(true),
                Some(Fault::Silent(who)) if who == other => Some(false),
                _ => None,
            };
            match (taken, observer.waits.get_mut(&other)) {
                // It goes on, and answers what it was asked before.
                (None, Some((sent, _))) => {
                    let sent = Millis(*sent);
                    observer.waits.remove(&other);
                    observer.tower.answered(&center(other), sent, Millis(now));
                }
                (None, None) if due => {
                    observer.tower.answered(&center(other), Millis(now), Millis(now));
                }
                (None, None) => {}
                (Some(_), None) if due => {
                    observer.waits.insert(other, (now, now + KNOCK_AFTER_MS));
                }
                (Some(_), None) => {}
                (Some(taken), Some((sent, knock_at))) => {
                    if now >= *knock_at {
                        *knock_at += KNOCK_INTERVAL_MS;
                        observer.tower.knocked(&center(other), taken, Millis(now));
                    }
                    if now - *sent >= SUSPECT_AFTER_MS {
                        *sent = now;
                    }
                }
            }
        }
    }

    fn judge(&mut self, at: usize, policy: &FailoverPolicySpec) -> Vec<(usize, Evidence)> {
        // As the controllers do: most of the time there is nothing to judge.
        let suspects =
            |seen: &BTreeMap<_, Observation>| seen.values().any(|seen| seen.is_suspicion());
        if !suspects(&self.observers[at].tower.observations()) {
            return Vec::new();
        }
        let others = self.board.iter().filter(|(observer, _)| **observer != center(at));
        let reports = others.map(|(observer, seen)| (observer.clone(), seen.clone())).collect();
        let (now, tower) = (Millis(self.now), &mut self.observers[at].tower);
        let Some(judgement) = tower.judge(&city(at), &reports, now) else { return Vec::new() };
        let all = [&judgement.lost, &judgement.withheld, &judgement.unsure];
        let seen: BTreeMap<_, _> = all
            .into_iter()
            .flatten()
            .map(|center| {
                let since = tower.silent_since(center).expect("it is a suspect");
                let sighting = Sighting {
                    silent_ms: now.since(since),
                    mute: judgement.mute.contains(center),
                    withheld: !judgement.lost.contains(center),
                };
                (center.clone(), sighting)
            })
            .collect();
        let verdicts = judge(&Look {
            policy,
            seen: &seen,
            cities: &(0..ESTATE.len()).map(|at| (center(at), city(at))).collect(),
            approved: &BTreeSet::new(),
            last: None,
        });
        let go = verdicts.into_iter().filter(|(_, verdict)| verdict.wait.is_none());
        let number = |name: &CenterName| ESTATE.iter().position(|(at, _)| *at == name.as_str());
        go.filter_map(|(name, verdict)| Some((number(&name)?, verdict.evidence))).collect()
    }
}

/// What would be moved by a fault that begins at some moment and lasts so long.
fn run(seed: u64, fault: Fault, lasts_ms: u64, policy: &str) -> BTreeSet<(usize, Evidence)> {
    let policy: FailoverPolicySpec = serde_json::from_str(policy).expect(policy);
    let mut random = Random::seeded(seed);
    let mut world = World::new(&mut random);
    let begin = 2_000 + random.next_u64() % 20 * STEP_MS;
    let mut moved = BTreeSet::new();
    while world.now < begin + lasts_ms + 3_000 {
        let there = (begin..begin + lasts_ms).contains(&world.now);
        moved.extend(world.step(there.then_some(fault), &policy));
    }
    let quiet = |report: &BTreeMap<CenterName, Observation>| {
        report.values().all(|seen| *seen == Observation::Alive)
    };
    assert!(world.board.values().all(quiet), "seed {seed}: all is well in the end");
    moved
}

const PATIENT: &str = r#"{"paused": {"afterMs": 10000}}"#;

#[test]
fn a_thousand_pauses_of_any_one_process_move_nothing_where_the_policy_is_patient() {
    for seed in 0..ROUNDS {
        let who = usize::try_from(seed % 6).expect("it is small");
        let fault = if who < ESTATE.len() { Fault::Paused(who) } else { Fault::StorePaused };
        assert_eq!(run(seed, fault, PAUSE_MS, PATIENT), BTreeSet::new(), "seed {seed}");
    }
}

#[test]
fn by_the_defaults_a_pause_moves_what_stood_still_and_is_no_city_s() {
    for seed in 0..ROUNDS / 10 {
        let who = usize::try_from(seed % 5).expect("it is small");
        let moved = run(seed, Fault::Paused(who), PAUSE_MS, "{}");
        assert_eq!(moved, BTreeSet::from([(who, Evidence::Paused)]), "seed {seed}");
        assert!(run(seed, Fault::StorePaused, PAUSE_MS, "{}").is_empty(), "seed {seed}");
    }
}

#[test]
fn the_same_silence_of_a_machine_moves_at_once() {
    for seed in 0..ROUNDS / 10 {
        let west = run(seed, Fault::Silent(4), PAUSE_MS, PATIENT);
        assert_eq!(west, BTreeSet::from([(4, Evidence::City)]), "seed {seed}");
        let east = run(seed, Fault::Silent(0), PAUSE_MS, PATIENT);
        assert_eq!(east, BTreeSet::from([(0, Evidence::Center)]), "seed {seed}");
    }
}
