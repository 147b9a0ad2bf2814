//! `polis bench ledger`: payments beside the same SQL written naively.

use std::{process::ExitCode, time::Duration};

use anyhow::Context;
use bench::{Database, LedgerPlan, LedgerRun, Payers};

use super::{count, sheet::Sheet};
use crate::{output::Format, role::store::database, stop::StopSignal};

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    database: database::Database,
    /// How many clients pay at once
    #[arg(long, value_delimiter = ',', default_value = "1,16,128", value_parser = count::<1_000>)]
    clients: Vec<usize>,
    /// How long each side is measured for each figure
    #[arg(long, default_value = "5s", value_parser = crate::load::duration)]
    duration: Duration,
    /// How often both sides take turns within it
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How to print the result
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

const HEADER: [&str; 8] = ["PAYERS", "CLIENTS", "POLIS/S", "P50", "P99", "NAIVE/S", "P99", "RATIO"];

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let plan = plan(&args)?;
    let sheet = Sheet { format: args.output, header: &HEADER, row };
    let mut stop = StopSignal::new()?;
    let report = bench::run_ledger(&plan, stop.received(), |run| sheet.ended(run)).await?;
    sheet.print(report.as_ref().map(|report| (report, &report.runs[..])))
}

fn plan(args: &Args) -> anyhow::Result<LedgerPlan> {
    let config = args.database.config().context("--database")?;
    let url = args.database.database.clone();
    let (url, config) =
        url.zip(config).context("--database: name an empty database, mysql://USER@HOST/NAME")?;
    let password_file = args.database.database_password_file.clone();
    Ok(LedgerPlan {
        database: Database { url, password_file, config },
        clients: args.clients.clone(),
        duration: args.duration,
        rounds: args.rounds,
    })
}

fn row(run: &LedgerRun) -> Vec<String> {
    let payers = match run.payers {
        Payers::Spread => "spread",
        Payers::Hot => "hot",
    };
    let time = |us: f64| format!("{:.1} ms", us / 1000.0);
    let (polis, naive) = (&run.polis, &run.naive);
    vec![
        payers.to_owned(),
        run.clients.to_string(),
        format!("{:.0}", polis.per_s),
        time(polis.p50_us),
        time(polis.p99_us),
        format!("{:.0}", naive.per_s),
        time(naive.p99_us),
        format!("{:.2}", run.ratio),
    ]
}
