//! `polis drill`: a fault on purpose, under load, measured and healed.
//!
//! Each drill sends load until it is steady, injects the fault through the
//! control socket of `polis up`, waits until service is whole again, heals,
//! waits until every shard is home, and then proves by looking up every payment
//! that nothing acknowledged is lost. It refuses to start on an estate that is
//! not well; `polis up` heals what a drill leaves behind when it is killed.

mod estate;
mod measure;
mod order;
mod report;
mod timeline;

use std::{
    io::{IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, bail};
use client::Client;
use load::{Config, EdgeUrl, Load, Outcome, Record};
use tokio::time::Instant;

use crate::{
    connect,
    data::{DEFAULT_DATA, DataDir},
    layout::{CenterPlan, Layout},
    load::{edges, new_run_id},
    output::Format,
    pki::Pki,
    stop::StopSignal,
    up::{
        control::Session,
        fault::{Direction, Fault},
    },
};
use measure::Injected;
use order::{Kind, Scope, Spec};
use report::{Drill, Report, Rto};
use timeline::{Hit, Timeline};

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Command {
    /// Kill every process of a city or a center with SIGKILL
    Kill(One),
    /// Stop every process of a center with SIGSTOP, and go on with it later
    Pause(One),
    /// Lose every packet from and to a city or a center
    Silence(One),
    /// Lose packets of a city or a center in one direction, or on one line
    Cut {
        #[command(flatten)]
        one: One,
        #[command(flatten)]
        line: Line,
    },
    /// Lose some packets of a city or a center, at random
    Lose {
        #[command(flatten)]
        one: One,
        #[command(flatten)]
        line: Line,
        /// How many of a hundred packets
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
        percent: u16,
    },
}

#[derive(Clone, Debug, clap::Args)]
struct One {
    /// What to hit
    #[arg(value_enum)]
    scope: Scope,
    /// Its name
    name: String,
    #[command(flatten)]
    order: Order,
}

#[derive(Clone, Debug, clap::Args)]
struct Line {
    /// Which packets: those it sends (out), those sent to it (in), or both
    #[arg(long, value_enum, default_value = "both")]
    direction: Direction,
    /// The other end: cities, centers, `store`, `users`; all unless given
    #[arg(long, value_delimiter = ',')]
    to: Vec<String>,
    /// Seconds that it lasts, where no shard is expected to move
    #[arg(long)]
    lasts: Option<u64>,
}

#[derive(Clone, Debug, clap::Args)]
struct Order {
    /// How many drills, one after the other
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeat: u32,
    /// Payments a second
    #[arg(long, default_value_t = 500)]
    rate: u32,
    /// Payers
    #[arg(long, default_value_t = 1000)]
    users: u32,
    /// Seconds after which a fault that is not recovered from is healed
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=600))]
    abort_after: u64,
    /// Do not ask for the name again
    #[arg(long)]
    yes: bool,
    /// Data folder of the running `polis up`
    #[arg(long, default_value = DEFAULT_DATA, env = "POLIS_DATA")]
    data: PathBuf,
    /// Write the report (JSON) here too
    #[arg(long)]
    report: Option<PathBuf>,
    /// How to print the report
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Steady load before the fault: the rate before is taken over 5 s of it.
const WARM_UP: Duration = Duration::from_secs(6);
/// How much longer than it should a fault may last before `up` heals it: the
/// seconds that must hold, and time to say so.
const HEAL_MARGIN: Duration = Duration::from_secs(30);
/// Longest wait for centers to come back and shards to go home.
const RETURN_MAX: Duration = Duration::from_secs(120);
/// Load that goes on after everything is home.
const COOL_DOWN: Duration = Duration::from_secs(1);

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (spec, order) = args.command.resolve();
    let data = DataDir::new(&order.data);
    let layout = data.layout()?;
    let hit = spec.hit(&layout)?;
    let fault = spec.fault(&layout)?;
    // Watched from where the fault is not: a paused API server answers nothing,
    // and its clients take seconds to notice.
    let mut centers = layout.centers.clone();
    centers.sort_by_key(|plan| hit.iter().any(|hit| hit.center == plan.center));
    let client = connect::through(&centers, &Pki::new(&data.pki()))?;
    estate::check_allowed(&client, &hit).await?;
    confirm(&spec, order.yes)?;
    let exercise = Exercise { spec, fault, order, edges: edges(&data)?, data, layout, client };
    let mut stop = StopSignal::new()?;
    let drills = tokio::select! {
        drills = exercise.all(&hit) => drills?,
        () = stop.received() => bail!("interrupted; `polis up` heals what was injected"),
    };
    let report = Report::new(exercise.order.rate, drills);
    exercise.keep(&report)?;
    let good = report.drills.iter().all(Drill::passed);
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Has the name typed back: what is hit carries real traffic.
fn confirm(spec: &Spec, yes: bool) -> anyhow::Result<()> {
    if yes {
        return Ok(());
    }
    let code = errors::DRILL_UNCONFIRMED;
    if !std::io::stdin().is_terminal() {
        bail!("{code}: {spec}: nobody can be asked. {}", code.remedy());
    }
    eprint!("{spec}: type {} to go on: ", spec.name);
    let mut typed = String::new();
    std::io::stdin().read_line(&mut typed).context("read the answer")?;
    if typed.trim() != spec.name {
        bail!("{code}: {spec}. {}", code.remedy());
    }
    Ok(())
}

