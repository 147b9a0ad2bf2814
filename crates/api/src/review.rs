//! Questions about the caller: `kubectl auth can-i`, `kubectl auth whoami`.

use serde_json::{Value, json};

use crate::{
    authz::{self, Attributes},
    caller::Caller,
    object,
    request::path::{Door, Review},
};

/// Answers with the question's own object, its status filled in.
pub fn answer(door: &Door, review: Review, caller: &Caller, question: Value) -> Value {
    let metadata = json!({ "creationTimestamp": null });
    match review {
        Review::Access => {
            let allowed = allowed(door, caller, &question);
            let reason = if allowed { "" } else { "none of the caller's groups allows it" };
            json!({
                "kind": "SelfSubjectAccessReview",
                "apiVersion": "authorization.k8s.io/v1",
                "metadata": metadata,
                "spec": question.get("spec").cloned().unwrap_or_else(|| json!({})),
                "status": { "allowed": allowed, "reason": reason },
            })
        }
        Review::Rules => json!({
            "kind": "SelfSubjectRulesReview",
            "apiVersion": "authorization.k8s.io/v1",
            "metadata": metadata,
            "spec": question.get("spec").cloned().unwrap_or_else(|| json!({})),
            "status": rules(door, caller),
        }),
        Review::Whoami => json!({
            "kind": "SelfSubjectReview",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": metadata,
            "status": { "userInfo": { "username": caller.name, "groups": caller.groups } },
        }),
    }
}

/// What the caller may do here, as rules.
fn rules(door: &Door, caller: &Caller) -> Value {
    let rule = |verbs: &[&str], group: &str, resources: &[&str]| json!({ "verbs": verbs, "apiGroups": [group], "resources": resources });
    let mut resources = Vec::new();
    match (authz::may_all(caller), authz::may_read(caller)) {
        (true, _) => resources.push(rule(&["*"], "*", &["*"])),
        (false, true) => resources.push(rule(&authz::READS, "*", &["*"])),
        (false, false) => {}
    }
    if authz::may_drill(caller) {
        resources.push(rule(&[authz::DRILL], "polis.dev", &[authz::CITIES]));
    }
    let writes = authz::writes(caller, door).iter();
    resources.extend(writes.map(|own| rule(own.verbs, own.group, &[own.resource])));
    let paths = ["/livez", "/readyz", "/healthz", "/version", "/api", "/apis", "/openapi/*"];
    json!({
        "resourceRules": resources,
        "nonResourceRules": [{ "verbs": ["get"], "nonResourceURLs": paths }],
        "incomplete": false,
    })
}

fn allowed(door: &Door, caller: &Caller, question: &Value) -> bool {
    let asked = |field: &str| object::text(question, &format!("/spec/resourceAttributes/{field}"));
    let verb = asked("verb");
    if !verb.is_empty() {
        let resource = match asked("subresource") {
            "" => asked("resource").to_owned(),
            sub => format!("{}/{sub}", asked("resource")),
        };
        let (group, namespace, name) = (asked("group"), asked("namespace"), asked("name"));
        let what = Attributes { door, verb, group, resource, namespace, name };
        return authz::may(caller, &what);
    }
    match object::text(question, "/spec/nonResourceAttributes/path") {
        "/livez" | "/readyz" | "/healthz" | "/version" => true,
        "/metrics" => authz::may_read(caller),
        _ => !caller.is_anonymous(),
    }
}
