//! What a caller may do. Three groups and the agents, until roles are served.

use crate::{
    caller::{Caller, DRILLERS, MASTERS, POLIS, VIEWERS},
    failure::Failure,
    request::path::{Door, Place, Target},
};

/// Of `polis drill`, on the city that is hit. No request carries it: a drill asks
/// beforehand whether its caller may.
pub const DRILL: &str = "drill";
pub const CITIES: &str = "cities";

pub const READS: [&str; 3] = ["get", "list", "watch"];

/// Something that may be written.
pub struct Write {
    pub verbs: &'static [&'static str],
    pub group: &'static str,
    pub resource: &'static str,
    /// The only namespace; empty for any, and for kinds without.
    pub namespace: &'static str,
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

/// What is about to be done, in the words of an authorizer.
#[derive(Clone, Debug)]
pub struct Attributes<'a> {
    pub door: &'a Door,
    pub verb: &'a str,
    pub group: &'a str,
    pub resource: String,
    pub namespace: &'a str,
    pub name: &'a str,
}

pub fn may(caller: &Caller, what: &Attributes<'_>) -> bool {
    if what.verb == DRILL {
        // Not our own processes: a fault is a person's word.
        return caller.is_in(MASTERS) || (may_drill(caller) && what.resource == CITIES);
    }
    may_all(caller)
        || (may_read(caller) && READS.contains(&what.verb))
        || writes(caller, what.door).iter().any(|write| write.covers(what))
}

pub fn may_all(caller: &Caller) -> bool {
    caller.is_in(MASTERS) || caller.is_in(POLIS)
}

pub fn may_drill(caller: &Caller) -> bool {
    caller.is_in(MASTERS) || caller.is_in(DRILLERS)
}

pub fn may_read(caller: &Caller) -> bool {
    may_all(caller) || caller.is_in(VIEWERS)
}

/// What `caller` may write at `door` besides what its groups allow.
pub fn writes(caller: &Caller, door: &Door) -> &'static [Write] {
    match door {
        Door::Unit(unit) if caller.is_agent_of(unit) => &AGENT_WRITES,
        Door::Unit(_) | Door::Federation => &[],
    }
}

pub fn check_resource(caller: &Caller, verb: &str, place: &Place) -> Result<(), Failure> {
    let what = Attributes::of(verb, place);
    match may(caller, &what) {
        true => Ok(()),
        false => Err(Failure::forbidden(sentence(caller, &what))),
    }
}

/// Paths that are not of a kind.
pub fn check_path(caller: &Caller, target: &Target, path: &str) -> Result<(), Failure> {
    let allowed = match target {
        Target::Health(_) | Target::Version => true,
        Target::Metrics => may_read(caller),
        _ => !caller.is_anonymous(),
    };
    match allowed {
        true => Ok(()),
        false => {
            let path: String = path.chars().take(256).collect();
            let message = format!("forbidden: User {:?} cannot get path {path:?}", caller.name);
            Err(Failure::forbidden(message))
        }
    }
}

/// Kubernetes' wording.
fn sentence(caller: &Caller, what: &Attributes<'_>) -> String {
    let Attributes { door: _, verb, group, resource, namespace, name } = what;
    let object = match (*group, *name) {
        ("", "") => (*resource).to_string(),
        ("", name) => format!("{resource} {name:?}"),
        (group, "") => format!("{resource}.{group}"),
        (group, name) => format!("{resource}.{group} {name:?}"),
    };
    let scope = match *namespace {
        "" => "at the cluster scope".to_owned(),
        namespace => format!("in the namespace {namespace:?}"),
    };
    format!(
        "{object} is forbidden: User {:?} cannot {verb} resource {resource:?} in API group {group:?} {scope}",
        caller.name
    )
}

// === impl Write ===

impl Write {
    fn covers(&self, what: &Attributes<'_>) -> bool {
        self.verbs.contains(&what.verb)
            && self.group == what.group
            && self.resource == what.resource
            && (self.namespace.is_empty() || self.namespace == what.namespace)
    }
}

// === impl Attributes ===

