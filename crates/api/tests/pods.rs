//! What is done to pods: a node is given, an eviction asks the budget, and only
//! who may create reaches into them.

mod support;

use api::Caller;
use serde_json::{Value, json};
use support::{PODS, Server, pod};

const BUDGETS: &str = "/units/rz01/apis/policy/v1/namespaces/default/poddisruptionbudgets";

/// A pod that runs and is ready, or not.
async fn running(server: &Server, name: &str, ready: &str) {
    server.post(PODS, pod(name, "n")).await.expect_code(201);
    let conditions = json!([{ "type": "Ready", "status": ready }]);
    let status = json!({ "status": { "phase": "Running", "conditions": conditions } });
    server.patch(&format!("{PODS}/{name}/status"), "merge", status).await.expect_code(200);
}

async fn evict(server: &Server, name: &str, options: Value) -> support::Answer {
    let eviction = json!({
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": { "name": name },
        "deleteOptions": options,
    });
    server.post(&format!("{PODS}/{name}/eviction"), eviction).await
}

#[tokio::test]
async fn a_pod_is_bound_once() {
    let server = Server::with_units().await;
    server.post(PODS, pod("p", "")).await.expect_code(201);
    let binding = |node: &str| {
        json!({
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": { "name": "p", "annotations": { "by": "scheduler" } },
            "target": { "kind": "Node", "name": node },
        })
    };
    let path = format!("{PODS}/p/binding");
    let done = server.post(&path, binding("n1")).await.expect_code(201).json();
    assert_eq!((&done["kind"], &done["status"]), (&json!("Status"), &json!("Success")));
    let bound = server.get(&format!("{PODS}/p")).await.json();
    assert_eq!(bound["spec"]["nodeName"], "n1");
    assert_eq!(bound["metadata"]["annotations"]["by"], "scheduler");
    assert_eq!(bound["status"]["conditions"][0]["type"], "PodScheduled");
    assert_eq!(bound["status"]["phase"], "Pending");
    assert_eq!(
        server.post(&path, binding("n2")).await.refusal(),
        "409 Conflict: Operation cannot be fulfilled on pods/binding \"p\": pod p is already \
         assigned to node \"n1\""
    );
    server.post(&format!("{PODS}/q/binding"), binding("n")).await.expect_code(400);
    server.get(&path).await.expect_code(405);
}

#[tokio::test]
async fn an_eviction_asks_the_budget_and_spends_it() {
    let server = Server::with_units().await;
    for (name, ready) in [("a", "True"), ("b", "True"), ("c", "False")] {
        running(&server, name, ready).await;
    }
    let budget = json!({
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": { "name": "guard" },
        "spec": { "minAvailable": 1, "selector": { "matchLabels": { "app": "ledger" } } },
    });
    server.post(BUDGETS, budget).await.expect_code(201);
    let answer = evict(&server, "a", json!({})).await;
    assert_eq!(
        answer.refusal(),
        "429 TooManyRequests: Cannot evict pod as it would violate the pod's disruption budget."
    );
    let details = answer.json()["details"].clone();
    assert_eq!(details["retryAfterSeconds"], 10);
    assert_eq!(
        details["causes"][0]["message"],
        "The disruption budget guard is still being processed by the server."
    );

    // As whoever keeps the budget would say.
    let status = json!({ "status": { "observedGeneration": 1, "disruptionsAllowed": 1,
        "currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 3 } });
    let path = format!("{BUDGETS}/guard");
    server.patch(&format!("{path}/status"), "merge", status).await.expect_code(200);
    evict(&server, "a", json!({ "dryRun": ["All"] })).await.expect_code(201);
    assert!(
        server.get(&format!("{PODS}/a")).await.json()["metadata"]["deletionTimestamp"].is_null()
    );
    evict(&server, "a", json!({ "gracePeriodSeconds": 5 })).await.expect_code(201);
    let going = server.get(&format!("{PODS}/a")).await.json();
    assert_eq!(going["metadata"]["deletionGracePeriodSeconds"], 5);
    let conditions = going["status"]["conditions"].as_array().expect("conditions");
    assert!(conditions.iter().any(|one| one["reason"] == "EvictionByEvictionAPI"), "{going}");
    let spent = server.get(&path).await.json();
    assert_eq!(spent["status"]["disruptionsAllowed"], 0);
    assert!(spent["status"]["disruptedPods"]["a"].is_string());

    let refused = evict(&server, "b", json!({})).await.expect_code(429).json();
    assert_eq!(
        refused["details"]["causes"][0]["message"],
        "The disruption budget guard needs 1 healthy pods and has 2 currently"
    );
    // One that is not ready is no loss to the budget, and costs nothing.
    evict(&server, "c", json!({})).await.expect_code(201);
    // Nor is one that is going anyway.
    evict(&server, "a", json!({})).await.expect_code(201);
    evict(&server, "nobody", json!({})).await.expect_code(404);
    let wrong = json!({ "metadata": { "name": "other" } });
    server.post(&format!("{PODS}/b/eviction"), wrong).await.expect_code(400);
}

#[tokio::test]
async fn containers_are_added_to_a_pod_by_their_own_address_only() {
    let server = Server::with_units().await;
    running(&server, "p", "True").await;
    let path = format!("{PODS}/p/ephemeralcontainers");
    let added = json!({ "spec": { "ephemeralContainers": [{ "name": "look", "image": "i" }] } });
    server.patch(&format!("{PODS}/p"), "merge", added.clone()).await.expect_code(422);
    let pod = server.patch(&path, "merge", added).await.expect_code(200).json();
    assert_eq!(pod["spec"]["ephemeralContainers"][0]["name"], "look");
    assert_eq!(pod["spec"]["containers"][0]["name"], "main");
    let none = json!({ "spec": { "ephemeralContainers": null } });
    let refused = server.patch(&path, "merge", none).await.expect_code(422);
    assert!(refused.text.contains("may not be removed"), "{}", refused.text);
    server.get(&path).await.expect_code(200);
}

#[tokio::test]
async fn who_only_reads_does_not_reach_into_pods() {
    let server = Server::with_units().await;
    running(&server, "p", "True").await;
    let viewer = Caller::user("ann", ["polis:viewers".to_owned()]);
    for sub in ["exec?command=id&stdout=1", "attach?stdout=1", "portforward"] {
        let path = format!("{PODS}/p/{sub}");
        for method in ["GET", "POST"] {
            let refused = server.send_as(&viewer, method, &path, &[], "").await;
            let sub = sub.split('?').next().unwrap_or_default();
            let why = refused.refusal();
            assert!(why.starts_with("403 Forbidden: pods"), "{why}");
            assert!(why.contains(&format!("resource \"pods/{sub}\"")), "{why}");
            let admin = support::admin();
            let refused = server.send_as(&admin, method, &path, &[], "").await;
            assert_eq!(refused.refusal(), "400 BadRequest: Upgrade request required");
        }
    }
}
