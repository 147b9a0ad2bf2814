//! Server-side apply and owners of fields, through the server.

mod support;

use serde_json::{Value, json};
use support::{Answer, CONFIG_MAPS, PODS, Server, admin, config_map, pod};

const APPLY: &str = "application/apply-patch+yaml";

fn map(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data})
}

async fn apply(server: &Server, manager: &str, data: Value) -> Answer {
    let path = format!("{CONFIG_MAPS}/a?fieldManager={manager}");
    server.patch(&path, APPLY, map(data)).await
}

/// `MANAGER OPERATION: FIELDS`, an entry a line.
fn owners(object: &Value) -> Vec<String> {
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let show = |entry: &Value| {
        let text = |field: &str| entry[field].as_str().unwrap_or("-").to_owned();
        format!("{} {}: {}", text("manager"), text("operation"), entry["fieldsV1"])
    };
    entries.iter().map(show).collect()
}

#[tokio::test]
async fn applying_makes_the_object_and_then_changes_it() {
    let server = Server::start();
    let made = apply(&server, "ops", json!({"a": "1", "b": "1"})).await.expect_code(201).json();
    assert_eq!(owners(&made), [r#"ops Apply: {"f:data":{"f:a":{},"f:b":{}}}"#]);
    let same = apply(&server, "ops", json!({"a": "1", "b": "1"})).await.expect_code(200);
    assert_eq!(same.json(), made, "the same again writes nothing");
    let changed = apply(&server, "ops", json!({"a": "2"})).await.expect_code(200).json();
    assert_eq!(changed["data"], json!({"a": "2"}));
    assert_ne!(changed["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);
    let seen = server.get(&format!("{CONFIG_MAPS}/a")).await.json();
    assert_eq!(seen, changed, "owners are kept and shown");
}

#[tokio::test]
async fn conflicts_are_told_field_by_field_and_can_be_forced() {
    let server = Server::start();
    apply(&server, "ops", json!({"a": "1"})).await.expect_code(201);
    let conflict = apply(&server, "other", json!({"a": "2"})).await.expect_code(409);
    assert_eq!(
        conflict.refusal(),
        "409 Conflict: Apply failed with 1 conflict: conflict with \"ops\": .data.a"
    );
    assert_eq!(
        conflict.json()["details"]["causes"],
        json!([{"reason": "FieldManagerConflict", "message": "conflict with \"ops\"", "field": ".data.a"}])
    );
    let forced = apply(&server, "other&force=true", json!({"a": "2"})).await.expect_code(200);
    assert_eq!(owners(&forced.json()), [r#"other Apply: {"f:data":{"f:a":{}}}"#]);
}

#[tokio::test]
async fn every_other_write_is_tracked_under_its_programs_name() {
    let server = Server::start();
    let agent = ("user-agent", "kubectl/v1.37.0 (linux/amd64)");
    let body = config_map("a", json!({"x": "1"})).to_string();
    let made = server.send_as(&admin(), "POST", CONFIG_MAPS, &[agent], body).await;
    let made = made.expect_code(201).json();
    assert_eq!(
        owners(&made),
        [
            r#"kubectl Update: {"f:data":{".":{},"f:a":{}},"f:metadata":{"f:labels":{".":{},"f:x":{}}}}"#
        ]
    );
    let path = format!("{CONFIG_MAPS}/a");
    let named = format!("{path}?fieldManager=me");
    let patched = server.patch(&named, "merge", json!({"data": {"a": "2"}})).await;
    let patched = patched.expect_code(200).json();
    assert_eq!(owners(&patched)[1], r#"me Update: {"f:data":{"f:a":{}}}"#);
    assert!(!owners(&patched)[0].contains("f:a"), "{:?}", owners(&patched));
    let mut sent = patched.clone();
    sent["data"]["b"] = "3".into();
    let put = server.put(&named, sent).await.expect_code(200).json();
    assert_eq!(owners(&put)[1], r#"me Update: {"f:data":{"f:a":{},"f:b":{}}}"#);
    let reset = json!([{"op": "replace", "path": "/metadata/managedFields", "value": [{}]}]);
    let reset = server.patch(&path, "json", reset).await.expect_code(200).json();
    assert!(owners(&reset).is_empty());
}

#[tokio::test]
async fn a_dry_run_of_an_apply_keeps_nothing() {
    let server = Server::start();
    let path = format!("{CONFIG_MAPS}/a?fieldManager=ops&dryRun=All");
    server.patch(&path, APPLY, map(json!({"a": "1"}))).await.expect_code(201);
    server.get(&format!("{CONFIG_MAPS}/a")).await.expect_code(404);
}

#[tokio::test]
async fn lists_by_key_are_merged_by_every_road() {
    let server = Server::with_units().await;
    let mut made = pod("p", "node");
    made["spec"]["containers"][0]["image"] = "zero:1".into();
    server.post(PODS, made).await.expect_code(201);
    let path = format!("{PODS}/p");
    let image = json!({"spec": {"containers": [{"name": "main", "image": "one:1"}]}});
    let patched = server.patch(&path, "strategic", image).await.expect_code(200).json();
    let shown = |pod: &Value| {
        let container = &pod["spec"]["containers"][0];
        json!([container["name"], container["image"], container["command"]])
    };
    assert_eq!(shown(&patched), json!(["main", "one:1", ["true"]]));
    let applied = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "main", "image": "two:1"}]},
    });
    let path = format!("{path}?fieldManager=ops&force=true");
    let answer = server.patch(&path, APPLY, applied).await.expect_code(200).json();
    assert_eq!(shown(&answer), json!(["main", "two:1", ["true"]]));
}

#[tokio::test]
async fn a_status_is_applied_through_its_subresource() {
    let server = Server::with_units().await;
    server.post(PODS, pod("p", "node")).await.expect_code(201);
    let status = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    });
    let path = format!("{PODS}/p/status?fieldManager=agent");
    let answer = server.patch(&path, APPLY, status.clone()).await.expect_code(200).json();
    assert_eq!(answer["status"]["phase"], "Running");
    let entries = answer["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let own = entries.iter().find(|entry| entry["manager"] == "agent").expect("it owns");
    assert_eq!(own["subresource"], "status");
    assert!(own["fieldsV1"].get("f:metadata").is_none(), "{own}");
    // What does not exist has no status.
    let path = format!("{PODS}/q/status?fieldManager=agent");
    server.patch(&path, APPLY, status).await.expect_code(404);
}

#[tokio::test]
async fn wrong_applies_are_refused_in_kubernetes_words() {
    let server = Server::start();
    let path = format!("{CONFIG_MAPS}/a");
    let refusal = |query: &'static str, body: Value| {
        let (server, path) = (&server, &path);
        async move { server.patch(&format!("{path}?{query}"), APPLY, body).await.refusal() }
    };
    assert_eq!(
        refusal("", map(json!({}))).await,
        "422 Invalid: PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is \
         required for apply patch"
    );
    assert_eq!(
        refusal("fieldManager=x", json!({"apiVersion": "v1", "kind": "Secret"})).await,
        "400 BadRequest: invalid object type: /v1, Kind=Secret"
    );
    let mut odd = map(json!({}));
    odd["datum"] = json!({});
    assert_eq!(
        refusal("fieldManager=x", odd).await,
        "400 BadRequest: failed to create typed patch object (/a; /v1, Kind=ConfigMap): .datum: field not \
         declared in schema"
    );
    let mut odd = map(json!({}));
    odd["metadata"]["managedFields"] = json!([{}]);
    assert_eq!(
        refusal("fieldManager=x", odd).await,
        "400 BadRequest: metadata.managedFields must be nil"
    );
    let mut odd = map(json!({}));
    odd["metadata"]["name"] = "b".into();
    assert_eq!(
        refusal("fieldManager=x", odd).await,
        "400 BadRequest: the name of the object (b) does not match the name on the URL (a)"
    );
    let answer = server.patch(&format!("{path}?force=true"), "merge", json!({})).await;
    assert_eq!(
        answer.refusal(),
        "422 Invalid: PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be \
         specified for non-apply patch"
    );
    let long = "x".repeat(129);
    let answer = server.patch(&format!("{path}?fieldManager={long}"), APPLY, map(json!({}))).await;
    assert!(answer.refusal().ends_with("Too long: may not be more than 128 bytes"));
}

#[tokio::test]
async fn yaml_is_applied_and_what_it_says_twice_is_told() {
    let server = Server::start();
    let path = format!("{CONFIG_MAPS}/a?fieldManager=ops");
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  a: one\n  a: two\n";
    let headers = [("content-type", APPLY)];
    let answer = server.send_as(&admin(), "PATCH", &path, &headers, text).await.expect_code(201);
    assert_eq!(answer.json()["data"], json!({"a": "two"}));
    let warning = answer.headers["warning"].to_str().expect("text");
    assert!(warning.contains("already set in map"), "{warning}");
    let strict = format!("{path}&fieldValidation=Strict");
    server.send_as(&admin(), "PATCH", &strict, &headers, text).await.expect_code(400);
}

#[tokio::test]
async fn patches_that_race_are_tried_again_on_what_is_there() {
    let server = Server::start();
    server.post(CONFIG_MAPS, config_map("a", json!({}))).await.expect_code(201);
    let path = format!("{CONFIG_MAPS}/a");
    let patches = (0..8).map(|n| {
        let (server, path) = (&server, &path);
        async move {
            let body = json!({"data": {format!("k{n}"): "x"}});
            server.patch(path, "merge", body).await.code.as_u16()
        }
    });
    let codes = futures::future::join_all(patches).await;
    assert_eq!(codes, [200; 8]);
    let data = server.get(&path).await.json()["data"].clone();
    assert_eq!(data.as_object().map(serde_json::Map::len), Some(9));
}

#[tokio::test]
async fn replicas_are_scaled_and_applied_through_the_subresource() {
    let server = Server::start();
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {
            "replicas": 1, "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": "x"}]},
            },
        },
    });
    let path = format!("{deployments}/web");
    let applied = server.patch(&format!("{path}?fieldManager=ops"), APPLY, deployment).await;
    applied.expect_code(201);
    let scale = format!("{path}/scale?fieldManager=hpa");
    let three = json!({"spec": {"replicas": 3}});
    server.patch(&scale, "merge", three).await.expect_code(200);
    let object = server.get(&path).await.json();
    assert_eq!(object["spec"]["replicas"], 3);
    assert_eq!(owners(&object)[1], r#"hpa Update: {"f:spec":{"f:replicas":{}}}"#);
    let applied = json!({
        "apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web"},
        "spec": {"replicas": 5},
    });
    let conflict = server.patch(&format!("{path}/scale?fieldManager=me"), APPLY, applied).await;
    assert_eq!(
        conflict.refusal(),
        "409 Conflict: Apply failed with 1 conflict: conflict with \"hpa\" with subresource \
         \"scale\" using apps/v1: .spec.replicas"
    );
}
