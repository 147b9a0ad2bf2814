//! `polis load`: steady payments, latencies as they go, a history on disk.

use std::{
    io::{IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use load::{Config, EdgeUrl, Load, RunId, Second, Summary};
use resources::{SHARD_MAP_NAME, ShardMapObject};
use serde::Serialize;
use topology::Layout;

use crate::{
    connect,
    data::{DEFAULT_DATA, DataDir},
    layout::CenterPlan,
    output::Format,
    pki::Pki,
};

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Payments a second
    #[arg(long, default_value_t = 500)]
    pub rate: u32,
    /// How long to send: 60s, 5m, 1h
    #[arg(long, default_value = "60s", value_parser = duration)]
    pub duration: Duration,
    /// Payers, spread evenly over all shards
    #[arg(long, default_value_t = 1000)]
    pub users: u32,
    /// How long a payment is tried before its outcome counts as unknown
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub give_up: Duration,
    /// Edges to send to, http://HOST:PORT; those of the estate unless given
    #[arg(long)]
    pub edge: Vec<EdgeUrl>,
    /// Where to write the history; in the data folder unless given
    #[arg(long)]
    pub history: Option<PathBuf>,
    /// Look every payment up afterwards, and audit every shard
    #[arg(long)]
    pub check: bool,
    /// Data folder of the running `polis up`
    #[arg(long, default_value = DEFAULT_DATA, env = "POLIS_DATA")]
    pub data: PathBuf,
    /// How to print the result
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Format,
}

#[derive(Serialize)]
struct Result {
    run: RunId,
    history: PathBuf,
    rate: u32,
    summary: Summary,
    #[serde(skip_serializing_if = "Option::is_none")]
    check: Option<load::Check>,
}

/// Sends; the exit code tells whether everything ended well.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let data = DataDir::new(&args.data);
    let edges = if args.edge.is_empty() { edges(&data)? } else { args.edge.clone() };
    let run = new_run_id();
    let history =
        args.history.clone().unwrap_or_else(|| data.reports().join(format!("load-{run}.jsonl")));
    let config = Config {
        edges: edges.clone(),
        rate: args.rate,
        duration: Some(args.duration),
        users: args.users,
        run: run.clone(),
        give_up: args.give_up,
        layout: layout(&data).await,
        history: history.clone(),
    };
    config.check()?;
    eprintln!("opening {} accounts", args.users);
    let (trigger, drain) = rt::drain::channel();
    let (load, seconds) = Load::prepare(config, drain).await?;
    let shower = tokio::spawn(show(seconds, args.output));
    let interrupt = tokio::spawn(async move {
        // Ctrl-C ends the run early and in order: what is under way is finished.
        if tokio::signal::ctrl_c().await.is_ok() {
            eprintln!("\nstopping: finishing what is under way");
        }
        drop(trigger);
    });
    let report = load.run().await?;
    interrupt.abort();
    let _ = shower.await;
    let check = match args.check {
        true => Some(load::check(&edges, &report.records).await.context("check the payments")?),
        false => None,
    };
    let good = report.summary.unresolved == 0
        && report.summary.not_sent == 0
        && check.as_ref().is_none_or(load::Check::passed);
    let result = Result { run, history, rate: args.rate, summary: report.summary, check };
    print(&result, args.output)?;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The edges of the estate in `data`.
pub fn edges(data: &DataDir) -> anyhow::Result<Vec<EdgeUrl>> {
    let layout = data.layout()?;
    let url = |plan: &CenterPlan| Ok(format!("http://{}", plan.edge()).parse()?);
    layout.centers.iter().map(url).collect()
}

/// Which shard each user is of now. Whoever pays from elsewhere cannot ask; then
/// the history has LDC's numbers.
async fn layout(data: &DataDir) -> Layout {
    let read = async {
        let client = connect::estate(&data.layout()?, &Pki::new(&data.pki()))?;
        let map = client.federation().all::<ShardMapObject>().get(SHARD_MAP_NAME).await?;
        anyhow::Ok(map.status.layout)
    };
    read.await.unwrap_or_default()
}

/// Differs from every earlier run on this machine: milliseconds in base 36.
pub fn new_run_id() -> RunId {
    #[expect(clippy::disallowed_methods, reason = "a name for people, not a measure of time")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let mut left = now;
    let mut digits = Vec::new();
    while left > 0 {
        let digit = u32::try_from(left % 36).expect("below 36");
        digits.push(char::from_digit(digit, 36).expect("a digit of base 36"));
        left /= 36;
    }
    let text: String = digits.into_iter().rev().collect();
    format!("r{text}").parse().expect("lower case letters and digits")
}

async fn show(mut seconds: tokio::sync::mpsc::Receiver<Second>, format: Format) {
    // Progress is for a person who watches; results go to standard output.
    if format == Format::Json && !std::io::stderr().is_terminal() {
        while seconds.recv().await.is_some() {}
        return;
    }
    eprintln!(
        "{:>6} {:>7} {:>8} {:>8} {:>8} {:>9} {:>9}",
        "SECOND", "ACKED", "REFUSED", "UNKNOWN", "RETRIES", "P50 ms", "P99 ms"
    );
    while let Some(second) = seconds.recv().await {
        let Second { second, acked, refused, unknown, failed_tries, p50_us, p99_us } = second;
        eprintln!(
            "{second:>6} {acked:>7} {refused:>8} {unknown:>8} {failed_tries:>8} {:>9.1} {:>9.1}",
            millis(p50_us),
            millis(p99_us)
        );
    }
}

fn print(result: &Result, format: Format) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if format == Format::Json {
        writeln!(out, "{:#}", serde_json::to_value(result)?)?;
        return Ok(());
    }
    let Summary { sent, acked, refused, unknown, not_sent, failed_tries, .. } = result.summary;
    let s = &result.summary;
    writeln!(
        out,
        "\npayments   {sent} sent, {acked} acknowledged, {refused} refused, {unknown} unknown, {not_sent} not sent"
    )?;
    writeln!(
        out,
        "unknown    {} resolved to committed, {} to cancelled, {} open",
        s.resolved_committed, s.resolved_cancelled, s.unresolved
    )?;
    writeln!(out, "retries    {failed_tries}")?;
    writeln!(
        out,
        "latency    p50 {:.1} ms, p90 {:.1} ms, p99 {:.1} ms, p99.9 {:.1} ms, max {:.1} ms",
        millis(s.p50_us),
        millis(s.p90_us),
        millis(s.p99_us),
        millis(s.p999_us),
        millis(s.max_us)
    )?;
    if let Some(check) = &result.check {
        writeln!(
            out,
            "check      {} of {} acknowledged are there, {} lost, {} doubled: {}",
            check.present,
            check.acked,
            check.lost,
            check.doubled,
            if check.passed() { "passed" } else { "FAILED" }
        )?;
        for finding in &check.findings {
            writeln!(out, "           {finding}")?;
        }
    }
    writeln!(out, "history    {}", result.history.display())?;
    Ok(())
}

