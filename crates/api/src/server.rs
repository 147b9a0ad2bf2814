//! The listener: TLS, who the caller is, HTTP/1.1 and HTTP/2.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use rt::{Drain, TaskKind};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_rustls::server::TlsStream;

use crate::{
    audit::Audit,
    authn::{Authenticator, Connection},
    authz::{Authorizer, reconcile},
    awaited::Awaited,
    cluster::Clusters,
    config::Config,
    departure::Departure,
    flows::Flows,
    front::Front,
    handler::{Handler, Shared},
    limits,
    merged::Mergers,
    metrics::Metrics,
    request::path::Door,
    settings::Settings,
    standing::Standing,
    streams::Agents,
};

/// Flow-control windows: a 3 MiB body needs a few round trips, and an idle
/// connection promises little memory.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;

/// A peer that is gone without a word is noticed after about this, twice.
const PING_EVERY: Duration = Duration::from_secs(30);

/// Accepting is tried again after this when the process is out of descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{code}: listen on {address}: {source}. {remedy}",
        code = errors::API_LISTEN, remedy = errors::API_LISTEN.remedy())]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("{code}: authentication: {why}. {remedy}",
        code = errors::CONFIG_INVALID, remedy = errors::CONFIG_INVALID.remedy())]
    Authentication { why: String },
    #[error("{code}: audit: {why}. {remedy}",
        code = errors::CONFIG_INVALID, remedy = errors::CONFIG_INVALID.remedy())]
    Audit { why: String },
}

/// The audit log of a server, if it keeps one.
pub struct AuditLog(Option<Arc<Audit>>);

/// An API server, listening but not yet serving.
pub struct Api {
    listener: TcpListener,
    local_addr: SocketAddr,
    front: Front,
    handler: Handler,
    standing: Standing,
}

// === impl Handler ===

impl Handler {
    pub fn new(
        keyspaces: crate::Keyspaces,
        agent_tls: Option<Arc<rustls::ClientConfig>>,
        pages: rt::Pages,
    ) -> Handler {
        Handler::at(Door::Federation, keyspaces, agent_tls, pages)
    }

    /// With `root` at `/`.
    pub fn at(
        root: Door,
        keyspaces: crate::Keyspaces,
        agent_tls: Option<Arc<rustls::ClientConfig>>,
        pages: rt::Pages,
    ) -> Handler {
        Handler::with(root, keyspaces, agent_tls, pages, &Settings::default())
            .expect("the default settings name no files")
    }

    /// As the operator set it.
    pub fn with(
        root: Door,
        keyspaces: crate::Keyspaces,
        agent_tls: Option<Arc<rustls::ClientConfig>>,
        pages: rt::Pages,
        settings: &Settings,
    ) -> Result<Handler, Error> {
        let clusters = Arc::new(Clusters::new(keyspaces, root));
        let authn = Authenticator::build(&settings.authentication)
            .map_err(|why| Error::Authentication { why })?;
        let authz = Authorizer::new(clusters.clone(), &settings.authorization);
        let audit = settings.audit.as_ref().map(Audit::open).transpose();
        let audit = audit.map_err(|why| Error::Audit { why })?.map(Arc::new);
        let shared = Shared {
            authn,
            authz: Arc::new(authz),
            flows: Flows::new(clusters.clone(), &settings.bounds),
            clusters: clusters.clone(),
            metrics: Arc::new(Metrics::default()),
            mergers: Mergers::new(clusters),
            agents: Agents::new(agent_tls),
            pages,
            departure: Departure::default(),
            documents: crate::openapi::Documents::default(),
            bounds: settings.bounds,
            callers: Arc::default(),
            audit,
        };
        Ok(Handler { shared: Arc::new(shared) })
    }
}

// === impl AuditLog ===

impl AuditLog {
    /// Until what was to be written down is.
    pub async fn flush(&self) {
        if let Some(audit) = &self.0 {
            audit.flush().await;
        }
    }
}

// === impl Api ===

impl Api {
    pub async fn build(config: Config) -> Result<Api, Error> {
        let address = config.listen;
        let listen = |source| Error::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let local_addr = listener.local_addr().map_err(listen)?;
        let settings = &config.settings;
        let front_proxy = settings.authentication.front_proxy.as_ref();
        let front = Front::new(config.tls, config.clients, front_proxy)?;
        let networks = settings.service_cluster_ip_ranges.clone();
        let standing = Standing { networks, port: local_addr.port() };
        let handler =
            Handler::with(config.root, config.keyspaces, config.agent_tls, config.pages, settings)?;
        Ok(Api { listener, local_addr, front, handler, standing })
    }

    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// With which to tell that we are about to leave.
    #[must_use]
    pub fn departure(&self) -> Departure {
        self.handler.shared.departure.clone()
    }

    /// With which certificates are replaced.
    #[must_use]
    pub fn front(&self) -> Front {
        self.front.clone()
    }

    /// With which to wait, at the very end, for the last events.
    #[must_use]
    pub fn audit_log(&self) -> AuditLog {
        AuditLog(self.handler.shared.audit.clone())
    }

    /// Serves until `drain` starts, then lets requests finish; watches end.
    pub async fn run(self, drain: Drain) {
        let room = Arc::new(Semaphore::new(limits::CONNECTIONS_MAX));
        self.keep_standing(&drain);
        self.keep_roles(&drain);
        self.handler.shared.flows.start();
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = drain.started() => return,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "accept");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                    continue;
                }
            };
            let Ok(permit) = room.clone().try_acquire_owned() else {
                tracing::warn!(max = limits::CONNECTIONS_MAX, "too many connections, one closed");
                continue;
            };
            let (front, handler, drain) = (self.front.clone(), self.handler.clone(), drain.clone());
            rt::spawn(TaskKind::Connection, "api connection", async move {
                if let Some((stream, mut connection)) = front.greet(stream).await {
                    connection.peer = Some(peer.ip());
                    serve(stream, connection, handler, drain).await;
                }
                drop(permit);
            });
        }
    }
}

// === impl Api, what a plain cluster has from the start ===

impl Api {
    fn keep_standing(&self, drain: &Drain) {
        let (shared, standing) = (self.handler.shared.clone(), self.standing.clone());
        if *shared.clusters.root() != Door::Cluster {
            return;
        }
        let drain = drain.clone();
        rt::spawn(TaskKind::Connection, "standing objects", async move {
            standing.keep(&shared.clusters, drain).await;
        });
    }

    fn keep_roles(&self, drain: &Drain) {
        let shared = self.handler.shared.clone();
        if *shared.clusters.root() != Door::Cluster || !shared.authz.keeps_roles() {
            return;
        }
        let drain = drain.clone();
        rt::spawn(TaskKind::Critical, "default roles", async move {
            reconcile::run(&shared.clusters, drain).await;
        });
    }
}

async fn serve(
    stream: TlsStream<TcpStream>,
    connection: Connection,
    handler: Handler,
    drain: Drain,
) {
    let caller = Arc::new(connection);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    let stream = Awaited::new(stream, limits::HEAD_TIMEOUT);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HEAD_TIMEOUT)
        .max_buf_size(limits::READ_BUFFER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits::STREAMS_MAX)
        .max_header_list_size(limits::HEAD_BYTES_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .keep_alive_interval(PING_EVERY);
    let service = service_fn(|request: http::Request<Incoming>| {
        let (handler, caller, drain) = (handler.clone(), caller.clone(), drain.clone());
        async move { Ok::<_, Infallible>(handler.receive(request, &caller, &drain).await) }
    });
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = drain.started() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection");
    }
}
