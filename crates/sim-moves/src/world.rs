//! The world: steps every machine's clock, a few milliseconds at a time.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
};

use resources::{Evidence, Failover, FailoverPhase, PausedRule, ShardMove};
use rt::random::Random;
use sim::host::Host;
use topology::{Shard, ShardState};
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    Bug, center,
    fault::Faults,
    judge,
    layout::{self, CENTERS, Process, SEATS},
    ledgers,
    net::Net,
    operator::{self, Operator},
    payer::{History, Payer},
    store, wall,
    witness::{Seen, Witness},
};

/// One step at most; within it machines run one after the other.
const STEP_MS_MAX: u64 = 10;

/// In which the estate comes up.
const SETUP_MS: u64 = 60_000;

/// Once all is well, everything must have come to its end after this: a leader
/// that died is followed after 10 s; three holds of 3 s, with 5 s before each
/// next try, end an order, of which there are three, one after the other, in
/// batches.
const CALM_MS: u64 = 180_000;

/// Clocks are wrong by up to half a percent, which is worse than any quartz.
const DRIFT_PPM: u64 = 5_000;

/// And the time of day by up to this much.
const WALL_SKEW_MS: u64 = 2_000;

/// So often is it looked whether all has come to its end.
const LOOK_EVERY_MS: u64 = 500;

/// What is simulated.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub seed: u64,
    pub kind: Kind,
    pub payers: u64,
    /// For so long things go wrong.
    pub stormy_ms: u64,
    pub bug: Option<Bug>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Everything goes wrong, under operators who order moves.
    Storm,
    /// One process at a time stands still for five seconds, and nothing else.
    /// Even seeds have a policy that is patient with that.
    Pauses,
}

/// What came of it.
pub struct Ran {
    pub violations: Vec<String>,
    /// Faults and what became of the map, in order.
    pub told: Vec<(u64, String)>,
    pub seen: Seen,
    pub payments: usize,
    pub acknowledged: usize,
    pub pauses: usize,
    pub virtual_ms: u64,
    /// From the end of the faults until all had come to its end.
    pub settled_ms: u64,
    /// Of all that was written down.
    pub trace: u64,
}

/// Every process's machine.
pub struct Machines {
    net: Net,
    witness: Witness,
    bug: Option<Bug>,
    machines: BTreeMap<Process, Machine>,
}

struct Machine {
    host: Option<Host>,
    paused: bool,
    drift_ppm: i64,
    wall_skew_ms: u64,
}

struct World {
    plan: Plan,
    random: Random,
    now_ms: u64,
    net: Net,
    witness: Witness,
    machines: Machines,
    people: Host,
    history: History,
    faults: Faults,
    stop: Arc<AtomicBool>,
    operators_left: Arc<AtomicBool>,
    payers_left: Arc<AtomicU64>,
}

/// Runs a plan to its end, and judges it.
#[must_use]
pub fn run(plan: Plan) -> Ran {
    let mut world = World::new(plan);
    let mut violations = world.set_up();
    let mut settled_ms = 0;
    if violations.is_empty() {
        world.populate();
        let end = world.now_ms + plan.stormy_ms;
        world.faults.calm_until(world.now_ms);
        while world.now_ms < end && world.witness.is_content() {
            world.step(true);
        }
        world.faults.heal(world.now_ms, &mut world.machines, &world.net);
        world.stop.store(true, SeqCst);
        let calm_ms = world.now_ms;
        violations.extend(world.calm_down());
        settled_ms = world.now_ms - calm_ms;
        violations.extend(world.judge());
    }
    let seen = world.witness.seen();
    violations.extend(seen.violations.iter().cloned());
    violations.extend(world.pauses_moved(&seen));
    let told = world.history.told();
    let mut happened = world.faults.told;
    happened.extend(seen.told.iter().cloned());
    happened.sort();
    let text: Vec<_> = happened.iter().map(|(at, what)| format!("{at} {what}")).collect();
    let trace = xxh3_64(format!("{text:?}{:?}", told.payments).as_bytes());
    Ran {
        violations,
        told: happened,
        seen,
        payments: told.payments.len(),
        acknowledged: told.payments.values().filter(|wanted| wanted.verdict.is_some()).count(),
        pauses: world.faults.pauses.len(),
        virtual_ms: world.now_ms,
        settled_ms,
        trace,
    }
}

// === impl Plan ===

impl Plan {
    #[must_use]
    pub fn new(seed: u64, kind: Kind) -> Plan {
        let stormy_ms = match kind {
            Kind::Storm => 60_000,
            Kind::Pauses => 300_000,
        };
        Plan { seed, kind, payers: 6, stormy_ms, bug: None }
    }

    fn is_patient(&self) -> bool {
        self.kind == Kind::Pauses && self.seed.is_multiple_of(2)
    }
}

// === impl Machines ===

