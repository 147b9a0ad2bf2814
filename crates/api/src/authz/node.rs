//! What a node's kubelet (`system:node:NAME` of `system:nodes`) may: the rules
//! of every node, of Secrets and the like only what its own Pods name, and it
//! writes only itself and its own Pods. What it creates is judged by what it
//! sends, as Kubernetes' NodeRestriction does.

use std::sync::LazyLock;

use kv::KeyValue;
use serde_json::Value;

use super::{Attributes, defaults, rule::Rule};
use crate::{caller::Caller, cluster::Cluster, object};

const GROUP: &str = "system:nodes";
const USER_PREFIX: &str = "system:node:";
const LEASES: &str = "kube-node-lease";
const PODS: &str = "/registry/core/pods/";
const READS: [&str; 3] = ["get", "list", "watch"];

/// Of a Pod that a file on the node asked for: it only tells that it runs.
const MIRROR: &str = "/metadata/annotations/kubernetes.io~1config.mirror";

/// Volumes that take nothing from the API but the Pod itself.
const PLAIN_VOLUMES: [&str; 3] = ["hostPath", "emptyDir", "downwardAPI"];

/// The same, of values in a container's environment.
const PLAIN_VALUES: [&str; 3] = ["fieldRef", "resourceFieldRef", "fileKeyRef"];

/// The rules of `system:node`.
static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let role = defaults::OBJECTS.iter().find(|object| object::name(object) == "system:node");
    Rule::all_of(role.expect("the defaults have it"))
});

pub fn may(caller: &Caller, cluster: &Cluster, what: &Attributes<'_>) -> bool {
    let Some(node) = node_of(caller) else { return false };
    if !RULES.iter().any(|rule| rule.allows(what)) {
        return false;
    }
    match (what.group, &*what.resource) {
        ("", "secrets" | "configmaps" | "persistentvolumeclaims")
        | ("", "persistentvolumeclaims/status" | "serviceaccounts/token") => {
            !what.name.is_empty() && !what.namespace.is_empty() && {
                let start = format!("{PODS}{}/", what.namespace);
                let pods = cluster.mirror().list(PODS, &start);
                pods.iter().any(|kv| names(kv, node, &what.resource, what.name))
            }
        }
        ("coordination.k8s.io", "leases") => {
            what.namespace == LEASES && (what.name == node || what.verb == "create")
        }
        ("storage.k8s.io", "csinodes") => what.name == node || what.verb == "create",
        ("", "nodes" | "nodes/status") => {
            let writes = matches!(what.verb, "update" | "patch" | "delete");
            !writes || what.name == node
        }
        ("", "pods" | "pods/status" | "pods/eviction") => {
            READS.contains(&what.verb)
                // There is nothing to look at yet but what is sent.
                || (what.verb == "create" && what.resource == "pods")
                || has_pod(cluster, node, what.namespace, what.name)
        }
        _ => true,
    }
}

/// Why `caller` may not create this object, when it is a node.
pub fn objection(caller: &Caller, group: &str, plural: &str, object: &Value) -> Option<String> {
    let node = node_of(caller)?;
    match (group, plural) {
        ("", "pods") => objection_to_pod(node, object),
        ("", "nodes") | ("coordination.k8s.io", "leases") | ("storage.k8s.io", "csinodes") => {
            (object::name(object) != node)
                .then(|| format!("node {node:?} is allowed to create only what has its own name"))
        }
        _ => None,
    }
}

pub fn is_node(caller: &Caller) -> bool {
    node_of(caller).is_some()
}

/// The name of the node that `caller` is.
fn node_of(caller: &Caller) -> Option<&str> {
    let name = caller.name.strip_prefix(USER_PREFIX)?;
    (caller.is_in(GROUP) && !name.is_empty()).then_some(name)
}

fn has_pod(cluster: &Cluster, node: &str, namespace: &str, name: &str) -> bool {
    let pod = cluster.mirror().get(PODS, &format!("{PODS}{namespace}/{name}"));
    pod.is_some_and(|kv| pod_of(&kv, node).is_some())
}

/// Whether the pod runs on `node` and names the object.
fn names(kv: &KeyValue, node: &str, resource: &str, name: &str) -> bool {
    has(kv, name) && pod_of(kv, node).is_some_and(|pod| refers(&pod, resource, name))
}

/// The pod, if it runs on `node`.
fn pod_of(kv: &KeyValue, node: &str) -> Option<Value> {
    // Most pods are of other nodes: their bytes tell.
    let pod = has(kv, node).then(|| serde_json::from_slice::<Value>(&kv.value).ok()).flatten()?;
    (object::text(&pod, "/spec/nodeName") == node).then_some(pod)
}

