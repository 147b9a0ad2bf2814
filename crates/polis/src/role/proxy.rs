//! `polis proxy`: the data plane from a file.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context;
use mesh::{Config, Plan, Proxy};

use crate::stop::StopSignal;

/// Beyond the configuration's own drain timeout, for threads to end.
const GRACE: Duration = Duration::from_secs(2);

#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Serve what a file says; a new version of it is taken over while serving
    Run(File),
    /// Say whether a file is sound, and what it comes to
    Check(File),
}

#[derive(Clone, Debug, clap::Args)]
pub struct File {
    /// The configuration, as TOML
    #[arg(long)]
    config: PathBuf,
}

pub fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run(file) => {
            crate::logging::init();
            super::runtime(Some(1))?.block_on(serve(&file))?;
        }
        Command::Check(file) => check(&file)?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn serve(file: &File) -> anyhow::Result<()> {
    let config = Config::load(&file.config)?;
    let patience = config.limits.drain_timeout.0 + GRACE;
    let proxy = Proxy::build(config, Some(&file.config))?;
    for (listener, address) in proxy.addresses() {
        tracing::info!(listener, %address, "listening");
    }
    if let Some(address) = proxy.admin_address() {
        tracing::info!(%address, "operators' pages");
    }
    let mut stop = StopSignal::new()?;
    let (trigger, drain) = rt::drain::channel();
    let mut running = rt::spawn(rt::TaskKind::Critical, "proxy", proxy.run(drain));
    tokio::select! {
        ended = &mut running => return Ok(ended.context("run the proxy")??),
        () = stop.received() => tracing::info!("draining"),
    }
    let drained = trigger.drain(patience).await;
    tracing::info!(?drained, "stopped");
    Ok(())
}

fn check(file: &File) -> anyhow::Result<()> {
    let config = Config::load(&file.config)?;
    let routes: usize = config.listener.iter().map(|listener| listener.route.len()).sum();
    let counts = (config.listener.len(), config.cluster.len());
    // Certificates are read too: what serves must be able to.
    Plan::new(config, None)?;
    println!(
        "{}: sound: {} listeners, {routes} routes, {} clusters",
        file.config.display(),
        counts.0,
        counts.1
    );
    Ok(())
}
