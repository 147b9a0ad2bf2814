//! The levels and schemas that every Kubernetes cluster has.
//!
//! Two of each are mandatory: they hold even when nobody keeps them. The others
//! are suggested: made when they are missing, and left as people change them
//! once [`AUTOUPDATE`] is not `true` on them.

use std::sync::LazyLock;

use serde_json::{Value, json};

pub const GROUP: &str = "flowcontrol.apiserver.k8s.io";
pub const VERSION: &str = "v1";

/// Whether the server keeps an object's spec as it is here.
pub const AUTOUPDATE: &str = "apf.kubernetes.io/autoupdate-spec";

pub const EXEMPT: &str = "exempt";
pub const CATCH_ALL: &str = "catch-all";

/// Those of whom anybody is one.
const EVERYBODY: &[&str] = &["group system:unauthenticated", "group system:authenticated"];
const NODES: &[&str] = &["group system:nodes"];
const SYSTEM_ACCOUNTS: &str = "accounts kube-system";

/// Name, shares, percent that may be lent, and queues with the size of a hand;
/// who has none refuses.
type Level = (&'static str, u64, u64, Option<(u64, u64)>);

const LEVELS: [Level; 7] = [
    (CATCH_ALL, 5, 0, None),
    ("system", 30, 33, Some((64, 6))),
    ("node-high", 40, 25, Some((64, 6))),
    ("leader-election", 10, 0, Some((16, 4))),
    ("workload-high", 40, 50, Some((128, 6))),
    ("workload-low", 100, 90, Some((128, 6))),
    ("global-default", 20, 50, Some((128, 6))),
];

const QUEUE_LENGTH: u64 = 50;

/// Verbs, group, resources, and whether those that are in no namespace are meant
/// too.
type Part = (&'static [&'static str], &'static str, &'static [&'static str], bool);

const ALL: &[&str] = &["*"];
const EVERYTHING: &[Part] = &[(ALL, "*", ALL, true)];
const LEASES: &[&str] = &["leases"];
const COORDINATION: &str = "coordination.k8s.io";

struct Schema {
    name: &'static str,
    level: &'static str,
    precedence: u64,
    by: &'static str,
    subjects: &'static [&'static str],
    resources: &'static [Part],
    /// With the verbs there are of them.
    paths: (&'static [&'static str], &'static [&'static str]),
}

const SCHEMA: Schema = Schema {
    name: "",
    level: "",
    precedence: 0,
    by: "ByUser",
    subjects: EVERYBODY,
    resources: EVERYTHING,
    paths: (ALL, ALL),
};

const NO_PATHS: (&[&str], &[&str]) = (&[], &[]);

const SCHEMAS: [Schema; 11] = [
    Schema {
        name: EXEMPT,
        level: EXEMPT,
        precedence: 1,
        by: "",
        subjects: &["group system:masters"],
        ..SCHEMA
    },
    Schema {
        name: "probes",
        level: EXEMPT,
        precedence: 2,
        by: "",
        resources: &[],
        paths: (&["get"], &["/healthz", "/readyz", "/livez"]),
        ..SCHEMA
    },
    Schema {
        name: "system-leader-election",
        level: "leader-election",
        precedence: 100,
        subjects: &[
            "user system:kube-controller-manager",
            "user system:kube-scheduler",
            SYSTEM_ACCOUNTS,
        ],
        resources: &[(&["get", "create", "update"], COORDINATION, LEASES, false)],
        paths: NO_PATHS,
        ..SCHEMA
    },
    Schema {
        name: "system-node-high",
        level: "node-high",
        precedence: 400,
        subjects: NODES,
        resources: &[
            (ALL, "", &["nodes", "nodes/status"], true),
            (ALL, COORDINATION, LEASES, false),
        ],
        paths: NO_PATHS,
        ..SCHEMA
    },
    Schema { name: "system-nodes", level: "system", precedence: 500, subjects: NODES, ..SCHEMA },
    Schema {
        name: "kube-controller-manager",
        level: "workload-high",
        precedence: 800,
        by: "ByNamespace",
        subjects: &["user system:kube-controller-manager"],
        ..SCHEMA
    },
    Schema {
        name: "kube-scheduler",
        level: "workload-high",
        precedence: 800,
        by: "ByNamespace",
        subjects: &["user system:kube-scheduler"],
        ..SCHEMA
    },
    Schema {
        name: "kube-system-service-accounts",
        level: "workload-high",
        precedence: 900,
        by: "ByNamespace",
        subjects: &[SYSTEM_ACCOUNTS],
        ..SCHEMA
    },
    Schema {
        name: "service-accounts",
        level: "workload-low",
        precedence: 9000,
        subjects: &["group system:serviceaccounts"],
        ..SCHEMA
    },
    Schema { name: "global-default", level: "global-default", precedence: 9900, ..SCHEMA },
    Schema { name: CATCH_ALL, level: CATCH_ALL, precedence: 10_000, ..SCHEMA },
];

