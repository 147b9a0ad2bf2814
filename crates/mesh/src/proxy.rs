//! The proxy as a whole: configuration → [`Proxy::build`] → [`Proxy::run`].

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    num::NonZero,
    path::PathBuf,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use rt::Drain;
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
};

use crate::{
    access_log::AccessLog,
    admin::{self, Admin},
    config::{self, Config},
    follow::{Follower, Stamp, stamps},
    handover::{self, Handover, Held, Holding, Inheritance, Next},
    intercept::Rules,
    listen,
    metrics::Registry,
    plan::{self, Plan},
    snapshot::Snapshot,
    thread::{Order, Thread, any_ended, start, tell_listen, work},
    upstream,
    worker::{Draining, Worker},
};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Config(#[from] config::Error),
    #[error(transparent)]
    Plan(#[from] plan::Error),
    #[error("{}: cannot listen on {address}: {source}. {}", errors::EDGE_LISTEN, errors::EDGE_LISTEN.remedy())]
    Listen { address: SocketAddr, source: io::Error },
    #[error("open the access log {path}: {source}")]
    AccessLog { path: String, source: io::Error },
    #[error("start thread {name}: {source}")]
    Thread { name: String, source: io::Error },
    #[error("thread {0} ended by itself")]
    Ended(String),
    #[error("{}: {source}. {}", errors::MESH_HANDOVER, errors::MESH_HANDOVER.remedy())]
    Handover {
        #[from]
        source: handover::Error,
    },
    #[error("open the door to successors: {0}")]
    Door(#[source] io::Error),
}

/// Why a proxy serves no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Drained,
    /// Another process has the sockets, and whatever else there is one of.
    HandedOver,
}

/// A proxy that holds its addresses and does not serve yet.
pub struct Proxy {
    plan: Arc<Plan>,
    threads: usize,
    sockets: Vec<Held>,
    admin: Option<(SocketAddr, std::net::TcpListener)>,
    log: Option<AccessLog>,
    /// As the files were before they were read.
    read: Vec<Stamp>,
    options: Options,
}

/// What there may be beside a configuration.
#[derive(Debug, Default)]
pub struct Options {
    /// Watched: a new version that is sound replaces the configuration.
    pub file: Option<PathBuf>,
    /// The proxy before gives its sockets, and serves until we do.
    pub handover: Option<Handover>,
    /// Where the configuration in force is kept.
    pub snapshot: Option<Snapshot>,
    /// The configuration is what had been kept.
    pub from_snapshot: bool,
    /// Is told of what is captured and of the end.
    pub state: Option<watch::Sender<State>>,
}

/// How far a proxy is, for whoever keeps the rules of interception.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// By these rules, from now on.
    Serving(Option<Rules>),
    Ending(Outcome),
}

// === impl Proxy ===

impl Proxy {
    /// Takes the addresses, from the proxy before if there is one. Must be
    /// called within a tokio runtime.
    pub fn build(config: Config, mut options: Options) -> Result<Proxy, Error> {
        let read = stamps(options.file.as_deref(), &config);
        let handover = &mut options.handover;
        let plan = Arc::new(Plan::new(config, None)?);
        let cores = || std::thread::available_parallelism().map_or(1, NonZero::get);
        let threads = match plan.config.limits.threads {
            0 => cores(),
            threads => threads,
        };
        let mut sockets = Vec::new();
        for listener in &plan.listeners {
            let (name, asked) = (listener.name.clone(), listener.address);
            let given = handover.as_mut().and_then(|handover| handover.take(&name, asked));
            let bound = given.map_or_else(|| listen::bind(asked, listener.intercept, threads), Ok);
            let bound = bound.map_err(|source| Error::Listen { address: asked, source })?;
            sockets.push(Held { name, asked, sockets: bound });
        }
        let admin = plan.config.admin.as_ref().map(|admin| {
            let given = handover.as_mut().and_then(|handover| handover.take_admin(admin.listen));
            let bound = given.map_or_else(|| listen::bind_one(admin.listen), Ok);
            let bound = bound.map_err(|source| Error::Listen { address: admin.listen, source })?;
            Ok::<_, Error>((admin.listen, bound))
        });
        let log = plan.config.access_log.as_ref().map(|log| {
            let failed = |source| Error::AccessLog { path: log.path.display().to_string(), source };
            AccessLog::open(&log.path).map_err(failed)
        });
        let (admin, log) = (admin.transpose()?, log.transpose()?);
        Ok(Proxy { plan, threads, sockets, admin, log, options, read })
    }