impl Machines {
    pub fn start(&mut self, process: Process, now_ms: u64) {
        let machine = self.machines.get_mut(&process).expect("it is one of ours");
        let host = Host::new(now_ms, machine.drift_ppm);
        let (net, handle) = (self.net.clone(), host.handle());
        let (witness, bug) = (self.witness.clone(), self.bug);
        match process {
            Process::Store => host.spawn(store::serve(net, handle)),
            Process::Center(at) => host.spawn(center::serve(net, handle, at, witness, bug)),
            Process::Ledger(at) => host.spawn(ledgers::serve(net, handle, at, witness, bug)),
            Process::People => unreachable!("people are not started"),
        }
        (machine.host, machine.paused) = (Some(host), false);
    }

    /// Whatever it had in memory is gone.
    pub fn kill(&mut self, process: Process) {
        self.net.end_life(process);
        self.machine(process).host = None;
    }

    pub fn pause(&mut self, process: Process) {
        self.machine(process).paused = true;
    }

    pub fn resume(&mut self, process: Process, now_ms: u64) {
        let machine = self.machine(process);
        if let Some(host) = machine.host.as_ref().filter(|_| machine.paused) {
            host.skip_to(now_ms);
        }
        machine.paused = false;
    }

    #[must_use]
    pub fn is_well(&self, process: Process) -> bool {
        self.machines.get(&process).is_some_and(|machine| machine.host.is_some() && !machine.paused)
    }

    fn machine(&mut self, process: Process) -> &mut Machine {
        self.machines.get_mut(&process).expect("it is one of ours")
    }

    fn run_until(&self, first: usize, now_ms: u64) {
        let count = self.machines.len();
        for machine in self.machines.values().cycle().skip(first).take(count) {
            if let Some(host) = machine.host.as_ref().filter(|_| !machine.paused) {
                wall::set(wall::BEGAN_MS + machine.wall_skew_ms + now_ms);
                host.run_until(now_ms);
            }
        }
    }
}

// === impl World ===

impl World {
    fn new(plan: Plan) -> World {
        let mut random = Random::seeded(plan.seed);
        let mut child = || Random::seeded(random.next_u64());
        let net = Net::new(child());
        let faults = Faults::new(child());
        let mut drift = child();
        let witness = Witness::default();
        let mut machine = |process| {
            let drift_ppm = drift.below(2 * DRIFT_PPM + 1) as i64 - DRIFT_PPM as i64;
            let wall_skew_ms = drift.below(WALL_SKEW_MS);
            (process, Machine { host: None, paused: false, drift_ppm, wall_skew_ms })
        };
        let all = (0..CENTERS).flat_map(|at| [Process::Center(at), Process::Ledger(at)]);
        let machines = all.chain([Process::Store]).map(&mut machine).collect();
        let machines =
            Machines { net: net.clone(), witness: witness.clone(), bug: plan.bug, machines };
        World {
            plan,
            random,
            now_ms: 0,
            net,
            witness,
            machines,
            people: Host::new(0, 0),
            history: History::default(),
            faults,
            stop: Arc::default(),
            operators_left: Arc::default(),
            payers_left: Arc::default(),
        }
    }

    /// Until every shard is served.
    fn set_up(&mut self) -> Vec<String> {
        let all: Vec<Process> = self.machines.machines.keys().copied().collect();
        for process in all {
            self.machines.start(process, 0);
        }
        self.people.spawn(operator::make(self.net.clone()));
        let policy = match self.plan.kind {
            Kind::Storm => operator::policy(&mut self.random),
            Kind::Pauses if self.plan.is_patient() => resources::FailoverPolicySpec {
                paused: PausedRule { after_ms: 10_000, ..PausedRule::default() },
                ..resources::FailoverPolicySpec::default()
            },
            Kind::Pauses => resources::FailoverPolicySpec::default(),
        };
        self.people.spawn(operator::give_policy(self.net.clone(), policy));
        while self.now_ms < SETUP_MS {
            self.step(false);
            if self.unserved().is_empty() {
                return Vec::new();
            }
        }
        vec![format!("setup: not served after {SETUP_MS} ms: {:?}", self.unserved())]
    }

    fn populate(&mut self) {
        self.operators_left.store(self.plan.kind != Kind::Storm, SeqCst);
        for number in 0..self.plan.payers {
            let payer = Payer {
                number,
                net: self.net.clone(),
                history: self.history.clone(),
                random: Random::seeded(self.random.next_u64()),
                stop: self.stop.clone(),
                operators_left: self.operators_left.clone(),
                left: self.payers_left.clone(),
            };
            self.people.spawn(payer.run());
        }
        if self.plan.kind == Kind::Storm {
            let (net, stop, left) =
                (self.net.clone(), self.stop.clone(), self.operators_left.clone());
            let random = Random::seeded(self.random.next_u64());
            self.people.spawn(Operator { net, random, stop, left }.run());
        }
    }

