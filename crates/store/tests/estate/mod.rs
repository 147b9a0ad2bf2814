//! Several stores in one process over one engine in memory, each on a runtime
//! of its own, so that one can end without a word as a killed process does.
#![allow(dead_code, reason = "each test file uses its part")]

use std::{
    future::Future,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use engine::{
    Batch, Board, Engine, Epoch, Error, Loaded, Memory, Metrics, Outcome, Raised, ReplicaId, Seq,
    Shared, Tail,
};
use futures::StreamExt as _;
use keyspace::{Place, Record, Values};
use kv::{KeyspaceName, Kv, Revision, WatchItem, WatchStream};
use rt::{Clock, drain::Trigger};
use store::{Config, Notebook, Store};
use tokio::{runtime::Runtime, sync::watch};

/// Far longer than anything here takes, far shorter than a hung build.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The engine as one process reaches it: the way there can be cut.
#[derive(Clone)]
pub struct Line {
    engine: Memory,
    cut: Arc<watch::Sender<bool>>,
    /// What its disk is said to hold.
    disk_bytes: u64,
    lies: Arc<Mutex<Lies>>,
}

/// What is done to records on their way to the store.
#[derive(Default)]
struct Lies {
    tail: Option<Lie>,
    load: Option<Lie>,
}

pub type Lie = fn(&mut [Record]);

pub struct Node {
    pub name: String,
    pub kv: Arc<dyn Kv>,
    pub url: String,
    pub line: Line,
    runtime: Option<Runtime>,
    drain: Option<Trigger>,
}

pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("done in time")
}

/// Starts a store over the engine.
pub async fn start(engine: &Memory, name: &str) -> Node {
    start_remembering(engine, name, Notebook::default()).await
}

pub async fn start_remembering(engine: &Memory, name: &str, high_water: Notebook) -> Node {
    start_with(engine, Config { high_water, ..config(name) }).await
}

pub fn config(name: &str) -> Config {
    let any_port = "127.0.0.1:0".parse().expect("an address");
    Config { insecure: true, name: name.into(), ..Config::new("unused", any_port) }
}

pub async fn start_with(engine: &Memory, config: Config) -> Node {
    start_on(Line::to(engine), config).await
}

pub async fn start_on(line: Line, config: Config) -> Node {
    let name = config.name.clone();
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).enable_all().build().expect("a runtime");
    let (trigger, drain) = rt::drain::channel();
    let own = line.clone();
    let (built_tx, built) = tokio::sync::oneshot::channel();
    runtime.spawn(async move {
        let store = Store::build_on(Arc::new(own), config, Clock::real()).await.expect("built");
        let kv = store.handle("default").expect("a keyspace");
        let _ = built_tx.send((kv, store.local_addr()));
        store.run(drain).await;
    });
    let (kv, address) = within(built).await.expect("built");
    Node {
        name,
        kv,
        url: format!("{scheme}://{address}"),
        line,
        runtime: Some(runtime),
        drain: Some(trigger),
    }
}

