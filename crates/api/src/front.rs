//! What every connection meets first: our certificate, and the question whose
//! certificates are believed. Both can be replaced while we serve; who is
//! connected already stays so.

use std::sync::Arc;

use rustls::{ServerConfig, server::danger::ClientCertVerifier};
use tokio::{net::TcpStream, sync::watch};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{
    authn::{Connection, Gate},
    limits,
    server::Error,
    settings::FrontProxy,
};

/// Cheap to clone.
#[derive(Clone)]
pub struct Front {
    proxy: Option<FrontProxy>,
    now: Arc<watch::Sender<Now>>,
}

#[derive(Clone)]
struct Now {
    tls: TlsAcceptor,
    gate: Gate,
}

// === impl Front ===

impl Front {
    pub(crate) fn new(
        tls: Arc<ServerConfig>,
        clients: Option<Arc<dyn ClientCertVerifier>>,
        proxy: Option<&FrontProxy>,
    ) -> Result<Front, Error> {
        let now = Now::new(tls, clients, proxy)?;
        Ok(Front { proxy: proxy.cloned(), now: Arc::new(watch::channel(now).0) })
    }

    /// From the next connection on; who vouches for a front proxy is read
    /// again, too. Nothing has changed when it fails.
    pub fn renew(
        &self,
        tls: Arc<ServerConfig>,
        clients: Option<Arc<dyn ClientCertVerifier>>,
    ) -> Result<(), Error> {
        self.now.send_replace(Now::new(tls, clients, self.proxy.as_ref())?);
        Ok(())
    }

    /// The handshake, and who it was with.
    pub(crate) async fn greet(
        &self,
        stream: TcpStream,
    ) -> Option<(TlsStream<TcpStream>, Connection)> {
        let Now { tls, gate } = self.now.borrow().clone();
        // Small frames of watches must not wait for each other.
        let _ = stream.set_nodelay(true);
        let accepted = tokio::time::timeout(limits::HANDSHAKE_TIMEOUT, tls.accept(stream)).await;
        let stream = match accepted {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::debug!(%error, "TLS handshake");
                return None;
            }
            Err(_) => return None,
        };
        match gate.judge(stream.get_ref().1.peer_certificates()) {
            Ok(connection) => Some((stream, connection)),
            Err(error) => {
                tracing::info!(%error, "client certificate refused");
                None
            }
        }
    }
}

// === impl Now ===

impl Now {
    fn new(
        tls: Arc<ServerConfig>,
        clients: Option<Arc<dyn ClientCertVerifier>>,
        proxy: Option<&FrontProxy>,
    ) -> Result<Now, Error> {
        let gate = Gate::new(clients, proxy)
            .map_err(|error| Error::Authentication { why: error.to_string() })?;
        Ok(Now { tls: TlsAcceptor::from(tls), gate })
    }
}
