//! Connections: accepted, secured, and driven to their end.

use std::{convert::Infallible, sync::Arc, sync::atomic::Ordering::Relaxed, time::Duration};

use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{
        conn::auto,
        graceful::{GracefulShutdown, Watcher},
    },
};
use rt::{Drain, Gather, TaskKind};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_rustls::TlsAcceptor;

use crate::{access::Grant, counted::Counted, route::Router};

/// Every process of a large estate with a few connections each.
const CONNECTIONS_MAX: usize = 4096;

/// A client that takes longer to agree on keys is not one of ours.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes a client may have on the way to us in one stream: one largest request
/// and a half, so that it never stops in the middle of one.
const STREAM_WINDOW_BYTES: u32 = 2 * 1024 * 1024;
/// And in all its streams.
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// Headers of one request: a token, a keyspace, and what proxies add.
const HEAD_BYTES_MAX: u32 = 64 * 1024;

/// Answers waiting in one stream before its writer must wait.
const SEND_BUFFER_BYTES: usize = 256 * 1024;

/// Connections are given this long to finish what they are at.
const FINISH_TIMEOUT: Duration = Duration::from_secs(3);

/// After a failed accept (no file descriptors left), so that it is not tried
/// a million times a second.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// One address, and what is served there.
pub(crate) struct Door {
    pub listener: TcpListener,
    pub kind: DoorKind,
}

#[derive(Clone)]
pub(crate) enum DoorKind {
    /// Everything, with TLS or, if that was said, without.
    Clients(Option<TlsAcceptor>),
    /// Health and metrics only.
    Pages,
}

/// How connections are kept.
#[derive(Clone, Copy)]
pub(crate) struct Manners {
    pub ping_every: Duration,
    pub ping_answer_max: Duration,
}

/// Serves until the drain, then finishes under a deadline.
pub(crate) async fn serve(doors: Vec<Door>, router: Arc<Router>, manners: Manners, drain: &Drain) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let graceful = GracefulShutdown::new();
    let (force, forced) = rt::drain::channel();
    let doors = doors.into_iter().map(|door| {
        let open = Open { router: router.clone(), manners, forced: forced.clone() };
        attend(door, open, &places, &graceful, drain)
    });
    futures::future::join_all(doors).await;
    if tokio::time::timeout(FINISH_TIMEOUT, graceful.shutdown()).await.is_err() {
        tracing::info!("cutting connections that did not finish");
    }
    drop(forced);
    force.drain(FINISH_TIMEOUT).await;
}

/// What every connection of a door needs.
#[derive(Clone)]
struct Open {
    router: Arc<Router>,
    manners: Manners,
    forced: Drain,
}

/// Lets connections in at one door until the drain.
async fn attend(
    Door { listener, kind }: Door,
    open: Open,
    places: &Arc<Semaphore>,
    graceful: &GracefulShutdown,
    drain: &Drain,
) {
    while let Some((tcp, place)) = accept(&listener, places, drain).await {
        let (kind, open, watcher) = (kind.clone(), open.clone(), graceful.watcher());
        rt::spawn(TaskKind::Connection, "connection", async move {
            let (router, forced) = (open.router.clone(), open.forced.clone());
            router.metrics().connections.fetch_add(1, Relaxed);
            tokio::select! {
                () = connection(tcp, kind, open, watcher) => {}
                () = forced.started() => {}
            }
            router.metrics().connections.fetch_sub(1, Relaxed);
            drop(place);
        });
    }
}

/// The next connection and its place, or nothing once the drain has begun.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    drain: &Drain,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let next = async {
        let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
        loop {
            match listener.accept().await {
                Ok((tcp, _)) => return (tcp, place),
                Err(error) => {
                    tracing::warn!(%error, "connection not accepted");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    };
    tokio::select! {
        accepted = next => Some(accepted),
        () = drain.started() => None,
    }
}

async fn connection(tcp: TcpStream, kind: DoorKind, open: Open, watcher: Watcher) {
    // Small answers must not wait for more to send.
    let _ = tcp.set_nodelay(true);
    let tls = match kind {
        DoorKind::Clients(Some(tls)) => tls,
        DoorKind::Clients(None) => {
            let grant = open.router.grant(None);
            return talk(tcp, Some(grant), open, watcher).await;
        }
        DoorKind::Pages => return talk(tcp, None, open, watcher).await,
    };
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(tcp)).await {
        Ok(Ok(tls)) => {
            let grant = open.router.grant(tls.get_ref().1.peer_certificates());
            talk(tls, Some(grant), open, watcher).await;
        }
        Ok(Err(error)) => tracing::info!(%error, "connection refused: no agreement on TLS"),
        Err(_) => tracing::info!("connection refused: TLS handshake took too long"),
    }
}

/// Without a grant there are only pages to be had.
async fn talk(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    grant: Option<Arc<Grant>>,
    Open { router, manners, .. }: Open,
    watcher: Watcher,
) {
    let traffic = router.metrics().traffic.clone();
    let streams_max = router.limits().streams;
    let service = service_fn(move |request| {
        let (router, grant) = (router.clone(), grant.clone());
        async move {
            Ok::<_, Infallible>(match grant {
                Some(grant) => router.answer(request, &grant).await,
                None => router.page(&request).await,
            })
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HANDSHAKE_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(streams_max)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .max_header_list_size(HEAD_BYTES_MAX)
        .keep_alive_interval(manners.ping_every)
        .keep_alive_timeout(manners.ping_answer_max);
    let io = TokioIo::new(Gather::new(Counted::new(io, traffic)));
    let connection = builder.serve_connection(io, service).into_owned();
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "connection ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_drain_is_noticed_also_when_all_places_are_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let none_left = Arc::new(Semaphore::new(0));
        let (trigger, drain) = rt::drain::channel();
        let accepting = accept(&listener, &none_left, &drain);
        tokio::pin!(accepting);
        assert!(futures::poll!(&mut accepting).is_pending());
        let draining = tokio::spawn(trigger.drain(Duration::ZERO));
        let accepted = tokio::time::timeout(Duration::from_secs(20), accepting).await;
        assert!(accepted.expect("noticed").is_none());
        draining.await.expect("drained");
    }
}
