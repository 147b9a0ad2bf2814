//! What a FlowSchema says (`flowcontrol.apiserver.k8s.io/v1`): whose requests,
//! about what, are of which level, and what tells its flows apart.
//!
//! Read once, asked with every request: without allocating.

use std::hash::{DefaultHasher, Hash, Hasher};

use http::Method;
use serde_json::Value;

use crate::{
    authz::{ACCOUNT_PREFIX, Attributes},
    caller::Caller,
    request::path::{Address, Review},
    subresource::Subresource,
};

/// Whatever stands there.
const ALL: &str = "*";

/// Kubelets, and our agents, who do a kubelet's work.
const NODES: &str = "system:nodes";

const PRECEDENCE_DEFAULT: i64 = 1000;

/// A request, as far as schemas look at it.
#[derive(Clone, Copy, Debug)]
pub enum What<'a> {
    Resource {
        verb: &'a str,
        group: &'a str,
        plural: &'a str,
        subresource: Option<&'a str>,
        /// Empty for the cluster's own.
        namespace: &'a str,
    },
    Path {
        verb: &'a str,
        path: &'a str,
    },
}

pub struct Schema {
    pub name: String,
    pub level: String,
    precedence: i64,
    by: Option<By>,
    rules: Vec<Rule>,
}

#[derive(Clone, Copy)]
enum By {
    User,
    Namespace,
}

struct Rule {
    subjects: Vec<Subject>,
    resources: Vec<ResourceRule>,
    paths: Vec<PathRule>,
}

enum Subject {
    User(String),
    Group(String),
    Account { namespace: String, name: String },
}

struct ResourceRule {
    verbs: Names,
    groups: Names,
    /// `pods`, `pods/log`.
    resources: Names,
    namespaces: Names,
    cluster_scope: bool,
}

struct PathRule {
    verbs: Names,
    paths: Names,
}

/// Empty is none.
enum Names {
    All,
    These(Vec<String>),
}

// === impl What ===

impl<'a> What<'a> {
    pub fn of(verb: &'a str, address: &'a Address) -> What<'a> {
        What::Resource {
            verb,
            group: &address.group,
            plural: &address.plural,
            subresource: address.subresource.map(Subresource::as_str),
            namespace: address.own_namespace().unwrap_or_default(),
        }
    }

    /// Of what is no address, in an authorizer's words.
    pub fn of_resource(what: &'a Attributes<'_>) -> What<'a> {
        let (plural, subresource) = match what.resource.split_once('/') {
            Some((plural, subresource)) => (plural, Some(subresource)),
            None => (&*what.resource, None),
        };
        let Attributes { verb, group, namespace, .. } = *what;
        What::Resource { verb, group, plural, subresource, namespace }
    }

    pub fn of_review(review: Review, namespace: &'a str) -> What<'a> {
        let (group, plural) = (review.group(), review.plural());
        What::Resource { verb: "create", group, plural, subresource: None, namespace }
    }

    pub fn of_path(method: &Method, path: &'a str) -> What<'a> {
        let verb = match *method {
            Method::GET => "get",
            Method::HEAD => "head",
            Method::POST => "post",
            Method::PUT => "put",
            Method::PATCH => "patch",
            Method::DELETE => "delete",
            Method::OPTIONS => "options",
            _ => "",
        };
        What::Path { verb, path }
    }
}

// === impl Schema ===

impl Schema {
    /// Tolerates any JSON: what makes no sense matches nothing.
    pub fn of(object: &Value) -> Schema {
        let spec = &object["spec"];
        let text = |of: &Value| of.as_str().unwrap_or_default().to_owned();
        let by = match spec["distinguisherMethod"]["type"].as_str() {
            Some("ByUser") => Some(By::User),
            Some("ByNamespace") => Some(By::Namespace),
            _ => None,
        };
        Schema {
            name: text(&object["metadata"]["name"]),
            level: text(&spec["priorityLevelConfiguration"]["name"]),
            precedence: spec["matchingPrecedence"].as_i64().unwrap_or(PRECEDENCE_DEFAULT),
            by,
            rules: each(&spec["rules"], Rule::of),
        }
    }

    /// The order in which they are asked.
    pub fn order(&self) -> (i64, &str) {
        (self.precedence, &self.name)
    }

    pub fn matches(&self, caller: &Caller, what: &What<'_>) -> bool {
        self.rules.iter().any(|rule| {
            rule.subjects.iter().any(|subject| subject.is(caller))
                && match what {
                    What::Resource { .. } => rule.resources.iter().any(|rule| rule.covers(what)),
                    What::Path { verb, path } => rule.paths.iter().any(|rule| {
                        rule.verbs.has(verb) && rule.paths.any(|own| path_matches(own, path))
                    }),
                }
        })
    }

    /// What a request's flow is told by, among those of this schema.
    pub fn distinguish<'a>(&self, caller: &'a Caller, what: &What<'a>) -> &'a str {
        match (self.by, what) {
            (Some(By::User), _) => &caller.name,
            (Some(By::Namespace), What::Resource { namespace, .. }) => namespace,
            (Some(By::Namespace), What::Path { .. }) | (None, _) => "",
        }
    }

    /// Of a flow, to deal its queues by.
    pub fn hash(&self, flow: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&*self.name, flow).hash(&mut hasher);
        hasher.finish()
    }
}

