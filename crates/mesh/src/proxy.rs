//! The proxy as a whole: configuration → [`Proxy::build`] → [`Proxy::run`].

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    net::SocketAddr,
    num::NonZero,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    rc::Rc,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, SystemTime},
};

use rt::Drain;
use tokio::{
    net::TcpListener,
    runtime,
    sync::{mpsc, oneshot, watch},
    time::sleep,
};

use crate::{
    access_log::AccessLog,
    admin::{self, Admin},
    config::{self, Config},
    handover::{self, Handover, Held, Holding, Inheritance, Moving},
    intercept::Rules,
    listen,
    metrics::Registry,
    plan::{self, Plan},
    serve,
    snapshot::Snapshot,
    upstream,
    worker::{Draining, Worker},
};

/// Between two looks at the files of the configuration and of certificates.
const LOOK: Duration = Duration::from_millis(500);

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

/// What a thread is told.
enum Order {
    Install(Arc<Plan>),
    Listen { name: String, socket: std::net::TcpListener },
    Unlisten { name: String },
    TakeOver(Moving),
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

struct Thread {
    name: String,
    orders: mpsc::UnboundedSender<Order>,
    /// Its runtime is there and takes orders.
    started: oneshot::Receiver<()>,
    ended: oneshot::Receiver<()>,
}

// === impl Proxy ===

impl Proxy {
    /// Takes the addresses, from the proxy before if there is one. Must be
    /// called within a tokio runtime.
    pub fn build(config: Config, mut options: Options) -> Result<Proxy, Error> {
        let read = stamps(options.file.as_deref(), &config);
        let handover = &mut options.handover;
        let plan = Arc::new(Plan::new(config, None)?);
        let cores = || thread::available_parallelism().map_or(1, NonZero::get);
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
        let succeeded = async {
            let Some(door) = &door else { return std::future::pending().await };
            door.successor(|| holding(&listening, admin_kept.as_ref())).await
        };
        let mut bequest = None;
        let outcome = tokio::select! {
            () = drain.started() => Outcome::Drained,
            _ = asked.recv() => Outcome::Drained,
            given = succeeded => {
                bequest = given.map(|(to, bequest)| {
                    let _ = heir.set(to);
                    rt::spawn(rt::TaskKind::Connection, "proxy-bequest", bequest.deliver())
                });
                Outcome::HandedOver
            }
            () = inherit(inheritance, &workers) => Outcome::Drained,
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
        draining.send_replace(outcome.into());
        for Thread { ended, .. } in workers {
            let _ = ended.await;
        }
        for task in admin_page.into_iter().chain(bequest) {
            task.abort();
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
async fn inherit(inheritance: Option<Inheritance>, workers: &[Thread]) {
    let mut count = 0;
    if let Some(mut inheritance) = inheritance {
        while let Some(moving) = inheritance.next().await {
            let _ = workers[count % workers.len()].orders.send(Order::TakeOver(moving));
            count += 1;
        }
        tracing::info!(connections = count, "the proxy before has given its connections");
    }
    std::future::pending().await
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

async fn any_ended(workers: &[Thread]) -> String {
    loop {
        if let Some(ended) = workers.iter().find(|worker| worker.orders.is_closed()) {
            return ended.name.clone();
        }
        sleep(LOOK).await;
    }
}

/// Every socket is accepted on and every thread accepts, whether there are more
/// of the ones or of the others: a process before may have had other threads.
fn tell_listen(workers: &[Thread], held: &Held) -> io::Result<()> {
    for at in 0..workers.len().max(held.sockets.len()) {
        let socket = held.sockets[at % held.sockets.len()].try_clone()?;
        let order = Order::Listen { name: held.name.clone(), socket };
        let _ = workers[at % workers.len()].orders.send(order);
    }
    Ok(())
}

/// One thread's work: carries out orders until the drain, then waits for what
/// is under way.
async fn work(
    worker: Rc<Worker>,
    mut orders: mpsc::UnboundedReceiver<Order>,
    mut draining: watch::Receiver<Draining>,
) {
    let mut listening: HashMap<String, Vec<oneshot::Sender<()>>> = HashMap::new();
    let mut accepting = tokio::task::JoinSet::new();
    let sweeper = tokio::task::spawn_local({
        let worker = worker.clone();
        async move { worker.sweep().await }
    });
    loop {
        let order = tokio::select! {
            biased;
            _ = draining.wait_for(|draining| *draining != Draining::No) => break,
            order = orders.recv() => order,
        };
        match order {
            None => break,
            Some(Order::Install(plan)) => worker.install(plan),
            Some(Order::Unlisten { name }) => drop(listening.remove(&name)),
            Some(Order::TakeOver(moving)) => {
                tokio::task::spawn_local(serve::take_over(worker.clone(), moving));
            }
            Some(Order::Listen { name, socket }) => {
                let (stop, stopped) = oneshot::channel();
                let named = Rc::from(name.as_str());
                accepting.spawn_local(serve::listen(worker.clone(), named, socket, stopped));
                listening.entry(name).or_default().push(stop);
            }
        }
    }
    // Whoever gave no reason is gone, and nobody comes after.
    let reason = *draining.borrow();
    worker.drain(if reason == Draining::No { Draining::Last } else { reason });
    // The proxy before has these no more.
    while let Ok(order) = orders.try_recv() {
        if let Order::TakeOver(moving) = order {
            tokio::task::spawn_local(serve::take_over(worker.clone(), moving));
        }
    }
    while accepting.join_next().await.is_some() {}
    let patience = worker.plan().shared.config.limits.drain_timeout.0;
    let gone = async {
        while worker.metrics.connections.get() > worker.metrics.connections_ended.get() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    if tokio::time::timeout(patience, gone).await.is_err() {
        let left = worker.connections.load(Relaxed);
        tracing::warn!(connections = left, "drain timed out; cutting connections off");
    }
    sweeper.abort();
}

/// Starts a thread with a runtime of its own. Dropping the runtime at its end
/// cuts off whatever is left.
fn start<F, Fut>(index: usize, work: F) -> Result<Thread, Error>
where
    F: FnOnce(mpsc::UnboundedReceiver<Order>) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let name = format!("proxy-{index}");
    let failed = |source| Error::Thread { name: name.clone(), source };
    let (orders, received) = mpsc::unbounded_channel();
    let (start, started) = oneshot::channel();
    let (end, ended) = oneshot::channel();
    thread::Builder::new()
        .name(name.clone())
        .spawn(move || {
            let _end: oneshot::Sender<()> = end;
            let runtime = runtime::Builder::new_current_thread()
                .enable_all()
                .build_local(runtime::LocalOptions::default());
            match runtime {
                Ok(runtime) => {
                    let _ = start.send(());
                    runtime.block_on(work(received));
                }
                Err(error) => tracing::error!(%error, "cannot start a runtime"),
            }
        })
        .map_err(failed)?;
    Ok(Thread { name, orders, started, ended })
}

/// Looks at the file now and then, and carries out what changed.
struct Follower<'w> {
    file: Option<PathBuf>,
    snapshot: Option<Snapshot>,
    plans: watch::Sender<Arc<Plan>>,
    listening: &'w Mutex<Vec<Held>>,
    workers: &'w [Thread],
    registry: &'w Registry,
    state: &'w watch::Sender<State>,
    /// As the files were before they were last read.
    seen: Vec<Stamp>,
}

/// What tells a file from the one before; none if there is no file.
type Stamp = Option<(SystemTime, u64, u64)>;

// === impl Follower ===

impl Follower<'_> {
    async fn follow(&mut self) {
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
    fn keep(&self) {
        let Some(snapshot) = &self.snapshot else { return };
        let plan = self.plans.borrow().clone();
        if let Err(error) = snapshot.keep(&plan.config.text) {
            tracing::error!(%error, "cannot keep a snapshot of the configuration");
        }
    }
}

fn stamps(file: Option<&Path>, config: &Config) -> Vec<Stamp> {
    file.into_iter().chain(config.files()).map(stamp).collect()
}

fn stamp(path: &Path) -> Stamp {
    let meta = fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len(), meta.ino()))
}
