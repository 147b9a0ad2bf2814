//! A Node whose agent renews no lease any more is not ready, and its Pods are
//! not.

use client::k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{Node, Pod},
};
use serde_json::{Value, json};

use crate::support::{Estate, eventually};

/// The status of the Ready condition.
fn ready(status: Value) -> Option<String> {
    let conditions = status["conditions"].as_array()?.clone();
    let ready = conditions.iter().find(|condition| condition["type"] == "Ready")?;
    Some(ready["status"].as_str()?.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_beats_and_its_pods_are_not_ready() {
    let estate = Estate::start().await;
    let door = estate.client("west-1").unit(&"rz05".parse().expect("a name"));
    let pods = door.namespaced::<Pod>("payments");
    let pod_ready = async || {
        let pod = pods.get("ledger-rz05-0").await.ok()?;
        ready(serde_json::to_value(pod.status).expect("JSON"))
    };
    eventually("the pod is ready", async || pod_ready().await.as_deref() == Some("True")).await;

    let node: Node =
        serde_json::from_value(json!({ "metadata": { "name": "west-1" } })).expect("a node");
    let nodes = door.all::<Node>();
    nodes.create_if_absent(&node).await.expect("create the node");
    let condition = json!({ "type": "Ready", "status": "True", "reason": "AgentReady" });
    let status = json!({ "status": { "conditions": [condition] } });
    nodes.patch_status("west-1", &status).await.expect("tell that it is ready");
    let lease: Lease = serde_json::from_value(json!({
        "metadata": { "name": "west-1", "namespace": "kube-node-lease" },
        "spec": { "leaseDurationSeconds": 1, "renewTime": "2026-01-01T00:00:00.000000Z" },
    }))
    .expect("a lease");
    door.namespaced("kube-node-lease").create_if_absent(&lease).await.expect("create the lease");

    eventually("the node is unknown", async || {
        let node = nodes.get("west-1").await.expect("a node");
        ready(serde_json::to_value(node.status).expect("JSON")).as_deref() == Some("Unknown")
    })
    .await;
    eventually("its pod is not ready", async || pod_ready().await.as_deref() == Some("False"))
        .await;
}