// === impl Rule ===

impl Rule {
    fn of(rule: &Value) -> Rule {
        let subjects = each(&rule["subjects"], Subject::of).into_iter().flatten().collect();
        Rule {
            subjects,
            resources: each(&rule["resourceRules"], ResourceRule::of),
            paths: each(&rule["nonResourceRules"], |rule| PathRule {
                verbs: Names::of(&rule["verbs"]),
                paths: Names::of(&rule["nonResourceURLs"]),
            }),
        }
    }
}

// === impl Subject ===

impl Subject {
    fn of(subject: &Value) -> Option<Subject> {
        let text = |part: &str, field: &str| subject[part][field].as_str().map(str::to_owned);
        Some(match subject["kind"].as_str()? {
            "User" => Subject::User(text("user", "name")?),
            "Group" => Subject::Group(text("group", "name")?),
            "ServiceAccount" => Subject::Account {
                namespace: text("serviceAccount", "namespace")?,
                name: text("serviceAccount", "name")?,
            },
            _ => return None,
        })
    }

    fn is(&self, caller: &Caller) -> bool {
        match self {
            Subject::User(name) => name == ALL || *name == caller.name,
            Subject::Group(name) => {
                name == ALL || caller.is_in(name) || (name == NODES && caller.is_agent())
            }
            Subject::Account { namespace, name } => {
                let account = caller.name.strip_prefix(ACCOUNT_PREFIX);
                let own = account
                    .and_then(|account| account.strip_prefix(&**namespace)?.strip_prefix(':'));
                own.is_some_and(|own| name == ALL || name == own)
            }
        }
    }
}

// === impl ResourceRule ===

impl ResourceRule {
    fn of(rule: &Value) -> ResourceRule {
        ResourceRule {
            verbs: Names::of(&rule["verbs"]),
            groups: Names::of(&rule["apiGroups"]),
            resources: Names::of(&rule["resources"]),
            namespaces: Names::of(&rule["namespaces"]),
            cluster_scope: rule["clusterScope"].as_bool().unwrap_or(false),
        }
    }

    fn covers(&self, what: &What<'_>) -> bool {
        let What::Resource { verb, group, plural, subresource, namespace } = what else {
            return false;
        };
        let is = |own: &str| match (own.strip_prefix(plural), subresource) {
            (Some(rest), None) => rest.is_empty(),
            (Some(rest), Some(subresource)) => rest.strip_prefix('/') == Some(*subresource),
            (None, _) => false,
        };
        let located = match *namespace {
            "" => self.cluster_scope,
            namespace => self.namespaces.has(namespace),
        };
        located && self.verbs.has(verb) && self.groups.has(group) && self.resources.any(is)
    }
}

// === impl Names ===

impl Names {
    fn of(list: &Value) -> Names {
        let names = each(list, |name| name.as_str().map(str::to_owned));
        let names: Vec<String> = names.into_iter().flatten().collect();
        match names.iter().any(|name| name == ALL) {
            true => Names::All,
            false => Names::These(names),
        }
    }

    fn has(&self, wanted: &str) -> bool {
        self.any(|own| own == wanted)
    }

