//! The process: listen, prove who is there, answer, drain.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{
        conn::auto::Builder,
        graceful::{GracefulShutdown, Watcher},
    },
};
use rt::{Drain, TaskKind};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use topology::UnitName;

use crate::{Books, Error, Peer, Trust, database::Database, http::Service};

/// Connections at once: proxies hold a pool each and few others come.
const CONNECTIONS_MAX: usize = 1024;

/// Longest handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest wait for a request's head, which includes the idle time before it.
/// Proxies let idle connections go after 10 s, so it is never we who close one
/// on which a request is about to be sent.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// Streams at once on one HTTP/2 connection, and what one may send ahead: a
/// whole body of the largest size.
const STREAMS_MAX: u32 = 256;
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;

/// Most that is buffered of an HTTP/1.1 connection's input: a head with room,
/// since bodies are read as they come.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

/// Requests under way when a drain starts have this long.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Pause after a failed accept: it is out of file descriptors, and asking
/// again at once would only burn time.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How peers are proven.
#[derive(Clone)]
pub enum Tls {
    /// For tests.
    Plaintext,
    /// Client certificates should be verified when shown
    /// ([`identity::ClientAuth::Optional`]): health checks show none.
    Mutual(Arc<rustls::ServerConfig>),
}

pub struct Config {
    pub unit: UnitName,
    /// Port 0 lets the system choose.
    pub listen: SocketAddr,
    pub tls: Tls,
    pub trust: Trust,
}

/// A ledger that listens.
pub struct Ledger {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    service: Service,
    books: Books,
}

// === impl Ledger ===

impl Ledger {
    pub async fn build(config: Config, database: Arc<dyn Database>) -> Result<Ledger, Error> {
        let Config { unit, listen, tls, trust } = config;
        let listener = TcpListener::bind(listen)
            .await
            .map_err(|source| Error::Listen { address: listen, source: Arc::new(source) })?;
        let books = Books::new(unit, database);
        let service = Service::new(books.clone(), trust);
        let tls = match tls {
            Tls::Plaintext => None,
            Tls::Mutual(config) => Some(TlsAcceptor::from(config)),
        };
        Ok(Ledger { listener, tls, service, books })
    }

    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }

    /// The books, for use in this process.
    #[must_use]
    pub fn books(&self) -> Books {
        self.books.clone()
    }

    /// Serves until the drain starts, then lets requests under way finish.
    pub async fn run(self, drain: Drain) {
        let Ledger { listener, tls, service, .. } = self;
        let graceful = GracefulShutdown::new();
        let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let (stream, _) = tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        tracing::warn!(%error, "accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                        continue;
                    }
                },
                () = drain.started() => break,
            };
            // Above the bound a connection is closed at once: the peer tries
            // another endpoint, which a queue here would keep it from.
            let Ok(permit) = connections.clone().try_acquire_owned() else { continue };
            let (tls, service, watcher) = (tls.clone(), service.clone(), graceful.watcher());
            rt::spawn(TaskKind::Connection, "ledger connection", async move {
                connection(stream, tls, service, watcher).await;
                drop(permit);
            });
        }
        drop(listener);
        if timeout(DRAIN_TIMEOUT, graceful.shutdown()).await.is_err() {
            tracing::warn!("requests were still under way at the end of the drain");
        }
    }
}

async fn connection(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    service: Service,
    watcher: Watcher,
) {
    // Payments are single small writes: waiting to fill a packet only adds time.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else { return serve(stream, Peer::Plaintext, service, watcher).await };
    let stream = match timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "handshake"),
        Err(_) => return tracing::debug!("handshake timed out"),
    };
    match identity::Peer::of_server_connection(stream.get_ref().1) {
        Ok(Some(peer)) => serve(stream, Peer::Known(peer), service, watcher).await,
        Ok(None) => serve(stream, Peer::Anonymous, service, watcher).await,
        Err(error) => tracing::warn!(%error, "read peer certificate"),
    }
}

async fn serve<S>(stream: S, peer: Peer, service: Service, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let peer = Arc::new(peer);
    let answer = service_fn(move |request| {
        let (service, peer) = (service.clone(), peer.clone());
        async move { Ok::<_, std::convert::Infallible>(service.handle(request, &peer).await) }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(BUFFER_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES);
    let served = builder.serve_connection(TokioIo::new(stream), answer).into_owned();
    if let Err(error) = watcher.watch(served).await {
        tracing::debug!(%error, "connection");
    }
}
