//! Watches: every change once, in order, and a clear word when history is gone.

mod support;

use kv::Revision;
use serde_json::json;
use support::{CONFIG_MAPS, Server, config_map};

#[tokio::test]
async fn a_watch_starts_with_what_is_there_and_goes_on() {
    let server = Server::start();
    server.post(CONFIG_MAPS, config_map("a", json!({}))).await.expect_code(201);
    let mut watch = server.watch(&format!("{CONFIG_MAPS}?watch=true")).await;
    assert_eq!(watch.event().await, "ADDED a");
    server.post(CONFIG_MAPS, config_map("b", json!({}))).await.expect_code(201);
    assert_eq!(watch.event().await, "ADDED b");
    let path = format!("{CONFIG_MAPS}/a");
    server.patch(&path, "merge", json!({"data": {"a": "2"}})).await.expect_code(200);
    assert_eq!(watch.event().await, "MODIFIED a");
    server.delete(&path, json!({})).await.expect_code(200);
    let gone = watch.next().await.expect("a frame");
    assert_eq!((&gone["type"], &gone["object"]["data"]["a"]), (&json!("DELETED"), &json!("2")));
    let listed = server.get(CONFIG_MAPS).await.version();
    assert_eq!(gone["object"]["metadata"]["resourceVersion"], listed.as_str());
}

#[tokio::test]
async fn a_watch_from_a_version_tells_what_came_after_it() {
    let server = Server::start();
    let first = server.post(CONFIG_MAPS, config_map("a", json!({}))).await.version();
    server.post(CONFIG_MAPS, config_map("b", json!({}))).await.expect_code(201);
    let path = format!("{CONFIG_MAPS}?watch=1&resourceVersion={first}");
    assert_eq!(server.watch(&path).await.event().await, "ADDED b");
}

#[tokio::test]
async fn objects_enter_and_leave_a_selection() {
    let server = Server::start();
    let path = format!("{CONFIG_MAPS}?watch=1&labelSelector=on%3Dyes");
    let mut watch = server.watch(&path).await;
    server.post(CONFIG_MAPS, config_map("a", json!({"on": "no"}))).await.expect_code(201);
    let object = format!("{CONFIG_MAPS}/a");
    for on in ["yes", "yes", "no", "yes"] {
        let patch = json!({"metadata": {"labels": {"on": on}}, "data": {"n": on}});
        server.patch(&object, "merge", patch).await.expect_code(200);
    }
    server.patch(&object, "merge", json!({"data": {"n": "again"}})).await.expect_code(200);
    assert_eq!(watch.event().await, "ADDED a");
    assert_eq!(watch.event().await, "DELETED a");
    assert_eq!(watch.event().await, "ADDED a");
    assert_eq!(watch.event().await, "MODIFIED a");
}

#[tokio::test]
async fn one_object_can_be_watched() {
    let server = Server::start();
    server.post(CONFIG_MAPS, config_map("a", json!({}))).await.expect_code(201);
    let path = format!("{CONFIG_MAPS}?watch=1&fieldSelector=metadata.name%3Db");
    let mut watch = server.watch(&path).await;
    server.post(CONFIG_MAPS, config_map("b", json!({}))).await.expect_code(201);
    server.delete(&format!("{CONFIG_MAPS}/a"), json!({})).await.expect_code(200);
    server.delete(&format!("{CONFIG_MAPS}/b"), json!({})).await.expect_code(200);
    assert_eq!(watch.event().await, "ADDED b");
    assert_eq!(watch.event().await, "DELETED b");
}

#[tokio::test]
async fn a_version_that_is_gone_is_told_as_410() {
    let server = Server::start();
    let first = server.post(CONFIG_MAPS, config_map("a", json!({}))).await.version();
    for n in 0..5 {
        let patch = json!({"data": {"n": n.to_string()}});
        server.patch(&format!("{CONFIG_MAPS}/a"), "merge", patch).await.expect_code(200);
    }
    let newest = server.get(CONFIG_MAPS).await.version().parse().expect("a number");
    (server.keyspaces)("federation").compact(Revision(newest)).await.expect("compacts");
    let path = format!("{CONFIG_MAPS}?watch=1&resourceVersion={first}");
    // This replica may still remember; one that starts now cannot.
    let late = server.replica();
    late.get(CONFIG_MAPS).await.expect_code(200);
    let mut watch = late.watch(&path).await;
    let frame = watch.next().await.expect("a frame");
    assert_eq!(frame["type"], "ERROR");
    assert_eq!(frame["object"]["code"], 410);
    assert_eq!(frame["object"]["reason"], "Expired");
    assert_eq!(watch.next().await, None, "and the stream ends");
}

