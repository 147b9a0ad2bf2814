//! `polis unit groups`: two groups of a unit's services, so that a release
//! serves some shards before it serves all of them.
//!
//! Group B of `rz01` is a unit of its own, `rz01-b`, in the same center: to the
//! fence it is another owner, and a shard changes groups by the protocol by
//! which it changes units.

use std::{collections::BTreeMap, io::Write, process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use client::Client;
use resources::{
    RentalPhase, SHARD_MAP_NAME, ShardMapObject, ShardMoveSpec, Unit, UnitRental, UnitRentalSpec,
};
use serde::Serialize;
use serde_json::json;
use topology::{ShardMap, ShardSet, UnitName};

use super::rent;
use crate::{
    http, load,
    output::{self, Format},
    shard::{Common, What, order},
    stop::StopSignal,
};

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The unit, such as rz01
    unit: UnitName,
    /// Make group B, which serves nothing yet
    #[arg(long, group = "action")]
    open: bool,
    /// Move shards of group A to group B: shards such as 42 or 00-04, or a percentage such as 10%
    #[arg(long, group = "action")]
    to_b: Option<What>,
    /// Compare what users got of each group
    #[arg(long, group = "action")]
    compare: bool,
    /// For how long to look when comparing
    #[arg(long, default_value = "10s", value_parser = load::duration)]
    over: Duration,
    /// Move every shard of group B back to group A
    #[arg(long = "return", group = "action")]
    back: bool,
    /// Move every shard back, and end group B
    #[arg(long, group = "action")]
    close: bool,
    #[command(flatten)]
    order: order::Options,
    #[command(flatten)]
    common: Common,
}

/// What users got of a unit in some span of time.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Share {
    unit: String,
    requests: u64,
    /// Answers 5xx, and requests that were not answered.
    errors: u64,
    errors_percent: f64,
    /// At most so long, for half and for 99 of a hundred; the bounds are those
    /// of the edges' buckets.
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
}

/// Counters of one unit, of all edges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Counts {
    answers: u64,
    failed: u64,
    unanswered: u64,
    /// Answers within so many microseconds, the last without a bound.
    within_us: BTreeMap<u64, u64>,
}

pub async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let client = args.common.client()?;
    let unit = &args.unit;
    let b = group_b(unit)?;
    let units = client.federation().all::<Unit>();
    let Some(a) = units.find(unit.as_str()).await.context("read the unit")? else {
        bail!("there is no unit {unit}: `polis unit list` shows them");
    };
    if args.open {
        return open(&client, args, &a, &b).await;
    }
    if let Some(what) = &args.to_b {
        // Of a group that is not there, a dry run says just that.
        if !args.order.dry_run && open(&client, args, &a, &b).await? != ExitCode::SUCCESS {
            return Ok(ExitCode::FAILURE);
        }
        let spec = to_b(&client, unit, &b, what).await?;
        return order::run(&args.common, spec, &args.order).await;
    }
    let rentals = client.federation().all::<UnitRental>();
    let rental = rentals.find(b.as_str()).await.context("read group B")?;
    let is_open = rental.is_some_and(|rental| !rental.is_over());
    if !is_open {
        bail!("{unit} has no group B: make it with `polis unit groups {unit} --open`");
    }
    if args.back {
        let spec =
            ShardMoveSpec { unit: Some(b), to: Some(unit.clone()), ..ShardMoveSpec::default() };
        return order::run(&args.common, spec, &args.order).await;
    }
    if args.close {
        let patch = json!({ "spec": { "giveBack": true } });
        rentals.patch(b.as_str(), &patch).await.context("end group B")?;
        let stop = StopSignal::new()?;
        return rent::wait(&client, &args.common, &b, RentalPhase::Returned, false, stop).await;
    }
    if args.compare {
        return compare(args, &b).await;
    }
    show(&client, args, &b).await
}

/// `rz01-b`
fn group_b(unit: &UnitName) -> anyhow::Result<UnitName> {
    format!("{unit}-b").parse().context("the name of group B is too long")
}

