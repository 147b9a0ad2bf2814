//! Figures for Prometheus, under etcd's names where etcd has one, so that
//! dashboards and alerts made for etcd work here.

mod process;

use std::{
    fmt::{self, Write as _},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use engine::SYNC_SECONDS_BOUNDS;
use tonic::Code;

use crate::{
    Handle, audit,
    counted::Traffic,
    grpc::{ETCD_CLUSTER_VERSION, ETCD_VERSION},
    health::Tally,
    keyspaces::Keyspaces,
    standing::Standing,
};
use process::Process;

/// Every method served: service, method, kind in grpc-prometheus' words.
pub(crate) const METHODS: &[(&str, &str, &str)] = &[
    ("etcdserverpb.KV", "Range", "unary"),
    ("etcdserverpb.KV", "RangeStream", "server_stream"),
    ("etcdserverpb.KV", "Put", "unary"),
    ("etcdserverpb.KV", "DeleteRange", "unary"),
    ("etcdserverpb.KV", "Txn", "unary"),
    ("etcdserverpb.KV", "Compact", "unary"),
    ("etcdserverpb.Watch", "Watch", "bidi_stream"),
    ("etcdserverpb.Lease", "LeaseGrant", "unary"),
    ("etcdserverpb.Lease", "LeaseRevoke", "unary"),
    ("etcdserverpb.Lease", "LeaseKeepAlive", "bidi_stream"),
    ("etcdserverpb.Lease", "LeaseTimeToLive", "unary"),
    ("etcdserverpb.Lease", "LeaseLeases", "unary"),
    ("etcdserverpb.Cluster", "MemberAdd", "unary"),
    ("etcdserverpb.Cluster", "MemberRemove", "unary"),
    ("etcdserverpb.Cluster", "MemberUpdate", "unary"),
    ("etcdserverpb.Cluster", "MemberList", "unary"),
    ("etcdserverpb.Cluster", "MemberPromote", "unary"),
    ("etcdserverpb.Maintenance", "Alarm", "unary"),
    ("etcdserverpb.Maintenance", "Status", "unary"),
    ("etcdserverpb.Maintenance", "Defragment", "unary"),
    ("etcdserverpb.Maintenance", "Hash", "unary"),
    ("etcdserverpb.Maintenance", "HashKV", "unary"),
    ("etcdserverpb.Maintenance", "Snapshot", "server_stream"),
    ("etcdserverpb.Maintenance", "MoveLeader", "unary"),
    ("etcdserverpb.Maintenance", "Downgrade", "unary"),
    ("etcdserverpb.Auth", "AuthEnable", "unary"),
    ("etcdserverpb.Auth", "AuthDisable", "unary"),
    ("etcdserverpb.Auth", "AuthStatus", "unary"),
    ("etcdserverpb.Auth", "Authenticate", "unary"),
    ("etcdserverpb.Auth", "UserAdd", "unary"),
    ("etcdserverpb.Auth", "UserGet", "unary"),
    ("etcdserverpb.Auth", "UserList", "unary"),
    ("etcdserverpb.Auth", "UserDelete", "unary"),
    ("etcdserverpb.Auth", "UserChangePassword", "unary"),
    ("etcdserverpb.Auth", "UserGrantRole", "unary"),
    ("etcdserverpb.Auth", "UserRevokeRole", "unary"),
    ("etcdserverpb.Auth", "RoleAdd", "unary"),
    ("etcdserverpb.Auth", "RoleGet", "unary"),
    ("etcdserverpb.Auth", "RoleList", "unary"),
    ("etcdserverpb.Auth", "RoleDelete", "unary"),
    ("etcdserverpb.Auth", "RoleGrantPermission", "unary"),
    ("etcdserverpb.Auth", "RoleRevokePermission", "unary"),
    ("v3lockpb.Lock", "Lock", "unary"),
    ("v3lockpb.Lock", "Unlock", "unary"),
    ("v3electionpb.Election", "Campaign", "unary"),
    ("v3electionpb.Election", "Proclaim", "unary"),
    ("v3electionpb.Election", "Leader", "unary"),
    ("v3electionpb.Election", "Observe", "server_stream"),
    ("v3electionpb.Election", "Resign", "unary"),
    ("grpc.health.v1.Health", "Check", "unary"),
    ("grpc.health.v1.Health", "Watch", "server_stream"),
];

/// gRPC's codes are 0 to 16.
const CODES: usize = 17;

/// Index into [`METHODS`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Method(usize);

pub(crate) struct Metrics {
    started: [AtomicU64; METHODS.len()],
    /// Answers by code. A stream counts once its headers are sent.
    handled: [[AtomicU64; CODES]; METHODS.len()],
    pub connections: AtomicU64,
    pub traffic: Arc<Traffic>,
    pub health: Tally,
    pub audits: audit::Tally,
}

// === impl Method ===

impl Method {
    /// From a request's path, `/SERVICE/METHOD`.
    pub fn of(path: &str) -> Option<Method> {
        let (service, method) = path.strip_prefix('/')?.split_once('/')?;
        METHODS.iter().position(|known| (known.0, known.1) == (service, method)).map(Method)
    }

    pub fn service(self) -> &'static str {
        METHODS[self.0].0
    }

    pub fn name(self) -> &'static str {
        METHODS[self.0].1
    }

    /// The caller sends more than one message.
    pub fn is_bidi(self) -> bool {
        METHODS[self.0].2 == "bidi_stream"
    }
}

