//! An estate in one process: a store in memory, and centers that each have a
//! runtime of their own, so that one can be killed at any moment with all its
//! connections, as by SIGKILL. API servers, controllers and ledgers are real;
//! only the agent is played, by starting ledgers in this process.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use client::{
    Client, Scope,
    k8s_openapi::api::core::v1::{Namespace, Pod},
};
use controllers::{Config, Controllers, Metrics};
use identity::{Authority, ClientAuth, Credentials, Leaf, ServerCheck, SpiffeId};
use kv::Kv;
use resources::{
    CafeDeployment, Center, CenterSpec, Fence, Home, Metadata, PortRange, ReturnPolicy,
    SHARD_MAP_NAME, Service, ShardMapObject, ShardMapSpec, Unit, UnitKind, UnitSpec,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde_json::json;
use store::Store;
use tokio::{
    runtime::{Builder, Runtime},
    time::Instant,
};
use topology::{ShardMap, ShardState};

pub const TRUST_DOMAIN: &str = "polis.test";
pub const SYSTEM: &str = "polis-system";

/// City, center, unit, standby, shards.
pub const LAYOUT: [(&str, &str, &str, &str, &str); 5] = [
    ("east", "east-1", "rz01", "rz03", "00-19"),
    ("east", "east-2", "rz02", "rz04", "20-39"),
    ("south", "south-1", "rz03", "rz05", "40-59"),
    ("south", "south-2", "rz04", "rz01", "60-79"),
    ("west", "west-1", "rz05", "rz02", "80-99"),
];

/// Far longer than anything here takes on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(120);

/// How long shards stay away after their home is well again.
const RETURN_AFTER_MS: u64 = 500;

pub struct Estate {
    pub store: Arc<Store>,
    authority: Authority,
    pub centers: Vec<CenterHost>,
}

/// A center, up or down.
pub struct CenterHost {
    pub name: &'static str,
    unit: &'static str,
    api: SocketAddr,
    controlled: bool,
    runtime: Option<Runtime>,
    pub metrics: Option<Arc<Metrics>>,
}

// === impl Estate ===

impl Estate {
    /// All centers up, all objects made; nothing waited for.
    pub async fn start() -> Estate {
        Estate::start_without_controllers_in("").await
    }

    pub async fn start_without_controllers_in(uncontrolled: &str) -> Estate {
        let _ = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_test_writer()
            .try_init();
        let mut config = store::Config::new("unused", loopback(0));
        config.insecure = true;
        // Short, so that whoever was away must list again.
        config.history.revisions_max = 20;
        let engine = Arc::new(engine::Memory::new());
        let store = Store::build_on(engine, config, rt::Clock::real()).await.expect("store");
        // Opened here, so that no keyspace lives on a center's runtime.
        let units = LAYOUT.iter().map(|(_, _, unit, _, _)| format!("unit-{unit}"));
        let ledgers = (0..ledger::KEYSPACES).map(|number| format!("ledger-{number:02}"));
        for name in units.chain(ledgers).chain(["federation".to_owned()]) {
            store.handle(&name).expect("a valid keyspace");
        }
        let authority = Authority::root("test root").expect("authority");
        let centers = LAYOUT
            .iter()
            .map(|(_, name, unit, _, _)| CenterHost {
                name,
                unit,
                api: loopback(free_ports(1)),
                controlled: *name != uncontrolled,
                runtime: None,
                metrics: None,
            })
            .collect();
        let mut estate = Estate { store: Arc::new(store), authority, centers };
        for (_, center, ..) in LAYOUT {
            estate.power_on(center);
        }
        estate.create_objects().await;
        estate
    }

    /// A client of the named center's API server.
    pub fn client(&self, center: &str) -> Client {
        self.client_of_all(&[center])
    }

    /// A client of several, the first preferred.
    pub fn client_of_all(&self, centers: &[&str]) -> Client {
        let host = |center: &&str| self.centers.iter().find(|host| host.name == *center);
        let address = |center| host(center).expect("a center").api.to_string();
        let addresses = centers.iter().map(address).collect();
        let credentials = self.credentials("rz01", SYSTEM, "controllers");
        let tls = identity::client_config(&credentials, ServerCheck::HostName, &[]).expect("tls");
        client::connect(&client::Config::new(addresses, tls)).expect("client")
    }

    pub fn power_on(&mut self, center: &str) {
        let at = self.centers.iter().position(|host| host.name == center).expect("a center");
        let (name, unit, api) = {
            let host = &self.centers[at];
            (host.name, host.unit, host.api)
        };
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("runtime");
        let guard = runtime.enter();

        let store = self.store.clone();
        let keyspaces: api::Keyspaces =
            Arc::new(move |name: &str| store.handle(name).expect("a valid keyspace"));
        let server = self.credentials(unit, SYSTEM, "apiserver");
        let alpn: [&[u8]; 2] = [b"h2", b"http/1.1"];
        let tls = identity::server_config(&server, ClientAuth::Optional, &alpn).expect("tls");
        let config = api::Config {
            root: api::Door::Federation,
            listen: api,
            tls,
            clients: None,
            keyspaces,
            agent_tls: None,
            pages: rt::Pages::default(),
            settings: api::Settings::default(),
        };
        // Dropping the trigger would start a drain: these centers end by force.
        let (trigger, drain) = rt::drain::channel();
        std::mem::forget(trigger);
        let api_drain = drain.clone();
        runtime.spawn(async move {
            api::Api::build(config).await.expect("api").run(api_drain).await;
        });

        let client = self.client(name);
        let config = Config {
            center: name.parse().expect("a name"),
            client: client.clone(),
            credentials: self.credentials(unit, SYSTEM, "controllers"),
            trust_domain: TRUST_DOMAIN.into(),
            clock: rt::Clock::real(),
            provider: None,
        };
        let controllers = Controllers::build(config).expect("controllers");
        let metrics = controllers.metrics();
        if self.centers[at].controlled {
            runtime.spawn(controllers.run(drain.clone()));
        }

        let ledger = self.credentials(unit, "payments", "ledger");
        let agent = Agent { unit, client, ledger, store: self.store.clone(), drain };
        runtime.spawn(agent.run());
        drop(guard);
        let host = &mut self.centers[at];
        (host.runtime, host.metrics) = (Some(runtime), Some(metrics));
    }

    /// Ends every task and connection of the center without a word.
    pub fn kill(&mut self, center: &str) {
        self.kill_all(&[center]);
    }

    /// Ends several centers at once. When it returns, nothing of them does
    /// anything any more, and their ports are free.
    pub fn kill_all(&mut self, centers: &[&str]) {
        let hosts = self.centers.iter_mut().filter(|host| centers.contains(&host.name));
        let ends = hosts.map(|host| {
            let runtime = host.runtime.take().expect("the center is up");
            // The thread of a test may be in a runtime, where nobody may wait for
            // the end of another.
            std::thread::spawn(move || runtime.shutdown_timeout(LIMIT))
        });
        let ends: Vec<_> = ends.collect();
        assert_eq!(ends.len(), centers.len(), "all of {centers:?} are centers");
        for end in ends {
            end.join().expect("no panic");
        }
    }

    pub async fn map(&self, center: &str) -> ShardMap {
        let maps = self.client(center).federation().all::<ShardMapObject>();
        maps.get(SHARD_MAP_NAME).await.expect("the map").status
    }

    /// Waits until the map, read at `center`, is as wanted.
    pub async fn wait_for_map(&self, center: &str, what: &str, wanted: impl Fn(&ShardMap) -> bool) {
        let mut maps =
            self.client(center).federation().watch::<ShardMapObject>(Scope::everything());
        let seen = tokio::time::timeout(LIMIT, async {
            loop {
                let snapshot = maps.changed().await;
                if snapshot.get(SHARD_MAP_NAME).is_some_and(|map| wanted(&map.status)) {
                    return;
                }
            }
        });
        if seen.await.is_err() {
            panic!("not within {LIMIT:?}: {what}; the map is {:?}", self.map(center).await);
        }
    }

    async fn create_objects(&self) {
        let federation = self.client("west-1").federation();
        eventually("the API serves", async || federation.all::<Namespace>().list("").await.is_ok())
            .await;
        for (at, (city, center, unit, standby, _)) in LAYOUT.iter().enumerate() {
            let address = self.centers[at].api.to_string();
            let spec = CenterSpec {
                city: city.parse().expect("a name"),
                api_address: address.clone(),
                edge_address: address,
                edge_admin_address: None,
            };
            let object = Center::new(Metadata::named(*center), spec);
            federation.all().create(&object).await.expect("create center");
            let first = free_ports(4);
            let service = Service {
                name: "ledger".into(),
                namespace: "payments".into(),
                fence: Fence::Database,
            };
            let spec = UnitSpec {
                kind: UnitKind::RZone,
                center: center.parse().expect("a name"),
                standbys: vec![standby.parse().expect("a name")],
                ports: PortRange { first, last: first + 3 },
                shards_max: None,
                services: vec![service],
            };
            federation.all().create(&Unit::new(Metadata::named(*unit), spec)).await.expect("unit");
        }
        let homes = LAYOUT.iter().map(|(_, _, unit, _, shards)| Home {
            shards: shards.parse().expect("shards"),
            unit: unit.parse().expect("a name"),
        });
        let return_policy = ReturnPolicy { after_ms: RETURN_AFTER_MS, ..ReturnPolicy::default() };
        let spec = ShardMapSpec { homes: homes.collect(), return_policy };
        let map = ShardMapObject::new(Metadata::named(SHARD_MAP_NAME), spec);
        federation.all().create(&map).await.expect("create map");
        let payments: Namespace =
            serde_json::from_value(json!({ "metadata": { "name": "payments" } })).expect("json");
        federation.all().create_if_absent(&payments).await.expect("create namespace");
        let deployments = federation.namespaced::<CafeDeployment>("payments");
        deployments.create(&ledger_deployment("1")).await.expect("create deployment");
    }

    fn credentials(&self, unit: &str, namespace: &str, account: &str) -> Credentials {
        let spiffe = SpiffeId {
            trust_domain: TRUST_DOMAIN.into(),
            unit: unit.into(),
            namespace: namespace.into(),
            service_account: account.into(),
        };
        let leaf = Leaf {
            spiffe: Some(spiffe),
            common_name: account.into(),
            addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            lifetime: Duration::from_secs(3_600),
            ..Leaf::default()
        };
        let issued = self.authority.issue(&leaf).expect("issue");
        let certificates = |pem: &str| {
            CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().expect("pem")
        };
        Credentials {
            chain: certificates(&issued.chain_pem),
            key: PrivateKeyDer::from_pem_slice(issued.key_pem.as_bytes()).expect("key"),
            roots: certificates(&issued.root_pem),
        }
    }
}

impl Drop for Estate {
    fn drop(&mut self) {
        for host in &mut self.centers {
            if let Some(runtime) = host.runtime.take() {
                runtime.shutdown_background();
            }
        }
    }
}

/// Runs the pods of a unit as ledgers of this process.
struct Agent {
    unit: &'static str,
    client: Client,
    ledger: Credentials,
    store: Arc<Store>,
    drain: rt::Drain,
}

// === impl Agent ===

impl Agent {
    async fn run(self) {
        let door = self.client.unit(&self.unit.parse().expect("a name"));
        let mut pods = door.watch::<Pod>(Scope::everything());
        let mut running = std::collections::BTreeMap::new();
        loop {
            let snapshot = pods.changed().await;
            for pod in snapshot.iter() {
                let name = pod.metadata.name.clone().expect("a name");
                let objects = door.namespaced::<Pod>("payments");
                if pod.metadata.deletion_timestamp.is_some() {
                    running.remove(&name);
                    let uid = pod.metadata.uid.as_deref();
                    let options = client::DeleteOptions { uid, grace_seconds: Some(0) };
                    let _ = objects.delete(&name, &options).await;
                    continue;
                }
                if running.contains_key(&name) {
                    continue;
                }
                running.insert(name.clone(), self.start(pod).await);
                let condition = json!({ "type": "Ready", "status": "True" });
                let status =
                    json!({ "phase": "Running", "podIP": "127.0.0.1", "conditions": [condition] });
                let patch = json!({ "status": status });
                objects.patch_status(&name, &patch).await.expect("write pod status");
            }
        }
    }

    async fn start(&self, pod: &Pod) -> Ended {
        let container = &pod.spec.as_ref().expect("a spec").containers[0];
        let port = container.ports.as_ref().expect("ports")[0].container_port;
        let alpn: [&[u8]; 2] = [b"h2", b"http/1.1"];
        let tls = identity::server_config(&self.ledger, ClientAuth::Optional, &alpn).expect("tls");
        let config = ledger::Config {
            unit: self.unit.parse().expect("a name"),
            listen: loopback(u16::try_from(port).expect("a port")),
            tls: ledger::Tls::Mutual(tls),
            trust: ledger::Trust::default(),
        };
        let store = self.store.clone();
        let open = |name: &str| -> Arc<dyn Kv> { store.handle(name).expect("a valid keyspace") };
        let books = Arc::new(ledger::OnKv::new(open));
        let ledger = ledger::Ledger::build(config, books).await.expect("ledger");
        Ended(tokio::spawn(ledger.run(self.drain.clone())))
    }
}

/// A ledger that ends with this value.
struct Ended(tokio::task::JoinHandle<()>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub fn ledger_deployment(argument: &str) -> CafeDeployment {
    let units: std::collections::BTreeMap<_, _> =
        LAYOUT.iter().map(|(_, _, unit, _, _)| (*unit, 1)).collect();
    let container = json!({
        "name": "ledger",
        "image": "package",
        "command": ["ledger", argument],
        "ports": [{ "name": "https", "containerPort": 0 }],
    });
    let spec = json!({
        "topology": { "unitReplicas": units },
        "template": {
            "metadata": { "labels": { "app": "ledger" } },
            "spec": { "runtimeClassName": "package", "containers": [container] },
        },
    });
    let spec = serde_json::from_value(spec).expect("a spec");
    CafeDeployment::new(Metadata::namespaced("payments", "ledger"), spec)
}

/// The shards that `unit` serves.
pub fn served(map: &ShardMap, unit: &str) -> usize {
    let serves = |state: &ShardState| matches!(state, ShardState::Serving { unit: at } if at.as_str() == unit);
    map.assignments.values().filter(|assignment| serves(&assignment.state)).count()
}

pub fn all_serve(map: &ShardMap) -> bool {
    let serves = |state: &ShardState| matches!(state, ShardState::Serving { .. });
    map.assignments.len() == 100
        && map.assignments.values().all(|assignment| serves(&assignment.state))
}

/// Waits for a condition that is asked for again and again.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < LIMIT, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// The first of `count` ports in a row that are free and were given to nobody
/// else. Below the range from which the kernel takes ports for connections: a
/// center that comes back must find its port free.
fn free_ports(count: u16) -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(10_000);
    loop {
        let first = NEXT.fetch_add(count, Ordering::Relaxed);
        assert!(first < 20_000, "no {count} free ports in a row");
        let free = |port: u16| TcpListener::bind(loopback(port)).is_ok();
        if (first..first + count).all(free) {
            return first;
        }
    }
}
