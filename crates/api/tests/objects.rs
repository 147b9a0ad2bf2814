//! Create, read, update, delete: what a client of the API may rely on.

mod support;

use serde_json::json;
use support::{CONFIG_MAPS, PODS, Server, UNITS, config_map, pod, process, unit};

#[tokio::test]
async fn an_object_is_created_read_replaced_and_deleted() {
    let server = Server::start();
    let created = server.post(UNITS, unit("rz01")).await.expect_code(201);
    let object = created.json();
    assert_eq!(object["metadata"]["generation"], 1);
    assert_eq!(object["spec"]["standbys"], json!([]), "defaults are written");
    assert!(object["metadata"]["uid"].is_string());
    assert!(object["metadata"]["creationTimestamp"].is_string());
    let path = format!("{UNITS}/rz01");
    assert_eq!(server.get(&path).await.expect_code(200).json(), object);

    let mut changed = object.clone();
    changed["spec"]["standbys"] = json!(["rz03"]);
    let updated = server.put(&path, changed.clone()).await.expect_code(200).json();
    assert_eq!(updated["metadata"]["generation"], 2);
    assert_ne!(updated["metadata"]["resourceVersion"], object["metadata"]["resourceVersion"]);
    assert_eq!(
        server.put(&path, changed).await.refusal(),
        "409 Conflict: Operation cannot be fulfilled on units.polis.dev \"rz01\": the object has \
         been modified; please apply your changes to the latest version and try again"
    );
    assert_eq!(
        server.post(UNITS, unit("rz01")).await.refusal(),
        "409 AlreadyExists: units.polis.dev \"rz01\" already exists"
    );
    let gone = server.delete(&path, json!({})).await.expect_code(200).json();
    assert_eq!(gone["status"], "Success");
    assert_eq!(
        server.get(&path).await.refusal(),
        "404 NotFound: units.polis.dev \"rz01\" not found"
    );
}

#[tokio::test]
async fn a_write_that_changes_nothing_is_no_write() {
    let server = Server::start();
    let before = server.post(UNITS, unit("rz01")).await.expect_code(201);
    let path = format!("{UNITS}/rz01");
    let after = server.put(&path, unit("rz01")).await.expect_code(200);
    assert_eq!(after.version(), before.version());
}

#[tokio::test]
async fn wrong_fields_are_refused_by_name() {
    let server = Server::start();
    let mut wrong = unit("rz01");
    wrong["spec"]["ports"] = json!({"first": 9, "last": "x"});
    wrong["spec"]["kind"] = "Moon".into();
    let answer = server.post(UNITS, wrong).await.expect_code(422);
    let causes = answer.json()["details"]["causes"].clone();
    assert_eq!(causes[0]["field"], "spec.kind", "{}", answer.text);
    assert_eq!(causes[1]["field"], "spec.ports.last", "{}", answer.text);

    let mut backwards = unit("rz01");
    backwards["spec"]["ports"] = json!({"first": 9, "last": 8});
    let answer = server.post(UNITS, backwards).await;
    assert!(answer.refusal().contains("spec.ports: Invalid value"), "{}", answer.text);

    let mut capital = unit("RZ01");
    capital["metadata"]["labels"] = json!({"a b": "c"});
    let answer = server.post(UNITS, capital).await;
    assert!(answer.refusal().contains("metadata.name"), "{}", answer.text);
    assert!(answer.refusal().contains("metadata.labels"), "{}", answer.text);
    let answer = server.post(UNITS, unit(&"u".repeat(59))).await;
    assert!(answer.refusal().contains("at most 58 characters"), "{}", answer.text);
    assert_eq!(server.get(UNITS).await.names().len(), 0);
}

#[tokio::test]
async fn unknown_and_repeated_fields_are_told_or_refused() {
    let server = Server::start();
    let text = r#"{"metadata":{"name":"rz01"},"spec":{"kind":"RZone","center":"a",
        "ports":{"first":1,"last":2},"colour":"red","center":"b"}}"#;
    let post =
        async |path: String| server.send_as(&support::admin(), "POST", &path, &[], text).await;
    assert_eq!(
        post(format!("{UNITS}?fieldValidation=Strict")).await.refusal(),
        "400 BadRequest: strict decoding error: duplicate field \"spec.center\", unknown field \
         \"spec.colour\""
    );
    let answer = post(UNITS.to_owned()).await.expect_code(201);
    let warnings: Vec<_> = answer.headers.get_all("warning").iter().collect();
    assert_eq!(warnings[0], "299 - \"duplicate field \\\"spec.center\\\"\"");
    assert_eq!(warnings[1], "299 - \"unknown field \\\"spec.colour\\\"\"");
    assert_eq!(answer.json()["spec"].get("colour"), None);
}