// === impl Metrics ===

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics {
            started: std::array::from_fn(|_| AtomicU64::new(0)),
            handled: std::array::from_fn(|_| std::array::from_fn(|_| AtomicU64::new(0))),
            connections: AtomicU64::new(0),
            traffic: Arc::default(),
            health: Tally::default(),
            audits: audit::Tally::default(),
        }
    }
}

impl Metrics {
    pub fn start(&self, method: Method) {
        self.started[method.0].fetch_add(1, Relaxed);
    }

    pub fn finish(&self, method: Method, code: Code) {
        let code = usize::try_from(i32::from(code)).unwrap_or(CODES).min(CODES - 1);
        self.handled[method.0][code].fetch_add(1, Relaxed);
    }

    /// The whole page.
    pub fn page(&self, keyspaces: &Keyspaces) -> String {
        let mut page = String::new();
        self.write(&mut page, keyspaces).expect("writing to a string does not fail");
        page
    }

    fn write(&self, page: &mut String, keyspaces: &Keyspaces) -> fmt::Result {
        let engine = keyspaces.engine().metrics();
        let started = keyspaces.started();
        let sum = |figure: fn(&Standing) -> u64| {
            started.iter().map(|handle| figure(handle.standing())).sum::<u64>()
        };
        let leads = |handle: &&Handle| handle.standing().is_leading();
        let leaderless = started.iter().any(|handle| keyspaces.leader(handle).is_none());
        let led = started.iter().filter(leads).count() as u64;
        let revisions = sum(|standing| standing.revision().0);
        for (name, value) in [
            ("etcd_server_has_leader", u64::from(!leaderless)),
            ("etcd_server_is_leader", u64::from(led > 0)),
            ("polis_store_keyspaces_led", led),
            ("etcd_server_is_learner", 0),
            (&format!("etcd_server_version{{server_version=\"{ETCD_VERSION}\"}}"), 1),
            (&format!("etcd_cluster_version{{cluster_version=\"{ETCD_CLUSTER_VERSION}\"}}"), 1),
            // A revision is what a proposal is there; they are applied first.
            ("etcd_server_proposals_committed_total", revisions),
            ("etcd_server_proposals_applied_total", revisions),
            ("etcd_server_proposals_pending", started.iter().map(Handle::waiting).sum()),
            ("etcd_server_quota_backend_bytes", keyspaces.quota().limit_bytes()),
            ("etcd_mvcc_db_total_size_in_bytes", engine.disk_bytes),
            ("etcd_mvcc_db_total_size_in_use_in_bytes", engine.disk_bytes),
            ("etcd_debugging_mvcc_current_revision", revisions),
            ("etcd_debugging_mvcc_compact_revision", sum(|standing| standing.compacted().0)),
            ("etcd_debugging_mvcc_keys_total", sum(|standing| standing.keys.load(Relaxed))),
            ("etcd_debugging_mvcc_watcher_total", sum(|standing| standing.watchers.load(Relaxed))),
            (
                "etcd_debugging_mvcc_slow_watcher_total",
                sum(|standing| standing.slow_watchers.load(Relaxed)),
            ),
            ("polis_store_connections", self.connections.load(Relaxed)),
        ] {
            gauge(page, name, value)?;
        }
        for (name, value) in [
            // The first claim of a log is no change.
            (
                "etcd_server_leader_changes_seen_total",
                sum(|standing| standing.claims.load(Relaxed).saturating_sub(1)),
            ),
            ("etcd_server_proposals_failed_total", self.failed_writes()),
            ("etcd_mvcc_range_total", self.answered("etcdserverpb.KV", "Range")),
            ("etcd_mvcc_put_total", self.answered("etcdserverpb.KV", "Put")),
            ("etcd_mvcc_delete_total", self.answered("etcdserverpb.KV", "DeleteRange")),
            ("etcd_mvcc_txn_total", self.answered("etcdserverpb.KV", "Txn")),
            (
                "etcd_debugging_lease_granted_total",
                self.answered("etcdserverpb.Lease", "LeaseGrant"),
            ),
            (
                "etcd_debugging_lease_revoked_total",
                self.answered("etcdserverpb.Lease", "LeaseRevoke"),
            ),
            (
                "etcd_network_client_grpc_received_bytes_total",
                self.traffic.received_bytes.load(Relaxed),
            ),
            ("etcd_network_client_grpc_sent_bytes_total", self.traffic.sent_bytes.load(Relaxed)),
        ] {
            writeln!(page, "# TYPE {name} counter\n{name} {value}")?;
        }
        self.health.write(page)?;
        self.audits.write(page)?;
        Process::now().write(page)?;
        writeln!(page, "# TYPE polis_store_keyspace_revision gauge")?;
        for handle in &started {
            let (name, revision) = (handle.name(), handle.standing().revision());
            writeln!(page, "polis_store_keyspace_revision{{keyspace=\"{name}\"}} {revision}")?;
        }
        // One write makes the log durable and is the commit of the data too.
        write_syncs(page, "etcd_disk_wal_fsync_duration_seconds", &engine)?;
        write_syncs(page, "etcd_disk_backend_commit_duration_seconds", &engine)?;
        self.write_methods(page)
    }

