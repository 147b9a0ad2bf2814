//! The schemas and levels of one door at one time, as its objects say. Never
//! changed: objects that change make another, in which levels go on.

use std::{collections::BTreeMap, sync::Arc};

use http::HeaderValue;
use serde_json::Value;

use super::{
    defaults::{self, CATCH_ALL, EXEMPT, LEVEL_OBJECTS, SCHEMA_OBJECTS},
    lending::{self, Limits},
    level::Level,
    schema::{Schema, What},
    shape::Spec,
    tally::Tally,
};
use crate::{caller::Caller, object};

/// A schema and its level, with what is counted of them.
pub struct Flow {
    pub schema: Schema,
    pub level: Arc<Level>,
    /// Shown to callers; none of what is no object yet.
    pub schema_uid: Option<HeaderValue>,
    pub level_uid: Option<HeaderValue>,
    pub tally: Arc<Tally>,
}

pub struct Plan {
    /// In the order in which they are asked.
    flows: Vec<Arc<Flow>>,
    levels: BTreeMap<String, Arc<Level>>,
    exempt: Arc<Flow>,
    catch_all: Arc<Flow>,
    /// Seats that exempt levels keep for themselves.
    reserved: usize,
}

// === impl Plan ===

impl Plan {
    /// What holds before the objects were read.
    pub fn by_default(seats: usize) -> Plan {
        Plan::build(&SCHEMA_OBJECTS, &LEVEL_OBJECTS, seats, None)
    }

    /// Of these objects and what is mandatory. Levels of `before` go on; one
    /// that is no more serves who is in it with the seats it has.
    pub fn build(schemas: &[Value], levels: &[Value], seats: usize, before: Option<&Plan>) -> Plan {
        let read = |level| Some((object::name(level), (Spec::of(level)?, level)));
        let mut levels: BTreeMap<&str, (Spec, &Value)> = levels.iter().filter_map(read).collect();
        for (name, level) in mandatory(&LEVEL_OBJECTS).filter_map(read) {
            levels.entry(name).or_insert(level);
        }
        let shares = levels.values().map(|(spec, _)| spec.shares).sum();
        let mut reserved = 0;
        let live: BTreeMap<String, Arc<Level>> = levels
            .iter()
            .map(|(name, (spec, _))| {
                let limits = Limits::of(spec, seats, shares);
                if spec.exempt {
                    reserved += limits.least;
                }
                let known = before.and_then(|plan| plan.levels.get(*name));
                let level = match known.filter(|level| level.exempt == spec.exempt) {
                    Some(level) => {
                        level.change(spec, limits);
                        level.clone()
                    }
                    None => Arc::new(Level::new(name, spec, limits)),
                };
                ((*name).to_owned(), level)
            })
            .collect();
        let flow = |object: &Value| {
            let schema = Schema::of(object);
            let level = live.get(&schema.level)?.clone();
            let tally = before.and_then(|plan| plan.tally(&schema)).unwrap_or_default();
            let level_uid = levels.get(&*schema.level).and_then(|(_, level)| uid(level));
            Some(Arc::new(Flow { schema, level, schema_uid: uid(object), level_uid, tally }))
        };
        let mut flows: Vec<Arc<Flow>> = schemas.iter().filter_map(flow).collect();
        for object in mandatory(&SCHEMA_OBJECTS) {
            if !flows.iter().any(|flow| flow.schema.name == object::name(object)) {
                flows.extend(flow(object));
            }
        }
        flows.sort_by(|a, b| a.schema.order().cmp(&b.schema.order()));
        let named = |name: &str| {
            let found = flows.iter().find(|flow| flow.schema.name == name);
            found.expect("what is mandatory was added").clone()
        };
        let (exempt, catch_all) = (named(EXEMPT), named(CATCH_ALL));
        Plan { flows, levels: live, exempt, catch_all, reserved }
    }

    /// What was counted of a schema goes on while it is of the same level.
    fn tally(&self, schema: &Schema) -> Option<Arc<Tally>> {
        let same = |flow: &&Arc<Flow>| {
            flow.schema.name == schema.name && flow.schema.level == schema.level
        };
        self.flows.iter().find(same).map(|flow| flow.tally.clone())
    }

    /// Whose `what` is. Our own processes mend what is wrong: nothing keeps them
    /// waiting, whatever the schemas say.
    pub fn find(&self, caller: &Caller, what: &What<'_>) -> &Arc<Flow> {
        if caller.is_polis() {
            return &self.exempt;
        }
        let found = self.flows.iter().find(|flow| flow.schema.matches(caller, what));
        found.unwrap_or(&self.catch_all)
    }

    pub fn flows(&self) -> &[Arc<Flow>] {
        &self.flows
    }

    pub fn levels(&self) -> impl Iterator<Item = &Arc<Level>> {
        self.levels.values()
    }

