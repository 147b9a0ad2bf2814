//! What a node's certificate lets it do, on a plain cluster.

mod support;

use api::{Caller, Settings, settings::AuthorizationMode};
use serde_json::{Value, json};
use support::{Server, pod};

const PODS: &str = "/api/v1/namespaces/default/pods";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
const PATCH: (&str, &str) = ("content-type", "application/merge-patch+json");

async fn send(server: &Server, method: &str, path: &str, body: Value) -> u16 {
    let node = Caller::user("system:node:n1", ["system:nodes".to_owned()]);
    let headers = if method == "PATCH" { &[PATCH][..] } else { &[] };
    let answer = server.send_as(&node, method, path, headers, body.to_string()).await;
    answer.code.as_u16()
}

#[tokio::test]
async fn a_node_writes_itself_and_its_own_pods() {
    let settings = Settings { authorization: vec![AuthorizationMode::Node], ..Settings::default() };
    let server = Server::of_cluster(&settings);
    let named = |name: &str| json!({"metadata": {"name": name}});
    server.post("/api/v1/namespaces", named("kube-node-lease")).await;
    for (name, node) in [("own", "n1"), ("other", "n2"), ("evicted", "n1")] {
        server.post(PODS, pod(name, node)).await.expect_code(201);
    }
    let status = || json!({"status": {"phase": "Running"}});
    let own = format!("{PODS}/own/status");
    let seen = async {
        while send(&server, "PATCH", &own, status()).await != 200 {
            tokio::task::yield_now().await;
        }
    };
    let deadline = std::time::Duration::from_secs(120);
    tokio::time::timeout(deadline, seen).await.expect("the mirror has seen it");

    let mirror = |name: &str, node: &str| {
        let mut pod = pod(name, node);
        pod["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "7"});
        pod
    };
    let mut greedy = mirror("greedy", "n1");
    greedy["spec"]["volumes"] = json!([{"name": "s", "secret": {"secretName": "of-others"}}]);
    let eviction = |name: &str| json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}});
    for (method, path, body, code) in [
        ("GET", format!("{PODS}/other"), Value::Null, 200),
        ("PATCH", format!("{PODS}/other/status"), status(), 403),
        ("DELETE", format!("{PODS}/other"), json!({}), 403),
        ("POST", format!("{PODS}/other/eviction"), eviction("other"), 403),
        ("POST", format!("{PODS}/evicted/eviction"), eviction("evicted"), 201),
        ("DELETE", format!("{PODS}/own"), json!({}), 200),
        ("POST", PODS.into(), pod("plain", "n1"), 403),
        ("POST", PODS.into(), greedy, 403),
        ("POST", PODS.into(), mirror("elsewhere", "n2"), 403),
        ("POST", PODS.into(), mirror("static", "n1"), 201),
        ("POST", "/api/v1/nodes".into(), named("n2"), 403),
        ("POST", "/api/v1/nodes".into(), named("n1"), 201),
        ("PATCH", "/api/v1/nodes/n1/status".into(), json!({}), 200),
        ("PATCH", "/api/v1/nodes/n2/status".into(), json!({}), 403),
        ("POST", LEASES.into(), named("n2"), 403),
        ("POST", LEASES.into(), named("n1"), 201),
        ("PATCH", format!("{LEASES}/n1"), json!({"spec": {"holderIdentity": "n1"}}), 200),
        ("PATCH", format!("{LEASES}/n2"), json!({}), 403),
    ] {
        let answered = send(&server, method, &path, body).await;
        assert_eq!(answered, code, "{method} {path}");
    }
}
