//! What a node's kubelet (`system:node:NAME` of `system:nodes`) may: the rules
//! of every node, and of Secrets and the like only what its own Pods name.

use std::sync::LazyLock;

use kv::KeyValue;
use serde_json::Value;

use super::{Attributes, defaults, rule::Rule};
use crate::{caller::Caller, cluster::Cluster, object};

const GROUP: &str = "system:nodes";
const USER_PREFIX: &str = "system:node:";
const LEASES: &str = "kube-node-lease";
const PODS: &str = "/registry/core/pods/";

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
        _ => true,
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

/// Whether the pod runs on `node` and names the object.
fn names(kv: &KeyValue, node: &str, resource: &str, name: &str) -> bool {
    // Most pods are of other nodes: their bytes tell.
    let has = |text: &str| memchr::memmem::find(&kv.value, text.as_bytes()).is_some();
    if !has(node) || !has(name) {
        return false;
    }
    let pod = serde_json::from_slice::<Value>(&kv.value).unwrap_or_default();
    object::text(&pod, "/spec/nodeName") == node && refers(&pod, resource, name)
}

fn refers(pod: &Value, resource: &str, name: &str) -> bool {
    let spec = &pod["spec"];
    let is = |value: &Value| value.as_str() == Some(name);
    let list = |value: &'_ Value| value.as_array().cloned().unwrap_or_default();
    let volumes = list(&spec["volumes"]);
    let sources: Vec<Value> =
        volumes.iter().flat_map(|volume| list(&volume["projected"]["sources"])).collect();
    let containers = ["containers", "initContainers", "ephemeralContainers"];
    let containers: Vec<Value> = containers.iter().flat_map(|field| list(&spec[*field])).collect();
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
    fn a_node_is_of_its_group() {
        let caller = |name: &str, group: &str| Caller::user(name, [group.to_owned()]);
        assert_eq!(node_of(&caller("system:node:a", GROUP)), Some("a"));
        assert_eq!(node_of(&caller("system:node:a", "x")), None);
        assert_eq!(node_of(&caller("system:node:", GROUP)), None);
    }
}
