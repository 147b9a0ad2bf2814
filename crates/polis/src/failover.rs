//! `polis failover`: what waits for a person, and the person's word.

use std::{io::Write, process::ExitCode};

use anyhow::{Context, bail};
use resources::{Failover, FailoverLoad, FailoverPhase};
use serde_json::json;
use topology::CenterName;

use crate::{
    output::{self, Format},
    shard::Common,
};

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Show failovers that wait, and those that were
    List(Common),
    /// Say that centers that look lost are lost: their shards move
    Approve(ApproveArgs),
}

#[derive(Clone, Debug, clap::Args)]
pub struct ApproveArgs {
    /// Name of the failover, as `polis failover list` shows it
    name: String,
    #[command(flatten)]
    common: Common,
}

pub async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::List(common) => list(&common).await,
        Command::Approve(args) => approve(&args).await,
    }
}

async fn list(common: &Common) -> anyhow::Result<ExitCode> {
    let failovers = common.client()?.federation().all::<Failover>();
    let mut failovers = failovers.list("").await.context("read the failovers")?.items;
    failovers
        .sort_by_key(|one| (one.status.phase.is_final(), one.metadata.creation_timestamp.clone()));
    let mut out = std::io::stdout().lock();
    if common.output == Format::Json {
        writeln!(out, "{:#}", json!({ "failovers": failovers }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let row = |one: &Failover| {
        let centers: Vec<_> = one.spec.centers.iter().map(CenterName::as_str).collect();
        let steps = one.status.plan.iter();
        let steps: Vec<_> = steps.map(|step| format!("{} > {}", step.shards, step.to)).collect();
        let loads: Vec<_> = one.status.loads.iter().map(load).collect();
        vec![
            one.name().to_owned(),
            format!("{:?}", one.status.phase),
            format!("{:?}", one.spec.evidence),
            centers.join(","),
            steps.join("; "),
            loads.join("; "),
            one.status.message.clone(),
        ]
    };
    let header = ["NAME", "PHASE", "EVIDENCE", "CENTERS", "MOVES", "N-1", "MESSAGE"];
    output::table(&mut out, &header, &failovers.iter().map(row).collect::<Vec<_>>())?;
    Ok(ExitCode::SUCCESS)
}

/// `rz03 20 > 40, 60 if rz05 is lost`.
fn load(load: &FailoverLoad) -> String {
    let FailoverLoad { unit, shards_before, shards_after, shards_if_another_is_lost, another } =
        load;
    let lost = another.as_ref();
    let lost = lost.map(|other| format!(", {shards_if_another_is_lost} if {other} is lost"));
    format!("{unit} {shards_before} > {shards_after}{}", lost.unwrap_or_default())
}

async fn approve(args: &ApproveArgs) -> anyhow::Result<ExitCode> {
    let ApproveArgs { name, common } = args;
    let failovers = common.client()?.federation().all::<Failover>();
    let found = failovers.find(name).await.context("read the failover")?;
    let Some(found) = found else {
        bail!("there is no failover {name}: see `polis failover list`")
    };
    if found.status.phase != FailoverPhase::Waiting {
        bail!("{name} is over: {}", found.status.message);
    }
    let patch = json!({ "spec": { "approved": true } });
    let approved = failovers.patch(name, &patch).await.context("approve it")?;
    let mut out = std::io::stdout().lock();
    if common.output == Format::Json {
        writeln!(out, "{:#}", serde_json::to_value(&approved)?)?;
    } else {
        writeln!(out, "{name} is approved; `polis failover list` shows when it is done")?;
    }
    Ok(ExitCode::SUCCESS)
}
