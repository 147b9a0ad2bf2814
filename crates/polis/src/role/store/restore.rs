//! `polis store restore`: a store from snapshots of etcd's, or of ours, in a
//! folder or in a database.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use clap::ArgGroup;
use kv::KeyspaceName;
use serde::Serialize;
use store::snapshot::{Restored, Snapshot, restore_database};

use super::database::Database;
use crate::output::{Format, table};

#[derive(Clone, Debug, clap::Args)]
#[command(group = ArgGroup::new("place").required(true).args(["data_dir", "database"]))]
pub struct Args {
    /// Snapshots, of which each becomes a keyspace: FILE, or KEYSPACE=FILE
    #[arg(required = true, value_name = "[KEYSPACE=]FILE")]
    files: Vec<String>,
    /// Folder for the log; must be empty or absent
    #[arg(long)]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    database: Database,
    /// Remove first what a restore into the database has left that was cut off
    #[arg(long, conflicts_with = "data_dir")]
    start_over: bool,
    /// Keyspace of a single file
    #[arg(long, default_value = KeyspaceName::DEFAULT)]
    keyspace: String,
    /// Take files without a hash, such as one copied from a stopped etcd
    #[arg(long)]
    skip_hash_check: bool,
    /// How to print what was restored
    #[arg(short, long, value_enum, default_value = "table")]
    output: Format,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
struct Row {
    keyspace: String,
    revision: u64,
    compacted: u64,
    versions: u64,
    leases: usize,
    users: usize,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let mut snapshots = Vec::new();
    for file in &args.files {
        let (name, path) = keyspace_and_file(args, file)?;
        if snapshots.iter().any(|(other, _)| *other == name) {
            bail!("two files for keyspace {name}: write KEYSPACE=FILE");
        }
        snapshots.push((name, Snapshot::open(Path::new(path), args.skip_hash_check)?));
    }
    let runtime = crate::role::runtime(Some(1))?;
    let restored = match (args.database.config()?, &args.data_dir) {
        (Some(database), _) => {
            runtime.block_on(restore_database(database, args.start_over, snapshots))?
        }
        (None, Some(folder)) => runtime.block_on(store::snapshot::restore(folder, snapshots))?,
        (None, None) => bail!("say where: --data-dir or --database"),
    };
    let rows: Vec<_> = restored.into_iter().map(Row::from).collect();
    let mut out = std::io::stdout().lock();
    match args.output {
        Format::Json => writeln!(out, "{}", serde_json::to_string(&rows)?)?,
        Format::Table => {
            let header = ["KEYSPACE", "REVISION", "COMPACTED", "VERSIONS", "LEASES", "USERS"];
            let cells: Vec<_> = rows.iter().map(Row::cells).collect();
            table(&mut out, &header, &cells)?;
        }
    }
    Ok(())
}

/// A file name may hold `=` too: then what is before it is no keyspace's name.
fn keyspace_and_file<'a>(args: &Args, file: &'a str) -> anyhow::Result<(KeyspaceName, &'a str)> {
    if let Some((name, path)) = file.split_once('=')
        && let Ok(name) = KeyspaceName::new(name)
    {
        return Ok((name, path));
    }
    let name = KeyspaceName::new(&args.keyspace)
        .with_context(|| format!("--keyspace {:?}", args.keyspace))?;
    Ok((name, file))
}

// === impl Row ===

impl Row {
    fn cells(&self) -> Vec<String> {
        let Row { keyspace, revision, compacted, versions, leases, users } = self;
        let numbers = [revision, compacted, versions, &(*leases as u64), &(*users as u64)];
        [keyspace.clone()].into_iter().chain(numbers.map(u64::to_string)).collect()
    }
}

impl From<Restored> for Row {
    fn from(restored: Restored) -> Row {
        Row {
            keyspace: restored.keyspace.to_string(),
            revision: restored.revision.0,
            compacted: restored.compacted.0,
            versions: restored.entries,
            leases: restored.leases,
            users: restored.users,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    #[test]
    fn a_restore_goes_into_a_folder_or_into_a_database_and_starts_over_in_a_database_only() {
        let parses = |args: &str| {
            let words = ["polis", "store", "restore", "a.db"].into_iter();
            crate::cli::Cli::try_parse_from(words.chain(args.split_whitespace())).is_ok()
        };
        assert!(parses("--data-dir d"));
        assert!(parses("--database mysql://u@h/n --start-over"));
        assert!(!parses(""));
        assert!(!parses("--start-over"));
        assert!(!parses("--data-dir d --start-over"));
        assert!(!parses("--data-dir d --database mysql://u@h/n"));
    }
}
