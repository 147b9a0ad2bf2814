//! Pods: defaults, what may change, and the graceful end.

use resources::FieldError;
use serde_json::{Map, Value, json};

use crate::{
    names,
    object::{self, set_default},
    resource::Rules,
};

/// Kubernetes' default for `terminationGracePeriodSeconds`.
const GRACE_S: u64 = 30;

pub const RULES: Rules = Rules { default, create, validate, validate_update, grace_s };

/// Runtime classes that run a process of the host: they need no image.
const CLASSES_WITHOUT_IMAGE: [&str; 2] = ["", "package"];

fn default(pod: &mut Value) {
    let spec = object::child(pod, "spec");
    set_default(spec, "restartPolicy", "Always");
    set_default(spec, "terminationGracePeriodSeconds", GRACE_S);
    set_default(spec, "dnsPolicy", "ClusterFirst");
    set_default(spec, "schedulerName", "default-scheduler");
    for list in ["containers", "initContainers"] {
        let containers = spec.get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten().filter_map(Value::as_object_mut) {
            default_container(container);
        }
    }
}

fn default_container(container: &mut Map<String, Value>) {
    let ports = container.get_mut("ports").and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten().filter_map(Value::as_object_mut) {
        set_default(port, "protocol", "TCP");
    }
    for probe in ["readinessProbe", "livenessProbe", "startupProbe"] {
        let Some(probe) = container.get_mut(probe).and_then(Value::as_object_mut) else { continue };
        set_default(probe, "timeoutSeconds", 1);
        set_default(probe, "periodSeconds", 10);
        set_default(probe, "successThreshold", 1);
        set_default(probe, "failureThreshold", 3);
        if let Some(get) = probe.get_mut("httpGet").and_then(Value::as_object_mut) {
            set_default(get, "path", "/");
            set_default(get, "scheme", "HTTP");
        }
    }
}

fn create(pod: &mut Value) {
    pod["status"] = json!({ "phase": "Pending" });
}

fn validate(pod: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let Some(spec) = pod.get("spec").and_then(Value::as_object) else {
        return vec![FieldError::required("spec", "say what is wanted")];
    };
    let class = object::text(pod, "/spec/runtimeClassName");
    let needs_image = !CLASSES_WITHOUT_IMAGE.contains(&class);
    if spec.get("containers").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        errors.push(FieldError::required("spec.containers", "name at least one container"));
    }
    let mut seen = Vec::new();
    for list in ["initContainers", "containers"] {
        let containers = spec.get(list).and_then(Value::as_array);
        for (index, container) in containers.into_iter().flatten().enumerate() {
            let path = format!("spec.{list}[{index}]");
            let name = object::text(container, "/name");
            if seen.contains(&name) {
                errors.push(FieldError::invalid(format!("{path}.name"), name, "is used twice"));
            }
            seen.push(name);
            validate_container(container, &path, needs_image, &mut errors);
        }
    }
    let policy = object::text(pod, "/spec/restartPolicy");
    if !["Always", "OnFailure", "Never"].contains(&policy) {
        let detail = format!("{policy:?}: supported values: \"Always\", \"OnFailure\", \"Never\"");
        errors.push(FieldError::not_supported("spec.restartPolicy", detail));
    }
    let grace = &spec.get("terminationGracePeriodSeconds");
    if grace.is_some_and(|grace| grace.as_u64().is_none()) {
        let path = "spec.terminationGracePeriodSeconds";
        errors.push(FieldError::invalid(path, "", "must be an integer and not negative"));
    }
    errors
}

