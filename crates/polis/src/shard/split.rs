//! `polis shard split`: makes a shard of its own of some of a shard's buckets. An
//! order like a move, and with `--to` one that goes on as a move of the part.

use std::process::ExitCode;

use anyhow::Context;
use resources::{SHARD_MAP_NAME, ShardMapObject, ShardMoveSpec};
use topology::{Bucket, BucketRange, Layout, Shard, UnitName};

use super::{Common, order};

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The shard, such as 42
    shard: Shard,
    /// The buckets that become a shard, at one end of its range, such as 4250-4299;
    /// the upper half unless said
    #[arg(long, conflicts_with = "at")]
    buckets: Option<BucketRange>,
    /// The first of the upper part, such as 4280
    #[arg(long, value_parser = bucket)]
    at: Option<Bucket>,
    /// The unit that takes the part; it stays where it is unless said
    #[arg(long)]
    to: Option<UnitName>,
    #[command(flatten)]
    order: order::Options,
    #[command(flatten)]
    common: Common,
}

pub async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let maps = args.common.client()?.federation().all::<ShardMapObject>();
    let map = maps.get(SHARD_MAP_NAME).await.context("read the shard map")?;
    let buckets = args.part(&map.status.layout)?;
    let spec = ShardMoveSpec {
        shards: [args.shard].into_iter().collect(),
        buckets: Some(buckets),
        to: args.to.clone(),
        ..ShardMoveSpec::default()
    };
    order::run(&args.common, spec, &args.order).await
}

fn bucket(text: &str) -> Result<Bucket, String> {
    text.parse().map_err(|()| format!("{text:?} is not a bucket: write four digits"))
}

// === impl Args ===

impl Args {
    /// The part that is to go, of the shard as it is.
    fn part(&self, layout: &Layout) -> anyhow::Result<BucketRange> {
        let shard = self.shard;
        let whole = layout.buckets(shard).with_context(|| format!("there is no shard {shard}"))?;
        let part = match (self.buckets, self.at) {
            (Some(buckets), _) => Some(buckets),
            (None, Some(at)) => BucketRange::new(at, whole.last()),
            (None, None) => whole.upper_half(),
        };
        // What is cut from elsewhere is cut from no shard that was named.
        let part = part.filter(|part| whole.without(*part).is_some());
        part.with_context(|| {
            format!("shard {shard} has buckets {whole}; name some of them at one end, and not all")
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn part(line: &str, layout: &Layout) -> Result<String, String> {
        let words = std::iter::once("split").chain(line.split_whitespace());
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        let part = line.args.part(layout).map_err(|error| error.to_string())?;
        Ok(part.to_string())
    }

    #[test]
    fn the_part_is_the_upper_half_or_what_is_said() {
        let mut layout = Layout::default();
        layout.split("4250-4299".parse().expect("buckets")).expect("a half");
        for (line, expected) in [
            ("07", "0750-0799"),
            ("42", "4225-4249"),
            ("100", "4275-4299"),
            ("07 --at 0790", "0790-0799"),
            ("07 --buckets 0700-0709", "0700-0709"),
            ("42 --buckets 4240-4249 --to rz03", "4240-4249"),
        ] {
            assert_eq!(part(line, &layout), Ok(expected.into()), "{line}");
        }
        for bad in [
            "42 --at 4250",
            "42 --buckets 4250-4299",
            "42 --buckets 4200-4249",
            "42 --buckets 4210-4219",
            "101",
            "07 --at 79",
            "07 --at 0750 --buckets 0750-0799",
        ] {
            assert!(part(bad, &layout).is_err(), "{bad}");
        }
    }
}
