//! Refusals: what the wire sees as a `Status` of the Kubernetes API.
//!
//! Reasons, codes and sentences are Kubernetes' own (apimachinery
//! `pkg/api/errors`), since clients decide by reason and people search for the
//! sentences.

use http::StatusCode;
use resources::FieldError;
use serde_json::{Map, Value, json};

use crate::resource::Resource;

/// Told to clients that may simply try again.
const RETRY_AFTER_S: u32 = 1;

/// A refused request. Boxed: it travels in every `Result` of this crate.
#[derive(Clone, Debug)]
pub struct Failure(Box<Refusal>);

#[derive(Clone, Debug)]
struct Refusal {
    code: StatusCode,
    reason: &'static str,
    message: String,
    details: Map<String, Value>,
    retry_after_s: Option<u32>,
    allow: Option<&'static str>,
    /// Where a list may go on.
    token: Option<String>,
}

// === impl Failure ===

impl Failure {
    pub fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Failure {
        Failure(Box::new(Refusal {
            code,
            reason,
            message: message.into(),
            details: Map::new(),
            retry_after_s: None,
            allow: None,
            token: None,
        }))
    }

    pub fn code(&self) -> StatusCode {
        self.0.code
    }

    pub fn message(&self) -> &str {
        &self.0.message
    }

    pub fn retry_after_s(&self) -> Option<u32> {
        self.0.retry_after_s
    }

    pub fn allow(&self) -> Option<&'static str> {
        self.0.allow
    }

    pub fn is_already_exists(&self) -> bool {
        self.0.reason == "AlreadyExists"
    }

    pub fn is_conflict(&self) -> bool {
        self.0.reason == "Conflict"
    }

    pub fn is_not_found(&self) -> bool {
        self.0.code == StatusCode::NOT_FOUND
    }

    /// The `Status` object.
    pub fn to_value(&self) -> Value {
        let refusal = &self.0;
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": refusal.message,
            "code": refusal.code.as_u16(),
        });
        if !refusal.reason.is_empty() {
            status["reason"] = refusal.reason.into();
        }
        if let Some(token) = &refusal.token {
            status["metadata"] = json!({ "continue": token });
        }
        if !refusal.details.is_empty() {
            status["details"] = Value::Object(refusal.details.clone());
        }
        status
    }

    pub fn retry_after(mut self, seconds: u32) -> Failure {
        self.0.retry_after_s = Some(seconds);
        self.0.details.insert("retryAfterSeconds".into(), seconds.into());
        self
    }

    fn about(self, resource: &Resource, name: &str) -> Failure {
        self.on(&resource.group, &resource.plural, name)
    }

    /// Says which object it is about.
    pub fn on(mut self, group: &str, plural: &str, name: &str) -> Failure {
        let details = &mut self.0.details;
        for (field, text) in [("name", name), ("group", group), ("kind", plural)] {
            if !text.is_empty() {
                details.insert(field.into(), text.into());
            }
        }
        self
    }

    pub fn going_on(mut self, token: String) -> Failure {
        self.0.token = Some(token);
        self
    }

    fn retry(mut self) -> Failure {
        self.0.retry_after_s = Some(RETRY_AFTER_S);
        self.0.details.insert("retryAfterSeconds".into(), RETRY_AFTER_S.into());
        self
    }

    pub(crate) fn caused_by(mut self, causes: Vec<Value>) -> Failure {
        self.0.details.insert("causes".into(), Value::Array(causes));
        self
    }
}

