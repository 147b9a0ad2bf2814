//! `polis-sim-moves`: one seed a process, and many seeds by many processes.

use std::{
    collections::VecDeque,
    process::{Child, Command, ExitCode, Stdio},
    str::FromStr,
    time::Duration,
};

use anyhow::{Context as _, bail};
use sim_moves::{Bug, Plan, world::Kind};

const HELP: &str = "\
usage: polis-sim-moves seed N [--kind storm|pauses] [--stormy-ms N] [--payers N] [--bug NAME] [--tell]
       polis-sim-moves soak (--seeds N | --for MINUTESm) [--from N] [the same options]";

/// So much is shown of a seed that fails.
const SHOWN: usize = 10;

fn main() -> anyhow::Result<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| {
        let at = words.iter().position(|word| word == name)?;
        words.get(at + 1)
    };
    match words.first().map(String::as_str) {
        Some("seed") => {
            let seed = parse(words.get(1).context(HELP)?)?;
            sim::entropy::seed(seed);
            let kind = match option("--kind").map(String::as_str) {
                None | Some("storm") => Kind::Storm,
                Some("pauses") => Kind::Pauses,
                Some(kind) => bail!("no kind {kind:?}\n{HELP}"),
            };
            let mut plan = Plan::new(seed, kind);
            if let Some(stormy_ms) = option("--stormy-ms") {
                plan.stormy_ms = parse(stormy_ms)?;
            }
            if let Some(payers) = option("--payers") {
                plan.payers = parse(payers)?;
            }
            if let Some(name) = option("--bug") {
                let known = Bug::ALL.iter().find(|(known, _)| known == name);
                plan.bug = Some(known.with_context(|| format!("no bug {name:?}"))?.1);
            }
            Ok(one(plan, words.iter().any(|word| word == "--tell")))
        }
        Some("soak") => {
            let from = option("--from").map_or(Ok(0), |from| parse(from))?;
            let bound = match (option("--seeds"), option("--for")) {
                (Some(seeds), None) => Bound::Seeds(parse(seeds)?),
                (None, Some(time)) => {
                    let minutes = time.strip_suffix('m').with_context(|| format!("{time:?}"))?;
                    Bound::Time(Duration::from_secs(60 * parse::<u64>(minutes)?))
                }
                _ => bail!(HELP),
            };
            let ours = ["soak", "--seeds", "--for", "--from"];
            let passed = words.iter().enumerate().filter(|(index, word)| {
                let value = *index > 0 && ours[1..].contains(&words[index - 1].as_str());
                !value && !ours.contains(&word.as_str())
            });
            let passed: Vec<&str> = passed.map(|(_, word)| word.as_str()).collect();
            soak(from, &bound, &passed)
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

fn one(plan: Plan, tell: bool) -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_env("POLIS_SIM_LOG");
    let filter = filter.unwrap_or_else(|_| "off".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let ran = sim_moves::run(plan);
    println!(
        "seed {}: {} payments, {} acknowledged; {} moves intended, {} served; {} parts; {} pauses; \
         {} ms to settle; {} virtual ms; trace {:016x}",
        plan.seed,
        ran.payments,
        ran.acknowledged,
        ran.seen.intended,
        ran.seen.served,
        ran.seen.parts,
        ran.pauses,
        ran.settled_ms,
        ran.virtual_ms,
        ran.trace
    );
    if tell || !ran.violations.is_empty() {
        ran.told.iter().for_each(|(at, told)| println!("  {at} {told}"));
    }
    if ran.violations.is_empty() {
        return ExitCode::SUCCESS;
    }
    ran.violations.iter().take(SHOWN).for_each(|violation| println!("{violation}"));
    println!("seed {}: {} violations", plan.seed, ran.violations.len());
    ExitCode::FAILURE
}

enum Bound {
    Seeds(u64),
    Time(Duration),
}

/// What the seeds of a soak came to together.
#[derive(Default)]
struct Sum {
    seeds: u64,
    failed: Vec<u64>,
    virtual_ms: u64,
    payments: u64,
    moves: u64,
    parts: u64,
    pauses: u64,
    settled_ms_max: u64,
}

/// As many at once as there are cores.
#[expect(clippy::disallowed_methods, reason = "real time passes while others simulate")]
fn soak(from: u64, bound: &Bound, options: &[&str]) -> anyhow::Result<ExitCode> {
    let program = std::env::current_exe().context("find this program")?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let started = std::time::Instant::now();
    let goes_on = |seed: u64| match bound {
        Bound::Seeds(count) => seed < from + count,
        Bound::Time(time) => started.elapsed() < *time,
    };
    let (mut running, mut sum) = (VecDeque::<(u64, Child)>::new(), Sum::default());
    let mut seed = from;
    while goes_on(seed) {
        if running.len() >= cores
            && let Some((seed, child)) = running.pop_front()
        {
            sum.end(seed, child, options)?;
        }
        let child = Command::new(&program)
            .args(["seed", &seed.to_string()])
            .args(options)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("start a seed")?;
        running.push_back((seed, child));
        seed += 1;
    }
    for (seed, child) in running {
        sum.end(seed, child, options)?;
    }
    let real_s = started.elapsed().as_secs_f64();
    println!(
        "{} seeds from {from}, {:.2} a second; {:.2} virtual hours, {:.0} times as fast as real \
         time; {} payments, {} moves, {} parts split off, {} pauses; settled within {} ms",
        sum.seeds,
        sum.seeds as f64 / real_s,
        sum.virtual_ms as f64 / 3_600_000.0,
        sum.virtual_ms as f64 / 1_000.0 / real_s,
        sum.payments,
        sum.moves,
        sum.parts,
        sum.pauses,
        sum.settled_ms_max,
    );
    match sum.failed.first() {
        None => Ok(ExitCode::SUCCESS),
        Some(first) => {
            println!("{} failed: {:?}", sum.failed.len(), sum.failed);
            println!("the first again: polis-sim-moves seed {first} {}", options.join(" "));
            Ok(ExitCode::FAILURE)
        }
    }
}

// === impl Sum ===

impl Sum {
    fn end(&mut self, seed: u64, child: Child, options: &[&str]) -> anyhow::Result<()> {
        let output = child.wait_with_output().context("wait for a seed")?;
        let said = String::from_utf8_lossy(&output.stdout);
        let before = |word: &str| {
            let at = said.find(word)?;
            said[..at].split_whitespace().last()?.parse::<u64>().ok()
        };
        self.seeds += 1;
        self.virtual_ms += before(" virtual ms").unwrap_or(0);
        self.payments += before(" payments").unwrap_or(0);
        self.moves += before(" moves intended").unwrap_or(0);
        self.parts += before(" parts").unwrap_or(0);
        self.pauses += before(" pauses").unwrap_or(0);
        self.settled_ms_max = self.settled_ms_max.max(before(" ms to settle").unwrap_or(0));
        if !output.status.success() {
            print!("{said}{}", String::from_utf8_lossy(&output.stderr));
            println!("again: polis-sim-moves seed {seed} {}", options.join(" "));
            self.failed.push(seed);
        }
        Ok(())
    }
}
