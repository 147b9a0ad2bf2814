//! Ordering a unit and giving it back. The controllers carry it out: this
//! terminal may go away.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use client::{Client, DeleteOptions, Scope};
use resources::{Center, Kind, Metadata, RentalPhase, Unit, UnitRental, UnitRentalSpec};
use serde_json::json;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use topology::{CenterName, UnitName};

use super::list;
use crate::{
    load,
    shard::{Common, effect},
    stop::{INTERRUPTED, StopSignal},
};

/// How long the record of an earlier rental of this name may take to go.
const FORGET_MAX: Duration = Duration::from_secs(20);

#[derive(Clone, Debug, clap::Args)]
pub struct RentArgs {
    /// Name of the unit, such as rz06
    unit: UnitName,
    /// The center in which it is rented
    #[arg(long = "in")]
    center: CenterName,
    /// Of a hundred shards of those who give, so many move to it
    #[arg(long, default_value = "10%", value_parser = percent)]
    share: u32,
    /// The units that give; every unit unless given
    #[arg(long, value_delimiter = ',')]
    from: Vec<UnitName>,
    /// When it is given back by itself, such as 2026-11-12T08:00:00Z
    #[arg(long, conflicts_with = "duration")]
    until: Option<String>,
    /// Or after how long, such as 2h
    #[arg(long = "for", value_parser = load::duration)]
    duration: Option<Duration>,
    /// Show the effect on users and traffic, and rent nothing
    #[arg(long)]
    dry_run: bool,
    /// Give the order and do not wait until it serves
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    common: Common,
}

#[derive(Clone, Debug, clap::Args)]
pub struct ReturnArgs {
    /// The rented unit
    unit: UnitName,
    /// Give the order and do not wait for its end
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    common: Common,
}

pub async fn rent(args: &RentArgs) -> anyhow::Result<ExitCode> {
    let spec = UnitRentalSpec {
        center: args.center.clone(),
        share_percent: args.share,
        from: args.from.clone(),
        group_of: None,
        until: args.until()?,
        give_back: false,
    };
    if let Some(error) = spec.validate().into_iter().next() {
        bail!("{error}");
    }
    let client = args.common.client()?;
    check(&client, &args.unit, &spec).await?;
    if args.dry_run {
        effect::show_rental(&args.common, &client, &args.unit, &spec).await?;
        return Ok(ExitCode::SUCCESS);
    }
    effect::check_rental(&client, &args.unit, &spec).await?;
    let stop = StopSignal::new()?;
    order(&client, &args.unit, spec).await?;
    eprintln!("{0}: ordered; `polis unit return {0}` gives it back", args.unit);
    wait(&client, &args.common, &args.unit, RentalPhase::Active, args.no_wait, stop).await
}

pub async fn give_back(args: &ReturnArgs) -> anyhow::Result<ExitCode> {
    let client = args.common.client()?;
    let rentals = client.federation().all::<UnitRental>();
    let Some(rental) = rentals.find(args.unit.as_str()).await.context("read the rental")? else {
        bail!("unit {} is not rented: `polis unit list` shows those that are", args.unit);
    };
    let stop = StopSignal::new()?;
    if !rental.is_over() {
        let patch = json!({ "spec": { "giveBack": true } });
        rentals.patch(args.unit.as_str(), &patch).await.context("give it back")?;
    }
    wait(&client, &args.common, &args.unit, RentalPhase::Returned, args.no_wait, stop).await
}

/// Refuses what the controllers would refuse, before anything is written.
async fn check(client: &Client, unit: &UnitName, spec: &UnitRentalSpec) -> anyhow::Result<()> {
    let door = client.federation();
    let (centers, units, rentals) =
        (door.all::<Center>(), door.all::<Unit>(), door.all::<UnitRental>());
    let (centers, known, rental) =
        tokio::try_join!(centers.list(""), units.find(unit.as_str()), rentals.find(unit.as_str()))
            .context("read the estate from the API")?;
    let centers: Vec<_> = centers.items.iter().map(|center| center.name()).collect();
    if !centers.contains(&spec.center.as_str()) {
        bail!("there is no center {}: choose one of {}", spec.center, centers.join(", "));
    }
    if rental.is_some_and(|rental| !rental.is_over()) {
        bail!("unit {unit} is rented already: `polis unit status {unit}` shows it");
    }
    if known.is_some() {
        bail!("there is a unit {unit} already: choose another name");
    }
    Ok(())
}

