//! The store itself: built, run, drained.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use engine::{Embedded, EmbeddedConfig, Engine, Replica, ReplicaId, Sql};
use kv::{KeyspaceName, Kv};
use rt::{Clock, Drain, drain::Drained, drain::Trigger, random::Random};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::{
    Access, AuditConfig, Config, Error, Handle, Limits, Notebook,
    alarms::Alarms,
    audit::Auditor,
    errand::Errands,
    forward::Forward,
    grpc::{Face, Member},
    keyspaces::Keyspaces,
    metrics::Metrics,
    passwords::Passwords,
    replica::{HighWater, Replicas},
    route::Router,
    serve::{Door, DoorKind, Manners, serve},
    transport::{Channels, Entrance},
};

/// The log's folder inside the data folder.
pub(crate) const LOG_FOLDER: &str = "log";

/// Beside it, what is remembered of a database.
pub(crate) const HIGH_WATER_FILE: &str = "high-water";

/// Batches under way are given this long to be durable at the end.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(5);

/// Open, listening, and not serving yet.
pub struct Store {
    keyspaces: Arc<Keyspaces>,
    member: Arc<Member>,
    doors: Vec<Door>,
    local_addr: SocketAddr,
    manners: Manners,
    limits: Limits,
    audit: AuditConfig,
    access: Access,
    passwords: Arc<Passwords>,
    forward: Option<Arc<Forward>>,
    /// Ends the keyspaces, once nobody can ask them any more.
    keyspaces_end: Trigger,
    /// Then the task that knows the other replicas.
    replicas_end: Trigger,
}

// === impl Store ===

impl Store {
    /// Opens the log and the port.
    pub async fn build(config: Config) -> Result<Store, Error> {
        std::fs::create_dir_all(&config.data_dir)
            .map_err(|source| Error::DataFolder { path: config.data_dir.clone(), source })?;
        let Some(database) = config.database.clone() else {
            let engine = Embedded::open(EmbeddedConfig::new(config.data_dir.join(LOG_FOLDER)))?;
            return Store::build_on(Arc::new(engine), config, Clock::real()).await;
        };
        let engine = Sql::connect(database).await?;
        let high_water = Notebook::File(config.data_dir.join(HIGH_WATER_FILE));
        let config = Config { high_water, ..config };
        Store::build_on(Arc::new(engine), config, Clock::real()).await
    }

    /// On a log that is open already, and on a clock of the caller's.
    pub async fn build_on(
        engine: Arc<dyn Engine>,
        config: Config,
        clock: Clock,
    ) -> Result<Store, Error> {
        let (doors, local_addr) = match config.in_process {
            true => (Vec::new(), config.listen),
            false => doors(&config).await?,
        };
        let manners =
            Manners { ping_every: config.ping_every, ping_answer_max: config.ping_answer_max };
        let (limits, audit) = (config.limits, config.audit);
        let member = Arc::new(Member::new(engine.cluster_id(), &config, local_addr));
        let (keyspaces_end, keyspaces_drain) = rt::drain::channel();
        let (replicas_end, replicas_drain) = rt::drain::channel();
        let access = config.access.clone();
        let passwords = Arc::new(Passwords::new(config.bcrypt_cost));
        let replicas = replicas(&engine, &config, &member, &clock)?;
        let forward = replicas.clone().map(|replicas| {
            let channels = || Channels::new(replicas.clone(), config.replica_tls.clone());
            let transport = config.transport.clone().unwrap_or_else(|| Arc::new(channels()));
            replicas.start(transport.clone(), replicas_drain);
            Arc::new(Forward::new(replicas, transport, limits.request_bytes))
        });
        let alarms = Arc::new(Alarms::new(member.member_id));
        let keyspaces = Keyspaces::new(engine, replicas, alarms, config, clock, keyspaces_drain);
        let keyspaces = Arc::new(keyspaces);
        keyspaces.start_all();
        Ok(Store {
            keyspaces,
            member,
            doors,
            local_addr,
            manners,
            limits,
            audit,
            access,
            passwords,
            forward,
            keyspaces_end,
            replicas_end,
        })
    }

    /// Where clients connect.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// A keyspace for callers in this process. Ends with [`Store::run`].
    pub fn handle(&self, keyspace: &str) -> Result<Arc<dyn Kv>, kv::Error> {
        let handle: Handle = self.keyspaces.get(&KeyspaceName::new(keyspace)?)?;
        Ok(Arc::new(handle))
    }

