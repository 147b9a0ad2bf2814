//! RBAC: the roles and bindings of one cluster, indexed by who is bound.
//!
//! Built whole from the four kinds' objects whenever one of them changes, and
//! then only read: a question costs a lookup for the caller's name and each of
//! its groups, whatever the number of bindings.

use std::{collections::HashMap, sync::Arc};

use serde_json::Value;

use super::{Attributes, aggregation, rule::Rule};
use crate::{caller::Caller, object};

/// What the name of a service account's user starts with.
pub const ACCOUNT_PREFIX: &str = "system:serviceaccount:";

/// Grants by namespace; the empty one holds everywhere.
type Grants = HashMap<String, Vec<Grant>>;

#[derive(Default)]
pub struct Policy {
    cluster_roles: HashMap<String, Arc<[Rule]>>,
    /// By namespace and name.
    roles: HashMap<(String, String), Arc<[Rule]>>,
    users: HashMap<String, Grants>,
    groups: HashMap<String, Grants>,
}

/// One subject of one binding.
pub struct Grant {
    /// None when the role does not exist.
    rules: Option<Arc<[Rule]>>,
    source: Arc<Source>,
    /// `Group "system:masters"`
    subject: String,
}

struct Source {
    /// `ClusterRoleBinding "name"`, `RoleBinding "name/namespace"`
    binding: String,
    role_kind: String,
    role: String,
}

/// The objects that make up a policy.
#[derive(Default)]
pub struct Objects<'a> {
    pub roles: Vec<&'a Value>,
    pub cluster_roles: Vec<&'a Value>,
    pub role_bindings: Vec<&'a Value>,
    pub cluster_role_bindings: Vec<&'a Value>,
}

// === impl Objects ===

impl<'a> Objects<'a> {
    /// These too, unless one of the same name is there.
    pub fn add_below(&mut self, others: &'a [Value]) {
        for other in others {
            let list = match object::text(other, "/kind") {
                "Role" => &mut self.roles,
                "ClusterRole" => &mut self.cluster_roles,
                "RoleBinding" => &mut self.role_bindings,
                _ => &mut self.cluster_role_bindings,
            };
            let same = |own: &&Value| {
                object::name(own) == object::name(other)
                    && object::namespace(own) == object::namespace(other)
            };
            if !list.iter().any(same) {
                list.push(other);
            }
        }
    }
}

enum Subject {
    User(String),
    Group(String),
}

// === impl Policy ===

impl Policy {
    pub fn build(objects: &Objects<'_>) -> Policy {
        let mut policy = Policy::default();
        let mut sums = aggregation::aggregate(&objects.cluster_roles);
        for role in &objects.cluster_roles {
            let name = object::name(role);
            let rules = sums.remove(name).unwrap_or_else(|| Rule::all_of(role));
            policy.cluster_roles.insert(name.to_owned(), rules.into());
        }
        for role in &objects.roles {
            let key = (object::namespace(role).to_owned(), object::name(role).to_owned());
            policy.roles.insert(key, Rule::all_of(role).into());
        }
        for binding in &objects.cluster_role_bindings {
            policy.bind(binding, "");
        }
        for binding in &objects.role_bindings {
            match object::namespace(binding) {
                "" => {}
                namespace => policy.bind(binding, namespace),
            }
        }
        policy
    }

    /// The first grant that allows it.
    pub fn find<'a>(&'a self, caller: &'a Caller, what: &'a Attributes<'_>) -> Option<&'a Grant> {
        self.grants(caller, what.namespace)
            .find(|grant| grant.rules().any(|rule| rule.allows(what)))
    }

