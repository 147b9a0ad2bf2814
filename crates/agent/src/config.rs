//! What an agent needs to start, and why it may not.

use std::{net::IpAddr, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use topology::{CenterName, CityName, UnitName};

use crate::serve;

/// Pods that one agent runs at most; Kubernetes' own default.
pub(crate) const PODS_MAX: usize = 110;

/// How long Pods may take to stop when they end with their agent, whatever
/// their own grace: whoever stops the agent waits about as long.
pub const DRAIN_GRACE: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub struct Config {
    pub city: CityName,
    /// Also the name of the Node.
    pub center: CenterName,
    /// Units whose Pods run here, each with a Node of its own.
    pub units: Vec<UnitName>,
    pub client: client::Client,
    /// Records and logs of Pods. One agent per folder.
    pub data: PathBuf,
    /// Where the API server reads logs.
    pub listen: SocketAddr,
    /// The address under which this host's Pods are reached.
    pub advertise: IpAddr,
    /// Asks for a client certificate and takes connections without one, for
    /// health checks (`identity::ClientAuth::Optional`).
    pub tls: Arc<rustls::ServerConfig>,
    /// Who may read logs and Pods.
    pub caller: Caller,
    /// Under `polis up`: Pods are stopped with the agent, and the kernel kills
    /// them should the agent be killed.
    pub pods_die_with_agent: bool,
}

/// The identity of the API server.
#[derive(Clone, Debug)]
pub struct Caller {
    pub namespace: String,
    pub service_account: String,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "{}: another agent uses {}. {}",
        errors::AGENT_DATA_IN_USE,
        path.display(),
        errors::AGENT_DATA_IN_USE.remedy()
    )]
    InUse { path: PathBuf },
    #[error(
        "{}: could not use {}: {source}. {}",
        errors::AGENT_DATA_UNUSABLE,
        path.display(),
        errors::AGENT_DATA_UNUSABLE.remedy()
    )]
    Data { path: PathBuf, source: std::io::Error },
    #[error("could not take over the containers of an earlier agent")]
    Runtime(#[from] runtime::Error),
    #[error(transparent)]
    Listen(#[from] serve::ListenError),
}

// === impl Caller ===

impl Default for Caller {
    fn default() -> Caller {
        Caller { namespace: "polis-system".into(), service_account: "apiserver".into() }
    }
}
