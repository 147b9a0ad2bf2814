//! The roles and bindings that every Kubernetes cluster has.
//!
//! They are data: `defaults.policy`, read here. A line without indentation
//! starts a role or a binding, indented lines are its rules or subjects:
//!
//! ```text
//! role NAME [LABEL…]            a ClusterRole
//! role NAME aggregates LABEL    one that is made of all with the label
//! role NAMESPACE/NAME           a Role
//!   VERB,VERB GROUP,GROUP RESOURCE… [of NAME…]
//!   VERB,VERB url PATH…
//! bind NAME [to ROLE]           a ClusterRoleBinding, or NAMESPACE/NAME
//!   user NAME… | group NAME… | account NAMESPACE/NAME…
//! ```
//!
//! `core` is the group without a name; `read` and `write` stand for their verbs.

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::rule::Rule;

const TEXT: &str = include_str!("defaults.policy");

const READ: [&str; 3] = ["get", "list", "watch"];
const WRITE: [&str; 5] = ["create", "delete", "deletecollection", "patch", "update"];

/// Controllers of kube-controller-manager run as accounts of this name below.
const CONTROLLER_PREFIX: &str = "system:controller:";
const SYSTEM_NAMESPACE: &str = "kube-system";

const GROUP: &str = "rbac.authorization.k8s.io";
const AGGREGATE_PREFIX: &str = "rbac.authorization.k8s.io/aggregate-to-";

/// Objects with this annotation set to `false` are left as they are.
pub const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

/// All of them, as objects of the API without what the server adds.
pub static OBJECTS: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let mut objects = parse(TEXT).expect("the text is ours and tested");
    bind_controllers(&mut objects);
    objects
});

/// A controller's role is bound to the account of its name.
fn bind_controllers(objects: &mut Vec<Value>) {
    let bindings: Vec<Value> = objects
        .iter()
        .filter(|object| object["kind"] == "ClusterRole")
        .filter_map(|role| role["metadata"]["name"].as_str())
        .filter_map(|name| Some((name, name.strip_prefix(CONTROLLER_PREFIX)?)))
        .map(|(name, account)| {
            let mut binding = start_binding(name, None);
            let account = format!("{SYSTEM_NAMESPACE}/{account}");
            add_subjects(&mut binding, "account", &[&account]).expect("it is well formed");
            binding
        })
        .collect();
    objects.extend(bindings);
}

fn parse(text: &str) -> Result<Vec<Value>, String> {
    let mut objects: Vec<Value> = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let wrong = || format!("cannot be read: {line}");
        match (words.as_slice(), line.starts_with(' ')) {
            ([], _) => {}
            ([first, ..], _) if first.starts_with('#') => {}
            (["role", name, rest @ ..], false) => objects.push(start_role(name, rest)),
            (["bind", name], false) => objects.push(start_binding(name, None)),
            (["bind", name, "to", role], false) => objects.push(start_binding(name, Some(role))),
            (words, true) => {
                let object = objects.last_mut().ok_or_else(wrong)?;
                let done = match object.get("roleRef").is_some() {
                    true => add_subjects(object, words[0], &words[1..]),
                    false => add_rule(object, words),
                };
                done.ok_or_else(wrong)?;
            }
            _ => return Err(wrong()),
        }
    }
    Ok(objects)
}

fn start(kind: &str, name: &str) -> Value {
    let mut metadata = json!({
        "annotations": {AUTOUPDATE: "true"},
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
    });
    let kind = match name.split_once('/') {
        // Roles of kube-system are called `system::…` and hold no slash.
        Some((namespace, name)) => {
            metadata["namespace"] = namespace.into();
            metadata["name"] = name.into();
            kind.to_owned()
        }
        None => {
            metadata["name"] = name.into();
            format!("Cluster{kind}")
        }
    };
    json!({ "apiVersion": format!("{GROUP}/v1"), "kind": kind, "metadata": metadata })
}

fn start_role(name: &str, rest: &[&str]) -> Value {
    let mut role = start("Role", name);
    let (labels, aggregates) = match rest {
        [labels @ .., "aggregates", to] => (labels, Some(to)),
        labels => (labels, None),
    };
    for label in labels {
        role["metadata"]["labels"][format!("{AGGREGATE_PREFIX}{label}")] = "true".into();
    }
    if let Some(to) = aggregates {
        let labels = json!({ format!("{AGGREGATE_PREFIX}{to}"): "true" });
        role["aggregationRule"] = json!({ "clusterRoleSelectors": [{ "matchLabels": labels }] });
    }
    role["rules"] = json!([]);
    role
}