    /// By name, where clients come in.
    #[must_use]
    pub fn addresses(&self) -> BTreeMap<String, SocketAddr> {
        let bound = |held: &Held| Some((held.name.clone(), held.sockets[0].local_addr().ok()?));
        self.sockets.iter().filter_map(bound).collect()
    }

    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().and_then(|(_, admin)| admin.local_addr().ok())
    }

    /// Serves until drained: by `drain`, by an operator, or because a successor
    /// serves. Requests that have begun are finished; what is left at the drain
    /// timeout is cut off.
    pub async fn run(self, drain: Drain) -> Result<Outcome, Error> {
        let Proxy { plan, threads, sockets, admin, log, options, read } = self;
        let Options { file, handover, snapshot, from_snapshot, state } = options;
        let state = state.unwrap_or_else(|| watch::channel(State::Serving(None)).0);
        let registry = Arc::new(Registry::default());
        registry.from_snapshot.store(from_snapshot, Relaxed);
        let connections = Arc::new(AtomicUsize::new(0));
        let (draining, watched) = watch::channel(Draining::No);
        let heir = Arc::new(OnceLock::new());
        let mut workers = Vec::new();
        for index in 0..threads {
            let (plan, registry, log) = (plan.clone(), registry.clone(), log.clone());
            let (connections, watched) = (connections.clone(), watched.clone());
            let heir = heir.clone();
            workers.push(start(index, move |orders| async move {
                let worker = Worker::new(index, plan, registry, log, connections, heir);
                work(worker, orders, watched).await;
            })?);
        }
        for worker in &mut workers {
            let started = (&mut worker.started).await;
            started.map_err(|_| Error::Ended(worker.name.clone()))?;
        }
        for held in &sockets {
            tell_listen(&workers, held).map_err(Error::Door)?;
        }
        let (plans, seen) = watch::channel(plan);
        let (ask, mut asked) = mpsc::channel(1);
        // Kept as they are, to be given to a successor.
        let admin_kept = admin.as_ref().map(|(asked, admin)| Ok((*asked, admin.try_clone()?)));
        let admin_kept = admin_kept.transpose().map_err(Error::Door)?;
        let admin_page = admin.map(|(_, listener)| {
            let page = Admin {
                plan: seen.clone(),
                registry: registry.clone(),
                log: log.clone(),
                draining: watched,
                drain: ask.clone(),
            };
            let listener = TcpListener::from_std(listener).expect("built non-blocking");
            rt::spawn(rt::TaskKind::Critical, "proxy-admin", admin::serve(Arc::new(page), listener))
        });
        let listening = Mutex::new(sockets);
        let mut follower = Follower {
            file,
            snapshot,
            plans,
            listening: &listening,
            workers: &workers,
            registry: &registry,
            seen: read,
            state: &state,
        };
        if !from_snapshot {
            follower.keep();
        }
        let takes = seen.borrow().takes();
        let (door, inheritance) = match handover {
            None => (None, None),
            Some(handover) => {
                let (door, inheritance) = handover.serve(&takes).await.map_err(Error::Door)?;
                (Some(door), inheritance)
            }
        };
        tracing::info!("the proxy serves");
        // There is one on every host, and beside every container.
        rt::program::unmap();
        let succeeded = async {
            let Some(door) = &door else { return std::future::pending().await };
            door.successor(|| holding(&listening, admin_kept.as_ref())).await
        };
        let inheriting = inheritance.map(|inheritance| {
            let workers = workers.iter().map(|worker| worker.orders.clone()).collect();
            let task = inherit(inheritance.clone(), workers);
            (inheritance, rt::spawn(rt::TaskKind::Connection, "proxy-inheritance", task))
        });
        let mut successor = None;
        let outcome = tokio::select! {
            () = drain.started() => Outcome::Drained,
            _ = asked.recv() => Outcome::Drained,
            stream = succeeded => {
                successor = Some(stream);
                Outcome::HandedOver
            }
            () = follower.follow() => Outcome::Drained,
            () = check_health(seen) => Outcome::Drained,
            name = any_ended(&workers) => return Err(Error::Ended(name)),
        };
        drop(follower);
        state.send_replace(State::Ending(outcome));
        drop((listening, admin_kept));
        match (outcome, door) {
            (Outcome::Drained, Some(door)) => door.remove(),
            (_, door) => drop(door),
        }
        if outcome == Outcome::HandedOver
            && let Some(admin_page) = &admin_page
        {
            // Who asks how the proxy does means the one that serves.
            admin_page.abort();
        }
        if let Some((inheritance, task)) = inheriting {
            // What the proxy before has sent is ours to end well.
            inheritance.close();
            let _ = task.await;
        }
        let mut bequest = None;
        if let Some(stream) = successor
            && let Some((to, given)) = handover::ask_heir(stream).await
        {
            let _ = heir.set(to);
            let deliver = given.deliver();
            bequest = Some(rt::spawn(rt::TaskKind::Connection, "proxy-bequest", deliver));
        }
        draining.send_replace(outcome.into());
        for Thread { ended, .. } in workers {
            let _ = ended.await;
        }
        for task in admin_page.into_iter().chain(bequest) {
            task.abort();
        }
        if let Some(log) = log {
            let _ = tokio::task::spawn_blocking(move || log.flush()).await;
        }
        Ok(outcome)
    }
}

