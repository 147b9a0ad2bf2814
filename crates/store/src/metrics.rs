//! Figures for Prometheus, under etcd's names where etcd has one, so that
//! dashboards and alerts made for etcd work here.

use std::{
    fmt::{self, Write as _},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use engine::SYNC_SECONDS_BOUNDS;
use tonic::Code;

use crate::{grpc::ETCD_VERSION, keyspaces::Keyspaces};

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
        let sum = |figure: fn(&crate::Handle) -> u64| started.iter().map(figure).sum::<u64>();
        let size = engine.disk_bytes;
        let led = |handle: &&crate::Handle| keyspaces.leader(handle).is_some();
        let leads = |handle: &&crate::Handle| handle.standing().is_leading();
        let leaderless = started.iter().filter(|handle| !led(handle)).count();
        gauge(page, "etcd_server_has_leader", u64::from(leaderless == 0))?;
        gauge(page, "etcd_server_is_leader", u64::from(started.iter().any(|h| leads(&h))))?;
        let leads = started.iter().filter(leads).count() as u64;
        gauge(page, "polis_store_keyspaces_led", leads)?;
        gauge(page, &format!("etcd_server_version{{server_version=\"{ETCD_VERSION}\"}}"), 1)?;
        gauge(page, "etcd_server_quota_backend_bytes", keyspaces.quota().limit_bytes())?;
        gauge(page, "etcd_mvcc_db_total_size_in_bytes", size)?;
        gauge(page, "etcd_mvcc_db_total_size_in_use_in_bytes", size)?;
        gauge(page, "etcd_debugging_mvcc_keys_total", sum(|h| h.standing().keys.load(Relaxed)))?;
        gauge(
            page,
            "etcd_debugging_mvcc_watcher_total",
            sum(|h| h.standing().watchers.load(Relaxed)),
        )?;
        gauge(
            page,
            "etcd_debugging_mvcc_slow_watcher_total",
            sum(|h| h.standing().slow_watchers.load(Relaxed)),
        )?;
        gauge(page, "polis_store_connections", self.connections.load(Relaxed))?;
        if let Some(bytes) = resident_bytes() {
            gauge(page, "process_resident_memory_bytes", bytes)?;
        }
        writeln!(page, "# TYPE polis_store_keyspace_revision gauge")?;
        for handle in &started {
            let (name, revision) = (handle.name(), handle.standing().revision());
            writeln!(page, "polis_store_keyspace_revision{{keyspace=\"{name}\"}} {revision}")?;
        }
        write_syncs(page, &engine)?;
        self.write_methods(page)
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

/// etcd's name for the time that a write-ahead log takes to be durable.
fn write_syncs(page: &mut String, engine: &engine::Metrics) -> fmt::Result {
    const NAME: &str = "etcd_disk_wal_fsync_duration_seconds";
    writeln!(page, "# TYPE {NAME} histogram")?;
    let mut so_far = 0;
    for (bound, count) in SYNC_SECONDS_BOUNDS.iter().zip(&engine.sync_seconds) {
        so_far += count;
        writeln!(page, "{NAME}_bucket{{le=\"{bound}\"}} {so_far}")?;
    }
    writeln!(page, "{NAME}_bucket{{le=\"+Inf\"}} {}", engine.syncs)?;
    writeln!(page, "{NAME}_sum {}", engine.sync_time.as_secs_f64())?;
    writeln!(page, "{NAME}_count {}", engine.syncs)
}

/// None where the kernel does not tell.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}
