//! Showing units and rentals.

use std::{io::Write, process::ExitCode};

use anyhow::{Context, bail};
use resources::{SHARD_MAP_NAME, ShardMapObject, Unit, UnitRental};
use serde_json::json;
use topology::{ShardSet, UnitName};

use crate::{
    output::{self, Format},
    shard::Common,
};

#[derive(Clone, Debug, clap::Args)]
pub struct StatusArgs {
    /// The unit
    unit: UnitName,
    #[command(flatten)]
    common: Common,
}

pub async fn list(common: &Common) -> anyhow::Result<ExitCode> {
    let door = common.client()?.federation();
    let (units, rentals, maps) =
        (door.all::<Unit>(), door.all::<UnitRental>(), door.all::<ShardMapObject>());
    let (units, rentals, map) =
        tokio::try_join!(units.list(""), rentals.list(""), maps.get(SHARD_MAP_NAME))
            .context("read the estate from the API")?;
    let mut out = std::io::stdout().lock();
    if common.output == Format::Json {
        let list = json!({ "units": units.items, "rentals": rentals.items });
        writeln!(out, "{list:#}")?;
        return Ok(ExitCode::SUCCESS);
    }
    let shards = |unit: &str| {
        let unit = unit.parse::<UnitName>().ok();
        let shards: ShardSet = unit.iter().flat_map(|unit| map.status.of_unit(unit)).collect();
        if shards.is_empty() { "-".to_owned() } else { shards.to_string() }
    };
    let mut rows = Vec::new();
    for unit in &units.items {
        let rental = rentals.items.iter().find(|rental| rental.name() == unit.name());
        let rental = rental.filter(|rental| !rental.is_over());
        rows.push(vec![
            unit.name().to_owned(),
            unit.spec.center.to_string(),
            if unit.status.ready { "yes" } else { "no" }.to_owned(),
            shards(unit.name()),
            rental.map_or("-".into(), |rental| format!("{:?}", rental.status.phase)),
            rental.and_then(|rental| rental.spec.until.clone()).unwrap_or("-".into()),
        ]);
    }
    // Those that are no unit yet, or not any more.
    for rental in &rentals.items {
        if !units.items.iter().any(|unit| unit.name() == rental.name()) {
            rows.push(vec![
                rental.name().to_owned(),
                rental.spec.center.to_string(),
                "no".into(),
                "-".into(),
                format!("{:?}", rental.status.phase),
                rental.spec.until.clone().unwrap_or("-".into()),
            ]);
        }
    }
    output::table(&mut out, &["UNIT", "CENTER", "READY", "SHARDS", "RENTED", "UNTIL"], &rows)?;
    Ok(ExitCode::SUCCESS)
}

pub async fn status(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let door = args.common.client()?.federation();
    let name = args.unit.as_str();
    if let Some(rental) = door.all::<UnitRental>().find(name).await.context("read the rental")? {
        print(&args.common, &rental)?;
        return Ok(ExitCode::SUCCESS);
    }
    let Some(unit) = door.all::<Unit>().find(name).await.context("read the unit")? else {
        bail!("there is no unit {name}: `polis unit list` shows them");
    };
    let mut out = std::io::stdout().lock();
    match args.common.output {
        Format::Json => writeln!(out, "{:#}", serde_json::to_value(&unit)?)?,
        Format::Table => {
            let ready = if unit.status.ready { "ready" } else { "not ready" };
            writeln!(out, "{name} in {}: {ready}, not rented", unit.spec.center)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub fn print(common: &Common, rental: &UnitRental) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if common.output == Format::Json {
        writeln!(out, "{:#}", serde_json::to_value(rental)?)?;
        return Ok(());
    }
    let (spec, status) = (&rental.spec, &rental.status);
    let until = spec.until.as_ref().map(|until| format!(" until {until}")).unwrap_or_default();
    let (name, center) = (rental.name(), &spec.center);
    writeln!(out, "{name} in {center}{until}: {:?}: {}", status.phase, status.message)?;
    let shares = status.shares.iter();
    let shares: Vec<_> =
        shares.map(|share| vec![share.from.to_string(), share.shards.to_string()]).collect();
    if !shares.is_empty() {
        output::table(&mut out, &["FROM", "SHARDS"], &shares)?;
    }
    for event in &status.history {
        writeln!(out, "{}  {:?}: {}", event.at, event.phase, event.message)?;
    }
    Ok(())
}
