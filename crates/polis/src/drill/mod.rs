//! `polis drill`: a fault on purpose, under load, measured and healed.
//!
//! Each drill sends load until it is steady, injects the fault through the
//! control socket of `polis up`, waits until service is whole again, heals,
//! waits until every shard is home, and then proves by looking up every payment
//! that nothing acknowledged is lost. It refuses to start on an estate that is
//! not well; `polis up` heals what a drill leaves behind when it is killed.

mod chain;
mod earlier;
mod estate;
mod exercise;
mod fill;
mod html;
mod keep;
mod machine;
mod measure;
mod order;
mod plan;
mod report;
mod series;
mod summary;
mod timeline;
mod verify;

use std::{io::IsTerminal, path::PathBuf, process::ExitCode};

use anyhow::{Context, bail};

use crate::{
    data::{DEFAULT_DATA, DataDir},
    output::Format,
    stop::StopSignal,
    up::fault::Direction,
};
use exercise::Exercise;
use order::{Kind, Scope, Spec};
use plan::{Plan, Step};
use report::Report;
use summary::Goals;

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Command {
    #[command(flatten)]
    Fault(FaultCommand),
    /// Carry out a plan of drills: a game day
    Run(PlanOrder),
    /// Make one report of many
    Gather {
        /// drill-report-RUN.json, each beside its histories
        #[arg(required = true)]
        reports: Vec<PathBuf>,
        /// Milliseconds within which half of each fault's drills should have recovered
        #[arg(long, requires = "goal_worst")]
        goal_p50: Option<u64>,
        /// And within which all of them should
        #[arg(long, requires = "goal_p50")]
        goal_worst: Option<u64>,
        #[command(flatten)]
        place: Where,
    },
    /// Check a report against the chain and the raw history beside it
    Verify {
        /// drill-report-RUN.json
        report: PathBuf,
    },
}

#[derive(Clone, Debug, clap::Subcommand)]
enum FaultCommand {
    /// Kill every process of a city or a center, one process, or a database's node with SIGKILL
    Kill(One),
    /// Stop processes with SIGSTOP, and let them go on later
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
    /// Let the lines of a city or a center carry little (needs namespaces)
    SlowLine {
        #[command(flatten)]
        one: One,
        #[command(flatten)]
        span: Span,
        /// How many thousand bits a second, in each direction
        #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(8..))]
        kbit: u32,
    },
    /// Let packets of a city or a center arrive later (needs namespaces)
    Delay {
        #[command(flatten)]
        one: One,
        /// The other end: cities, centers, `store`, `users`; all unless given
        #[arg(long, value_delimiter = ',')]
        to: Vec<String>,
        #[command(flatten)]
        span: Span,
        /// Milliseconds that each packet takes longer, in each direction
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=1000))]
        ms: u32,
        /// And up to so many more, by chance
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(0..=1000))]
        jitter_ms: u32,
    },
    /// Let the processes of a city or a center, or one process, write to the disk slowly (needs
    /// root and cgroup v1)
    SlowDisk {
        #[command(flatten)]
        one: One,
        #[command(flatten)]
        span: Span,
        /// How many writes a second
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
        writes: u32,
    },
    /// Leave no room where a process keeps its data, if that is a file system of its own
    FullDisk {
        #[command(flatten)]
        one: One,
        #[command(flatten)]
        span: Span,
    },
    /// Set the wall clocks of a city or a center wrong (needs `polis up --clock-library`)
    Skew {
        #[command(flatten)]
        one: One,
        #[command(flatten)]
        span: Span,
        /// By how many seconds; eight days, longer than any key is kept
        #[arg(long, default_value_t = 691_200, allow_hyphen_values = true)]
        seconds: i64,
    },
}

#[derive(Clone, Debug, clap::Args)]
struct One {
    /// What to hit
    #[arg(value_enum)]
    scope: Scope,
    /// Its name: east, east-1, controllers, store, east-1/server, east-1/ledger; of a database's
    /// node its center's
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
    #[command(flatten)]
    span: Span,
}

#[derive(Clone, Debug, clap::Args)]
struct Span {
    /// Seconds that it lasts, where no shard is expected to move
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=600))]
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
    #[command(flatten)]
    place: Where,
}

#[derive(Clone, Debug, clap::Args)]
struct PlanOrder {
    /// The plan (TOML)
    plan: PathBuf,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// How often the whole plan is carried out, instead of what it says
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeat: Option<u32>,
    #[command(flatten)]
    place: Where,
}

#[derive(Clone, Debug, clap::Args)]
struct Where {
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

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Fault(fault) => one(fault).await,
        Command::Run(order) => planned(order).await,
        Command::Gather { reports, goal_p50, goal_worst, place } => {
            let goals = goal_p50.zip(goal_worst);
            let goals = goals.map(|(p50_ms, worst_ms)| Goals { p50_ms, worst_ms });
            gather(&reports, goals, &place)
        }
        Command::Verify { report } => verify::run(&report).map(|()| ExitCode::SUCCESS),
    }
}

/// One fault, as often as it was asked for.
async fn one(fault: FaultCommand) -> anyhow::Result<ExitCode> {
    let (spec, repeat, order) = fault.resolve();
    let plan = Plan {
        rate: order.rate,
        users: order.users,
        abort_after_s: order.abort_after,
        steps: vec![Step { repeat, ..Step::once(spec) }],
        ..Plan::default()
    };
    carry_out(plan, &order.place).await
}

