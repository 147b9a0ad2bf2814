//! Every keyspace of a store, by name; made on first use.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use engine::Engine;
use kv::{Error, KeyspaceName};
use rt::{Clock, Drain, TaskKind};
use tokio::sync::mpsc;

use crate::{
    Config, Handle,
    actor::{self, Actor, Mailbox, REQUESTS_MAX},
    guard::Guard,
    quota::Quota,
    standing::Standing,
    vault::Vault,
};

pub(crate) struct Keyspaces {
    engine: Arc<dyn Engine>,
    config: Config,
    clock: Clock,
    quota: Arc<Quota>,
    drain: Drain,
    by_name: Mutex<BTreeMap<KeyspaceName, Handle>>,
}

// === impl Keyspaces ===

impl Keyspaces {
    pub fn new(engine: Arc<dyn Engine>, config: Config, clock: Clock, drain: Drain) -> Keyspaces {
        let quota = Arc::new(Quota::new(engine.clone(), config.quota_bytes));
        Keyspaces { engine, config, clock, quota, drain, by_name: Mutex::default() }
    }

    pub fn engine(&self) -> &dyn Engine {
        &*self.engine
    }

    pub fn quota(&self) -> &Quota {
        &self.quota
    }

    /// Must be called inside a tokio runtime: the first call for a name starts
    /// its actor.
    pub fn get(&self, name: &KeyspaceName) -> Result<Handle, Error> {
        let mut by_name = self.by_name();
        if let Some(handle) = by_name.get(name) {
            return Ok(handle.clone());
        }
        if by_name.len() >= self.config.keyspaces_max {
            return Err(Error::TooManyRequests);
        }
        if self.drain.is_draining() {
            return Err(Error::NotLeader);
        }
        let handle = self.start(name);
        by_name.insert(name.clone(), handle.clone());
        Ok(handle)
    }

    /// Everyone that has been asked for anything.
    pub fn started(&self) -> Vec<Handle> {
        self.by_name().values().cloned().collect()
    }

    fn start(&self, name: &KeyspaceName) -> Handle {
        let (requests, requests_rx) = mpsc::channel(REQUESTS_MAX);
        let (gone, gone_rx) = mpsc::unbounded_channel();
        let standing = Arc::new(Standing::default());
        let ttl = self.config.auth_token_ttl;
        let guard = Arc::new(Guard::new(name.clone(), ttl, self.clock.clone()));
        let config = actor::Config {
            history: self.config.history,
            progress_every: self.config.progress_every,
            rules: keyspace::Config {
                inline_bytes_max: self.config.inline_bytes_max,
                ..keyspace::Config::default()
            },
        };
        let vault = Vault::new(self.engine.clone(), name.clone(), &config.rules);
        let shared = actor::Shared {
            clock: self.clock.clone(),
            standing: standing.clone(),
            guard: guard.clone(),
            quota: self.quota.clone(),
        };
        let mailbox = Mailbox { requests: requests_rx, gone: gone_rx };
        let actor = Actor::new(vault, config, shared, mailbox);
        rt::spawn(TaskKind::Critical, "keyspace", actor.run(self.drain.clone()));
        Handle::new(name.clone(), requests, gone, standing, guard)
    }

    fn by_name(&self) -> MutexGuard<'_, BTreeMap<KeyspaceName, Handle>> {
        self.by_name.lock().expect("nobody panics while holding it")
    }
}
