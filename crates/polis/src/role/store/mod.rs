//! `polis store`: serves as it is; its verbs are beside it, one file each.

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
enum Verb {}

pub fn run(args: Args) -> anyhow::Result<()> {
    match (args.verb, args.serve) {
        (Some(verb), _) => match verb {},
        (None, Some(serve)) => serve::run(serve),
        (None, None) => anyhow::bail!("--data-dir is missing"),
    }
}
