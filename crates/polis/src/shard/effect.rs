//! What an order would do, before it is given: users and traffic per unit, and
//! what each would carry if any one other were lost.

use std::{collections::BTreeMap, io::Write};

use anyhow::Context;
use client::Client;
use planner::{
    shard_map,
    shard_move::{
        effect::{Change, Load, Traffic, effect},
        selection::{Leg, select},
    },
    unit::{Place, Places},
    unit_rental,
};
use resources::{
    Center, CenterPhase, FAILOVER_POLICY_NAME, FailoverPolicy, Preference, RentedShare,
    SHARD_MAP_NAME, ShardMapObject, ShardMoveSpec, Unit, UnitKind, UnitRentalSpec,
};
use serde_json::{Value, json};
use topology::{BUCKETS, BucketRange, Extent, Shard, UnitName};

use super::Common;
use crate::{
    http,
    layout::Layout,
    output::{self, Format},
};

/// Edges count requests by groups of so many shards.
const GROUP_SHARDS: u16 = 10;

/// The estate as it is, and what an order chooses of it.
struct Choice {
    /// As it is once the split is done, if it is one.
    map: ShardMapObject,
    /// The shard that is to be cut, as it is, and what is cut from it.
    split: Option<(Extent, BucketRange)>,
    places: Places,
    prefer: Preference,
    legs: Vec<Leg>,
}

/// Refuses what no controller could carry out.
pub async fn check(client: &Client, order: &ShardMoveSpec) -> anyhow::Result<()> {
    choose(client, order).await.map(drop)
}

/// As [`check`], for a rental.
pub async fn check_rental(
    client: &Client,
    unit: &UnitName,
    rental: &UnitRentalSpec,
) -> anyhow::Result<()> {
    choose_share(client, unit, rental).await.map(drop)
}

pub async fn show(common: &Common, client: &Client, order: &ShardMoveSpec) -> anyhow::Result<()> {
    print(common, choose(client, order).await?).await
}

/// What a rented unit would carry, and what the others would be left with.
pub async fn show_rental(
    common: &Common,
    client: &Client,
    unit: &UnitName,
    rental: &UnitRentalSpec,
) -> anyhow::Result<()> {
    print(common, choose_share(client, unit, rental).await?).await
}

async fn choose(client: &Client, order: &ShardMoveSpec) -> anyhow::Result<Choice> {
    let mut choice = look(client).await?.0;
    if let Some(buckets) = order.buckets {
        let map = &mut choice.map.status;
        let whole = map.layout.extent(map.layout.shard_of(buckets.first()));
        if let Some(plan) = shard_map::split(map, buckets)? {
            *map = plan.map;
            choice.split = whole.map(|whole| (whole, buckets));
        }
    }
    choice.legs = select(order, &choice.map.status, &choice.places)?;
    Ok(choice)
}

async fn choose_share(
    client: &Client,
    unit: &UnitName,
    rental: &UnitRentalSpec,
) -> anyhow::Result<Choice> {
    let (mut choice, centers) = look(client).await?;
    let center = centers.iter().find(|center| center.name() == rental.center.as_str());
    let center = center.with_context(|| format!("there is no center {}", rental.center))?;
    let city = center.spec.city.clone();
    let shares = unit_rental::share(unit, rental, &choice.map.status, &choice.places)?;
    let place = Place {
        center: rental.center.clone(),
        standbys: unit_rental::standbys(&rental.center, &city, &shares, &choice.places),
        city,
        alive: true,
        wavers: false,
        ready: true,
        shards_max: None,
    };
    choice.places.insert(unit.clone(), place);
    for RentedShare { shards, from } in shares {
        let leg = |shard| Leg { shard, from: from.clone(), to: unit.clone() };
        choice.legs.extend(shards.iter().map(leg));
    }
    Ok(choice)
}