fn validate_container(
    container: &Value,
    path: &str,
    needs_image: bool,
    errors: &mut Vec<FieldError>,
) {
    let name = object::text(container, "/name");
    if name.is_empty() {
        errors.push(FieldError::required(format!("{path}.name"), ""));
    } else if let Some(why) = names::label(name) {
        errors.push(FieldError::invalid(format!("{path}.name"), name, why));
    }
    if needs_image && object::text(container, "/image").is_empty() {
        errors.push(FieldError::required(format!("{path}.image"), ""));
    }
    for field in ["command", "args"] {
        if let Some(list) = container.get(field)
            && !list.as_array().is_some_and(|list| list.iter().all(Value::is_string))
        {
            let path = format!("{path}.{field}");
            errors.push(FieldError::invalid(path, "", "must be a list of strings"));
        }
    }
    for (index, variable) in container["env"].as_array().into_iter().flatten().enumerate() {
        let name = object::text(variable, "/name");
        if name.is_empty() || name.contains(['=', '\0']) {
            let path = format!("{path}.env[{index}].name");
            errors.push(FieldError::invalid(path, name, "must not be empty or contain '='"));
        }
    }
    for (index, port) in container["ports"].as_array().into_iter().flatten().enumerate() {
        let valid = |port: &Value| port.as_u64().is_some_and(|port| (1..=65_535).contains(&port));
        let path = format!("{path}.ports[{index}]");
        if !valid(&port["containerPort"]) {
            let path = format!("{path}.containerPort");
            errors.push(FieldError::invalid(path, "", "must be between 1 and 65535, inclusive"));
        }
        if port.get("hostPort").is_some_and(|port| !valid(port) && port != 0) {
            let path = format!("{path}.hostPort");
            errors.push(FieldError::invalid(path, "", "must be between 0 and 65535, inclusive"));
        }
    }
}

/// A running pod is not changed in place, but for its images and its end.
fn validate_update(new: &Value, old: &Value) -> Vec<FieldError> {
    let frame = |pod: &Value| {
        let mut spec = pod["spec"].clone();
        let Some(map) = spec.as_object_mut() else { return spec };
        for field in ["activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds"] {
            map.remove(field);
        }
        // Being given a node is how a pod is scheduled.
        if object::text(old, "/spec/nodeName").is_empty() {
            map.remove("nodeName");
        }
        for list in ["containers", "initContainers"] {
            let containers = map.get_mut(list).and_then(Value::as_array_mut);
            for container in containers.into_iter().flatten().filter_map(Value::as_object_mut) {
                container.remove("image");
            }
        }
        spec
    };
    match frame(new) == frame(old) {
        true => Vec::new(),
        false => vec![FieldError::not_supported(
            "spec",
            "pod updates may not change fields other than `spec.containers[*].image`, \
             `spec.initContainers[*].image`, `spec.activeDeadlineSeconds`, `spec.tolerations` or \
             `spec.terminationGracePeriodSeconds`",
        )],
    }
}

/// Only a pod that an agent may be running has anything to finish.
fn grace_s(pod: &Value) -> Option<u64> {
    let assigned = !object::text(pod, "/spec/nodeName").is_empty();
    let over = matches!(object::text(pod, "/status/phase"), "Succeeded" | "Failed");
    let wanted = pod.pointer("/spec/terminationGracePeriodSeconds").and_then(Value::as_u64);
    (assigned && !over).then(|| wanted.unwrap_or(GRACE_S))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> Value {
        let mut pod = json!({
            "metadata": {"name": "p", "namespace": "default"},
            "spec": {"nodeName": "n", "containers": [{"name": "c", "ports": [{"containerPort": 80}]}]},
        });
        default(&mut pod);
        pod
    }

    #[test]
    fn a_pod_is_defaulted_once_and_for_all() {
        let once = pod();
        let mut twice = once.clone();
        default(&mut twice);
        assert_eq!(once, twice);
        assert_eq!(once["spec"]["containers"][0]["ports"][0]["protocol"], "TCP");
        assert!(validate(&once).is_empty());
    }

    #[test]
    fn only_images_of_a_running_pod_change() {
        let old = pod();
        let mut new = pod();
        new["spec"]["containers"][0]["image"] = "b".into();
        assert!(validate_update(&new, &old).is_empty());
        new["spec"]["nodeName"] = "other".into();
        assert_eq!(validate_update(&new, &old).len(), 1);
    }

    #[test]
    fn a_finished_or_unassigned_pod_has_no_grace() {
        let mut pod = pod();
        assert_eq!(grace_s(&pod), Some(30));
        pod["status"] = json!({"phase": "Succeeded"});
        assert_eq!(grace_s(&pod), None);
        pod["status"] = json!({"phase": "Running"});
        pod["spec"]["nodeName"] = "".into();
        assert_eq!(grace_s(&pod), None);
    }

    #[test]
    fn odd_pods_are_refused_without_a_panic() {
        for odd in [
            json!({"spec": 1}),
            json!({"spec": {"containers": {}}}),
            json!({"spec": {"containers": [1, null, {"ports": 3, "env": [1], "command": "x"}]}}),
        ] {
            let mut pod = odd;
            default(&mut pod);
            assert!(!validate(&pod).is_empty());
        }
    }
}