    fn any(&self, is: impl Fn(&str) -> bool) -> bool {
        match self {
            Names::All => true,
            Names::These(names) => names.iter().any(|own| is(own)),
        }
    }
}

/// `/healthz` is itself and what is below it; so is `/healthz/*`, but for itself.
fn path_matches(own: &str, path: &str) -> bool {
    let above = own.strip_suffix('*').unwrap_or(own);
    let above = above.strip_suffix('/').unwrap_or(above);
    own == path || path.strip_prefix(above).is_some_and(|rest| rest.starts_with('/'))
}

fn each<T>(list: &Value, read: impl Fn(&Value) -> T) -> Vec<T> {
    list.as_array().into_iter().flatten().map(read).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema(subjects: &Value, resources: &Value, paths: &Value) -> Schema {
        Schema::of(&json!({"metadata": {"name": "a"}, "spec": {
            "priorityLevelConfiguration": {"name": "l"},
            "distinguisherMethod": {"type": "ByNamespace"},
            "rules": [{"subjects": subjects, "resourceRules": resources,
                "nonResourceRules": paths}],
        }}))
    }

    fn get<'a>(plural: &'a str, subresource: Option<&'a str>, namespace: &'a str) -> What<'a> {
        What::Resource { verb: "get", group: "", plural, subresource, namespace }
    }

    #[test]
    fn subjects_are_users_groups_and_accounts() {
        let all = json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"],
            "clusterScope": true, "namespaces": ["*"]}]);
        let check = |subject: Value, caller: &Caller, expected: bool| {
            let schema = schema(&json!([subject]), &all, &json!([]));
            assert_eq!(schema.matches(caller, &get("pods", None, "")), expected, "{subject}");
        };
        let ann = Caller::user("ann", ["dev".to_owned()]);
        check(json!({"kind": "User", "user": {"name": "ann"}}), &ann, true);
        check(json!({"kind": "User", "user": {"name": "*"}}), &ann, true);
        check(json!({"kind": "User", "user": {"name": "bob"}}), &ann, false);
        check(json!({"kind": "Group", "group": {"name": "dev"}}), &ann, true);
        check(json!({"kind": "Group", "group": {"name": "system:nodes"}}), &ann, false);
        check(json!({"kind": "Group"}), &ann, false);
        let account = |namespace: &str, name: &str| {
            json!({"kind": "ServiceAccount",
                "serviceAccount": {"namespace": namespace, "name": name}})
        };
        let till = Caller::user("system:serviceaccount:shop:till", []);
        check(account("shop", "till"), &till, true);
        check(account("shop", "*"), &till, true);
        check(account("sho", "*"), &till, false);
        check(account("shop", "til"), &till, false);
        check(account("shop", "*"), &ann, false);
    }

    #[test]
    fn rules_say_which_kinds_where_and_which_paths() {
        let resources = json!([{"verbs": ["get"], "apiGroups": [""],
            "resources": ["pods", "nodes/status"], "namespaces": ["a"]}]);
        let paths = json!([{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/apis/*"]}]);
        let any = json!([{"kind": "User", "user": {"name": "*"}}]);
        let schema = schema(&any, &resources, &paths);
        let ann = Caller::user("ann", []);
        for (what, expected) in [
            (get("pods", None, "a"), true),
            (get("pods", None, "b"), false),
            (get("pods", None, ""), false),
            (get("pods", Some("log"), "a"), false),
            (get("nodes", Some("status"), "a"), true),
            (get("nodes", None, "a"), false),
            (get("pod", None, "a"), false),
            (What::Path { verb: "get", path: "/healthz" }, true),
            (What::Path { verb: "get", path: "/healthz/etcd" }, true),
            (What::Path { verb: "get", path: "/healthzz" }, false),
            (What::Path { verb: "get", path: "/apis/apps/v1" }, true),
            (What::Path { verb: "get", path: "/apis" }, false),
            (What::Path { verb: "post", path: "/healthz" }, false),
        ] {
            assert_eq!(schema.matches(&ann, &what), expected, "{what:?}");
        }
        assert_eq!(schema.distinguish(&ann, &get("pods", None, "a")), "a");
        assert_ne!(schema.hash("a"), schema.hash("b"));
    }
}
