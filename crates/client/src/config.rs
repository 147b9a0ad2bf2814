//! Where the API is and how to prove who we are: from parts, or from a
//! kubeconfig file.

use std::{path::Path, sync::Arc, time::Duration};

use kube::client::ConfigExt;

/// Replicas to try, in order of preference, and how.
#[derive(Clone)]
pub struct Config {
    /// `host:port` of API replicas; the nearest first.
    pub addresses: Vec<String>,
    /// Trusted roots and our certificate. ALPN is set by the client.
    pub tls: Arc<rustls::ClientConfig>,
    /// How long one request, watches apart, may take.
    pub request_timeout: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("no API address is given")]
    NoAddress,
    #[error("API address {0:?} is not HOST:PORT")]
    Address(String),
    #[error("read the kubeconfig")]
    Kubeconfig(#[source] kube::config::KubeconfigError),
    #[error("use the certificates of the kubeconfig")]
    Certificates(#[source] Box<kube::Error>),
    #[error("the server of the kubeconfig, {0:?}, is not of the form https://HOST:PORT")]
    Server(String),
}

/// Longer than any healthy request takes, short enough for a person to wait.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

// === impl Config ===

impl Config {
    #[must_use]
    pub fn new(addresses: Vec<String>, tls: Arc<rustls::ClientConfig>) -> Config {
        Config { addresses, tls, request_timeout: REQUEST_TIMEOUT }
    }

    /// Reads a kubeconfig as `kubectl` does; `context` none is the current one.
    pub async fn from_kubeconfig(
        path: &Path,
        context: Option<&str>,
    ) -> Result<Config, ConfigError> {
        let file = kube::config::Kubeconfig::read_from(path).map_err(ConfigError::Kubeconfig)?;
        let options = kube::config::KubeConfigOptions {
            context: context.map(str::to_owned),
            ..Default::default()
        };
        let config = kube::Config::from_custom_kubeconfig(file, &options)
            .await
            .map_err(ConfigError::Kubeconfig)?;
        let tls = config
            .rustls_client_config()
            .map_err(|error| ConfigError::Certificates(Box::new(error)))?;
        let server = &config.cluster_url;
        let address = match (server.scheme_str(), server.host()) {
            (Some("https"), Some(host)) => {
                format!("{host}:{}", server.port_u16().unwrap_or(443))
            }
            _ => return Err(ConfigError::Server(server.to_string())),
        };
        Ok(Config::new(vec![address], Arc::new(tls)))
    }
}
