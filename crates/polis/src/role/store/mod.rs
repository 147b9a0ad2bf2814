//! `polis store`: serves as it is; its verbs are beside it, one file each.

mod compaction;
pub mod database;
pub mod duration;
mod foreign;
mod gates;
mod import;
mod recover;
mod restore;
mod serve;
mod sources;
mod verify;

pub use sources::complete;

use crate::logging::LogLevel;

#[derive(Clone, Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(version = store::VERSION)]
pub struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// Without a verb. Absent only beside one.
    #[command(flatten)]
    serve: Option<serve::Args>,
    // Here, since clap cannot tell whether `serve` is there once it holds more
    // than arguments of its own.
    #[command(flatten)]
    foreign: foreign::Foreign,
}

/// What can be done to a store besides serving it.
#[derive(Clone, Debug, clap::Subcommand)]
enum Verb {
    /// Go on with a database that lost what a replica has seen
    Recover(recover::Args),
    /// Copy the keys of a live etcd or Polis into a running store
    Import(import::Args),
    /// Make a store from snapshots of etcd or of Polis
    Restore(restore::Args),
    /// Look through the data of a stopped store, or a database, and say what is wrong with it
    Verify(verify::Args),
}

// === impl Args ===

impl Args {
    pub fn log_level(&self) -> Option<LogLevel> {
        self.serve.as_ref()?.log_level()
    }
}

pub fn run(args: Args) -> anyhow::Result<()> {
    match (args.verb, args.serve) {
        (Some(Verb::Recover(args)), _) => recover::run(args),
        (Some(Verb::Import(args)), _) => import::run(&args),
        (Some(Verb::Restore(args)), _) => restore::run(&args),
        (Some(Verb::Verify(args)), _) => verify::run(&args),
        (None, Some(serve)) => {
            args.foreign.check()?;
            serve::run(serve)
        }
        (None, None) => anyhow::bail!("--data-dir is missing"),
    }
}
