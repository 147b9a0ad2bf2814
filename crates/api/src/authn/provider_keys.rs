//! The keys of an identity provider, fetched from where it says they are.
//!
//! Kept until a token names a key that is not among them; then they are fetched
//! again, but not more often than every few seconds: tokens with made-up keys
//! must not become requests to the provider.

use std::{
    path::Path,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use rt::TaskKind;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use serde_json::Value;
use tokio::{net::TcpStream, sync::Mutex, time::Instant};
use tokio_rustls::TlsConnector;

use super::{jwt::Token, keys::PublicKey, oidc::Provider};
use crate::object;

/// A provider that does not answer within this is not there.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);

/// Least time between two fetches.
const FETCH_EVERY: Duration = Duration::from_secs(10);

/// Discovery documents and key sets have a few KiB.
const DOCUMENT_BYTES_MAX: usize = 1024 * 1024;

/// Where systems keep the authorities they believe.
const SYSTEM_ROOTS: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

pub struct ProviderKeys {
    issuer: String,
    discovery_url: String,
    tls: Arc<rustls::ClientConfig>,
    keys: RwLock<Vec<PublicKey>>,
    /// When they were fetched last, whatever came of it.
    fetched: Mutex<Option<Instant>>,
}

// === impl ProviderKeys ===

impl ProviderKeys {
    pub fn new(provider: &Provider, ca_file: Option<&Path>) -> Result<ProviderKeys, String> {
        let roots = match ca_file {
            Some(path) => identity::certificates(path).map_err(|error| error.to_string())?,
            None => system_roots(),
        };
        let tls = identity::foreign_client_config(&roots, None, &[b"http/1.1"])
            .map_err(|error| error.to_string())?;
        Ok(ProviderKeys {
            issuer: provider.issuer.clone(),
            discovery_url: provider.discovery_url(),
            tls,
            keys: RwLock::default(),
            fetched: Mutex::default(),
        })
    }

    /// Whether one of the provider's keys signed it.
    pub async fn verify(&self, token: &Token<'_>) -> Result<(), String> {
        if self.has_signed(token) {
            return Ok(());
        }
        let mut fetched = self.fetched.lock().await;
        let due = fetched.is_none_or(|at| at.elapsed() >= FETCH_EVERY);
        if due && !self.has_signed(token) {
            *fetched = Some(Instant::now());
            let keys = self.fetch().await?;
            *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        }
        drop(fetched);
        match self.has_signed(token) {
            true => Ok(()),
            false => Err("oidc: verify token: failed to verify signature".into()),
        }
    }

    fn has_signed(&self, token: &Token<'_>) -> bool {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let named = |key: &&PublicKey| {
            token.key_id.is_empty() || key.id().is_empty() || key.id() == token.key_id
        };
        keys.iter().filter(named).any(|key| token.is_signed_by(key))
    }

    async fn fetch(&self) -> Result<Vec<PublicKey>, String> {
        let all = async {
            let provider = self.get(&self.discovery_url).await?;
            // A document of another issuer would have us believe its keys.
            if object::text(&provider, "/issuer") != self.issuer {
                return Err("oidc: the provider says to be another issuer".to_owned());
            }
            let set = self.get(object::text(&provider, "/jwks_uri")).await?;
            Ok(PublicKey::all_from_set(&set))
        };
        let timeout = || "oidc: the provider does not answer".to_owned();
        tokio::time::timeout(FETCH_TIMEOUT, all).await.map_err(|_| timeout())?
    }

    async fn get(&self, url: &str) -> Result<Value, String> {
        let why = |error: &dyn std::error::Error| format!("oidc: get {url}: {error}");
        let uri: Uri = url.parse().map_err(|error: http::uri::InvalidUri| why(&error))?;
        let (Some("https"), Some(host)) = (uri.scheme_str(), uri.host()) else {
            return Err(format!("oidc: get {url}: only https:// is believed"));
        };
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
            .map_err(|error| why(&error))?;
        let address = (host.trim_matches(['[', ']']), uri.port_u16().unwrap_or(443));
        let stream = TcpStream::connect(address).await.map_err(|error| why(&error))?;
        let tls = TlsConnector::from(self.tls.clone());
        let stream = tls.connect(name, stream).await.map_err(|error| why(&error))?;
        let (mut send, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| why(&error))?;
        rt::spawn(TaskKind::Connection, "identity provider", async move {
            // Its end shows in the answer.
            let _ = connection.await;
        });
        let host = uri.authority().map_or(host, http::uri::Authority::as_str);
        let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let request = Request::get(path)
            .header(header::HOST, host)
            .header(header::ACCEPT, "application/json")
            .body(Empty::<Bytes>::new())
            .map_err(|error| why(&error))?;
        let response = send.send_request(request).await.map_err(|error| why(&error))?;
        if response.status() != StatusCode::OK {
            return Err(format!("oidc: get {url}: {}", response.status()));
        }
        let body = Limited::new(response.into_body(), DOCUMENT_BYTES_MAX).collect().await;
        let body = body.map_err(|error| format!("oidc: get {url}: {error}"))?.to_bytes();
        serde_json::from_slice(&body).map_err(|error| why(&error))
    }
}

fn system_roots() -> Vec<CertificateDer<'static>> {
    let found = SYSTEM_ROOTS.iter().find_map(|path| std::fs::read(path).ok()).unwrap_or_default();
    CertificateDer::pem_slice_iter(&found).filter_map(Result::ok).collect()
}
