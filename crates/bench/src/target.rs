//! Where a server is, and how it is spoken to.

use std::{io, net::SocketAddr, sync::Arc};

use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Target {
    pub address: SocketAddr,
    pub tls: Option<Arc<ClientConfig>>,
}

pub(crate) type Stream = Box<dyn Duplex>;

pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

// === impl Target ===

impl Target {
    /// What a URL of it begins with.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    pub async fn connect(&self) -> io::Result<Stream> {
        let tcp = TcpStream::connect(self.address).await?;
        tcp.set_nodelay(true)?;
        let Some(tls) = &self.tls else { return Ok(Box::new(tcp)) };
        let name = ServerName::from(self.address.ip());
        Ok(Box::new(TlsConnector::from(tls.clone()).connect(name, tcp).await?))
    }
}