/// A whole day of them.
async fn planned(order: PlanOrder) -> anyhow::Result<ExitCode> {
    let mut plan = Plan::read(&order.plan)?;
    plan.repeat = order.repeat.unwrap_or(plan.repeat);
    if order.dry_run {
        let layout = DataDir::new(&order.place.data).layout()?;
        let mut out = std::io::stdout().lock();
        plan.show(&layout, &mut out)?;
        return Ok(ExitCode::SUCCESS);
    }
    carry_out(plan, &order.place).await
}

async fn carry_out(plan: Plan, place: &Where) -> anyhow::Result<ExitCode> {
    confirm(&plan, place.yes)?;
    let (rate, count) = (plan.rate, plan.drills());
    let data = DataDir::new(&place.data);
    let dir = data.reports();
    let exercise = Exercise::prepare(plan, data).await?;
    let mut stop = StopSignal::new()?;
    let mut drills = Vec::new();
    let ended = tokio::select! {
        ended = exercise.all(&mut drills) => ended,
        () = stop.received() => bail!("interrupted; `polis up` heals what was injected"),
    };
    if drills.is_empty() {
        return ended.map(|()| ExitCode::SUCCESS);
    }
    let mut report = Report::new(rate, exercise.layout(), drills, Vec::new());
    report.earlier = earlier::of(&dir, &report.faults());
    keep::report(&dir, &report, place.report.as_ref(), place.output)?;
    ended?;
    let good = report.passed() == count;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One report of the drills of many.
fn gather(reports: &[PathBuf], goals: Option<Goals>, place: &Where) -> anyhow::Result<ExitCode> {
    let data = DataDir::new(&place.data);
    let (mut drills, mut rate) = (Vec::new(), 0);
    for path in reports {
        let text = std::fs::read_to_string(path);
        let text = text.with_context(|| format!("read {}", path.display()))?;
        let report: Report =
            serde_json::from_str(&text).with_context(|| format!("parse {}", path.display()))?;
        rate = report.rate;
        drills.extend(report.drills);
    }
    let mut report = Report::new(rate, &data.layout()?, drills, Vec::new());
    report.goals = goals;
    keep::report(&data.reports(), &report, place.report.as_ref(), place.output)?;
    let good = report.passed() == report.drills.len() && report.meets_goals();
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Has the name typed back: what is hit carries real traffic.
fn confirm(plan: &Plan, yes: bool) -> anyhow::Result<()> {
    if yes {
        return Ok(());
    }
    let (code, named) = (errors::DRILL_UNCONFIRMED, plan.named());
    if !std::io::stdin().is_terminal() {
        bail!("{code}: {named}: nobody can be asked. {}", code.remedy());
    }
    eprint!("{} drills: type {named} to go on: ", plan.drills());
    let mut typed = String::new();
    std::io::stdin().read_line(&mut typed).context("read the answer")?;
    if typed.trim() != named {
        bail!("{code}: {named}. {}", code.remedy());
    }
    Ok(())
}

// === impl FaultCommand ===

impl FaultCommand {
    fn resolve(self) -> (Spec, u32, Order) {
        let on = |kind, one: One| {
            let spec = Spec::new(kind, one.scope, one.name);
            (spec, one.order.repeat, one.order)
        };
        let along = |kind, one: One, line: Line| {
            let (spec, repeat, order) = on(kind, one);
            let direction = Some(line.direction);
            (Spec { to: line.to, direction, lasts_s: line.span.lasts, ..spec }, repeat, order)
        };
        let during = |kind, one: One, span: Span| {
            let (spec, repeat, order) = on(kind, one);
            (Spec { lasts_s: span.lasts, ..spec }, repeat, order)
        };
        match self {
            FaultCommand::Kill(one) => on(Kind::Kill, one),
            FaultCommand::Pause(one) => on(Kind::Pause, one),
            FaultCommand::SlowLine { one, span, kbit } => {
                let (spec, repeat, order) = during(Kind::SlowLine, one, span);
                (Spec { kbit: Some(kbit), ..spec }, repeat, order)
            }
            FaultCommand::Delay { one, to, span, ms, jitter_ms } => {
                let (spec, repeat, order) = during(Kind::Delay, one, span);
                let (delay_ms, jitter_ms) = (Some(ms), Some(jitter_ms));
                (Spec { to, delay_ms, jitter_ms, ..spec }, repeat, order)
            }
            FaultCommand::SlowDisk { one, span, writes } => {
                let (spec, repeat, order) = during(Kind::SlowDisk, one, span);
                (Spec { writes: Some(writes), ..spec }, repeat, order)
            }
            FaultCommand::FullDisk { one, span } => during(Kind::FullDisk, one, span),
            FaultCommand::Skew { one, span, seconds } => {
                let (spec, repeat, order) = during(Kind::Skew, one, span);
                (Spec { skew_s: Some(seconds), ..spec }, repeat, order)
            }
            FaultCommand::Silence(one) => on(Kind::Silence, one),
            FaultCommand::Cut { one, line } => along(Kind::Cut, one, line),
            FaultCommand::Lose { one, line, percent } => {
                let (spec, repeat, order) = along(Kind::Lose, one, line);
                (Spec { percent: Some(percent), ..spec }, repeat, order)
            }
        }
    }
}
