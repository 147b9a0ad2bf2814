//! A whole run: proxies started, each protocol measured in turns.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use anyhow::Context;
use tokio::time::{sleep, sleep_until};

use super::{
    Half, Origin, Protocol, ProxyFigures, ProxyPlan, ProxyReport, ProxyRun, RelayKind, Security,
    calls,
    certificates::Certificates,
    figures::Stretch,
    http1,
    pace::{Pace, Pacer},
    pieces,
    sides::{Setting, Side, SideKind},
    traffic::{Traffic, connect},
    users::{self, User},
};
use crate::{
    child::{Server, free_address},
    drive::Window,
    target::Target,
};

/// Caches and branch predictors warmed, pools filled.
const WARM_UP: Duration = Duration::from_millis(400);

/// Between two stretches, so that what one left to be done is not charged to
/// the next.
const REST: Duration = Duration::from_millis(200);

/// Runs the plan; `told` hears of each figure as it is there. None if it was
/// `stopped` before its end: nothing is left of it either.
pub async fn run_proxy(
    plan: &ProxyPlan,
    stopped: impl Future<Output = ()>,
    mut told: impl FnMut(&ProxyRun),
) -> anyhow::Result<Option<ProxyReport>> {
    fs::create_dir_all(&plan.folder)
        .with_context(|| format!("create {}", plan.folder.display()))?;
    // Programs are told of it that run in folders of their own.
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
    plan: &ProxyPlan,
    folder: &Path,
    told: &mut impl FnMut(&ProxyRun),
) -> anyhow::Result<ProxyReport> {
    let mut report = ProxyReport {
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        load_before: load(),
        workers: plan.workers,
        bytes: plan.bytes,
        ..ProxyReport::default()
    };
    for peer in &plan.peers {
        report.versions.insert(peer.name(), peer.version()?);
    }
    let certificates = Certificates::make(folder)?;
    let (origin, served) = start_origin(plan, folder).await?;
    let users = users::all();
    for &security in &plan.security {
        for &protocol in &plan.protocols {
            let folder = folder.join(format!("{}-{}", protocol.name(), security.name()));
            fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
            let setting = Setting {
                plan,
                protocol,
                security,
                origin,
                users: &users,
                certificates: &certificates,
                folder: &folder,
            };
            let measured = async {
                let cell = Cell::start(&setting, &served.target).await?;
                for &clients in &plan.clients {
                    let run = cell.run(clients).await?;
                    told(&run);
                    report.runs.push(run);
                }
                anyhow::Ok(())
            };
            match measured.await {
                Ok(()) => {}
                Err(error) if report.runs.is_empty() => return Err(error),
                Err(error) => {
                    report.failed = Some(format!("{error:#}"));
                    return Ok(report);
                }
            }
        }
    }
    Ok(report)
}

async fn start_origin(plan: &ProxyPlan, folder: &Path) -> anyhow::Result<(Origin, Server)> {
    let origin =
        Origin { a: free_address()?, b: free_address()?, echo: free_address()?, bytes: plan.bytes };
    let args = [
        "bench",
        "origin",
        "--unit-a",
        &origin.a.to_string(),
        "--unit-b",
        &origin.b.to_string(),
        "--echo",
        &origin.echo.to_string(),
        "--bytes",
        &origin.bytes.to_string(),
    ]
    .map(str::to_owned);
    let own = std::env::current_exe().unwrap_or_else(|_| plan.polis.clone());
    let target = Target { address: origin.a, tls: None };
    let server = Server::start("origin", &own, &args, target, &folder.join("origin.log")).await?;
    Ok((origin, server))
}

/// Of the last minute; zero where the kernel does not tell.
fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|load| load.parse().ok()).unwrap_or(0.0)
}

/// All sides with one protocol, secured in one way.
struct Cell<'a> {
    plan: &'a ProxyPlan,
    users: &'a [User],
    protocol: Protocol,
    security: Security,
    sides: Vec<Side>,
    /// The origin itself.
    direct: Target,
}

// === impl Cell ===

