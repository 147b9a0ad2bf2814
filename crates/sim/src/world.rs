//! The world: steps every machine's clock, a few milliseconds at a time.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use checker::{
    History, Violation,
    history::{Base, Keys, Op, Range, Request, Revision, Said, Txn},
};
use engine::{Engine, Memory, Sql};
use rt::random::Random;
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    Bug,
    client::Client,
    codes,
    database::{Road, Tables},
    fault::{self, Faults, Quiet},
    host::Host,
    log::Log,
    recorder::{Recorder, Stretch},
    replica::{self, Directory, OpenLog, Replica},
    ruin::{self, Backups, Person},
    watcher::Watcher,
    wire::Wire,
};

/// One step at most; within it machines run one after the other.
const STEP_MS_MAX: u64 = 8;

/// Once all is well, everyone must have caught up after this.
const CALM_MS: u64 = 12_000;

/// In half of the seeds clocks are wrong by up to half a percent, which is worse
/// than any quartz; in the others by nearly what the store allows: two of them
/// differ by up to 9.4 %, and a lease's margin is a tenth of it.
const DRIFTS_PPM: [u64; 2] = [5_000, 45_000];

/// Far beyond that; for clocks that must be found out.
const WILD_DRIFT_PPM: i64 = 300_000;

/// When the database comes back older, at the earliest, and over how long.
const RUIN_AFTER_MS: u64 = 7_000;
const RUIN_WITHIN_MS: u64 = 6_000;
/// Until people have noticed; and in the end without bad luck, so that every
/// replica is up and sees it.
const RUINED_MS: u64 = 3_000;
const REFUSED_AFTER_MS: u64 = 3_000;
/// With bad luck again after the recovery.
const AFTERWARDS_MS: u64 = 8_000;

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
    /// The database comes back older than it was, and is recovered.
    pub ruin: bool,
    /// How wrong clocks may be.
    pub drift_ppm: u64,
    pub bug: Option<Bug>,
}

/// What came of it.
pub struct Ran {
    /// After a ruin, that of what came after the recovery stands alone.
    pub history: History,
    pub violations: Vec<String>,
    /// The faults, in order.
    pub told: Vec<String>,
    /// The database came back older, and was recovered.
    pub ruined: bool,
    /// Of all that was written down.
    pub trace: u64,
}

/// What is known of a ruin once all goes on.
struct Ruined {
    /// Until the recovery.
    stretch: Stretch,
    /// So many batches had been written when the database came back older, and
    /// when it was recovered.
    ruined_at: usize,
    recovered_at: usize,
    start: Tables,
    base: Base,
    violations: Vec<String>,
}

struct World {
    plan: Plan,
    random: Random,
    now_ms: u64,
    tables: Tables,
    wire: Wire,
    /// From replica to replica.
    between: Wire,
    quiet: Quiet,
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
        Plan {
            seed,
            replicas: 3,
            clients: 5,
            stormy_ms: 20_000,
            sql: true,
            ruin: false,
            drift_ppm: DRIFTS_PPM[(seed % 2) as usize],
            bug: None,
        }
    }

    /// In half of the seeds all replicas but one have lost their disks when the
    /// database comes back older.
    fn forgets(&self) -> bool {
        self.ruin && self.bug != Some(Bug::Forgetful) && (self.seed / 2) % 2 == 1
    }

    /// A third of the seeds is about leaders that do not know that they lead no
    /// more.
    fn strands(&self) -> bool {
        self.seed.is_multiple_of(3)
    }
}

