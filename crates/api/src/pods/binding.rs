//! A node for a pod: once, by whoever schedules. Pure.

use http::StatusCode;
use resources::FieldError;
use serde_json::{Value, json};

use crate::{
    failure::Failure,
    object::{self, timestamp},
};

/// What a `Binding` must say, whatever the pod is.
pub(super) fn check(name: &str, binding: &Value) -> Result<(), Failure> {
    let own = object::name(binding);
    if !own.is_empty() && own != name {
        return Err(Failure::bad_request(format!(
            "the name of the object ({own}) does not match the name on the URL ({name})"
        )));
    }
    let mut errors = Vec::new();
    let kind = object::text(binding, "/target/kind");
    if !matches!(kind, "" | "Node") {
        errors.push(FieldError::unsupported("target.kind", &json!(kind), ["Node", "<empty>"]));
    }
    if object::text(binding, "/target/name").is_empty() {
        errors.push(FieldError::required("target.name", ""));
    }
    match errors.is_empty() {
        true => Ok(()),
        false => Err(Failure::invalid_kind("Binding", name, &errors)),
    }
}

/// The pod with its node.
pub(super) fn bind(pod: &Value, binding: &Value) -> Result<Value, Failure> {
    let name = object::name(pod);
    let uid = object::uid(binding);
    if !uid.is_empty() && uid != object::uid(pod) {
        let present = object::uid(pod);
        return Err(conflict(
            name,
            &format!(
                "Precondition failed: UID in precondition: {uid}, UID in object meta: {present}"
            ),
        ));
    }
    let node = object::text(pod, "/spec/nodeName");
    if object::is_deleting(pod) {
        let why = format!("pod {name} is being deleted, cannot be assigned to a host");
        return Err(conflict(name, &why));
    }
    if !node.is_empty() {
        return Err(conflict(name, &format!("pod {name} is already assigned to node {node:?}")));
    }
    let gates = pod.pointer("/spec/schedulingGates").and_then(Value::as_array);
    if gates.is_some_and(|gates| !gates.is_empty()) {
        let why = format!("pod {name} has non-empty .spec.schedulingGates");
        return Err(conflict(name, &why));
    }
    let mut pod = pod.clone();
    // Whoever changes it meanwhile is no reason to fail.
    object::metadata(&mut pod).remove("resourceVersion");
    object::child(&mut pod, "spec").insert("nodeName".into(), binding["target"]["name"].clone());
    for part in ["annotations", "labels"] {
        let Some(given) = binding["metadata"][part].as_object() else { continue };
        let metadata = object::metadata(&mut pod);
        let kept = metadata.entry(part).or_insert_with(|| json!({}));
        kept.as_object_mut().into_iter().for_each(|kept| kept.extend(given.clone()));
    }
    set_condition(&mut pod, json!({ "type": "PodScheduled", "status": "True" }));
    Ok(pod)
}

/// Puts a condition in its place; the time of its last change stays if it is none.
pub(super) fn set_condition(pod: &mut Value, mut condition: Value) {
    let status = object::child(pod, "status");
    let conditions = status.entry("conditions").or_insert_with(|| json!([]));
    let Some(conditions) = conditions.as_array_mut() else { return };
    let old = conditions.iter().position(|old| old["type"] == condition["type"]);
    let since = old.map(|at| &conditions[at]).filter(|old| old["status"] == condition["status"]);
    let since = since.and_then(|old| old.get("lastTransitionTime")).cloned();
    condition["lastTransitionTime"] = since.unwrap_or_else(|| timestamp(object::now()).into());
    match old {
        Some(at) => conditions[at] = condition,
        None => conditions.push(condition),
    }
}

fn conflict(name: &str, why: &str) -> Failure {
    let message = format!("Operation cannot be fulfilled on pods/binding {name:?}: {why}");
    Failure::new(StatusCode::CONFLICT, "Conflict", message).on("", "pods/binding", name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(spec: Value) -> Value {
        json!({ "metadata": { "name": "p", "uid": "1" }, "spec": spec })
    }

    #[test]
    fn a_pod_is_given_a_node_once() {
        let binding = json!({
            "metadata": { "name": "p", "annotations": { "by": "me" } },
            "target": { "kind": "Node", "name": "n1" },
        });
        check("p", &binding).expect("it is well formed");
        let bound = bind(&pod(json!({})), &binding).expect("it is free");
        assert_eq!(bound["spec"]["nodeName"], "n1");
        assert_eq!(bound["metadata"]["annotations"]["by"], "me");
        assert_eq!(bound["status"]["conditions"][0]["type"], "PodScheduled");
        let failure = bind(&bound, &binding).expect_err("it has one");
        assert_eq!(
            failure.message(),
            "Operation cannot be fulfilled on pods/binding \"p\": pod p is already assigned to \
             node \"n1\""
        );
        assert_eq!(failure.code(), StatusCode::CONFLICT);
    }

    #[test]
    fn pods_that_wait_or_go_and_odd_bindings_are_refused() {
        let binding = |uid: &str| json!({ "metadata": { "uid": uid }, "target": { "name": "n" } });
        let refused = |pod: &Value, uid: &str| {
            bind(pod, &binding(uid)).expect_err("refused").message().to_owned()
        };
        assert!(refused(&pod(json!({})), "2").contains("UID in precondition: 2"));
        let gated = pod(json!({ "schedulingGates": [{ "name": "g" }] }));
        assert!(refused(&gated, "1").ends_with("pod p has non-empty .spec.schedulingGates"));
        let mut going = pod(json!({}));
        going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        assert!(refused(&going, "").contains("is being deleted, cannot be assigned to a host"));
        assert!(check("p", &json!({ "target": { "kind": "Rack", "name": "n" } })).is_err());
        assert!(check("p", &json!({ "target": {} })).is_err());
        assert!(check("q", &json!({ "metadata": { "name": "p" } })).is_err());
    }
}
