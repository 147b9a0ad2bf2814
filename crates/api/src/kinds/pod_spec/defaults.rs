//! What a pod gets that its schema cannot say: defaults that depend on
//! something else.

use serde_json::{Map, Value, json};

use crate::object::set_default;

/// Of every pod and every template of one.
pub fn default_spec(spec: &mut Value) {
    // The old name and the new one always say the same.
    let account = spec.get("serviceAccountName").or_else(|| spec.get("serviceAccount")).cloned();
    if let Some(account) = account.filter(|it| it.as_str().is_some_and(|it| !it.is_empty())) {
        spec["serviceAccountName"] = account.clone();
        spec["serviceAccount"] = account;
    }
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        for container in maps(spec, list) {
            default_pull_policy(container, "image", "imagePullPolicy");
        }
    }
    for volume in maps(spec, "volumes") {
        if volume.iter().all(|(key, value)| key == "name" || value.is_null()) {
            volume.insert("emptyDir".into(), json!({}));
        }
        if let Some(image) = volume.get_mut("image").and_then(Value::as_object_mut) {
            default_pull_policy(image, "reference", "pullPolicy");
        }
    }
}

/// Of a pod itself, and not of templates: what is decided when it is made.
pub fn default_pod(spec: &mut Value) {
    default_spec(spec);
    let host_network = spec.get("hostNetwork") == Some(&Value::Bool(true));
    for list in ["containers", "initContainers"] {
        for container in maps(spec, list) {
            if let Some(resources) = container.get_mut("resources") {
                default_requests(resources);
            }
            let ports = container.get_mut("ports").and_then(Value::as_array_mut);
            for port in ports.into_iter().flatten().filter(|_| host_network) {
                let number = port.get("containerPort").cloned().unwrap_or(Value::Null);
                if let Some(port) = port.as_object_mut()
                    && port.get("hostPort").is_none_or(|host| host == 0)
                {
                    port.insert("hostPort".into(), number);
                }
            }
        }
    }
    if let Some(resources) = spec.get_mut("resources") {
        default_requests(resources);
    }
    if let Some(spec) = spec.as_object_mut() {
        set_default(spec, "enableServiceLinks", true);
    }
}

/// What is limited and not asked for is asked for up to its limit.
fn default_requests(resources: &mut Value) {
    let Some(limits) = resources.get("limits").and_then(Value::as_object).cloned() else { return };
    let requests = crate::object::child(resources, "requests");
    for (name, limit) in limits {
        requests.entry(name).or_insert(limit);
    }
}

fn default_pull_policy(of: &mut Map<String, Value>, image: &str, policy: &str) {
    let image = of.get(image).and_then(Value::as_str).unwrap_or_default();
    if of.get(policy).and_then(Value::as_str).is_none_or(str::is_empty) && !image.is_empty() {
        of.insert(policy.into(), pull_policy(image).into());
    }
}

/// What moves is fetched anew each time.
fn pull_policy(image: &str) -> &'static str {
    let (name, digest) = match image.split_once('@') {
        Some((name, _)) => (name, true),
        None => (image, false),
    };
    let last = name.rsplit('/').next().unwrap_or(name);
    match last.split_once(':') {
        Some((_, "latest")) => "Always",
        None if !digest => "Always",
        _ => "IfNotPresent",
    }
}

/// The items of a list that are objects.
fn maps<'a>(of: &'a mut Value, list: &str) -> impl Iterator<Item = &'a mut Map<String, Value>> {
    let list = of.get_mut(list).and_then(Value::as_array_mut);
    list.into_iter().flatten().filter_map(Value::as_object_mut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_that_move_are_always_pulled() {
        for (image, policy) in [
            ("nginx", "Always"),
            ("nginx:latest", "Always"),
            ("nginx:1.27", "IfNotPresent"),
            ("host:5000/nginx", "Always"),
            ("host:5000/nginx:1", "IfNotPresent"),
            ("nginx@sha256:00", "IfNotPresent"),
            ("nginx:latest@sha256:00", "Always"),
        ] {
            assert_eq!(pull_policy(image), policy, "{image}");
        }
    }

    #[test]
    fn a_pod_gets_what_depends_on_something_else() {
        let mut spec = json!({
            "serviceAccount": "a", "hostNetwork": true, "volumes": [{"name": "v"}],
            "containers": [{"name": "c", "image": "nginx", "ports": [{"containerPort": 80}],
                "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}}],
        });
        default_pod(&mut spec);
        assert_eq!(spec["serviceAccountName"], "a");
        assert_eq!(spec["volumes"][0]["emptyDir"], json!({}));
        assert_eq!(spec["enableServiceLinks"], true);
        let container = &spec["containers"][0];
        assert_eq!(container["imagePullPolicy"], "Always");
        assert_eq!(container["ports"][0]["hostPort"], 80);
        assert_eq!(container["resources"]["requests"], json!({"cpu": "500m", "memory": "1Gi"}));
        let once = spec.clone();
        default_pod(&mut spec);
        assert_eq!(spec, once);
        for mut odd in [json!(null), json!(1), json!({"containers": [1], "volumes": {}})] {
            default_pod(&mut odd);
        }
    }
}