#[tokio::test]
async fn status_and_spec_are_written_by_different_hands() {
    let server = Server::start();
    let mut born = unit("rz01");
    born["status"] = json!({"ready": true});
    let object = server.post(UNITS, born).await.expect_code(201).json();
    assert_eq!(object.get("status"), None, "a status is not born with the object");

    let path = format!("{UNITS}/rz01");
    let both = json!({"spec": {"center": "other"}, "status": {"ready": true}});
    let status = server.patch(&format!("{path}/status"), "merge", both.clone()).await;
    let status = status.expect_code(200).json();
    assert_eq!(status["status"]["ready"], true);
    assert_eq!(status["spec"]["center"], "east-1");
    assert_eq!(status["metadata"]["generation"], 1);

    let both = json!({"spec": {"center": "other"}, "status": {"ready": false}});
    let main = server.patch(&path, "merge", both).await.expect_code(200).json();
    assert_eq!(main["status"]["ready"], true);
    assert_eq!(main["spec"]["center"], "other");
    assert_eq!(main["metadata"]["generation"], 2);
}

#[tokio::test]
async fn the_routing_truth_is_compared_before_it_is_written() {
    let server = Server::start();
    let maps = "/apis/polis.dev/v1alpha1/shardmaps";
    let map = json!({
        "metadata": {"name": "main"},
        "spec": {"homes": [{"shards": "00-99", "unit": "rz01"}]},
    });
    let map = server.post(maps, map).await.expect_code(201).json();
    let write = |base: &serde_json::Value, version: u64| {
        let mut next = base.clone();
        next["status"] = json!({"version": version, "ranges": [
            {"shards": "00-99", "epoch": 1, "state": "Moving", "to": "rz01"},
        ]});
        next
    };
    let path = format!("{maps}/main/status");
    server.put(&path, write(&map, 1)).await.expect_code(200);
    server.put(&path, write(&map, 2)).await.expect_code(409);
    let mut blind = write(&map, 1);
    blind["metadata"]["resourceVersion"] = "".into();
    blind["status"]["ranges"][0]["to"] = "rz02".into();
    let answer = server.put(&path, blind).await.expect_code(422);
    assert!(answer.text.contains("status.version"), "{}", answer.text);
    let mut broken = write(&map, 2);
    broken["metadata"]["resourceVersion"] = "".into();
    broken["status"]["ranges"][0]["state"] = "Serving".into();
    let answer = server.put(&path, broken).await;
    assert!(answer.refusal().starts_with("422 Invalid"), "{}", answer.text);
    let other = json!({"metadata": {"name": "other"}, "spec": {"homes": []}});
    let answer = server.post(maps, other).await;
    assert!(answer.refusal().contains("named main"), "{}", answer.text);
}

#[tokio::test]
async fn patches_change_only_what_they_say() {
    let server = Server::start();
    server.post(CONFIG_MAPS, config_map("a", json!({"x": "1"}))).await.expect_code(201);
    let path = format!("{CONFIG_MAPS}/a");
    let patched = server.patch(&path, "merge", json!({"data": {"a": null, "b": "2"}})).await;
    assert_eq!(patched.expect_code(200).json()["data"], json!({"b": "2"}));
    let operations = json!([{"op": "replace", "path": "/data/b", "value": "3"}]);
    let patched = server.patch(&path, "json", operations).await;
    assert_eq!(patched.expect_code(200).json()["data"], json!({"b": "3"}));
    let strategic = json!({"metadata": {"labels": {"y": "2"}}});
    let patched = server.patch(&path, "strategic", strategic).await;
    assert_eq!(patched.expect_code(200).json()["metadata"]["labels"], json!({"x": "1", "y": "2"}));
    let stale = json!({"metadata": {"resourceVersion": "1"}, "data": {"b": "4"}});
    server.patch(&path, "merge", stale).await.expect_code(409);
    let foreign = json!({"metadata": {"uid": "someone-else"}});
    server.patch(&path, "merge", foreign).await.expect_code(409);
    let answer =
        server.patch(&path, "json", json!([{"op": "test", "path": "/data/b", "value": "0"}])).await;
    answer.expect_code(422);
}

