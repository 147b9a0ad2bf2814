//! A CafeDeployment becomes pods in its units, one at a time when it changes,
//! and none when it is deleted.

use client::k8s_openapi::api::core::v1::{Event, Pod};
use resources::{CafeDeployment, Metadata};

use crate::{
    failover::all_home,
    support::{Estate, eventually, ledger_deployment},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_is_rolled_out_reported_and_removed() {
    let estate = Estate::start().await;
    estate.wait_for_map("west-1", "first assignment", all_home).await;
    let client = estate.client("east-1");
    let deployments = client.federation().namespaced::<CafeDeployment>("payments");
    let status = async || deployments.get("ledger").await.expect("deployment").status;
    eventually("five pods are ready", async || {
        let status = status().await;
        status.replicas == 5 && status.ready_replicas == 5 && status.updated_replicas == 5
    })
    .await;

    let mut changed = deployments.get("ledger").await.expect("deployment");
    changed.spec = ledger_deployment("2").spec;
    deployments.update(&changed).await.expect("update");
    eventually("the new template is everywhere", async || {
        let status = status().await;
        status.observed_generation == 2
            && status.ready_replicas == 5
            && status.updated_replicas == 5
    })
    .await;
    let unit = "rz05".parse().expect("a name");
    let pods = client.unit(&unit).namespaced::<Pod>("payments");
    let pod = pods.get("ledger-rz05-0").await.expect("pod");
    let command = pod.spec.expect("a spec").containers[0].command.clone();
    assert_eq!(command, Some(vec!["ledger".to_owned(), "2".to_owned()]));

    deployments.delete("ledger", &client::DeleteOptions::default()).await.expect("delete");
    eventually("its pods are gone", async || pods.list("").await.expect("pods").items.is_empty())
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_that_makes_no_pod_stops_no_other_and_its_author_is_told() {
    let estate = Estate::start().await;
    let client = estate.client("east-1");
    let deployments = client.federation().namespaced::<CafeDeployment>("payments");
    // It comes before the other in every round.
    let spec = ledger_deployment("1").spec;
    let mut bad = CafeDeployment::new(Metadata::namespaced("payments", "bad"), spec);
    bad.spec.template["spec"]["containers"][0]["name"] = serde_json::json!(5);
    deployments.create(&bad).await.expect("create");

    let events = client.federation().namespaced::<Event>("payments");
    let told = async || {
        let events = events.list("").await.expect("events").items;
        let ours = events.into_iter().filter(|event| {
            event.reason.as_deref() == Some("DeploymentFailed")
                && event.involved_object.name.as_deref() == Some("bad")
        });
        ours.filter_map(|event| event.message).collect::<Vec<_>>()
    };
    eventually("the author is told, for every unit", async || told().await.len() == 5).await;
    eventually("the status is written", async || {
        deployments.get("bad").await.expect("deployment").status.observed_generation == 1
    })
    .await;

    // The controllers write its status at the same time.
    let patch = serde_json::json!({ "spec": ledger_deployment("2").spec });
    deployments.patch("ledger", &patch).await.expect("patch");
    eventually("the other is rolled out", async || {
        let status = deployments.get("ledger").await.expect("deployment").status;
        status.observed_generation == 2
            && status.ready_replicas == 5
            && status.updated_replicas == 5
    })
    .await;
    assert_eq!(told().await.len(), 5, "once is enough");
}