/// Everything that stays the same from one drill to the next.
struct Exercise {
    spec: Spec,
    fault: Fault,
    order: Order,
    data: DataDir,
    layout: Layout,
    edges: Vec<EdgeUrl>,
    client: Client,
}

// === impl Command ===

impl Command {
    fn resolve(self) -> (Spec, Order) {
        let on = |kind, one: One| (Spec::new(kind, one.scope, one.name), one.order);
        let along = |kind, one: One, line: Line| {
            let (spec, order) = on(kind, one);
            let direction = Some(line.direction);
            (Spec { to: line.to, direction, lasts_s: line.lasts, ..spec }, order)
        };
        match self {
            Command::Kill(one) => on(Kind::Kill, one),
            Command::Pause(one) => on(Kind::Pause, one),
            Command::Silence(one) => on(Kind::Silence, one),
            Command::Cut { one, line } => along(Kind::Cut, one, line),
            Command::Lose { one, line, percent } => {
                let (spec, order) = along(Kind::Lose, one, line);
                (Spec { percent: Some(percent), ..spec }, order)
            }
        }
    }
}

// === impl Exercise ===

impl Exercise {
    async fn all(&self, hit: &[CenterPlan]) -> anyhow::Result<Vec<Drill>> {
        let mut drills = Vec::new();
        for number in 1..=self.order.repeat {
            let shown = format!("drill {number} of {}: {}", self.order.repeat, self.spec);
            drills.push(self.once(hit, &shown).await.with_context(|| shown.clone())?);
        }
        Ok(drills)
    }

    async fn once(&self, hit: &[CenterPlan], shown: &str) -> anyhow::Result<Drill> {
        let say = |what: &str| eprintln!("{shown}: {what}");
        estate::well(&self.client, &self.layout, RETURN_MAX).await?;
        let run = new_run_id();
        let history = self.data.reports().join(format!("drill-{run}.jsonl"));
        let config = Config {
            edges: self.edges.clone(),
            rate: self.order.rate,
            duration: None,
            users: self.order.users,
            run,
            history: history.clone(),
        };
        let (stop, stopped) = rt::drain::channel();
        let (load, mut seconds) = Load::prepare(config, stopped).await?;
        tokio::spawn(async move { while seconds.recv().await.is_some() {} });
        say("load");
        let load_start = Instant::now();
        let load = tokio::spawn(load.run());
        let timeline = Timeline::start(&self.client, estate::hit(&self.client, hit).await?).await;
        tokio::time::sleep_until(load_start + WARM_UP).await;
        let lost = estate::hit(&self.client, hit).await?;
        say("fault");
        let fault_at = Instant::now();
        let outcome = self.inject_and_heal(hit, &timeline, &say).await;
        tokio::time::sleep(COOL_DOWN).await;
        drop(stop);
        let load = load.await.context("run the load")??;
        let healed = outcome?;
        say("checking every payment");
        let check = load::check(&self.edges, &load.records).await.context("check the payments")?;
        let since = |at: Instant| micros(at.saturating_duration_since(load.start));
        let dead_edges: Vec<_> = (0..self.edges.len())
            .filter(|edge| hit.iter().any(|plan| plan.center == self.layout.centers[*edge].center))
            .collect();
        let injected = Injected {
            at_us: since(fault_at),
            lost: &lost.shards,
            dead_edges: &dead_edges,
            healed_us: since(healed.ready_at),
        };
        let recovery = measure::recovery(&load.records, &injected);
        let drill = Drill {
            fault: self.spec.to_string(),
            hypothesis: self.spec.hypothesis(),
            aborted: healed.aborted,
            rto_ms: phases(&recovery, &timeline, fault_at),
            acked: check.acked,
            present: check.present,
            lost: check.lost,
            doubled: check.doubled,
            unknown_resolved: check.unknown_resolved,
            unresolved: check.unresolved,
            edge_lost: measure::edge_lost(&load.records, &injected),
            unaffected_errors: measure::unaffected_errors(&load.records, &injected),
            affected_errors: open_on(&load.records, &lost),
            rate_before: recovery.rate_before,
            p99_before_ms: p99_before(&load.records, injected.at_us),
            return_ms: Some(millis(healed.home_at.saturating_duration_since(healed.ordered_at))),
            invariants: check.invariants,
            history: history.display().to_string(),
            findings: check.findings,
        };
        let total = drill.rto_ms.total.map_or_else(|| "not seen".into(), |ms| format!("{ms} ms"));
        say(&format!("recovery {total}, {} acknowledged, {} lost", drill.acked, drill.lost));
        Ok(drill)
    }

