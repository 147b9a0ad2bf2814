//! What the API server asks an agent, over mutual TLS: logs, Pods, and what
//! clients do in them. Health and metrics are open to all.

mod answer;
mod logs;
mod pods;
mod query;
mod streams;

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

use crate::{Caller, metrics::Metrics, pod::Place};
use answer::{Answer, refuse, text};
use streams::Asked;

/// Connections at once: followers of logs, a few scrapes, some slack. Those that
/// were upgraded count by themselves.
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
    pub place: Place,
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
            let (tls, state, drain) = (self.tls.clone(), self.state.clone(), drain.clone());
            connections.spawn(async move {
                if let Err(error) = serve(stream, tls, state, drain).await {
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
    drain: Drain,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    // Keystrokes must not wait for each other.
    let _ = stream.set_nodelay(true);
    let stream = tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await??;
    let peer = Peer::of_server_connection(stream.get_ref().1)?;
    let Caller { namespace, service_account } = &state.caller;
    let trusted = peer.is_some_and(|peer| peer.is_service(namespace, service_account));
    let service = service_fn(|request| {
        let (state, drain) = (state.clone(), drain.clone());
        async move { Ok::<_, std::convert::Infallible>(answer(&state, trusted, request, drain).await) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await?;
    Ok(())
}

async fn answer(
    state: &Arc<State>,
    trusted: bool,
    request: Request<Incoming>,
    drain: Drain,
) -> Answer {
    let path = request.uri().path().to_owned();
    let parts: Vec<_> = path.trim_start_matches('/').split('/').collect();
    let streams = matches!(parts.as_slice(), ["exec" | "attach" | "portForward", ..]);
    if !streams && request.method() != Method::GET {
        return refuse(405, errors::AGENT_BAD_REQUEST, "only GET is served");
    }
    match path.as_str() {
        "/healthz" | "/livez" => return text("ok"),
        "/metrics" => return text(state.metrics.text()),
        _ => {}
    }
    if !trusted {
        return refuse(403, errors::AGENT_FORBIDDEN, "the caller is not the API server");
    }
    match parts.as_slice() {
        ["pods"] => answer::json(&state.pods.list()),
        ["containerLogs", namespace, pod, container] => {
            let query = request.uri().query().unwrap_or_default();
            logs::answer(state, namespace, pod, container, query)
        }
        ["exec", namespace, pod, uid, container] => {
            let asked = Asked { namespace, pod, uid: Some(uid) };
            streams::exec(state, &asked, container, request, drain).await
        }
        ["attach", namespace, pod, uid, container] => {
            let asked = Asked { namespace, pod, uid: Some(uid) };
            streams::attach(state, &asked, container, request, drain).await
        }
        ["portForward", namespace, pod, uid] => {
            let asked = Asked { namespace, pod, uid: Some(uid) };
            streams::forward(state, &asked, request, drain).await
        }
        _ => refuse(404, errors::AGENT_NOT_FOUND, "no such path"),
    }
}
