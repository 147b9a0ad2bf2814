//! TLS at both ends: who may come, and whom we go to.
//!
//! Files that are replaced while serving make a new plan. What has not changed
//! is taken over from the plan before, with its tickets and idle connections;
//! what has changed forgets both, so that nobody comes back by a session that
//! today's files would not have begun. Open connections keep what they have.

mod material;
mod peer;
mod why;

use std::{io, sync::Arc, time::Duration};

use identity::{Pattern, Workload};
use rustls::{ClientConfig, HandshakeKind, RootCertStore, ServerConfig, crypto::CryptoProvider};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::{
    config::model::{ClientTls, Forward, Protocol, ServerTls, Upstream},
    seldom::Seldom,
};
use material::Material;

pub(crate) use peer::{FORWARDED_CLIENT_CERT, Peer};
pub(crate) use why::{Counts, Why};

/// Why files are not usable.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("read {path}: {source}")]
    Read { path: String, source: io::Error },
    #[error("{path} holds no usable {what}")]
    Pem { path: String, what: &'static str },
    #[error("{0}")]
    Tls(#[from] rustls::Error),
    #[error("client authority: {0}")]
    Verifier(#[from] rustls::client::VerifierBuilderError),
    #[error("`{0}` is no name of a server")]
    ServerName(String),
}

/// Ends the TLS of a listener's clients.
pub(crate) struct Acceptor {
    material: Material,
    config: Arc<ServerConfig>,
    /// Clients must be one of these.
    named: bool,
    /// Whether services are told who the client is; `Some` holds our own name.
    forward: Option<String>,
    pub(crate) seldom: Seldom,
}

/// Begins TLS to the endpoints of a cluster.
#[derive(Clone)]
pub(crate) struct Connector(Arc<Connecting>);

struct Connecting {
    material: Material,
    name: ServerName<'static>,
    /// Servers must be one of these, whatever their host name.
    named: bool,
    /// By what is spoken: bytes, HTTP/1.1, HTTP/2.
    config: [Arc<ClientConfig>; 3],
    seldom: Seldom,
}

/// A stream that a client has proven itself on, if it was asked to.
pub(crate) type Accepted = (tokio_rustls::server::TlsStream<TcpStream>, Option<Peer>);

// === impl Acceptor ===

impl Acceptor {
    /// `before` is that of the plan before: it stays if nothing has changed.
    pub(crate) fn load(
        model: &ServerTls,
        protocol: Protocol,
        before: Option<&Arc<Acceptor>>,
    ) -> Result<Arc<Acceptor>, Error> {
        let material = Material::of_server(model, protocol)?;
        if let Some(before) = before.filter(|before| before.material == material) {
            return Ok(before.clone());
        }
        let own = Workload::of_certificate(&material.chain[0]);
        let own = own.as_ref().map_or("", Workload::as_str);
        let forward = (model.forward == Forward::Set).then(|| own.to_owned());
        let config = server(model, protocol, &material)?;
        let named = !model.clients.is_empty();
        Ok(Arc::new(Acceptor { material, config, named, forward, seldom: Seldom::default() }))
    }

    /// Within `patience`, however slowly the client talks.
    pub(crate) async fn accept(
        &self,
        stream: TcpStream,
        patience: Duration,
    ) -> io::Result<Accepted> {
        let handshake = TlsAcceptor::from(self.config.clone()).accept(stream);
        let stream = timeout(patience, handshake)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
        let connection = stream.get_ref().1;
        let Some(leaf) = connection.peer_certificates().and_then(<[_]>::first) else {
            return Ok((stream, None));
        };
        let resumed = connection.handshake_kind() == Some(HandshakeKind::Resumed);
        let id = match identity(leaf, resumed) {
            Ok(id) => Some(id),
            // Any certificate of the authority is enough, but not for ever.
            Err(why) if !self.named && why != identity::Unproven::Expired => None,
            Err(why) => return Err(io::Error::new(io::ErrorKind::InvalidData, why)),
        };
        let peer = Peer::new(id, leaf, self.forward.as_deref());
        Ok((stream, Some(peer)))
    }
}

// === impl Connector ===

impl Connector {
    /// `before` is that of the plan before: it stays if nothing has changed.
    pub(crate) fn load(model: &ClientTls, before: Option<&Connector>) -> Result<Connector, Error> {
        let material = Material::of_client(model)?;
        if let Some(before) = before.filter(|before| before.0.material == material) {
            return Ok(before.clone());
        }
        // Without a name none is sent: who is meant is in the certificate.
        let name = model.server_name.as_ref().map_or("polis.internal", |name| name.get_ref());
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| Error::ServerName(name.to_owned()))?;
        let config = client(model, &material)?;
        let named = !model.servers.is_empty();
        let seldom = Seldom::default();
        Ok(Connector(Arc::new(Connecting { material, name, named, config, seldom })))
    }

    pub(crate) async fn connect(
        &self,
        stream: TcpStream,
        protocol: Upstream,
    ) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let at = match protocol {
            Upstream::Http1 => 1,
            Upstream::Http2 => 2,
            _ => 0,
        };
        let config = self.0.config[at].clone();
        let stream = TlsConnector::from(config).connect(self.0.name.clone(), stream).await?;
        let connection = stream.get_ref().1;
        if self.0.named && connection.handshake_kind() == Some(HandshakeKind::Resumed) {
            let leaf = connection.peer_certificates().and_then(<[_]>::first);
            let leaf = leaf.ok_or(identity::Unproven::NoUri);
            leaf.and_then(|leaf| identity(leaf, true))
                .map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))?;
        }
        Ok(stream)
    }

    /// Whether connections made by `other` are as good as ours.
    pub(crate) fn is(&self, other: &Connector) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(crate) fn seldom(&self) -> &Seldom {
        &self.0.seldom
    }
}

