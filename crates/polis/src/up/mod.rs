//! `polis up`: the reference layout on this machine.
//!
//! One store (standing for the database, in no center), one process per
//! center, and in each unit a ledger that the center's agent runs. With
//! `--database`, the store's log and the ledgers' books are in it. This process
//! supervises them, balances the API door, and takes drills' faults. If it is
//! killed, the kernel ends the rest; the data stays.

pub mod bootstrap;
pub mod clock;
pub mod control;
mod database_node;
mod disk;
mod door;
pub mod fault;
mod guardians;
mod network;
mod process;
mod provider;
mod ready;
mod screen;
mod supervisor;

use std::{
    net::{Ipv4Addr, TcpListener},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, bail};
use client::Client;
use tokio::{net::UnixListener, sync::mpsc};

use crate::{
    connect,
    data::{DEFAULT_DATA, DataDir, Estate},
    kubeconfig,
    layout::{CenterPlan, Layout, LayoutName},
    pki::Pki,
    role::{server::ServerOptions, store::database::Database},
    stop::StopSignal,
};
use database_node::DatabaseNode;
use fault::STORE;
use guardians::Guardians;
use network::Network;
pub use network::Prepared;
use process::Program;
use screen::Screen;
use supervisor::{Notice, Supervisor};

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Folder for everything this estate keeps
    #[arg(long, default_value = DEFAULT_DATA, env = "POLIS_DATA")]
    pub data: PathBuf,
    /// First of the ports to use: API door, store, then API servers, edges, agents and pods
    #[arg(long, default_value_t = 7400)]
    pub base_port: u16,
    /// Cities and centers; 2+2+1 survives the loss of any city
    #[arg(long, value_enum, default_value_t = LayoutName::TwoTwoOne)]
    pub layout: LayoutName,
    #[command(flatten)]
    pub database: Database,
    /// A node of the database that belongs to a center: drills hit it with the center, whose
    /// ledger writes through it. Once for each: CENTER=HOST:PORT=PID_FILE
    #[arg(long = "database-node", requires = "database")]
    pub database_nodes: Vec<DatabaseNode>,
    #[command(flatten)]
    pub guardians: Guardians,
    /// Whether centers share this machine's loopback, or each has a network of its own (needs root)
    #[arg(long, value_enum, default_value_t)]
    pub network: NetworkKind,
    /// The library libfaketime, by which drills set centers' wall clocks wrong
    #[arg(long)]
    pub clock_library: Option<PathBuf>,
    /// Make the centers' networks, say where each center's node of a database is to be, and start
    /// nothing: the networks stay until they are removed by --cleanup
    #[arg(long, conflicts_with_all = ["database", "cleanup"])]
    pub prepare_networks: bool,
    /// Remove the networks that a killed `up` of this folder left behind, or that were prepared,
    /// and start nothing
    #[arg(long)]
    pub cleanup: bool,
    /// Seconds to wait until everything is ready
    #[arg(long, default_value_t = 60)]
    pub start_timeout: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum NetworkKind {
    /// All on 127.0.0.1
    #[default]
    Loopback,
    /// A namespace per center, linked by a bridge whose lines drills can cut
    Namespaces,
}

/// As a shell reports a process that SIGINT ended.
const EXIT_INTERRUPTED: i32 = 130;

/// How long the door's connections may take to end.
const DOOR_DRAIN: Duration = Duration::from_secs(1);

