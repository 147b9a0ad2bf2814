//! What becomes of what belonged to a deleted object, and of a namespace.

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{CONFIG_MAPS, Server, config_map, pod};

/// Far longer than the collector takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(120);

/// Waits until `path` answers with `code`.
async fn until(server: &Server, path: &str, code: u16) -> Value {
    let started = tokio::time::Instant::now();
    loop {
        let answer = server.get(path).await;
        if answer.code == code {
            return answer.json();
        }
        assert!(started.elapsed() < DEADLINE, "{path}: {}", answer.text);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Creates a config map that belongs to others.
async fn owned(server: &Server, name: &str, owners: &[(&str, &str)]) -> String {
    let mut object = config_map(name, json!({}));
    let owners: Vec<Value> = owners
        .iter()
        .map(|(name, uid)| json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid, "blockOwnerDeletion": true}))
        .collect();
    object["metadata"]["ownerReferences"] = owners.into();
    let created = server.post(CONFIG_MAPS, object).await.expect_code(201).json();
    created["metadata"]["uid"].as_str().expect("a uid").to_owned()
}

fn at(name: &str) -> String {
    format!("{CONFIG_MAPS}/{name}")
}

#[tokio::test]
async fn what_belonged_to_an_object_goes_after_it_and_what_has_another_owner_stays() {
    let server = Server::start();
    let root = owned(&server, "root", &[]).await;
    let other = owned(&server, "other", &[]).await;
    let child = owned(&server, "child", &[("root", &root)]).await;
    owned(&server, "grandchild", &[("child", &child)]).await;
    owned(&server, "shared", &[("root", &root), ("other", &other)]).await;
    owned(&server, "forged", &[("root", "no-such-uid")]).await;
    server.delete(&at("root"), json!({})).await.expect_code(200);
    for gone in ["child", "grandchild", "forged"] {
        until(&server, &at(gone), 404).await;
    }
    let started = tokio::time::Instant::now();
    loop {
        let shared = until(&server, &at("shared"), 200).await;
        let owners = shared["metadata"]["ownerReferences"].as_array().expect("owners").clone();
        if owners.len() == 1 {
            assert_eq!(owners[0]["name"], "other");
            break;
        }
        assert!(started.elapsed() < DEADLINE, "{shared}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn an_object_deleted_in_the_foreground_waits_for_what_belongs_to_it() {
    let server = Server::start();
    let root = owned(&server, "root", &[]).await;
    let mut child = config_map("child", json!({}));
    child["metadata"]["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "root", "uid": root, "blockOwnerDeletion": true}]);
    child["metadata"]["finalizers"] = json!(["example.com/hold"]);
    server.post(CONFIG_MAPS, child).await.expect_code(201);
    let options = json!({"propagationPolicy": "Foreground"});
    let going = server.delete(&at("root"), options).await.expect_code(200).json();
    assert_eq!(going["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    let started = tokio::time::Instant::now();
    while server.get(&at("child")).await.json()["metadata"]["deletionTimestamp"].is_null() {
        assert!(started.elapsed() < DEADLINE, "the child is not deleted");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    server.get(&at("root")).await.expect_code(200);
    let free = json!({"metadata": {"finalizers": null}});
    server.patch(&at("child"), "merge", free).await.expect_code(200);
    until(&server, &at("child"), 404).await;
    until(&server, &at("root"), 404).await;
}

#[tokio::test]
async fn orphans_go_on_alone() {
    let server = Server::start();
    let root = owned(&server, "root", &[]).await;
    owned(&server, "child", &[("root", &root)]).await;
    server
        .delete(&format!("{}?propagationPolicy=Orphan", at("root")), json!({}))
        .await
        .expect_code(200);
    until(&server, &at("root"), 404).await;
    let child = until(&server, &at("child"), 200).await;
    assert!(child["metadata"]["ownerReferences"].as_array().is_none_or(Vec::is_empty), "{child}");
    let odd = format!("{}?propagationPolicy=Sideways", at("child"));
    server.delete(&odd, json!({})).await.expect_code(400);
}

#[tokio::test]
async fn a_namespace_goes_once_the_last_object_in_it_does() {
    let server = Server::start();
    let namespace = json!({"metadata": {"name": "doomed"}});
    server.post("/api/v1/namespaces", namespace).await.expect_code(201);
    let mut held = config_map("held", json!({}));
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    let maps = "/api/v1/namespaces/doomed/configmaps";
    server.post(maps, held).await.expect_code(201);
    server.post(maps, config_map("free", json!({}))).await.expect_code(201);
    let going = server.delete("/api/v1/namespaces/doomed", json!({})).await.expect_code(200).json();
    assert_eq!(going["status"]["phase"], "Terminating");
    until(&server, &format!("{maps}/free"), 404).await;
    server.post(maps, config_map("late", json!({}))).await.expect_code(403);
    let free = json!({"metadata": {"finalizers": null}});
    server.patch(&format!("{maps}/held"), "merge", free).await.expect_code(200);
    until(&server, "/api/v1/namespaces/doomed", 404).await;
}

#[tokio::test]
async fn pods_go_first_when_a_namespace_goes() {
    let server = Server::of_cluster(&api::Settings::default());
    let namespace = json!({"metadata": {"name": "ordered"}});
    server.post("/api/v1/namespaces", namespace).await.expect_code(201);
    let (pods, maps) = ("/api/v1/namespaces/ordered/pods", "/api/v1/namespaces/ordered/configmaps");
    for name in ["first", "second"] {
        let mut held = pod(name, "n");
        held["metadata"]["finalizers"] = json!(["example.com/hold"]);
        server.post(pods, held).await.expect_code(201);
    }
    server.post(maps, config_map("needed", json!({}))).await.expect_code(201);
    server.delete("/api/v1/namespaces/ordered", json!({})).await.expect_code(200);
    let free = json!({"metadata": {"finalizers": null}});
    for name in ["first", "second"] {
        let path = format!("{pods}/{name}");
        let going = server.get(&path).await.expect_code(200).json();
        assert!(going["metadata"]["deletionTimestamp"].is_string(), "{going}");
        // One Pod is left at least.
        let map = server.get(&format!("{maps}/needed")).await.expect_code(200).json();
        assert!(map["metadata"]["deletionTimestamp"].is_null(), "{map}");
        server.patch(&path, "merge", free.clone()).await.expect_code(200);
        // Where it runs, it has ended.
        server.delete(&path, json!({"gracePeriodSeconds": 0})).await;
    }
    until(&server, &format!("{maps}/needed"), 404).await;
    until(&server, "/api/v1/namespaces/ordered", 404).await;
}
