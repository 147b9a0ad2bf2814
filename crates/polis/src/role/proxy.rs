//! `polis proxy`: the data plane from a file.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, bail};
use mesh::{Config, Handover, Options, Plan, Proxy, Rules, Snapshot, State};
use tokio::sync::watch;

use super::proxy_host;
use crate::stop::StopSignal;

/// Beyond the configuration's own drain timeout, for threads to end.
const GRACE: Duration = Duration::from_secs(2);

#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Serve what a file says; a new version of it is taken over while serving
    Run(Run),
    /// Serve programs of this host that know of no proxy: their connections are
    /// captured by rules of the kernel. Needs root
    Host(Host),
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
    #[command(flatten)]
    lasting: Lasting,
}

/// What outlives a process.
#[derive(Clone, Debug, clap::Args)]
pub struct Lasting {
    /// Where a process started later with the same options takes over: a unix
    /// socket, made if nobody listens there
    #[arg(long, value_name = "SOCKET")]
    handover: Option<PathBuf>,
    /// Where the configuration in force is kept, for a start at which its file
    /// is missing or not sound
    #[arg(long, value_name = "FILE")]
    snapshot: Option<PathBuf>,
}

#[derive(Clone, Debug, clap::Args)]
pub struct Host {
    /// The configuration, as TOML
    #[arg(long, required_unless_present = "cleanup")]
    config: Option<PathBuf>,
    #[command(flatten)]
    lasting: Lasting,
    /// Remove the rules that a proxy left behind, and nothing else
    #[arg(long, conflicts_with_all = ["config", "handover", "snapshot", "dry_run"])]
    cleanup: bool,
    /// Print the rules as nft would be given them, and do nothing
    #[arg(long)]
    dry_run: bool,
}

pub fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run(run) => {
            crate::logging::init();
            super::runtime(Some(1))?.block_on(serve(&run.file.config, &run.lasting, false))?;
        }
        Command::Host(host) => intercept(&host)?,
        Command::Check(file) => check(&file)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn intercept(host: &Host) -> anyhow::Result<()> {
    let Some(config) = &host.config else {
        proxy_host::check_possible()?;
        proxy_host::remove()?;
        println!("connections are captured no more");
        return Ok(());
    };
    if host.dry_run {
        print!("{}", rules(&Config::load(config)?)?.install());
        return Ok(());
    }
    crate::logging::init();
    proxy_host::check_possible()?;
    super::runtime(Some(1))?.block_on(serve(config, &host.lasting, true))
}

fn rules(config: &Config) -> anyhow::Result<Rules> {
    Rules::of(config).context("no listener has `intercept`: there is nothing to capture")
}

async fn serve(file: &Path, lasting: &Lasting, capturing: bool) -> anyhow::Result<()> {
    // Before anybody is asked for anything: a file that is bad stops us here.
    let snapshot = lasting.snapshot.as_deref().map(Snapshot::at);
    let (config, from_snapshot) = match (sound(file), &snapshot) {
        (Ok(config), _) => (config, false),
        (Err(error), None) => return Err(error),
        (Err(error), Some(snapshot)) => (kept(snapshot, error)?, true),
    };
    let rules = match capturing {
        true => Some(rules(&config)?),
        false if Rules::of(&config).is_none() => None,
        false => bail!("a listener has `intercept`: start this with `polis proxy host`"),
    };
    let patience = config.limits.drain_timeout.0 + GRACE;
    let handover = match &lasting.handover {
        Some(path) => Some(Handover::join(path).await.map_err(mesh::Error::from)?),
        None => None,
    };
    let (told, state) = watch::channel(State::Serving(rules.clone()));
    let (file, told) = (Some(file.to_owned()), Some(told));
    let options = Options { file, handover, snapshot, from_snapshot, state: told };
    let proxy = Proxy::build(config, options)?;
    let keeper = match rules {
        Some(rules) => {
            proxy_host::install(&rules)?;
            Some(rt::spawn(rt::TaskKind::Critical, "rules", proxy_host::keep(rules, state)))
        }
        None => None,
    };
    let kept = async {
        match keeper {
            Some(keeper) => keeper.await.context("keep the rules of interception")?,
            None => Ok(()),
        }
    };
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
            return kept.await;
        }
        () = stop.received() => tracing::info!("draining"),
    }
    let drained = trigger.drain(patience).await;
    tracing::info!(?drained, "stopped");
    kept.await
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
        "{}: sound; listeners: {}, routes: {routes}, clusters: {}",
        file.config.display(),
        counts.0,
        counts.1
    );
    Ok(())
}
