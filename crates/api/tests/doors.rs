//! Kinds that are not kept, checks of health one by one, and what a write of a
//! status may take along.

mod support;

use http::StatusCode;
use serde_json::{Value, json};
use support::{Server, admin, config_map, pod};

const PODS: &str = "/api/v1/namespaces/default/pods";
const BINDINGS: &str = "/api/v1/namespaces/default/bindings";
const COMPONENTS: &str = "/api/v1/componentstatuses";

fn cluster() -> Server {
    Server::of_cluster(&api::Settings::default())
}

fn binding(pod: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": { "name": pod },
        "target": { "kind": "Node", "name": "n1" },
    })
}

#[tokio::test]
async fn a_binding_is_posted_to_its_own_collection_too() {
    let server = cluster();
    let mut free = pod("p", "");
    free["spec"].as_object_mut().expect("a map").remove("nodeName");
    server.post(PODS, free).await.expect_code(201);
    let answer = server.post(BINDINGS, binding("p")).await.expect_code(201).json();
    assert_eq!((&answer["kind"], &answer["status"]), (&json!("Status"), &json!("Success")));
    assert_eq!(server.get(&format!("{PODS}/p")).await.json()["spec"]["nodeName"], "n1");
    let twice = server.post(BINDINGS, binding("p")).await.refusal();
    assert!(twice.contains("409 Conflict") && twice.contains("already assigned"), "{twice}");
    server.post(BINDINGS, binding("q")).await.expect_code(404);
    let mut nameless = binding("");
    nameless["metadata"] = json!({});
    server.post(BINDINGS, nameless).await.expect_code(400);
    server.get(BINDINGS).await.expect_code(405);
    // Where pods are only looked at, nobody binds them.
    Server::start().post(BINDINGS, binding("p")).await.expect_code(404);
}

#[tokio::test]
async fn the_store_is_a_component() {
    let server = cluster();
    let answer = server.get(COMPONENTS).await.expect_code(200);
    assert_eq!(answer.names(), ["etcd-0"]);
    assert_eq!(answer.json()["kind"], "ComponentStatusList");
    assert!(answer.headers["warning"].to_str().expect("text").contains("is deprecated in v1.19+"));
    let table = server.table(COMPONENTS).await.expect_code(200).json();
    assert_eq!(table["rows"][0]["cells"], json!(["etcd-0", "Healthy", "ok", ""]));
    let one = server.get(&format!("{COMPONENTS}/etcd-0")).await.expect_code(200).json();
    assert_eq!(one["conditions"][0]["status"], "True");
    server.get(&format!("{COMPONENTS}/scheduler")).await.expect_code(404);
    server.post(COMPONENTS, json!({})).await.expect_code(405);
    let none = server.get(&format!("{COMPONENTS}?labelSelector=a%3Db")).await;
    assert_eq!(none.names(), [""; 0]);
    let found = server.get("/api/v1").await.json();
    let kinds = found["resources"].as_array().expect("a list");
    let kind = |name: &str| kinds.iter().find(|one| one["name"] == name).cloned();
    assert_eq!(kind("componentstatuses").expect("served")["shortNames"], json!(["cs"]));
    assert_eq!(kind("bindings").expect("served")["verbs"], json!(["create"]));
}

#[tokio::test]
async fn checks_of_health_are_asked_for_one_by_one() {
    let server = cluster();
    let check = async |path: &str, code: u16, text: &str| {
        let answer = server.get(path).await.expect_code(code);
        assert!(text.is_empty() || answer.text == text, "{path}: {}", answer.text);
    };
    check("/readyz/etcd", 200, "ok").await;
    check("/livez/ping", 200, "ok").await;
    check("/livez/etcd", 404, "").await;
    let whole = "[+]ping ok\n[+]etcd ok\n[+]shutdown ok\nreadyz check passed\n";
    check("/readyz?verbose", 200, whole).await;
    let part = "[+]ping ok\n[+]etcd excluded: ok\n[+]shutdown ok\nreadyz check passed\n";
    check("/readyz?verbose&exclude=etcd", 200, part).await;
}

/// Labels, annotations and finalizers of `path` after a status with others was
/// written.
async fn taken(server: &Server, path: &str, object: &Value) -> [bool; 3] {
    let mut object = object.clone();
    let metadata = object["metadata"].as_object_mut().expect("a map");
    metadata.insert("labels".into(), json!({ "a": "2" }));
    metadata.insert("annotations".into(), json!({ "a": "2" }));
    metadata.insert("finalizers".into(), json!(["example.com/a"]));
    let written = server.put(&format!("{path}/status"), object).await.expect_code(200).json();
    let metadata = &written["metadata"];
    [
        metadata["labels"]["a"] == "2",
        metadata["annotations"]["a"] == "2",
        metadata["finalizers"] == json!(["example.com/a"]),
    ]
}

#[tokio::test]
async fn a_status_takes_along_what_kubernetes_lets_it() {
    let server = cluster();
    let template = json!({
        "metadata": { "labels": { "app": "a" } },
        "spec": { "containers": [{ "name": "a", "image": "a" }] },
    });
    let selector = json!({ "matchLabels": { "app": "a" } });
    let workload = |kind: &str| {
        json!({
            "apiVersion": "apps/v1", "kind": kind, "metadata": { "name": "a" },
            "spec": { "selector": selector, "template": template },
        })
    };
    let apps = "/apis/apps/v1/namespaces/default";
    for (plural, kind, expected) in [
        ("replicasets", "ReplicaSet", [true, true, true]),
        ("deployments", "Deployment", [false, true, true]),
    ] {
        let created = server.post(&format!("{apps}/{plural}"), workload(kind)).await;
        let object = created.expect_code(201).json();
        assert_eq!(
            taken(&server, &format!("{apps}/{plural}/a"), &object).await,
            expected,
            "{kind}"
        );
    }
    let pod = server.post(PODS, pod("p", "n1")).await.expect_code(201).json();
    assert_eq!(taken(&server, &format!("{PODS}/p"), &pod).await, [true, true, true]);

    // By whom it was written stands there, too.
    let object = server.get(&format!("{apps}/replicasets/a")).await.json();
    let entries = object["metadata"]["managedFields"].as_array().expect("a list");
    let status = entries.iter().find(|entry| entry["subresource"] == "status").expect("an entry");
    assert!(status["fieldsV1"]["f:metadata"]["f:labels"]["f:a"].is_object(), "{status}");
}

#[tokio::test]
async fn a_status_of_a_newer_kind_takes_nothing_along() {
    let server = cluster();
    let slices = "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas";
    let schema = json!({
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema",
        "metadata": { "name": "a", "labels": { "a": "1" } },
        "spec": { "priorityLevelConfiguration": { "name": "x" } },
    });
    let object = server.post(slices, schema).await.expect_code(201).json();
    assert_eq!(taken(&server, &format!("{slices}/a"), &object).await, [false; 3]);
}

#[tokio::test]
async fn a_websocket_needs_a_connection_that_can_become_one() {
    let server = cluster();
    server.post(support::CONFIG_MAPS, config_map("a", json!({}))).await.expect_code(201);
    let headers = [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let path = format!("{}?watch=1", support::CONFIG_MAPS);
    let answer = server.send_as(&admin(), "GET", &path, &headers, "").await;
    assert_eq!(answer.code, StatusCode::BAD_REQUEST, "{}", answer.text);
}