/// Microseconds as milliseconds, for people.
fn millis(us: u64) -> f64 {
    us as f64 / 1000.0
}

/// `90s`, `5m`, `1h`, or a plain number of seconds.
pub fn duration(text: &str) -> std::result::Result<Duration, String> {
    let unit = |c: char| c.is_ascii_alphabetic();
    let (number, seconds) = match text.trim_end_matches(unit) {
        number if number.len() == text.len() => (number, 1.0),
        number => match &text[number.len()..] {
            "ms" => (number, 0.001),
            "s" => (number, 1.0),
            "m" => (number, 60.0),
            "h" => (number, 3600.0),
            other => return Err(format!("{other:?} is no unit of time: use ms, s, m or h")),
        },
    };
    let number: f64 = number.parse().map_err(|_| format!("{text:?} is no duration: try 60s"))?;
    let seconds = number * seconds;
    // A week is longer than any run; more is a slip of the keyboard.
    if (0.0..=604_800.0).contains(&seconds) && seconds > 0.0 {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err(format!("{text:?} is out of bounds: more than nothing, at most 168h"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_write_them() {
        let ms = Duration::from_millis;
        for (text, expected) in [
            ("60s", ms(60_000)),
            ("250ms", ms(250)),
            ("2m", ms(120_000)),
            ("1.5s", ms(1500)),
            ("3", ms(3000)),
        ] {
            assert_eq!(duration(text), Ok(expected), "{text}");
        }
        for bad in ["", "s", "5d", "-1s", "0s", "1e9h", "nans"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
