//! Clients that write and read through all replicas, a watcher of everything at
//! each, and the history of what they were told.

use std::{
    fmt,
    io::BufWriter,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use checker::{
    History,
    history::{
        Compare, Is, Item, Keys, Op, Operation, Outcome, Range, Request, Response, Said, Setup,
        Txn, Watch,
    },
};
use e2e::wait_for;
use futures::StreamExt as _;
use kv::{Error, KeyRange, Kv as _, Revision, WatchItem, WatchRequest};
use kv_etcd::{Client, Config, Keyspace};
use rt::random::Random;
use tokio::{
    runtime::Runtime,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use super::said;

const CLIENTS: u32 = 6;

/// Longer than a takeover aims to take, so that most find their answer.
const PATIENCE: Duration = Duration::from_secs(4);

const THINK_MS_MAX: u64 = 40;
/// After an error: as fast as that, and no replica is flooded.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// Few enough that clients meet.
const KEYS: u64 = 12;
/// Written together.
const PAIR: [&str; 2] = ["pair-a", "pair-b"];

/// For what was written to reach every watcher at the end, and before that for
/// writes to come back after the last fault: a busy machine takes its time.
const SETTLE_LIMIT: Duration = Duration::from_secs(180);

pub struct Work {
    runtime: Runtime,
    record: Arc<Record>,
    replicas: Vec<Keyspace>,
    clients: Vec<JoinHandle<()>>,
    watchers: Vec<JoinHandle<()>>,
    /// How far each watcher has come.
    seen: Vec<Arc<AtomicU64>>,
}

struct Record {
    start: Instant,
    stop: AtomicBool,
    history: Mutex<(History, u64)>,
}

/// A run in numbers.
pub struct Summary {
    pub answered: usize,
    pub failed: usize,
    pub unknown: usize,
    /// From each fault to the first write that was asked for later and was
    /// acknowledged.
    pub recoveries: Vec<(String, Duration)>,
}

/// When something was done to the replicas or the database.
pub struct Mark {
    what: String,
    at: u64,
}

// === impl Work ===

impl Work {
    pub fn start(urls: &[String], seed: u64) -> Work {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("start a runtime");
        let entered = runtime.enter();
        let replicas: Vec<_> = urls.iter().map(|url| keyspace(url)).collect();
        let record = Arc::new(Record {
            start: Instant::now(),
            stop: AtomicBool::new(false),
            history: Mutex::default(),
        });
        let mut random = Random::seeded(seed);
        let clients = (0..CLIENTS).map(|id| {
            let random = Random::seeded(random.next_u64());
            let at = id as usize;
            let (replicas, record) = (replicas.clone(), record.clone());
            let caller = Caller { id, at, replicas, record, random, seen: Vec::new(), written: 0 };
            runtime.spawn(caller.run())
        });
        let clients = clients.collect();
        let seen: Vec<_> = replicas.iter().map(|_| Arc::new(AtomicU64::new(0))).collect();
        let watchers = replicas.iter().zip(&seen).enumerate().map(|(index, (replica, seen))| {
            let client = CLIENTS + index as u32;
            runtime.spawn(watch(client, replica.clone(), record.clone(), seen.clone()))
        });
        let watchers = watchers.collect();
        drop(entered);
        Work { runtime, record, replicas, clients, watchers, seen }
    }

    pub fn mark(&self, what: impl Into<String>) -> Mark {
        Mark { what: what.into(), at: self.record.stamp() }
    }

    /// Waits until something was written after every fault, ends the clients, waits
    /// until every watcher has seen all, and judges.
    pub fn end(mut self, marks: &[Mark]) -> Summary {
        wait_for("writes to come back", SETTLE_LIMIT, || {
            let held = self.record.history.lock().expect("no holder panics");
            let back = summarise(&held.0, marks).recoveries.len();
            (back == marks.len()).then_some(())
        });
        self.record.stop.store(true, SeqCst);
        let clients = std::mem::take(&mut self.clients);
        let last = self.runtime.block_on(async {
            for client in clients {
                client.await.expect("no client panics");
            }
            let last = self.last_revision().await;
            let settled = async {
                while self.seen.iter().any(|seen| seen.load(SeqCst) < last) {
                    sleep(AGAIN_AFTER).await;
                }
            };
            let settled = timeout(SETTLE_LIMIT, settled).await;
            let seen: Vec<_> = self.seen.iter().map(|seen| seen.load(SeqCst)).collect();
            assert!(settled.is_ok(), "watchers have seen {seen:?} of {last}");
            last
        });
        self.watchers.iter().for_each(JoinHandle::abort);
        let mut history = self.record.history.lock().expect("no holder panics").0.clone();
        history.setup = Setup { drift_ppm: 0, complete: true };
        let summary = summarise(&history, marks);
        let violations = checker::check(&history);
        if !violations.is_empty() {
            let path =
                std::env::temp_dir().join(format!("polis-history-{}.jsonl", std::process::id()));
            let file = std::fs::File::create(&path).expect("create a file for the history");
            history.write(BufWriter::new(file)).expect("write the history");
            let shown: Vec<_> = violations.iter().take(10).map(ToString::to_string).collect();
            panic!(
                "{} violations up to revision {last}; the history is {}:\n{}",
                violations.len(),
                path.display(),
                shown.join("\n")
            );
        }
        summary
    }

    /// By a read of everything that cannot be stale, which is held against the
    /// history like any other.
    async fn last_revision(&self) -> u64 {
        let request = Range { keys: Keys::all(), revision: None, limit: None, serializable: false };
        let reading = async {
            for replica in self.replicas.iter().cycle() {
                let call = self.record.stamp();
                if let Ok(Ok(ranged)) =
                    timeout(PATIENCE, replica.range(said::range(&request))).await
                {
                    let outcome = Outcome::Ok(said::ranged(&ranged));
                    let request = Request::Range(request.clone());
                    self.record.operation(0, call, request, outcome);
                    return ranged.revision.0;
                }
                sleep(AGAIN_AFTER).await;
            }
            unreachable!("a cycle of replicas has no end")
        };
        timeout(SETTLE_LIMIT, reading).await.expect("a replica answers in the end")
    }
}

fn keyspace(url: &str) -> Keyspace {
    let mut config = Config::new(url, None);
    config.request_timeout = PATIENCE;
    Client::connect(config).expect("a URL").keyspace("default").expect("a name")
}

// === impl Record ===

impl Record {
    /// Nanoseconds since the start; no two are equal.
    fn stamp(&self) -> u64 {
        let now = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let (_, last) = &mut *self.history.lock().expect("no holder panics");
        *last = now.max(*last + 1);
        *last
    }

    fn operation(&self, client: u32, call: u64, request: Request, outcome: Outcome) {
        let end = Some(self.stamp());
        let operation = Operation { client, call, end, request, outcome };
        self.history.lock().expect("no holder panics").0.operations.push(operation);
    }

    fn watch(&self, watch: Watch) -> usize {
        let (history, _) = &mut *self.history.lock().expect("no holder panics");
        history.watches.push(watch);
        history.watches.len() - 1
    }

    fn said(&self, watch: usize, said: Said) {
        let at = self.stamp();
        let (history, _) = &mut *self.history.lock().expect("no holder panics");
        history.watches[watch].items.push(Item { at, said });
    }
}

/// Asks one thing at a time, of whichever replica answers.
struct Caller {
    id: u32,
    at: usize,
    replicas: Vec<Keyspace>,
    record: Arc<Record>,
    random: Random,
    /// What it last saw of each key: when it was written.
    seen: Vec<(String, u64)>,
    written: u64,
}

// === impl Caller ===

impl Caller {
    async fn run(mut self) {
        while !self.record.stop.load(SeqCst) {
            sleep(Duration::from_millis(self.random.below(THINK_MS_MAX))).await;
            let request = self.think();
            let call = self.record.stamp();
            let replica = &self.replicas[self.at % self.replicas.len()];
            let asked = timeout(PATIENCE, ask(replica, &request)).await;
            let answer = asked.unwrap_or_else(|_| Err(Error::Unknown("the client gave up".into())));
            let outcome = said::outcome(answer);
            let answered = matches!(outcome, Outcome::Ok(_));
            if let Outcome::Ok(Response::Range(ranged)) = &outcome {
                self.seen.extend(ranged.kvs.iter().map(|kv| (kv.key.clone(), kv.modified)));
                let old = self.seen.len().saturating_sub(2 * KEYS as usize);
                self.seen.drain(..old);
            }
            self.record.operation(self.id, call, request, outcome);
            if !answered {
                self.at += 1;
                sleep(AGAIN_AFTER).await;
            }
        }
    }

    fn think(&mut self) -> Request {
        let key = format!("key-{:02}", self.random.below(KEYS));
        self.written += 1;
        let value = format!("{}-{}", self.id, self.written);
        let put = |key: &str| Op::Put { key: key.into(), value: value.clone(), lease: None };
        let txn = match self.random.below(100) {
            0..45 => Txn { success: vec![put(&key)], ..Txn::default() },
            45..60 => {
                // Writes if nobody has written since, as API servers do.
                let seen = self.seen.iter().rev().find(|(known, _)| *known == key);
                let is = Is::Modified(seen.map_or(0, |(_, modified)| *modified));
                Txn {
                    compares: vec![Compare { key: key.clone(), is }],
                    success: vec![put(&key)],
                    failure: vec![Op::Get(Keys::one(key))],
                }
            }
            60..68 => Txn { success: vec![Op::Delete(Keys::one(key))], ..Txn::default() },
            68..75 => Txn { success: PAIR.map(put).to_vec(), ..Txn::default() },
            other => {
                let serializable = other >= 93;
                let keys = if other % 4 == 0 { Keys::all() } else { Keys::one(key) };
                return Request::Range(Range { keys, revision: None, limit: None, serializable });
            }
        };
        Request::Txn(txn)
    }
}

async fn ask(kv: &Keyspace, request: &Request) -> Result<Response, Error> {
    match request {
        Request::Range(range) => Ok(said::ranged(&kv.range(said::range(range)).await?)),
        Request::Txn(txn) => Ok(said::answer(&kv.txn(said::txn(txn)).await?)),
        other => unreachable!("no client asks for {other:?}"),
    }
}

/// Everything from the beginning, through the ends of streams.
async fn watch(client: u32, kv: Keyspace, record: Arc<Record>, seen: Arc<AtomicU64>) {
    let mut next = 1;
    loop {
        let request = WatchRequest {
            prev_kv: true,
            progress_notify: true,
            ..WatchRequest::new(KeyRange::From("\0".into())).from(Revision(next))
        };
        let id = record.watch(Watch {
            client,
            keys: Keys::all(),
            start: Some(next),
            prev_kv: true,
            no_put: false,
            no_delete: false,
            items: Vec::new(),
        });
        match kv.watch(request).await {
            Err(error) => record.said(id, Said::Ended(error.to_string())),
            Ok(mut stream) => {
                while let Some(item) = stream.next().await {
                    let said = match item {
                        Ok(WatchItem::Created { revision }) => {
                            Said::Created { revision: revision.0 }
                        }
                        Ok(WatchItem::Progress { revision }) => {
                            next = next.max(revision.0 + 1);
                            Said::Progress { revision: revision.0 }
                        }
                        Ok(WatchItem::Events(batch)) => {
                            next = next.max(batch.revision.0 + 1);
                            Said::Events(batch.events.iter().map(said::event).collect())
                        }
                        Err(error) => Said::Ended(error.to_string()),
                    };
                    record.said(id, said);
                    seen.store(next - 1, SeqCst);
                }
            }
        }
        sleep(AGAIN_AFTER).await;
    }
}

fn summarise(history: &History, marks: &[Mark]) -> Summary {
    let count = |of: fn(&Outcome) -> bool| {
        history.operations.iter().filter(|operation| of(&operation.outcome)).count()
    };
    let acknowledged = |operation: &&Operation| {
        matches!(operation.request, Request::Txn(_)) && matches!(operation.outcome, Outcome::Ok(_))
    };
    let recovery = |mark: &Mark| {
        let after = history.operations.iter().filter(acknowledged);
        let ends = after.filter(|write| write.call > mark.at).filter_map(|write| write.end);
        ends.min().map(|end| (mark.what.clone(), Duration::from_nanos(end - mark.at)))
    };
    Summary {
        answered: count(|outcome| matches!(outcome, Outcome::Ok(_))),
        failed: count(|outcome| matches!(outcome, Outcome::Failed(_))),
        unknown: count(|outcome| matches!(outcome, Outcome::Unknown(_))),
        recoveries: marks.iter().filter_map(recovery).collect(),
    }
}

// === impl Summary ===

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { answered, failed, unknown, recoveries } = self;
        writeln!(f, "{answered} answered, {failed} refused, {unknown} of unknown outcome")?;
        for (what, took) in recoveries {
            writeln!(f, "  {what}: writes again after {} ms", took.as_millis())?;
        }
        Ok(())
    }
}
