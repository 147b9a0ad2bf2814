//! Parts of a pod that have an address of their own, since they change while the
//! rest may not: containers added to look into it, and what it may use. Pure.

use resources::FieldError;
use serde_json::Value;

use crate::{object, registry::Part};

const LISTS: [&str; 2] = ["containers", "initContainers"];

/// `old` with that part of `wanted`.
pub(crate) fn merge(part: Part, wanted: &Value, old: &Value) -> Value {
    let mut pod = old.clone();
    for field in ["resourceVersion", "uid", "name", "namespace"] {
        if let Some(value) = wanted["metadata"].get(field) {
            object::metadata(&mut pod).insert(field.into(), value.clone());
        }
    }
    let spec = object::child(&mut pod, "spec");
    if part == Part::EphemeralContainers {
        match wanted["spec"].get("ephemeralContainers") {
            Some(list) => spec.insert("ephemeralContainers".into(), list.clone()),
            None => spec.remove("ephemeralContainers"),
        };
        return pod;
    }
    for list in LISTS {
        let containers = spec.get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten().filter_map(Value::as_object_mut) {
            let Some(wanted) = named(wanted, list, container.get("name")) else { continue };
            for field in ["resources", "resizePolicy"] {
                match wanted.get(field) {
                    Some(value) => container.insert(field.into(), value.clone()),
                    None => container.remove(field),
                };
            }
        }
    }
    pod
}

/// What may not become of that part.
pub(crate) fn check(part: Part, pod: &Value, old: &Value) -> Vec<FieldError> {
    match part {
        Part::EphemeralContainers => check_ephemeral(pod, old),
        _ => check_resources(pod, old),
    }
}

/// They are added, and stay as long as the pod.
fn check_ephemeral(pod: &Value, old: &Value) -> Vec<FieldError> {
    const FIELD: &str = "ephemeralContainers";
    let mut errors = Vec::new();
    for before in list(old, FIELD) {
        let name = object::text(before, "/name");
        match named(pod, FIELD, before.get("name")) {
            None => errors.push(FieldError::forbidden(
                format!("spec.{FIELD}"),
                format!("existing ephemeral containers {name:?} may not be removed\n"),
            )),
            Some(now) if now != before => errors.push(FieldError::forbidden(
                format!("spec.{FIELD}"),
                format!("existing ephemeral containers {name:?} may not be changed\n"),
            )),
            Some(_) => {}
        }
    }
    let others: Vec<&Value> = LISTS.iter().flat_map(|field| list(pod, field)).collect();
    for (index, container) in list(pod, FIELD).enumerate() {
        let path = format!("spec.{FIELD}[{index}].name");
        let name = &container["name"];
        if object::text(container, "/name").is_empty() {
            errors.push(FieldError::required(path, ""));
        } else if others.iter().any(|other| other["name"] == *name)
            || list(pod, FIELD).take(index).any(|other| other["name"] == *name)
        {
            errors.push(FieldError::duplicate(path, name));
        }
    }
    errors
}

/// Only what is measured in time and bytes can be given or taken.
fn check_resources(pod: &Value, old: &Value) -> Vec<FieldError> {
    let rest = |container: &Value| {
        let mut rest = container["resources"].clone();
        for kind in ["requests", "limits"] {
            let Some(map) = rest.get_mut(kind).and_then(Value::as_object_mut) else { continue };
            map.retain(|name, _| !matches!(name.as_str(), "cpu" | "memory"));
            if map.is_empty() {
                rest.as_object_mut().expect("it has a field").remove(kind);
            }
        }
        if rest.as_object().is_some_and(serde_json::Map::is_empty) { Value::Null } else { rest }
    };
    let mut errors = Vec::new();
    for field in LISTS {
        for (index, before) in list(old, field).enumerate() {
            let Some(now) = named(pod, field, before.get("name")) else { continue };
            if rest(now) != rest(before) {
                let path = format!("spec.{field}[{index}].resources");
                errors
                    .push(FieldError::forbidden(path, "only cpu and memory resources are mutable"));
            }
        }
    }
    errors
}

fn list<'a>(pod: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    pod["spec"][field].as_array().into_iter().flatten()
}

fn named<'a>(pod: &'a Value, field: &str, name: Option<&Value>) -> Option<&'a Value> {
    list(pod, field).find(|container| container.get("name") == name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(containers: Value, ephemeral: Value) -> Value {
        let spec = json!({ "containers": containers, "ephemeralContainers": ephemeral });
        json!({ "metadata": { "name": "p", "labels": { "a": "b" } }, "spec": spec })
    }

    #[test]
    fn ephemeral_containers_are_added_and_nothing_else_changes() {
        let part = Part::EphemeralContainers;
        let old = pod(json!([{ "name": "main" }]), json!([{ "name": "look" }]));
        let wanted = pod(json!([]), json!([{ "name": "look" }, { "name": "more" }]));
        let merged = merge(part, &wanted, &old);
        assert_eq!(merged["spec"]["containers"], old["spec"]["containers"]);
        assert!(check(part, &merged, &old).is_empty());
        for (ephemeral, count) in [
            (json!([]), 1),
            (json!([{ "name": "look", "image": "x" }]), 1),
            (json!([{ "name": "look" }, { "name": "main" }]), 1),
            (json!([{ "name": "look" }, { "name": "a" }, { "name": "a" }, {}]), 2),
        ] {
            let merged = merge(part, &pod(json!([]), ephemeral), &old);
            assert_eq!(check(part, &merged, &old).len(), count, "{merged}");
        }
    }

    #[test]
    fn only_time_and_bytes_are_given_or_taken() {
        let part = Part::Resources;
        let of = |limits: Value| {
            pod(json!([{ "name": "main", "resources": { "limits": limits } }]), json!([]))
        };
        let old = of(json!({ "cpu": "1" }));
        let merged = merge(part, &of(json!({ "cpu": "2", "memory": "1Gi" })), &old);
        assert_eq!(merged["spec"]["containers"][0]["resources"]["limits"]["cpu"], "2");
        assert!(check(part, &merged, &old).is_empty());
        let merged = merge(part, &of(json!({ "cpu": "1", "gpu": "1" })), &old);
        assert_eq!(check(part, &merged, &old).len(), 1);
        let none = pod(json!([{ "name": "main" }]), json!([]));
        assert!(check(part, &merge(part, &none, &old), &old).is_empty());
    }
}
