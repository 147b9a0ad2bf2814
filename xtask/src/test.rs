//! `cargo xtask test`: everything, in the order in which it fails fastest.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use crate::{
    peers,
    run::{cargo, run as run_command},
    tidy,
};

type Step = fn(&Path) -> anyhow::Result<()>;

/// One build profile for tests and end-to-end tests.
const SECTIONS: [(&str, Step); 7] = [
    ("tidy", tidy::run),
    ("fmt", |root| run_command(at(root).args(["fmt", "--all", "--check"]))),
    ("clippy", |root| {
        let scope = ["clippy", "--workspace", "--all-targets", "--quiet"];
        run_command(at(root).args(scope).args(["--", "-D", "warnings"]))
    }),
    ("peers", |_| peers::fetch().map(drop)),
    ("build", |root| run_command(at(root).args(["build", "--workspace", "--all-targets"]))),
    ("test", |root| {
        let scope = ["test", "--workspace", "--exclude", "e2e", "--quiet", "--no-fail-fast"];
        run_command(at(root).args(scope))
    }),
    ("e2e", end_to_end),
];

/// Named one by one out of the whole workspace: naming the package alone would
/// choose other features and build the dependencies again.
fn end_to_end(root: &Path) -> anyhow::Result<()> {
    let mut command = at(root);
    command.args(["test", "--workspace", "--no-fail-fast"]);
    for file in std::fs::read_dir(root.join("e2e/tests")).context("list e2e/tests")? {
        let path = file.context("list e2e/tests")?.path();
        if let Some(stem) = path.file_stem().filter(|_| path.extension() == Some("rs".as_ref())) {
            command.arg("--test").arg(stem);
        }
    }
    // One at a time: each starts a whole estate and measures it.
    command.args(["--", "--test-threads=1"]).env("POLIS_PEERS", peers::fetch()?);
    run_command(&mut command)
}

/// `wanted` empty means all. Stops behind the first section that fails; a
/// section of tests runs to its end, so that one run tells of all failures.
pub fn run(root: &Path, wanted: &[&str]) -> anyhow::Result<()> {
    if let Some(unknown) =
        wanted.iter().find(|wanted| SECTIONS.iter().all(|(name, _)| name != *wanted))
    {
        let known: Vec<_> = SECTIONS.iter().map(|(name, _)| *name).collect();
        bail!("no section {unknown:?}; there are {}", known.join(", "));
    }
    let mut times = Vec::new();
    for (name, step) in SECTIONS {
        if !wanted.is_empty() && !wanted.contains(&name) {
            continue;
        }
        println!("── {name}");
        let (result, took) = timed(|| step(root));
        times.push((name, took, result.is_ok()));
        if let Err(error) = result {
            report(&times);
            return Err(error.context(format!("section {name}")));
        }
    }
    report(&times);
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "shown to a person")]
fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    (work(), start.elapsed())
}

fn report(times: &[(&str, Duration, bool)]) {
    println!("──");
    for (name, took, passed) in times {
        let verdict = if *passed { "ok" } else { "FAILED" };
        println!("{name:8} {:7.1} s  {verdict}", took.as_secs_f64());
    }
}

fn at(root: &Path) -> Command {
    let mut command = cargo();
    command.current_dir(root);
    command
}
