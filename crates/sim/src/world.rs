//! The world: steps every machine's clock, a few milliseconds at a time.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use checker::{
    History, Violation,
    history::{Keys, Op, Range, Request, Txn},
};
use engine::{Engine, Memory, Sql};
use rt::random::Random;
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    Bug,
    client::Client,
    database::{Road, Tables},
    fault::Faults,
    host::Host,
    log::Log,
    recorder::Recorder,
    replica::{Directory, OpenLog, Replica},
    watcher::Watcher,
    wire::Wire,
};

/// One step at most; within it machines run one after the other.
const STEP_MS_MAX: u64 = 8;

/// Once all is well, everyone must have caught up after this.
const CALM_MS: u64 = 12_000;

/// Clocks are wrong by up to half a percent, which is worse than any quartz.
pub const DRIFT_PPM: u64 = 5_000;

/// What is simulated.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub seed: u64,
    pub replicas: usize,
    pub clients: u32,
    /// For so long things go wrong.
    pub stormy_ms: u64,
    /// The log is in a database, by the real engine; otherwise it is a log that
    /// somebody else keeps, with the same faults.
    pub sql: bool,
    pub bug: Option<Bug>,
}

/// What came of it.
pub struct Ran {
    pub history: History,
    pub violations: Vec<String>,
    /// The faults, in order.
    pub told: Vec<String>,
    /// Of all that was written down.
    pub trace: u64,
}

struct World {
    plan: Plan,
    random: Random,
    now_ms: u64,
    tables: Tables,
    wire: Wire,
    recorder: Recorder,
    replicas: Vec<Replica>,
    people: Host,
    directory: Directory,
    faults: Faults,
    stop: Arc<AtomicBool>,
}

// === impl Plan ===

impl Plan {
    #[must_use]
    pub fn new(seed: u64) -> Plan {
        Plan { seed, replicas: 3, clients: 5, stormy_ms: 20_000, sql: true, bug: None }
    }
}

/// Runs a plan to its end, and judges it.
#[must_use]
pub fn run(plan: Plan) -> Ran {
    let mut world = World::new(plan);
    world.populate();
    let end = plan.stormy_ms;
    while world.now_ms < end {
        world.step(true);
    }
    world.faults.heal(world.now_ms, &mut world.replicas, &world.wire);
    world.stop.store(true, SeqCst);
    let mut violations = world.calm_down();
    let mut history = world.recorder.history(DRIFT_PPM);
    if plan.sql {
        history.log = world.people.block_on(world.tables.log(&world.recorder));
    }
    violations.extend(checker::check(&history).iter().map(Violation::to_string));
    let mut trace = Vec::new();
    history.write(&mut trace).expect("memory takes it");
    let told = world.faults.told;
    trace.extend(told.join("\n").bytes());
    Ran { history, violations, told, trace: xxh3_64(&trace) }
}

// === impl World ===

impl World {
    fn new(plan: Plan) -> World {
        let mut random = Random::seeded(plan.seed);
        let mut child = || Random::seeded(random.next_u64());
        let wire = Wire::new(child(), plan.replicas);
        let faults = Faults::new(child(), plan.replicas);
        let mut drift = child();
        let recorder = Recorder::default();
        let directory: Directory = Arc::default();
        directory.lock().expect("one thread").resize_with(plan.replicas, || None);
        let (memory, tables) = (Memory::new(), Tables::default());
        let replica = |from| {
            let (wire, recorder, bug) = (wire.clone(), recorder.clone(), plan.bug);
            let open: OpenLog = if plan.sql {
                let tables = tables.clone();
                Arc::new(move || {
                    let (tables, wire, recorder) = (tables.clone(), wire.clone(), recorder.clone());
                    let road = Road { tables, wire, from, recorder, bug };
                    Box::pin(async {
                        let sql = Sql::open(Arc::new(road)).await?;
                        Ok(Arc::new(sql) as Arc<dyn Engine>)
                    })
                })
            } else {
                let log = Log { memory: memory.clone(), wire, from, recorder, bug };
                let log: Arc<dyn Engine> = Arc::new(log);
                Arc::new(move || Box::pin(std::future::ready(Ok(log.clone()))))
            };
            let drift_ppm = drift.below(2 * DRIFT_PPM + 1) as i64 - DRIFT_PPM as i64;
            Replica::new(from, open, directory.clone(), drift_ppm)
        };
        let replicas = (0..plan.replicas).map(replica).collect();
        let people = Host::new(0, 0);
        let stop = Arc::default();
        let now_ms = 0;
        World {
            plan,
            random,
            now_ms,
            tables,
            wire,
            recorder,
            replicas,
            people,
            directory,
            faults,
            stop,
        }
    }

