//! What the API server asks an agent, over mutual TLS: logs and Pods. Health and
//! metrics are open to all.

mod answer;
mod logs;
mod pods;

pub(crate) use pods::Pods;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use http::{Method, Request};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use identity::Peer;
use rt::Drain;
use runtime::Runtime;
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use crate::{Caller, metrics::Metrics};
use answer::{Answer, refuse, text};

/// Connections at once: followers of logs, a few scrapes, some slack.
const CONNECTIONS_MAX: usize = 64;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// For a request's head; also how long an idle connection is kept.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// After accept fails for want of files, until the next try.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug, thiserror::Error)]
#[error("{}: could not listen on {address}: {source}. {}", errors::AGENT_LISTEN, errors::AGENT_LISTEN.remedy())]
pub struct ListenError {
    address: SocketAddr,
    source: std::io::Error,
}

pub(crate) struct Server {
    listener: TcpListener,
    address: SocketAddr,
    tls: TlsAcceptor,
    state: Arc<State>,
}

pub(crate) struct State {
    pub caller: Caller,
    pub runtime: Arc<Runtime>,
    pub pods: Pods,
    pub metrics: Arc<Metrics>,
}

// === impl Server ===

impl Server {
    pub(crate) async fn bind(
        address: SocketAddr,
        tls: Arc<ServerConfig>,
        state: State,
    ) -> Result<Server, ListenError> {
        let failed = |source| ListenError { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Server { listener, address, tls: tls.into(), state: Arc::new(state) })
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Answers until the drain. Readers of logs are cut off then: they follow a
    /// process that may end with us, and can ask again.
    pub(crate) async fn run(self, drain: Drain) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                _ = connections.join_next(), if !connections.is_empty() => continue,
                () = drain.started() => return,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "could not accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(place) = places.clone().try_acquire_owned() else { continue };
            let (tls, state) = (self.tls.clone(), self.state.clone());
            connections.spawn(async move {
                if let Err(error) = serve(stream, tls, state).await {
                    tracing::debug!(%error, "a connection ended badly");
                }
                drop(place);
            });
        }
    }
}

async fn serve(
    stream: TcpStream,
    tls: TlsAcceptor,
    state: Arc<State>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let stream = tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await??;
    let peer = Peer::of_server_connection(stream.get_ref().1)?;
    let Caller { namespace, service_account } = &state.caller;
    let trusted = peer.is_some_and(|peer| peer.is_service(namespace, service_account));
    let service = service_fn(|request| {
        let state = state.clone();
        async move { Ok::<_, std::convert::Infallible>(answer(&state, trusted, request).await) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await?;
    Ok(())
}

async fn answer(state: &Arc<State>, trusted: bool, request: Request<Incoming>) -> Answer {
    let path = request.uri().path();
    if request.method() != Method::GET {
        return refuse(405, errors::AGENT_BAD_REQUEST, "only GET is served");
    }
    match path {
        "/healthz" | "/livez" => return text("ok"),
        "/metrics" => return text(state.metrics.text()),
        _ => {}
    }
    if !trusted {
        return refuse(403, errors::AGENT_FORBIDDEN, "the caller is not the API server");
    }
    if path == "/pods" {
        return answer::json(&state.pods.list());
    }
    let query = request.uri().query().unwrap_or_default();
    let parts: Vec<_> = path.trim_start_matches('/').split('/').collect();
    match parts.as_slice() {
        ["containerLogs", namespace, pod, container] => {
            logs::answer(state, namespace, pod, container, query)
        }
        _ => refuse(404, errors::AGENT_NOT_FOUND, "no such path"),
    }
}
