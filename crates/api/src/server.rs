//! The listener: TLS, who the caller is, HTTP/1.1 and HTTP/2.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use identity::Peer;
use rt::{Drain, TaskKind};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{
    caller::Caller,
    cluster::Clusters,
    config::Config,
    handler::{Handler, Shared},
    limits,
    logs::Agents,
    merged::Mergers,
    metrics::Metrics,
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
}

/// An API server, listening but not yet serving.
pub struct Api {
    listener: TcpListener,
    local_addr: SocketAddr,
    tls: TlsAcceptor,
    handler: Handler,
}

// === impl Handler ===

impl Handler {
    pub fn new(
        keyspaces: crate::Keyspaces,
        agent_tls: Option<Arc<rustls::ClientConfig>>,
        pages: rt::Pages,
    ) -> Handler {
        let clusters = Arc::new(Clusters::new(keyspaces));
        let shared = Shared {
            clusters: clusters.clone(),
            metrics: Arc::new(Metrics::default()),
            mergers: Mergers::new(clusters),
            agents: Agents::new(agent_tls),
            pages,
        };
        Handler { shared: Arc::new(shared) }
    }
}

// === impl Api ===

impl Api {
    pub async fn build(config: Config) -> Result<Api, Error> {
        let address = config.listen;
        let listen = |source| Error::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let local_addr = listener.local_addr().map_err(listen)?;
        let tls = TlsAcceptor::from(config.tls);
        let handler = Handler::new(config.keyspaces, config.agent_tls, config.pages);
        Ok(Api { listener, local_addr, tls, handler })
    }

    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Serves until `drain` starts, then lets requests finish; watches end.
    pub async fn run(self, drain: Drain) {
        let room = Arc::new(Semaphore::new(limits::CONNECTIONS_MAX));
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = drain.started() => return,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
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
            let (tls, handler, drain) = (self.tls.clone(), self.handler.clone(), drain.clone());
            rt::spawn(TaskKind::Connection, "api connection", async move {
                if let Some((stream, caller)) = greet(tls, stream).await {
                    serve(stream, caller, handler, drain).await;
                }
                drop(permit);
            });
        }
    }
}

/// The handshake, and who it was with.
async fn greet(tls: TlsAcceptor, stream: TcpStream) -> Option<(TlsStream<TcpStream>, Caller)> {
    // Small frames of watches must not wait for each other.
    let _ = stream.set_nodelay(true);
    let accepted = tokio::time::timeout(limits::HANDSHAKE_TIMEOUT, tls.accept(stream)).await;
    let stream = match accepted {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(%error, "TLS handshake");
            return None;
        }
        Err(_) => return None,
    };
    match Peer::of_server_connection(stream.get_ref().1) {
        Ok(peer) => Some((stream, caller(peer))),
        Err(error) => {
            tracing::info!(%error, "client certificate refused");
            None
        }
    }
}

/// Whom a verified certificate stands for.
fn caller(peer: Option<Peer>) -> Caller {
    match peer {
        None => Caller::anonymous(),
        Some(Peer { spiffe: Some(id), .. }) => Caller::process(&id),
        Some(Peer { common_name: Some(name), organizations, .. }) => {
            Caller::user(name, organizations)
        }
        Some(_) => Caller::anonymous(),
    }
}

async fn serve(stream: TlsStream<TcpStream>, caller: Caller, handler: Handler, drain: Drain) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
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
        async move { Ok::<_, Infallible>(handler.handle(request, &caller, &drain).await) }
    });
    let connection = builder.serve_connection(TokioIo::new(stream), service);
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
