//! Questions that are answered and not kept: who somebody is
//! (`authentication.k8s.io`) and what they may (`authorization.k8s.io`).

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};

use crate::{
    authn::Authenticator,
    authz::{self, Attributes, Authorizer, Rule},
    caller::{Caller, Extra},
    cluster::Cluster,
    failure::Failure,
    object,
    request::path::{Door, Review},
};

const AUTHENTICATION: &str = "authentication.k8s.io";
const AUTHORIZATION: &str = "authorization.k8s.io";

/// Who answers.
pub struct Desk<'a> {
    pub authn: &'a Authenticator,
    pub authz: &'a Authorizer,
    pub cluster: Arc<Cluster>,
}

// === impl Review ===

impl Review {
    pub const ALL: [Review; 6] = [
        Review::Whoami,
        Review::Token,
        Review::Access,
        Review::Rules,
        Review::SubjectAccess,
        Review::LocalAccess,
    ];

    /// By its group and plural, in `v1`.
    pub fn find(group: &str, plural: &str) -> Option<Review> {
        let named = |review: &Review| review.group() == group && review.plural() == plural;
        Review::ALL.into_iter().find(named)
    }

    pub fn group(self) -> &'static str {
        match self {
            Review::Whoami | Review::Token => AUTHENTICATION,
            _ => AUTHORIZATION,
        }
    }

    pub fn kind(self) -> &'static str {
        match self {
            Review::Whoami => "SelfSubjectReview",
            Review::Token => "TokenReview",
            Review::Access => "SelfSubjectAccessReview",
            Review::Rules => "SelfSubjectRulesReview",
            Review::SubjectAccess => "SubjectAccessReview",
            Review::LocalAccess => "LocalSubjectAccessReview",
        }
    }

    pub fn plural(self) -> &'static str {
        match self {
            Review::Whoami => "selfsubjectreviews",
            Review::Token => "tokenreviews",
            Review::Access => "selfsubjectaccessreviews",
            Review::Rules => "selfsubjectrulesreviews",
            Review::SubjectAccess => "subjectaccessreviews",
            Review::LocalAccess => "localsubjectaccessreviews",
        }
    }

    pub fn is_namespaced(self) -> bool {
        self == Review::LocalAccess
    }

    fn invalid(self, why: &str) -> Failure {
        let message = format!("{}.{} \"\" is invalid: {why}", self.kind(), self.group());
        let code = StatusCode::UNPROCESSABLE_ENTITY;
        Failure::new(code, "Invalid", message).on(self.group(), self.kind(), "")
    }
}

// === impl Desk ===