    fn populate(&mut self) {
        for replica in &mut self.replicas {
            replica.start(0);
        }
        for id in 0..self.plan.clients {
            let client = self.client(id);
            self.people.spawn(client.run());
        }
        for at in 0..self.plan.replicas {
            let whole = self.watcher(100 + at as u32, at, Arc::default());
            self.people.spawn(whole.run_whole());
            let short = self.watcher(200 + at as u32, at, self.stop.clone());
            self.people.spawn(short.run_short());
        }
    }

    fn client(&mut self, id: u32) -> Client {
        let random = Random::seeded(self.random.next_u64());
        let stop = self.stop.clone();
        Client::new(id, self.directory.clone(), self.recorder.clone(), random, stop)
    }

    fn watcher(&mut self, client: u32, at: usize, stop: Arc<AtomicBool>) -> Watcher {
        Watcher {
            client,
            at,
            directory: self.directory.clone(),
            recorder: self.recorder.clone(),
            random: Random::seeded(self.random.next_u64()),
            stop,
        }
    }

    fn step(&mut self, stormy: bool) {
        if stormy {
            self.faults.step(self.now_ms, &mut self.replicas, &self.wire);
        }
        let now_ms = self.now_ms + 1 + self.random.below(STEP_MS_MAX);
        self.people.run_until(now_ms);
        let first = self.random.below(self.replicas.len() as u64) as usize;
        let (before, after) = self.replicas.split_at(first);
        for replica in after.iter().chain(before) {
            replica.run_until(now_ms);
        }
        self.recorder.set_time(now_ms);
        self.wire.run_until(now_ms);
        self.now_ms = now_ms;
    }

    /// All is well: somebody serves a write, and every replica then has it.
    fn calm_down(&mut self) -> Vec<String> {
        let mut client = self.client(self.plan.clients);
        let replicas = self.plan.replicas;
        let (directory, recorder) = (self.directory.clone(), self.recorder.clone());
        let done = Arc::new(AtomicBool::new(false));
        let settled = done.clone();
        self.people.spawn(async move {
            let put = Op::Put { key: "last".into(), value: "word".into(), lease: None };
            let txn = Txn { success: vec![put], ..Txn::default() };
            client.insist(Request::Txn(txn)).await;
            let range =
                Range { keys: Keys::all(), revision: None, limit: None, serializable: false };
            client.insist(Request::Range(range.clone())).await;
            let written = client.known();
            for at in 0..replicas {
                let kv = || directory.lock().expect("one thread")[at].clone();
                let range = Range { serializable: true, ..range.clone() };
                loop {
                    let call = recorder.stamp();
                    let answer = match kv() {
                        Some(kv) => kv.range(crate::convert::range(&range)).await,
                        None => Err(kv::Error::NotLeader),
                    };
                    if let Ok(ranged) = answer
                        && ranged.revision.0 >= written
                    {
                        let ranged = crate::convert::ranged(&ranged);
                        let outcome =
                            crate::convert::outcome(Ok(checker::history::Response::Range(ranged)));
                        recorder.operation(900, call, Request::Range(range), outcome);
                        break;
                    }
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
            }
            settled.store(true, SeqCst);
        });
        let end = self.now_ms + CALM_MS;
        while self.now_ms < end && !done.load(SeqCst) {
            self.step(false);
        }
        if !done.load(SeqCst) {
            return vec![format!("progress: not everyone has caught up {CALM_MS} ms after")];
        }
        // Watchers hear the last word too.
        let end = self.now_ms + 500;
        while self.now_ms < end {
            self.step(false);
        }
        Vec::new()
    }
}
