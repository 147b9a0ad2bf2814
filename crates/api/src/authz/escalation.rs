//! Nobody grants what they do not hold.
//!
//! Writing a role takes all of its rules, writing a binding all rules of the
//! role it names, unless the caller may `escalate` or `bind` there; masters may
//! anything. Kubernetes' behaviour and texts.

use std::sync::Arc;

use serde_json::Value;

use super::{
    Attributes, Authorizer,
    policy::Policy,
    rule::{Rule, compact, missing, quoted},
};
use crate::{
    caller::Caller,
    failure::Failure,
    object,
    request::path::{Door, Place},
    resource::Resource,
};

const GROUP: &str = "rbac.authorization.k8s.io";

/// Stands by while a role or a binding is written.
pub struct Guard {
    authorizer: Arc<Authorizer>,
    policy: Arc<Policy>,
    caller: Caller,
    door: Door,
    resource: Arc<Resource>,
}

// === impl Guard ===

impl Guard {
    /// None when what is written grants nothing.
    pub async fn of(
        authorizer: &Arc<Authorizer>,
        caller: &Caller,
        place: &Place,
    ) -> Result<Option<Guard>, Failure> {
        if place.resource.group != GROUP {
            return Ok(None);
        }
        Ok(Some(Guard {
            authorizer: authorizer.clone(),
            policy: authorizer.policy_now(&place.door).await?,
            caller: caller.clone(),
            door: place.door.clone(),
            resource: place.resource.clone(),
        }))
    }

    /// Fails unless the caller may make `old` (none for a creation) into `new`.
    pub fn judge(&self, new: &Value, old: Option<&Value>) -> Result<(), Failure> {
        match &*self.resource.kind {
            "Role" | "ClusterRole" => self.judge_role(new, old),
            "RoleBinding" | "ClusterRoleBinding" => self.judge_binding(new, old),
            _ => Ok(()),
        }
    }

    fn judge_role(&self, new: &Value, old: Option<&Value>) -> Result<(), Failure> {
        let (namespace, name) = (object::namespace(new), object::name(new));
        if old.is_some_and(|old| same_rules(new, old))
            || self.may("escalate", &self.resource.plural, namespace, name)
        {
            return Ok(());
        }
        let refused = |why: &str| Failure::forbidden_object(&self.resource, name, why);
        if super::aggregation::is_made(new) && self.check(namespace, &everything()).is_err() {
            return Err(refused(AGGREGATION));
        }
        self.check(namespace, &Rule::all_of(new)).map_err(|why| refused(&why))
    }

    fn judge_binding(&self, new: &Value, old: Option<&Value>) -> Result<(), Failure> {
        let (namespace, name) = (object::namespace(new), object::name(new));
        let (kind, role) = (object::text(new, "/roleRef/kind"), object::text(new, "/roleRef/name"));
        let (plural, of) = match kind {
            "ClusterRole" => ("clusterroles", ""),
            _ => ("roles", namespace),
        };
        if old.is_some_and(|old| same_subjects(new, old)) || self.may("bind", plural, of, role) {
            return Ok(());
        }
        let Some(rules) = self.policy.role(kind, namespace, role) else {
            let message = format!("{plural}.{GROUP} {role:?} not found");
            let code = http::StatusCode::NOT_FOUND;
            return Err(Failure::new(code, "NotFound", message).on(GROUP, plural, role));
        };
        self.check(namespace, rules)
            .map_err(|why| Failure::forbidden_object(&self.resource, name, &why))
    }

    fn may(&self, verb: &str, plural: &str, namespace: &str, name: &str) -> bool {
        let what = Attributes::of_resource(verb, GROUP, plural, namespace, name);
        self.authorizer.allows(&self.policy, &self.caller, &self.door, &what)
    }

    fn check(&self, namespace: &str, wanted: &[Rule]) -> Result<(), String> {
        let doubts = self.policy.doubts(&self.caller, namespace);
        let own = self.policy.rules(&self.caller, namespace);
        check(&self.caller, own, wanted, &doubts)
    }
}

/// Whether a changed role grants nothing new.
fn same_rules(new: &Value, old: &Value) -> bool {
    let aggregation = |role: &Value| role.get("aggregationRule").cloned().unwrap_or_default();
    Rule::all_of(new) == Rule::all_of(old) && aggregation(new) == aggregation(old)
}

/// Whether a changed binding binds nobody new.
fn same_subjects(new: &Value, old: &Value) -> bool {
    ["roleRef", "subjects"].iter().all(|field| {
        let part = |binding: &Value| binding.get(*field).cloned().unwrap_or_default();
        part(new) == part(old)
    })
}

/// What it takes to have a role made of others: everything.
fn everything() -> [Rule; 2] {
    let all = || vec!["*".to_owned()];
    let resources = Rule { verbs: all(), groups: all(), resources: all(), ..Rule::default() };
    [resources, Rule { verbs: all(), paths: all(), ..Rule::default() }]
}

const AGGREGATION: &str = "must have cluster-admin privileges to use an aggregationRule";

/// Fails with Kubernetes' sentence when `own` does not cover `wanted`.
fn check<'a>(
    caller: &Caller,
    own: impl Iterator<Item = &'a Rule> + Clone,
    wanted: &[Rule],
    doubts: &[String],
) -> Result<(), String> {
    let missing = compact(missing(own, wanted));
    if missing.is_empty() {
        return Ok(());
    }
    let mut lines: Vec<String> = missing.iter().map(ToString::to_string).collect();
    lines.sort();
    lines.dedup();
    let mut message = format!(
        "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
        caller.name,
        quoted(&caller.groups),
        lines.join("\n")
    );
    if !doubts.is_empty() {
        message.push_str(&format!("; resolution errors: [{}]", doubts.join(", ")));
    }
    Err(message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rule(verbs: &[&str], resources: &[&str]) -> Rule {
        Rule::of(&json!({"verbs": verbs, "apiGroups": [""], "resources": resources}))
    }

    #[test]
    fn what_is_not_held_is_named_as_kubernetes_names_it() {
        let caller = Caller::user("x", ["dev".to_owned()]);
        let own = [rule(&["list"], &["pods"])];
        let wanted = [rule(&["get", "list"], &["pods"]), rule(&["get"], &["nodes"])];
        assert_eq!(
            check(&caller, own.iter(), &wanted, &[]).expect_err("refused"),
            "user \"x\" (groups=[\"dev\" \"system:authenticated\"]) is attempting to grant RBAC \
             permissions not currently held:\n\
             {APIGroups:[\"\"], Resources:[\"nodes\"], Verbs:[\"get\"]}\n\
             {APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"get\"]}"
        );
        assert!(check(&caller, everything().iter(), &wanted, &[]).is_ok());
        assert!(check(&caller, own.iter(), &everything(), &[]).is_err());
    }

    #[test]
    fn what_was_granted_before_may_stay() {
        let role = json!({"rules": [{"verbs": ["*"]}], "metadata": {"labels": {"a": "b"}}});
        assert!(same_rules(&role, &json!({"rules": [{"verbs": ["*"]}]})));
        assert!(!same_rules(&role, &json!({"rules": []})));
        assert!(!same_rules(&role, &json!({"rules": [{"verbs": ["*"]}], "aggregationRule": {}})));
        let binding = json!({"roleRef": {"name": "a"}, "subjects": [{"name": "x"}]});
        assert!(same_subjects(&binding, &binding.clone()));
        assert!(!same_subjects(&binding, &json!({"roleRef": {"name": "a"}})));
    }
}
