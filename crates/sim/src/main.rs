//! `polis-sim`: one seed a process, and many seeds by many processes.

use std::{
    collections::VecDeque,
    fs::File,
    io::BufWriter,
    process::{Child, Command, ExitCode, Stdio},
    str::FromStr,
};

use anyhow::{Context as _, bail};
use sim::{Bug, Plan, codes, entropy};
use tracing_subscriber::{Layer as _, layer::SubscriberExt as _, util::SubscriberInitExt as _};

const HELP: &str = "\
usage: polis-sim seed N [--kind plain|memory|ruin] [--replicas N] [--stormy-ms N] [--drift-ppm N]
                        [--bug NAME] [--history FILE]
       polis-sim soak --seeds N [--from N] [the same options]";

fn main() -> anyhow::Result<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| {
        let at = words.iter().position(|word| word == name)?;
        words.get(at + 1)
    };
    match words.first().map(String::as_str) {
        Some("seed") => {
            let seed = parse(words.get(1).context(HELP)?)?;
            entropy::seed(seed);
            let mut plan = Plan::new(seed);
            if let Some(replicas) = option("--replicas") {
                plan.replicas = parse(replicas)?;
            }
            if let Some(stormy_ms) = option("--stormy-ms") {
                plan.stormy_ms = parse(stormy_ms)?;
            }
            if let Some(drift_ppm) = option("--drift-ppm") {
                plan.drift_ppm = parse(drift_ppm)?;
            }
            if let Some(kind) = option("--kind") {
                (plan.sql, plan.ruin) = match kind.as_str() {
                    "plain" => (true, false),
                    "memory" => (false, false),
                    "ruin" => (true, true),
                    _ => bail!("no kind {kind:?}\n{HELP}"),
                };
            }
            if let Some(name) = option("--bug") {
                let known = Bug::ALL.iter().find(|(known, _)| known == name);
                plan.bug = Some(known.with_context(|| format!("no bug {name:?}"))?.1);
            }
            one(plan, option("--history").map(String::as_str))
        }
        Some("soak") => {
            let seeds: u64 = parse(option("--seeds").context(HELP)?)?;
            let from = option("--from").map_or(Ok(0), |from| parse(from))?;
            let ours = ["soak", "--seeds", "--from"];
            let passed = words.iter().enumerate().filter(|(index, word)| {
                let value = *index > 0 && ours[1..].contains(&words[index - 1].as_str());
                !value && !ours.contains(&word.as_str())
            });
            let passed: Vec<&str> = passed.map(|(_, word)| word.as_str()).collect();
            soak(from..from + seeds, &passed)
        }
        _ => bail!(HELP),
    }
}

fn parse<T: FromStr>(word: &str) -> anyhow::Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    word.parse().with_context(|| format!("{word:?} is no number"))
}

fn one(plan: Plan, file: Option<&str>) -> anyhow::Result<ExitCode> {
    let filter = tracing_subscriber::EnvFilter::try_from_env("POLIS_SIM_LOG");
    let filter = filter.unwrap_or_else(|_| "off".into());
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_filter(filter);
    tracing_subscriber::registry().with(lines).with(codes::Codes).init();
    let ran = sim::run(plan);
    if let Some(path) = file {
        let file = File::create(path).with_context(|| format!("create {path}"))?;
        ran.history.write(BufWriter::new(file)).context("write the history")?;
    }
    let history = &ran.history;
    let answered = |operation: &&checker::history::Operation| {
        matches!(operation.outcome, checker::history::Outcome::Ok(_))
    };
    let open = history.operations.iter().filter(|operation| operation.is_open()).count();
    println!(
        "seed {}: {} operations, {} answered, {open} of unknown outcome; {} revisions, {} watches, {} faults{}; trace {:016x}",
        plan.seed,
        history.operations.len(),
        history.operations.iter().filter(answered).count(),
        history.log.len(),
        history.watches.len(),
        ran.told.len(),
        if ran.ruined { ", ruined and recovered" } else { "" },
        ran.trace
    );
    if ran.violations.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    ran.told.iter().for_each(|told| println!("  {told}"));
    ran.violations.iter().take(10).for_each(|violation| println!("{violation}"));
    println!("seed {}: {} violations", plan.seed, ran.violations.len());
    Ok(ExitCode::FAILURE)
}

/// As many at once as there are cores.
fn soak(seeds: std::ops::Range<u64>, options: &[&str]) -> anyhow::Result<ExitCode> {
    let program = std::env::current_exe().context("find this program")?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut running: VecDeque<(u64, Child)> = VecDeque::new();
    let (mut failed, mut ruined) = (Vec::new(), 0);
    let mut end = |seed: u64, child: Child| -> anyhow::Result<()> {
        let output = child.wait_with_output().context("wait for a seed")?;
        ruined += usize::from(String::from_utf8_lossy(&output.stdout).contains(", ruined and"));
        if !output.status.success() {
            print!("{}", String::from_utf8_lossy(&output.stdout));
            print!("{}", String::from_utf8_lossy(&output.stderr));
            println!("again: polis-sim seed {seed} {}", options.join(" "));
            failed.push(seed);
        }
        Ok(())
    };
    for seed in seeds.clone() {
        if running.len() >= cores
            && let Some((seed, child)) = running.pop_front()
        {
            end(seed, child)?;
        }
        let child = Command::new(&program)
            .args(["seed", &seed.to_string()])
            .args(options)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("start a seed")?;
        running.push_back((seed, child));
    }
    for (seed, child) in running {
        end(seed, child)?;
    }
    let count = seeds.end - seeds.start;
    println!("{count} seeds, {ruined} of them ruined, {} failed: {failed:?}", failed.len());
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
