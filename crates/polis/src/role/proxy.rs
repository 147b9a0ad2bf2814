//! `polis proxy`: the data plane from a file.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use mesh::{Config, Handover, Options, Plan, Proxy, Snapshot};

use crate::stop::StopSignal;

/// Beyond the configuration's own drain timeout, for threads to end.
const GRACE: Duration = Duration::from_secs(2);

#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Serve what a file says; a new version of it is taken over while serving
    Run(Run),
    /// Say whether a file is sound, and what it comes to
    Check(File),
}

#[derive(Clone, Debug, clap::Args)]
pub struct File {
    /// The configuration, as TOML
    #[arg(long)]
    config: PathBuf,
}

#[derive(Clone, Debug, clap::Args)]
pub struct Run {
    #[command(flatten)]
    file: File,
    /// Where a process started later with the same options takes over: a unix
    /// socket, made if nobody listens there
    #[arg(long, value_name = "SOCKET")]
    handover: Option<PathBuf>,
    /// Where the configuration in force is kept, for a start at which its file
    /// is missing or not sound
    #[arg(long, value_name = "FILE")]
    snapshot: Option<PathBuf>,
}

pub fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run(run) => {
            crate::logging::init();
            super::runtime(Some(1))?.block_on(serve(&run))?;
        }
        Command::Check(file) => check(&file)?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn serve(run: &Run) -> anyhow::Result<()> {
    let file = &run.file.config;
    // Before anybody is asked for anything: a file that is bad stops us here.
    let snapshot = run.snapshot.as_deref().map(Snapshot::at);
    let (config, from_snapshot) = match (sound(file), &snapshot) {
        (Ok(config), _) => (config, false),
        (Err(error), None) => return Err(error),
        (Err(error), Some(snapshot)) => (kept(snapshot, error)?, true),
    };
    let patience = config.limits.drain_timeout.0 + GRACE;
    let handover = match &run.handover {
        Some(path) => Some(Handover::join(path).await.map_err(mesh::Error::from)?),
        None => None,
    };
    let options = Options { file: Some(file.clone()), handover, snapshot, from_snapshot };
    let proxy = Proxy::build(config, options)?;
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
        ended = &mut running => {
            let outcome = ended.context("run the proxy")??;
            tracing::info!(?outcome, "stopped");
            return Ok(());
        }
        () = stop.received() => tracing::info!("draining"),
    }
    let drained = trigger.drain(patience).await;
    tracing::info!(?drained, "stopped");
    Ok(())
}

/// The file as it is, if all it names can be read too.
fn sound(file: &Path) -> anyhow::Result<Config> {
    let config = Config::load(file)?;
    Plan::new(config.clone(), None)?;
    Ok(config)
}

/// The last good configuration, when the file is not sound for this reason.
fn kept(snapshot: &Snapshot, reason: anyhow::Error) -> anyhow::Result<Config> {
    match snapshot.load() {
        Ok(config) => {
            let code = errors::MESH_SNAPSHOT;
            tracing::error!(
                %code, %reason,
                "the file is NOT in force: serving what the SNAPSHOT says. {}", code.remedy()
            );
            Ok(config)
        }
        Err(unusable) => {
            Err(reason.context(format!("neither file nor snapshot can be used: {unusable}")))
        }
    }
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
