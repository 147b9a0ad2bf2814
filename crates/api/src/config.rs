//! What an API server needs to be told.

use std::{net::SocketAddr, sync::Arc};

use crate::{cluster::Keyspaces, request::path::Door, settings::Settings};

pub struct Config {
    /// What stands at `/`: the federation with its units, or one plain cluster.
    pub root: Door,
    pub listen: SocketAddr,
    /// Client certificates are asked for and not required
    /// (`identity::ClientAuth::Optional`), ALPN `h2` and `http/1.1`.
    pub tls: Arc<rustls::ServerConfig>,
    /// Who vouches for clients, when `tls` takes any certificate
    /// (`identity::ClientAuth::Any`): then one that is not believed is answered,
    /// instead of a handshake that fails without a word.
    pub clients: Option<Arc<dyn rustls::server::danger::ClientCertVerifier>>,
    pub keyspaces: Keyspaces,
    /// With which logs are read from agents; it must check the agent's
    /// identity by itself (`identity::ServerCheck::Spiffe`).
    pub agent_tls: Option<Arc<rustls::ClientConfig>>,
    /// Metrics of the process's other roles, shown with ours.
    pub pages: rt::Pages,
    pub settings: Settings,
}
