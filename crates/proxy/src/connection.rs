//! Connections from users: HTTP/1.1 and HTTP/2 by prior knowledge, every wait
//! and size bounded, drained in a ladder.

use std::{
    cell::Cell, convert::Infallible, future::Future, io, net::SocketAddr, pin::pin, rc::Rc,
    time::Duration,
};

use hyper::{rt::Executor, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
};
use rt::Drain;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Notify,
    time::{sleep, timeout},
};

use crate::{config::Limits, relay::relay, worker::Worker};

/// After a failed accept: out of file descriptors, which takes a moment to pass.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// What one HTTP/2 stream may buffer each way; a connection adds these up.
const STREAM_WINDOW_BYTES: u32 = 64 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 256 << 10;

/// Runs hyper's own tasks on this thread.
#[derive(Clone, Copy)]
struct LocalExecutor;

/// Accepts until the drain starts, then finishes what was begun; what is left
/// at the drain timeout is cut off when the thread's runtime is dropped.
pub(crate) async fn serve(worker: Rc<Worker>, listener: TcpListener, drain: Drain) {
    let builder = Rc::new(builder(&worker.limits));
    let ended = Rc::new(Notify::new());
    loop {
        let accepted = tokio::select! {
            biased;
            () = drain.started() => break,
            accepted = listener.accept() => accepted,
        };
        admit(&worker, &builder, &ended, &drain, accepted).await;
    }
    // Whoever the kernel has connected already is served as well.
    while let Some(accepted) = backlog(&listener).await {
        admit(&worker, &builder, &ended, &drain, Ok(accepted)).await;
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
    builder: &Rc<auto::Builder<LocalExecutor>>,
    ended: &Rc<Notify>,
    drain: &Drain,
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
    let (worker, builder, drain) = (worker.clone(), builder.clone(), drain.clone());
    tokio::task::spawn_local(async move {
        let _open = open;
        if let Err(error) = carry(worker, &builder, stream, peer, drain).await {
            tracing::debug!(%peer, %error, "connection ended early");
        }
    });
}

async fn carry(
    worker: Rc<Worker>,
    builder: &auto::Builder<LocalExecutor>,
    stream: TcpStream,
    peer: SocketAddr,
    drain: Drain,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    stream.set_nodelay(true)?;
    // A user who stops reading would keep a ledger's connection busy with an
    // answer that goes nowhere; the kernel sees that before we could.
    #[cfg(target_os = "linux")]
    rustix::net::sockopt::set_tcp_user_timeout(
        &stream,
        u32::try_from(worker.limits.stall_timeout.as_millis()).unwrap_or(u32::MAX),
    )?;
    let begun = Cell::new(false);
    let head_timeout = worker.limits.head_timeout;
    let service = service_fn(|request| {
        begun.set(true);
        let answer = relay(worker.clone(), request, peer.ip());
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    // hyper's own timeout starts once it knows which protocol is spoken; who
    // says nothing at all must not stay either.
    let silent = async {
        sleep(head_timeout).await;
        if begun.get() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        biased;
        ended = connection.as_mut() => return ended,
        () = drain.started() => connection.as_mut().graceful_shutdown(),
        () = silent => return Err("no request came in time".into()),
    }
    connection.await
}

fn builder(limits: &Limits) -> auto::Builder<LocalExecutor> {
    let mut builder = auto::Builder::new(LocalExecutor);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_buf_size(limits.head_bytes_max)
        .max_headers(limits.headers_max);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(limits.head_timeout)
        .max_concurrent_streams(limits.streams_max)
        .max_header_list_size(u32::try_from(limits.head_bytes_max).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(STREAM_WINDOW_BYTES as usize);
    builder
}

/// One connection, for as long as it is open.
struct Open {
    worker: Rc<Worker>,
    ended: Rc<Notify>,
}

// === impl Open ===

impl Drop for Open {
    fn drop(&mut self) {
        self.worker.metrics.connections.sub(1);
        self.ended.notify_one();
    }
}

// === impl LocalExecutor ===

impl<F> Executor<F> for LocalExecutor
where
    F: Future + 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}