pub async fn run(args: Args) -> anyhow::Result<()> {
    let data = DataDir::new(&args.data);
    if !(1024..=Layout::BASE_PORT_MAX).contains(&args.base_port) {
        let code = errors::BASE_PORT_INVALID;
        bail!("{code}: base port {} cannot be used. {}", args.base_port, code.remedy());
    }
    if args.cleanup {
        return network::clean_up(&data);
    }
    let _lock = data.lock()?;
    let earlier = data.estate()?;
    let kept = data.prepared()?.map(|prepared| prepared.subnet);
    let left_behind = earlier.as_ref().and_then(|earlier| earlier.subnet);
    let left_behind = left_behind.filter(|subnet| Some(*subnet) != kept);
    if args.prepare_networks {
        return network::prepare(&data, args.layout);
    }
    let mut estate = Estate {
        layout: args.layout,
        base_port: args.base_port,
        database: args.database.database.clone(),
        subnet: None,
    };
    if let Some(earlier) = &earlier
        && earlier.layout != estate.layout
    {
        bail!(
            "{}: {} holds layout {}, and {} was asked for. {}",
            errors::LAYOUT_DIFFERS,
            data.path().display(),
            earlier.layout,
            estate.layout,
            errors::LAYOUT_DIFFERS.remedy()
        );
    }
    if let Some(earlier) = &earlier
        // Its address may change; that it is another database, the store notices.
        && earlier.database.is_some() != estate.database.is_some()
    {
        bail!(
            "{}: {} was made with {}, and {} was asked for. {}",
            errors::STORE_DIFFERS,
            data.path().display(),
            name_of(earlier),
            name_of(&estate),
            errors::STORE_DIFFERS.remedy()
        );
    }
    let prepared = match args.network {
        NetworkKind::Namespaces => {
            network::check_reachable(&args.database_nodes, args.database.database.as_deref())?;
            let prepared = Prepared::find(&data, args.layout)?;
            estate.subnet = Some(match &prepared {
                Some(prepared) => prepared.subnet,
                None => network::claim(data.path(), left_behind)?,
            });
            // At once: whoever finds us killed must know what to remove.
            data.save_estate(&estate)?;
            prepared
        }
        NetworkKind::Loopback => {
            left_behind.map_or(Ok(()), |subnet| network::remove(data.path(), subnet))?;
            None
        }
    };
    let outcome = run_in(&args, &data, &estate, prepared.as_ref()).await;
    match estate.subnet {
        // Others go on in them, without the faults that ended with us.
        Some(subnet) if prepared.is_some() => {
            let layout = Layout::new(estate.layout, estate.base_port, estate.subnet);
            Network::adopt(&layout, subnet)?;
        }
        Some(subnet) => network::remove(data.path(), subnet)?,
        None => {}
    }
    outcome
}

/// From an estate whose networks are claimed to its end.
async fn run_in(
    args: &Args,
    data: &DataDir,
    estate: &Estate,
    prepared: Option<&Prepared>,
) -> anyhow::Result<()> {
    let layout = Layout::new(estate.layout, estate.base_port, estate.subnet);
    check_ports(&layout)?;
    if let Some(database) = args.database.config()? {
        // What is wrong with it is better said here than in the store's log.
        engine::Sql::connect(database).await?;
    }
    data.save_estate(estate)?;
    let pki = Pki::new(&data.pki());
    pki.prepare(&layout)?;
    kubeconfig::write(&data.kubeconfig(), &layout, &pki)?;

    let mut stop = StopSignal::new()?;
    let (calls_tx, mut calls) = mpsc::channel(control::QUEUE_MAX);
    let socket = data.control_socket();
    match std::fs::remove_file(&socket) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).context("remove the control socket of an earlier run");
        }
        _ => {}
    }
    let listener =
        UnixListener::bind(&socket).with_context(|| format!("listen on {}", socket.display()))?;
    let provider = provider::Local::new(&layout, data, calls_tx.clone());
    tokio::spawn(provider::serve(provider::listen(&data.provider_socket())?, provider));
    tokio::spawn(control::serve(listener, calls_tx));
    let (door_trigger, door_drain) = rt::drain::channel();
    let door = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, layout.base_port))
        .await
        .context("listen at the API door")?;
    let replicas = layout.centers.iter().map(CenterPlan::api).collect();
    let door = tokio::spawn(door::Door::new(door, replicas).run(door_drain));

    disk::clean(data)?;
    network::alone::clean(data.path())?;
    let network = estate.subnet.map(|subnet| match prepared {
        Some(_) => Network::adopt(&layout, subnet),
        None => Network::build(&layout, subnet),
    });
    let network = network.transpose()?;
    let mut supervisor =
        Supervisor::new(data, network, args.clocks(data)?, args.database_nodes.clone());
    let mut screen = Screen::new();
    let client = connect::estate(&layout, &pki)?;
    let started = {
        let start = start(&mut supervisor, &mut calls, &mut screen, &layout, data, args, &client);
        let deadline = Duration::from_secs(args.start_timeout);
        tokio::select! {
            started = tokio::time::timeout(deadline, start) => started.ok(),
            () = stop.received() => {
                Some(Err(anyhow::anyhow!("stopped before everything was ready")))
            }
        }
    };
    let outcome = match started {
        Some(Ok(())) => {
            screen.ready(&layout, data);
            supervise(&mut supervisor, &mut calls, &mut screen, &mut stop).await;
            Ok(())
        }
        Some(Err(error)) => Err(error),
        None => {
            let code = errors::START_TIMEOUT;
            let (seconds, step) = (args.start_timeout, screen.step());
            Err(anyhow::anyhow!("{code}: {step} after {seconds} s. {}", code.remedy()))
        }
    };
    screen.stopping();
    let stopped = async {
        // Centers first: their ledgers finish what they have while the store lives.
        supervisor.stop(true).await;
        supervisor.stop(false).await;
        door_trigger.drain(DOOR_DRAIN).await;
        let _ = (door.await, std::fs::remove_file(&socket));
        let _ = std::fs::remove_file(data.provider_socket());
    };
    tokio::select! {
        () = stopped => {}
        // The kernel ends the children with us; nothing acknowledged is lost.
        () = stop.received() => std::process::exit(EXIT_INTERRUPTED),
    }
    if outcome.is_ok() {
        screen.stopped(data);
    }
    outcome
}

