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
        Arc,
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
    listen,
    metrics::Registry,
    plan::{self, Plan},
    serve, upstream,
    worker::Worker,
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
}

/// What a thread is told.
enum Order {
    Install(Arc<Plan>),
    Listen { name: String, socket: std::net::TcpListener },
    Unlisten { name: String },
}

/// A proxy that holds its addresses and does not serve yet.
pub struct Proxy {
    plan: Arc<Plan>,
    threads: usize,
    sockets: Vec<(String, SocketAddr, Vec<std::net::TcpListener>)>,
    admin: Option<std::net::TcpListener>,
    log: Option<AccessLog>,
    file: Option<PathBuf>,
    /// As the files were before they were read.
    read: Vec<Stamp>,
}

struct Thread {
    name: String,
    orders: mpsc::UnboundedSender<Order>,
    ended: oneshot::Receiver<()>,
}

// === impl Proxy ===

impl Proxy {
    /// Takes the addresses. Must be called within a tokio runtime. `file` is
    /// watched: a new version that is sound replaces the configuration.
    pub fn build(config: Config, file: Option<&Path>) -> Result<Proxy, Error> {
        let read = stamps(file, &config);
        let plan = Arc::new(Plan::new(config, None)?);
        let cores = || thread::available_parallelism().map_or(1, NonZero::get);
        let threads = match plan.config.limits.threads {
            0 => cores(),
            threads => threads,
        };
        let mut sockets = Vec::new();
        for listener in &plan.listeners {
            let failed = |source| Error::Listen { address: listener.address, source };
            let bound = listen::bind(listener.address, threads).map_err(failed)?;
            let address = bound[0].local_addr().map_err(failed)?;
            sockets.push((listener.name.clone(), address, bound));
        }
        let admin = plan.config.admin.as_ref().map(|admin| {
            let failed = |source| Error::Listen { address: admin.listen, source };
            listen::bind_one(admin.listen).map_err(failed)
        });
        let log = plan.config.access_log.as_ref().map(|log| {
            let failed = |source| Error::AccessLog { path: log.path.display().to_string(), source };
            AccessLog::open(&log.path).map_err(failed)
        });
        let (admin, log) = (admin.transpose()?, log.transpose()?);
        Ok(Proxy { plan, threads, sockets, admin, log, file: file.map(Path::to_owned), read })
    }

    /// By name, where clients come in.
    #[must_use]
    pub fn addresses(&self) -> BTreeMap<String, SocketAddr> {
        self.sockets.iter().map(|(name, address, _)| (name.clone(), *address)).collect()
    }

    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().and_then(|admin| admin.local_addr().ok())
    }

    /// Serves until drained: by `drain`, or by an operator. Requests that have
    /// begun are finished; what is left at the drain timeout is cut off.
    pub async fn run(self, drain: Drain) -> Result<(), Error> {
        let Proxy { plan, threads, sockets, admin, log, file, read } = self;
        let registry = Arc::new(Registry::default());
        let connections = Arc::new(AtomicUsize::new(0));
        let (draining, watched) = watch::channel(false);
        let mut workers = Vec::new();
        for index in 0..threads {
            let (plan, registry, log) = (plan.clone(), registry.clone(), log.clone());
            let (connections, watched) = (connections.clone(), watched.clone());
            workers.push(start(index, move |orders| async move {
                let worker = Worker::new(index, plan, registry, log, connections);
                work(worker, orders, watched).await;
            })?);
        }
        let mut listening = HashMap::new();
        for (name, address, bound) in sockets {
            tell_listen(&workers, &name, bound);
            // What was asked for, so that the same file again changes nothing.
            let asked = plan.listeners.iter().find(|listener| listener.name == name);
            listening.insert(name, asked.map_or(address, |listener| listener.address));
        }
        let (plans, seen) = watch::channel(plan);
        let (ask, mut asked) = mpsc::channel(1);
        let admin_page = admin.map(|listener| {
            let page = Admin {
                plan: seen.clone(),
                registry,
                log: log.clone(),
                draining: watched,
                drain: ask.clone(),
            };
            let listener = TcpListener::from_std(listener).expect("built non-blocking");
            rt::spawn(rt::TaskKind::Critical, "proxy-admin", admin::serve(Arc::new(page), listener))
        });
        let mut follower = Follower { file, plans, listening, workers: &workers, seen: read };
        tokio::select! {
            () = drain.started() => {}
            _ = asked.recv() => {}
            () = follower.follow() => {}
            () = check_health(seen) => {}
            name = any_ended(&workers) => return Err(Error::Ended(name)),
        }
        drop(follower);
        draining.send_replace(true);
        for Thread { ended, .. } in workers {
            let _ = ended.await;
        }
        if let Some(admin_page) = admin_page {
            admin_page.abort();
        }
        Ok(())
    }
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

