//! Programs of Kubernetes' own libraries: an informer of client-go, in
//! protobuf, and a controller of controller-runtime.

use std::time::Duration;

use e2e::{ApiServer, go_client, wait_for};

/// Clients whose server is gone look for it again after up to half a minute.
const LIMIT: Duration = Duration::from_secs(180);

#[test]
fn an_informer_sees_everything_once_and_goes_on_after_the_server_was_gone() {
    let mut server = ApiServer::start("api-informer", &[]);
    server.done(&["create", "configmap", "early", "--from-literal=colour=green"]);
    let mut informer = go_client("informer", &server.kubeconfig());
    informer.wait_for_line("synced", LIMIT);
    server.done(&["create", "configmap", "a", "--from-literal=colour=red"]);
    informer.wait_for_line("added a red", LIMIT);
    server.done(&["patch", "configmap", "a", "-p", r#"{"data":{"colour":"blue"}}"#]);
    informer.wait_for_line("updated a blue", LIMIT);
    server.kill9();
    server.revive();
    server.done(&["delete", "configmap", "a"]);
    informer.wait_for_line("deleted a blue", LIMIT);
    let seen = informer.printed();
    for once in ["added early green", "added a red", "updated a blue", "deleted a blue"] {
        assert_eq!(seen.matches(once).count(), 1, "{once}: {seen}");
    }
}

#[test]
fn a_controller_is_elected_writes_and_is_collected_after() {
    let server = ApiServer::start("api-controller", &[]);
    let mut controller = go_client("controller", &server.kubeconfig());
    controller.wait_for_line("elected", LIMIT);
    server.done(&["create", "configmap", "a", "--from-literal=colour=red"]);
    server.done(&["label", "configmap", "a", "mirror=yes"]);
    controller.wait_for_line("created a red", LIMIT);
    server.done(&["patch", "configmap", "a", "-p", r#"{"data":{"colour":"blue"}}"#]);
    controller.wait_for_line("updated a blue", LIMIT);
    wait_for("the annotation", LIMIT, || {
        let path = "jsonpath={.metadata.annotations.mirrored}";
        (server.done(&["get", "configmap", "a", "-o", path]) == "blue").then_some(())
    });
    let lease = ["get", "lease", "mirror.example.com", "-o", "jsonpath={.spec.holderIdentity}"];
    assert!(!server.done(&lease).is_empty());
    server.done(&["delete", "configmap", "a"]);
    wait_for("the secret to be collected", LIMIT, || {
        (!server.kubectl(&["get", "secret", "a"]).status.success()).then_some(())
    });
}
