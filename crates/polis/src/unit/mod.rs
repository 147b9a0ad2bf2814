//! `polis unit`: the units, renting one for a while, its groups, and emptying
//! one of its users.

mod groups;
mod list;
mod rent;

use std::process::ExitCode;

use resources::ShardMoveSpec;
use topology::UnitName;

use crate::shard::{Common, order};

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Show the units, and which are rented
    List(Common),
    /// Show one unit: what moved to it, from whom, and what happened
    Status(list::StatusArgs),
    /// Rent a unit in a center, and move a share of the users to it
    Rent(rent::RentArgs),
    /// Move a rented unit's users back where they came from, and give it back
    Return(rent::ReturnArgs),
    /// Run another release in a second group of the unit, and move shards to it
    Groups(groups::Args),
    /// Move every shard of a unit elsewhere while they serve
    Drain(DrainArgs),
}

#[derive(Clone, Debug, clap::Args)]
pub struct DrainArgs {
    /// The unit to empty
    unit: UnitName,
    /// The unit that takes them; spread over all others unless given
    #[arg(long)]
    to: Option<UnitName>,
    #[command(flatten)]
    order: order::Options,
    #[command(flatten)]
    common: Common,
}

pub async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::List(common) => list::list(&common).await,
        Command::Status(args) => list::status(&args).await,
        Command::Rent(args) => rent::rent(&args).await,
        Command::Return(args) => rent::give_back(&args).await,
        Command::Groups(args) => groups::run(&args).await,
        Command::Drain(DrainArgs { unit, to, order, common }) => {
            let spec = ShardMoveSpec { unit: Some(unit), to, ..ShardMoveSpec::default() };
            order::run(&common, spec, &order).await
        }
    }
}