fn identity(leaf: &CertificateDer<'_>, resumed: bool) -> Result<Workload, identity::Unproven> {
    if resumed {
        return Workload::of_resumed(leaf, UnixTime::now());
    }
    Workload::of_certificate(leaf)
}

fn server(
    model: &ServerTls,
    protocol: Protocol,
    material: &Material,
) -> Result<Arc<ServerConfig>, Error> {
    let provider = provider();
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?;
    let builder = if model.client_ca.is_none() {
        builder.with_no_client_auth()
    } else {
        let roots = roots(&material.roots)?;
        let patterns = patterns(&model.clients);
        builder.with_client_cert_verifier(identity::client_verifier(roots, patterns, provider)?)
    };
    let mut config = builder.with_single_cert(material.chain.clone(), material.key()?)?;
    if matches!(protocol, Protocol::Http | Protocol::Auto) {
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    }
    // Tickets keep sessions with the clients: however many come, we hold none.
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
    Ok(Arc::new(config))
}

fn client(model: &ClientTls, material: &Material) -> Result<[Arc<ClientConfig>; 3], Error> {
    let provider = provider();
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?;
    let roots = roots(&material.roots)?;
    let builder = if model.servers.is_empty() {
        builder.with_root_certificates(roots)
    } else {
        let verifier = identity::server_verifier(roots, patterns(&model.servers), provider);
        builder.dangerous().with_custom_certificate_verifier(verifier)
    };
    let mut config = if material.chain.is_empty() {
        builder.with_no_client_auth()
    } else {
        builder.with_client_auth_cert(material.chain.clone(), material.key()?)?
    };
    config.enable_sni = model.server_name.is_some();
    let [mut http1, mut http2] = [config.clone(), config.clone()];
    http1.alpn_protocols = vec![b"http/1.1".to_vec()];
    http2.alpn_protocols = vec![b"h2".to_vec()];
    Ok([Arc::new(config), Arc::new(http1), Arc::new(http2)])
}

fn patterns(models: &[toml::Spanned<String>]) -> Vec<Pattern> {
    let parse = |text: &toml::Spanned<String>| Pattern::parse(text.get_ref());
    models.iter().map(|text| parse(text).expect("checked: it is a pattern")).collect()
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn roots(certificates: &[CertificateDer<'static>]) -> Result<Arc<RootCertStore>, Error> {
    let mut store = RootCertStore::empty();
    for root in certificates {
        store.add(root.clone())?;
    }
    Ok(Arc::new(store))
}