    /// Gives `seats` out anew.
    pub fn lend(&self, seats: usize) {
        let limited: Vec<&Arc<Level>> = self.levels().filter(|level| !level.exempt).collect();
        let claims: Vec<_> = limited.iter().map(|level| level.claim()).collect();
        let given = lending::give(seats.saturating_sub(self.reserved), &claims);
        for (level, seats) in limited.iter().zip(given) {
            level.set_limit(seats);
        }
    }
}

fn mandatory(all: &[Value]) -> impl Iterator<Item = &Value> {
    all.iter().filter(|object| defaults::is_mandatory(object::name(object)))
}

fn uid(object: &Value) -> Option<HeaderValue> {
    let uid = Some(object::uid(object)).filter(|uid| !uid.is_empty())?;
    HeaderValue::from_str(uid).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SEATS: usize = 600;

    fn get<'a>(group: &'a str, plural: &'a str, namespace: &'a str) -> What<'a> {
        What::Resource { verb: "get", group, plural, subresource: None, namespace }
    }

    #[test]
    fn everybody_has_a_level_by_default() {
        let plan = Plan::by_default(SEATS);
        let check = |caller: &Caller, what: What<'_>, expected: &str| {
            let flow = plan.find(caller, &what);
            assert_eq!(format!("{} {}", flow.schema.name, flow.level.name), expected);
        };
        let masters = Caller::user("root", ["system:masters".to_owned()]);
        check(&masters, get("", "pods", "a"), "exempt exempt");
        let version = What::Path { verb: "get", path: "/version" };
        check(&Caller::anonymous(), version, "global-default global-default");
        check(&Caller::user("ann", []), get("", "pods", "a"), "global-default global-default");
        let node = Caller::user("system:node:a", ["system:nodes".to_owned()]);
        check(&node, get("", "nodes", ""), "system-node-high node-high");
        check(&node, get("", "pods", "a"), "system-nodes system");
        let manager = Caller::user("system:kube-controller-manager", []);
        let lease = get("coordination.k8s.io", "leases", "kube-system");
        check(&manager, lease, "system-leader-election leader-election");
        check(&manager, get("apps", "deployments", ""), "kube-controller-manager workload-high");
        let account =
            Caller::user("system:serviceaccount:shop:till", ["system:serviceaccounts".to_owned()]);
        check(&account, get("", "pods", "a"), "service-accounts workload-low");
        let of_system = Caller::user("system:serviceaccount:kube-system:a", []);
        check(&of_system, get("", "pods", "a"), "kube-system-service-accounts workload-high");
        check(&Caller::exactly("odd", Vec::new()), version, "catch-all catch-all");
    }

    #[test]
    fn our_own_processes_are_never_kept_waiting() {
        let plan = Plan::by_default(SEATS);
        let id = |account: &str| {
            let id = format!("spiffe://polis.local/unit/rz01/ns/polis-system/sa/{account}");
            Caller::process(&id.parse().expect("an id"))
        };
        let of = |caller: &Caller, what: What<'_>| plan.find(caller, &what).level.name.clone();
        assert_eq!(of(&id("controllers"), get("", "pods", "a")), "exempt");
        assert_eq!(of(&id("agent"), get("", "nodes", "")), "node-high");
        assert_eq!(of(&id("agent"), get("", "pods", "a")), "system");
    }

    #[test]
    fn what_is_mandatory_holds_without_objects_and_a_schema_without_its_level_does_not() {
        let stray = json!({"metadata": {"name": "stray", "uid": "1"}, "spec": {
            "priorityLevelConfiguration": {"name": "nowhere"}, "matchingPrecedence": 2}});
        let plan = Plan::build(&[stray], &[], SEATS, None);
        let names: Vec<&str> = plan.flows().iter().map(|flow| &*flow.schema.name).collect();
        assert_eq!(names, ["exempt", "catch-all"]);
        assert_eq!(plan.find(&Caller::anonymous(), &get("", "pods", "")).schema.name, "catch-all");
    }

    #[test]
    fn levels_go_on_when_objects_change() {
        let before = Plan::by_default(SEATS);
        let mut levels = LEVEL_OBJECTS.clone();
        levels.retain(|level| object::name(level) != "workload-low");
        let after = Plan::build(&SCHEMA_OBJECTS, &levels, SEATS, Some(&before));
        let at = |plan: &Plan, name: &str| plan.levels.get(name).cloned();
        let (old, new) = (at(&before, "system"), at(&after, "system"));
        assert!(Arc::ptr_eq(&old.expect("there"), &new.expect("there")));
        let nominal = |plan: &Plan| at(plan, "system").expect("there").glance().limits.nominal;
        assert_eq!(nominal(&after), 125, "600 seats by 30 of 145 shares");
        let account = Caller::user("a", ["system:serviceaccounts".to_owned()]);
        assert_eq!(after.find(&account, &get("", "pods", "")).schema.name, "global-default");
    }
}