    /// All rules that `caller` has in a namespace, or everywhere when it is empty.
    pub fn rules<'a>(
        &'a self,
        caller: &'a Caller,
        namespace: &'a str,
    ) -> impl Iterator<Item = &'a Rule> + Clone {
        self.grants(caller, namespace).flat_map(Grant::rules)
    }

    /// Why something may be missing: `caller` is bound to roles that are not there.
    pub fn doubts(&self, caller: &Caller, namespace: &str) -> Vec<String> {
        let dangling = self.grants(caller, namespace).filter(|grant| grant.rules.is_none());
        dangling.map(|grant| grant.source.not_found()).collect()
    }

    /// The rules of a role that a binding in `namespace` names.
    pub fn role(&self, kind: &str, namespace: &str, name: &str) -> Option<&Arc<[Rule]>> {
        match kind {
            "ClusterRole" => self.cluster_roles.get(name),
            "Role" => self.roles.get(&(namespace.to_owned(), name.to_owned())),
            _ => None,
        }
    }

    fn grants<'a>(
        &'a self,
        caller: &'a Caller,
        namespace: &'a str,
    ) -> impl Iterator<Item = &'a Grant> + Clone {
        let groups = caller.groups.iter().filter_map(|group| self.groups.get(group.as_str()));
        let subjects = self.users.get(&caller.name).into_iter().chain(groups);
        subjects.flat_map(move |grants| {
            let here = (!namespace.is_empty()).then(|| grants.get(namespace)).flatten();
            grants.get("").into_iter().chain(here).flatten()
        })
    }

    fn bind(&mut self, binding: &Value, namespace: &str) {
        let (kind, role) =
            (object::text(binding, "/roleRef/kind"), object::text(binding, "/roleRef/name"));
        // A cluster-wide binding of a role of one namespace means nothing.
        if namespace.is_empty() && kind != "ClusterRole" {
            return;
        }
        let rules = self.role(kind, namespace, role).cloned();
        let name = object::name(binding);
        let source = Arc::new(Source {
            binding: match namespace {
                "" => format!("ClusterRoleBinding {name:?}"),
                namespace => format!("RoleBinding {:?}", format!("{name}/{namespace}")),
            },
            role_kind: kind.to_owned(),
            role: role.to_owned(),
        });
        let subjects = binding.get("subjects").and_then(Value::as_array);
        for (subject, shown) in
            subjects.into_iter().flatten().filter_map(|subject| Subject::of(subject, namespace))
        {
            let grants = match subject {
                Subject::User(name) => self.users.entry(name).or_default(),
                Subject::Group(name) => self.groups.entry(name).or_default(),
            };
            let grant = Grant { rules: rules.clone(), source: source.clone(), subject: shown };
            grants.entry(namespace.to_owned()).or_default().push(grant);
        }
    }
}

// === impl Subject ===

impl Subject {
    /// Who it is, and how it is told in reasons.
    fn of(subject: &Value, binding_namespace: &str) -> Option<(Subject, String)> {
        let name = object::text(subject, "/name");
        if name.is_empty() {
            return None;
        }
        match object::text(subject, "/kind") {
            "User" => Some((Subject::User(name.to_owned()), format!("User {name:?}"))),
            "Group" => Some((Subject::Group(name.to_owned()), format!("Group {name:?}"))),
            "ServiceAccount" => {
                let namespace = match object::text(subject, "/namespace") {
                    "" => binding_namespace,
                    own => own,
                };
                let shown = format!("ServiceAccount {:?}", format!("{name}/{namespace}"));
                let user = Subject::User(format!("{ACCOUNT_PREFIX}{namespace}:{name}"));
                (!namespace.is_empty()).then_some((user, shown))
            }
            _ => None,
        }
    }
}

// === impl Grant ===

impl Grant {
    fn rules(&self) -> impl Iterator<Item = &Rule> + Clone {
        self.rules.iter().flat_map(|rules| rules.iter())
    }

    /// Kubernetes' words for why something is allowed.
    pub fn reason(&self) -> String {
        let Source { binding, role_kind, role } = &*self.source;
        format!("RBAC: allowed by {binding} of {role_kind} {role:?} to {}", self.subject)
    }
}

// === impl Source ===

