//! What Polis' own processes may do, and the few groups of people that hold
//! whatever the roles say. Asked before any role is looked at.

use super::{Attributes, rule::Rule};
use crate::{
    caller::{Caller, DRILLERS, MASTERS, POLIS, VIEWERS},
    request::path::Door,
};

/// Of `polis drill`, on the city that is hit. No request carries it: a drill asks
/// beforehand whether its caller may.
pub const DRILL: &str = "drill";
const CITIES: &str = "cities";

const READS: [&str; 3] = ["get", "list", "watch"];

/// What readers of everything do not get: what is meant for few eyes, and what
/// is a `get` by its method alone.
const NOT_FOR_READERS: [&str; 7] = [
    "secrets",
    "pods/attach",
    "pods/exec",
    "pods/portforward",
    "pods/proxy",
    "services/proxy",
    "nodes/proxy",
];

/// Something that may be written.
struct Write {
    verbs: &'static [&'static str],
    group: &'static str,
    resource: &'static str,
    /// The only namespace; empty for any, and for kinds without.
    namespace: &'static str,
}

/// What the agent of a unit writes there: its Node and that it lives, and what
/// became of Pods. It decides neither what runs nor where.
const AGENT_WRITES: [Write; 7] = [
    agent_may(&["create", "update", "patch"], "", "nodes", ""),
    agent_may(&["update", "patch"], "", "nodes/status", ""),
    agent_may(&["create", "update", "patch"], "coordination.k8s.io", "leases", "kube-node-lease"),
    // The one for its leases, should it be missing: a creation has no name yet
    // when it is judged.
    agent_may(&["create"], "", "namespaces", ""),
    agent_may(&["create", "update", "patch"], "", "events", ""),
    agent_may(&["update", "patch"], "", "pods/status", ""),
    agent_may(&["delete"], "", "pods", ""),
];

const fn agent_may(
    verbs: &'static [&'static str],
    group: &'static str,
    resource: &'static str,
    namespace: &'static str,
) -> Write {
    Write { verbs, group, resource, namespace }
}

pub fn may(caller: &Caller, door: &Door, what: &Attributes<'_>) -> bool {
    if what.verb == DRILL {
        // Not our own processes: a fault is a person's word.
        return caller.is_in(MASTERS) || (may_drill(caller) && what.resource == CITIES);
    }
    may_all(caller)
        || (may_read(caller)
            && READS.contains(&what.verb)
            && !NOT_FOR_READERS.contains(&&*what.resource))
        || writes(caller, door).iter().any(|write| write.covers(what))
}

fn may_all(caller: &Caller) -> bool {
    caller.is_in(MASTERS) || caller.is_in(POLIS)
}

fn may_drill(caller: &Caller) -> bool {
    caller.is_in(MASTERS) || caller.is_in(DRILLERS)
}

fn may_read(caller: &Caller) -> bool {
    may_all(caller) || caller.is_in(VIEWERS)
}

/// All of it as rules, for whoever asks what they may.
pub fn own_rules(caller: &Caller, door: &Door) -> Vec<Rule> {
    let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let rule = |verbs: &[&str], group: &str, resource: &str| Rule {
        verbs: texts(verbs),
        groups: texts(&[group]),
        resources: texts(&[resource]),
        ..Rule::default()
    };
    if *door == Door::Cluster {
        return Vec::new();
    }
    let mut rules = Vec::new();
    match (may_all(caller), may_read(caller)) {
        (true, _) => rules.push(rule(&["*"], "*", "*")),
        (false, true) => rules.push(rule(&READS, "*", "*")),
        (false, false) => {}
    }
    if may_drill(caller) {
        rules.push(rule(&[DRILL], "polis.dev", CITIES));
    }
    let writes = writes(caller, door).iter();
    rules.extend(writes.map(|own| rule(own.verbs, own.group, own.resource)));
    rules
}

/// What `caller` may write at `door` besides what its groups allow.
fn writes(caller: &Caller, door: &Door) -> &'static [Write] {
    match door {
        Door::Unit(unit) if caller.is_agent_of(unit) => &AGENT_WRITES,
        _ => &[],
    }
}

// === impl Write ===

impl Write {
    fn covers(&self, what: &Attributes<'_>) -> bool {
        what.path.is_empty()
            && self.verbs.contains(&what.verb)
            && self.group == what.group
            && self.resource == what.resource
            && (self.namespace.is_empty() || self.namespace == what.namespace)
    }
}
