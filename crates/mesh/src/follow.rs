//! A configuration's files, followed while they change.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, atomic::Ordering::Relaxed},
    time::{Duration, SystemTime},
};

use tokio::{sync::watch, time::sleep};

use crate::{
    config::Config,
    handover::Held,
    intercept::Rules,
    listen,
    metrics::Registry,
    plan::Plan,
    proxy::{Error, State},
    snapshot::Snapshot,
    thread::{Order, Thread, tell_listen},
};

/// Between two looks at the files of the configuration and of certificates.
const LOOK: Duration = Duration::from_millis(500);

/// Looks at the file now and then, and carries out what changed.
pub(crate) struct Follower<'w> {
    pub(crate) file: Option<PathBuf>,
    pub(crate) snapshot: Option<Snapshot>,
    pub(crate) plans: watch::Sender<Arc<Plan>>,
    pub(crate) listening: &'w Mutex<Vec<Held>>,
    pub(crate) workers: &'w [Thread],
    pub(crate) registry: &'w Registry,
    pub(crate) state: &'w watch::Sender<State>,
    /// As the files were before they were last read.
    pub(crate) seen: Vec<Stamp>,
}

/// What tells a file from the one before; none if there is no file.
pub(crate) type Stamp = Option<(SystemTime, u64, u64)>;

// === impl Follower ===

impl Follower<'_> {
    pub(crate) async fn follow(&mut self) {
        let Some(file) = self.file.clone() else { return std::future::pending().await };
        loop {
            sleep(LOOK).await;
            let seen = stamps(Some(&file), &self.plans.borrow().config);
            if seen == self.seen {
                continue;
            }
            self.seen = seen;
            match self.load(&file) {
                Ok(()) => tracing::info!(file = %file.display(), "took over a new configuration"),
                Err(error) => {
                    tracing::error!(%error, "the new configuration is not taken; the old one stays");
                }
            }
        }
    }

    /// All of it or nothing: what cannot be bound leaves the old plan.
    fn load(&mut self, file: &Path) -> Result<(), Error> {
        let own = stamp(file);
        let config = Config::load(file)?;
        // Looked at before they are read: what changes meanwhile is seen next time.
        let seen = std::iter::once(own).chain(config.files().map(stamp)).collect();
        let before = self.plans.borrow().clone();
        let fixed = |config: &Config| {
            let admin = config.admin.as_ref().map(|admin| admin.listen);
            let log = config.access_log.as_ref().map(|log| log.path.clone());
            (admin, log, config.limits.threads)
        };
        if fixed(&before.config) != fixed(&config) {
            tracing::warn!(
                "`admin`, `access_log` and `limits.threads` count from the next start on"
            );
        }
        let plan = Arc::new(Plan::new(config, Some(&before))?);
        let mut listening = self.listening.lock().unwrap_or_else(PoisonError::into_inner);
        let mut fresh = Vec::new();
        for listener in &plan.listeners {
            let (name, asked) = (listener.name.clone(), listener.address);
            if listening.iter().any(|held| held.name == name && held.asked == asked) {
                continue;
            }
            let sockets = listen::bind(asked, listener.intercept, self.workers.len())
                .map_err(|source| Error::Listen { address: asked, source })?;
            fresh.push(Held { name, asked, sockets });
        }
        for worker in self.workers {
            let _ = worker.orders.send(Order::Install(plan.clone()));
        }
        listening.retain(|held| {
            let stays =
                plan.listeners.iter().any(|l| l.name == held.name && l.address == held.asked);
            if !stays {
                for worker in self.workers {
                    let _ = worker.orders.send(Order::Unlisten { name: held.name.clone() });
                }
            }
            stays
        });
        for held in fresh {
            if let Err(error) = tell_listen(self.workers, &held) {
                tracing::error!(%error, listener = held.name, "cannot share a socket");
            }
            listening.push(held);
        }
        drop(listening);
        self.state.send_replace(State::Serving(Rules::of(&plan.config)));
        self.plans.send_replace(plan);
        self.seen = seen;
        self.registry.from_snapshot.store(false, Relaxed);
        self.keep();
        Ok(())
    }

    /// Keeps what is in force. A disk that is full stops no traffic.
    pub(crate) fn keep(&self) {
        let Some(snapshot) = &self.snapshot else { return };
        let plan = self.plans.borrow().clone();
        if let Err(error) = snapshot.keep(&plan.config.text) {
            tracing::error!(%error, "cannot keep a snapshot of the configuration");
        }
    }
}

pub(crate) fn stamps(file: Option<&Path>, config: &Config) -> Vec<Stamp> {
    file.into_iter().chain(config.files()).map(stamp).collect()
}

fn stamp(path: &Path) -> Stamp {
    let meta = fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len(), meta.ino()))
}
