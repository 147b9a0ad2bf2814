//! A whole run: servers started, operations measured in turns.

use std::{fs, time::Duration};

use anyhow::Context;
use tokio::time::{Instant, sleep};

use crate::{
    Ceiling, Figures, Op, Peer, Plan, Report, Run, ceiling,
    child::Server,
    drive::{self, Tally, Window},
    fan, renew,
    secure::Secure,
    start::Start,
    target::Target,
    work::{Keys, load},
};

/// Connections opened, caches and branch predictors warmed.
const WARM_UP: Duration = Duration::from_millis(500);

/// Between two rounds, so that what one left to be done is not charged to the
/// next.
const REST: Duration = Duration::from_millis(300);

/// What is prepared for deletions, at most: as many as a second allows by far.
const DELETIONS_PER_SECOND: f64 = 150_000.0;
const DELETIONS_MIN: f64 = 20_000.0;

/// Putters of watched keys.
const WRITERS: usize = 16;

/// After a million keys were loaded, before memory is looked at.
const SETTLE: Duration = Duration::from_secs(5);

struct Bench<'a> {
    plan: &'a Plan,
    polis: Server,
    peer: Option<Server>,
    nothing: Server,
}

pub(crate) type Round = (Tally, Option<Duration>);

/// Runs the plan; `told` hears of each figure as it is there. None if it was
/// `stopped` before its end: nothing is left of it either.
pub async fn run(
    plan: &Plan,
    stopped: impl Future<Output = ()>,
    mut told: impl FnMut(&Run),
) -> anyhow::Result<Option<Report>> {
    let version = match &plan.database {
        Some(database) => Some(database.check().await?),
        None => None,
    };
    fs::create_dir_all(&plan.folder)
        .with_context(|| format!("create {}", plan.folder.display()))?;
    // The servers end with what measures them.
    let measured = tokio::select! {
        measured = measure(plan, &mut told) => measured.map(Some),
        () = stopped => Ok(None),
    };
    // What is measured is not kept; what could not be removed is seen.
    let removed = fs::remove_dir_all(&plan.folder);
    let cleared = clear(plan).await;
    let report = measured?;
    removed.with_context(|| format!("remove {}", plan.folder.display()))?;
    cleared?;
    Ok(report.map(|report| Report { database: version, ..report }))
}

async fn measure(plan: &Plan, told: &mut impl FnMut(&Run)) -> anyhow::Result<Report> {
    let mut report = Report::default();
    let timed: Vec<Op> = plan.ops.iter().copied().filter(|op| *op != Op::Memory).collect();
    if !timed.is_empty() {
        let bench = Bench::start(plan, "timed").await?;
        for op in timed {
            for clients in bench.clients(op) {
                let run = bench.timed(op, clients).await?;
                told(&run);
                report.runs.push(run);
            }
        }
    }
    if plan.ops.contains(&Op::Memory) {
        // Fresh ones, that hold nothing else.
        let run = Bench::start(plan, "memory").await?.memory().await?;
        told(&run);
        report.runs.push(run);
    }
    Ok(report)
}

async fn clear(plan: &Plan) -> anyhow::Result<()> {
    match &plan.database {
        Some(database) => database.clear().await.context("clear the database"),
        None => Ok(()),
    }
}

// === impl Bench ===

