//! Good specs with one thing wrong each.

use serde_json::{Value, json};

use super::{Whose, qos_class, validate};
use crate::kinds::check::Check;

fn spec() -> Value {
    json!({
        "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "terminationGracePeriodSeconds": 30,
        "volumes": [{"name": "v", "emptyDir": {}}],
        "containers": [{"name": "c", "image": "nginx"}],
    })
}

/// Merges `patch` into a good spec, and compares the first complaint.
fn check(patch: Value, fault: &str) {
    let mut spec = spec();
    json_patch::merge(&mut spec, &patch);
    let mut check = Check::default();
    validate(&mut check, format_args!("spec"), &spec, Whose::Pod, true);
    let errors: Vec<_> = check.into_errors().iter().map(ToString::to_string).collect();
    match fault {
        "" => assert_eq!(errors, Vec::<String>::new(), "{patch}"),
        fault => assert_eq!(errors.first().map_or("", |it| it), fault, "{patch}: {errors:?}"),
    }
}

fn container(with: Value, fault: &str) {
    let mut container = json!({"name": "c", "image": "nginx"});
    json_patch::merge(&mut container, &with);
    check(json!({"containers": [container]}), fault);
}

#[test]
fn containers_are_checked() {
    check(json!({}), "");
    check(json!({"containers": null}), "spec.containers: Required value");
    container(json!({"name": null}), "spec.containers[0].name: Required value");
    container(json!({"image": null}), "spec.containers[0].image: Required value");
    check(
        json!({"initContainers": [{"name": "c", "image": "i"}]}),
        "spec.initContainers[0].name: Duplicate value: \"c\"",
    );
    check(
        json!({"initContainers": [{"name": "i", "image": "i", "livenessProbe": {}}]}),
        "spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers \
         without restartPolicy=Always",
    );
    container(
        json!({"ports": [{"containerPort": 70000, "protocol": "TCP"}]}),
        "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and \
         65535, inclusive",
    );
    container(
        json!({"imagePullPolicy": "Now"}),
        "spec.containers[0].imagePullPolicy: Unsupported value: \"Now\": supported values: \
         \"Always\", \"IfNotPresent\", \"Never\"",
    );
    container(
        json!({"env": [{"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}),
        "spec.containers[0].env[0].valueFrom: Invalid value: \"\": may not be specified when \
         `value` is not empty",
    );
}

#[test]
fn mounts_have_volumes() {
    container(json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}]}), "");
    container(
        json!({"volumeMounts": [{"name": "w", "mountPath": "/v"}]}),
        "spec.containers[0].volumeMounts[0].name: Not found: \"w\"",
    );
    container(
        json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}, {"name": "v", "mountPath": "/v"}]}),
        "spec.containers[0].volumeMounts[1].mountPath: Invalid value: \"/v\": must be unique",
    );
    check(
        json!({"volumes": [{"name": "v", "emptyDir": {}, "hostPath": {"path": "/"}}]}),
        "spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type",
    );
    check(
        json!({"volumes": [{"name": "v", "secret": {"secretName": "s", "items": [{"key": "k", "path": "../p"}]}}]}),
        "spec.volumes[0].secret.items[0].path: Invalid value: \"../p\": must not contain '..'",
    );
}

#[test]
fn amounts_are_checked_against_limits() {
    container(json!({"resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1000m"}}}), "");
    container(
        json!({"resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}}),
        "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal \
         to cpu limit of 1",
    );
    container(
        json!({"resources": {"limits": {"gpu": "1"}}}),
        "spec.containers[0].resources.limits: Invalid value: \"gpu\": must be a standard resource \
         type or fully qualified",
    );
    container(
        json!({"resources": {"requests": {"cpu": "-1"}}}),
        "spec.containers[0].resources.requests[cpu]: Invalid value: \"-1\": must be greater than \
         or equal to 0",
    );
}

#[test]
fn probes_have_one_handler() {
    container(
        json!({"livenessProbe": {"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"}}}),
        "",
    );
    container(
        json!({"livenessProbe": {"periodSeconds": 1}}),
        "spec.containers[0].livenessProbe: Required value: must specify a handler type",
    );
    container(
        json!({"livenessProbe": {"exec": {"command": ["x"]}, "tcpSocket": {"port": 1}}}),
        "spec.containers[0].livenessProbe.tcpSocket: Forbidden: may not specify more than 1 \
         handler type",
    );
    container(
        json!({"livenessProbe": {"exec": {"command": ["x"]}, "successThreshold": 2}}),
        "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1",
    );
}

#[test]
fn policies_and_places_are_checked() {
    check(
        json!({"restartPolicy": "Sometimes"}),
        "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \
         \"OnFailure\", \"Never\"",
    );
    check(
        json!({"dnsPolicy": "None"}),
        "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None",
    );
    check(
        json!({"tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]}),
        "spec.tolerations[0].operator: Invalid value: \"b\": value must be empty when `operator` \
         is 'Exists'",
    );
    check(
        json!({"topologySpreadConstraints": [{"maxSkew": 0, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"}]}),
        "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
    );
    check(
        json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {}}}}),
        "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution\
         .nodeSelectorTerms: Required value: must have at least one node selector term",
    );
}

#[test]
fn the_quality_of_service_follows_from_the_amounts() {
    let of = |resources: Value| {
        qos_class(&json!({"containers": [{"name": "c", "resources": resources}]}))
    };
    assert_eq!(of(json!({})), "BestEffort");
    assert_eq!(of(json!({"requests": {"cpu": "1"}})), "Burstable");
    let both = json!({"cpu": "1", "memory": "1Gi"});
    assert_eq!(of(json!({"limits": both, "requests": both})), "Guaranteed");
}

#[test]
fn odd_specs_never_panic() {
    for odd in [
        json!(null),
        json!([]),
        json!({"containers": [null, 1, {"env": [1], "ports": 3, "volumeMounts": [[]]}]}),
        json!({"volumes": [1, {"name": "x", "projected": {"sources": [1]}}], "affinity": 3}),
    ] {
        let mut check = Check::default();
        validate(&mut check, format_args!("spec"), &odd, Whose::Template, true);
        assert!(!check.into_errors().is_empty());
    }
}