impl Desk<'_> {
    /// Answers with the question's own object, its status filled in.
    pub async fn answer(
        &self,
        which: Review,
        caller: &Caller,
        namespace: &str,
        question: &Value,
    ) -> Result<Value, Failure> {
        let spec = question.get("spec").cloned().unwrap_or_else(|| json!({}));
        let status = match which {
            Review::Whoami => json!({ "userInfo": user_info(caller) }),
            Review::Token => self.token(&spec).await?,
            Review::Rules => self.rules(caller, &spec).await?,
            Review::Access => {
                check_spec(which, &spec)?;
                self.access(caller, &spec).await?
            }
            Review::SubjectAccess | Review::LocalAccess => {
                check_spec(which, &spec)?;
                let asked = object::text(&spec, "/resourceAttributes/namespace");
                if which == Review::LocalAccess && asked != namespace {
                    return Err(Failure::bad_request(format!(
                        "spec.resourceAttributes.namespace must match namespace: {namespace}"
                    )));
                }
                self.access(&subject(which, &spec)?, &spec).await?
            }
        };
        let mut metadata = json!({ "creationTimestamp": null });
        if which.is_namespaced() {
            metadata["namespace"] = namespace.into();
        }
        let mut answer = json!({
            "kind": which.kind(),
            "apiVersion": format!("{}/v1", which.group()),
            "metadata": metadata,
            "status": status,
        });
        if which != Review::Whoami {
            answer["spec"] = spec;
        }
        Ok(answer)
    }

    fn door(&self) -> &Door {
        &self.cluster.door
    }

    async fn access(&self, caller: &Caller, spec: &Value) -> Result<Value, Failure> {
        let decision = self.authz.decide(caller, self.door(), &Attributes::of_review(spec)).await?;
        let mut status = json!({ "allowed": decision.is_allowed() });
        if !decision.reason().is_empty() {
            status["reason"] = decision.reason().into();
        }
        Ok(status)
    }

    async fn token(&self, spec: &Value) -> Result<Value, Failure> {
        let token = object::text(spec, "/token");
        if token.is_empty() {
            return Err(Failure::bad_request(
                "token is required for TokenReview in authentication",
            ));
        }
        let asked = spec.get("audiences").and_then(Value::as_array);
        let asked: Vec<String> =
            asked.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
        let named = !asked.is_empty();
        let audiences = if named { asked } else { self.authn.audiences().to_vec() };
        Ok(match self.authn.know(&self.cluster, token, &audiences).await? {
            Ok(known) => json!({
                "authenticated": true,
                "user": user_info(&known.caller),
                "audiences": known.audiences,
            }),
            Err(why) => json!({ "user": {}, "error": why }),
        })
    }

    /// What the caller may do in a namespace, as rules.
    async fn rules(&self, caller: &Caller, spec: &Value) -> Result<Value, Failure> {
        let namespace = object::text(spec, "/namespace");
        if namespace.is_empty() {
            return Err(Failure::bad_request("no namespace on request"));
        }
        let policy = self.authz.policy(self.door()).await?;
        let mut rules = authz::own_rules(caller, self.door());
        rules.extend(policy.rules(caller, namespace).cloned());
        let shown = |about_paths: bool| -> Vec<Value> {
            let rules = rules.iter().filter(|rule| rule.is_about_paths() == about_paths);
            rules.map(Rule::to_value).collect()
        };
        Ok(json!({
            "resourceRules": shown(false),
            "nonResourceRules": shown(true),
            "incomplete": self.authz.goes_beyond_rules(caller),
        }))
    }
}

/// `UserInfo`, without what is empty.
pub fn user_info(caller: &Caller) -> Value {
    let mut info = json!({ "username": caller.name });
    if !caller.uid.is_empty() {
        info["uid"] = caller.uid.clone().into();
    }
    if !caller.groups.is_empty() {
        info["groups"] = json!(caller.groups);
    }
    if !caller.extra.is_empty() {
        info["extra"] = json!(caller.extra);
    }
    info
}

/// One question, of one kind.
fn check_spec(which: Review, spec: &Value) -> Result<(), Failure> {
    let has = |field: &str| spec.get(field).is_some_and(|part| !part.is_null());
    match (has("resourceAttributes"), has("nonResourceAttributes")) {
        (true, true) => Err(which.invalid(
            "spec.nonResourceAttributes: Invalid value: \"\": cannot be specified in combination with resourceAttributes",
        )),
        (false, false) => Err(which.invalid(
            "spec.resourceAttributes: Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified",
        )),
        _ => Ok(()),
    }
}

/// Of whom it is asked.
fn subject(which: Review, spec: &Value) -> Result<Caller, Failure> {
    let texts = |value: &Value| -> Vec<String> {
        let list = value.as_array().into_iter().flatten();
        list.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let groups = spec.get("groups").map(texts).unwrap_or_default();
    let user = object::text(spec, "/user");
    if user.is_empty() && groups.is_empty() {
        return Err(which.invalid(
            "spec.user: Invalid value: \"\": at least one of user or group must be specified",
        ));
    }
    let extra = spec.get("extra").and_then(Value::as_object);
    let extra: Extra =
        extra.into_iter().flatten().map(|(key, values)| (key.clone(), texts(values))).collect();
    let uid = object::text(spec, "/uid");
    Ok(Caller::exactly(user, groups).with_uid(uid).with_extra(extra))
}