impl Source {
    fn not_found(&self) -> String {
        let plural = self.role_kind.to_lowercase();
        format!("{plural}.rbac.authorization.k8s.io {:?} not found", self.role)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn role(namespace: &str, name: &str, verb: &str, resource: &str) -> Value {
        json!({
            "metadata": {"namespace": namespace, "name": name},
            "rules": [{"verbs": [verb], "apiGroups": [""], "resources": [resource]}],
        })
    }

    fn binding(namespace: &str, name: &str, role: (&str, &str), subject: Value) -> Value {
        json!({
            "metadata": {"namespace": namespace, "name": name},
            "roleRef": {"kind": role.0, "name": role.1},
            "subjects": [subject],
        })
    }

    fn check(
        policy: &Policy,
        caller: &Caller,
        verb: &str,
        resource: &str,
        namespace: &str,
    ) -> String {
        let what = Attributes::of_resource(verb, "", resource, namespace, "x");
        policy.find(caller, &what).map_or_else(|| "no".to_owned(), Grant::reason)
    }

    #[test]
    fn a_binding_holds_in_its_namespace_and_a_cluster_binding_everywhere() {
        let roles = [role("a", "reader", "get", "pods")];
        let cluster_roles = [role("", "viewer", "get", "nodes")];
        let bindings = [
            binding("a", "b", ("Role", "reader"), json!({"kind": "User", "name": "ann"})),
            binding("b", "c", ("ClusterRole", "viewer"), json!({"kind": "Group", "name": "ops"})),
            binding("b", "d", ("Role", "reader"), json!({"kind": "User", "name": "ann"})),
        ];
        let cluster = [
            binding("", "e", ("ClusterRole", "viewer"), json!({"kind": "User", "name": "bob"})),
            binding("", "f", ("Role", "reader"), json!({"kind": "User", "name": "bob"})),
        ];
        let policy = Policy::build(&Objects {
            roles: roles.iter().collect(),
            cluster_roles: cluster_roles.iter().collect(),
            role_bindings: bindings.iter().collect(),
            cluster_role_bindings: cluster.iter().collect(),
        });
        let ann = Caller::user("ann", ["ops".to_owned()]);
        let bob = Caller::user("bob", []);
        assert_eq!(
            check(&policy, &ann, "get", "pods", "a"),
            r#"RBAC: allowed by RoleBinding "b/a" of Role "reader" to User "ann""#
        );
        assert_eq!(
            check(&policy, &ann, "get", "pods", "b"),
            "no",
            "the role is of another namespace"
        );
        assert_eq!(check(&policy, &ann, "get", "pods", ""), "no");
        assert_eq!(check(&policy, &ann, "list", "pods", "a"), "no");
        assert_eq!(
            check(&policy, &ann, "get", "nodes", "b"),
            r#"RBAC: allowed by RoleBinding "c/b" of ClusterRole "viewer" to Group "ops""#
        );
        assert_eq!(check(&policy, &ann, "get", "nodes", ""), "no");
        for namespace in ["", "a", "zoo"] {
            assert_eq!(
                check(&policy, &bob, "get", "nodes", namespace),
                r#"RBAC: allowed by ClusterRoleBinding "e" of ClusterRole "viewer" to User "bob""#
            );
        }
        assert_eq!(check(&policy, &bob, "get", "pods", "a"), "no");
        assert_eq!(
            policy.doubts(&ann, "b"),
            [r#"role.rbac.authorization.k8s.io "reader" not found"#]
        );
    }

    #[test]
    fn a_service_account_without_namespace_is_of_the_bindings() {
        let roles = [role("a", "reader", "get", "pods")];
        let account = |namespace: Value| json!({"kind": "ServiceAccount", "name": "s", "namespace": namespace});
        let bindings = [
            binding("a", "own", ("Role", "reader"), account(Value::Null)),
            binding("a", "other", ("Role", "reader"), account(json!("z"))),
        ];
        let cluster = [binding("", "none", ("ClusterRole", "x"), account(Value::Null))];
        let policy = Policy::build(&Objects {
            roles: roles.iter().collect(),
            role_bindings: bindings.iter().collect(),
            cluster_role_bindings: cluster.iter().collect(),
            ..Objects::default()
        });
        let caller = |name: &str| Caller::user(name, []);
        assert!(
            check(&policy, &caller("system:serviceaccount:a:s"), "get", "pods", "a")
                .contains("s/a")
        );
        assert!(
            check(&policy, &caller("system:serviceaccount:z:s"), "get", "pods", "a")
                .contains("s/z")
        );
        assert_eq!(check(&policy, &caller("system:serviceaccount::s"), "get", "pods", "a"), "no");
        assert_eq!(check(&policy, &caller("s"), "get", "pods", "a"), "no");
    }

    #[test]
    fn objects_of_any_shape_are_tolerated() {
        let odd = [json!(null), json!({"rules": 7}), json!({"subjects": [1], "roleRef": "x"})];
        let list: Vec<&Value> = odd.iter().collect();
        let policy = Policy::build(&Objects {
            roles: list.clone(),
            cluster_roles: list.clone(),
            role_bindings: list.clone(),
            cluster_role_bindings: list,
        });
        assert_eq!(policy.rules(&Caller::anonymous(), "a").count(), 0);
    }
}
