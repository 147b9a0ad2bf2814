//! A CafeDeployment becomes pods in its units, one at a time when it changes,
//! and none when it is deleted.

use client::k8s_openapi::api::core::v1::Pod;
use resources::CafeDeployment;

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
