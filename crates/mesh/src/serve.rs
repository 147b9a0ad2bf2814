//! From an accepted connection to the protocol it speaks.

use std::{
    io,
    net::SocketAddr,
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use hop::{Io, Stream};
use rpc::{Detected, Protocol as Spoken, detect};
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpStream},
    sync::oneshot,
    time::{Instant, sleep, timeout, timeout_at},
};

use crate::{
    call::{self, frame::Wire},
    config::model::Protocol,
    exchange::Client,
    handover::{Described, Moving},
    intercept,
    origin::Origin,
    plan::Listener,
    route::Route,
    tcp,
    tls::Why,
    worker::Worker,
};

/// After a failed accept: out of file descriptors, which takes a moment to pass.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// What the first bytes of a connection begin, where all is taken.
enum First {
    Call(Wire),
    Http,
    /// Or what no one has said: `tls` has a name to route by.
    Bytes {
        tls: bool,
    },
}

/// A connection that counts against the limit.
struct Counted(Rc<Worker>);

/// Accepts until told to stop, or until the drain.
pub(crate) async fn listen(
    worker: Rc<Worker>,
    name: Rc<str>,
    listener: std::net::TcpListener,
    stop: oneshot::Receiver<()>,
) {
    let listener = TcpListener::from_std(listener).expect("built non-blocking");
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            biased;
            () = worker.drained() => break,
            _ = stop.as_mut() => break,
            accepted = listener.accept() => accepted,
        };
        admit(&worker, &name, accepted).await;
    }
    if worker.is_succeeded() {
        // Whoever still waits in the queue is the successor's.
        return;
    }
    // Whoever the kernel has connected already is served as well.
    while let Ok(Ok(accepted)) = timeout(Duration::ZERO, listener.accept()).await {
        admit(&worker, &name, Ok(accepted)).await;
    }
}

async fn admit(worker: &Rc<Worker>, name: &Rc<str>, accepted: io::Result<(TcpStream, SocketAddr)>) {
    let (stream, peer) = match accepted {
        Ok(accepted) => accepted,
        Err(error) => {
            tracing::warn!(%error, "cannot accept a connection");
            return sleep(ACCEPT_RETRY).await;
        }
    };
    let Some(counted) = Counted::new(worker) else { return };
    let (worker, name) = (worker.clone(), name.clone());
    tokio::task::spawn_local(async move {
        let _counted = counted;
        if let Err(error) = carry(worker, name, stream, peer).await {
            tracing::debug!(%peer, %error, "connection ended early");
        }
    });
}

/// Goes on with a connection of the proxy before, which has set its options and
/// found it to be within the limit.
pub(crate) fn take_over(worker: &Rc<Worker>, Moving { described, stream }: Moving) {
    let Described { listener, wire, client: address, destination } = described;
    worker.connections.fetch_add(1, Relaxed);
    let counted = Counted::of(worker);
    let worker = worker.clone();
    tokio::task::spawn_local(async move {
        let _counted = counted;
        let carried = async {
            let io = Io::new(Stream::Plain(TcpStream::from_std(stream)?));
            let client = Client { address, secure: false, peer: None, destination };
            call::serve(worker, Rc::from(listener), client, io, wire).await
        };
        if let Err(error) = carried.await {
            tracing::debug!(peer = %address, %error, "connection ended early");
        }
    });
}

async fn carry(
    worker: Rc<Worker>,
    name: Rc<str>,
    mut stream: TcpStream,
    peer: SocketAddr,
) -> io::Result<()> {
    let plan = worker.plan();
    let Some(at) = plan.listener(&name) else { return Ok(()) };
    let listener: Arc<Listener> = plan.shared.listeners[at].clone();
    let limits = &plan.shared.config.limits;
    let (patience, stall) = (limits.head_timeout.0, limits.stall_timeout.0);
    drop(plan);
    stream.set_nodelay(true)?;
    // Whom the kernel cannot reach any more is not waited for.
    rustix::net::sockopt::set_tcp_user_timeout(
        &stream,
        u32::try_from(stall.as_millis()).unwrap_or(u32::MAX),
    )?;
    let original = |how| intercept::original(&stream, how, listener.address);
    let destination = match listener.intercept.map(original).transpose() {
        Ok(destination) => destination,
        Err(error) => {
            worker.metrics.malformed.add(1);
            return Err(error);
        }
    };
    let mut client = Client { address: peer, secure: false, peer: None, destination };
    if listener.proxy_protocol {
        let origin = timeout(patience, origin(&mut stream)).await;
        match origin.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(origin) => client.address = origin.unwrap_or(peer),
            Err(error) => {
                worker.metrics.malformed.add(1);
                return Err(error);
            }
        }
    }
    let (stream, alpn) = match &listener.tls {
        None => (Stream::Plain(stream), None),
        Some(tls) => {
            let (stream, proven) = match Box::pin(tls.accept(stream, patience)).await {
                Ok(accepted) => accepted,
                Err(error) => {
                    let why = Why::of(&error);
                    worker.metrics.handshakes_failed.add(why);
                    if let Some(more) = tls.seldom.may(Instant::now()) {
                        let listener = &*name;
                        tracing::warn!(listener, %peer, why = why.name(), %error, more, "no handshake of TLS");
                    }
                    return Err(error);
                }
            };
            client.secure = true;
            client.peer = proven.map(Rc::new);
            let alpn = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
            (Stream::Accepted(Box::new(stream)), alpn)
        }
    };
    let mut io = Io::new(stream);
    match listener.protocol {
        Protocol::Tcp => Box::pin(tcp::serve(worker, &name, &client, io, false)).await,
        Protocol::TlsPassthrough => Box::pin(tcp::serve(worker, &name, &client, io, true)).await,
        Protocol::Bolt => Box::pin(call::serve(worker, name, client, io, Wire::Bolt)).await,
        Protocol::Dubbo => Box::pin(call::serve(worker, name, client, io, Wire::Dubbo)).await,
        Protocol::Http => http(worker, name, client, io, alpn.as_deref()).await,
        Protocol::Auto => match spoken(&worker, &listener, &mut io).await? {
            First::Call(wire) => Box::pin(call::serve(worker, name, client, io, wire)).await,
            First::Http => http(worker, name, client, io, alpn.as_deref()).await,
            First::Bytes { tls } => Box::pin(tcp::serve(worker, &name, &client, io, tls)).await,
        },
    }
}

