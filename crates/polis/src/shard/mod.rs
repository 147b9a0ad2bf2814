//! `polis shard`: who serves what, moving it, and splitting it.

pub mod effect;
pub mod order;
mod split;

use std::{io::Write, path::PathBuf, process::ExitCode, str::FromStr};

use anyhow::{Context, bail};
use client::Client;
use resources::{SHARD_MAP_NAME, ShardMapObject, ShardMoveSpec};
use serde::Serialize;
use topology::{Assignment, BucketRange, Extent, Shard, ShardSet, ShardState, UnitName};

use crate::{
    connect,
    data::{DEFAULT_DATA, DataDir},
    output::{self, Format},
    pki::Pki,
};

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Move shards to another unit while they serve
    Move(MoveArgs),
    /// Make a shard of its own of some of a shard's users
    Split(split::Args),
    /// Show who serves each shard, under which epoch
    List(Common),
}

#[derive(Clone, Debug, clap::Args)]
pub struct MoveArgs {
    /// Shards, such as 42 or 40-49,60; or a percentage of a unit, such as 10%
    what: What,
    /// The unit that a percentage is of
    #[arg(long)]
    of: Option<UnitName>,
    /// The unit that takes them
    #[arg(long)]
    to: UnitName,
    #[command(flatten)]
    order: order::Options,
    #[command(flatten)]
    common: Common,
}

/// What every verb here takes.
#[derive(Clone, Debug, clap::Args)]
pub struct Common {
    /// Data folder of the running `polis up`
    #[arg(long, default_value = DEFAULT_DATA, env = "POLIS_DATA")]
    data: PathBuf,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Format,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Shards(ShardSet),
    Percent(u32),
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    shards: ShardSet,
    /// Of a shard that has not its whole hundred.
    #[serde(skip_serializing_if = "Option::is_none")]
    buckets: Option<BucketRange>,
    state: &'static str,
    /// Who serves or shall.
    unit: UnitName,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<UnitName>,
    epoch: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    home: Option<UnitName>,
}

pub async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Move(args) => {
            let spec = args.spec()?;
            order::run(&args.common, spec, &args.order).await
        }
        Command::Split(args) => split::run(&args).await,
        Command::List(common) => list(&common).await.map(|()| ExitCode::SUCCESS),
    }
}

async fn list(common: &Common) -> anyhow::Result<()> {
    let maps = common.client()?.federation().all::<ShardMapObject>();
    let map = maps.get(SHARD_MAP_NAME).await.context("read the shard map")?;
    let lines = lines(&map);
    let mut out = std::io::stdout().lock();
    if common.output == Format::Json {
        let version = map.status.version.0;
        let list = serde_json::json!({ "mapVersion": version, "shards": lines });
        writeln!(out, "{list:#}")?;
        return Ok(());
    }
    let or_dash = |unit: &Option<UnitName>| unit.as_ref().map_or("-".into(), UnitName::to_string);
    let row = |line: &Line| {
        let shards = match line.buckets {
            Some(buckets) => format!("{} ({buckets})", line.shards),
            None => line.shards.to_string(),
        };
        vec![
            shards,
            line.state.into(),
            line.unit.to_string(),
            or_dash(&line.from),
            line.epoch.to_string(),
            or_dash(&line.home),
        ]
    };
    let header = ["SHARDS", "STATE", "UNIT", "FROM", "EPOCH", "HOME"];
    output::table(&mut out, &header, &lines.iter().map(row).collect::<Vec<_>>())?;
    Ok(())
}

/// Shards with the same state, epoch and home share a line, save for those that
/// were split: they have one each.
fn lines(map: &ShardMapObject) -> Vec<Line> {
    type Alike<'a> = (&'a Assignment, Option<&'a UnitName>, Option<BucketRange>);
    let mut groups = Vec::<(Alike<'_>, Vec<Shard>)>::new();
    for (shard, assignment) in &map.status.assignments {
        let buckets = map.status.layout.extent(*shard).as_ref().and_then(Extent::unusual);
        let alike = (assignment, map.spec.home_of(*shard), buckets);
        match groups.iter_mut().find(|(known, _)| *known == alike) {
            Some((_, shards)) => shards.push(*shard),
            None => groups.push((alike, vec![*shard])),
        }
    }
    let line = |((assignment, home, buckets), shards): (Alike<'_>, Vec<Shard>)| {
        let (state, from) = match &assignment.state {
            ShardState::Serving { .. } => ("Serving", None),
            ShardState::Moving { from, .. } => ("Moving", from.clone()),
        };
        Line {
            shards: shards.into_iter().collect(),
            buckets,
            state,
            unit: assignment.state.target().clone(),
            from,
            epoch: assignment.epoch.0,
            home: home.cloned(),
        }
    };
    groups.into_iter().map(line).collect()
}

// === impl MoveArgs ===

impl MoveArgs {
    fn spec(&self) -> anyhow::Result<ShardMoveSpec> {
        let mut spec = ShardMoveSpec { to: Some(self.to.clone()), ..ShardMoveSpec::default() };
        match (&self.what, &self.of) {
            (What::Shards(shards), None) => spec.shards = shards.clone(),
            (What::Percent(percent), Some(unit)) => {
                (spec.percent, spec.unit) = (Some(*percent), Some(unit.clone()));
            }
            (What::Shards(_), Some(_)) => bail!("--of goes with a percentage, such as 10%"),
            (What::Percent(_), None) => bail!("say which unit the percentage is of: --of UNIT"),
        }
        Ok(spec)
    }
}

// === impl Common ===

impl Common {
    pub fn data(&self) -> DataDir {
        DataDir::new(&self.data)
    }

    pub fn client(&self) -> anyhow::Result<Client> {
        let data = self.data();
        connect::estate(&data.layout()?, &Pki::new(&data.pki()))
    }
}

// === impl What ===

impl FromStr for What {
    type Err = String;

    fn from_str(text: &str) -> Result<What, String> {
        let Some(number) = text.strip_suffix('%') else {
            let shards: ShardSet = text.parse().map_err(|error| format!("{error}"))?;
            return match shards.is_empty() {
                true => Err("name at least one shard".into()),
                false => Ok(What::Shards(shards)),
            };
        };
        let percent = number.parse().ok().filter(|percent| (1..=100).contains(percent));
        percent.map(What::Percent).ok_or_else(|| format!("{text:?} is not 1% to 100%"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_move_is_shards_or_a_percentage() {
        assert_eq!("10%".parse(), Ok(What::Percent(10)));
        assert_eq!("40-41".parse(), Ok(What::Shards("40,41".parse().expect("shards"))));
        for bad in ["", "0%", "101%", "x%", "1024", "5-1"] {
            assert!(bad.parse::<What>().is_err(), "{bad}");
        }
    }
}
