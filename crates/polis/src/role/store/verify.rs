//! `polis store verify`: looks through a stopped store's folder, or through a
//! database, whoever uses it meanwhile.

use std::{io::Write as _, path::PathBuf};

use anyhow::bail;
use clap::ArgGroup;
use serde::Serialize;
use store::verify::{Verified, verify, verify_database};

use super::database::Database;
use crate::output::{Format, table};

#[derive(Clone, Debug, clap::Args)]
#[command(group = ArgGroup::new("place").required(true).args(["data_dir", "database"]))]
pub struct Args {
    /// Data folder of a store that is not running
    #[arg(long)]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    database: Database,
    /// How to print what was found
    #[arg(short, long, value_enum, default_value = "table")]
    output: Format,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
struct Row {
    keyspace: String,
    epoch: u64,
    batches: u64,
    revision: u64,
    compacted: u64,
    keys: usize,
    leases: usize,
    findings: Vec<String>,
}

/// Fails when anything is wrong, after it has printed what.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let runtime = crate::role::runtime(Some(1))?;
    let (verified, place) = match (args.database.config()?, &args.data_dir) {
        (Some(database), _) => {
            (runtime.block_on(verify_database(database))?, "the database".to_owned())
        }
        (None, Some(folder)) => (runtime.block_on(verify(folder))?, folder.display().to_string()),
        (None, None) => bail!("say where: --data-dir or --database"),
    };
    let rows: Vec<_> = verified.into_iter().map(Row::from).collect();
    print(&rows, args.output)?;
    let hurt = rows.iter().filter(|row| !row.findings.is_empty()).count();
    if hurt > 0 {
        let code = errors::STORE_DATA_CORRUPT;
        bail!(
            "{code}: {hurt} of {} keyspaces in {place} are damaged. {}",
            rows.len(),
            code.remedy()
        );
    }
    Ok(())
}

fn print(rows: &[Row], format: Format) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match format {
        Format::Json => writeln!(out, "{}", serde_json::to_string(rows)?)?,
        Format::Table => {
            let header = [
                "KEYSPACE",
                "EPOCH",
                "BATCHES",
                "REVISION",
                "COMPACTED",
                "KEYS",
                "LEASES",
                "STATE",
            ];
            let cells: Vec<_> = rows.iter().map(Row::cells).collect();
            table(&mut out, &header, &cells)?;
            for row in rows {
                for finding in &row.findings {
                    writeln!(out, "{}: {finding}", row.keyspace)?;
                }
            }
        }
    }
    Ok(())
}

// === impl Row ===

impl Row {
    fn cells(&self) -> Vec<String> {
        let state = if self.findings.is_empty() { "ok" } else { "damaged" };
        vec![
            self.keyspace.clone(),
            self.epoch.to_string(),
            self.batches.to_string(),
            self.revision.to_string(),
            self.compacted.to_string(),
            self.keys.to_string(),
            self.leases.to_string(),
            state.to_owned(),
        ]
    }
}

impl From<Verified> for Row {
    fn from(verified: Verified) -> Row {
        Row {
            keyspace: verified.keyspace.to_string(),
            epoch: verified.epoch,
            batches: verified.seq,
            revision: verified.revision.0,
            compacted: verified.compacted.0,
            keys: verified.keys,
            leases: verified.leases,
            findings: verified.findings,
        }
    }
}
