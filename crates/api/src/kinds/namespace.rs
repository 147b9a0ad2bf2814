//! Namespaces: there from the first day, and gone only when they are empty.

use serde_json::{Value, json};

use crate::object;

/// Present in every cluster without being asked for.
pub const ALWAYS: [&str; 5] =
    ["default", "kube-node-lease", "kube-public", "kube-system", "polis-system"];

/// Nobody deletes these, as in Kubernetes, and ours.
pub const IMMORTAL: [&str; 4] = ["default", "kube-public", "kube-system", "polis-system"];

pub fn create(namespace: &mut Value) {
    let name = object::name(namespace).to_owned();
    let metadata = object::metadata(namespace);
    let labels = metadata.entry("labels").or_insert_with(|| json!({}));
    if labels.is_object() {
        labels["kubernetes.io/metadata.name"] = name.into();
    }
    namespace["spec"] = json!({ "finalizers": ["kubernetes"] });
    namespace["status"] = json!({ "phase": "Active" });
}

/// Marks it as going; nothing can be created in it from now on.
pub fn terminate(namespace: &mut Value) {
    object::child(namespace, "status").insert("phase".into(), "Terminating".into());
}

pub fn is_terminating(namespace: &Value) -> bool {
    object::is_deleting(namespace)
}
