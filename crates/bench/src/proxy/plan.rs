//! What a run is asked to do.

use std::{path::PathBuf, time::Duration};

use super::{Protocol, Security};

#[derive(Clone, Debug)]
pub struct ProxyPlan {
    pub protocols: Vec<Protocol>,
    pub security: Vec<Security>,
    /// How many clients ask at once. Memory is looked at in this order, in
    /// processes that are fresh for the first of them.
    pub clients: Vec<usize>,
    /// Measured time of each side, over all rounds; half load comes on top.
    pub duration: Duration,
    pub rounds: u32,
    /// Threads of each proxy that carry traffic.
    pub workers: usize,
    /// Of an answer's body, of a message either way, of a piece.
    pub bytes: usize,
    /// Made for the run, and removed afterwards.
    pub folder: PathBuf,
    /// The binary that has our proxy.
    pub polis: PathBuf,
    pub peers: Vec<ProxyPeer>,
}

/// What we are measured beside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProxyPeer {
    Haproxy(PathBuf),
    Envoy(PathBuf),
    Nginx(PathBuf),
}
