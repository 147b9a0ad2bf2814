//! One store process: started, crashed, paused.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use engine::{Engine, Error};
use futures::future::BoxFuture;
use kv::{KeyspaceName, Kv};
use rt::{Clock, drain::Trigger};
use store::{Config, Entrance, Notebook, Store};
use tokio::runtime::Handle;

use crate::{
    Bug,
    host::Host,
    post::{self, Post},
    wire::Wire,
};

/// Where clients, and the others, find the replicas that are up.
pub type Directory = Arc<Mutex<Vec<Option<Reached>>>>;

/// One life of a replica, as others reach it.
#[derive(Clone)]
pub struct Reached {
    pub kv: Arc<dyn Kv>,
    /// Its gRPC face, once it serves.
    pub entrance: Option<Entrance>,
    /// What is asked of it runs where it runs.
    pub machine: Handle,
}

/// Opens the log once, for one life of a replica.
pub type OpenLog =
    Arc<dyn Fn() -> BoxFuture<'static, Result<Arc<dyn Engine>, Error>> + Send + Sync>;

pub struct Replica {
    index: usize,
    open: OpenLog,
    directory: Directory,
    drift_ppm: i64,
    between: Wire,
    bug: Option<Bug>,
    /// On its disk: what outlives a crash.
    notebook: Notebook,
    running: Option<Running>,
    paused: bool,
}

struct Running {
    host: Host,
    _drain: Trigger,
}

const AGAIN_AFTER: Duration = Duration::from_millis(50);

pub fn name(index: usize) -> String {
    format!("replica-{index}")
}

// === impl Replica ===

impl Replica {
    pub fn new(
        index: usize,
        open: OpenLog,
        directory: Directory,
        drift_ppm: i64,
        between: Wire,
        bug: Option<Bug>,
    ) -> Replica {
        let notebook = Notebook::default();
        let (running, paused) = (None, false);
        Replica { index, open, directory, drift_ppm, between, bug, notebook, running, paused }
    }

    pub fn notebook(&self) -> Notebook {
        self.notebook.clone()
    }

    pub fn start(&mut self, now_ms: u64) {
        let host = Host::new(now_ms, self.drift_ppm);
        let (trigger, drain) = rt::drain::channel();
        let (index, open, directory) = (self.index, self.open.clone(), self.directory.clone());
        let (high_water, from) = (self.notebook.clone(), index);
        let (wire, bug) = (self.between.clone(), self.bug);
        let post = Post { wire, from, directory: directory.clone(), bug };
        host.spawn(async move {
            // As whoever supervises a process does.
            let engine = loop {
                match open().await {
                    Ok(engine) => break engine,
                    Err(error) => tracing::info!(%error, "the log was not opened"),
                }
                tokio::time::sleep(AGAIN_AFTER).await;
            };
            let any_port = "127.0.0.1:0".parse().expect("an address");
            let name = name(index);
            let config = Config {
                insecure: true,
                name,
                advertise: vec![post::url(index)],
                transport: Some(Arc::new(post)),
                high_water,
                ..Config::new("unused", any_port)
            };
            let store = Store::build_on(engine, config, Clock::of_runtime()).await;
            let store = store.expect("an address is free");
            let kv = store.handle(KeyspaceName::DEFAULT).expect("a keyspace");
            let reached = Reached { kv, entrance: None, machine: Handle::current() };
            directory.lock().expect("one thread")[index] = Some(reached);
            store.run(drain).await;
        });
        self.running = Some(Running { host, _drain: trigger });
        self.paused = false;
    }

    /// Whatever it had in memory is gone.
    pub fn crash(&mut self) {
        self.directory()[self.index] = None;
        self.running = None;
        self.paused = false;
    }

    /// Its disk is lost too.
    pub fn forget(&mut self) {
        self.notebook = Notebook::default();
    }

    pub fn pause(&mut self) {
        self.paused = true;
    }

    pub fn resume(&mut self, now_ms: u64) {
        if let Some(running) = self.running.as_ref().filter(|_| self.paused) {
            running.host.skip_to(now_ms);
        }
        self.paused = false;
    }

    pub fn is_up(&self) -> bool {
        self.running.is_some()
    }

    pub fn run_until(&self, now_ms: u64) {
        if let Some(running) = self.running.as_ref().filter(|_| !self.paused) {
            running.host.run_until(now_ms);
        }
    }

    fn directory(&self) -> std::sync::MutexGuard<'_, Vec<Option<Reached>>> {
        self.directory.lock().expect("one thread")
    }
}
