//! TCP and TLS to one API replica, as hyper-util's client wants them.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tower_service::Service;

/// TCP and TLS together. A replica that needs longer is treated as down, and
/// the next one is asked.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Prefers HTTP/2, so that all watches share one connection.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

#[derive(Clone)]
pub struct Connector {
    tls: TlsConnector,
}

/// A connection that knows which protocol was agreed on.
pub struct Stream(TokioIo<TlsStream<TcpStream>>);

// === impl Connector ===

impl Connector {
    pub fn new(tls: &rustls::ClientConfig) -> Connector {
        let mut tls = tls.clone();
        tls.alpn_protocols = ALPN.iter().map(|protocol| protocol.to_vec()).collect();
        Connector { tls: TlsConnector::from(Arc::new(tls)) }
    }
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let tls = self.tls.clone();
        Box::pin(async move {
            let connect = connect(tls, uri);
            tokio::time::timeout(CONNECT_TIMEOUT, connect)
                .await
                .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        })
    }
}

async fn connect(tls: TlsConnector, uri: Uri) -> io::Result<Stream> {
    let authority = uri.authority().ok_or(io::ErrorKind::InvalidInput)?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let server = ServerName::try_from(host.to_owned())
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let tcp = TcpStream::connect((host, authority.port_u16().unwrap_or(443))).await?;
    tcp.set_nodelay(true)?;
    Ok(Stream(TokioIo::new(tls.connect(server, tcp).await?)))
}

// === impl Stream ===

impl Connection for Stream {
    fn connected(&self) -> Connected {
        let (_, session) = self.0.inner().get_ref();
        match session.alpn_protocol() {
            Some(b"h2") => Connected::new().negotiated_h2(),
            _ => Connected::new(),
        }
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl Write for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