    /// Serves until the drain: then accepts no more, finishes what is asked,
    /// makes durable what is under way, and closes the log.
    pub async fn run(self, drain: Drain) {
        let Store {
            keyspaces,
            member,
            doors,
            local_addr,
            manners,
            limits,
            audit,
            access,
            passwords,
            forward,
            keyspaces_end,
            replicas_end,
        } = self;
        tracing::debug!(%local_addr, doors = doors.len(), "store serving");
        // It keeps the alarms, so it is there from the start.
        if let Err(error) = keyspaces.get(&KeyspaceName::default()) {
            tracing::error!(%error, "alarms are not known");
        }
        let errands = Errands { keyspaces: keyspaces.clone(), forward: forward.clone() };
        let (alarms, ending) = (keyspaces.alarms().clone(), drain.clone());
        let metrics = Arc::new(Metrics::default());
        let auditor = Auditor { config: audit, errands: errands.clone(), metrics: metrics.clone() };
        rt::spawn(rt::TaskKind::Critical, "audit", auditor.run(drain.clone()));
        rt::spawn(rt::TaskKind::Critical, "alarms", async move {
            alarms.pass_on(errands, ending).await;
        });
        let face = Face { keyspaces, member, passwords, limits, drain: drain.clone() };
        let router = Arc::new(Router::new(face, access, metrics, forward));
        if let Some(forward) = router.forward() {
            forward.transport().arrive(Entrance::new(router.clone()));
        }
        if doors.is_empty() {
            drain.started().await;
        }
        serve(doors, router, manners, &drain).await;
        if keyspaces_end.drain(SETTLE_TIMEOUT).await == Drained::TimedOut {
            tracing::warn!("keyspaces still busy at the end of the drain");
        }
        if replicas_end.drain(SETTLE_TIMEOUT).await == Drained::TimedOut {
            tracing::warn!("this replica is still on the board");
        }
    }
}

/// Listens everywhere it is asked to; the first address is the one we go by.
async fn doors(config: &Config) -> Result<(Vec<Door>, SocketAddr), Error> {
    let clients = DoorKind::Clients(acceptor(config)?);
    let more = config.listen_more.iter().map(|&more| (more, clients.clone()));
    let pages = config.listen_metrics.iter().map(|&pages| (pages, DoorKind::Pages));
    let mut doors = Vec::new();
    for (address, kind) in [(config.listen, clients.clone())].into_iter().chain(more).chain(pages) {
        let listen = |source| Error::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        doors.push(Door { listener, kind });
    }
    let address = config.listen;
    let first = doors[0].listener.local_addr();
    let local_addr = first.map_err(|source| Error::Listen { address, source })?;
    Ok((doors, local_addr))
}

/// Where several processes can open the log.
fn replicas(
    engine: &Arc<dyn Engine>,
    config: &Config,
    member: &Member,
    clock: &Clock,
) -> Result<Option<Replicas>, Error> {
    if engine.shared().is_none() {
        return Ok(None);
    }
    let high_water = HighWater::open(config.high_water.clone())
        .map_err(|source| Error::DataFolder { path: config.high_water.path(), source })?;
    let me = Replica {
        // Zero means nobody.
        id: ReplicaId(Random::from_entropy().next_u64().max(1)),
        name: member.name.clone(),
        urls: member.client_urls.clone(),
        beat: 0,
    };
    Ok(Some(Replicas::new(engine.clone(), me, high_water, clock.clone())))
}

fn acceptor(config: &Config) -> Result<Option<TlsAcceptor>, Error> {
    let Some(tls) = &config.tls else {
        if !config.insecure {
            return Err(Error::NotSecured);
        }
        tracing::warn!(
            listen = %config.listen,
            "SERVING WITHOUT TLS: whoever reaches this address can read and change everything"
        );
        return Ok(None);
    };
    let mut tls = rustls::ServerConfig::clone(tls);
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Some(TlsAcceptor::from(Arc::new(tls))))
}

// === impl Member ===

impl Member {
    fn new(cluster_id: u64, config: &Config, local_addr: SocketAddr) -> Member {
        let scheme = if config.tls.is_some() { "https" } else { "http" };
        let client_urls = match config.advertise.is_empty() {
            true => vec![format!("{scheme}://{local_addr}")],
            false => config.advertise.clone(),
        };
        let name = config.name.clone();
        let mut member = Member { cluster_id, member_id: 0, name, client_urls };
        member.member_id = member.id_of(&member.name);
        member
    }

    /// The same after a restart: replicas have names of their own.
    pub fn id_of(&self, name: &str) -> u64 {
        // FNV-1a's 64-bit prime, and then mixed.
        let hash = name.bytes().fold(self.cluster_id, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Random::seeded(hash).next_u64().max(1)
    }
}