/// The vocabulary.
impl Failure {
    pub fn bad_request(message: impl Into<String>) -> Failure {
        Failure::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// Whoever it is has not shown who.
    pub fn unauthorized() -> Failure {
        Failure::new(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized")
    }

    /// A certificate was shown and is not believed.
    pub fn certificate_refused(why: &str) -> Failure {
        Failure::unauthorized().caused_by(vec![json!({ "message": why })])
    }

    pub fn forbidden(message: impl Into<String>) -> Failure {
        Failure::new(StatusCode::FORBIDDEN, "Forbidden", message)
    }

    /// By somebody who was asked: with their code and reason, where they named
    /// any that make sense.
    pub fn refused(code: u16, reason: &str, message: String) -> Failure {
        let code = StatusCode::from_u16(code).ok().filter(|code| code.as_u16() >= 400);
        let code = code.unwrap_or(StatusCode::FORBIDDEN);
        const KNOWN: [&str; 8] = [
            "Unauthorized",
            "Forbidden",
            "NotFound",
            "AlreadyExists",
            "Conflict",
            "Invalid",
            "BadRequest",
            "TooManyRequests",
        ];
        let reason = KNOWN.into_iter().find(|known| *known == reason);
        let reason = reason.unwrap_or(match code {
            StatusCode::FORBIDDEN => "Forbidden",
            StatusCode::UNPROCESSABLE_ENTITY => "Invalid",
            StatusCode::BAD_REQUEST => "BadRequest",
            StatusCode::CONFLICT => "Conflict",
            StatusCode::TOO_MANY_REQUESTS => "TooManyRequests",
            _ => "",
        });
        Failure::new(code, reason, message)
    }

    pub fn forbidden_object(resource: &Resource, name: &str, why: &str) -> Failure {
        let message = format!("{} {name:?} is forbidden: {why}", resource.qualified());
        Failure::forbidden(message).about(resource, name)
    }

    pub fn no_such_path() -> Failure {
        let message = "the server could not find the requested resource";
        Failure::new(StatusCode::NOT_FOUND, "NotFound", message)
    }

    pub fn not_found(resource: &Resource, name: &str) -> Failure {
        let message = format!("{} {name:?} not found", resource.qualified());
        Failure::new(StatusCode::NOT_FOUND, "NotFound", message).about(resource, name)
    }

    pub fn already_exists(resource: &Resource, name: &str) -> Failure {
        let message = format!("{} {name:?} already exists", resource.qualified());
        Failure::new(StatusCode::CONFLICT, "AlreadyExists", message).about(resource, name)
    }

    pub fn conflict(resource: &Resource, name: &str, why: &str) -> Failure {
        let what = resource.qualified();
        let message = format!("Operation cannot be fulfilled on {what} {name:?}: {why}");
        Failure::new(StatusCode::CONFLICT, "Conflict", message).about(resource, name)
    }

    pub fn modified(resource: &Resource, name: &str) -> Failure {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Failure::conflict(resource, name, why)
    }

    /// One or more fields are wrong.
    pub fn invalid(resource: &Resource, name: &str, errors: &[FieldError]) -> Failure {
        let kind = match &*resource.group {
            "" => resource.kind.to_string(),
            group => format!("{}.{group}", resource.kind),
        };
        let mut failure = Failure::invalid_kind(&kind, name, errors).about(resource, name);
        failure.0.details.insert("kind".into(), json!(resource.kind));
        failure
    }

    /// As [`Failure::invalid`], of what is no resource.
    pub fn invalid_kind(kind: &str, name: &str, errors: &[FieldError]) -> Failure {
        let list = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let list = if errors.len() == 1 { list } else { format!("[{list}]") };
        let causes = errors.iter().map(|error| {
            let text = error.to_string();
            let prefix = format!("{}: ", error.path);
            let message = text.strip_prefix(&prefix).unwrap_or(&text);
            json!({ "reason": error.cause(), "message": message, "field": error.path })
        });
        let message = format!("{kind} {name:?} is invalid: {list}");
        let failure = Failure::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message);
        let mut failure = failure.caused_by(causes.collect());
        failure.0.details.insert("name".into(), name.into());
        failure.0.details.insert("kind".into(), kind.into());
        failure
    }

    /// The verb's own options are wrong.
    pub fn invalid_options(kind: &str, errors: &[FieldError]) -> Failure {
        let qualified = format!("{kind}.meta.k8s.io");
        let mut failure = Failure::invalid_kind(&qualified, "", errors);
        failure.0.details.remove("name");
        failure.0.details.insert("group".into(), "meta.k8s.io".into());
        failure.0.details.insert("kind".into(), kind.into());
        failure
    }

    /// A patch that is well formed and cannot be done; why stands in its cause.
    pub fn rejected(why: &str) -> Failure {
        let message = "the server rejected our request due to an error in our request";
        let cause = json!({ "reason": "FieldValueInvalid", "message": why, "field": "patch" });
        let code = StatusCode::UNPROCESSABLE_ENTITY;
        Failure::new(code, "Invalid", message).caused_by(vec![cause])
    }

    pub fn method_not_allowed(message: impl Into<String>, allow: &'static str) -> Failure {
        let code = StatusCode::METHOD_NOT_ALLOWED;
        let mut failure = Failure::new(code, "MethodNotAllowed", message);
        failure.0.allow = Some(allow);
        failure
    }

    /// Known, and not served by this release.
    pub fn not_served(what: &str) -> Failure {
        let message = format!("{what} is not served by this release");
        Failure::new(StatusCode::NOT_IMPLEMENTED, "NotImplemented", message)
    }

    pub fn unsupported_media_type(message: impl Into<String>) -> Failure {
        Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message)
    }

