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
        }))
    }

    pub fn code(&self) -> StatusCode {
        self.0.code
    }

    #[cfg(test)]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    pub fn retry_after_s(&self) -> Option<u32> {
        self.0.retry_after_s
    }

    pub fn allow(&self) -> Option<&'static str> {
        self.0.allow
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
            "reason": refusal.reason,
            "code": refusal.code.as_u16(),
        });
        if !refusal.details.is_empty() {
            status["details"] = Value::Object(refusal.details.clone());
        }
        status
    }

    fn about(mut self, resource: &Resource, name: &str) -> Failure {
        let details = &mut self.0.details;
        if !name.is_empty() {
            details.insert("name".into(), name.into());
        }
        if !resource.group.is_empty() {
            details.insert("group".into(), resource.group.into());
        }
        details.insert("kind".into(), resource.plural.into());
        self
    }

    fn retry(mut self) -> Failure {
        self.0.retry_after_s = Some(RETRY_AFTER_S);
        self.0.details.insert("retryAfterSeconds".into(), RETRY_AFTER_S.into());
        self
    }

    fn caused_by(mut self, causes: Vec<Value>) -> Failure {
        self.0.details.insert("causes".into(), Value::Array(causes));
        self
    }
}

/// The vocabulary.
impl Failure {
    pub fn bad_request(message: impl Into<String>) -> Failure {
        Failure::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    pub fn forbidden(message: impl Into<String>) -> Failure {
        Failure::new(StatusCode::FORBIDDEN, "Forbidden", message)
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
        let list = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let list = if errors.len() == 1 { list } else { format!("[{list}]") };
        let kind = match resource.group {
            "" => resource.kind.to_owned(),
            group => format!("{}.{group}", resource.kind),
        };
        let causes = errors.iter().map(|error| {
            let text = error.to_string();
            let prefix = format!("{}: ", error.path);
            let message = text.strip_prefix(&prefix).unwrap_or(&text);
            json!({ "reason": error.cause(), "message": message, "field": error.path })
        });
        let message = format!("{kind} {name:?} is invalid: {list}");
        let failure = Failure::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message);
        let mut failure = failure.about(resource, name).caused_by(causes.collect());
        failure.0.details.insert("kind".into(), resource.kind.into());
        failure
    }

    pub fn method_not_allowed(message: impl Into<String>, allow: &'static str) -> Failure {
        let code = StatusCode::METHOD_NOT_ALLOWED;
        let mut failure = Failure::new(code, "MethodNotAllowed", message);
        failure.0.allow = Some(allow);
        failure
    }

    pub fn unsupported_media_type(message: impl Into<String>) -> Failure {
        Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message)
    }

    pub fn not_acceptable() -> Failure {
        let message = "only the following media types are accepted: application/json, application/json;stream=watch";
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
        let resource = crate::catalog::find("polis.dev", "v1alpha1", "units").expect("served");
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