/// Gives the order; the record of an earlier rental of this name makes room.
pub async fn order(client: &Client, unit: &UnitName, spec: UnitRentalSpec) -> anyhow::Result<()> {
    let rentals = client.federation().all::<UnitRental>();
    let rental = UnitRental::new(Metadata::named(unit.as_str()), spec);
    let ordered = async {
        loop {
            match rentals.create(&rental).await {
                Err(error) if error.is_already_exists() => {}
                created => return created.context("order the unit"),
            }
            let earlier = rentals.find(unit.as_str()).await.context("read the rental")?;
            if earlier.is_some_and(|earlier| !earlier.is_over()) {
                bail!("unit {unit} is rented already: `polis unit status {unit}` shows it");
            }
            rentals.delete(unit.as_str(), &DeleteOptions::default()).await?;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let ordered = tokio::time::timeout(FORGET_MAX, ordered).await;
    ordered.with_context(|| format!("the record of an earlier {unit} does not go"))?.map(drop)
}

/// Says how far it is, until it is as wanted or cannot be.
pub async fn wait(
    client: &Client,
    common: &Common,
    unit: &UnitName,
    wanted: RentalPhase,
    no_wait: bool,
    stop: StopSignal,
) -> anyhow::Result<ExitCode> {
    if no_wait {
        let rentals = client.federation().all::<UnitRental>();
        let rental = rentals.get(unit.as_str()).await.context("read the rental")?;
        list::print(common, &rental)?;
        return Ok(ExitCode::SUCCESS);
    }
    let Some(ended) = reach(client, unit, wanted, stop).await? else {
        return Ok(ExitCode::from(INTERRUPTED));
    };
    list::print(common, &ended)?;
    let good = ended.status.phase == wanted;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// As it is once it is as wanted, or over; none when somebody stopped waiting.
pub async fn reach(
    client: &Client,
    unit: &UnitName,
    wanted: RentalPhase,
    mut stop: StopSignal,
) -> anyhow::Result<Option<UnitRental>> {
    tokio::select! {
        ended = follow(client, unit, wanted) => ended.map(Some),
        () = stop.received() => {
            eprintln!("\nit goes on without this terminal; `polis unit status {unit}` shows it");
            Ok(None)
        }
    }
}

async fn follow(
    client: &Client,
    unit: &UnitName,
    wanted: RentalPhase,
) -> anyhow::Result<UnitRental> {
    let scope = Scope::everything().with_fields(&format!("metadata.name={unit}"));
    let mut rentals = client.federation().watch::<UnitRental>(scope);
    let mut said = String::new();
    loop {
        let snapshot = rentals.changed().await;
        let Some(rental) = snapshot.get(unit.as_str()) else {
            if snapshot.synced {
                bail!("the rental of {unit} was deleted, and nothing is left of it");
            }
            continue;
        };
        let status = &rental.status;
        let now = format!("{:?}: {}", status.phase, status.message);
        if !status.message.is_empty() && now != said {
            eprintln!("{unit}: {now}");
            said = now;
        }
        if status.phase == wanted || rental.is_over() {
            return Ok(UnitRental::clone(rental));
        }
    }
}

fn percent(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix('%').and_then(|number| number.parse().ok());
    let percent = number.filter(|percent| (1..=100).contains(percent));
    percent.ok_or_else(|| format!("{text:?} is not 1% to 100%"))
}

// === impl RentArgs ===

impl RentArgs {
    fn until(&self) -> anyhow::Result<Option<String>> {
        if let Some(until) = &self.until {
            OffsetDateTime::parse(until, &Rfc3339)
                .with_context(|| format!("--until {until} is no time like 2026-11-12T08:00:00Z"))?;
            return Ok(Some(until.clone()));
        }
        let Some(duration) = self.duration else { return Ok(None) };
        let until = OffsetDateTime::now_utc().checked_add(duration.try_into()?);
        let until = until.context("--for ends after the end of time")?;
        Ok(Some(until.replace_nanosecond(0)?.format(&Rfc3339)?))
    }
}