#[tokio::test]
async fn names_are_made_from_a_prefix() {
    let server = Server::start();
    let mut map = config_map("", json!({}));
    map["metadata"] = json!({"generateName": "run-"});
    let first = server.post(CONFIG_MAPS, map.clone()).await.expect_code(201).json();
    let second = server.post(CONFIG_MAPS, map).await.expect_code(201).json();
    let name = first["metadata"]["name"].as_str().expect("a name");
    assert!(name.starts_with("run-") && name.len() == 9, "{name}");
    assert_ne!(first["metadata"]["name"], second["metadata"]["name"]);
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_and_changes_nothing() {
    let server = Server::start();
    let dry = format!("{UNITS}?dryRun=All");
    server.post(&dry, unit("rz01")).await.expect_code(201);
    assert_eq!(server.get(UNITS).await.names().len(), 0);
    server.post(UNITS, unit("rz01")).await.expect_code(201);
    server.post(&dry, unit("rz01")).await.expect_code(409);
    let path = format!("{UNITS}/rz01");
    let dry = format!("{path}?dryRun=All");
    let patch = json!({"spec": {"center": "b"}});
    assert_eq!(server.patch(&dry, "merge", patch).await.json()["spec"]["center"], "b");
    server.delete(&dry, json!({})).await.expect_code(200);
    assert_eq!(server.get(&path).await.json()["spec"]["center"], "east-1");
}

#[tokio::test]
async fn a_running_pod_is_given_its_time_and_then_removed_by_its_agent() {
    let server = Server::with_units().await;
    server.post(PODS, pod("p", "node")).await.expect_code(201);
    let path = format!("{PODS}/p");
    let going = server.delete(&path, json!({"gracePeriodSeconds": 7})).await.expect_code(200);
    let going = going.json();
    assert_eq!(going["metadata"]["deletionGracePeriodSeconds"], 7);
    assert!(going["metadata"]["deletionTimestamp"].is_string());
    let again = server.delete(&path, json!({})).await.expect_code(200).json();
    assert_eq!(again["metadata"]["deletionGracePeriodSeconds"], 7, "no later than before");
    let status = json!({"status": {"phase": "Running"}});
    server.patch(&format!("{path}/status"), "strategic", status).await.expect_code(200);
    let stranger = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": "another"}});
    server.delete(&path, stranger).await.expect_code(409);
    server.delete(&path, json!({"gracePeriodSeconds": 0})).await.expect_code(200);
    server.get(&path).await.expect_code(404);
}

#[tokio::test]
async fn a_pod_that_never_ran_goes_at_once() {
    let server = Server::with_units().await;
    server.post(PODS, pod("p", "")).await.expect_code(201);
    server.delete(&format!("{PODS}/p"), json!({})).await.expect_code(200);
    server.get(&format!("{PODS}/p")).await.expect_code(404);
}

#[tokio::test]
async fn finalizers_hold_an_object_until_the_last_one_agrees() {
    let server = Server::start();
    let mut held = config_map("held", json!({}));
    held["metadata"]["finalizers"] = json!(["polis.dev/a"]);
    server.post(CONFIG_MAPS, held).await.expect_code(201);
    let path = format!("{CONFIG_MAPS}/held");
    server.delete(&path, json!({})).await.expect_code(200);
    let going = server.get(&path).await.expect_code(200).json();
    assert!(going["metadata"]["deletionTimestamp"].is_string());
    let more = json!({"metadata": {"finalizers": ["polis.dev/a", "polis.dev/b"]}});
    server.patch(&path, "merge", more).await.expect_code(422);
    let none = json!({"metadata": {"finalizers": null}});
    server.patch(&path, "merge", none).await.expect_code(200);
    server.get(&path).await.expect_code(404);
}

#[tokio::test]
async fn nothing_is_created_in_a_namespace_that_is_missing_or_going() {
    let server = Server::with_units().await;
    let pods = "/units/rz01/api/v1/namespaces/shop/pods";
    assert_eq!(
        server.post(pods, pod("p", "n")).await.refusal(),
        "404 NotFound: namespaces \"shop\" not found"
    );
    let namespaces = "/units/rz01/api/v1/namespaces";
    server.post(namespaces, json!({"metadata": {"name": "shop"}})).await.expect_code(201);
    server.post(pods, pod("p", "n")).await.expect_code(201);
    let path = format!("{namespaces}/shop");
    let going = server.delete(&path, json!({})).await.expect_code(200).json();
    assert_eq!(going["status"]["phase"], "Terminating");
    let answer = server.post(pods, pod("q", "n")).await;
    assert!(answer.refusal().starts_with("403 Forbidden"), "{}", answer.text);
    assert!(
        server.get(&format!("{pods}/p")).await.json()["metadata"]["deletionTimestamp"].is_string()
    );
    // The agent says that the last pod has ended.
    server.delete(&format!("{pods}/p"), json!({"gracePeriodSeconds": 0})).await.expect_code(200);
    server.get(&path).await.expect_code(404);
}

#[tokio::test]
async fn our_own_processes_get_the_namespace_along_with_the_object() {
    let server = Server::with_units().await;
    let polis = process("rz01", "controllers");
    let pods = "/units/rz01/api/v1/namespaces/payments/pods";
    let body = pod("ledger", "n").to_string();
    server.send_as(&polis, "POST", pods, &[], body).await.expect_code(201);
    server.get("/units/rz01/api/v1/namespaces/payments").await.expect_code(200);
}

#[tokio::test]
async fn collections_are_deleted_by_selection() {
    let server = Server::start();
    for (name, tier) in [("a", "1"), ("b", "2"), ("c", "1")] {
        server.post(CONFIG_MAPS, config_map(name, json!({"tier": tier}))).await.expect_code(201);
    }
    let path = format!("{CONFIG_MAPS}?labelSelector=tier%3D1");
    assert_eq!(server.delete(&path, json!({})).await.expect_code(200).names(), ["a", "c"]);
    assert_eq!(server.get(CONFIG_MAPS).await.names(), ["b"]);
}

#[tokio::test]
async fn bodies_that_are_no_objects_are_refused_without_a_trace() {
    let server = Server::start();
    let deep = format!("{{\"a\":{}", "[".repeat(10_000));
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(3 * 1024 * 1024));
    for (body, code) in [
        ("", 400),
        ("[]", 400),
        ("{", 400),
        ("null", 400),
        (deep.as_str(), 400),
        (large.as_str(), 413),
        ("{\"metadata\": 7}", 422),
        ("{\"metadata\": {\"name\": [1]}, \"spec\": []}", 422),
        ("{\"kind\": \"Pod\", \"metadata\": {\"name\": \"a\"}}", 400),
        ("{\"apiVersion\": \"v9\", \"metadata\": {\"name\": \"a\"}}", 400),
    ] {
        let answer = server.send_as(&support::admin(), "POST", UNITS, &[], body.to_owned()).await;
        let shown: String = body.chars().take(40).collect();
        assert_eq!(answer.code, code, "{shown}: {}", answer.text);
        answer.refusal();
    }
    let invalid = [0x22, 0xff, 0x22];
    let answer = server.send_as(&support::admin(), "POST", UNITS, &[], invalid.to_vec()).await;
    answer.expect_code(400);
    let yaml = [("content-type", "application/cbor")];
    let answer = server.send_as(&support::admin(), "POST", UNITS, &yaml, "a: b").await;
    answer.expect_code(415);
    // Just below the bound on a request, above the store's on a value.
    let mut big = config_map("big", json!({}));
    big["data"]["a"] = "x".repeat(2 * 1024 * 1024).into();
    let answer = server.post(CONFIG_MAPS, big).await;
    assert_eq!(answer.code, 422, "{}", answer.text);
}

#[tokio::test]
async fn events_carry_a_lease_and_survive_its_loss() {
    let server = Server::start();
    let events = "/api/v1/namespaces/default/events";
    let event = |name: &str| {
        json!({
            "metadata": {"name": name},
            "involvedObject": {"kind": "Unit", "name": "rz01"},
            "reason": "Failover", "message": "moved", "type": "Normal",
        })
    };
    server.post(events, event("a")).await.expect_code(201);
    let kv = (server.keyspaces)("federation");
    let range = kv::KeyRange::prefix("/registry/core/events/");
    let stored = kv.range(kv::RangeRequest::new(range)).await.expect("a range");
    let lease = stored.kvs[0].lease.expect("a lease");
    let granted = kv.lease_info(lease, false).await.expect("alive").granted;
    assert!(granted.as_secs() >= 3600);
    kv.lease_revoke(lease).await.expect("revoked");
    server.post(events, event("b")).await.expect_code(201);
    assert_eq!(server.get(events).await.names(), ["b"]);
}