/// Nothing chosen yet.
async fn look(client: &Client) -> anyhow::Result<(Choice, Vec<Center>)> {
    let door = client.federation();
    let (maps, units, centers) =
        (door.all::<ShardMapObject>(), door.all::<Unit>(), door.all::<Center>());
    let policies = door.all::<FailoverPolicy>();
    let (map, units, centers, policy) = tokio::try_join!(
        maps.get(SHARD_MAP_NAME),
        units.list(""),
        centers.list(""),
        policies.find(FAILOVER_POLICY_NAME)
    )
    .context("read the estate from the API")?;
    let places = places(&units.items, &centers.items);
    let prefer = policy.map(|policy| policy.spec.prefer).unwrap_or_default();
    let choice = Choice { map, split: None, places, prefer, legs: Vec::new() };
    Ok((choice, centers.items))
}

async fn print(common: &Common, choice: Choice) -> anyhow::Result<()> {
    let Choice { map, split, places, prefer, legs } = choice;
    let traffic = traffic(&common.data().layout()?, &map.status.layout).await;
    let changes = effect(&map.status, &legs, &traffic, &places, prefer);
    let all: u64 = traffic.values().sum();
    let mut out = std::io::stdout().lock();
    if common.output == Format::Json {
        let mut shown = as_json(&legs, &changes, all);
        if let Some((whole, _)) = split {
            shown["split"] = parts(whole, &map.status.layout);
        }
        writeln!(out, "{shown:#}")?;
        return Ok(());
    }
    if let Some((whole, taken)) = split {
        let now = |shard| map.status.layout.extent(shard);
        let new = map.status.layout.shard_of(taken.first());
        writeln!(
            out,
            "shard {} ({}) would become two; nobody waits for that",
            whole.shard, whole.buckets
        )?;
        let row = |extent: Extent| {
            let requests = traffic.get(&extent.shard).copied().unwrap_or_default();
            let load = Load { shards: 1, buckets: extent.buckets.len(), requests };
            vec![
                extent.shard.to_string(),
                extent.buckets.to_string(),
                users(load),
                share(load, all),
            ]
        };
        let rows: Vec<_> = [now(whole.shard), now(new)].into_iter().flatten().map(row).collect();
        output::table(&mut out, &["SHARD", "BUCKETS", "USERS", "TRAFFIC"], &rows)?;
    }
    writeln!(out, "{} shards would move, in batches; nothing was done", legs.len())?;
    let row = |(unit, change): (&UnitName, &Change)| {
        let lost = change.worst_if_lost.as_ref();
        vec![
            unit.to_string(),
            change.before.shards.to_string(),
            change.after.shards.to_string(),
            format!("{} > {}", users(change.before), users(change.after)),
            format!("{} > {}", share(change.before, all), share(change.after, all)),
            lost.map_or("-".into(), |lost| format!("{} if {lost} is lost", users(change.worst))),
        ]
    };
    let header = ["UNIT", "SHARDS", "AFTER", "USERS", "TRAFFIC", "N-1"];
    output::table(&mut out, &header, &changes.iter().map(row).collect::<Vec<_>>())?;
    Ok(())
}

/// As the controllers see it, by what they write down.
pub fn places(units: &[Unit], centers: &[Center]) -> Places {
    let place = |unit: &Unit| {
        let center = centers.iter().find(|center| center.name() == unit.spec.center.as_str())?;
        let place = Place {
            center: unit.spec.center.clone(),
            city: center.spec.city.clone(),
            standbys: unit.spec.standbys.clone(),
            alive: center.status.phase == CenterPhase::Ready,
            wavers: false,
            ready: unit.status.ready,
            shards_max: unit.spec.shards_max.map(usize::from),
        };
        Some((unit.unit().ok()?, place))
    };
    units.iter().filter(|unit| unit.spec.kind == UnitKind::RZone).filter_map(place).collect()
}

/// Requests since the edges started. An edge that does not answer counts none.
async fn traffic(layout: &Layout, buckets: &topology::Layout) -> Traffic {
    let mut hundreds = Traffic::new();
    for plan in &layout.centers {
        let url = format!("http://{}/metrics", plan.edge_admin());
        if let Ok(page) = http::text(&url).await {
            count(&page, &mut hundreds);
        }
    }
    by_part(&hundreds, buckets)
}

