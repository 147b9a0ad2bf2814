//! How the controllers reach what is not the API (other centers, services,
//! edges): over sockets and TLS, or as a simulation has it.

use std::{io, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use identity::{Credentials, Expected, ServerCheck};
use tokio::net::TcpStream;
use tokio_rustls::rustls::ClientConfig;

/// A network that somebody plays. Whoever is silent in it is waited for as long
/// as a caller likes, and no longer.
#[async_trait]
pub trait Network: Send + Sync + 'static {
    /// Whether the machine at `HOST:PORT` takes a connection.
    async fn connect(&self, address: &str) -> io::Result<()>;

    /// One request to the process at `HOST:PORT`, and its whole answer.
    async fn send(&self, address: &str, request: Request<Bytes>) -> io::Result<Response<Bytes>>;
}

/// What opens roads to processes by who they must be.
#[derive(Clone)]
pub enum Roads {
    Sockets(Arc<Sockets>),
    Played(Arc<dyn Network>),
}

pub struct Sockets {
    pub credentials: Credentials,
    pub trust_domain: String,
}

/// How to reach processes of one identity.
#[derive(Clone)]
pub enum Road {
    Tls(Arc<ClientConfig>),
    Played(Arc<dyn Network>),
}

// === impl Roads ===

impl Roads {
    /// To processes with this service account, in `unit` if one is named.
    pub fn to(
        &self,
        namespace: &str,
        account: &str,
        unit: Option<&str>,
    ) -> Result<Road, identity::Error> {
        let Sockets { credentials, trust_domain } = match self {
            Roads::Sockets(sockets) => &**sockets,
            Roads::Played(network) => return Ok(Road::Played(network.clone())),
        };
        let expected = Expected::service(trust_domain, namespace, account);
        let expected = match unit {
            Some(unit) => expected.in_unit(unit),
            None => expected,
        };
        let check = ServerCheck::Spiffe(expected);
        Ok(Road::Tls(identity::client_config(credentials, check, &[b"http/1.1"])?))
    }

    /// The network that is played, if one is.
    pub fn played(&self) -> Option<&Arc<dyn Network>> {
        match self {
            Roads::Sockets(_) => None,
            Roads::Played(network) => Some(network),
        }
    }
}

// === impl Road ===

impl Road {
    /// Whether the machine takes a connection.
    pub async fn knock(&self, address: &str) -> bool {
        match self {
            Road::Tls(_) => TcpStream::connect(address).await.is_ok(),
            Road::Played(network) => network.connect(address).await.is_ok(),
        }
    }
}