impl From<Outcome> for Draining {
    fn from(outcome: Outcome) -> Draining {
        match outcome {
            Outcome::Drained => Draining::Last,
            Outcome::HandedOver => Draining::Succeeded,
        }
    }
}

fn holding(
    listening: &Mutex<Vec<Held>>,
    admin: Option<&(SocketAddr, std::net::TcpListener)>,
) -> io::Result<Holding> {
    let listening = listening.lock().unwrap_or_else(PoisonError::into_inner);
    let listeners = listening.iter().map(|held| {
        let sockets = held.sockets.iter().map(std::net::TcpListener::try_clone);
        let sockets = sockets.collect::<io::Result<_>>()?;
        Ok(Held { name: held.name.clone(), asked: held.asked, sockets })
    });
    let listeners = listeners.collect::<io::Result<_>>()?;
    let admin = admin.map(|(asked, admin)| Ok::<_, io::Error>((*asked, admin.try_clone()?)));
    Ok(Holding { listeners, admin: admin.transpose()? })
}

/// Spreads the connections of the proxy before over the threads, as they come.
async fn inherit(inheritance: Inheritance, workers: Vec<mpsc::UnboundedSender<Order>>) {
    let mut count = 0;
    loop {
        match inheritance.next().await {
            Ok(Next::Connection(moving)) => {
                let _ = workers[count % workers.len()].send(Order::TakeOver(moving));
                count += 1;
            }
            Ok(Next::Lost(error)) => {
                tracing::warn!(%error, "a connection of the proxy before is lost: too many open files");
            }
            Ok(Next::End) => break,
            Err(error) => {
                tracing::warn!(%error, "connections of the proxy before come no more");
                break;
            }
        }
    }
    tracing::info!(connections = count, "the proxy before has given its connections");
}

/// Watches the health of the endpoints of whichever plan is in force.
async fn check_health(mut plans: watch::Receiver<Arc<Plan>>) {
    loop {
        let clusters = plans.borrow_and_update().clusters.clone();
        tokio::select! {
            changed = plans.changed() => if changed.is_err() { return std::future::pending().await },
            () = async { upstream::watch(clusters).await; std::future::pending().await } => {}
        }
    }
}
