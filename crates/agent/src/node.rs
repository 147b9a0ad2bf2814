//! The Node of a center in one of its units: registered once, kept alive by a
//! Lease, described again now and then.

use std::{fs, net::IpAddr, time::Duration};

use client::Door;
use k8s_openapi::{
    api::{
        coordination::v1::{Lease, LeaseSpec},
        core::v1::{
            DaemonEndpoint, Namespace, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints,
            NodeStatus, NodeSystemInfo,
        },
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{MicroTime, ObjectMeta, Time},
    },
    jiff::Timestamp,
};
use rt::{Drain, backoff::Backoff, random::Random};
use serde_json::json;
use topology::{CenterName, CityName};

use crate::config::PODS_MAX;

const LEASE_NAMESPACE: &str = "kube-node-lease";
const BEAT: Duration = Duration::from_secs(10);
/// After this many seconds without a beat others may call the Node lost.
const LEASE_SECONDS: i32 = 40;
/// The Node's status is told again after so many beats: five minutes.
const BEATS_PER_STATUS: u32 = 30;

const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub(crate) struct Reporter {
    pub door: Door,
    pub city: CityName,
    pub center: CenterName,
    pub address: IpAddr,
    pub port: u16,
    /// Whether the Node is told to be unready when the agent ends.
    pub leaves: bool,
    /// Since when the Node is ready.
    pub since: Timestamp,
}

// === impl Reporter ===

impl Reporter {
    pub(crate) async fn run(self, drain: Drain) {
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MAX, Random::from_entropy());
        let mut beats = 0;
        loop {
            let reported = self.report(beats).await;
            let wait = match &reported {
                Ok(()) => {
                    backoff.reset();
                    beats = (beats + 1) % BEATS_PER_STATUS;
                    BEAT
                }
                Err(error) => {
                    tracing::debug!(node = %self.center, %error, "could not report the node");
                    // What is missing is made at the next try.
                    beats = 0;
                    backoff.step()
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = drain.started() => break,
            }
        }
        if self.leaves {
            let status = json!({ "status": { "conditions": [self.condition(false)] } });
            let told = self.door.all::<Node>();
            let told = told.patch_status(self.center.as_str(), &status);
            let _ = tokio::time::timeout(Duration::from_secs(1), told).await;
        }
    }

    async fn report(&self, beats: u32) -> Result<(), client::Error> {
        if beats == 0 {
            self.register().await?;
        }
        if !self.is_ready().await? {
            // Whoever missed our beats has said so.
            self.register().await?;
        }
        let leases = self.door.namespaced::<Lease>(LEASE_NAMESPACE);
        let renewed = json!({ "spec": { "renewTime": MicroTime(Timestamp::now()) } });
        leases.patch(self.center.as_str(), &renewed).await.map(drop)
    }

    /// Whether the API shows the Node as ready.
    async fn is_ready(&self) -> Result<bool, client::Error> {
        let node = self.door.all::<Node>().get(self.center.as_str()).await?;
        let conditions = node.status.and_then(|status| status.conditions).unwrap_or_default();
        Ok(conditions.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
    }

    /// Makes what is missing and tells everything.
    async fn register(&self) -> Result<(), client::Error> {
        let name = self.center.to_string();
        let metadata = ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() };
        let nodes = self.door.all::<Node>();
        let node = Node { metadata: metadata.clone(), ..Node::default() };
        nodes.create_if_absent(&node).await?;
        nodes.patch(&name, &json!({ "metadata": { "labels": self.labels() } })).await?;
        nodes.patch_status(&name, &json!({ "status": self.status() })).await?;

        let namespace = ObjectMeta { name: Some(LEASE_NAMESPACE.into()), ..ObjectMeta::default() };
        let namespace = Namespace { metadata: namespace, ..Namespace::default() };
        self.door.all::<Namespace>().create_if_absent(&namespace).await?;
        let lease = Lease {
            metadata: ObjectMeta { namespace: Some(LEASE_NAMESPACE.into()), ..metadata },
            spec: Some(LeaseSpec {
                holder_identity: Some(name),
                lease_duration_seconds: Some(LEASE_SECONDS),
                renew_time: Some(MicroTime(Timestamp::now())),
                ..LeaseSpec::default()
            }),
        };
        self.door.namespaced(LEASE_NAMESPACE).create_if_absent(&lease).await.map(drop)
    }

    fn labels(&self) -> serde_json::Value {
        json!({
            "kubernetes.io/hostname": self.center,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": arch(),
            "topology.kubernetes.io/zone": self.center,
            "topology.kubernetes.io/region": self.city,
            "polis.dev/mode": "vm",
            "polis.dev/runtime-package": "process",
        })
    }

    fn status(&self) -> NodeStatus {
        let address = |kind: &str, address: String| NodeAddress { address, type_: kind.into() };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let capacity: std::collections::BTreeMap<_, _> = [
            ("cpu".to_owned(), Quantity(cores.to_string())),
            ("memory".to_owned(), Quantity(format!("{}Ki", memory_kib()))),
            ("pods".to_owned(), Quantity(PODS_MAX.to_string())),
        ]
        .into();
        NodeStatus {
            addresses: Some(vec![
                address("InternalIP", self.address.to_string()),
                address("Hostname", self.center.to_string()),
            ]),
            allocatable: Some(capacity.clone()),
            capacity: Some(capacity),
            conditions: Some(vec![self.condition(true)]),
            daemon_endpoints: Some(NodeDaemonEndpoints {
                kubelet_endpoint: Some(DaemonEndpoint { port: self.port.into() }),
            }),
            node_info: Some(NodeSystemInfo {
                architecture: arch().into(),
                boot_id: read("/proc/sys/kernel/random/boot_id"),
                container_runtime_version: "polis://package".into(),
                kernel_version: read("/proc/sys/kernel/osrelease"),
                kube_proxy_version: String::new(),
                kubelet_version: concat!("v", env!("CARGO_PKG_VERSION"), "-polis").into(),
                machine_id: read("/etc/machine-id"),
                operating_system: "linux".into(),
                os_image: os_image(),
                ..NodeSystemInfo::default()
            }),
            ..NodeStatus::default()
        }
    }

    fn condition(&self, ready: bool) -> NodeCondition {
        let now = Timestamp::now();
        let stopped = "the agent was stopped, and its pods with it";
        let (status, reason, message, since) = match ready {
            true => ("True", "AgentReady", "the agent runs pods", self.since),
            false => ("False", "AgentStopped", stopped, now),
        };
        NodeCondition {
            type_: "Ready".into(),
            status: status.into(),
            reason: Some(reason.into()),
            message: Some(message.into()),
            last_heartbeat_time: Some(Time(now)),
            last_transition_time: Some(Time(since)),
        }
    }
}

/// In Go's words, which Kubernetes uses.
fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Information for people: what cannot be read is left empty.
fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn os_image() -> String {
    let release = read("/etc/os-release");
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.unwrap_or("Linux").trim_matches('"').to_owned()
}

fn memory_kib() -> u64 {
    let info = read("/proc/meminfo");
    let total = info.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    total.and_then(|total| total.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}
