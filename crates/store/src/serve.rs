//! Connections: accepted, secured, and driven to their end.

use std::{convert::Infallible, sync::Arc, sync::atomic::Ordering::Relaxed, time::Duration};

use bytes::BytesMut;
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

use crate::{
    access::Grant,
    counted::Counted,
    desk::Desk,
    greeting::{self, Begun, Tongue},
    route::Router,
};

/// Every process of a large estate with a few connections each.
const CONNECTIONS_MAX: usize = 4096;

/// A client that takes longer to agree on keys is not one of ours.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes a client may have on the way to us in one stream: one largest request
/// and a half, so that it never stops in the middle of one.
const STREAM_WINDOW_BYTES: u32 = 2 * 1024 * 1024;
/// And in all its streams.
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// A client that takes none of its answers for so long is not coming back for
/// them.
const STALL_MAX: Duration = Duration::from_secs(300);

/// Written at once to a connection at most: beyond it, nothing more is read
/// from it either.
const OUTPUT_BYTES_MAX: usize = 256 * 1024;

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
    let (finish, finishing) = rt::drain::channel();
    let (force, forced) = rt::drain::channel();
    let doors = doors.into_iter().map(|door| {
        let (finishing, forced) = (finishing.clone(), forced.clone());
        let open = Open { router: router.clone(), manners, finishing, forced };
        attend(door, open, &places, &graceful, drain)
    });
    futures::future::join_all(doors).await;
    drop(finishing);
    let over_http1 = tokio::time::timeout(FINISH_TIMEOUT, graceful.shutdown());
    let (over_http1, over_http2) = tokio::join!(over_http1, finish.drain(FINISH_TIMEOUT));
    if over_http1.is_err() || over_http2 == rt::drain::Drained::TimedOut {
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
    /// Asks for no more, and is held by who is not finished yet.
    finishing: Drain,
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
    open: Open,
    watcher: Watcher,
) {
    let mut io = Counted::new(io, open.router.metrics().traffic.clone());
    let mut input = BytesMut::new();
    let greeted = tokio::time::timeout(HANDSHAKE_TIMEOUT, greeting::tongue(&mut io, &mut input));
    let greeted = tokio::select! {
        greeted = greeted => greeted,
        () = open.finishing.started() => return,
    };
    match greeted {
        Ok(Ok(Tongue::Http2)) => talk_http2(io, input, grant, open).await,
        Ok(Ok(Tongue::Http1)) => talk_http1(Begun { input, io }, grant, open, watcher).await,
        Ok(Ok(Tongue::Neither)) => tracing::debug!("connection ended: it spoke no HTTP"),
        Ok(Err(error)) => tracing::debug!(%error, "connection ended before it began"),
        Err(_) => tracing::debug!("connection ended: nothing was said"),
    }
}

async fn talk_http2(
    io: impl AsyncRead + AsyncWrite + Unpin,
    input: BytesMut,
    grant: Option<Arc<Grant>>,
    Open { router, manners, finishing, .. }: Open,
) {
    let manners = http2::Manners {
        limits: http2::Limits {
            streams: router.limits().streams,
            stream_window_bytes: STREAM_WINDOW_BYTES,
            connection_window_bytes: CONNECTION_WINDOW_BYTES,
            head_bytes: HEAD_BYTES_MAX,
            output_bytes: OUTPUT_BYTES_MAX,
        },
        ping_every: manners.ping_every,
        ping_answer_max: manners.ping_answer_max,
        stall_max: STALL_MAX,
        send_buffer_bytes: SEND_BUFFER_BYTES,
    };
    let desk = Arc::new(Desk { router, grant });
    let served = http2::drive(io, input, desk, manners, finishing.started()).await;
    if let Err(error) = served {
        tracing::debug!(%error, "connection ended");
    }
}

async fn talk_http1(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    grant: Option<Arc<Grant>>,
    Open { router, .. }: Open,
    watcher: Watcher,
) {
    let service = service_fn(move |request| {
        let (router, grant) = (router.clone(), grant.clone());
        async move {
            Ok::<_, Infallible>(match grant {
                Some(grant) => router.answer(request, &grant).await,
                None => router.page(request).await,
            })
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new()).http1_only();
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HANDSHAKE_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX as usize);
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
