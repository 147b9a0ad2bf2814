//! What an API server needs to be told.

use std::{net::SocketAddr, sync::Arc};

use crate::cluster::Keyspaces;

pub struct Config {
    pub listen: SocketAddr,
    /// Client certificates are asked for and not required
    /// (`identity::ClientAuth::Optional`), ALPN `h2` and `http/1.1`.
    pub tls: Arc<rustls::ServerConfig>,
    pub keyspaces: Keyspaces,
    /// With which logs are read from agents; it must check the agent's
    /// identity by itself (`identity::ServerCheck::Spiffe`).
    pub agent_tls: Option<Arc<rustls::ClientConfig>>,
    /// Metrics of the process's other roles, shown with ours.
    pub pages: rt::Pages,
}
