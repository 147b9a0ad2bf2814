//! `polis server`: a center, as the roles that are chosen: API server,
//! controllers, edge and agent, in one process. An API server that is told of no
//! center serves a plain cluster by itself, see `role/api`.

use std::{
    io::Write,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use client::Client;
use identity::{ClientAuth, Credentials, Expected, Files, ServerCheck};
use kv::Kv;
use rt::{Drain, TaskKind};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use topology::{CenterName, CityName, UnitName};

use super::{
    api::{self as alone, flags::ApiOptions, foreign::Foreign},
    options::{self, required},
};
use crate::{
    logging::LogLevel,
    pki::{SYSTEM_NAMESPACE, TRUST_DOMAIN},
};

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Configuration (TOML); flags win over it
    #[arg(long)]
    config: Option<PathBuf>,
    #[command(flatten)]
    options: ServerOptions,
    #[command(flatten)]
    api: ApiOptions,
    #[command(flatten)]
    foreign: Foreign,
}

/// What was typed, in the file or as flags. Every key is optional here; what a
/// role needs is asked for when it is built.
#[derive(Clone, Debug, Default, clap::Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ServerOptions {
    /// Roles to run: all unless given
    #[arg(long, value_enum, value_delimiter = ',')]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<Role>>,
    /// Name of this center
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub center: Option<CenterName>,
    /// City it is in
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub city: Option<CityName>,
    /// Unit it runs
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<UnitName>,
    /// Folder for what this process keeps
    #[arg(long, visible_alias = "data")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
    /// Folder with ROLE.crt, ROLE.key and ca.crt for each role
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity_dir: Option<PathBuf>,
    /// The store: https://HOST:PORT
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
    /// Where the API server listens, and where the other roles reach it
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_address: Option<SocketAddr>,
    /// Where the edge listens for users
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edge_address: Option<SocketAddr>,
    /// Where the edge shows metrics, health and its map
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edge_admin_address: Option<SocketAddr>,
    /// Threads of the edge; one per core unless given
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edge_threads: Option<usize>,
    /// Threads of everything but the edge; one per core unless given
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker_threads: Option<usize>,
    /// Where the agent listens for the API server
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_address: Option<SocketAddr>,
    /// Who makes places for rented units: unix:/PATH or http://HOST:PORT
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Pods end with the agent instead of being adopted by the next one
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pods_die_with_agent: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Api,
    Controllers,
    Edge,
    Agent,
}

#[derive(Clone, Debug, clap::Subcommand)]
pub enum ConfigCommand {
    /// Check a configuration file of `polis server`
    Check {
        /// The file
        file: PathBuf,
    },
    /// Print a valid configuration file of `polis server`
    Default,
}

/// How long the controllers wait for the API server of their own process.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

pub fn config(command: &ConfigCommand) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match command {
        ConfigCommand::Check { file } => {
            let (_, flags) = options::read::<ServerOptions, ApiOptions>(file)?;
            alone::check(&flags.try_into()?)?;
            writeln!(out, "{} is valid", file.display())?;
        }
        ConfigCommand::Default => {
            let local = |port| Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
            let example = ServerOptions {
                roles: Some(vec![Role::Api, Role::Controllers, Role::Edge, Role::Agent]),
                center: Some("east-1".parse()?),
                city: Some("east".parse()?),
                unit: Some("rz01".parse()?),
                data_dir: Some("/var/lib/polis".into()),
                identity_dir: Some("/etc/polis/pki/units/rz01".into()),
                store: Some("https://127.0.0.1:2379".into()),
                api_address: local(6443),
                edge_address: local(8080),
                edge_admin_address: local(8081),
                edge_threads: None,
                worker_threads: None,
                agent_address: local(10250),
                provider: None,
                pods_die_with_agent: Some(false),
            };
            out.write_all(toml::to_string(&example)?.as_bytes())?;
        }
    }
    Ok(())
}

pub fn run(args: Args) -> anyhow::Result<()> {
    let file = args.config.as_deref();
    let (options, api) = options::resolve(file, &args.options, &args.api)?;
    let runtime = super::runtime(options.worker_threads)?;
    if options.is_api_alone() {
        args.foreign.check()?;
        return runtime.block_on(alone::serve(api, options.data_dir));
    }
    if let Some(key) = args.foreign.first().map(str::to_owned).or(api.given()?) {
        let code = errors::CONFIG_INVALID;
        bail!("{code}: `{key}` is for an API server by itself: --roles api, and no --center");
    }
    runtime.block_on(serve(options))
}

