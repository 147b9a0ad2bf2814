//! What a store is told when it starts.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use crate::{Access, Notebook, Transport};

/// One store process.
#[derive(Clone)]
pub struct Config {
    /// Where the log lives, or what is remembered of a database. Created if
    /// absent; one process at a time.
    pub data_dir: PathBuf,
    /// Where the log lives instead; any number of stores may share it.
    pub database: Option<engine::SqlConfig>,
    /// Where clients connect; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Listen nowhere: the store is for callers in this process, who ask by
    /// [`crate::Store::handle`].
    pub in_process: bool,
    /// Further addresses for clients.
    pub listen_more: Vec<SocketAddr>,
    /// Where health and metrics are told, and nothing else, without TLS.
    pub listen_metrics: Vec<SocketAddr>,
    /// Shown in member lists. Replicas over one database need names of their
    /// own that they keep: who leads what follows from them.
    pub name: String,
    /// The URLs at which clients reach this store; empty means the address it
    /// listens on.
    pub advertise: Vec<String>,
    /// Our certificate, and whose client certificates we accept.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Our certificate when we forward to another replica, and which replicas
    /// we believe; needed where their URLs say `https`.
    pub replica_tls: Option<Arc<rustls::ClientConfig>>,
    /// What carries requests to other replicas; the network, unless told.
    pub transport: Option<Arc<dyn Transport>>,
    /// Where to remember how far the database had come.
    pub high_water: Notebook,
    /// Which keyspaces a client certificate opens. With rules and without TLS
    /// none open to anyone.
    pub access: Access,
    /// Serve without TLS, to anyone who can connect. Must be said.
    pub insecure: bool,
    pub limits: Limits,
    /// Pings to clients that say nothing.
    pub ping_every: Duration,
    /// One that does not answer for this long is gone.
    pub ping_answer_max: Duration,
    /// Writes are refused while the store holds more than this.
    pub quota_bytes: u64,
    pub history: History,
    pub audit: AuditConfig,
    /// How often a watch that asked for it hears how far it is, while no event
    /// tells it.
    pub progress_every: Duration,
    pub keyspaces_max: usize,
    /// A token that is not used for this long ends.
    pub auth_token_ttl: Duration,
    /// How much work it is to try a password: twice as much with each step, 4
    /// to 31.
    pub bcrypt_cost: u32,
    /// Values longer than this are read from disk when they are asked for;
    /// `usize::MAX` keeps everything in memory and saves looking for them.
    pub inline_bytes_max: usize,
    /// Values of all keyspaces that stay in memory; the rest is read from the
    /// log when asked for. Keys and their bookkeeping always stay.
    pub values_bytes_max: usize,
}

/// When the store looks whether it holds what its log says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuditConfig {
    pub at_start: bool,
    /// And so long after the end of each.
    pub every: Option<Duration>,
}

/// What one client may ask for at once.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Of one encoded request.
    pub request_bytes: usize,
    /// In each list of a transaction, with all that are nested in it.
    pub txn_ops: usize,
    /// Of one connection.
    pub streams: u32,
}

/// How much of its past a keyspace keeps by itself; whoever asks for less may
/// still compact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    /// Revisions kept at most, give or take [`History::slack`].
    pub revisions_max: u64,
    /// Revisions older than this are dropped even when they are few.
    pub age_max: Duration,
    /// Keys and values of the history, likewise.
    pub bytes_max: u64,
}

// === impl Config ===

impl Config {
    /// etcd's default `--quota-backend-bytes`.
    pub const QUOTA_BYTES: u64 = 2 * 1024 * 1024 * 1024;
    /// Half of what API servers leave between bookmarks, and a tenth of the
    /// history: a watch that resumes where it last heard from us finds it kept.
    /// Whoever cannot wait asks, and is answered at once.
    pub const PROGRESS_EVERY: Duration = Duration::from_secs(30);
    /// Much more than an estate of ours keeps, and little on any server.
    pub const VALUES_BYTES_MAX: usize = 256 * 1024 * 1024;
    /// A vanished client gives its watches back within half a minute.
    pub const PING_EVERY: Duration = Duration::from_secs(20);
    pub const PING_ANSWER_MAX: Duration = Duration::from_secs(10);
    /// One federation, sixteen ledgers, and units by the hundred; a bound at
    /// all because any client may name a keyspace and so create it.
    pub const KEYSPACES_MAX: usize = 256;
    /// etcd's `--auth-token-ttl`.
    pub const AUTH_TOKEN_TTL: Duration = Duration::from_secs(300);
    /// etcd's `--bcrypt-cost`: about a twentieth of a second.
    pub const BCRYPT_COST: u32 = 10;

    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>, listen: SocketAddr) -> Config {
        Config {
            data_dir: data_dir.into(),
            database: None,
            listen,
            in_process: false,
            listen_more: Vec::new(),
            listen_metrics: Vec::new(),
            name: "store".into(),
            advertise: Vec::new(),
            tls: None,
            replica_tls: None,
            transport: None,
            high_water: Notebook::default(),
            access: Access::default(),
            insecure: false,
            limits: Limits::default(),
            ping_every: Config::PING_EVERY,
            ping_answer_max: Config::PING_ANSWER_MAX,
            quota_bytes: Config::QUOTA_BYTES,
            history: History::default(),
            audit: AuditConfig::default(),
            progress_every: Config::PROGRESS_EVERY,
            keyspaces_max: Config::KEYSPACES_MAX,
            auth_token_ttl: Config::AUTH_TOKEN_TTL,
            bcrypt_cost: Config::BCRYPT_COST,
            inline_bytes_max: usize::MAX,
            values_bytes_max: Config::VALUES_BYTES_MAX,
        }
    }
}

// === impl Limits ===

impl Default for Limits {
    /// etcd's; the streams are what a large API server needs, which opens one
    /// for each watch: kinds times keyspaces, in the low hundreds.
    fn default() -> Limits {
        Limits {
            request_bytes: kv::Txn::REQUEST_BYTES_MAX,
            txn_ops: kv::Txn::OPS_MAX,
            streams: 4096,
        }
    }
}

// === impl History ===

impl History {
    /// Only compacted when somebody asks.
    pub const UNLIMITED: History =
        History { revisions_max: u64::MAX, age_max: Duration::MAX, bytes_max: u64::MAX };

    /// What may pile up before a compaction is worth its writes.
    #[must_use]
    pub fn slack(&self) -> u64 {
        (self.revisions_max / 5).max(1)
    }
}

impl Default for History {
    /// Five minutes is kube-apiserver's own horizon, and a watcher 5,000
    /// changes behind is better off listing again. Under load the count decides,
    /// and with a score of busy keyspaces keeps history at tens of megabytes.
    fn default() -> History {
        // Revisions are bounded already, but five thousand of a megabyte each
        // are more than a machine has; 64 MiB is five thousand ordinary objects
        // of 13 KiB.
        let bytes_max = 64 * 1024 * 1024;
        History { revisions_max: 5_000, age_max: Duration::from_secs(300), bytes_max }
    }
}
