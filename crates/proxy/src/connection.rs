//! Connections from users: HTTP/1.1 and HTTP/2 by prior knowledge, every wait
//! and size bounded, drained in a ladder.

use std::{
    cell::Cell,
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    time::Duration,
};

use hop::{After, Bounds, Handler, Io, Own, Reply, Request, Stream, Unread};
use rt::Drain;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Notify,
    time::{sleep, timeout},
};

use crate::{refusal, relay::relay, worker::Worker};

/// After a failed accept: out of file descriptors, which takes a moment to pass.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Whoever has just connected is about to speak.
const FRESH_GRACE: Duration = Duration::from_secs(1);

/// What one HTTP/2 stream may buffer, as much as a body may have; a connection
/// adds these up.
const STREAM_WINDOW_BYTES: u32 = 64 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 256 << 10;

/// A user's connection.
struct User {
    worker: Rc<Worker>,
    peer: IpAddr,
}

/// Accepts until the drain starts, then finishes what was begun; what is left
/// at the drain timeout is cut off when the thread's runtime is dropped.
pub(crate) async fn serve(worker: Rc<Worker>, listener: TcpListener, drain: Drain) {
    let ended = Rc::new(Notify::new());
    loop {
        let accepted = tokio::select! {
            biased;
            () = drain.started() => break,
            accepted = listener.accept() => accepted,
        };
        admit(&worker, &ended, accepted).await;
    }
    worker.drain();
    // Whoever the kernel has connected already is served as well.
    while let Some(accepted) = backlog(&listener).await {
        admit(&worker, &ended, Ok(accepted)).await;
    }
    drop(listener);
    let all_ended = async {
        while worker.metrics.connections.get() > 0 {
            ended.notified().await;
        }
    };
    if timeout(worker.limits.drain_timeout, all_ended).await.is_err() {
        let connections = worker.metrics.connections.get();
        tracing::warn!(connections, "drain timed out; cutting connections off");
    }
}

async fn backlog(listener: &TcpListener) -> Option<(TcpStream, SocketAddr)> {
    timeout(Duration::ZERO, listener.accept()).await.ok()?.ok()
}

async fn admit(
    worker: &Rc<Worker>,
    ended: &Rc<Notify>,
    accepted: io::Result<(TcpStream, SocketAddr)>,
) {
    let (stream, peer) = match accepted {
        Ok(accepted) => accepted,
        Err(error) => {
            tracing::warn!(%error, "cannot accept a connection");
            sleep(ACCEPT_RETRY).await;
            return;
        }
    };
    if worker.metrics.connections.get() >= worker.limits.connections_max as u64 {
        worker.metrics.connections_refused.add(1);
        return;
    }
    worker.metrics.connections.add(1);
    let open = Open { worker: worker.clone(), ended: ended.clone() };
    let worker = worker.clone();
    tokio::task::spawn_local(async move {
        let _open = open;
        if let Err(error) = carry(worker, stream, peer).await {
            tracing::debug!(%peer, %error, "connection ended early");
        }
    });
}

async fn carry(worker: Rc<Worker>, stream: TcpStream, peer: SocketAddr) -> Result<(), hop::Ended> {
    stream.set_nodelay(true)?;
    // A user who stops reading would keep a ledger's connection busy with an
    // answer that goes nowhere; the kernel sees that before we could.
    #[cfg(target_os = "linux")]
    rustix::net::sockopt::set_tcp_user_timeout(
        &stream,
        u32::try_from(worker.limits.stall_timeout.as_millis()).unwrap_or(u32::MAX),
    )
    .map_err(io::Error::from)?;
    let user = Rc::new(User { worker, peer: peer.ip() });
    hop::serve(user, Io::new(Stream::Plain(stream)), None).await
}

/// One connection, for as long as it is open.
struct Open {
    worker: Rc<Worker>,
    ended: Rc<Notify>,
}

// === impl User ===

impl Handler for User {
    type Tunnel = Infallible;

    fn limits(&self) -> hop::Limits {
        let limits = &self.worker.limits;
        hop::Limits {
            head: Bounds { bytes: limits.head_bytes_max, headers: limits.headers_max },
            head_timeout: limits.head_timeout,
            idle_timeout: limits.head_timeout,
            stall_timeout: limits.stall_timeout,
            streams: limits.streams_max,
            stream_window_bytes: STREAM_WINDOW_BYTES,
            connection_window_bytes: CONNECTION_WINDOW_BYTES,
        }
    }

    fn draining(&self) -> &Cell<bool> {
        &self.worker.draining
    }

    async fn drained(&self) {
        self.worker.drained().await;
    }

    async fn idle_over(&self, fresh: bool) {
        self.worker.drained().await;
        if fresh {
            sleep(FRESH_GRACE).await;
        }
    }

    async fn answer(&self, request: Request<'_>, reply: Reply<'_>) -> After<Infallible> {
        relay(&self.worker, request, reply, self.peer).await
    }

    fn refuse(&self, unread: Unread) -> Option<Own> {
        match unread {
            Unread::Malformed { status, why } => {
                tracing::debug!(peer = %self.peer, why, "no request");
                Some(refusal::bare(status))
            }
            // Whoever says nothing is told nothing.
            Unread::TooSlow => None,
        }
    }

    fn flooded(&self) {}

    async fn tunnel(&self, _: Io, never: Infallible) -> io::Result<()> {
        match never {}
    }
}

// === impl Open ===

impl Drop for Open {
    fn drop(&mut self) {
        self.worker.metrics.connections.sub(1);
        self.ended.notify_one();
    }
}
