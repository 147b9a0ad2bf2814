//! Questions about the caller: `kubectl auth can-i`, `kubectl auth whoami`.

use serde_json::{Value, json};

use crate::{authz, caller::Caller, object, request::path::Review};

/// Answers with the question's own object, its status filled in.
pub fn answer(review: Review, caller: &Caller, question: Value) -> Value {
    let metadata = json!({ "creationTimestamp": null });
    match review {
        Review::Access => {
            let allowed = allowed(caller, &question);
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
            "status": rules(caller),
        }),
        Review::Whoami => json!({
            "kind": "SelfSubjectReview",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": metadata,
            "status": { "userInfo": { "username": caller.name, "groups": caller.groups } },
        }),
    }
}

/// What the three groups amount to, as rules.
fn rules(caller: &Caller) -> Value {
    let verbs: &[&str] = match (authz::may(caller, "delete"), authz::may(caller, "get")) {
        (true, _) => &["*"],
        (false, true) => &["get", "list", "watch"],
        (false, false) => &[],
    };
    let resources: &[Value] = match verbs {
        [] => &[],
        verbs => &[json!({ "verbs": verbs, "apiGroups": ["*"], "resources": ["*"] })],
    };
    let paths = ["/livez", "/readyz", "/healthz", "/version", "/api", "/apis", "/openapi/*"];
    json!({
        "resourceRules": resources,
        "nonResourceRules": [{ "verbs": ["get"], "nonResourceURLs": paths }],
        "incomplete": false,
    })
}

fn allowed(caller: &Caller, question: &Value) -> bool {
    let verb = object::text(question, "/spec/resourceAttributes/verb");
    if !verb.is_empty() {
        return authz::may(caller, verb);
    }
    match object::text(question, "/spec/nonResourceAttributes/path") {
        "/livez" | "/readyz" | "/healthz" | "/version" => true,
        "/metrics" => authz::may(caller, "get"),
        _ => !caller.is_anonymous(),
    }
}
