//! What a run is asked to do.

use std::{path::PathBuf, time::Duration};

use super::ApiOp;

#[derive(Clone, Debug)]
pub struct ApiPlan {
    pub ops: Vec<ApiOp>,
    /// Connections, each with one request under way; each operation has its own
    /// number unless one is given.
    pub clients: Option<usize>,
    /// Measured time of each side, over all rounds.
    pub duration: Duration,
    /// Both sides take turns this often.
    pub rounds: u32,
    /// Of a ConfigMap as it is sent.
    pub object_bytes: usize,
    pub watchers: usize,
    /// Created before memory is looked at.
    pub memory_objects: usize,
    /// How often each of them is updated before it is looked at again.
    pub memory_updates: u64,
    /// Where both keep their data, on one disk. Made, and removed afterwards.
    pub folder: PathBuf,
    /// Our own binary.
    pub polis: PathBuf,
    /// More arguments for `polis server --roles api`.
    pub server_args: Vec<String>,
    pub peer: Option<ApiPeer>,
}

/// What we are measured beside.
#[derive(Clone, Debug)]
pub struct ApiPeer {
    pub kube_apiserver: PathBuf,
    pub etcd: PathBuf,
}
