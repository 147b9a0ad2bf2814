//! The edge as a whole: `Config` → [`Edge::build`] → [`Edge::run`].
//!
//! A thread per core for requests, each with a runtime, a listener
//! (`SO_REUSEPORT`) and pools of its own; one more thread for operators and
//! for following the API.

use std::{io, net::SocketAddr, num::NonZero, sync::Arc, thread};

use rt::Drain;
use tokio::{
    net::{TcpListener, TcpSocket},
    runtime,
    sync::{oneshot, watch},
    task::JoinSet,
};

use crate::{
    admin::{self, Admin},
    config::{Config, Source},
    connection,
    metrics::ThreadMetrics,
    source::{self, Origin, Refresh},
    table::View,
    transport::Transport,
    worker::Worker,
};

/// Connections that the kernel may have waiting for one thread.
const BACKLOG: u32 = 1_024;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{}: cannot listen on {address}: {source}. {}", errors::EDGE_LISTEN, errors::EDGE_LISTEN.remedy())]
    Listen { address: SocketAddr, source: io::Error },
    #[error("start thread {name}: {source}")]
    Thread { name: String, source: io::Error },
    #[error("API client: {0}")]
    Client(#[from] client::ConfigError),
    #[error("thread {name} ended by itself")]
    Ended { name: String },
}

/// An edge that holds its addresses and does not serve yet.
pub struct Edge {
    config: Config,
    address: SocketAddr,
    listeners: Vec<std::net::TcpListener>,
    admin_address: SocketAddr,
    admin: std::net::TcpListener,
}

/// A thread that was started, until it ends.
struct Running {
    name: String,
    ended: oneshot::Receiver<()>,
}

// === impl Edge ===

impl Edge {
    /// Takes the addresses. Must be called within a tokio runtime.
    pub fn build(config: Config) -> Result<Edge, Error> {
        if let Source::Api(config) = &config.source {
            client::connect(config)?;
        }
        let failed = |address| move |source| Error::Listen { address, source };
        let cores = || thread::available_parallelism().map_or(1, NonZero::get);
        let threads = config.threads.unwrap_or_else(cores).max(1);
        // Sharing the port among our threads would also let a second process
        // share it unnoticed: taking it alone first finds that out.
        let address = take_alone(config.listen).map_err(failed(config.listen))?;
        let listeners = (0..threads)
            .map(|_| listen(address, true))
            .collect::<io::Result<Vec<_>>>()
            .map_err(failed(address))?;
        let admin = listen(config.admin, false).map_err(failed(config.admin))?;
        let admin_address = admin.local_addr().map_err(failed(config.admin))?;
        Ok(Edge { config, address, listeners, admin_address, admin })
    }

    /// Where users come in.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// Serves until drained. Requests that have begun are finished, those that
    /// wait for their shard within their deadline; then, or at the drain
    /// timeout, every thread has ended.
    pub async fn run(self, drain: Drain) -> Result<(), Error> {
        let Edge { config, listeners, admin, .. } = self;
        let Config { place, upstream, source, snapshot, limits, .. } = config;
        let timeouts = (limits.connect_timeout, limits.handshake_timeout);
        let transport = Arc::new(Transport::new(upstream, timeouts.0, timeouts.1));
        let (views, seen) = watch::channel(source::first(&source, snapshot.as_ref()));
        let (installed, installs) = watch::channel(());
        let refresh = Refresh::default();

        let mut running = Vec::new();
        let mut threads = Vec::new();
        for (index, listener) in listeners.into_iter().enumerate() {
            let metrics = Arc::new(ThreadMetrics::default());
            threads.push(metrics.clone());
            let (limits, transport) = (limits.clone(), transport.clone());
            let (refresh, seen, drain) = (refresh.clone(), seen.clone(), drain.clone());
            let installed = installed.clone();
            running.push(start(format!("edge-{index}"), move || async move {
                let worker = Worker::new(limits, transport, metrics, refresh);
                carry(worker, listener, (seen, installed), drain).await;
            })?);
        }

        // The last thread follows the API until the others have drained.
        let (stop, stopped) = oneshot::channel::<()>();
        let draining = drain.clone();
        let admin_thread = start("edge-admin".into(), move || async move {
            let admin_page =
                Arc::new(Admin { place, limits, views: seen, installs, threads, draining });
            let listener = TcpListener::from_std(admin).expect("built non-blocking");
            let follow = async move {
                match source {
                    Source::Api(config) => {
                        let client = client::connect(&config).expect("checked when built");
                        source::follow(client, refresh, snapshot, views).await;
                    }
                    Source::Given(given) => source::pass_on(given, snapshot, views).await,
                }
            };
            tokio::select! {
                _ = stopped => {}
                ((), ()) = async { tokio::join!(admin::serve(admin_page, listener), follow) } => {}
            }
        })?;
        let mut ends = JoinSet::new();
        for Running { name, ended } in running {
            ends.spawn(async move {
                let _ = ended.await;
                name
            });
        }
        while let Some(Ok(name)) = ends.join_next().await {
            if !drain.is_draining() {
                return Err(Error::Ended { name });
            }
        }
        drop(stop);
        let _ = admin_thread.ended.await;
        Ok(())
    }
}

/// One thread's work: keeps its table up to date and serves its connections.
async fn carry(
    worker: std::rc::Rc<Worker>,
    listener: std::net::TcpListener,
    (mut seen, installed): (watch::Receiver<(Origin, Arc<View>)>, watch::Sender<()>),
    drain: Drain,
) {
    let listener = TcpListener::from_std(listener).expect("built non-blocking");
    let view = seen.borrow_and_update().1.clone();
    worker.install(&view);
    installed.send_replace(());
    let install = {
        let worker = worker.clone();
        async move {
            while seen.changed().await.is_ok() {
                let view = seen.borrow_and_update().1.clone();
                worker.install(&view);
                installed.send_replace(());
            }
        }
    };
    let install = tokio::task::spawn_local(install);
    let sweep = tokio::task::spawn_local({
        let pool = worker.pool.clone();
        async move { pool.sweep().await }
    });
    connection::serve(worker, listener, drain).await;
    sweep.abort();
    install.abort();
}

/// Starts a thread with a runtime of its own. Dropping the runtime at its end
/// cuts off whatever is left.
fn start<F, Fut>(name: String, work: F) -> Result<Running, Error>
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let failed = |source| Error::Thread { name: name.clone(), source };
    let (end, ended) = oneshot::channel();
    thread::Builder::new()
        .name(name.clone())
        .spawn(move || {
            let _end: oneshot::Sender<()> = end;
            let runtime = runtime::Builder::new_current_thread()
                .enable_all()
                .build_local(runtime::LocalOptions::default());
            match runtime {
                Ok(runtime) => runtime.block_on(work()),
                Err(error) => tracing::error!(%error, "cannot start a runtime"),
            }
        })
        .map_err(failed)?;
    Ok(Running { name, ended })
}

/// Checks that nobody else listens on `address`; a port of 0 becomes a free one.
fn take_alone(address: SocketAddr) -> io::Result<SocketAddr> {
    bind(address, false)?.local_addr()
}

fn listen(address: SocketAddr, shared: bool) -> io::Result<std::net::TcpListener> {
    bind(address, shared)?.listen(BACKLOG)?.into_std()
}

fn bind(address: SocketAddr, shared: bool) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(shared)?;
    socket.bind(address)?;
    Ok(socket)
}