#[tokio::test]
async fn initial_events_end_with_a_marked_bookmark() {
    let server = Server::start();
    server.post(CONFIG_MAPS, config_map("a", json!({}))).await.expect_code(201);
    let path = format!(
        "{CONFIG_MAPS}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    );
    let mut watch = server.watch(&path).await;
    assert_eq!(watch.event().await, "ADDED a");
    let bookmark = watch.next().await.expect("a frame");
    assert_eq!(bookmark["type"], "BOOKMARK");
    let metadata = &bookmark["object"]["metadata"];
    assert_eq!(metadata["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!(metadata["resourceVersion"], server.get(CONFIG_MAPS).await.version());
    let wrong = format!("{CONFIG_MAPS}?watch=1&sendInitialEvents=true");
    server.get(&wrong).await.expect_code(400);
}

#[tokio::test]
async fn a_watch_ends_when_its_time_is_over_and_says_how_far_it_came() {
    let server = Server::start();
    let path = format!("{CONFIG_MAPS}?watch=1&timeoutSeconds=1&allowWatchBookmarks=1");
    let mut watch = server.watch(&path).await;
    assert_eq!(watch.next().await.expect("a frame")["type"], "BOOKMARK");
    assert_eq!(watch.next().await, None);
}

#[tokio::test]
async fn watches_can_be_tables() {
    let server = Server::start();
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let mut watch = server.watch_with(&format!("{CONFIG_MAPS}?watch=1"), &accept).await;
    for name in ["a", "b"] {
        server.post(CONFIG_MAPS, config_map(name, json!({}))).await.expect_code(201);
    }
    let first = watch.next().await.expect("a frame");
    assert_eq!(first["object"]["kind"], "Table");
    assert_eq!(first["object"]["columnDefinitions"][0]["name"], "Name");
    assert_eq!(first["object"]["rows"][0]["cells"][0], "a");
    let second = watch.next().await.expect("a frame");
    assert_eq!(second["object"]["columnDefinitions"], json!(null));
}

#[tokio::test]
async fn in_a_table_the_end_of_the_start_is_a_row_that_says_so() {
    let server = Server::start();
    server.post(CONFIG_MAPS, config_map("a", json!({}))).await.expect_code(201);
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    for include in ["Metadata", "None", "Object"] {
        let path = format!(
            "{CONFIG_MAPS}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&includeObject={include}"
        );
        let mut watch = server.watch_with(&path, &accept).await;
        assert_eq!(watch.next().await.expect("a frame")["type"], "ADDED");
        let bookmark = watch.next().await.expect("a frame");
        assert_eq!(bookmark["type"], "BOOKMARK");
        let table = &bookmark["object"];
        assert_eq!(table["rows"].as_array().map(Vec::len), Some(1), "{table}");
        let metadata = &table["rows"][0]["object"]["metadata"];
        assert_eq!(metadata["annotations"]["k8s.io/initial-events-end"], "true", "{table}");
        assert_eq!(metadata["resourceVersion"], table["metadata"]["resourceVersion"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_cut() {
    let server = Server::start();
    let mut watch = server.watch(&format!("{CONFIG_MAPS}?watch=1")).await;
    for n in 0..100 {
        server.post(CONFIG_MAPS, config_map(&format!("m{n}"), json!({}))).await.expect_code(201);
    }
    // Longer than a full queue is waited for.
    tokio::time::sleep(std::time::Duration::from_secs(11)).await;
    let mut seen = 0;
    while watch.next().await.is_some() {
        seen += 1;
    }
    assert!((1..100).contains(&seen), "{seen}");
}