    /// Calls that ended well.
    fn answered(&self, service: &str, method: &str) -> u64 {
        self.counted(service, method, Code::Ok)
    }

    /// Writes whose callers were told that they may not have happened.
    fn failed_writes(&self) -> u64 {
        let writes = ["Put", "DeleteRange", "Txn", "Compact"];
        writes.iter().map(|name| self.counted("etcdserverpb.KV", name, Code::Unavailable)).sum()
    }

    fn counted(&self, service: &str, method: &str, code: Code) -> u64 {
        let code = usize::try_from(i32::from(code)).expect("codes are small and positive");
        let method = METHODS.iter().position(|known| (known.0, known.1) == (service, method));
        method.map_or(0, |method| self.handled[method][code].load(Relaxed))
    }

    fn write_methods(&self, page: &mut String) -> fmt::Result {
        writeln!(page, "# TYPE grpc_server_started_total counter")?;
        for ((service, method, kind), started) in METHODS.iter().zip(&self.started) {
            let labels = labels(service, method, kind);
            writeln!(page, "grpc_server_started_total{{{labels}}} {}", started.load(Relaxed))?;
        }
        writeln!(page, "# TYPE grpc_server_handled_total counter")?;
        for ((service, method, kind), codes) in METHODS.iter().zip(&self.handled) {
            let labels = labels(service, method, kind);
            for (code, count) in codes.iter().enumerate() {
                let count = count.load(Relaxed);
                if count > 0 {
                    let code = Code::from_i32(i32::try_from(code).unwrap_or_default());
                    let name = format!("grpc_server_handled_total{{grpc_code=\"{code:?}\"");
                    writeln!(page, "{name},{labels}}} {count}")?;
                }
            }
        }
        Ok(())
    }
}

fn labels(service: &str, method: &str, kind: &str) -> String {
    format!("grpc_method=\"{method}\",grpc_service=\"{service}\",grpc_type=\"{kind}\"")
}

fn gauge(page: &mut String, name: &str, value: u64) -> fmt::Result {
    let bare = name.split('{').next().unwrap_or(name);
    writeln!(page, "# TYPE {bare} gauge\n{name} {value}")
}

/// How long it took to make what was written durable.
fn write_syncs(page: &mut String, name: &str, engine: &engine::Metrics) -> fmt::Result {
    writeln!(page, "# TYPE {name} histogram")?;
    let mut so_far = 0;
    for (bound, count) in SYNC_SECONDS_BOUNDS.iter().zip(&engine.sync_seconds) {
        so_far += count;
        writeln!(page, "{name}_bucket{{le=\"{bound}\"}} {so_far}")?;
    }
    writeln!(page, "{name}_bucket{{le=\"+Inf\"}} {}", engine.syncs)?;
    writeln!(page, "{name}_sum {}", engine.sync_time.as_secs_f64())?;
    writeln!(page, "{name}_count {}", engine.syncs)
}

/// `/debug/vars`: the little of Go's that a process of ours has. Not its
/// command line, which is nobody's business.
pub(crate) fn vars() -> serde_json::Value {
    let process = Process::now();
    serde_json::json!({
        "file_descriptor_limit": process.max_fds,
        "memstats": { "Sys": process.resident_bytes },
    })
}