impl Bench<'_> {
    async fn start<'a>(plan: &'a Plan, name: &str) -> anyhow::Result<Bench<'a>> {
        let folder = plan.folder.join(name);
        fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        clear(plan).await?;
        let secure = plan.tls.then(|| Secure::make(&folder)).transpose()?;
        let start = Start { plan, folder, secure };
        let peer = match &plan.peer {
            None => None,
            Some(Peer::Running(address)) => {
                Some(Server::running("peer", Target { address: *address, tls: None }))
            }
            Some(Peer::Binary(binary)) => Some(start.etcd(binary).await?),
        };
        let polis = start.polis().await?;
        let nothing = start.nothing().await?;
        Ok(Bench { plan, polis, peer, nothing })
    }

    /// A fan-out is measured once: its watchers are its clients.
    fn clients(&self, op: Op) -> Vec<usize> {
        match op {
            Op::WatchFanout => vec![self.plan.watchers],
            _ => self.plan.clients.clone(),
        }
    }

    async fn timed(&self, op: Op, clients: usize) -> anyhow::Result<Run> {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for round in 0..self.plan.rounds {
            // Each side goes first as often as the other.
            let mut sides = vec![(&self.polis, &mut ours)];
            sides.extend(self.peer.as_ref().map(|peer| (peer, &mut theirs)));
            if round % 2 == 1 {
                sides.reverse();
            }
            for (server, rounds) in sides {
                let measured = self.round(op, clients, round, server).await;
                let what =
                    || format!("measure {} with {clients} clients on {}", op.name(), server.name);
                rounds.push(measured.with_context(what)?);
            }
        }
        let polis = Figures::of(&ours);
        let peer = self.peer.as_ref().map(|_| Figures::of(&theirs));
        let ratio = peer.as_ref().map(|peer| polis.per_s / peer.per_s);
        let ceiling = self.ceiling(op, clients).await?;
        Ok(Run { op, clients, better: "higher", polis, peer, ceiling, ratio })
    }

    async fn round(
        &self,
        op: Op,
        clients: usize,
        round: u32,
        server: &Server,
    ) -> anyhow::Result<Round> {
        let target = &server.target;
        let duration = self.plan.duration / self.plan.rounds;
        let value_bytes = self.plan.value_bytes;
        let round = format!("{clients}-{round}");
        match op {
            Op::KeepAlive => {
                let leases = renew::grant(target, clients).await?;
                sleep(REST).await;
                let window = Window::after(WARM_UP, duration);
                with_cpu(server, window, renew::closed_loop(target, &leases, window)).await
            }
            Op::WatchFanout => {
                // Thousands of streams take a while to open.
                let window = Window::after(4 * WARM_UP, duration);
                let fan = fan::closed_loop(target, clients, WRITERS, value_bytes, window);
                with_cpu(server, window, fan).await
            }
            _ => {
                let wanted = DELETIONS_PER_SECOND * (duration + WARM_UP).as_secs_f64();
                let by_clients = wanted * clients as f64 / 32.0;
                let deletions = by_clients.clamp(DELETIONS_MIN, wanted.max(DELETIONS_MIN)) as u64;
                let keys = Keys::prepare(op, target, &round, value_bytes, deletions).await?;
                sleep(REST).await;
                let window = Window::after(WARM_UP, duration);
                let driven = drive::closed_loop(target, &keys, clients, window);
                with_cpu(server, window, driven).await
            }
        }
    }

    async fn ceiling(&self, op: Op, clients: usize) -> anyhow::Result<Option<Ceiling>> {
        let rpc = match op {
            Op::WatchFanout | Op::KeepAlive | Op::Range1000 | Op::Memory => None,
            _ => {
                let window = Window::after(WARM_UP, self.plan.duration / self.plan.rounds);
                let target = &self.nothing.target;
                let work = Keys::bare(op, self.plan.value_bytes);
                Some(drive::closed_loop(target, &work, clients, window).await?.per_second())
            }
        };
        if !op.is_write() || op == Op::WatchFanout {
            return Ok(Ceiling::new(None, rpc));
        }
        let value_bytes = self.plan.value_bytes;
        if let Some(database) = &self.plan.database {
            let raw = database.raw(clients, value_bytes).await.context("measure the database")?;
            return Ok(Some(Ceiling::of_database(raw, rpc)));
        }
        let syncs = ceiling::syncs_per_second(&self.plan.folder, clients, value_bytes)
            .context("measure the disk")?;
        Ok(Ceiling::new(Some(syncs * clients as f64), rpc))
    }

    async fn memory(&self) -> anyhow::Result<Run> {
        let polis = self.filled(&self.polis).await?;
        let peer = match &self.peer {
            Some(peer) => Some(self.filled(peer).await?),
            None => None,
        };
        let ratio = peer
            .as_ref()
            .and_then(|peer| Some(polis.resident_bytes? as f64 / peer.resident_bytes? as f64));
        let clients = self.plan.memory_keys;
        Ok(Run { op: Op::Memory, clients, better: "lower", polis, peer, ceiling: None, ratio })
    }

    async fn filled(&self, server: &Server) -> anyhow::Result<Figures> {
        let (keys, start) = (self.plan.memory_keys as u64, Instant::now());
        load(&server.target, "bench/memory/", keys, self.plan.value_bytes)
            .await
            .with_context(|| format!("load {keys} keys into {}", server.name))?;
        let load_s = Some(start.elapsed().as_secs_f64());
        sleep(SETTLE).await;
        Ok(Figures { resident_bytes: server.resident_bytes(), load_s, ..Figures::default() })
    }
}

/// CPU time that `server` used within the window.
pub(crate) async fn with_cpu(
    server: &Server,
    window: Window,
    driven: impl Future<Output = anyhow::Result<Tally>>,
) -> anyhow::Result<Round> {
    let cpu = async {
        tokio::time::sleep_until(window.start).await;
        let before = server.cpu()?;
        tokio::time::sleep_until(window.end).await;
        Some(server.cpu()? - before)
    };
    let (tally, cpu) = tokio::join!(driven, cpu);
    Ok((tally?, cpu))
}
