//! Reaching an endpoint: TCP, and TLS with the identity of the unit expected.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use rustls::ClientConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use topology::UnitName;

use crate::config::Upstream;

/// Where the ledger runs in every unit.
pub(crate) const LEDGER_NAMESPACE: &str = "payments";
pub(crate) const LEDGER_ACCOUNT: &str = "ledger";

#[derive(Debug)]
pub(crate) struct Transport {
    upstream: Upstream,
    connect_timeout: Duration,
    handshake_timeout: Duration,
    /// One per unit, since each expects another identity. Touched when a
    /// connection is opened, never per request.
    tls_by_unit: Mutex<HashMap<UnitName, Arc<ClientConfig>>>,
}

#[derive(Debug)]
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("connect: {0}")]
    Tcp(#[source] io::Error),
    #[error("connect: no answer in time")]
    TcpTimeout,
    #[error("TLS handshake: {0}")]
    Tls(#[source] io::Error),
    #[error("TLS handshake: no answer in time")]
    TlsTimeout,
    #[error("TLS identity: {0}")]
    Identity(#[from] identity::Error),
}

// === impl Transport ===

impl Transport {
    pub(crate) fn new(
        upstream: Upstream,
        connect_timeout: Duration,
        handshake_timeout: Duration,
    ) -> Transport {
        let tls_by_unit = Mutex::default();
        Transport { upstream, connect_timeout, handshake_timeout, tls_by_unit }
    }

    pub(crate) async fn connect(
        &self,
        unit: &UnitName,
        endpoint: SocketAddr,
    ) -> Result<Stream, ConnectError> {
        let stream = timeout(self.connect_timeout, TcpStream::connect(endpoint))
            .await
            .map_err(|_| ConnectError::TcpTimeout)?
            .map_err(ConnectError::Tcp)?;
        stream.set_nodelay(true).map_err(ConnectError::Tcp)?;
        let Some(config) = self.tls(unit)? else { return Ok(Stream::Plain(stream)) };
        let handshake = TlsConnector::from(config).connect(identity::plain_name(), stream);
        let stream = timeout(self.handshake_timeout, handshake)
            .await
            .map_err(|_| ConnectError::TlsTimeout)?
            .map_err(ConnectError::Tls)?;
        Ok(Stream::Tls(Box::new(stream)))
    }

    fn tls(&self, unit: &UnitName) -> Result<Option<Arc<ClientConfig>>, ConnectError> {
        let Upstream::Mesh { credentials, trust_domain } = &self.upstream else { return Ok(None) };
        let mut known = self.tls_by_unit.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = known.get(unit) {
            return Ok(Some(config.clone()));
        }
        let expected = identity::Expected::service(trust_domain, LEDGER_NAMESPACE, LEDGER_ACCOUNT)
            .in_unit(unit.as_str());
        let check = identity::ServerCheck::Spiffe(expected);
        let config = identity::client_config(credentials, check, &[b"http/1.1"])?;
        known.insert(unit.clone(), config.clone());
        Ok(Some(config))
    }
}

// === impl Stream ===

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