fn tell_listen(workers: &[Thread], name: &str, sockets: Vec<std::net::TcpListener>) {
    for (worker, socket) in workers.iter().zip(sockets) {
        let _ = worker.orders.send(Order::Listen { name: name.to_owned(), socket });
    }
}

/// One thread's work: carries out orders until the drain, then waits for what
/// is under way.
async fn work(
    worker: Rc<Worker>,
    mut orders: mpsc::UnboundedReceiver<Order>,
    mut draining: watch::Receiver<bool>,
) {
    let mut listening: HashMap<String, oneshot::Sender<()>> = HashMap::new();
    let mut accepting = tokio::task::JoinSet::new();
    let sweeper = tokio::task::spawn_local({
        let worker = worker.clone();
        async move { worker.sweep().await }
    });
    loop {
        let order = tokio::select! {
            biased;
            _ = draining.wait_for(|draining| *draining) => break,
            order = orders.recv() => order,
        };
        match order {
            None => break,
            Some(Order::Install(plan)) => worker.install(plan),
            Some(Order::Unlisten { name }) => drop(listening.remove(&name)),
            Some(Order::Listen { name, socket }) => {
                let (stop, stopped) = oneshot::channel();
                let named = Rc::from(name.as_str());
                accepting.spawn_local(serve::listen(worker.clone(), named, socket, stopped));
                listening.insert(name, stop);
            }
        }
    }
    worker.drain();
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
    let (end, ended) = oneshot::channel();
    thread::Builder::new()
        .name(name.clone())
        .spawn(move || {
            let _end: oneshot::Sender<()> = end;
            let runtime = runtime::Builder::new_current_thread()
                .enable_all()
                .build_local(runtime::LocalOptions::default());
            match runtime {
                Ok(runtime) => runtime.block_on(work(received)),
                Err(error) => tracing::error!(%error, "cannot start a runtime"),
            }
        })
        .map_err(failed)?;
    Ok(Thread { name, orders, ended })
}

/// Looks at the file now and then, and carries out what changed.
struct Follower<'w> {
    file: Option<PathBuf>,
    plans: watch::Sender<Arc<Plan>>,
    /// By name, the address that was asked for.
    listening: HashMap<String, SocketAddr>,
    workers: &'w [Thread],
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
        let mut fresh = Vec::new();
        for listener in &plan.listeners {
            if self.listening.get(&listener.name) == Some(&listener.address) {
                continue;
            }
            let failed = |source| Error::Listen { address: listener.address, source };
            let sockets = listen::bind(listener.address, self.workers.len()).map_err(failed)?;
            fresh.push((listener.name.clone(), listener.address, sockets));
        }
        for worker in self.workers {
            let _ = worker.orders.send(Order::Install(plan.clone()));
        }
        let gone: Vec<String> = self
            .listening
            .iter()
            .filter(|(name, address)| {
                !plan.listeners.iter().any(|l| l.name == **name && l.address == **address)
            })
            .map(|(name, _)| name.clone())
            .collect();
        for name in gone {
            self.listening.remove(&name);
            for worker in self.workers {
                let _ = worker.orders.send(Order::Unlisten { name: name.clone() });
            }
        }
        for (name, address, sockets) in fresh {
            tell_listen(self.workers, &name, sockets);
            self.listening.insert(name, address);
        }
        self.plans.send_replace(plan);
        self.seen = seen;
        Ok(())
    }
}

fn stamps(file: Option<&Path>, config: &Config) -> Vec<Stamp> {
    file.into_iter().chain(config.files()).map(stamp).collect()
}

fn stamp(path: &Path) -> Stamp {
    let meta = fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len(), meta.ino()))
}
