//! `polis unit`: emptying a unit of its users.

use std::process::ExitCode;

use resources::ShardMoveSpec;
use topology::UnitName;

use crate::shard::{Common, order};

#[derive(Debug, clap::Subcommand)]
pub enum Command {
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
    let Command::Drain(DrainArgs { unit, to, order, common }) = command;
    let spec = ShardMoveSpec { unit: Some(unit), to, ..ShardMoveSpec::default() };
    order::run(&common, spec, &order).await
}
