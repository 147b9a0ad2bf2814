//! The stock kubectl and everything it can ask of an API server that has no
//! agents.

use std::{fs, time::Duration};

use e2e::{ApiServer, wait_for};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(120);

fn write(server: &ApiServer, name: &str, value: &Value) -> String {
    let file = server.path(name);
    fs::write(&file, value.to_string()).expect("write a manifest");
    file.display().to_string()
}

fn deployment(image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": 2, "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": image, "ports": [{"containerPort": 80}]}]},
            },
        },
    })
}

fn widgets() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "shortNames": ["wd"]},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size"}},
                "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}],
                "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "properties": {
                        "spec": {
                            "type": "object", "description": "What the widget should be.",
                            "properties": {
                                "size": {"type": "integer", "default": 3, "description": "How large it is."},
                                "max": {"type": "integer"},
                            },
                            "x-kubernetes-validations": [
                                {"rule": "!has(self.max) || self.size <= self.max", "message": "too large"},
                            ],
                        },
                        "status": {"type": "object", "properties": {"size": {"type": "integer"}}},
                    },
                }},
            }],
        },
    })
}

#[test]
fn what_was_applied_is_changed_shown_compared_and_taken_away() {
    let server = ApiServer::start("api-kubectl", &[]);
    let file = write(&server, "web.json", &deployment("web:1"));
    assert!(server.done(&["apply", "-f", &file]).contains("created"));
    assert!(server.done(&["apply", "-f", &file]).contains("unchanged"));
    assert_eq!(server.done(&["diff", "-f", &file]), "");

    let file = write(&server, "web.json", &deployment("web:2"));
    let diff = server.kubectl(&["diff", "-f", &file]);
    assert_eq!(diff.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&diff.stdout).contains("+      - image: web:2"));
    assert!(server.done(&["apply", "-f", &file, "--dry-run=server"]).contains("server dry run"));
    let image = ["get", "deploy", "web", "-o", "jsonpath={..image}"];
    assert_eq!(server.done(&image), "web:1");
    assert!(server.done(&["apply", "-f", &file]).contains("configured"));
    assert_eq!(server.done(&image), "web:2");

    server.done(&["scale", "deploy", "web", "--replicas=4"]);
    server.done(&["set", "env", "deploy/web", "COLOUR=red"]);
    server.done(&["label", "deploy", "web", "tier=front"]);
    server.done(&["annotate", "deploy", "web", "note=mind"]);
    let patch = r#"{"spec":{"template":{"spec":{"containers":[{"name":"log","image":"log:1"}]}}}}"#;
    server.done(&["patch", "deploy", "web", "-p", patch]);
    server.done(&[
        "patch",
        "deploy",
        "web",
        "--type=json",
        "-p",
        r#"[{"op":"add","path":"/spec/paused","value":true}]"#,
    ]);
    server.done(&[
        "patch",
        "deploy",
        "web",
        "--type=merge",
        "-p",
        r#"{"spec":{"minReadySeconds":3}}"#,
    ]);
    let web: Value =
        serde_json::from_str(&server.done(&["get", "deploy", "web", "-o", "json"])).expect("JSON");
    assert_eq!(web["spec"]["replicas"], 4);
    let names: Vec<_> = web["spec"]["template"]["spec"]["containers"]
        .as_array()
        .expect("containers")
        .iter()
        .map(|one| one["name"].clone())
        .collect();
    assert_eq!(names, ["log", "web"]);
    assert_eq!(
        (&web["spec"]["paused"], &web["spec"]["minReadySeconds"]),
        (&json!(true), &json!(3))
    );
    assert_eq!(web["metadata"]["labels"]["tier"], "front");

    let wide = server.done(&["get", "deploy", "-o", "wide", "--show-labels"]);
    assert!(
        wide.contains("UP-TO-DATE") && wide.contains("web:2") && wide.contains("tier=front"),
        "{wide}"
    );
    assert!(server.done(&["get", "deploy", "web", "-o", "yaml"]).contains("paused: true"));
    assert_eq!(server.done(&["get", "deploy", "-o", "name"]), "deployment.apps/web\n");
    assert!(
        server.done(&["get", "deploy", "-o", "custom-columns=N:.metadata.name"]).contains("web")
    );
    assert!(
        server
            .done(&["get", "deploy", "-o", "go-template={{range .items}}{{.metadata.name}}{{end}}"])
            .contains("web")
    );
    assert!(server.done(&["describe", "deploy", "web"]).contains("RollingUpdateStrategy"));
    assert!(server.done(&["get", "deploy", "-l", "tier=front", "--no-headers"]).starts_with("web"));
    assert_eq!(server.done(&["get", "deploy", "-l", "tier!=front", "-o", "name"]), "");
    server.done(&["delete", "deploy", "web"]);
    assert!(server.refused(&["get", "deploy", "web"]).contains("NotFound"));
}

