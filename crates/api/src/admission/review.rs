//! The question that a webhook is asked, and its answer.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    form::Form,
    hook::{Hook, Kind},
};
use crate::{
    audit, caller::Caller, failure::Failure, object, request::path::Place, resource::Resource,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Create,
    Update,
    Delete,
    /// Something is done to what runs.
    Connect,
}

/// What is written through a subresource that is no form of the object: by its
/// own kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    pub group: &'static str,
    pub version: &'static str,
    pub kind: &'static str,
}

/// What is about to happen.
pub struct Question<'a> {
    pub operation: Operation,
    pub place: &'a Place,
    pub name: &'a str,
    pub caller: &'a Caller,
    pub dry_run: bool,
    /// `CreateOptions`, `UpdateOptions`, …
    pub options: Value,
    pub part: Option<Part>,
}

/// What a webhook answered.
#[derive(Debug)]
pub struct Verdict {
    allowed: bool,
    message: String,
    reason: String,
    code: u16,
    warnings: Vec<String>,
    pub patch: Option<Vec<u8>>,
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answered {
    api_version: Option<String>,
    kind: Option<String>,
    response: Option<Response>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Response {
    uid: String,
    allowed: bool,
    status: Option<Status>,
    patch: Option<String>,
    patch_type: Option<String>,
    warnings: Vec<String>,
    audit_annotations: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    message: String,
    reason: String,
    code: u16,
}

// === impl Operation ===

impl Operation {
    pub fn as_str(self) -> &'static str {
        match self {
            Operation::Create => "CREATE",
            Operation::Update => "UPDATE",
            Operation::Delete => "DELETE",
            Operation::Connect => "CONNECT",
        }
    }
}

// === impl Question ===

impl Question<'_> {
    pub fn resource(&self) -> &Resource {
        &self.place.resource
    }

    /// The `AdmissionReview` with its own id.
    pub fn review(
        &self,
        form: &Form,
        object: Option<&Value>,
        old: Option<&Value>,
    ) -> (String, Value) {
        let uid = uuid::Uuid::new_v4().to_string();
        let kind = |resource: &Resource| match self.part {
            Some(Part { group, version, kind }) => {
                json!({ "group": group, "version": version, "kind": kind })
            }
            None => json!({
                "group": resource.group, "version": resource.version, "kind": resource.kind,
            }),
        };
        let plural = |resource: &Resource| {
            json!({
                "group": resource.group,
                "version": resource.version,
                "resource": resource.plural,
            })
        };
        let (own, shown) = (self.resource(), form.resource(self));
        let mut user = json!({ "username": self.caller.name, "groups": self.caller.groups });
        if !self.caller.uid.is_empty() {
            user["uid"] = json!(self.caller.uid);
        }
        if !self.caller.extra.is_empty() {
            user["extra"] = json!(self.caller.extra);
        }
        let mut request = json!({
            "uid": uid,
            "kind": kind(shown),
            "resource": plural(shown),
            "requestKind": kind(own),
            "requestResource": plural(own),
            "operation": self.operation.as_str(),
            "userInfo": user,
            "object": object,
            "oldObject": old,
            "dryRun": self.dry_run,
            "options": self.options,
        });
        let name = match self.name {
            "" => object.map_or("", object::name),
            name => name,
        };
        for (field, text) in [
            ("name", name),
            ("namespace", self.place.namespace.as_deref().unwrap_or_default()),
            ("subResource", self.place.subresource.map_or("", |sub| sub.as_str())),
            ("requestSubResource", self.place.subresource.map_or("", |sub| sub.as_str())),
        ] {
            if !text.is_empty() {
                request[field] = text.into();
            }
        }
        let review = json!({
            "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request,
        });
        (uid, review)
    }
}

// === impl Verdict ===

