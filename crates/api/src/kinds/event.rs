//! Events: remarks, kept for an hour.

use resources::FieldError;
use serde_json::Value;

use crate::object;

/// Kubernetes' bound on an event's message.
const MESSAGE_BYTES_MAX: usize = 1024;

pub fn validate(event: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let about = object::text(event, "/involvedObject/namespace");
    let own = object::namespace(event);
    // Remarks about objects without a namespace are kept in `default`.
    if about != own && !(about.is_empty() && own == "default") {
        let detail = "does not match event.namespace";
        errors.push(FieldError::invalid("involvedObject.namespace", about, detail));
    }
    let len = object::text(event, "/message").len();
    if len > MESSAGE_BYTES_MAX {
        let detail = format!("may not be longer than {MESSAGE_BYTES_MAX} bytes");
        errors.push(FieldError::invalid("message", len, detail));
    }
    errors
}