async fn http(
    worker: Rc<Worker>,
    listener: Rc<str>,
    client: Client,
    io: Io,
    alpn: Option<&[u8]>,
) -> io::Result<()> {
    let origin = Rc::new(Origin { worker, listener, client });
    hop::serve(origin, io, alpn).await.map_err(io::Error::other)
}

/// Whom the balancer in front says the connection is from.
async fn origin(stream: &mut TcpStream) -> io::Result<Option<SocketAddr>> {
    let mut bytes = vec![0; rpc::proxy_protocol::NOTES_BYTES_MAX + 256];
    let mut seen = 0;
    loop {
        // Looked at, not taken: what follows may be TLS.
        let now = stream.peek(&mut bytes).await?;
        match rpc::proxy_protocol::read(&bytes[..now]).map_err(io::Error::other)? {
            Some((origin, length)) => {
                stream.read_exact(&mut bytes[..length]).await?;
                return Ok(origin.addresses.map(|(from, _)| from));
            }
            None if now == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            // More of it has not come yet, and readiness would not tell.
            None if now == seen => sleep(Duration::from_millis(5)).await,
            None => seen = now,
        }
    }
}

/// What the client speaks, by its first bytes. One that has connected for later
/// says nothing for as long as it may idle, or until the listener's time for it
/// is over.
async fn spoken(worker: &Worker, listener: &Listener, io: &mut Io) -> io::Result<First> {
    let (patience, idle) = {
        let plan = worker.plan();
        let limits = &plan.shared.config.limits;
        (limits.head_timeout.0, limits.idle_timeout.0)
    };
    let carries_bytes = listener.routes.iter().any(Route::is_of_bytes);
    let given_up = listener.detect_timeout.map(|time| Instant::now() + time);
    let mut until = Instant::now() + idle;
    loop {
        match detect(&io.input) {
            Detected::Is(Spoken::Bolt) => return Ok(First::Call(Wire::Bolt)),
            Detected::Is(Spoken::Dubbo) => return Ok(First::Call(Wire::Dubbo)),
            Detected::Is(Spoken::Http1 | Spoken::Http2) => return Ok(First::Http),
            Detected::Is(Spoken::Unknown) if carries_bytes => {
                return Ok(First::Bytes { tls: false });
            }
            Detected::Is(Spoken::Tls) if carries_bytes => return Ok(First::Bytes { tls: true }),
            Detected::Is(other) => {
                worker.metrics.malformed.add(1);
                return Err(io::Error::other(format!("{other:?} is not spoken here")));
            }
            Detected::NeedMore => {}
        }
        let read = async {
            tokio::select! {
                biased;
                read = std::future::poll_fn(|cx| io.poll_fill(cx)) => read,
                () = worker.idle_over(true) => Ok(0),
            }
        };
        match timeout_at(given_up.unwrap_or(until), read).await {
            Ok(Ok(1..)) => until = Instant::now() + patience,
            Ok(Ok(0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(Err(error)) => return Err(error),
            Err(_) if given_up.is_some() => return Ok(First::Bytes { tls: false }),
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

// === impl Counted ===

impl Counted {
    fn new(worker: &Rc<Worker>) -> Option<Counted> {
        let max = worker.plan().shared.config.limits.connections;
        if worker.connections.fetch_add(1, Relaxed) >= max {
            worker.connections.fetch_sub(1, Relaxed);
            worker.metrics.connections_refused.add(1);
            return None;
        }
        Some(Counted::of(worker))
    }

    /// One that is among the worker's connections already.
    fn of(worker: &Rc<Worker>) -> Counted {
        worker.metrics.connections.add(1);
        Counted(worker.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Relaxed);
        self.0.metrics.connections_ended.add(1);
    }
}