    /// The fault, the wait for recovery, and the healing: the last in any case.
    async fn inject_and_heal(
        &self,
        hit: &[CenterPlan],
        timeline: &Timeline,
        say: &impl Fn(&str),
    ) -> anyhow::Result<Healed> {
        let limit = Duration::from_secs(self.order.abort_after);
        let mut session = Session::open(&self.data.control_socket()).await?;
        let mut aborted = false;
        let recovered = async {
            session.inject(&self.fault, limit + HEAL_MARGIN).await?;
            if self.spec.moves_shards() {
                let until = Instant::now() + limit;
                while timeline.moments().fenced.is_none() {
                    if Instant::now() >= until {
                        aborted = true;
                        return Ok(());
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            } else {
                tokio::time::sleep(Duration::from_secs(self.spec.lasts_s())).await;
            }
            // The seconds that must hold, and one more for what is under way.
            tokio::time::sleep(Duration::from_secs(measure::HOLD_SECONDS + 2)).await;
            anyhow::Ok(())
        };
        let recovered = recovered.await;
        say("healing");
        let ordered_at = Instant::now();
        session.heal(&self.fault).await.context("heal")?;
        recovered?;
        estate::centers_ready(&self.client, hit, RETURN_MAX).await?;
        let ready_at = Instant::now();
        estate::well(&self.client, &self.layout, RETURN_MAX).await?;
        Ok(Healed { aborted, ordered_at, ready_at, home_at: Instant::now() })
    }

    fn keep(&self, report: &Report) -> anyhow::Result<()> {
        let json = format!("{:#}\n", serde_json::to_value(report)?);
        let kept = self.data.reports().join(format!("drill-report-{}.json", new_run_id()));
        for path in [Some(&kept), self.order.report.as_ref()].into_iter().flatten() {
            std::fs::write(path, &json).with_context(|| format!("write {}", path.display()))?;
        }
        let mut out = std::io::stdout().lock();
        match self.order.output {
            Format::Json => out.write_all(json.as_bytes())?,
            Format::Table => {
                report.table(&mut out)?;
                writeln!(out, "report: {}", kept.display())?;
            }
        }
        Ok(())
    }
}

struct Healed {
    /// It took longer than the drill allows, so the fault was ended.
    aborted: bool,
    ordered_at: Instant,
    /// The centers that were hit are up.
    ready_at: Instant,
    /// Every shard is home.
    home_at: Instant,
}

fn phases(recovery: &measure::Recovery, timeline: &Timeline, fault_at: Instant) -> Rto {
    let moments = timeline.moments();
    let since = |at: Option<Instant>| at.map(|at| millis(at.saturating_duration_since(fault_at)));
    let step = |from: Option<u64>, to: Option<u64>| Some(to?.saturating_sub(from?));
    let [detected, decided, fenced] =
        [moments.suspected, moments.decided, moments.fenced].map(since);
    let [rerouted, total] =
        [recovery.last_shard_us, recovery.total_us].map(|us| us.map(|us| us / 1000));
    Rto {
        total,
        detect: detected,
        decide: step(detected, decided),
        fence: step(decided, fenced),
        reroute: step(fenced, rerouted),
        hold: step(rerouted, total),
    }
}

fn open_on(records: &[Record], lost: &Hit) -> u64 {
    let open = |record: &&Record| {
        matches!(record.outcome, Outcome::Unknown | Outcome::NotSent)
            && lost.shards.contains(record.shard)
    };
    records.iter().filter(open).count() as u64
}

fn p99_before(records: &[Record], at_us: u64) -> f64 {
    let before = |record: &&Record| record.outcome == Outcome::Acked && record.end_us < at_us;
    let mut latencies: Vec<_> = records.iter().filter(before).map(Record::latency_us).collect();
    latencies.sort_unstable();
    let index = (latencies.len() * 99 / 100).min(latencies.len().saturating_sub(1));
    latencies.get(index).map_or(0.0, |us| *us as f64 / 1000.0)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
