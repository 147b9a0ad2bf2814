//! Nobody grants what they do not hold.
//!
//! Writing a role takes all of its rules, writing a binding all rules of the
//! role it names, unless the caller may `escalate` or `bind` there; a request for
//! a certificate is approved and signed by whoever may for its signer; masters
//! may anything. Kubernetes' behaviour and texts.

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
    kinds::signing,
    object,
    request::path::{Door, Place},
    resource::Resource,
    subresource::Subresource,
};

const GROUP: &str = "rbac.authorization.k8s.io";

/// Stands by while a role or a binding is written.
pub struct Guard {
    authorizer: Arc<Authorizer>,
    policy: Arc<Policy>,
    caller: Caller,
    door: Door,
    resource: Arc<Resource>,
    subresource: Option<Subresource>,
}

// === impl Guard ===

impl Guard {
    /// None when what is written grants nothing.
    pub async fn of(
        authorizer: &Arc<Authorizer>,
        caller: &Caller,
        place: &Place,
    ) -> Result<Option<Guard>, Failure> {
        let decides =
            matches!(place.subresource, Some(Subresource::Approval | Subresource::Status));
        if place.resource.group != GROUP && !(decides && signing::is_request(&place.resource)) {
            return Ok(None);
        }
        Ok(Some(Guard {
            authorizer: authorizer.clone(),
            policy: authorizer.policy_now(&place.door).await?,
            caller: caller.clone(),
            door: place.door.clone(),
            resource: place.resource.clone(),
            subresource: place.subresource,
        }))
    }

    /// Fails unless the caller may make `old` (none for a creation) into `new`.
    pub fn judge(&self, new: &Value, old: Option<&Value>) -> Result<(), Failure> {
        match &*self.resource.kind {
            "Role" | "ClusterRole" => self.judge_role(new, old),
            "RoleBinding" | "ClusterRoleBinding" => self.judge_binding(new, old),
            "CertificateSigningRequest" => self.judge_signing(new, old),
            _ => Ok(()),
        }
    }

    fn judge_role(&self, new: &Value, old: Option<&Value>) -> Result<(), Failure> {
        let (namespace, name) = (object::namespace(new), object::name(new));
        if old.is_some_and(|old| is_for_collector(new, old))
            || self.may("escalate", &self.resource.plural, namespace, name)
        {
            return Ok(());
        }
        let refused = |why: &str| Failure::forbidden_object(&self.resource, name, why);
        let is_made = |role: &Value| super::aggregation::is_made(role);
        if (is_made(new) || old.is_some_and(is_made))
            && self.check(namespace, &everything()).is_err()
        {
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
        if old.is_some_and(|old| is_for_collector(new, old)) || self.may("bind", plural, of, role) {
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

    /// Approving for a signer, and signing in its place, take a right of their own.
    fn judge_signing(&self, new: &Value, old: Option<&Value>) -> Result<(), Failure> {
        let signed = ["/status/certificate", "/status/conditions"];
        let verb = match self.subresource {
            Some(Subresource::Approval) => "approve",
            _ if signed.iter().all(|at| new.pointer(at) == old.and_then(|old| old.pointer(at))) => {
                return Ok(());
            }
            _ => "sign",
        };
        let signer = object::text(new, "/spec/signerName");
        let domain = signer.split_once('/').map_or(signer, |(domain, _)| domain);
        let may = |name: &str| {
            let what = Attributes::of_resource(verb, signing::GROUP, "signers", "", name);
            self.authorizer.allows(&self.policy, &self.caller, &self.door, &what)
        };
        if may(signer) || may(&format!("{domain}/*")) {
            return Ok(());
        }
        let why = format!("user not permitted to {verb} requests with signerName {signer:?}");
        Err(Failure::forbidden_object(&self.resource, object::name(new), &why))
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

/// Whether all else stays as it was: a label alone can make a role part of others.
fn is_for_collector(new: &Value, old: &Value) -> bool {
    const ITS_FIELDS: [&str; 4] =
        ["finalizers", "managedFields", "ownerReferences", "resourceVersion"];
    let rest = |object: &Value| {
        let mut rest = object.clone();
        let metadata = object::metadata(&mut rest);
        ITS_FIELDS.iter().for_each(|field| drop(metadata.remove(*field)));
        rest
    };
    rest(new) == rest(old)
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
    fn only_the_collector_s_fields_grant_nothing() {
        let role = json!({"rules": [{"verbs": ["*"]}], "metadata": {"labels": {"a": "b"}}});
        let with = |field: &str, value: Value| {
            let mut role = role.clone();
            role["metadata"][field] = value;
            role
        };
        assert!(is_for_collector(&role, &with("finalizers", json!(["f"]))));
        assert!(is_for_collector(&role, &with("ownerReferences", json!([{"name": "o"}]))));
        assert!(!is_for_collector(&role, &with("labels", json!({"aggregate-to-edit": "true"}))));
        assert!(!is_for_collector(&role, &json!({"rules": [], "metadata": {}})));
    }
}
