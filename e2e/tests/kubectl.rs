//! The stock kubectl, over TLS with the client certificate of the kubeconfig
//! that `polis up` writes.

use std::{fs, process::Output, time::Duration};

use e2e::{Estate, wait_for};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(120);

fn text(output: &Output) -> String {
    assert!(
        output.status.success(),
        "kubectl failed: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn failure(output: &Output) -> String {
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn kubectl_gets_describes_applies_and_deletes() {
    let estate = Estate::up("api", "1");
    let kubectl = |args: &[&str]| estate.kubectl(args);

    // Tables that an operator wants.
    let shows = |args: &[&str], expected: &[&str]| {
        wait_for(&format!("{args:?} to show {expected:?}"), LIMIT, || {
            let shown = text(&kubectl(args));
            expected.iter().all(|one| shown.contains(one)).then_some(())
        });
    };
    shows(&["get", "centers"], &["PHASE", "Ready"]);
    let units = ["get", "units,cities,shardmaps,nodes"];
    shows(&units, &["rz01", "RZone", "Allowed", "100/100", "v0."]);
    shows(&["get", "pods", "-A"], &["ledger-rz01-0", "Running"]);
    let unit = text(&kubectl(&["describe", "unit", "rz01"]));
    assert!(unit.contains("Center:") && unit.contains("east-1"), "{unit}");

    // The unit's own door, its pods, their logs.
    let pod = ["--context", "rz01", "-n", "payments", "describe", "pod", "ledger-rz01-0"];
    let pod = text(&kubectl(&pod));
    assert!(pod.contains("app=ledger") && pod.contains("Ready:"), "{pod}");
    shows(&["--context", "rz01", "-n", "payments", "logs", "ledger-rz01-0"], &["ledger serves"]);

    // Apply, apply again with a change, label, delete.
    let file = estate.data.join("settings.json");
    let settings = |value: &str| {
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "data": { "colour": value },
                "metadata": { "name": "settings", "namespace": "default" } })
    };
    let shown = file.display().to_string();
    for (value, verdict) in [("red", "created"), ("blue", "configured"), ("blue", "unchanged")] {
        fs::write(&file, settings(value).to_string()).expect("write a manifest");
        let applied = text(&kubectl(&["apply", "-f", &shown]));
        assert!(applied.contains(verdict), "{applied}");
    }
    text(&kubectl(&["label", "configmap", "settings", "team=payments"]));
    let colour =
        ["get", "configmap", "-l", "team=payments", "-o", "jsonpath={.items[0].data.colour}"];
    assert_eq!(text(&kubectl(&colour)), "blue");
    text(&kubectl(&["delete", "-f", &shown]));
    assert!(failure(&kubectl(&["get", "configmap", "settings"])).contains("NotFound"));

    refused(&estate);
    scaled(&estate);
}

/// Bad input is named, with its field, and changes nothing.
fn refused(estate: &Estate) {
    let file = estate.data.join("bad.json");
    let shown = file.display().to_string();
    let apply = |manifest: &Value| {
        fs::write(&file, manifest.to_string()).expect("write a manifest");
        failure(&estate.kubectl(&["apply", "-f", &shown]))
    };
    let container = json!([{ "name": "a", "command": ["sleep", "1"] }]);
    let template = json!({ "spec": { "containers": container } });
    let cafe = |spec: Value| {
        json!({ "apiVersion": "apps.polis.dev/v1alpha1", "kind": "CafeDeployment", "spec": spec,
                "metadata": { "name": "bad", "namespace": "default" } })
    };
    let topology = json!({ "unitReplicas": { "rz01": 1 } });
    let gray =
        json!({ "topology": topology, "template": template, "strategy": { "batchSize": 2 } });
    assert!(apply(&cafe(gray)).contains("spec.strategy"));
    let unknown = json!({ "topology": topology, "template": template, "replikas": 2 });
    assert!(apply(&cafe(unknown)).contains("replikas"));
    let percent =
        json!({ "topology": { "unitReplicas": { "rz01": "10%" } }, "template": template });
    assert!(apply(&cafe(percent)).contains("unitReplicas"));
    assert!(failure(&estate.kubectl(&["get", "cafedeployment", "bad"])).contains("NotFound"));

    // The merged view is for reading; the message says where to write.
    let pod = ["-n", "payments", "delete", "pod", "ledger-rz01-0", "--wait=false"];
    assert!(failure(&estate.kubectl(&pod)).contains("/units/"));
    // Truth of routing changes only by its own rules.
    let patch = r#"{"status":{"version":999,"ranges":[]}}"#;
    let status = ["patch", "shardmap", "main", "--subresource=status", "--type=merge", "-p", patch];
    failure(&estate.kubectl(&status));
}

/// A CafeDeployment becomes pods, follows its replicas, and goes with them.
fn scaled(estate: &Estate) {
    let file = estate.data.join("sleeper.json");
    let shown = file.display().to_string();
    let sleeper = |replicas: u32| {
        let container = json!({ "name": "sleeper", "command": ["/bin/sleep", "600"] });
        json!({ "apiVersion": "apps.polis.dev/v1alpha1", "kind": "CafeDeployment",
                "metadata": { "name": "sleeper", "namespace": "payments" },
                "spec": { "topology": { "unitReplicas": { "rz01": replicas } },
                          "template": { "metadata": { "labels": { "app": "sleeper" } },
                                        "spec": { "containers": [container] } } } })
    };
    let running = || {
        let pods = [
            "--context",
            "rz01",
            "-n",
            "payments",
            "get",
            "pods",
            "-l",
            "app=sleeper",
            "-o",
            "jsonpath={.items[*].status.phase}",
        ];
        text(&estate.kubectl(&pods)).split_whitespace().filter(|phase| *phase == "Running").count()
    };
    for replicas in [2_u32, 1] {
        fs::write(&file, sleeper(replicas).to_string()).expect("write a manifest");
        text(&estate.kubectl(&["apply", "-f", &shown]));
        wait_for("as many pods as wanted", LIMIT, || {
            (running() == replicas as usize).then_some(())
        });
    }
    text(&estate.kubectl(&["delete", "-f", &shown]));
    wait_for("no pod left", LIMIT, || (running() == 0).then_some(()));
}
