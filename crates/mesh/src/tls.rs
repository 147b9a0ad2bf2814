//! TLS at both ends. Files that are replaced while serving make a new plan;
//! connections that are open keep what they have.

use std::{io, path::Path, sync::Arc};

use rustls::{ClientConfig, RootCertStore, ServerConfig, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::config::model::{ClientTls, ServerTls};

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
    #[error("identities in certificates are not checked yet: remove `clients` and `servers`")]
    NotYet,
}

pub(crate) struct Acceptor {
    config: Arc<ServerConfig>,
}

#[derive(Clone)]
pub(crate) struct Connector(Arc<Connecting>);

struct Connecting {
    name: ServerName<'static>,
    /// By protocol: HTTP/1.1, HTTP/2.
    config: [Arc<ClientConfig>; 2],
}

// === impl Acceptor ===

impl Acceptor {
    pub(crate) fn load(model: &ServerTls) -> Result<Acceptor, Error> {
        Ok(Acceptor { config: server(model)? })
    }

    pub(crate) async fn accept(
        &self,
        stream: TcpStream,
    ) -> io::Result<tokio_rustls::server::TlsStream<TcpStream>> {
        TlsAcceptor::from(self.config.clone()).accept(stream).await
    }
}

// === impl Connector ===

impl Connector {
    pub(crate) fn load(model: &ClientTls) -> Result<Connector, Error> {
        let name = model.server_name.as_ref().map_or("polis.internal", |name| name.get_ref());
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| Error::ServerName(name.to_owned()))?;
        Ok(Connector(Arc::new(Connecting { name, config: client(model)? })))
    }

    pub(crate) async fn connect(
        &self,
        stream: TcpStream,
        alpn: &[&[u8]],
    ) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let config = self.0.config[usize::from(alpn == [b"h2"])].clone();
        TlsConnector::from(config).connect(self.0.name.clone(), stream).await
    }
}

fn server(model: &ServerTls) -> Result<Arc<ServerConfig>, Error> {
    if !model.clients.is_empty() {
        return Err(Error::NotYet);
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?;
    let builder = match &model.client_ca {
        None => builder.with_no_client_auth(),
        Some(ca) => builder.with_client_cert_verifier(
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots(ca)?), provider).build()?,
        ),
    };
    let mut config = builder.with_single_cert(certificates(&model.cert)?, key(&model.key)?)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn client(model: &ClientTls) -> Result<[Arc<ClientConfig>; 2], Error> {
    if !model.servers.is_empty() {
        return Err(Error::NotYet);
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots(&model.ca)?);
    let config = match (&model.cert, &model.key) {
        (Some(cert), Some(file)) => {
            builder.with_client_auth_cert(certificates(cert)?, key(file)?)?
        }
        _ => builder.with_no_client_auth(),
    };
    let mut h2 = config.clone();
    h2.alpn_protocols = vec![b"h2".to_vec()];
    let mut h1 = config;
    h1.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok([Arc::new(h1), Arc::new(h2)])
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Read { path: path.display().to_string(), source })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let unusable = || Error::Pem { path: path.display().to_string(), what: "certificate" };
    let found: Vec<_> = CertificateDer::pem_slice_iter(&read(path)?)
        .collect::<Result<_, _>>()
        .map_err(|_| unusable())?;
    if found.is_empty() { Err(unusable()) } else { Ok(found) }
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    PrivateKeyDer::from_pem_slice(&read(path)?)
        .map_err(|_| Error::Pem { path: path.display().to_string(), what: "private key" })
}

fn roots(path: &Path) -> Result<RootCertStore, Error> {
    let mut store = RootCertStore::empty();
    for root in certificates(path)? {
        store.add(root)?;
    }
    Ok(store)
}
