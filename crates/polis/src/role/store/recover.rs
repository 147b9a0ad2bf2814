//! `polis store recover`: goes on with a database that lost what a replica has
//! seen. Loud, and only when told so in so many words.

use std::path::PathBuf;

use anyhow::{Context, bail};
use store::{Finding, Recovery};

use super::database::Database;

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Folder in which a replica remembers what it has seen
    #[arg(long)]
    data_dir: PathBuf,
    #[command(flatten)]
    database: Database,
    /// Take the database as it is for all there is. Stop every replica first,
    /// and do this for each of their data folders
    #[arg(long)]
    accept_loss: bool,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    crate::role::runtime(None)?.block_on(recover(args))
}

async fn recover(args: Args) -> anyhow::Result<()> {
    let database = args.database.config()?.context("--database is missing")?;
    let recovery = Recovery::examine(&args.data_dir, database).await?;
    match recovery.finding() {
        Finding::Whole => {
            println!("The database holds all that this replica has seen. Nothing to do.");
            return Ok(());
        }
        Finding::OtherCluster { known, found } => {
            println!("The database is cluster {found:016x}; this replica belongs to {known:016x}.");
            println!("If it is the right one, this replica will forget what it has seen.");
        }
        Finding::Older(losses) => {
            println!("THE DATABASE HAS LOST WHAT WAS ACKNOWLEDGED:");
            for loss in losses {
                let (seen, found) = (loss.seen, loss.found);
                println!(
                    "  keyspace {}: seen at revision {} (batch {}), found at {} (batch {})",
                    loss.keyspace, seen.2, seen.1, found.2, found.1
                );
            }
        }
    }
    if !args.accept_loss {
        bail!("nothing was changed: say --accept-loss to go on with the database as it is");
    }
    match recovery.accept().await? {
        None => println!("Done: this replica will serve the database that it finds."),
        Some(recovered) => {
            println!("Done: the cluster is {:016x} now.", recovered.cluster_id);
            for (before, after) in recovered.heads {
                println!(
                    "  keyspace {}: from revision {} on to {}",
                    before.keyspace, before.revision, after.revision
                );
            }
            println!("Run this with the data folder of every other replica too.");
        }
    }
    Ok(())
}