/// Runs a plan to its end, and judges it.
#[must_use]
pub fn run(plan: Plan) -> Ran {
    let mut world = World::new(plan);
    world.populate();
    let ruined = plan.ruin.then(|| world.ruin()).flatten();
    let end = if ruined.is_some() { world.now_ms + AFTERWARDS_MS } else { plan.stormy_ms };
    while world.now_ms < end {
        world.step(true);
    }
    world.heal();
    world.stop.store(true, SeqCst);
    let mut violations = world.calm_down();
    let mut trace = Vec::new();
    let mut judge = |history: &History| {
        violations.extend(checker::check(history).iter().map(Violation::to_string));
        history.write(&mut trace).expect("memory takes it");
    };
    let is_ruined = ruined.is_some();
    let history = match ruined {
        None => {
            let mut history = world.recorder.history(plan.drift_ppm);
            if plan.sql {
                history.log = world.log(0..world.tables.batches(), &Tables::default());
            }
            judge(&history);
            history
        }
        Some(ruined) => {
            let mut after = world.recorder.since(plan.drift_ppm, &ruined.stretch);
            let whole = world.recorder.history(plan.drift_ppm);
            let mut before = ruined.stretch.close(&whole);
            before.log = world.log(0..ruined.ruined_at, &Tables::default());
            judge(&before);
            after.log = world.log(ruined.recovered_at..world.tables.batches(), &ruined.start);
            after.base = Some(ruined.base);
            judge(&after);
            violations.extend(ruined.violations);
            violations.extend(unheard(&after, plan.replicas));
            after
        }
    };
    let told = world.faults.told;
    trace.extend(told.join("\n").bytes());
    Ran { history, violations, told, ruined: is_ruined, trace: xxh3_64(&trace) }
}

/// Watchers of everything who were not told that they have missed something.
fn unheard(after: &History, replicas: usize) -> Vec<String> {
    let told = |client: u32| {
        let mut watches = after.watches.iter().filter(|watch| watch.client == client);
        watches.any(|watch| {
            watch.items.iter().any(
                |item| matches!(&item.said, Said::Ended(why) if why.contains("has been compacted")),
            )
        })
    };
    let clients = (0..replicas).map(whole_watcher).filter(|client| !told(*client));
    clients.map(|client| format!("recovery: watcher {client} was told nothing of it")).collect()
}

fn whole_watcher(at: usize) -> u32 {
    100 + at as u32
}

// === impl World ===

