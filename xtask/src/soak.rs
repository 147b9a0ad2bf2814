//! `cargo xtask soak`: the long forms of tests that the rest of the time are
//! short.

use std::path::Path;

use anyhow::{Context as _, bail};

use crate::{
    drills::drills,
    peers,
    run::{cargo, released, run},
};

const USAGE: &str = "usage: cargo xtask soak sim --seeds N [--from N] | soak moves-sim \
                     (--seeds N | --for MINUTESm) [--kind storm|pauses] [--from N] | soak store --minutes N | soak keys \
                     --count N | soak moves --count N --rate N | soak databases --count N | \
                     soak drills [--plan FILE] --rounds N --folder FOLDER";

/// What is promised of each kind of loss in `xtask/plans/failover.toml`.
const FAILOVER_GOALS: [&str; 4] = ["--goal-p50", "2000", "--goal-worst", "5000"];

/// `words` after `soak`.
pub fn soak(root: &Path, words: &[&str]) -> anyhow::Result<()> {
    match words {
        ["sim", options @ ..] => {
            let sim = ["run", "--quiet", "-p", "polis-sim", "--", "soak"];
            run(cargo().current_dir(root).args(sim).args(options))
        }
        ["moves-sim", options @ ..] => {
            let sim = ["run", "--quiet", "-p", "polis-sim-moves", "--", "soak"];
            run(cargo().current_dir(root).args(sim).args(options))
        }
        ["store", "--minutes", minutes] => {
            let minutes: u64 = minutes.parse().with_context(|| format!("--minutes {minutes:?}"))?;
            store(root, minutes)
        }
        ["keys", "--count", count] => {
            let count: u64 = count.parse().with_context(|| format!("--count {count:?}"))?;
            keys(root, count)
        }
        ["moves", "--count", count, "--rate", rate] => {
            let count: u64 = count.parse().with_context(|| format!("--count {count:?}"))?;
            let rate: u64 = rate.parse().with_context(|| format!("--rate {rate:?}"))?;
            moves(root, count, rate)
        }
        ["databases", "--count", count] => {
            let count: u64 = count.parse().with_context(|| format!("--count {count:?}"))?;
            databases(root, count)
        }
        ["drills", "--rounds", rounds, "--folder", folder] => {
            let rounds = rounds.parse().with_context(|| format!("--rounds {rounds:?}"))?;
            let plan = root.join("xtask/plans/failover.toml");
            drills(root, &plan, rounds, &std::path::absolute(folder)?, &FAILOVER_GOALS)
        }
        ["drills", "--plan", plan, "--rounds", rounds, "--folder", folder] => {
            let rounds = rounds.parse().with_context(|| format!("--rounds {rounds:?}"))?;
            let [plan, folder] = [plan, folder].map(std::path::absolute);
            drills(root, &plan?, rounds, &folder?, &[])
        }
        _ => bail!("{USAGE}"),
    }
}

/// One store of so many keys. About 300 bytes of disk for each, and as much
/// again while it is compacted.
fn keys(root: &Path, count: u64) -> anyhow::Result<()> {
    run(cargo().current_dir(root).args(["build", "--release", "-p", "polis"]))?;
    let test = ["test", "--release", "-p", "e2e", "--test", "store_keys", "--", "--nocapture"];
    let mut command = cargo();
    command.current_dir(root).args(test);
    command.env("POLIS_PEERS", peers::fetch()?).env("POLIS_SOAK_KEYS", count.to_string());
    run(&mut command)
}

/// So many shards moved one by one, under so many payments a second.
fn moves(root: &Path, count: u64, rate: u64) -> anyhow::Result<()> {
    run(cargo().current_dir(root).args(["build", "--release", "-p", "polis"]))?;
    let test = ["test", "--release", "-p", "e2e", "--test", "moves_many", "--", "--nocapture"];
    let mut command = cargo();
    command.current_dir(root).args(test);
    command.env("POLIS_PEERS", peers::fetch()?).env("POLIS_SOAK_MOVES", count.to_string());
    run(command.env("POLIS_SOAK_RATE", rate.to_string()))
}

/// So many cities lost, each with its nodes of a database: of Galera, killed
/// and silent (root), and of a primary with its replicas.
fn databases(root: &Path, count: u64) -> anyhow::Result<()> {
    let polis = released(root)?;
    let tests = ["test", "--workspace", "--test", "up_galera", "--test", "up_replicas"];
    let shown = ["--no-fail-fast", "--", "--test-threads=1", "--nocapture"];
    let mut command = cargo();
    command.current_dir(root).args(tests).args(shown).env("POLIS_PEERS", peers::fetch()?);
    command.env("POLIS_BIN", polis);
    for variable in ["POLIS_GALERA_DRILLS", "POLIS_REPLICAS_DRILLS"] {
        command.env(variable, count.to_string());
    }
    run(&mut command)
}

/// Replicas over real databases with faults under load, this long over each.
fn store(root: &Path, minutes: u64) -> anyhow::Result<()> {
    run(cargo().current_dir(root).args(["build", "-p", "polis"]))?;
    let tests = ["test", "-p", "e2e", "--test", "store_seekdb", "--test", "store_galera"];
    let shown = ["--", "--test-threads=1", "--nocapture"];
    let mut command = cargo();
    command.current_dir(root).args(tests).args(shown);
    command.env("POLIS_PEERS", peers::fetch()?).env("POLIS_SOAK_MINUTES", minutes.to_string());
    run(&mut command)
}