    pub fn not_acceptable() -> Failure {
        let message = "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf, application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch";
        Failure::new(StatusCode::NOT_ACCEPTABLE, "NotAcceptable", message)
    }

    pub fn too_large(message: impl Into<String>) -> Failure {
        Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", message)
    }

    pub fn too_many(message: impl Into<String>) -> Failure {
        Failure::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message).retry()
    }

    pub fn expired(message: impl Into<String>) -> Failure {
        Failure::new(StatusCode::GONE, "Expired", message)
    }

    /// `resourceVersion` lies ahead of what the store has.
    pub fn version_ahead(asked: u64, current: u64) -> Failure {
        let message = format!("Too large resource version: {asked}, current: {current}");
        let cause =
            json!({ "reason": "ResourceVersionTooLarge", "message": "Too large resource version" });
        Failure::new(StatusCode::GATEWAY_TIMEOUT, "Timeout", message).retry().caused_by(vec![cause])
    }

    /// The outcome is not known to us.
    pub fn timeout(message: impl Into<String>) -> Failure {
        Failure::new(StatusCode::GATEWAY_TIMEOUT, "Timeout", message)
    }

    pub fn unavailable(message: impl Into<String>) -> Failure {
        Failure::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message).retry()
    }

    pub fn internal(message: impl Into<String>) -> Failure {
        let message = format!("Internal error occurred: {}", message.into());
        Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message)
    }

    /// What we keep does not parse: nobody's request is to blame.
    pub fn corrupt(key: &[u8]) -> Failure {
        let key = String::from_utf8_lossy(key);
        tracing::error!(%key, code = %errors::API_OBJECT_UNREADABLE, "stored object cannot be read");
        let code = errors::API_OBJECT_UNREADABLE;
        Failure::internal(format!("{code}: stored object {key} cannot be read. {}", code.remedy()))
    }
}

impl From<kv::Error> for Failure {
    fn from(error: kv::Error) -> Failure {
        match error {
            kv::Error::Compacted { .. } => {
                Failure::expired("The resourceVersion for the provided list or watch is too old.")
            }
            kv::Error::FutureRevision => Failure::timeout("Too large resource version").retry(),
            kv::Error::RequestTooLarge => {
                Failure::too_large(format!("the object is too large for the store: {error}"))
            }
            kv::Error::TooManyRequests => Failure::too_many(error.to_string()),
            kv::Error::NotLeader | kv::Error::Unreachable(_) | kv::Error::NoSpace => {
                let code = errors::API_STORE_UNAVAILABLE;
                Failure::unavailable(format!("{code}: {error}. {}", code.remedy()))
            }
            kv::Error::Unknown(_) => {
                let code = errors::API_OUTCOME_UNKNOWN;
                Failure::timeout(format!("{code}: {error}. {}", code.remedy()))
            }
            error => Failure::internal(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_wrong_fields_are_one_sentence_and_one_cause_each() {
        let resource = crate::catalog::units();
        let errors = [
            FieldError::required("spec.center", "name one"),
            FieldError::invalid("spec.ports", 0, "must be above 0"),
        ];
        let status = Failure::invalid(resource, "rz01", &errors).to_value();
        assert_eq!(
            status["message"],
            "Unit.polis.dev \"rz01\" is invalid: [spec.center: Required value: name one, \
             spec.ports: Invalid value: 0: must be above 0]"
        );
        assert_eq!(status["details"]["causes"][1]["field"], "spec.ports");
        assert_eq!(status["details"]["causes"][1]["reason"], "FieldValueInvalid");
        assert_eq!(status["code"], 422);
    }
}