/// Makes group B where it is not, and waits until it could serve.
async fn open(client: &Client, args: &Args, a: &Unit, b: &UnitName) -> anyhow::Result<ExitCode> {
    let rentals = client.federation().all::<UnitRental>();
    let known = rentals.find(b.as_str()).await.context("read group B")?;
    let stop = StopSignal::new()?;
    if known.is_none_or(|known| known.is_over()) {
        let spec = UnitRentalSpec {
            center: a.spec.center.clone(),
            share_percent: 100,
            from: Vec::new(),
            group_of: Some(args.unit.clone()),
            until: None,
            give_back: false,
        };
        rent::order(client, b, spec).await?;
    }
    let quiet = args.to_b.is_some();
    let ended = rent::reach(client, b, RentalPhase::Active, stop).await?;
    let Some(rental) = ended else { return Ok(ExitCode::FAILURE) };
    if rental.status.phase != RentalPhase::Active {
        bail!("group B of {}: {}", args.unit, rental.status.message);
    }
    if !quiet {
        super::list::print(&args.common, &rental)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The order that moves shards of group A, and of nobody else.
async fn to_b(
    client: &Client,
    a: &UnitName,
    b: &UnitName,
    what: &What,
) -> anyhow::Result<ShardMoveSpec> {
    let to = Some(b.clone());
    match what {
        What::Percent(percent) => {
            let (unit, percent) = (Some(a.clone()), Some(*percent));
            Ok(ShardMoveSpec { unit, percent, to, ..ShardMoveSpec::default() })
        }
        What::Shards(shards) => {
            let map = map(client).await?;
            let strangers: ShardSet = shards
                .iter()
                .filter(|shard| {
                    let at = map.get(*shard).map(|assignment| assignment.state.target());
                    at != Some(a) && at != Some(b)
                })
                .collect();
            if !strangers.is_empty() {
                bail!("{a} does not serve {strangers}: `polis shard list` shows who does");
            }
            Ok(ShardMoveSpec { shards: shards.clone(), to, ..ShardMoveSpec::default() })
        }
    }
}

async fn map(client: &Client) -> anyhow::Result<ShardMap> {
    let maps = client.federation().all::<ShardMapObject>();
    Ok(maps.get(SHARD_MAP_NAME).await.context("read the shard map")?.status)
}

async fn show(client: &Client, args: &Args, b: &UnitName) -> anyhow::Result<ExitCode> {
    let map = map(client).await?;
    let units = client.federation().all::<Unit>().list("").await.context("read the units")?;
    let mut groups = Vec::new();
    for (group, name) in [("A", &args.unit), ("B", b)] {
        let shards: ShardSet = map.of_unit(name).collect();
        let unit = units.items.iter().find(|unit| unit.name() == name.as_str());
        let ready = unit.is_some_and(|unit| unit.status.ready);
        groups.push((group, name.clone(), ready, shards));
    }
    let mut out = std::io::stdout().lock();
    if args.common.output == Format::Json {
        let shown = groups.iter().map(|(group, unit, ready, shards)| {
            json!({ "group": group, "unit": unit, "ready": ready, "shards": shards })
        });
        writeln!(out, "{:#}", json!({ "groups": shown.collect::<Vec<_>>() }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let row = |(group, unit, ready, shards): &(&str, UnitName, bool, ShardSet)| {
        vec![
            (*group).to_owned(),
            unit.to_string(),
            if *ready { "yes" } else { "no" }.to_owned(),
            if shards.is_empty() { "-".into() } else { shards.to_string() },
        ]
    };
    let rows: Vec<_> = groups.iter().map(row).collect();
    output::table(&mut out, &["GROUP", "UNIT", "READY", "SHARDS"], &rows)?;
    Ok(ExitCode::SUCCESS)
}

async fn compare(args: &Args, b: &UnitName) -> anyhow::Result<ExitCode> {
    let groups = [&args.unit, b];
    let before = counts(args).await?;
    tokio::time::sleep(args.over).await;
    let after = counts(args).await?;
    let shares: Vec<_> = groups
        .iter()
        .map(|unit| {
            let of = |counts: &BTreeMap<String, Counts>| {
                counts.get(unit.as_str()).cloned().unwrap_or_default()
            };
            Share::of(unit, &of(&after).since(&of(&before)))
        })
        .collect();
    let mut out = std::io::stdout().lock();
    if args.common.output == Format::Json {
        let seconds = args.over.as_secs_f64();
        writeln!(out, "{:#}", json!({ "seconds": seconds, "groups": shares }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let row = |(group, share): (&str, &Share)| {
        let bound = |ms: Option<f64>| ms.map_or("-".into(), |ms| format!("{ms:.1}"));
        vec![
            group.to_owned(),
            share.unit.clone(),
            share.requests.to_string(),
            share.errors.to_string(),
            format!("{:.2}%", share.errors_percent),
            bound(share.p50_ms),
            bound(share.p99_ms),
        ]
    };
    let rows: Vec<_> = ["A", "B"].into_iter().zip(&shares).map(row).collect();
    let header = ["GROUP", "UNIT", "REQUESTS", "ERRORS", "RATE", "P50 ms", "P99 ms"];
    output::table(&mut out, &header, &rows)?;
    Ok(ExitCode::SUCCESS)
}

/// What every edge that answers has counted, by unit.
async fn counts(args: &Args) -> anyhow::Result<BTreeMap<String, Counts>> {
    let mut counts = BTreeMap::new();
    for plan in &args.common.data().layout()?.centers {
        let url = format!("http://{}/metrics", plan.edge_admin());
        if let Ok(page) = http::text(&url).await {
            read(&page, &mut counts);
        }
    }
    Ok(counts)
}

/// Adds one edge's page.
fn read(page: &str, counts: &mut BTreeMap<String, Counts>) {
    for line in page.lines() {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let Some((name, labels)) = series.split_once('{') else { continue };
        let (Ok(value), Some(unit)) = (value.parse::<u64>(), label(labels, "unit")) else {
            continue;
        };
        let counts = counts.entry(unit.to_owned()).or_default();
        match name {
            "polis_edge_unit_answers_total" => {
                counts.answers += value;
                let failed = label(labels, "class") == Some("5xx");
                counts.failed += if failed { value } else { 0 };
            }
            "polis_edge_unit_unanswered_total" => counts.unanswered += value,
            "polis_edge_unit_seconds_bucket" => {
                let bound = label(labels, "le").and_then(|bound| bound.parse::<f64>().ok());
                let Some(bound) = bound else { continue };
                let us = if bound.is_finite() { (bound * 1e6).round() as u64 } else { u64::MAX };
                *counts.within_us.entry(us).or_default() += value;
            }
            _ => {}
        }
    }
}

fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    let from = labels.split_once(&format!("{name}=\""))?.1;
    from.split_once('"').map(|(value, _)| value)
}

// === impl Counts ===

impl Counts {
    /// An edge that was started anew begins at nothing.
    fn since(&self, before: &Counts) -> Counts {
        let within = |(bound, count): (&u64, &u64)| {
            let earlier = before.within_us.get(bound).copied().unwrap_or_default();
            (*bound, count.saturating_sub(earlier))
        };
        Counts {
            answers: self.answers.saturating_sub(before.answers),
            failed: self.failed.saturating_sub(before.failed),
            unanswered: self.unanswered.saturating_sub(before.unanswered),
            within_us: self.within_us.iter().map(within).collect(),
        }
    }

    /// The lowest bound within which so many of a thousand answers came.
    fn quantile_ms(&self, per_mille: u64) -> Option<f64> {
        let all = *self.within_us.values().last()?;
        let wanted = (all * per_mille).div_ceil(1_000).max(1);
        let bound = self.within_us.iter().find(|(_, count)| **count >= wanted)?.0;
        (*bound != u64::MAX).then(|| *bound as f64 / 1_000.0)
    }
}

// === impl Share ===

impl Share {
    fn of(unit: &UnitName, counts: &Counts) -> Share {
        let requests = counts.answers + counts.unanswered;
        let errors = counts.failed + counts.unanswered;
        let errors_percent =
            if requests == 0 { 0.0 } else { errors as f64 * 100.0 / requests as f64 };
        Share {
            unit: unit.to_string(),
            requests,
            errors,
            errors_percent,
            p50_ms: counts.quantile_ms(500),
            p99_ms: counts.quantile_ms(990),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "polis_edge_unit_answers_total{unit=\"rz01\",class=\"2xx\"} 90\n\
         polis_edge_unit_answers_total{unit=\"rz01\",class=\"5xx\"} 8\n\
         polis_edge_unit_unanswered_total{unit=\"rz01\"} 2\n\
         polis_edge_unit_seconds_bucket{unit=\"rz01\",le=\"0.001\"} 60\n\
         polis_edge_unit_seconds_bucket{unit=\"rz01\",le=\"0.002\"} 97\n\
         polis_edge_unit_seconds_bucket{unit=\"rz01\",le=\"+Inf\"} 98\n\
         polis_edge_unit_seconds_sum{unit=\"rz01\"} 0.25\n\
         polis_edge_unit_seconds_count{unit=\"rz01\"} 98\n\
         polis_edge_map_version 7\n";

    #[test]
    fn a_group_is_what_its_users_got_of_every_edge_since_the_first_look() {
        let mut before = BTreeMap::new();
        read(PAGE, &mut before);
        let mut after = BTreeMap::new();
        // Two edges, each with as much again.
        read(PAGE, &mut after);
        read(PAGE, &mut after);
        let unit: UnitName = "rz01".parse().expect("a name");
        let share = Share::of(&unit, &after["rz01"].since(&before["rz01"]));
        assert_eq!((share.requests, share.errors, share.errors_percent), (100, 10, 10.0));
        assert_eq!((share.p50_ms, share.p99_ms), (Some(1.0), None), "the slowest has no bound");
        assert_eq!(after["rz01"].quantile_ms(900), Some(2.0));
        assert_eq!(Share::of(&unit, &Counts::default()).p50_ms, None);
    }
}
