//! Giving an order to move shards, and watching it to its end. The controllers
//! carry it out: this terminal may go away.

use std::{
    io::{IsTerminal, Write},
    process::ExitCode,
};

use anyhow::{Context, bail};
use client::{Client, Scope};
use resources::{Metadata, MovePhase, ShardMove, ShardMoveSpec};

use super::{Common, effect};
use crate::{
    load::new_run_id,
    output::{self, Format},
    stop::{INTERRUPTED, StopSignal},
};

#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Show the effect on users and traffic, and move nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Give the order and do not wait for its end
    #[arg(long)]
    no_wait: bool,
    /// Longest time, in milliseconds, that a shard's requests wait before it goes back
    #[arg(long)]
    hold_ms: Option<u64>,
}

pub async fn run(
    common: &Common,
    mut spec: ShardMoveSpec,
    options: &Options,
) -> anyhow::Result<ExitCode> {
    spec.hold_ms = options.hold_ms.unwrap_or(spec.hold_ms);
    if let Some(error) = resources::Kind::validate(&spec).into_iter().next() {
        bail!("{error}");
    }
    let client = common.client()?;
    if options.dry_run {
        effect::show(common, &client, &spec).await?;
        return Ok(ExitCode::SUCCESS);
    }
    effect::check(&client, &spec).await?;
    let mut stop = StopSignal::new()?;
    let name = format!("move-{}", new_run_id());
    let order = ShardMove::new(Metadata::named(&name), spec);
    let orders = client.federation().all::<ShardMove>();
    let order = orders.create(&order).await.context("give the order")?;
    if options.no_wait {
        print(&order, common.output)?;
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("{name}: given; `kubectl delete shardmove {name}` takes it back");
    let ended = tokio::select! {
        ended = follow(&client, &name) => ended?,
        () = stop.received() => {
            eprintln!("\n{name} goes on without this terminal; `kubectl get shardmove {name}` shows it");
            return Ok(ExitCode::from(INTERRUPTED));
        }
    };
    print(&ended, common.output)?;
    let good = ended.status.phase == MovePhase::Succeeded;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The order at its end; says on the way how far it is.
async fn follow(client: &Client, name: &str) -> anyhow::Result<ShardMove> {
    let scope = Scope::everything().with_fields(&format!("metadata.name={name}"));
    let mut orders = client.federation().watch::<ShardMove>(scope);
    let mut said = String::new();
    loop {
        let snapshot = orders.changed().await;
        let Some(order) = snapshot.get(name) else {
            if snapshot.synced {
                bail!("{name} was taken back; what had moved goes home");
            }
            continue;
        };
        let status = &order.status;
        let now = format!("{} of {} moved; {}", status.moved, status.total, status.message);
        if status.total > 0 && now != said {
            eprintln!("{name}: {now}");
            said = now;
        }
        if status.phase.is_final() {
            return Ok(ShardMove::clone(order));
        }
    }
}

fn print(order: &ShardMove, format: Format) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if format == Format::Json {
        writeln!(out, "{:#}", serde_json::to_value(order)?)?;
        return Ok(());
    }
    let row = |row: &resources::MoveProgress| {
        vec![
            row.shards.to_string(),
            row.from.to_string(),
            row.to.to_string(),
            format!("{:?}", row.state),
            row.epoch.to_string(),
            row.reverts.to_string(),
        ]
    };
    let status = &order.status;
    if !status.progress.is_empty() {
        let header = ["SHARDS", "FROM", "TO", "STATE", "EPOCH", "REVERTS"];
        output::table(&mut out, &header, &status.progress.iter().map(row).collect::<Vec<_>>())?;
    }
    let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let (red, plain) = if colours { ("\x1b[31m", "\x1b[0m") } else { ("", "") };
    match status.phase {
        MovePhase::Failed => writeln!(out, "{red}failed{plain}: {}", status.message)?,
        MovePhase::Succeeded => writeln!(out, "{}: {}", order.name(), status.message)?,
        MovePhase::Pending | MovePhase::Moving => writeln!(out, "{} is given", order.name())?,
    }
    Ok(())
}
