//! Who may do what at which door, and how a refusal reads.

use super::{processes::DRILL, *};
use crate::{
    caller::{DRILLERS, MASTERS, POLIS, VIEWERS},
    request::path::{Door, Target},
};

fn may(caller: &Caller, verb: &str, path: &str) -> bool {
    let Ok(Target::Resource(place)) = Target::parse(path, &Door::Federation) else {
        panic!("{path}")
    };
    processes::may(caller, &place.door, &Attributes::of(verb, &place))
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
        Target::parse("/apis/polis.dev/v1alpha1/units/rz01/status", &Door::Federation)
    else {
        panic!("a resource");
    };
    let what = Attributes::of("update", &place);
    let failure = what.refuse(&Caller::anonymous(), "");
    assert_eq!(
        failure.message(),
        "units.polis.dev \"rz01\" is forbidden: User \"system:anonymous\" cannot update \
         resource \"units/status\" in API group \"polis.dev\" at the cluster scope"
    );
}