// === impl Args ===

impl Args {
    fn clocks(&self, data: &DataDir) -> anyhow::Result<Option<clock::Library>> {
        let library = self.clock_library.as_deref();
        library.map(|library| clock::Library::new(library, data)).transpose()
    }
}

/// Everything from the first process to the last shard served.
async fn start(
    supervisor: &mut Supervisor,
    calls: &mut mpsc::Receiver<control::Call>,
    screen: &mut Screen,
    layout: &Layout,
    data: &DataDir,
    args: &Args,
    client: &Client,
) -> anyhow::Result<()> {
    let database = &args.database;
    let pki = Pki::new(&data.pki());
    screen.begin("waiting for the store");
    for (program, center) in args.guardians.programs(&args.database_nodes, layout, data)? {
        supervisor.add(program, Some(center.as_str()))?;
    }
    supervisor.add(store_program(layout, data, database, &pki), None)?;
    watching(supervisor, calls, ready::port(layout.store())).await?;
    screen.done("store");
    screen.begin("waiting for the API servers");
    for plan in &layout.centers {
        let program = center_program(plan, layout, data)?;
        supervisor.add(program, Some(plan.center.as_str()))?;
    }
    for (program, center) in provider::rented(layout, data)? {
        supervisor.add(program, Some(center.as_str()))?;
    }
    watching(supervisor, calls, ready::api(client, layout)).await?;
    screen.done("API servers, controllers, edges and agents");
    screen.begin("creating cities, centers, units and the ledger");
    let nodes = args.database_nodes.iter().map(|node| node.for_ledger(layout));
    let nodes = nodes.collect::<anyhow::Result<Vec<_>>>()?;
    let clocks = args.clocks(data)?;
    bootstrap::objects(client, layout, data, database, &nodes, clocks.as_ref()).await?;
    screen.done("cities, centers and units");
    screen.begin("waiting for a ledger in every unit");
    watching(supervisor, calls, ready::ledgers(client, layout)).await?;
    screen.done("a ledger in every unit");
    screen.begin("waiting for every shard to be served");
    watching(supervisor, calls, ready::shards(client)).await?;
    screen.done("every shard served");
    screen.begin("waiting for the centers to see each other");
    watching(supervisor, calls, ready::centers(client)).await?;
    screen.done("every center seen by the others");
    screen.begin("waiting for the edges to know the shards");
    watching(supervisor, calls, ready::edges(layout)).await?;
    screen.done("edges");
    Ok(())
}

