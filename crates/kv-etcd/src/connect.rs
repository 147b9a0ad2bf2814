//! The connection: TCP, or TLS with a client certificate, made by us so that
//! one `rustls` configuration serves every protocol of the process.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use http::Uri;
use hyper_util::rt::TokioIo;
use kv::Error;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Channel, Endpoint};
use tower_service::Service;

/// Time to reach the store and agree on keys. A paused store accepts TCP (its
/// kernel does) and then says nothing; this is when we stop believing.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// One ping in this time while nothing else moves: 0.2 packets a second and
/// connection cost nothing, and detection stays within seconds.
pub const PING_EVERY: Duration = Duration::from_secs(5);
/// A store that is alive answers a ping in microseconds; three seconds outlast
/// a long fsync or a swapped-out process.
pub const PING_ANSWER_MAX: Duration = Duration::from_secs(3);

/// What the store may send in one stream before somebody reads it, and so what
/// an unread watch costs at most. A list of megabytes takes some round trips.
const STREAM_WINDOW_BYTES: u32 = 512 * 1024;
/// In all streams together so much that it never binds, because a watch that
/// nobody reads must stop itself and not every request beside it. Memory stays
/// bounded by the streams' own windows.
const CONNECTION_WINDOW_BYTES: u32 = 1 << 30;

/// A channel to `https://HOST:PORT`, or `http://HOST:PORT` without TLS, that
/// connects on first use and again after each failure. Must be called inside a
/// tokio runtime.
pub fn channel(endpoint: &str, tls: Option<Arc<rustls::ClientConfig>>) -> Result<Channel, Error> {
    channel_to_any(&[endpoint.to_owned()], tls)
}

/// As [`channel`], to whichever of `endpoints` can be reached; they are tried
/// in this order, and all have the scheme of the first.
pub fn channel_to_any(
    endpoints: &[String],
    tls: Option<Arc<rustls::ClientConfig>>,
) -> Result<Channel, Error> {
    let Some((first, others)) = endpoints.split_first() else {
        return Err(Error::Unreachable("no endpoint is named".into()));
    };
    let (first, tls) = parse(first, tls)?;
    let others: Vec<Uri> = others
        .iter()
        .map(|other| Ok(parse(other, tls.clone())?.0.uri().clone()))
        .collect::<Result<_, Error>>()?;
    if others.iter().any(|other| other.scheme_str() != first.uri().scheme_str()) {
        return Err(Error::Unreachable("endpoints are all https://, or all http://".into()));
    }
    Ok(first
        .http2_keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_ANSWER_MAX)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .connect_with_connector_lazy(Connector { others: others.into(), ..Connector::new(tls) }))
}

/// An endpoint, and the TLS that its scheme asks for.
fn parse(
    endpoint: &str,
    tls: Option<Arc<rustls::ClientConfig>>,
) -> Result<(Endpoint, Option<Arc<rustls::ClientConfig>>), Error> {
    let bad = |why: String| Error::Unreachable(format!("{endpoint}: {why}"));
    let parsed = Endpoint::from_shared(endpoint.to_owned()).map_err(|e| bad(e.to_string()))?;
    let tls = match (parsed.uri().scheme_str(), tls) {
        (Some("https"), Some(tls)) => Some(tls),
        (Some("https"), None) => return Err(bad("https needs a TLS configuration".into())),
        (Some("http"), _) => None,
        _ => return Err(bad("an endpoint is https://HOST:PORT or http://HOST:PORT".into())),
    };
    if parsed.uri().port_u16().is_none() {
        return Err(bad("an endpoint names its port".into()));
    }
    Ok((parsed, tls))
}

/// Makes connections for a tonic channel.
#[derive(Clone)]
pub struct Connector {
    tls: Option<TlsConnector>,
    /// Tried in order when the endpoint itself cannot be reached.
    others: Arc<[Uri]>,
}

/// A connection to a store.
pub enum Connection {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

// === impl Connector ===

impl Connector {
    /// With `tls`, every connection is encrypted, whatever the URI's scheme.
    #[must_use]
    pub fn new(tls: Option<Arc<rustls::ClientConfig>>) -> Connector {
        let tls = tls.map(|config| {
            let mut config = rustls::ClientConfig::clone(&config);
            config.alpn_protocols = vec![b"h2".to_vec()];
            TlsConnector::from(Arc::new(config))
        });
        Connector { tls, others: Arc::default() }
    }

    /// To the first that lets us in, each in its time.
    async fn connect_to_any(self, uri: Uri) -> io::Result<Connection> {
        let mut failed = io::Error::from(io::ErrorKind::TimedOut);
        for uri in [uri].into_iter().chain(self.others.iter().cloned()) {
            match tokio::time::timeout(CONNECT_TIMEOUT, self.clone().connect(uri)).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) => failed = error,
                Err(_) => {}
            }
        }
        Err(failed)
    }

    async fn connect(self, uri: Uri) -> io::Result<Connection> {
        let host = uri.host().ok_or_else(|| invalid("the endpoint has no host"))?;
        // An IPv6 address stands in brackets in a URI and nowhere else.
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().ok_or_else(|| invalid("the endpoint has no port"))?;
        let tcp = TcpStream::connect((host, port)).await?;
        tcp.set_nodelay(true)?;
        let Some(tls) = self.tls else {
            return Ok(Connection::Plain(tcp));
        };
        let name = ServerName::try_from(host.to_owned()).map_err(invalid)?;
        Ok(Connection::Tls(Box::new(tls.connect(name, tcp).await?)))
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Connection>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<TokioIo<Connection>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connect = self.clone().connect_to_any(uri);
        Box::pin(async move { connect.await.map(TokioIo::new) })
    }
}

// === impl Connection ===

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Connection::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Connection::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Connection::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Connection::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Connection::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Connection::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Connection::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Connection::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
