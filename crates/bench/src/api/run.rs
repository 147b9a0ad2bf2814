//! A whole run: servers started, operations measured in turns.

use std::{cell::Cell, fs, path::Path, time::Duration};

use anyhow::{Context as _, bail};
use tokio::time::{Instant, sleep};

use super::{
    ApiOp, ApiPlan, ApiReport, ApiRun,
    certificates::Certificates,
    drive, fan,
    figures::REFERENCE,
    http1::{CREATED, Connection},
    requests::{self, Requests},
    sides::{Side, Start},
};
use crate::{
    Figures,
    child::Server,
    drive::Window,
    run::{Round, with_cpu},
    target::Target,
};

/// Connections opened, caches and branch predictors warmed.
const WARM_UP: Duration = Duration::from_millis(500);

/// Between two rounds, so that what one left to be done is not charged to the
/// next.
const REST: Duration = Duration::from_millis(300);

/// Those that are got.
const GETS: u64 = 1000;

/// Connections that create what is to be listed or kept.
const LOADERS: usize = 64;

/// Creators of watched objects.
const WRITERS: usize = 16;

/// After many objects were created, before memory is looked at.
const SETTLE: Duration = Duration::from_secs(5);

/// What a name begins with.
const NAME: &str = "c-";

/// Runs the plan; `told` hears of each figure as it is there. None if it was
/// `stopped` before its end: nothing is left of it either.
pub async fn run_api(
    plan: &ApiPlan,
    stopped: impl Future<Output = ()>,
    mut told: impl FnMut(&ApiRun),
) -> anyhow::Result<Option<ApiReport>> {
    fs::create_dir_all(&plan.folder)
        .with_context(|| format!("create {}", plan.folder.display()))?;
    let folder = plan.folder.canonicalize().context("find the run's folder")?;
    // The servers end with what measures them.
    let measured = tokio::select! {
        measured = measure(plan, &folder, &mut told) => measured.map(Some),
        () = stopped => Ok(None),
    };
    let removed = fs::remove_dir_all(&folder);
    let report = measured?;
    removed.with_context(|| format!("remove {}", folder.display()))?;
    Ok(report)
}

async fn measure(
    plan: &ApiPlan,
    folder: &Path,
    told: &mut impl FnMut(&ApiRun),
) -> anyhow::Result<ApiReport> {
    let certificates = Certificates::make(&folder.join("certificates"))?;
    let mut report = ApiReport {
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        reference_of: plan.peer.is_none().then_some(REFERENCE),
        runs: Vec::new(),
    };
    let mut tell = |run: ApiRun| {
        told(&run);
        report.runs.push(run);
    };
    let timed: Vec<ApiOp> = plan.ops.iter().copied().filter(|op| !op.is_of_memory()).collect();
    if !timed.is_empty() {
        let bench = Bench::start(plan, folder, "timed", &certificates).await?;
        for op in timed {
            tell(bench.timed(op).await?);
        }
    }
    if plan.ops.iter().any(|op| op.is_of_memory()) {
        // Fresh ones, that hold nothing else.
        let bench = Bench::start(plan, folder, "memory", &certificates).await?;
        let filled = bench.memory(ApiOp::Memory).await?;
        if plan.ops.contains(&ApiOp::Memory) {
            tell(filled);
        }
        if plan.ops.contains(&ApiOp::Churn) {
            tell(bench.memory(ApiOp::Churn).await?);
        }
    }
    Ok(report)
}

struct Bench<'a> {
    plan: &'a ApiPlan,
    polis: Side,
    peer: Option<Side>,
}

// === impl Bench ===