async fn serve(options: ServerOptions) -> anyhow::Result<()> {
    let all = vec![Role::Api, Role::Controllers, Role::Edge, Role::Agent];
    let roles = options.roles.clone().unwrap_or(all);
    if roles.is_empty() {
        bail!("{}: `roles` names none", errors::CONFIG_INVALID);
    }
    let (drain, shutdown) = super::lifecycle()?;
    let center = Center {
        center: required(options.center.clone(), "center")?,
        city: required(options.city.clone(), "city")?,
        unit: required(options.unit.clone(), "unit")?,
        data: required(options.data_dir.clone(), "data-dir")?,
        identity: required(options.identity_dir.clone(), "identity-dir")?,
        api: required(options.api_address, "api-address")?,
        pages: rt::Pages::default(),
        options,
    };
    std::fs::create_dir_all(&center.data)
        .with_context(|| format!("create {}", center.data.display()))?;
    let mut running = Vec::new();
    // The API server first: the others are its clients.
    for role in [Role::Api, Role::Agent, Role::Controllers, Role::Edge] {
        if roles.contains(&role) {
            running.push(center.start(role, drain.clone()).await?);
        }
    }
    tracing::info!(center = %center.center, ?roles, "center serves");
    drop(drain);
    shutdown.wait().await;
    for task in running {
        task.await.context("end a role")?;
    }
    Ok(())
}

/// Options that every role of the center needs.
struct Center {
    center: CenterName,
    city: CityName,
    unit: UnitName,
    data: PathBuf,
    identity: PathBuf,
    api: SocketAddr,
    /// Metrics that the API server shows for the others.
    pages: rt::Pages,
    options: ServerOptions,
}

// === impl Args ===

impl Args {
    pub fn log_level(&self) -> Option<LogLevel> {
        self.api.log_level()
    }
}

// === impl ServerOptions ===

impl ServerOptions {
    fn is_api_alone(&self) -> bool {
        self.roles.as_deref() == Some(&[Role::Api]) && self.center.is_none()
    }
}

// === impl Center ===

impl Center {
    async fn start(&self, role: Role, drain: Drain) -> anyhow::Result<JoinHandle<()>> {
        match role {
            Role::Api => self.start_api(drain).await.context("start the API server"),
            Role::Controllers => self.start_controllers(drain).context("start the controllers"),
            Role::Edge => self.start_edge(drain).context("start the edge"),
            Role::Agent => self.start_agent(drain).await.context("start the agent"),
        }
    }

    async fn start_api(&self, drain: Drain) -> anyhow::Result<JoinHandle<()>> {
        let credentials = self.credentials("apiserver")?;
        let expected = Expected::service(TRUST_DOMAIN, SYSTEM_NAMESPACE, "store");
        let tls = identity::client_config(&credentials, ServerCheck::Spiffe(expected), &[b"h2"])?;
        let endpoint = required(self.options.store.clone(), "store")?;
        let store = kv_etcd::Client::connect(kv_etcd::Config::new(endpoint, Some(tls)))?;
        let open = move |name: &str| -> Arc<dyn Kv> {
            Arc::new(store.keyspace(name).expect("the API server asks for valid names"))
        };
        let agent = Expected::service(TRUST_DOMAIN, SYSTEM_NAMESPACE, "agent");
        let alpn: [&[u8]; 2] = [b"h2", b"http/1.1"];
        let config = api::Config {
            root: api::Door::Federation,
            listen: self.api,
            tls: identity::server_config(&credentials, ClientAuth::Optional, &alpn)?,
            clients: None,
            keyspaces: Arc::new(open),
            agent_tls: Some(identity::client_config(
                &credentials,
                ServerCheck::Spiffe(agent),
                &[b"http/1.1"],
            )?),
            pages: self.pages.clone(),
            settings: api::Settings::default(),
        };
        let api = api::Api::build(config).await?;
        Ok(rt::spawn(TaskKind::Critical, "api", api.run(drain)))
    }

