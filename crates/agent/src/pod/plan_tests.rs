//! `check(manifest, expected)` for plans.

use serde_json::{Value, json};

use super::*;

fn plan(spec: Value) -> Result<PodPlan, Refusal> {
    let id = PodRef { namespace: "payments".into(), name: "ledger-0".into(), uid: "u-1".into() };
    let mut pod = SeenPod { spec, ..SeenPod::default() };
    pod.metadata.labels = Some([("unit".to_owned(), "rz01".to_owned())].into());
    let place = Place { node: "east-1".into(), address: [127, 0, 0, 1].into() };
    PodPlan::of(&pod, &id, &place)
}

fn refusal(spec: Value) -> String {
    plan(spec).expect_err("is refused").to_string()
}

fn with(field: &str, value: Value) -> Value {
    let mut container = json!({"name": "a", "command": ["true"]});
    container[field] = value;
    json!({"containers": [container]})
}

#[test]
fn a_command_is_resolved_with_its_environment() {
    let spec = json!({
        "runtimeClassName": "package",
        "terminationGracePeriodSeconds": 5,
        "containers": [{
            "name": "ledger",
            "command": ["polis", "ledger"],
            "args": ["--listen=$(POLIS_IP):$(POLIS_PORT)", "--unit", "$(UNIT)", "$(MISSING)"],
            "env": [
                {"name": "POLIS_PORT", "value": "20001"},
                {"name": "POLIS_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                {"name": "UNIT", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['unit']"}}},
                {"name": "AT", "value": "$(UNIT)@$(POLIS_PORT)"},
            ],
        }],
    });
    let plan = plan(spec).expect("a plan");
    assert_eq!(plan.grace, Duration::from_secs(5));
    let spec = &plan.containers[0].spec;
    assert_eq!(spec.program, "polis");
    let args = ["ledger", "--listen=127.0.0.1:20001", "--unit", "rz01", "$(MISSING)"];
    assert_eq!(spec.args, args);
    assert_eq!(spec.env.last(), Some(&("AT".into(), "rz01@20001".into())));
}

#[test]
fn what_packages_cannot_do_is_refused_by_name() {
    let runtime_class = json!({"runtimeClassName": "gvisor", "containers": []});
    assert!(refusal(runtime_class).contains("\"gvisor\" is not served"));
    let volumes = json!({"volumes": [{"name": "v"}], "containers": []});
    assert!(refusal(volumes).contains("volumes is not served"));
    for (field, value) in [
        ("volumeMounts", json!([{"name": "v", "mountPath": "/v"}])),
        ("envFrom", json!([{"prefix": "X"}])),
        ("startupProbe", json!({"tcpSocket": {"port": 1}})),
        ("resources", json!({"limits": {"memory": "1Gi"}})),
        ("securityContext", json!({"runAsUser": 1000})),
    ] {
        let refusal = refusal(with(field, value));
        assert!(refusal.contains("container \"a\"") && refusal.contains(field), "{refusal}");
    }
    assert!(plan(with("resources", json!({"requests": {"memory": "1Gi"}}))).is_ok());
    assert!(plan(with("securityContext", json!({}))).is_ok());
}

#[test]
fn what_cannot_be_understood_is_refused_with_the_place() {
    assert!(refusal(json!("text")).contains("cannot be read"));
    assert!(refusal(json!({"containers": []})).contains("0 containers"));
    assert!(refusal(json!({"containers": [{"name": "a"}]})).contains("has no command"));
    let twice = json!([{"name": "a", "command": ["x"]}, {"name": "a", "command": ["x"]}]);
    assert!(refusal(json!({"containers": twice})).contains("two containers"));
    let exec = with("readinessProbe", json!({"exec": {"command": ["x"]}}));
    assert!(refusal(exec).contains("readinessProbe"));
    let port = with("livenessProbe", json!({"httpGet": {"port": "https"}}));
    assert!(refusal(port).contains("https"));
    let secret = json!([{"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]);
    assert!(refusal(with("env", secret)).contains("env S"));
}

#[test]
fn a_digest_follows_the_container_and_nothing_else() {
    let digest = |spec| plan(spec).expect("a plan").containers[0].spec.digest;
    let one = digest(with("args", json!(["1"])));
    assert_eq!(one, digest(with("args", json!(["1"]))));
    assert_ne!(one, digest(with("args", json!(["2"]))));
}