fn has(kv: &KeyValue, text: &str) -> bool {
    memchr::memmem::find(&kv.value, text.as_bytes()).is_some()
}

/// Only a mirror of what already runs there, which asks the API for nothing: a
/// Pod that named a Secret would let its node read it.
fn objection_to_pod(node: &str, pod: &Value) -> Option<String> {
    let spec = &pod["spec"];
    let some = |path: &str| pod.pointer(path).is_some_and(|value| !is_empty(value));
    let owners = list(&pod["metadata"]["ownerReferences"]);
    if pod.pointer(MIRROR).is_none_or(Value::is_null) {
        return Some(format!("node {node:?} is allowed to create only mirror pods"));
    }
    if object::text(pod, "/spec/nodeName") != node {
        return Some(format!("node {node:?} is allowed to create only pods on itself"));
    }
    if owners.iter().any(|owner| owner["kind"] != "Node" || owner["name"] != node) {
        return Some(format!("node {node:?} is allowed to create only pods that it owns itself"));
    }
    let kinds = [
        ("a service account", some("/spec/serviceAccountName") || some("/spec/serviceAccount")),
        ("secrets to pull images", some("/spec/imagePullSecrets")),
        ("resource claims", some("/spec/resourceClaims")),
        ("objects in a volume", list(&spec["volumes"]).iter().any(|volume| !is_plain(volume))),
        ("objects in an environment", containers(spec).iter().any(takes_objects)),
    ];
    let named = kinds.into_iter().find(|(_, named)| *named);
    named.map(|(what, _)| format!("a mirror pod may not name {what}"))
}

fn is_plain(volume: &Value) -> bool {
    volume.as_object().into_iter().flatten().all(|(key, source)| match &**key {
        "name" => true,
        "projected" => {
            let sources = list(&source["sources"]);
            sources.iter().all(|source| has_only(source, &PLAIN_VOLUMES))
        }
        kind => PLAIN_VOLUMES.contains(&kind) || source.is_null(),
    })
}

fn takes_objects(container: &Value) -> bool {
    !is_empty(&container["envFrom"])
        || list(&container["env"]).iter().any(|env| !has_only(&env["valueFrom"], &PLAIN_VALUES))
}

