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
    alarms::Alarms,
    budget::Budget,
    guard::Guard,
    quota::Quota,
    replica::{Lead, Replicas},
    snapshot::Scratch,
    standing::Standing,
    vault::Vault,
};

pub(crate) struct Keyspaces {
    engine: Arc<dyn Engine>,
    /// `None` where only one process can open the log.
    replicas: Option<Replicas>,
    config: Config,
    clock: Clock,
    quota: Arc<Quota>,
    alarms: Arc<Alarms>,
    scratch: Scratch,
    budget: Arc<Budget>,
    drain: Drain,
    by_name: Mutex<BTreeMap<KeyspaceName, Handle>>,
}

// === impl Keyspaces ===

impl Keyspaces {
    pub fn new(
        engine: Arc<dyn Engine>,
        replicas: Option<Replicas>,
        alarms: Arc<Alarms>,
        config: Config,
        clock: Clock,
        drain: Drain,
    ) -> Keyspaces {
        let quota = Quota::new(engine.clone(), config.quota_bytes, alarms.clone());
        let quota = Arc::new(quota);
        let budget = Arc::new(Budget::new(config.values_bytes_max));
        let scratch = Scratch::new(config.data_dir.clone());
        let by_name = Mutex::default();
        Keyspaces {
            engine,
            replicas,
            config,
            clock,
            quota,
            budget,
            alarms,
            scratch,
            drain,
            by_name,
        }
    }

    /// Follows or leads whatever is on the board, so that a copy of it is here
    /// before anyone asks.
    pub fn start_all(self: &Arc<Keyspaces>) {
        let Some(replicas) = &self.replicas else { return };
        let (mut names, keyspaces) = (replicas.names(), Arc::downgrade(self));
        let drain = self.drain.clone();
        rt::spawn(TaskKind::Critical, "keyspaces of others", async move {
            loop {
                let known = names.borrow_and_update().clone();
                let Some(keyspaces) = keyspaces.upgrade() else { return };
                for name in known {
                    if let Err(error) = keyspaces.get(&name) {
                        tracing::warn!(keyspace = %name, %error, "not followed");
                    }
                }
                drop(keyspaces);
                tokio::select! {
                    changed = names.changed() => if changed.is_err() { return },
                    () = drain.started() => return,
                }
            }
        });
    }

    pub fn replicas(&self) -> Option<&Replicas> {
        self.replicas.as_ref()
    }

    pub fn engine(&self) -> &Arc<dyn Engine> {
        &self.engine
    }

    pub fn alarms(&self) -> &Arc<Alarms> {
        &self.alarms
    }

    pub fn scratch(&self) -> &Scratch {
        &self.scratch
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

    /// Resolves once nobody has led it for longer than a takeover takes.
    pub async fn leaderless(&self, keyspace: &KeyspaceName) {
        let Some(replicas) = &self.replicas else { return std::future::pending().await };
        let mut leaderless = replicas.leaderless();
        // An error is the end of the process.
        let _ = leaderless.wait_for(|names| names.contains(keyspace)).await;
    }

    /// Who leads it, by name, as far as we know.
    pub fn leader(&self, keyspace: &Handle) -> Option<String> {
        let Some(replicas) = &self.replicas else { return Some(self.config.name.clone()) };
        if replicas.is_leaderless(keyspace.name()) {
            return None;
        }
        if keyspace.standing().is_leading() {
            return Some(replicas.me().name.clone());
        }
        match &replicas.situation(keyspace.name()).borrow().lead {
            Lead::Other(peer) => Some(peer.name.clone()),
            Lead::Nobody | Lead::Me | Lead::Silent { .. } => None,
        }
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
                txn_ops_max: self.config.limits.txn_ops,
                ..keyspace::Config::default()
            },
        };
        let vault = Vault::new(self.engine.clone(), name.clone());
        let commons = actor::Commons {
            clock: self.clock.clone(),
            standing: standing.clone(),
            guard: guard.clone(),
            alarms: (*name == KeyspaceName::default()).then(|| self.alarms.clone()),
            quota: self.quota.clone(),
            budget: self.budget.clone(),
            replicas: self.replicas.clone(),
        };
        let mailbox = Mailbox { requests: requests_rx, gone: gone_rx };
        let actor = Actor::new(vault, config, commons, mailbox);
        rt::spawn(TaskKind::Critical, "keyspace", actor.run(self.drain.clone()));
        Handle::new(name.clone(), requests, gone, standing, guard)
    }

    fn by_name(&self) -> MutexGuard<'_, BTreeMap<KeyspaceName, Handle>> {
        self.by_name.lock().expect("nobody panics while holding it")
    }
}
