//! Reaching an endpoint: TCP, and TLS with the identity of the unit expected.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hop::Stream;
use rustls::ClientConfig;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;
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
        Ok(Stream::Connected(Box::new(stream)))
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