pub async fn start_three(engine: &Memory) -> Vec<Node> {
    let mut nodes = Vec::new();
    for name in ["store-a", "store-b", "store-c"] {
        nodes.push(start(engine, name).await);
    }
    // All of them know each other.
    within(async {
        while engine.look().await.expect("a board").replicas.len() < 3 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    nodes
}

/// The name of whoever leads, once somebody does.
pub async fn leader(engine: &Memory, keyspace: &str) -> String {
    within(async {
        loop {
            let board = engine.look().await.expect("a board");
            let head = board.heads.iter().find(|head| head.keyspace.as_str() == keyspace);
            if let Some(id) = head.and_then(|head| head.leader)
                && let Some(row) = board.replicas.iter().find(|row| row.id == id)
            {
                return row.name.clone();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
}

/// Where the leader of the default keyspace stands among these.
pub async fn leader_of(nodes: &[Node], engine: &Memory) -> usize {
    within(async {
        loop {
            let name = leader(engine, KeyspaceName::DEFAULT).await;
            // The one before may be on the board still.
            if let Some(at) = nodes.iter().position(|node| node.name == name) {
                return at;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
}

pub async fn next(watch: &mut WatchStream) -> Result<WatchItem, kv::Error> {
    within(watch.next()).await.expect("the watch goes on")
}

// === impl Node ===

impl Node {
    /// A keyspace over the wire, through this store.
    pub fn keyspace(&self, name: &str) -> kv_etcd::Keyspace {
        let client = kv_etcd::Client::connect(kv_etcd::Config::new(&self.url, None));
        client.expect("a client").keyspace(name).expect("a keyspace")
    }

    pub fn wire(&self) -> kv_etcd::Keyspace {
        self.keyspace(KeyspaceName::DEFAULT)
    }

    /// Ends it without a word to anyone.
    pub fn kill(mut self) {
        // So that its end is not taken for a drain.
        std::mem::forget(self.drain.take());
        self.runtime.take().expect("it runs").shutdown_background();
    }

    /// Ends it as an operator does.
    pub async fn stop(mut self) {
        within(self.drain.take().expect("it runs").drain(PATIENCE)).await;
        self.runtime.take().expect("it runs").shutdown_background();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

// === impl Line ===

impl Line {
    pub fn to(engine: &Memory) -> Line {
        let cut = Arc::new(watch::Sender::new(false));
        Line { engine: engine.clone(), cut, disk_bytes: 0, lies: Arc::default() }
    }

    pub fn holding(self, disk_bytes: u64) -> Line {
        Line { disk_bytes, ..self }
    }

    /// What followers read from now on is this.
    pub fn tail_through(&self, lie: Lie) {
        self.lies().tail = Some(lie);
    }

    /// What is loaded and scanned from now on is this.
    pub fn load_through(&self, lie: Lie) {
        self.lies().load = Some(lie);
    }

    fn lies(&self) -> MutexGuard<'_, Lies> {
        self.lies.lock().expect("no holder panics")
    }

    /// Whoever asks waits until it is mended.
    pub fn cut(&self) {
        self.cut.send_replace(true);
    }

    pub fn mend(&self) {
        self.cut.send_replace(false);
    }

    async fn open(&self) {
        let _ = self.cut.subscribe().wait_for(|cut| !cut).await;
    }
}

#[async_trait]
impl Engine for Line {
    fn cluster_id(&self) -> u64 {
        self.engine.cluster_id()
    }

    async fn keyspaces(&self) -> Result<Vec<KeyspaceName>, Error> {
        self.open().await;
        self.engine.keyspaces().await
    }

    async fn raise(
        &self,
        keyspace: &KeyspaceName,
        seen: Epoch,
        by: ReplicaId,
    ) -> Result<Raised, Error> {
        self.open().await;
        self.engine.raise(keyspace, seen, by).await
    }

    async fn load(&self, keyspace: &KeyspaceName) -> Result<Loaded, Error> {
        self.open().await;
        let mut loaded = self.engine.load(keyspace).await?;
        if let Some(lie) = self.lies().load {
            lie(&mut loaded.log);
        }
        Ok(loaded)
    }

    async fn append(&self, keyspace: &KeyspaceName, batch: Batch) -> Result<Outcome, Error> {
        self.open().await;
        self.engine.append(keyspace, batch).await
    }

    async fn compact(
        &self,
        keyspace: &KeyspaceName,
        epoch: Epoch,
        revision: Revision,
    ) -> Result<Outcome, Error> {
        self.open().await;
        self.engine.compact(keyspace, epoch, revision).await
    }

    async fn reclaim(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn fetch(&self, keyspace: &KeyspaceName, places: &[Place]) -> Result<Values, Error> {
        self.open().await;
        self.engine.fetch(keyspace, places).await
    }

    fn metrics(&self) -> Metrics {
        Metrics { disk_bytes: self.disk_bytes, ..self.engine.metrics() }
    }

    fn shared(&self) -> Option<&dyn Shared> {
        Some(self)
    }
}

#[async_trait]
impl Shared for Line {
    async fn beat(&self, me: &engine::Replica) -> Result<Board, Error> {
        self.open().await;
        self.engine.beat(me).await
    }

    async fn look(&self) -> Result<Board, Error> {
        self.open().await;
        self.engine.look().await
    }

    async fn tail(
        &self,
        keyspace: &KeyspaceName,
        after: Seq,
        bytes_max: usize,
    ) -> Result<Tail, Error> {
        self.open().await;
        let mut tail = self.engine.tail(keyspace, after, bytes_max).await?;
        if let (Tail::Batches(batches), Some(lie)) = (&mut tail, self.lies().tail) {
            batches.iter_mut().for_each(|batch| lie(&mut batch.records));
        }
        Ok(tail)
    }

    async fn release(&self, keyspace: &KeyspaceName, epoch: Epoch) -> Result<Outcome, Error> {
        self.open().await;
        self.engine.release(keyspace, epoch).await
    }

    async fn retire(&self, replica: ReplicaId) -> Result<(), Error> {
        self.open().await;
        self.engine.retire(replica).await
    }
}