impl Verdict {
    /// Says what is wrong with an answer that is none.
    pub fn read(kind: Kind, uid: &str, bytes: &[u8]) -> Result<Verdict, String> {
        let answered: Answered = serde_json::from_slice(bytes)
            .map_err(|error| format!("received invalid webhook response: {error}"))?;
        let expected = (Some("AdmissionReview"), Some("admission.k8s.io/v1"));
        if (answered.kind.as_deref(), answered.api_version.as_deref()) != expected {
            return Err("received invalid webhook response: expected webhook response of \
                 admission.k8s.io/v1, Kind=AdmissionReview"
                .to_owned());
        }
        let response = answered.response.ok_or("webhook response was absent")?;
        if response.uid != uid {
            return Err(format!(
                "received invalid webhook response: expected response.uid={uid:?}, got {:?}",
                response.uid
            ));
        }
        let patch = match (response.patch, response.patch_type.as_deref()) {
            (None, None) => None,
            (Some(_), _) if kind == Kind::Validating => {
                return Err("received invalid webhook response: validating webhooks may not patch"
                    .to_owned());
            }
            (Some(patch), Some("JSONPatch")) => {
                let decoded = STANDARD.decode(patch);
                Some(decoded.map_err(|error| format!("response.patch: {error}"))?)
            }
            (Some(_), None) => {
                return Err("received invalid webhook response: webhook returned response.patch \
                            but not response.patchType"
                    .to_owned());
            }
            (_, Some(other)) => {
                return Err(format!(
                    "received invalid webhook response: response.patchType {other:?} is not \
                     supported, or there is no patch"
                ));
            }
        };
        let status = response.status.unwrap_or_default();
        Ok(Verdict {
            allowed: response.allowed,
            message: status.message,
            reason: status.reason,
            code: status.code,
            warnings: response.warnings,
            patch,
            annotations: response.audit_annotations,
        })
    }

    /// What it says for the audit log.
    pub fn annotate(&self, hook: &Hook) {
        for (key, value) in &self.annotations {
            audit::annotate(&format!("{}/{key}", hook.name), value);
        }
    }

    /// Its warnings, unless it refuses.
    pub fn judge(self, hook: &Hook) -> Result<Vec<String>, Failure> {
        if self.allowed {
            return Ok(self.warnings);
        }
        let why = match (self.message.as_str(), self.reason.as_str()) {
            ("", "") => "denied the request without explanation".to_owned(),
            ("", reason) => format!("denied the request: {reason}"),
            (message, _) => format!("denied the request: {message}"),
        };
        let message = format!("admission webhook {:?} {why}", hook.name);
        Err(Failure::refused(self.code, &self.reason, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: Kind, response: Value, expected: Result<bool, &str>) {
        let review = json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": response});
        let read = Verdict::read(kind, "u", review.to_string().as_bytes());
        match (read, expected) {
            (Ok(verdict), Ok(allowed)) => assert_eq!(verdict.allowed, allowed),
            (Err(why), Err(part)) => assert!(why.contains(part), "{why}"),
            (read, expected) => panic!("{response}: {read:?}, not {expected:?}"),
        }
    }

    #[test]
    fn only_an_answer_to_this_question_in_the_right_form_counts() {
        check(Kind::Validating, json!({"uid": "u", "allowed": true}), Ok(true));
        check(Kind::Validating, json!({"uid": "u"}), Ok(false));
        check(Kind::Validating, json!({"uid": "other", "allowed": true}), Err("response.uid"));
        check(Kind::Validating, json!(null), Err("absent"));
        let patch = json!({"uid": "u", "allowed": true, "patch": "W10=", "patchType": "JSONPatch"});
        check(Kind::Mutating, patch.clone(), Ok(true));
        check(Kind::Validating, patch, Err("may not patch"));
        check(
            Kind::Mutating,
            json!({"uid": "u", "allowed": true, "patch": "W10="}),
            Err("patchType"),
        );
        assert!(Verdict::read(Kind::Mutating, "u", b"[").is_err());
    }
}