    fn start_controllers(&self, drain: Drain) -> anyhow::Result<JoinHandle<()>> {
        let config = controllers::Config {
            center: self.center.clone(),
            client: self.client("controllers")?,
            credentials: self.credentials("controllers")?,
            trust_domain: TRUST_DOMAIN.into(),
            clock: rt::Clock::real(),
            provider: self.provider()?,
        };
        let controllers = controllers::Controllers::build(config)?;
        let metrics = controllers.metrics();
        self.pages.add(move || metrics.render());
        Ok(rt::spawn(TaskKind::Critical, "controllers", controllers.run(drain)))
    }

    fn provider(&self) -> anyhow::Result<Option<Arc<dyn controllers::Provider>>> {
        let Some(address) = &self.options.provider else { return Ok(None) };
        let Some(provider) = controllers::HttpProvider::at(address) else {
            let code = errors::CONFIG_INVALID;
            bail!("{code}: provider {address:?} is neither unix:/PATH nor http://HOST:PORT");
        };
        Ok(Some(Arc::new(provider)))
    }

    fn start_edge(&self, drain: Drain) -> anyhow::Result<JoinHandle<()>> {
        let config = proxy::Config {
            listen: required(self.options.edge_address, "edge-address")?,
            admin: required(self.options.edge_admin_address, "edge-admin-address")?,
            threads: self.options.edge_threads,
            place: proxy::Place {
                city: self.city.clone(),
                center: self.center.clone(),
                unit: self.unit.clone(),
            },
            upstream: proxy::Upstream::Mesh {
                credentials: self.credentials("edge")?,
                trust_domain: TRUST_DOMAIN.into(),
            },
            source: proxy::Source::Api(self.client_config("edge")?),
            snapshot: Some(self.data.join("edge-snapshot.json")),
            limits: proxy::Limits::default(),
        };
        let edge = proxy::Edge::build(config)?;
        Ok(critical("edge", edge.run(drain)))
    }

    async fn start_agent(&self, drain: Drain) -> anyhow::Result<JoinHandle<()>> {
        let credentials = self.credentials("agent")?;
        let listen = required(self.options.agent_address, "agent-address")?;
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let config = agent::Config {
            city: self.city.clone(),
            center: self.center.clone(),
            units: vec![self.unit.clone()],
            client: self.client("agent")?,
            data: self.data.join("agent"),
            listen,
            // Pods share our network, so they are where we are.
            advertise: if listen.ip().is_unspecified() { loopback } else { listen.ip() },
            tls: identity::server_config(&credentials, ClientAuth::Optional, &[b"http/1.1"])?,
            caller: agent::Caller {
                namespace: SYSTEM_NAMESPACE.into(),
                service_account: "apiserver".into(),
            },
            pods_die_with_agent: self.options.pods_die_with_agent.unwrap_or(false),
        };
        let agent = agent::Agent::build(config).await?;
        Ok(critical("agent", agent.run(drain)))
    }

    fn credentials(&self, account: &str) -> anyhow::Result<Credentials> {
        let files = Files::in_dir(&self.identity, account);
        Credentials::load(&files).with_context(|| format!("load the identity of {account}"))
    }

    fn client_config(&self, account: &str) -> anyhow::Result<client::Config> {
        let credentials = self.credentials(account)?;
        let tls = identity::client_config(&credentials, ServerCheck::HostName, &[])?;
        let mut config = client::Config::new(vec![self.api.to_string()], tls);
        config.request_timeout = REQUEST_TIMEOUT;
        Ok(config)
    }

    fn client(&self, account: &str) -> anyhow::Result<Client> {
        Ok(client::connect(&self.client_config(account)?)?)
    }
}

/// A role whose failure ends the process, to be started again whole.
fn critical<E: std::error::Error + Send + 'static>(
    name: &'static str,
    role: impl Future<Output = Result<(), E>> + Send + 'static,
) -> JoinHandle<()> {
    rt::spawn(TaskKind::Critical, name, async move {
        if let Err(error) = role.await {
            tracing::error!(error = &error as &dyn std::error::Error, "{name} ended");
            std::process::exit(rt::task::EXIT_CRITICAL_TASK);
        }
    })
}