/// Edges count a part with its hundred: what that has is spread over the buckets.
fn by_part(hundreds: &Traffic, layout: &topology::Layout) -> Traffic {
    let part = |shard: Shard| {
        let buckets = layout.buckets(shard)?;
        let whole = buckets.hundred();
        let of_whole = hundreds.get(&whole).copied()?;
        let all = whole.hundred().map_or(1, BucketRange::len) as u64;
        Some((shard, of_whole * buckets.len() as u64 / all))
    };
    layout.shards().filter_map(part).collect()
}

/// Adds the requests of an edge's page, those of a group spread evenly.
fn count(page: &str, traffic: &mut Traffic) {
    for line in page.lines() {
        let Some(rest) = line.strip_prefix("polis_edge_requests_total{shards=\"") else { continue };
        let first = rest.split('-').next().and_then(|first| first.parse::<u16>().ok());
        let count = line.rsplit(' ').next().and_then(|count| count.parse::<u64>().ok());
        let (Some(first), Some(count)) = (first, count) else { continue };
        for shard in (first..first + GROUP_SHARDS).filter_map(Shard::new) {
            *traffic.entry(shard).or_default() += count / u64::from(GROUP_SHARDS);
        }
    }
}

fn users(load: Load) -> String {
    format!("{:.1}%", percent(load.buckets as u64, u64::from(BUCKETS)))
}

fn share(load: Load, all: u64) -> String {
    if all == 0 { "-".into() } else { format!("{:.1}%", percent(load.requests, all)) }
}

fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

fn parts(whole: Extent, layout: &topology::Layout) -> Value {
    let within = |shard: &Shard| layout.buckets(*shard).is_some_and(|b| whole.buckets.covers(b));
    let part =
        |shard: Shard| json!({ "shard": shard.to_string(), "buckets": layout.buckets(shard) });
    let parts: Vec<_> = layout.shards().filter(within).map(part).collect();
    json!({ "shard": whole.shard.to_string(), "buckets": whole.buckets, "into": parts })
}

fn as_json(legs: &[Leg], changes: &BTreeMap<UnitName, Change>, all: u64) -> Value {
    let load = |load: Load| {
        json!({
            "shards": load.shards,
            "buckets": load.buckets,
            "usersPercent": percent(load.buckets as u64, u64::from(BUCKETS)),
            "trafficPercent": percent(load.requests, all),
        })
    };
    let change = |change: &Change| {
        json!({
            "before": load(change.before),
            "after": load(change.after),
            "worst": load(change.worst),
            "worstIfLost": change.worst_if_lost,
        })
    };
    let leg = |leg: &Leg| json!({ "shard": leg.shard.to_string(), "from": leg.from, "to": leg.to });
    let units: BTreeMap<_, _> =
        changes.iter().map(|(unit, one)| (unit.to_string(), change(one))).collect();
    json!({ "dryRun": true, "moves": legs.iter().map(leg).collect::<Vec<_>>(), "units": units })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_of_a_group_are_spread_over_its_shards() {
        let mut traffic = Traffic::new();
        let page = "# HELP polis_edge_requests_total x\n\
                    polis_edge_requests_total{shards=\"40-49\",class=\"2xx\"} 50\n\
                    polis_edge_requests_total{shards=\"40-49\",class=\"5xx\"} 10\n\
                    polis_edge_map_version 7\n";
        count(page, &mut traffic);
        assert_eq!(traffic.len(), 10);
        assert_eq!(traffic[&Shard::new(49).expect("a shard")], 6);

        let mut layout = topology::Layout::default();
        let part = layout.split("4975-4999".parse().expect("buckets")).expect("a quarter");
        traffic.insert(Shard::new(49).expect("a shard"), 60);
        let parts = by_part(&traffic, &layout);
        assert_eq!((parts[&Shard::new(49).expect("a shard")], parts[&part]), (45, 15));
        assert_eq!(parts.len(), 11);
    }
}
