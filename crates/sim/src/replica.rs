//! One store process: started, crashed, paused.

use std::sync::{Arc, Mutex};

use engine::Engine;
use kv::{KeyspaceName, Kv};
use rt::{Clock, drain::Trigger};
use store::{Config, Store};

use crate::host::Host;

/// Where clients find the replicas that are up.
pub type Directory = Arc<Mutex<Vec<Option<Arc<dyn Kv>>>>>;

pub struct Replica {
    index: usize,
    engine: Arc<dyn Engine>,
    directory: Directory,
    drift_ppm: i64,
    running: Option<Running>,
    paused: bool,
}

struct Running {
    host: Host,
    _drain: Trigger,
}

// === impl Replica ===

impl Replica {
    pub fn new(
        index: usize,
        engine: Arc<dyn Engine>,
        directory: Directory,
        drift_ppm: i64,
    ) -> Replica {
        Replica { index, engine, directory, drift_ppm, running: None, paused: false }
    }

    pub fn start(&mut self, now_ms: u64) {
        let host = Host::new(now_ms, self.drift_ppm);
        let (trigger, drain) = rt::drain::channel();
        let any_port = "127.0.0.1:0".parse().expect("an address");
        let name = format!("replica-{}", self.index);
        let config = Config { insecure: true, name, ..Config::new("unused", any_port) };
        let engine = self.engine.clone();
        let kv = host.block_on(async move {
            let store = Store::build_on(engine, config, Clock::of_runtime()).await;
            let store = store.expect("an address is free");
            let kv = store.handle(KeyspaceName::DEFAULT).expect("a keyspace");
            tokio::spawn(store.run(drain));
            kv
        });
        self.directory()[self.index] = Some(kv);
        self.running = Some(Running { host, _drain: trigger });
        self.paused = false;
    }

    /// Whatever it had in memory is gone.
    pub fn crash(&mut self) {
        self.directory()[self.index] = None;
        self.running = None;
        self.paused = false;
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

    fn directory(&self) -> std::sync::MutexGuard<'_, Vec<Option<Arc<dyn Kv>>>> {
        self.directory.lock().expect("one thread")
    }
}