/// Waits for `what` while the processes are watched: one that ends now has met
/// an error, and waiting longer would not help.
async fn watching<T>(
    supervisor: &mut Supervisor,
    calls: &mut mpsc::Receiver<control::Call>,
    what: impl Future<Output = T>,
) -> anyhow::Result<T> {
    tokio::pin!(what);
    loop {
        tokio::select! {
            done = &mut what => return Ok(done),
            notice = supervisor.step(calls) => {
                if let Some(Notice::Ended { name, status, log }) = notice {
                    let code = errors::CHILD_ENDED;
                    let tail = ready::tail(&log);
                    bail!("{code}: {name} ended while starting ({status}); its log is {log}:\n{tail}\n{}", code.remedy());
                }
            }
        }
    }
}

async fn supervise(
    supervisor: &mut Supervisor,
    calls: &mut mpsc::Receiver<control::Call>,
    screen: &mut Screen,
    stop: &mut StopSignal,
) {
    loop {
        tokio::select! {
            notice = supervisor.step(calls) => {
                match notice {
                    Some(Notice::Ended { name, status, log }) => screen.ended(&name, &status, &log),
                    Some(Notice::Healed { fault }) => screen.healed(&fault),
                    None => {}
                }
            }
            () = stop.received() => return,
        }
    }
}

/// Says which port is taken before anything is started.
fn check_ports(layout: &Layout) -> anyhow::Result<()> {
    for (port, what) in layout.ports() {
        if let Err(error) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            let code = errors::PORT_TAKEN;
            bail!("{code}: port {port} ({what}) cannot be used: {error}. {}", code.remedy());
        }
    }
    Ok(())
}

/// Where an estate's store keeps its log, for people.
fn name_of(estate: &Estate) -> String {
    estate.database.clone().unwrap_or_else(|| "a store in the data folder".to_owned())
}

/// A password in the environment reaches it by inheritance.
fn store_program(layout: &Layout, data: &DataDir, database: &Database, pki: &Pki) -> Program {
    let leaf = pki.leaf(None, "store");
    let arg = |name: &str, value: &dyn std::fmt::Display| format!("--{name}={value}");
    let mut args = vec![
        "store".into(),
        arg("data-dir", &data.store().display()),
        arg("listen-client-urls", &format_args!("https://{}", layout.store())),
        arg("cert-file", &leaf.cert.display()),
        arg("key-file", &leaf.key.display()),
        arg("trusted-ca-file", &leaf.ca.display()),
        "--mesh-access".into(),
    ];
    args.extend(database.database.iter().map(|url| arg("database", url)));
    let password = database.database_password_file.iter();
    args.extend(password.map(|file| arg("database-password-file", &file.display())));
    let log = data.logs().join("store.log");
    Program { name: STORE.into(), args, log, envs: Vec::new(), network: None }
}

/// Writes the center's configuration and says how to start it.
fn center_program(plan: &CenterPlan, layout: &Layout, data: &DataDir) -> anyhow::Result<Program> {
    let dir = data.center(plan.center.as_str());
    std::fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
    let options = ServerOptions {
        center: Some(plan.center.clone()),
        city: Some(plan.city.clone()),
        unit: Some(plan.unit.clone()),
        data_dir: Some(dir.clone()),
        identity_dir: Some(data.pki().join("units").join(plan.unit.as_str())),
        store: Some(format!("https://{}", layout.store())),
        api_address: Some(plan.api()),
        edge_address: Some(plan.edge()),
        edge_admin_address: Some(plan.edge_admin()),
        edge_threads: Some(1),
        // Five centers share this machine's cores.
        worker_threads: Some(1),
        agent_address: Some(plan.agent()),
        pods_die_with_agent: Some(true),
        provider: Some(format!("unix:{}", data.provider_socket().display())),
        roles: None,
    };
    let file = dir.join("server.toml");
    std::fs::write(&file, toml::to_string(&options)?)
        .with_context(|| format!("write {}", file.display()))?;
    Ok(Program {
        name: plan.center.to_string(),
        args: vec!["server".into(), format!("--config={}", file.display())],
        log: data.logs().join(format!("{}.log", plan.center)),
        envs: Vec::new(),
        network: None,
    })
}
