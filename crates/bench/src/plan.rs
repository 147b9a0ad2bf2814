//! What a run is asked to do.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use crate::{Database, Op};

#[derive(Clone, Debug)]
pub struct Plan {
    pub ops: Vec<Op>,
    /// How many clients ask at once; each waits for its answer before it asks
    /// again.
    pub clients: Vec<usize>,
    /// Measured time of each side, over all rounds.
    pub duration: Duration,
    /// Both sides take turns this often.
    pub rounds: u32,
    pub value_bytes: usize,
    pub watchers: usize,
    /// Loaded before memory is looked at.
    pub memory_keys: usize,
    /// Where both keep their data, on one disk. Made, and removed afterwards.
    pub folder: PathBuf,
    /// Our own binary.
    pub polis: PathBuf,
    /// More arguments for `polis store`.
    pub store_args: Vec<String>,
    /// Instead of a log of its own. Empty; the run writes and removes tables.
    pub database: Option<Database>,
    /// Both sides, with certificates made for the run.
    pub tls: bool,
    pub peer: Option<Peer>,
}

/// What we are measured beside.
#[derive(Clone, Debug)]
pub enum Peer {
    /// An etcd to be started.
    Binary(PathBuf),
    /// One that runs already; its CPU and memory are not seen.
    Running(SocketAddr),
}
