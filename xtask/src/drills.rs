//! `cargo xtask soak drills`: a plan of drills, round after round, over as many
//! runs as it takes; what was done is not done again.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail};

use crate::run::{released, run};

/// Looks for `polis up` to be ready, a quarter of a second apart.
const LOOKS_MAX: u32 = 480;

/// Carries out `plan` until there are so many rounds in `folder`, and gathers
/// them all into `folder/drills.json`, with the goals beside them.
pub fn drills(
    root: &Path,
    plan: &Path,
    rounds: u32,
    folder: &Path,
    goals: &[&str],
) -> anyhow::Result<()> {
    if !plan.is_file() {
        bail!("plan {} is not there; `polis drill run --help` tells of plans", plan.display());
    }
    let polis = released(root)?;
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    let round = |number: u32| folder.join(format!("round-{number:04}.json"));
    let data = folder.join("data");
    let open: Vec<_> = (1..=rounds).filter(|number| !round(*number).exists()).collect();
    println!("{} of {rounds} rounds are still to do", open.len());
    if !open.is_empty() {
        let up = Up::start(&polis, &data, folder)?;
        for number in open {
            // Into its place only when it is whole: a round that was cut short
            // is done again.
            let beside = folder.join("round.tmp");
            let mut drill = Command::new(&polis);
            drill.args(["drill", "run"]).arg(plan).arg("--data").arg(&data);
            let log = folder.join(format!("round-{number:04}.log"));
            let log = File::create(&log).context("create the log of a round")?;
            drill.stdout(log.try_clone()?).stderr(log);
            let status = drill.arg("--yes").arg("--report").arg(&beside).status();
            let status = status.context("start a round")?;
            println!("round {number} of {rounds}: {status}");
            fs::rename(&beside, round(number))
                .with_context(|| format!("round {number} left no report ({status})"))?;
        }
        drop(up);
    }
    let mut gather = Command::new(&polis);
    gather.args(["drill", "gather"]).args((1..=rounds).map(round)).arg("--data").arg(&data);
    run(gather.args(goals).arg("--report").arg(folder.join("drills.json")))
}

/// A running estate with a network per center, gone with this value.
struct Up {
    child: Child,
    polis: PathBuf,
    data: PathBuf,
}

// === impl Up ===

impl Up {
    fn start(polis: &Path, data: &Path, folder: &Path) -> anyhow::Result<Up> {
        let log = folder.join("up.log");
        let file = File::create(&log).context("create the log")?;
        let mut command = Command::new(polis);
        command.args(["up", "--network", "namespaces", "--base-port", "25000", "--data"]).arg(data);
        command.stdin(Stdio::null()).stderr(file.try_clone()?).stdout(file);
        let child = command.spawn().context("start polis up")?;
        let mut up = Up { child, polis: polis.to_owned(), data: data.to_owned() };
        for _ in 0..LOOKS_MAX {
            if fs::read_to_string(&log)?.contains("Ctrl-C stops everything") {
                return Ok(up);
            }
            if up.child.try_wait()?.is_some() {
                bail!("polis up ended:\n{}", fs::read_to_string(&log)?);
            }
            #[expect(clippy::disallowed_methods, reason = "between two looks at a log")]
            thread::sleep(Duration::from_millis(250));
        }
        bail!("polis up is not ready; its log is {}", log.display())
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // All it started dies with it; its networks do not.
        let _ = (self.child.kill(), self.child.wait());
        let cleanup =
            Command::new(&self.polis).args(["up", "--cleanup", "--data"]).arg(&self.data).status();
        if !cleanup.is_ok_and(|status| status.success()) {
            eprintln!("networks are left: run polis up --cleanup --data {}", self.data.display());
        }
    }
}