impl Bench<'_> {
    async fn start<'a>(
        plan: &'a ApiPlan,
        folder: &Path,
        name: &str,
        certificates: &Certificates,
    ) -> anyhow::Result<Bench<'a>> {
        let folder = folder.join(name);
        fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        let start = Start { plan, folder, certificates };
        let peer = match &plan.peer {
            None => None,
            Some(peer) => Some(start.kube_apiserver(peer).await?),
        };
        // The other one is idle meanwhile.
        let polis = start.polis().await?;
        Ok(Bench { plan, polis, peer })
    }

    async fn timed(&self, op: ApiOp) -> anyhow::Result<ApiRun> {
        let clients = match op {
            ApiOp::WatchFanout => self.plan.watchers,
            ApiOp::Ready => 1,
            _ => self.plan.clients.unwrap_or(op.clients()),
        };
        if op == ApiOp::Ready {
            let ready = |side: &Side| Figures {
                ready_s: Some(side.ready.as_secs_f64()),
                ..Figures::default()
            };
            let peer = self.peer.as_ref().map(ready);
            return Ok(ApiRun::new(op, clients, ready(&self.polis), peer));
        }
        for side in self.sides() {
            prepare(op, &side.server.target, self.plan.object_bytes)
                .await
                .with_context(|| format!("prepare {} on {}", op.name(), side.server.name))?;
        }
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        let (our_ends, their_ends) = (Cell::new(0), Cell::new(0));
        for round in 0..self.plan.rounds {
            // Each side goes first as often as the other.
            let mut sides = vec![(&self.polis, &mut ours, &our_ends)];
            sides.extend(self.peer.as_ref().map(|peer| (peer, &mut theirs, &their_ends)));
            if round % 2 == 1 {
                sides.reverse();
            }
            for (side, rounds, ended) in sides {
                let measured = self.round(op, clients, round, &side.server, ended).await;
                let what = || {
                    let name = side.server.name;
                    format!("measure {} with {clients} connections on {name}", op.name())
                };
                rounds.push(measured.with_context(what)?);
            }
        }
        let figures = |rounds: &[Round], ended: &Cell<u64>| Figures {
            watches_ended: (op == ApiOp::WatchFanout).then_some(ended.get()),
            ..Figures::of(rounds)
        };
        let peer = self.peer.as_ref().map(|_| figures(&theirs, &their_ends));
        Ok(ApiRun::new(op, clients, figures(&ours, &our_ends), peer))
    }

    fn sides(&self) -> impl Iterator<Item = &Side> {
        [&self.polis].into_iter().chain(&self.peer)
    }

    async fn round(
        &self,
        op: ApiOp,
        clients: usize,
        round: u32,
        server: &Server,
        ended: &Cell<u64>,
    ) -> anyhow::Result<Round> {
        let target = &server.target;
        let duration = self.plan.duration / self.plan.rounds;
        let bytes = self.plan.object_bytes;
        sleep(REST).await;
        let requests = match op {
            ApiOp::Create => Requests::create(CREATES, &format!("{NAME}{round}-"), bytes),
            ApiOp::Get => Requests::get(GETS_IN, NAME, GETS),
            ApiOp::List100 => Requests::list(HUNDRED),
            ApiOp::List10000 => Requests::list(TEN_THOUSAND),
            ApiOp::WatchFanout => {
                // Hundreds of connections take a while to open.
                let window = Window::after(4 * WARM_UP, duration);
                let (name, sizes) = (round.to_string(), (clients, WRITERS));
                let fan = fan::closed_loop(target, FAN, &name, sizes, bytes, window, ended);
                return with_cpu(server, window, fan).await;
            }
            ApiOp::Ready | ApiOp::Memory | ApiOp::Churn => {
                bail!("{} is measured otherwise", op.name())
            }
        };
        let window = Window::after(WARM_UP, duration);
        let driven = drive::closed_loop(target, &requests, clients, None, window);
        with_cpu(server, window, driven).await
    }

    async fn memory(&self, op: ApiOp) -> anyhow::Result<ApiRun> {
        let polis = self.filled(op, &self.polis.server).await?;
        let peer = match &self.peer {
            Some(peer) => Some(self.filled(op, &peer.server).await?),
            None => None,
        };
        Ok(ApiRun::new(op, self.plan.memory_objects, polis, peer))
    }

    async fn filled(&self, op: ApiOp, server: &Server) -> anyhow::Result<Figures> {
        let (objects, start) = (self.plan.memory_objects as u64, Instant::now());
        let (target, bytes) = (&server.target, self.plan.object_bytes);
        let done = match op {
            ApiOp::Churn => {
                let requests = Requests::update(CREATES, NAME, bytes, objects);
                drive::all(target, &requests, LOADERS, objects * self.plan.memory_updates).await
            }
            _ => fill(target, CREATES, objects, bytes).await,
        };
        done.with_context(|| format!("write {objects} objects on {}", server.name))?;
        let load_s = Some(start.elapsed().as_secs_f64());
        sleep(SETTLE).await;
        Ok(Figures { resident_bytes: server.resident_bytes(), load_s, ..Figures::default() })
    }
}

const CREATES: &str = "bench-creates";
const GETS_IN: &str = "bench-gets";
const HUNDRED: &str = "bench-100";
const TEN_THOUSAND: &str = "bench-10000";
const FAN: &str = "bench-fan";

/// Makes what the operation needs, and looks whether it is there.
async fn prepare(op: ApiOp, target: &Target, bytes: usize) -> anyhow::Result<()> {
    let (namespace, count) = match op {
        ApiOp::Create => (CREATES, 0),
        ApiOp::Get => (GETS_IN, GETS),
        ApiOp::List100 => (HUNDRED, 100),
        ApiOp::List10000 => (TEN_THOUSAND, 10_000),
        ApiOp::WatchFanout => (FAN, 0),
        ApiOp::Ready | ApiOp::Memory | ApiOp::Churn => return Ok(()),
    };
    fill(target, namespace, count, bytes).await?;
    let list = requests::get(&format!("/api/v1/namespaces/{namespace}/configmaps"));
    let (_, list) = Connection::open(target).await?.read(&list).await?;
    let mark = format!("\"name\":\"{NAME}");
    let found = list.windows(mark.len()).filter(|bytes| *bytes == mark.as_bytes()).count();
    if found as u64 != count {
        bail!("{found} objects are listed instead of {count}");
    }
    Ok(())
}

async fn fill(target: &Target, namespace: &str, count: u64, bytes: usize) -> anyhow::Result<()> {
    let made = Connection::open(target).await?.ask(&requests::namespace(namespace)).await?;
    if made.status != CREATED {
        bail!("the namespace {namespace} was answered with {}", made.status);
    }
    let requests = Requests::create(namespace, NAME, bytes);
    drive::all(target, &requests, LOADERS, count).await
}