    fn step(&mut self, stormy: bool) {
        if stormy {
            let World { faults, machines, net, .. } = self;
            match self.plan.kind {
                Kind::Storm => faults.storm(self.now_ms, machines, net),
                Kind::Pauses => faults.pause_one(self.now_ms, machines, net),
            }
        }
        let now_ms = self.now_ms + 1 + self.random.below(STEP_MS_MAX);
        wall::set(wall::BEGAN_MS + now_ms);
        self.people.run_until(now_ms);
        let first = self.random.below(self.machines.machines.len() as u64) as usize;
        self.machines.run_until(first, now_ms);
        self.net.run_until(now_ms);
        self.now_ms = now_ms;
    }

    /// All is well: every move ends, every shard is served, every payment gets
    /// its answer.
    fn calm_down(&mut self) -> Vec<String> {
        let end = self.now_ms + CALM_MS;
        let mut look_ms = self.now_ms;
        let mut open = Vec::new();
        while self.now_ms < end && self.witness.is_content() {
            self.step(false);
            if self.now_ms >= look_ms {
                look_ms = self.now_ms + LOOK_EVERY_MS;
                open = self.unfinished();
                if open.is_empty() {
                    return Vec::new();
                }
            }
        }
        open.into_iter().map(|what| format!("progress: {CALM_MS} ms after: {what}")).collect()
    }

    /// What has not come to its end.
    fn unfinished(&mut self) -> Vec<String> {
        let mut open: Vec<String> = self.unserved();
        let payments = self.history.open();
        if payments > 0 {
            open.push(format!("{payments} payments have no answer"));
        }
        if !self.operators_left.load(SeqCst) {
            open.push("operators still give orders".into());
        }
        if self.payers_left.load(SeqCst) < self.plan.payers {
            open.push("users still pay".into());
        }
        if !open.is_empty() {
            return open;
        }
        let net = self.net.clone();
        self.ask(async move {
            let federation = operator::client(&net, 0).federation();
            let orders = federation.all::<ShardMove>().list("").await?.items;
            let orders = orders.iter().filter(|order| !order.status.phase.is_final());
            let orders = orders.map(|o| format!("{}: {:?}", o.name(), o.status));
            let failovers = federation.all::<Failover>().list("").await?.items;
            let waiting = failovers.iter().filter(|f| f.status.phase == FailoverPhase::Waiting);
            let waiting = waiting.map(|f| format!("{}: {:?}", f.name(), f.status));
            Ok::<Vec<String>, client::Error>(orders.chain(waiting).collect())
        })
        .unwrap_or_else(|error| vec![error])
    }

    /// Asks as people do, while the world goes on.
    fn ask<T, E>(
        &mut self,
        question: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<T, String>
    where
        T: Send + 'static,
        E: std::fmt::Display + Send + 'static,
    {
        let answer = Arc::new(Mutex::new(None));
        let told = answer.clone();
        self.people.spawn(async move {
            *told.lock().expect("one thread") = Some(question.await);
        });
        let end = self.now_ms + CALM_MS;
        while self.now_ms < end {
            self.step(false);
            if let Some(answer) = answer.lock().expect("one thread").take() {
                return answer.map_err(|error| error.to_string());
            }
        }
        Err("nobody answers".into())
    }

    fn unserved(&self) -> Vec<String> {
        let map = self.witness.seen().map;
        let serves = |shard: Shard| {
            map.get(shard).is_some_and(|now| matches!(now.state, ShardState::Serving { .. }))
        };
        let unserved = layout::shards(&map.layout).filter(|shard| !serves(*shard));
        unserved.map(|shard| format!("{shard} is {:?}", map.get(shard))).collect()
    }

    /// Once nothing changes the books any more.
    fn judge(&mut self) -> Vec<String> {
        for at in 0..CENTERS {
            self.machines.kill(Process::Center(at));
            self.machines.kill(Process::Ledger(at));
        }
        let (net, witness) = (self.net.clone(), self.witness.clone());
        let told = self.history.told();
        let judged = self.ask(async move {
            Ok::<_, std::convert::Infallible>(judge::judge(net, witness, told).await)
        });
        judged.unwrap_or_else(|error| vec![format!("books: {error}")])
    }

    /// A pause is no loss of a city; by a patient policy it moves nothing.
    fn pauses_moved(&self, seen: &Seen) -> Vec<String> {
        if self.plan.kind != Kind::Pauses {
            return Vec::new();
        }
        let mut violations = Vec::new();
        let stood_still: Vec<_> = (0..CENTERS)
            .filter(|at| self.faults.pauses.iter().any(|(.., who)| *who == Process::Center(*at)))
            .map(|at| SEATS[at].center())
            .collect();
        for (name, failover) in &seen.failovers {
            let spec = &failover.spec;
            if matches!(spec.evidence, Evidence::City | Evidence::Majority) {
                violations.push(format!("pause: {name} took a pause for {:?}", spec.evidence));
            }
            if spec.centers.iter().any(|center| !stood_still.contains(center)) {
                violations.push(format!("pause: {name} moved {:?}", spec.centers));
            }
            if self.plan.is_patient() && failover.status.phase == FailoverPhase::Done {
                violations.push(format!("pause: {name} was not patient"));
            }
        }
        violations
    }
}
