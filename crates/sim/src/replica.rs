//! One store process: started, crashed, paused.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use engine::{Engine, Error};
use futures::future::BoxFuture;
use kv::{KeyspaceName, Kv};
use rt::{Clock, drain::Trigger};
use store::{Config, Store};

use crate::host::Host;

/// Where clients find the replicas that are up.
pub type Directory = Arc<Mutex<Vec<Option<Arc<dyn Kv>>>>>;

/// Opens the log once, for one life of a replica.
pub type OpenLog =
    Arc<dyn Fn() -> BoxFuture<'static, Result<Arc<dyn Engine>, Error>> + Send + Sync>;

pub struct Replica {
    index: usize,
    open: OpenLog,
    directory: Directory,
    drift_ppm: i64,
    running: Option<Running>,
    paused: bool,
}

struct Running {
    host: Host,
    _drain: Trigger,
}

const AGAIN_AFTER: Duration = Duration::from_millis(50);

// === impl Replica ===

impl Replica {
    pub fn new(index: usize, open: OpenLog, directory: Directory, drift_ppm: i64) -> Replica {
        Replica { index, open, directory, drift_ppm, running: None, paused: false }
    }

    pub fn start(&mut self, now_ms: u64) {
        let host = Host::new(now_ms, self.drift_ppm);
        let (trigger, drain) = rt::drain::channel();
        let (index, open, directory) = (self.index, self.open.clone(), self.directory.clone());
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
            let name = format!("replica-{index}");
            let config = Config { insecure: true, name, ..Config::new("unused", any_port) };
            let store = Store::build_on(engine, config, Clock::of_runtime()).await;
            let store = store.expect("an address is free");
            let kv = store.handle(KeyspaceName::DEFAULT).expect("a keyspace");
            directory.lock().expect("one thread")[index] = Some(kv);
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
