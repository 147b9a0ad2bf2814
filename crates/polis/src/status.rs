//! `polis status`: the whole estate on one screen.

use std::{
    collections::BTreeMap,
    io::{IsTerminal, Write},
    path::PathBuf,
};

use anyhow::Context;
use client::Client;
use resources::{
    CafeDeployment, Center, CenterPhase, City, DrillPolicy, FAILOVER_POLICY_NAME, Failover,
    FailoverPolicy, Fence, SHARD_MAP_NAME, ShardMapObject, Unit,
};
use serde::Serialize;
use topology::{ShardMap, ShardSet, ShardState, UnitName};

use crate::{
    connect,
    data::{DEFAULT_DATA, DataDir},
    output::{self, Format},
    pki::Pki,
    shard::effect::places,
};
use planner::shard_move::effect::{Change, Traffic, effect};

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Data folder of the running `polis up`
    #[arg(long, default_value = DEFAULT_DATA, env = "POLIS_DATA")]
    data: PathBuf,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// What is shown; the JSON is this, field by field.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Estate {
    map_version: u64,
    cities: BTreeMap<String, DrillPolicy>,
    centers: Vec<CenterLine>,
    releases: Vec<ReleaseLine>,
    guarantees: BTreeMap<String, Fence>,
    alarms: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CenterLine {
    city: String,
    center: String,
    phase: CenterPhase,
    unit: Option<String>,
    serving: ShardSet,
    moving: ShardSet,
    /// Shards that it serves for another unit.
    guests: ShardSet,
    /// What it would carry if the unit whose loss hits it most were lost (N-1).
    worst: Option<String>,
    edge: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ReleaseLine {
    name: String,
    ready: u32,
    replicas: u32,
    updated: u32,
}

pub async fn run(args: Args) -> anyhow::Result<()> {
    let data = DataDir::new(&args.data);
    let client = connect::estate(&data.layout()?, &Pki::new(&data.pki()))?;
    let estate = observe(&client).await?;
    let mut out = std::io::stdout().lock();
    match args.output {
        Format::Json => writeln!(out, "{:#}", serde_json::to_value(&estate)?)?,
        Format::Table => show(&mut out, &estate)?,
    }
    Ok(())
}

async fn observe(client: &Client) -> anyhow::Result<Estate> {
    let door = client.federation();
    let (cities, centers, units) = (door.all::<City>(), door.all::<Center>(), door.all::<Unit>());
    let (maps, releases) = (door.all::<ShardMapObject>(), door.all::<CafeDeployment>());
    let (failovers, policies) = (door.all::<Failover>(), door.all::<FailoverPolicy>());
    let (cities, centers, units, map, releases, failovers, policy) = tokio::try_join!(
        cities.list(""),
        centers.list(""),
        units.list(""),
        maps.get(SHARD_MAP_NAME),
        releases.list(""),
        failovers.list(""),
        policies.find(FAILOVER_POLICY_NAME)
    )
    .context("read the estate from the API")?;
    let mut lines = Vec::new();
    for center in &centers.items {
        let inside = units.items.iter().filter(|unit| unit.spec.center.as_str() == center.name());
        let before = lines.len();
        lines.extend(inside.map(|unit| line(center, Some(unit), &map)));
        if lines.len() == before {
            lines.push(line(center, None, &map));
        }
    }
    let places = places(&units.items, &centers.items);
    let prefer = policy.map(|policy| policy.spec.prefer).unwrap_or_default();
    let changes = effect(&map.status, &[], &Traffic::new(), &places, prefer);
    for line in &mut lines {
        let change = line.unit.as_ref().and_then(|unit| changes.get(&unit.parse().ok()?));
        line.worst = change.and_then(worst);
    }
    let release = |deployment: &CafeDeployment| ReleaseLine {
        name: deployment.name().into(),
        ready: deployment.status.ready_replicas,
        replicas: deployment.status.replicas,
        updated: deployment.status.updated_replicas,
    };
    let services = units.items.iter().flat_map(|unit| &unit.spec.services);
    let releases: Vec<_> = releases.items.iter().map(release).collect();
    Ok(Estate {
        map_version: map.status.version.0,
        cities: cities
            .items
            .iter()
            .map(|city| (city.name().to_owned(), city.spec.drills))
            .collect(),
        alarms: waiting(&failovers.items).chain(alarms(&lines, &releases, &map)).collect(),
        centers: lines,
        releases,
        guarantees: services.map(|service| (service.name.clone(), service.fence)).collect(),
    })
}

fn line(center: &Center, unit: Option<&Unit>, map: &ShardMapObject) -> CenterLine {
    let unit: Option<UnitName> = unit.and_then(|unit| unit.unit().ok());
    let shards = |serving: bool| -> ShardSet {
        let Some(unit) = &unit else { return ShardSet::default() };
        let is = |state: &ShardState| matches!(state, ShardState::Serving { .. }) == serving;
        map.status
            .of_unit(unit)
            .filter(|shard| map.status.get(*shard).is_some_and(|found| is(&found.state)))
            .collect()
    };
    let serving = shards(true);
    CenterLine {
        city: center.spec.city.to_string(),
        center: center.name().into(),
        phase: center.status.phase,
        guests: serving.iter().filter(|s| map.spec.home_of(*s) != unit.as_ref()).collect(),
        serving,
        moving: shards(false),
        unit: unit.map(|unit| unit.to_string()),
        worst: None,
        edge: format!("http://{}", center.spec.edge_address),
    }
}

/// `40 if rz05 is lost`.
fn worst(change: &Change) -> Option<String> {
    let lost = change.worst_if_lost.as_ref()?;
    Some(format!("{} if {lost} is lost", change.worst.shards))
}

fn waiting(failovers: &[Failover]) -> impl Iterator<Item = String> {
    let open = failovers.iter().filter(|one| !one.status.phase.is_final());
    open.map(|one| format!("{}: {}", one.name(), one.status.message))
}

fn alarms(centers: &[CenterLine], releases: &[ReleaseLine], map: &ShardMapObject) -> Vec<String> {
    let mut alarms = Vec::new();
    for line in centers.iter().filter(|line| line.phase != CenterPhase::Ready) {
        alarms.push(format!("center {} is {:?}", line.center, line.phase));
    }
    let away: ShardSet = centers.iter().flat_map(|line| line.guests.iter()).collect();
    if !away.is_empty() {
        alarms.push(format!("shards {away} are away from home"));
    }
    let moving = count(&map.status, |state| matches!(state, ShardState::Moving { .. }));
    if moving > 0 {
        alarms.push(format!("{moving} shards are moving"));
    }
    for release in releases.iter().filter(|release| release.ready < release.replicas) {
        let ReleaseLine { name, ready, replicas, .. } = release;
        alarms.push(format!("{name}: {ready} of {replicas} instances are ready"));
    }
    alarms
}

fn count(map: &ShardMap, which: impl Fn(&ShardState) -> bool) -> usize {
    map.assignments.values().filter(|assignment| which(&assignment.state)).count()
}

fn show(out: &mut impl Write, estate: &Estate) -> anyhow::Result<()> {
    let dash = |set: &ShardSet| if set.is_empty() { "-".into() } else { set.to_string() };
    let row = |line: &CenterLine| {
        vec![
            line.city.clone(),
            line.center.clone(),
            format!("{:?}", line.phase),
            line.unit.clone().unwrap_or_else(|| "-".into()),
            dash(&line.serving),
            dash(&line.guests),
            dash(&line.moving),
            line.worst.clone().unwrap_or_else(|| "-".into()),
            line.edge.clone(),
        ]
    };
    let header =
        ["CITY", "CENTER", "PHASE", "UNIT", "SERVES", "OF OTHERS", "MOVING IN", "N-1", "EDGE"];
    output::table(out, &header, &estate.centers.iter().map(row).collect::<Vec<_>>())?;
    writeln!(out)?;
    let row = |release: &ReleaseLine| {
        let fence = estate.guarantees.get(&release.name);
        vec![
            release.name.clone(),
            format!("{}/{}", release.ready, release.replicas),
            format!("{}/{}", release.updated, release.replicas),
            fence.map_or_else(|| "-".into(), |fence| guarantee(*fence).into()),
        ]
    };
    let header = ["RELEASE", "READY", "UPDATED", "ONE WRITER PER SHARD BY"];
    output::table(out, &header, &estate.releases.iter().map(row).collect::<Vec<_>>())?;
    writeln!(out, "\nshard map version {}", estate.map_version)?;
    let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let [red, green, plain] = if colours { ["\x1b[31m", "\x1b[32m", "\x1b[0m"] } else { [""; 3] };
    if estate.alarms.is_empty() {
        writeln!(out, "{green}no alarms{plain}")?;
    }
    for alarm in &estate.alarms {
        writeln!(out, "{red}alarm{plain}: {alarm}")?;
    }
    Ok(())
}

fn guarantee(fence: Fence) -> &'static str {
    match fence {
        Fence::Database => "fence at the data, checked in every write",
        Fence::Lease => "lease of the unit",
        Fence::None => "nothing",
    }
}
