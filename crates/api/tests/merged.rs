//! The federation's view over all units.

mod support;

use serde_json::json;
use support::{PODS, Server, UNITS, pod, unit};

const ALL_PODS: &str = "/api/v1/pods";

fn pods_of(unit: &str) -> String {
    PODS.replace("rz01", unit)
}

/// Polls until the view shows as many pods: it trails the units by an event.
async fn until_pods(server: &Server, count: usize) -> Vec<String> {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(120);
    loop {
        let names = server.get(ALL_PODS).await.expect_code(200).names();
        if names.len() == count {
            return names;
        }
        assert!(tokio::time::Instant::now() < deadline, "still {names:?}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn pods_of_all_units_are_listed_with_where_they_are() {
    let server = Server::with_units().await;
    for name in ["rz01", "rz02"] {
        server.post(&pods_of(name), pod("same", "n")).await.expect_code(201);
    }
    let created = server.post(&pods_of("rz03"), pod("other", "n")).await.expect_code(201);
    let list = server.get(ALL_PODS).await.expect_code(200);
    assert_eq!(list.names(), ["other", "same", "same"]);
    let annotations = list.json()["items"][0]["metadata"]["annotations"].clone();
    assert_eq!(annotations["polis.dev/unit"], "rz03");
    assert_eq!(annotations["polis.dev/resource-version"], created.version());

    let one = server.get("/api/v1/namespaces/default/pods/other").await.expect_code(200).json();
    assert_eq!(one["metadata"]["annotations"]["polis.dev/unit"], "rz03");
    let two = server.get("/api/v1/namespaces/default/pods/same").await;
    assert!(two.refusal().contains("one of rz01, rz02"), "{}", two.text);
    server.get("/api/v1/namespaces/default/pods/none").await.expect_code(404);

    let table = server.table(ALL_PODS).await.json();
    assert_eq!(table["columnDefinitions"][1]["name"], "Unit");
    assert_eq!(table["rows"][1]["cells"][1], "rz01");
}

#[tokio::test]
async fn writes_are_sent_to_the_units_door() {
    let server = Server::with_units().await;
    let answer = server.post("/api/v1/namespaces/default/pods", pod("p", "n")).await;
    assert_eq!(answer.code, 405);
    assert!(answer.text.contains("/units/NAME/api/v1/namespaces/default/pods"), "{}", answer.text);
}

#[tokio::test]
async fn a_watch_goes_on_where_the_list_ended() {
    let server = Server::with_units().await;
    server.post(PODS, pod("a", "n")).await.expect_code(201);
    let list = server.get(ALL_PODS).await.expect_code(200);
    let version: u64 = list.version().parse().expect("a decimal number");
    server.post(&pods_of("rz02"), pod("b", "n")).await.expect_code(201);
    server.delete(&format!("{PODS}/a"), json!({"gracePeriodSeconds": 0})).await.expect_code(200);
    until_pods(&server, 1).await;
    let mut watch = server.watch(&format!("{ALL_PODS}?watch=1&resourceVersion={version}")).await;
    let mut seen = vec![watch.event().await];
    let second = watch.next().await.expect("a frame");
    seen.push(format!(
        "{} {}",
        second["type"].as_str().expect("a type"),
        second["object"]["metadata"]["name"].as_str().expect("a name")
    ));
    // Of different units, so in either order.
    seen.sort();
    assert_eq!(seen, ["ADDED b", "DELETED a"]);
    let told = second["object"]["metadata"]["resourceVersion"].as_str().expect("a version");
    assert!(told.parse::<u64>().expect("a decimal number") > version);
}

#[tokio::test]
async fn versions_of_another_sequencer_are_gone() {
    let server = Server::with_units().await;
    let version = server.get(ALL_PODS).await.version();
    // Another replica over the same store.
    let other = server.replica();
    let own = other.get(ALL_PODS).await.version();
    assert_ne!(version, own);
    let path = format!("{ALL_PODS}?watch=1&resourceVersion={version}");
    let frame = other.watch(&path).await.next().await.expect("a frame");
    assert_eq!((&frame["type"], &frame["object"]["code"]), (&json!("ERROR"), &json!(410)));
    let list = other.get(&format!("{ALL_PODS}?resourceVersion={version}")).await;
    assert!(list.refusal().starts_with("410 Expired"), "{}", list.text);
}

#[tokio::test]
async fn units_come_and_go_with_their_objects() {
    let server = Server::with_units().await;
    let mut watch = server.watch(&format!("{ALL_PODS}?watch=1&labelSelector=app%3Dledger")).await;
    server.post(UNITS, unit("rz06")).await.expect_code(201);
    server.post(&pods_of("rz06"), pod("new", "n")).await.expect_code(201);
    assert_eq!(watch.event().await, "ADDED new");
    server.delete(&format!("{UNITS}/rz06"), json!({})).await.expect_code(200);
    assert_eq!(watch.event().await, "DELETED new");
    until_pods(&server, 0).await;
}
