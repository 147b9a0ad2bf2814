//! `cargo xtask bench-sql`: the store on the databases among the peers, each
//! started for the run and gone after it.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
};

use anyhow::{Context as _, bail};

use crate::{
    peers,
    run::{cargo, run},
};

const DATABASES: [&str; 3] = ["seekdb", "mariadb", "galera"];

/// A database that serves while its input is open.
struct Served {
    child: Child,
    input: Option<ChildStdin>,
}

/// `words`: databases, all of them if none is named, then options of `polis
/// bench store`.
pub fn bench_sql(root: &Path, words: &[&str]) -> anyhow::Result<()> {
    let options_at = words.iter().position(|word| word.starts_with('-')).unwrap_or(words.len());
    let (named, options) = words.split_at(options_at);
    if let Some(other) = named.iter().find(|named| !DATABASES.contains(named)) {
        bail!("no database {other:?}; there are {}", DATABASES.join(", "));
    }
    let databases = if named.is_empty() { &DATABASES[..] } else { named };
    let peers = peers::fetch()?;
    // Together, so that both are built with the same features of everything.
    let build = ["build", "--release", "-p", "polis", "-p", "polis-testkit"];
    run(cargo().current_dir(root).args(build).args(["--bins", "--examples"]))?;
    let built = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root.join("target"), |set| root.join(set))
        .join("release");
    for database in databases {
        let mut serve = Command::new(built.join("examples/database"));
        let (served, url) = Served::start(serve.arg(database).env("POLIS_PEERS", &peers))
            .with_context(|| format!("start {database}"))?;
        eprintln!("{database}: {url}");
        let mut bench = Command::new(built.join("polis"));
        bench.args(["bench", "store", "--database", &url]).args(options);
        let measured = run(bench.env("POLIS_PEERS", &peers));
        drop(served);
        measured?;
    }
    Ok(())
}

// === impl Served ===

impl Served {
    /// Waits until it has told its URL.
    fn start(command: &mut Command) -> anyhow::Result<(Served, String)> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take();
        let output = child.stdout.take().context("its output is piped")?;
        let served = Served { child, input };
        let mut url = String::new();
        BufReader::new(output).read_line(&mut url).context("read its URL")?;
        match url.trim_end() {
            "" => bail!("it ended; what went wrong is above"),
            url => Ok((served, url.to_owned())),
        }
    }
}

impl Drop for Served {
    /// It ends with its input, and takes its files with it.
    fn drop(&mut self) {
        self.input = None;
        let _ = self.child.wait();
    }
}