impl World {
    fn new(plan: Plan) -> World {
        let mut random = Random::seeded(plan.seed);
        let mut child = || Random::seeded(random.next_u64());
        let wire = Wire::new(child(), plan.replicas);
        let between = Wire::new(child(), plan.replicas);
        let quiet = Quiet::default();
        let faults = Faults::new(child(), plan.replicas, quiet.clone(), plan.strands());
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
            let most = plan.drift_ppm as i64;
            let drift_ppm = match (drift.below(3), plan.bug) {
                (0 | 1, Some(Bug::SlowClocks)) => -WILD_DRIFT_PPM,
                (0 | 1, Some(Bug::FastClocks)) => WILD_DRIFT_PPM,
                (_, Some(Bug::SlowClocks | Bug::FastClocks)) => 0,
                (0, _) => most,
                (1, _) => -most,
                _ => drift.below(2 * plan.drift_ppm + 1) as i64 - most,
            };
            Replica::new(from, open, directory.clone(), drift_ppm, between.clone(), plan.bug)
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
            between,
            quiet,
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
            let whole = self.watcher(whole_watcher(at), at, Arc::default());
            self.people.spawn(whole.run_whole());
            let short = self.watcher(200 + at as u32, at, self.stop.clone());
            self.people.spawn(short.run_short());
        }
    }

    fn client(&mut self, id: u32) -> Client {
        let random = Random::seeded(self.random.next_u64());
        let stop = self.stop.clone();
        let (directory, recorder) = (self.directory.clone(), self.recorder.clone());
        // A lease that ends is written down, which shows a stranded leader that
        // it leads no more.
        let leases_too = !self.plan.strands();
        Client::new(id, directory, recorder, random, stop, self.quiet.clone(), leases_too)
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
            let leader = self.tables.leader();
            let leader = (0..self.plan.replicas).find(|at| leader == Some(replica::name(*at)));
            let World { replicas, wire, between, .. } = self;
            self.faults.step(self.now_ms, &mut fault::World { replicas, wire, between, leader });
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
        self.between.run_until(now_ms);
        self.now_ms = now_ms;
    }

    fn heal(&mut self) {
        let World { replicas, wire, between, .. } = self;
        let mut world = fault::World { replicas, wire, between, leader: None };
        self.faults.heal(self.now_ms, &mut world);
    }

    fn log(&self, batches: std::ops::Range<usize>, start: &Tables) -> Vec<Revision> {
        self.people.block_on(self.tables.log(&self.recorder, batches, start))
    }

    /// The database comes back older, is refused, and is recovered. None if
    /// there was no backup that everybody would find older.
    fn ruin(&mut self) -> Option<Ruined> {
        let mut backups = Backups::default();
        let end = RUIN_AFTER_MS + self.random.below(RUIN_WITHIN_MS);
        while self.now_ms < end {
            self.step(true);
            backups.step(self.now_ms, &self.tables);
        }
        let ruined_at = self.tables.batches();
        let survivor = self.random.below(self.replicas.len() as u64) as usize;
        let survivor = self.plan.forgets().then_some(survivor);
        let taken_ms = backups.ruin(&Person { survivor, ..self.person() })?;
        let told = format!("{} the database is as it was at {taken_ms}", self.now_ms);
        self.faults.told.push(told);
        if let Some(survivor) = survivor {
            self.faults.told.push(format!("{} only {survivor} remembers", self.now_ms));
            // Who cannot be asked cannot tell.
            self.heal();
        }
        let forgetful = survivor.is_some() || self.plan.bug == Some(Bug::Forgetful);
        for (at, replica) in self.replicas.iter_mut().enumerate() {
            if forgetful && survivor != Some(at) {
                replica.crash();
                replica.forget();
                replica.start(self.now_ms);
            }
        }
        let end = self.now_ms + RUINED_MS;
        while self.now_ms < end {
            self.step(survivor.is_none());
        }
        self.heal();
        let end = self.now_ms + REFUSED_AFTER_MS;
        while self.now_ms < end {
            self.step(false);
        }
        let mut violations = self.unrefused();
        let again = self.tables.batches() - ruined_at;
        self.faults.told.push(format!("{} {again} batches were written again", self.now_ms));
        self.replicas.iter_mut().for_each(Replica::crash);
        // Whoever waited for them hears that they are gone.
        self.step(false);
        let stretch = self.recorder.stretch(self.plan.drift_ppm);
        violations.extend(self.person().recover(&stretch));
        self.faults.told.push(format!("{} it is recovered", self.now_ms));
        let recovered_at = self.tables.batches();
        let start = self.tables.backup();
        let base = self.people.block_on(self.tables.base(&self.recorder));
        self.replicas.iter_mut().for_each(|replica| replica.start(self.now_ms));
        Some(Ruined { stretch, ruined_at, recovered_at, start, base, violations })
    }

    fn person(&self) -> Person<'_> {
        let notebooks = self.replicas.iter().map(Replica::notebook).collect();
        let (host, tables, recorder) = (&self.people, &self.tables, &self.recorder);
        Person { host, tables, recorder, notebooks, survivor: None }
    }

    /// Every replica is up, and has had its time: what one of them still
    /// answers, and whether nobody was told why they do not.
    fn unrefused(&mut self) -> Vec<String> {
        let violations: Arc<Mutex<Vec<String>>> = Arc::default();
        for at in 0..self.plan.replicas {
            let (found, directory) = (violations.clone(), self.directory.clone());
            self.people.spawn(async move {
                let kv = directory.lock().expect("one thread")[at].clone().map(|there| there.kv);
                for serializable in [true, false] {
                    let all = kv::RangeRequest::new(kv::KeyRange::From("\0".into()));
                    let range = kv::RangeRequest { serializable, ..all };
                    let answer = match &kv {
                        Some(kv) => kv.range(range).await,
                        None => Err(kv::Error::NotLeader),
                    };
                    if answer != Err(kv::Error::Corrupt) {
                        let what = format!("refusal: replica {at} answered {answer:?}");
                        found.lock().expect("one thread").push(what);
                    }
                }
            });
        }
        let end = self.now_ms + 100;
        while self.now_ms < end {
            self.step(false);
        }
        let mut violations = std::mem::take(&mut *violations.lock().expect("one thread"));
        if !codes::is_named(ruin::CODE) {
            violations.push(format!("refusal: nobody was told {}", ruin::CODE));
        }
        violations
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
                let there = || directory.lock().expect("one thread")[at].clone();
                let range = Range { serializable: true, ..range.clone() };
                loop {
                    let call = recorder.stamp();
                    let answer = match there() {
                        Some(there) => there.kv.range(crate::convert::range(&range)).await,
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