impl<'a> Attributes<'a> {
    fn of(verb: &'a str, place: &'a Place) -> Attributes<'a> {
        let resource = match place.subresource {
            Some(sub) => format!("{}/{}", place.resource.plural, sub.as_str()),
            None => place.resource.plural.to_owned(),
        };
        Attributes {
            door: &place.door,
            verb,
            group: place.resource.group,
            resource,
            namespace: place.namespace.as_deref().unwrap_or_default(),
            name: place.name.as_deref().unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may(caller: &Caller, verb: &str, path: &str) -> bool {
        let Ok(Target::Resource(place)) = Target::parse(path) else { panic!("{path}") };
        check_resource(caller, verb, &place).is_ok()
    }

    fn process(unit: &str, namespace: &str, account: &str) -> Caller {
        let id = format!("spiffe://polis.local/unit/{unit}/ns/{namespace}/sa/{account}");
        Caller::process(&id.parse().expect("an id"))
    }

    const UNIT: &str = "/apis/polis.dev/v1alpha1/units/rz01";
    const POD: &str = "/units/rz01/api/v1/namespaces/payments/pods/p";

    #[test]
    fn viewers_read_strangers_do_nothing_and_nobody_calls_themselves_a_process_of_ours() {
        let viewer = Caller::user("ann", [VIEWERS.to_owned()]);
        assert!(may(&viewer, "watch", UNIT) && !may(&viewer, "update", UNIT));
        assert!(may(&Caller::user("root", [MASTERS.to_owned()]), "delete", UNIT));
        assert!(!may(&Caller::user("mallory", [POLIS.to_owned()]), "get", UNIT));
        assert!(!may(&Caller::anonymous(), "get", UNIT));
    }

    #[test]
    fn drills_are_for_people_who_were_given_that_verb() {
        const CITY: &str = "/apis/polis.dev/v1alpha1/cities/east";
        let person = |group: &str| Caller::user("ann", [group.to_owned()]);
        assert!(may(&person(DRILLERS), DRILL, CITY) && may(&person(MASTERS), DRILL, CITY));
        assert!(!may(&person(DRILLERS), DRILL, UNIT), "it is said of cities");
        assert!(!may(&person(DRILLERS), "delete", CITY) && !may(&person(VIEWERS), DRILL, CITY));
        assert!(!may(&process("rz01", "polis-system", "controllers"), DRILL, CITY));
    }

    #[test]
    fn a_process_may_do_what_its_service_account_needs() {
        for (namespace, account, read, write) in [
            ("polis-system", "apiserver", true, true),
            ("polis-system", "controllers", true, true),
            ("polis-system", "edge", true, false),
            ("polis-system", "agent", true, false),
            ("polis-system", "store", false, false),
            ("payments", "ledger", false, false),
            ("payments", "controllers", false, false),
        ] {
            let caller = process("rz01", namespace, account);
            for path in [UNIT, POD] {
                assert_eq!(may(&caller, "get", path), read, "{account} {path}");
                assert_eq!(may(&caller, "update", path), write, "{account} {path}");
            }
        }
    }

    #[test]
    fn an_agent_writes_what_it_reports_and_only_at_its_own_units_door() {
        let agent = process("rz01", "polis-system", "agent");
        let door = |unit, path: &str| format!("/units/{unit}{path}");
        for (verb, path) in [
            ("create", "/api/v1/nodes"),
            ("patch", "/api/v1/nodes/east-1"),
            ("patch", "/api/v1/nodes/east-1/status"),
            ("create", "/api/v1/namespaces"),
            ("create", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"),
            ("patch", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/east-1"),
            ("create", "/api/v1/namespaces/payments/events"),
            ("patch", "/api/v1/namespaces/payments/events/e"),
            ("patch", "/api/v1/namespaces/payments/pods/p/status"),
            ("delete", "/api/v1/namespaces/payments/pods/p"),
        ] {
            assert!(may(&agent, verb, &door("rz01", path)), "{verb} {path}");
            assert!(!may(&agent, verb, &door("rz02", path)), "{verb} {path}");
            let edge = process("rz01", "polis-system", "edge");
            assert!(!may(&edge, verb, &door("rz01", path)), "{verb} {path}");
        }
        for (verb, path) in [
            ("create", "/api/v1/namespaces/payments/pods"),
            ("patch", "/api/v1/namespaces/payments/pods/p"),
            ("deletecollection", "/api/v1/namespaces/payments/pods"),
            ("delete", "/api/v1/nodes/east-1"),
            ("delete", "/api/v1/namespaces/payments"),
            ("patch", "/apis/coordination.k8s.io/v1/namespaces/default/leases/leader"),
        ] {
            assert!(!may(&agent, verb, &door("rz01", path)), "{verb} {path}");
        }
        let lease = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/east-1";
        assert!(!may(&agent, "patch", lease), "at the federation");
    }

    #[test]
    fn a_refusal_reads_like_kubernetes() {
        let Ok(Target::Resource(place)) =
            Target::parse("/apis/polis.dev/v1alpha1/units/rz01/status")
        else {
            panic!("a resource");
        };
        let failure = check_resource(&Caller::anonymous(), "update", &place).expect_err("refused");
        assert_eq!(
            failure.message(),
            "units/status.polis.dev \"rz01\" is forbidden: User \"system:anonymous\" cannot update \
             resource \"units/status\" in API group \"polis.dev\" at the cluster scope"
        );
    }
}