/// PriorityLevelConfigurations, without what the server adds.
pub static LEVEL_OBJECTS: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let exempt = json!({
        "type": "Exempt",
        "exempt": { "nominalConcurrencyShares": 0, "lendablePercent": 0 },
    });
    let exempt = object("PriorityLevelConfiguration", EXEMPT, &exempt);
    let limited = LEVELS
        .iter()
        .map(|level| object("PriorityLevelConfiguration", level.0, &level_spec(level)));
    std::iter::once(exempt).chain(limited).collect()
});

/// FlowSchemas, likewise.
pub static SCHEMA_OBJECTS: LazyLock<Vec<Value>> = LazyLock::new(|| {
    SCHEMAS.iter().map(|schema| object("FlowSchema", schema.name, &schema.spec())).collect()
});

pub fn is_mandatory(name: &str) -> bool {
    matches!(name, EXEMPT | CATCH_ALL)
}

/// What the mandatory object `name` of these must say.
pub fn fixed_spec<'a>(objects: &'a [Value], name: &str) -> Option<&'a Value> {
    let mut objects = objects.iter().filter(|_| is_mandatory(name));
    objects.find(|object| object["metadata"]["name"] == name).map(|object| &object["spec"])
}

fn object(kind: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": kind,
        "metadata": { "name": name, "annotations": { AUTOUPDATE: "true" } },
        "spec": spec,
    })
}

fn level_spec((_, shares, lendable, queues): &Level) -> Value {
    let response = match queues {
        None => json!({ "type": "Reject" }),
        Some((queues, hand)) => {
            let (queues, hand) = (*queues, *hand);
            let queuing = json!({
                "queues": queues, "handSize": hand, "queueLengthLimit": QUEUE_LENGTH,
            });
            json!({ "type": "Queue", "queuing": queuing })
        }
    };
    json!({
        "type": "Limited",
        "limited": {
            "nominalConcurrencyShares": shares,
            "lendablePercent": lendable,
            "limitResponse": response,
        },
    })
}

// === impl Schema ===

impl Schema {
    fn spec(&self) -> Value {
        let mut rule = json!({ "subjects": self.subjects.iter().map(subject).collect::<Vec<_>>() });
        let resources = self.resources.iter().map(|(verbs, group, resources, cluster_scope)| {
            let mut part = json!({
                "verbs": verbs, "apiGroups": [group], "resources": resources, "namespaces": ALL,
            });
            if *cluster_scope {
                part["clusterScope"] = true.into();
            }
            part
        });
        if !self.resources.is_empty() {
            rule["resourceRules"] = resources.collect();
        }
        let (verbs, paths) = self.paths;
        if !paths.is_empty() {
            rule["nonResourceRules"] = json!([{ "verbs": verbs, "nonResourceURLs": paths }]);
        }
        let mut spec = json!({
            "priorityLevelConfiguration": { "name": self.level },
            "matchingPrecedence": self.precedence,
            "rules": [rule],
        });
        if !self.by.is_empty() {
            spec["distinguisherMethod"] = json!({ "type": self.by });
        }
        spec
    }
}

fn subject(text: &&str) -> Value {
    match text.split_once(' ').expect("a kind and a name") {
        ("user", name) => json!({ "kind": "User", "user": { "name": name } }),
        ("group", name) => json!({ "kind": "Group", "group": { "name": name } }),
        (_, namespace) => {
            let account = json!({ "namespace": namespace, "name": "*" });
            json!({ "kind": "ServiceAccount", "serviceAccount": account })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{catalog::Catalog, look};

    #[test]
    fn they_are_as_the_api_keeps_them() {
        for (plural, objects) in
            [("flowschemas", &*SCHEMA_OBJECTS), ("prioritylevelconfigurations", &*LEVEL_OBJECTS)]
        {
            let resource = Catalog::builtin().find(GROUP, VERSION, plural).expect("it is served");
            for object in objects {
                let mut kept = object.clone();
                let found = look::look(resource, &mut kept).expect("it is one");
                assert!(found.unknown.is_empty() && found.errors.is_empty(), "{object}");
                look::fill(resource, &mut kept);
                assert_eq!(kept["spec"], object["spec"]);
                assert!(look::judge(resource, &kept, None).is_empty(), "{object}");
            }
        }
        assert_eq!((LEVEL_OBJECTS.len(), SCHEMA_OBJECTS.len()), (8, 11));
    }
}