fn has_only(value: &Value, fields: &[&str]) -> bool {
    let mut own = value.as_object().into_iter().flatten();
    own.all(|(key, value)| fields.contains(&&**key) || value.is_null())
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

fn containers(spec: &Value) -> Vec<Value> {
    let fields = ["containers", "initContainers", "ephemeralContainers"];
    fields.iter().flat_map(|field| list(&spec[*field])).collect()
}

fn refers(pod: &Value, resource: &str, name: &str) -> bool {
    let spec = &pod["spec"];
    let is = |value: &Value| value.as_str() == Some(name);
    let volumes = list(&spec["volumes"]);
    let sources: Vec<Value> =
        volumes.iter().flat_map(|volume| list(&volume["projected"]["sources"])).collect();
    let containers = containers(spec);
    let in_env = |from: &str, key: &str| {
        containers.iter().any(|container| {
            list(&container["envFrom"]).iter().any(|env| is(&env[from]["name"]))
                || list(&container["env"]).iter().any(|env| is(&env["valueFrom"][key]["name"]))
        })
    };
    match resource {
        "serviceaccounts/token" => is(&spec["serviceAccountName"]),
        "configmaps" => {
            volumes.iter().chain(&sources).any(|volume| is(&volume["configMap"]["name"]))
                || in_env("configMapRef", "configMapKeyRef")
        }
        "secrets" => {
            list(&spec["imagePullSecrets"]).iter().any(|secret| is(&secret["name"]))
                || volumes.iter().any(|volume| secret_of(volume).into_iter().any(is))
                || sources.iter().any(|source| is(&source["secret"]["name"]))
                || in_env("secretRef", "secretKeyRef")
        }
        // Of a claim, and of its status; an ephemeral one is named after both.
        _ => volumes.iter().any(|volume| {
            let made = format!("{}-{}", object::name(pod), object::text(volume, "/name"));
            is(&volume["persistentVolumeClaim"]["claimName"])
                || (volume["ephemeral"].is_object() && made == name)
        }),
    }
}

/// Where volumes name a Secret.
fn secret_of(volume: &Value) -> [&Value; 4] {
    [
        &volume["secret"]["secretName"],
        &volume["csi"]["nodePublishSecretRef"]["name"],
        &volume["cephfs"]["secretRef"]["name"],
        &volume["rbd"]["secretRef"]["name"],
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_names_what_it_uses() {
        let pod = json!({"metadata": {"name": "p"}, "spec": {
            "serviceAccountName": "till",
            "imagePullSecrets": [{"name": "pull"}],
            "volumes": [
                {"name": "a", "secret": {"secretName": "tls"}},
                {"name": "b", "configMap": {"name": "conf"}},
                {"name": "c", "projected": {"sources": [
                    {"secret": {"name": "projected"}}, {"configMap": {"name": "roots"}}]}},
                {"name": "d", "persistentVolumeClaim": {"claimName": "data"}},
                {"name": "e", "ephemeral": {}},
            ],
            "containers": [{
                "envFrom": [{"secretRef": {"name": "env"}}],
                "env": [{"valueFrom": {"configMapKeyRef": {"name": "key"}}}],
            }],
        }});
        for (resource, names) in [
            ("secrets", &["pull", "tls", "projected", "env"][..]),
            ("configmaps", &["conf", "roots", "key"]),
            ("persistentvolumeclaims", &["data", "p-e"]),
            ("serviceaccounts/token", &["till"]),
        ] {
            for name in names {
                assert!(refers(&pod, resource, name), "{resource} {name}");
            }
            assert!(!refers(&pod, resource, "other") && !refers(&Value::Null, resource, "x"));
        }
        assert!(!refers(&pod, "secrets", "conf"));
    }

    #[test]
    fn a_node_tells_of_pods_that_its_files_ask_for_and_makes_no_others() {
        let caller = Caller::user("system:node:n", [GROUP.to_owned()]);
        let mirror = json!({
            "metadata": {
                "annotations": {"kubernetes.io/config.mirror": "7"},
                "ownerReferences": [{"kind": "Node", "name": "n"}],
            },
            "spec": {
                "nodeName": "n",
                "volumes": [
                    {"name": "a", "hostPath": {"path": "/etc"}},
                    {"name": "b", "projected": {"sources": [{"downwardAPI": {}}]}},
                ],
                "containers": [{"env": [
                    {"name": "a", "value": "b"},
                    {"name": "c", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}},
                ]}],
            },
        });
        let judge = |pod: &Value| objection(&caller, "", "pods", pod);
        assert_eq!(judge(&mirror), None);
        let volume = |source: Value| json!([source]);
        for (path, value, expected) in [
            ("/metadata/annotations", json!({}), "only mirror pods"),
            ("/spec/nodeName", json!("m"), "only pods on itself"),
            ("/metadata/ownerReferences/0/name", json!("m"), "owns itself"),
            ("/spec/serviceAccountName", json!("till"), "a service account"),
            ("/spec/imagePullSecrets", json!([{"name": "a"}]), "pull images"),
            ("/spec/resourceClaims", json!([{"name": "a"}]), "resource claims"),
            ("/spec/volumes", volume(json!({"secret": {"secretName": "a"}})), "a volume"),
            ("/spec/volumes", volume(json!({"iscsi": {"secretRef": {"name": "a"}}})), "a volume"),
            (
                "/spec/volumes/1/projected/sources/0",
                json!({"serviceAccountToken": {"path": "a"}}),
                "a volume",
            ),
            ("/spec/containers/0/envFrom", json!([{"secretRef": {"name": "a"}}]), "environment"),
            (
                "/spec/containers/0/env/1/valueFrom",
                json!({"configMapKeyRef": {"name": "a"}}),
                "environment",
            ),
        ] {
            let mut pod = mirror.clone();
            let (parent, field) = path.rsplit_once('/').expect("a path");
            match pod.pointer_mut(parent).expect("it is there") {
                Value::Array(items) => items[0] = value,
                parent => parent[field] = value,
            }
            let why = judge(&pod).unwrap_or_default();
            assert!(why.contains(expected), "{path}: {why:?}");
        }
        let named = |name: &str| json!({"metadata": {"name": name}});
        for (group, plural) in [("", "nodes"), ("coordination.k8s.io", "leases")] {
            assert_eq!(objection(&caller, group, plural, &named("n")), None);
            assert!(objection(&caller, group, plural, &named("m")).is_some(), "{plural}");
        }
        assert_eq!(objection(&Caller::user("ann", []), "", "pods", &json!({})), None);
    }

    #[test]
    fn a_node_is_of_its_group() {
        let caller = |name: &str, group: &str| Caller::user(name, [group.to_owned()]);
        assert_eq!(node_of(&caller("system:node:a", GROUP)), Some("a"));
        assert_eq!(node_of(&caller("system:node:a", "x")), None);
        assert_eq!(node_of(&caller("system:node:", GROUP)), None);
    }
}