fn start_binding(name: &str, role: Option<&str>) -> Value {
    let mut binding = start("RoleBinding", name);
    let own = binding["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let kind = if name.contains('/') { "Role" } else { "ClusterRole" };
    binding["roleRef"] = json!({ "apiGroup": GROUP, "kind": kind, "name": role.unwrap_or(&own) });
    binding["subjects"] = json!([]);
    binding
}

fn add_rule(role: &mut Value, words: &[&str]) -> Option<()> {
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let [verbs, groups, things @ ..] = words else { return None };
    let verbs = verbs.split(',').flat_map(|verb| match verb {
        "read" => READ.to_vec(),
        "write" => WRITE.to_vec(),
        verb => vec![verb],
    });
    let verbs = owned(&verbs.collect::<Vec<_>>());
    let rule = if *groups == "url" {
        Rule { verbs, paths: owned(things), ..Rule::default() }
    } else {
        let of = things.iter().position(|word| *word == "of");
        let (resources, names) = match of {
            Some(at) => (&things[..at], &things[at + 1..]),
            None => (things, &[][..]),
        };
        let groups = groups.split(',').map(|group| if group == "core" { "" } else { group });
        Rule {
            verbs,
            groups: owned(&groups.collect::<Vec<_>>()),
            resources: owned(resources),
            names: owned(names),
            paths: Vec::new(),
        }
    };
    role["rules"].as_array_mut()?.push(rule.to_value());
    Some(())
}

fn add_subjects(binding: &mut Value, kind: &str, names: &[&str]) -> Option<()> {
    for name in names {
        let subject = match kind {
            "user" => json!({ "kind": "User", "apiGroup": GROUP, "name": name }),
            "group" => json!({ "kind": "Group", "apiGroup": GROUP, "name": name }),
            "account" => {
                let (namespace, name) = name.split_once('/')?;
                json!({ "kind": "ServiceAccount", "namespace": namespace, "name": name })
            }
            _ => return None,
        };
        binding["subjects"].as_array_mut()?.push(subject);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        authz::{
            Attributes,
            policy::{Objects, Policy},
        },
        caller::Caller,
    };

    fn policy() -> Policy {
        let of = |kind: &str| OBJECTS.iter().filter(|object| object["kind"] == kind).collect();
        Policy::build(&Objects {
            roles: of("Role"),
            cluster_roles: of("ClusterRole"),
            role_bindings: of("RoleBinding"),
            cluster_role_bindings: of("ClusterRoleBinding"),
        })
    }

    #[test]
    fn every_line_is_understood_and_every_binding_finds_its_role() {
        assert!(OBJECTS.len() > 100, "{}", OBJECTS.len());
        let policy = policy();
        for object in OBJECTS.iter() {
            let name = &object["metadata"]["name"];
            if let Some(role) = object.get("roleRef") {
                let text = |field: &str| role[field].as_str().expect("text");
                let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
                let rules = policy.role(text("kind"), namespace, text("name"));
                assert!(rules.is_some(), "{name}");
                assert_ne!(object["subjects"], json!([]), "{name}");
            } else {
                let empty = object["rules"] == json!([]);
                assert_eq!(empty, object.get("aggregationRule").is_some(), "{name}");
            }
        }
    }

    #[test]
    fn everyone_discovers_and_masters_and_controllers_do_their_work() {
        let policy = policy();
        let may = |caller: &Caller, what: Attributes<'_>| policy.find(caller, &what).is_some();
        let ann = Caller::user("ann", []);
        assert!(may(&ann, Attributes::of_path("get", "/apis/apps/v1")));
        assert!(!may(&Caller::anonymous(), Attributes::of_path("get", "/apis")));
        assert!(may(&Caller::anonymous(), Attributes::of_path("get", "/version")));
        assert!(!may(&ann, Attributes::of_resource("get", "", "pods", "default", "p")));
        let root = Caller::user("root", ["system:masters".to_owned()]);
        assert!(may(&root, Attributes::of_resource("delete", "x", "y/z", "default", "p")));
        let account =
            |name: &str| Caller::user(format!("system:serviceaccount:kube-system:{name}"), []);
        let jobs = account("job-controller");
        assert!(may(&jobs, Attributes::of_resource("create", "", "pods", "default", "")));
        assert!(!may(&jobs, Attributes::of_resource("create", "", "secrets", "default", "")));
        let manager = Caller::user("system:kube-controller-manager", []);
        let lease = |verb, name| {
            Attributes::of_resource(verb, "coordination.k8s.io", "leases", "kube-system", name)
        };
        assert!(may(&manager, lease("create", "")));
        assert!(may(&manager, lease("update", "kube-controller-manager")));
        let csr = "certificatesigningrequests/nodeclient";
        let bootstrapper =
            Caller::user("system:bootstrap:abcdef", ["system:bootstrappers".to_owned()]);
        let ask = Attributes::of_resource("create", "certificates.k8s.io", csr, "", "");
        assert!(!may(&bootstrapper, ask), "kubeadm binds these, not the server");
    }

    #[test]
    fn text_that_is_wrong_is_told() {
        for wrong in ["rolex a", "  get core pods", "bind a\n  nobody x", "role a\n  get"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