#[test]
fn an_editor_changes_and_two_managers_disagree() {
    let server = ApiServer::start("api-kubectl-ssa", &[]);
    let file = write(&server, "web.json", &deployment("web:1"));
    server.done(&["apply", "--server-side", "--field-manager=alice", "-f", &file]);
    let other = write(&server, "other.json", &deployment("web:2"));
    let conflict = server.refused(&["apply", "--server-side", "--field-manager=bob", "-f", &other]);
    assert!(
        conflict.contains("conflict") && conflict.contains("alice") && conflict.contains(".image"),
        "{conflict}"
    );
    server.done(&[
        "apply",
        "--server-side",
        "--field-manager=bob",
        "--force-conflicts",
        "-f",
        &other,
    ]);
    let managers = server.done(&[
        "get",
        "deploy",
        "web",
        "--show-managed-fields",
        "-o",
        "jsonpath={.metadata.managedFields[*].manager}",
    ]);
    assert!(managers.contains("alice") && managers.contains("bob"), "{managers}");

    let editor = server.path("editor");
    fs::write(&editor, "#!/bin/sh\nsed -i 's/web:2/web:3/' \"$1\"\n").expect("write an editor");
    let mut edit = server.kubectl_command();
    edit.args(["edit", "deploy", "web", "--kubeconfig"]).arg(server.kubeconfig());
    let output =
        edit.env("EDITOR", format!("sh {}", editor.display())).output().expect("run kubectl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(server.done(&["get", "deploy", "web", "-o", "jsonpath={..image}"]), "web:3");
}

#[test]
fn kinds_of_ones_own_are_explained_defaulted_judged_and_scaled() {
    let server = ApiServer::start("api-kubectl-crd", &[]);
    let file = write(&server, "widgets.json", &widgets());
    server.done(&["apply", "-f", &file]);
    server.done(&[
        "wait",
        "--for=condition=Established",
        "crd/widgets.example.com",
        "--timeout=120s",
    ]);
    // The kind is served right behind that word, not always before it.
    wait_for("the kind to be served", LIMIT, || {
        server.kubectl(&["get", "widgets.example.com"]).status.success().then_some(())
    });
    let widget = |max: u32| json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w", "namespace": "default"}, "spec": {"max": max}});
    let file = write(&server, "w.json", &widget(2));
    assert!(server.refused(&["apply", "-f", &file]).contains("too large"));
    let file = write(&server, "w.json", &widget(9));
    server.done(&["apply", "-f", &file]);
    let shown = server.done(&["get", "wd"]);
    assert!(
        shown.contains("SIZE") && shown.lines().nth(1).is_some_and(|row| row.contains('3')),
        "{shown}"
    );
    server.done(&["scale", "widget", "w", "--replicas=7"]);
    assert_eq!(server.done(&["get", "wd", "w", "-o", "jsonpath={.spec.size}"]), "7");
    server.done(&[
        "patch",
        "wd",
        "w",
        "--subresource=status",
        "--type=merge",
        "-p",
        r#"{"status":{"size":7}}"#,
    ]);
    server.done(&["wait", "--for=jsonpath={.status.size}=7", "wd/w", "--timeout=120s"]);
    wait_for("the kind to be explained", LIMIT, || {
        let explained = server.kubectl(&["explain", "widget.spec"]);
        String::from_utf8_lossy(&explained.stdout).contains("How large it is.").then_some(())
    });
    let strict = write(
        &server,
        "odd.json",
        &json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "odd", "namespace": "default"}, "spec": {"sise": 1}}),
    );
    assert!(server.refused(&["create", "-f", &strict]).contains("unknown field \"spec.sise\""));
    server.done(&["delete", "crd", "widgets.example.com"]);
    wait_for("the kind to be gone", LIMIT, || {
        let kinds = server.kubectl(&["get", "--raw", "/apis/example.com/v1"]);
        (!kinds.status.success()).then_some(())
    });
}

#[test]
fn built_in_kinds_are_explained_and_rights_are_told() {
    let server = ApiServer::start("api-kubectl-read", &[]);
    assert!(
        server
            .done(&["explain", "deployment.spec.template.spec.containers"])
            .contains("<[]Container>")
    );
    assert!(
        server.done(&["explain", "pods", "--recursive"]).contains("terminationGracePeriodSeconds")
    );
    let kinds = server.done(&["api-resources", "-o", "name"]);
    for kind in [
        "pods",
        "deployments.apps",
        "cronjobs.batch",
        "roles.rbac.authorization.k8s.io",
        "leases.coordination.k8s.io",
        "customresourcedefinitions.apiextensions.k8s.io",
    ] {
        assert!(kinds.lines().any(|line| line == kind), "{kind}: {kinds}");
    }
    assert!(server.done(&["api-versions"]).contains("autoscaling/v2"));
    assert_eq!(server.done(&["auth", "can-i", "create", "pods"]).trim(), "yes");
    server.wait_for_roles();
    server.done(&["create", "serviceaccount", "reader"]);
    server.done(&["create", "role", "reads", "--verb=get,list", "--resource=configmaps"]);
    server.done(&[
        "create",
        "rolebinding",
        "reads",
        "--role=reads",
        "--serviceaccount=default:reader",
    ]);
    let reader = "--as=system:serviceaccount:default:reader";
    wait_for("the right", LIMIT, || {
        server
            .kubectl(&["auth", "can-i", "list", "configmaps", reader])
            .status
            .success()
            .then_some(())
    });
    assert!(!server.kubectl(&["auth", "can-i", "delete", "configmaps", reader]).status.success());
    let refused = server.refused(&["get", "secrets", reader]);
    assert!(
        refused.contains(
            "cannot list resource \"secrets\" in API group \"\" in the namespace \"default\""
        ),
        "{refused}"
    );
    wait_for("it to be ready", LIMIT, || {
        let ready = server.kubectl(&["get", "--raw", "/readyz?verbose"]);
        String::from_utf8_lossy(&ready.stdout).contains("check passed").then_some(())
    });
    assert!(server.done(&["cluster-info"]).contains("control plane"));
}
