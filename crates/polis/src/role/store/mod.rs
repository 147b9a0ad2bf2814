//! `polis store`: serves as it is; its verbs are beside it, one file each.

mod database;
mod recover;
mod serve;

#[derive(Clone, Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// Without a verb. Absent only beside one.
    #[command(flatten)]
    serve: Option<serve::Args>,
}

/// What can be done to a store besides serving it.
#[derive(Clone, Debug, clap::Subcommand)]
enum Verb {
    /// Go on with a database that lost what a replica has seen
    Recover(recover::Args),
}

pub fn run(args: Args) -> anyhow::Result<()> {
    match (args.verb, args.serve) {
        (Some(Verb::Recover(args)), _) => recover::run(args),
        (None, Some(serve)) => serve::run(serve),
        (None, None) => anyhow::bail!("--data-dir is missing"),
    }
}
