//! Wiring: which controllers run, and how they are woken and ended.

use std::{sync::Arc, time::Duration};

use client::{
    Client, Election, Leadership,
    k8s_openapi::{api::core::v1::Namespace, apimachinery::pkg::apis::meta::v1::ObjectMeta},
};
use rt::{Clock, Drain, Millis, TaskKind, backoff::Backoff, random::Random, spawn};
use tokio::sync::watch;
use topology::CenterName;

use crate::{
    Config, Error, Metrics,
    approval::Approvals,
    cafe_deployment::CafeDeployments,
    center::{Health, Sights, Watchman},
    events::{self, Recorder},
    failover::Failover,
    fence::Fences,
    homecoming::Homecoming,
    map::Maps,
    network::{Network, Roads, Sockets},
    node::Nodes,
    observations::Observations,
    phase::Phases,
    picture::Picture,
    prober::Prober,
    provider::Provider,
    rounds,
    service::Services,
    shard_move::ShardMoves,
    unit_rental::UnitRentals,
};

/// Where the lease of the leader lives.
pub const SYSTEM_NAMESPACE: &str = "polis-system";
const LEASE: &str = "controllers";

/// What only the leader does can wait this long, failover is not among it; the
/// shorter, the more writes. A leader that dies puts off the return of shards
/// by as much, for which there are minutes.
const LEASE_TERM: Duration = Duration::from_secs(10);

/// The controllers of one center, built.
pub struct Controllers {
    center: CenterName,
    client: Client,
    clock: Clock,
    prober: Prober,
    services: Services,
    provider: Option<Arc<dyn Provider>>,
    metrics: Arc<Metrics>,
}

/// What every controller holds.
#[derive(Clone)]
pub struct Shared {
    pub me: CenterName,
    pub client: Client,
    pub clock: Clock,
    pub picture: Picture,
    pub health: watch::Receiver<Arc<Health>>,
    /// When the watchman was last awake.
    pub looked: watch::Receiver<Millis>,
    pub maps: Maps,
    pub recorder: Recorder,
    pub metrics: Arc<Metrics>,
}

// === impl Controllers ===

impl Controllers {
    pub fn build(config: Config) -> Result<Controllers, Error> {
        let Config { center, client, credentials, trust_domain, clock, provider } = config;
        let sockets = Sockets { credentials, trust_domain };
        Controllers::on(Roads::Sockets(Arc::new(sockets)), center, client, clock, provider)
    }

    /// As [`Controllers::build`], in a network that is played.
    pub fn within(
        network: Arc<dyn Network>,
        center: CenterName,
        client: Client,
        clock: Clock,
    ) -> Result<Controllers, Error> {
        Controllers::on(Roads::Played(network), center, client, clock, None)
    }

    fn on(
        roads: Roads,
        center: CenterName,
        client: Client,
        clock: Clock,
        provider: Option<Arc<dyn Provider>>,
    ) -> Result<Controllers, Error> {
        let metrics = Arc::new(Metrics::default());
        let prober = Prober::build(&roads, clock.clone(), metrics.clone())?;
        let services = Services::new(roads);
        Ok(Controllers { center, client, clock, prober, services, provider, metrics })
    }

    #[must_use]
    pub fn metrics(&self) -> Arc<Metrics> {
        self.metrics.clone()
    }

    /// Runs until the drain starts. Whatever is half done then is taken up by
    /// the controllers of another center, or by ours after the next start.
    pub async fn run(self, drain: Drain) {
        let Controllers { center: me, client, clock, prober, services, provider, metrics } = self;
        let federation = client.federation();
        let picture = Picture::start(&client);
        let observer = format!("{me}-{:016x}", Random::from_entropy().next_u64());
        let (recorder, writer) = events::recorder(&federation, &me);
        let maps = Maps::new(&federation, &picture, metrics.clone());
        let (watchman, sights) = Watchman::new(me.clone(), clock.clone(), picture.clone());
        let Sights { health, looked, seen } = sights;
        let shared = Shared {
            me: me.clone(),
            client: client.clone(),
            clock: clock.clone(),
            picture: picture.clone(),
            health,
            looked,
            maps,
            recorder,
            metrics: metrics.clone(),
        };
        let observations = Observations::new(&federation, me, observer.clone(), picture, seen);

        let mut tasks = vec![
            spawn(TaskKind::Critical, "events", writer.run()),
            spawn(TaskKind::Critical, "watchman", watchman.run(prober)),
            spawn(TaskKind::Critical, "observations", observations.run()),
            spawn(TaskKind::Critical, "failover", Failover::new(shared.clone()).run()),
            spawn(TaskKind::Critical, "fences", Fences::new(shared.clone(), services).run()),
        ];
        let election = Election {
            namespace: SYSTEM_NAMESPACE.into(),
            name: LEASE.into(),
            identity: observer,
            term: LEASE_TERM,
        };
        let led = lead(shared, provider, election, drain.clone());
        tasks.push(spawn(TaskKind::Critical, "leader", led));

        drain.started().await;
        tasks.iter().for_each(tokio::task::JoinHandle::abort);
        for task in tasks {
            // An abort is the expected end.
            let _ = task.await;
        }
    }
}

/// Stands for election and does the leader's work, whoever leads: each part
/// asks before it acts. Holds that last are taken back by anyone.
async fn lead(
    shared: Shared,
    provider: Option<Arc<dyn Provider>>,
    election: Election,
    drain: Drain,
) {
    prepare_namespace(&shared.client).await;
    let leadership = election.start(&shared.client.federation(), shared.clock.clone(), drain);
    let report = report_leadership(shared.metrics.clone(), leadership.clone());
    let homecoming = Homecoming::new(shared.clone(), leadership.clone());
    let moves = ShardMoves::new(shared.clone(), leadership.clone());
    let approvals = Approvals::new(shared.clone(), leadership.clone());
    let rentals = UnitRentals::new(shared.clone(), leadership.clone(), provider);
    let phases = Phases::new(shared.clone(), leadership.clone());
    let nodes = Nodes::new(shared.clone(), leadership.clone());
    let deployments = CafeDeployments::new(shared, leadership);
    let (homecoming, moves) = (rounds::run(homecoming), rounds::run(moves));
    let (approvals, rentals) = (rounds::run(approvals), rounds::run(rentals));
    let (phases, nodes, deployments) = (phases.run(), nodes.run(), deployments.run());
    tokio::join!(homecoming, moves, approvals, rentals, phases, nodes, deployments, report);
}

async fn prepare_namespace(client: &Client) {
    let metadata = ObjectMeta { name: Some(SYSTEM_NAMESPACE.into()), ..ObjectMeta::default() };
    let namespace = Namespace { metadata, ..Namespace::default() };
    let (first, max) = (Duration::from_millis(50), Duration::from_secs(2));
    let mut backoff = Backoff::new(first, max, Random::from_entropy());
    let namespaces = client.federation().all();
    while let Err(error) = namespaces.create_if_absent(&namespace).await {
        tracing::debug!(%error, "create namespace {SYSTEM_NAMESPACE}");
        tokio::time::sleep(backoff.step()).await;
    }
}

async fn report_leadership(metrics: Arc<Metrics>, mut leadership: Leadership) {
    loop {
        metrics.leads.set(u64::from(leadership.leads()));
        leadership.changed().await;
    }
}
