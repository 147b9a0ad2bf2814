//! The least that can stand between a client and a server, as a ceiling: a
//! thread for each core, each with a listener of its own on the same port, that
//! copies bytes or passes requests on by hyper, and knows nothing of either.

use std::{cell::RefCell, collections::VecDeque, net::SocketAddr, sync::Arc};

use anyhow::Context;
use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use identity::{ClientAuth, Credentials, Files};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

use super::Protocol;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayKind {
    Bytes,
    Hyper,
}

#[derive(Clone, Debug)]
pub struct Relay {
    pub kind: RelayKind,
    pub protocol: Protocol,
    pub listen: SocketAddr,
    pub to: SocketAddr,
    pub workers: usize,
    /// With the authority that clients' certificates must come from, if they
    /// must show one.
    pub tls: Option<(Files, bool)>,
}

const BACKLOG: u32 = 4096;

/// As much as a connection copies at once, each way.
const COPY_BYTES: usize = 16 * 1024;

thread_local! {
    /// This thread's connections to the origin that nobody uses, the one that
    /// has rested longest first.
    static IDLE: RefCell<VecDeque<http1::SendRequest<Incoming>>> =
        const { RefCell::new(VecDeque::new()) };
    /// HTTP/2 takes all of a thread's requests over one.
    static SHARED: RefCell<Option<http2::SendRequest<Incoming>>> = const { RefCell::new(None) };
}

/// Serves until the process is ended.
pub fn run_relay(relay: &Relay) -> anyhow::Result<()> {
    let relay = Arc::new(relay.clone());
    let tls = relay.tls.as_ref().map(|(files, mutual)| server(files, *mutual, relay.protocol));
    let tls = tls.transpose().context("read certificates")?.map(TlsAcceptor::from);
    let worker = |relay: Arc<Relay>, tls: Option<TlsAcceptor>| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(serve(relay, tls))
    };
    let more = (1..relay.workers).map(|_| {
        let (relay, tls) = (relay.clone(), tls.clone());
        std::thread::spawn(move || worker(relay, tls))
    });
    let more: Vec<_> = more.collect();
    worker(relay, tls)?;
    more.into_iter().try_for_each(|thread| thread.join().expect("no worker panics"))
}

fn server(files: &Files, mutual: bool, protocol: Protocol) -> anyhow::Result<Arc<ServerConfig>> {
    let credentials = Credentials::load(files)?;
    let auth = if mutual { ClientAuth::Required } else { ClientAuth::Optional };
    let alpn: Vec<&[u8]> = protocol.alpn().map(str::as_bytes).into_iter().collect();
    Ok(identity::server_config(&credentials, auth, &alpn)?)
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn serve(relay: Arc<Relay>, tls: Option<TlsAcceptor>) -> anyhow::Result<()> {
    let listener = listen(relay.listen)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (relay, tls) = (relay.clone(), tls.clone());
        rt::spawn(rt::TaskKind::Connection, "connection", async move {
            // Clients come and go.
            let _ = match tls {
                None => pass(stream, &relay).await,
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => pass(stream, &relay).await,
                    Err(error) => Err(error.into()),
                },
            };
        });
    }
}

async fn pass(
    mut stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    relay: &Relay,
) -> anyhow::Result<()> {
    let to = relay.to;
    match relay.kind {
        RelayKind::Bytes => {
            let mut origin = connect(to).await?;
            let copied = tokio::io::copy_bidirectional_with_sizes;
            copied(&mut stream, &mut origin, COPY_BYTES, COPY_BYTES).await?;
            origin.shutdown().await?;
        }
        RelayKind::Hyper if relay.protocol.is_http2() => {
            let service = service_fn(move |request| by_http2(request, to));
            hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await?;
        }
        RelayKind::Hyper => {
            let service = service_fn(move |request| by_http1(request, to));
            hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await?;
        }
    }
    Ok(())
}

async fn connect(to: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn by_http1(
    request: Request<Incoming>,
    to: SocketAddr,
) -> anyhow::Result<Response<Incoming>> {
    let idle = IDLE.with_borrow_mut(|idle| match idle.front() {
        Some(sender) if sender.is_ready() => idle.pop_front(),
        _ => None,
    });
    let mut sender = match idle {
        Some(sender) => sender,
        None => {
            let (sender, connection) = http1::handshake(TokioIo::new(connect(to).await?)).await?;
            rt::spawn(rt::TaskKind::Connection, "upstream", connection);
            sender
        }
    };
    let response = sender.send_request(request).await?;
    // Ready again once the body is through; until then others go first.
    IDLE.with_borrow_mut(|idle| idle.push_back(sender));
    Ok(response)
}

async fn by_http2(
    request: Request<Incoming>,
    to: SocketAddr,
) -> anyhow::Result<Response<Incoming>> {
    let shared = SHARED.with_borrow(Clone::clone);
    let mut sender = match shared.filter(|sender| !sender.is_closed()) {
        Some(sender) => sender,
        None => {
            let io = TokioIo::new(connect(to).await?);
            let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
            rt::spawn(rt::TaskKind::Connection, "upstream", connection);
            SHARED.replace(Some(sender.clone()));
            sender
        }
    };
    sender.ready().await?;
    Ok(sender.send_request(request).await?)
}