impl<'a> Cell<'a> {
    async fn start(setting: &Setting<'a>, origin: &Target) -> anyhow::Result<Cell<'a>> {
        let Setting { plan, protocol, security, users, .. } = *setting;
        let mut sides = vec![setting.polis().await?];
        for peer in &plan.peers {
            sides.push(setting.peer(peer).await?);
        }
        sides.push(setting.relay(RelayKind::Bytes).await?);
        if protocol != Protocol::Tcp {
            sides.push(setting.relay(RelayKind::Hyper).await?);
        }
        let direct = match protocol {
            Protocol::Tcp => Target { address: setting.origin.echo, tls: None },
            _ => origin.clone(),
        };
        Ok(Cell { plan, users, protocol, security, sides, direct })
    }

    async fn run(&self, clients: usize) -> anyhow::Result<ProxyRun> {
        let mut rounds: Vec<Vec<Stretch>> = self.sides.iter().map(|_| Vec::new()).collect();
        let mut direct = Vec::new();
        for round in 0..self.plan.rounds as usize {
            direct.push(self.direct(clients, None).await?);
            // Each goes first, and after each other, as often.
            let count = self.sides.len();
            for n in 0..count {
                let at = if round % 2 == 0 { (n + round) % count } else { count - 1 - n };
                rounds[at].push(self.through(&self.sides[at], clients, None).await?);
            }
        }
        let mut run = ProxyRun {
            protocol: self.protocol,
            tls: self.security,
            clients,
            better: "lower",
            polis: ProxyFigures::default(),
            peers: BTreeMap::new(),
            ceilings: BTreeMap::new(),
            direct: ProxyFigures::of(&direct),
            ratios: BTreeMap::new(),
        };
        for (side, rounds) in self.sides.iter().zip(&rounds) {
            let figures = ProxyFigures::of(rounds);
            let half = Some(self.half(side, clients, figures.per_s / 2.0).await?);
            let figures = ProxyFigures { half, ..figures };
            let name = side.server.name;
            match side.kind {
                SideKind::Polis => run.polis = figures,
                SideKind::Peer => drop(run.peers.insert(name, figures)),
                SideKind::Ceiling => drop(run.ceilings.insert(name, figures)),
            }
        }
        let ours = run.polis.cpu_us;
        let ratio = |theirs: &ProxyFigures| Some(ours? / theirs.cpu_us?);
        let ratios = run.peers.iter().filter_map(|(name, peer)| Some((*name, ratio(peer)?)));
        run.ratios = ratios.collect();
        Ok(run)
    }

    async fn half(&self, side: &Side, clients: usize, per_s: f64) -> anyhow::Result<Half> {
        let through = self.through(side, clients, Some(per_s)).await?;
        let direct = self.direct(clients, Some(per_s)).await?;
        Ok(Half::of(&through, &direct))
    }

    async fn through(
        &self,
        side: &Side,
        clients: usize,
        per_s: Option<f64>,
    ) -> anyhow::Result<Stretch> {
        let server = &side.server;
        let is_routed = side.is_routed(self.protocol);
        let stretch = self.stretch(&server.target, Some(server), is_routed, clients, per_s);
        stretch.await.with_context(|| self.what(server.name, clients))
    }

    async fn direct(&self, clients: usize, per_s: Option<f64>) -> anyhow::Result<Stretch> {
        let stretch = self.stretch(&self.direct, None, false, clients, per_s);
        stretch.await.with_context(|| self.what("the origin", clients))
    }

    fn what(&self, name: &str, clients: usize) -> String {
        let (protocol, security) = (self.protocol.name(), self.security.name());
        format!("measure {protocol} (tls {security}) with {clients} clients through {name}")
    }

    /// Everyone connects, then time is taken.
    async fn stretch(
        &self,
        target: &Target,
        server: Option<&Server>,
        is_routed: bool,
        clients: usize,
        per_s: Option<f64>,
    ) -> anyhow::Result<Stretch> {
        sleep(REST).await;
        let (streams, connections) = match self.protocol.is_http2() {
            true => (Vec::new(), calls::connect(target, clients).await.context("connect")?),
            false => (connect(target, clients).await.context("connect")?, Vec::new()),
        };
        let duration = match per_s {
            None => self.plan.duration / self.plan.rounds,
            Some(_) => self.plan.duration / 2,
        };
        let pacer = per_s.map(Pacer::start);
        let pace = pacer.as_ref().map_or(Pace::Closed, Pacer::pace);
        let window = Window::after(WARM_UP, duration);
        let traffic = Traffic::new(self.users, self.plan.bytes, is_routed, pace, window);
        let driving = async {
            match self.protocol {
                Protocol::Http1 => http1::drive(streams, &traffic).await,
                Protocol::Tcp => pieces::drive(streams, &traffic).await,
                Protocol::Http2 | Protocol::Grpc => {
                    calls::drive(connections, clients, self.protocol, &traffic).await
                }
            }
        };
        let looking = async {
            sleep_until(window.start).await;
            let before = server.and_then(Server::cpu);
            sleep_until(window.end).await;
            let cpu =
                server.and_then(Server::cpu).zip(before).map(|(after, before)| after - before);
            let resident_bytes = server.and_then(Server::resident_bytes);
            if let Some(pacer) = &pacer {
                pacer.stop();
            }
            (cpu, resident_bytes)
        };
        let (driven, (cpu, resident_bytes)) = tokio::join!(driving, looking);
        driven?;
        let judged = traffic.judged();
        Ok(Stretch { tally: traffic.into_tally(), judged, cpu, resident_bytes })
    }
}
