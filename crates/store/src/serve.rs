//! Connections: accepted, secured, and driven to their end.

use std::{convert::Infallible, sync::Arc, sync::atomic::Ordering::Relaxed, time::Duration};

use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
};
use rt::{Drain, Gather, TaskKind};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_rustls::TlsAcceptor;

use crate::{access::Grant, route::Router};

/// Every process of a large estate with a few connections each.
const CONNECTIONS_MAX: usize = 4096;

/// A client that takes longer to agree on keys is not one of ours.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Streams of one connection. Our client opens one for each watch: kinds times
/// keyspaces, in the low hundreds for a large API server.
const STREAMS_MAX: u32 = 4096;

/// Bytes a client may have on the way to us in one stream: one largest request
/// and a half, so that it never stops in the middle of one.
const STREAM_WINDOW_BYTES: u32 = 2 * 1024 * 1024;
/// And in all its streams.
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// Answers waiting in one stream before its writer must wait.
const SEND_BUFFER_BYTES: usize = 256 * 1024;

/// Pings to clients that say nothing: a vanished one gives its watches back
/// within half a minute.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_ANSWER_MAX: Duration = Duration::from_secs(10);

/// Connections are given this long to finish what they are at.
const FINISH_TIMEOUT: Duration = Duration::from_secs(3);

/// After a failed accept (no file descriptors left), so that it is not tried
/// a million times a second.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Serves until the drain, then finishes under a deadline.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    router: Arc<Router>,
    drain: &Drain,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let graceful = GracefulShutdown::new();
    let (force, forced) = rt::drain::channel();
    while let Some((tcp, place)) = accept(&listener, &places, drain).await {
        let (tls, router, watcher) = (tls.clone(), router.clone(), graceful.watcher());
        let forced = forced.clone();
        rt::spawn(TaskKind::Connection, "connection", async move {
            let metrics = router.clone();
            metrics.metrics().connections.fetch_add(1, Relaxed);
            tokio::select! {
                () = connection(tcp, tls, router, watcher) => {}
                () = forced.started() => {}
            }
            metrics.metrics().connections.fetch_sub(1, Relaxed);
            drop(place);
        });
    }
    drop(listener);
    if tokio::time::timeout(FINISH_TIMEOUT, graceful.shutdown()).await.is_err() {
        tracing::info!("cutting connections that did not finish");
    }
    drop(forced);
    force.drain(FINISH_TIMEOUT).await;
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

async fn connection(
    tcp: TcpStream,
    tls: Option<TlsAcceptor>,
    router: Arc<Router>,
    watcher: hyper_util::server::graceful::Watcher,
) {
    // Small answers must not wait for more to send.
    let _ = tcp.set_nodelay(true);
    let Some(tls) = tls else {
        let grant = router.grant(None);
        return talk(tcp, router, grant, watcher).await;
    };
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(tcp)).await {
        Ok(Ok(tls)) => {
            let grant = router.grant(tls.get_ref().1.peer_certificates());
            talk(tls, router, grant, watcher).await;
        }
        Ok(Err(error)) => tracing::info!(%error, "connection refused: no agreement on TLS"),
        Err(_) => tracing::info!("connection refused: TLS handshake took too long"),
    }
}

async fn talk(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Arc<Router>,
    grant: Arc<Grant>,
    watcher: hyper_util::server::graceful::Watcher,
) {
    let service = service_fn(move |request| {
        let (router, grant) = (router.clone(), grant.clone());
        async move { Ok::<_, Infallible>(router.answer(request, &grant).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HANDSHAKE_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_ANSWER_MAX);
    let connection = builder.serve_connection(TokioIo::new(Gather::new(io)), service).into_owned();
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
