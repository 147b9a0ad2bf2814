//! Whole objects inside others: they say what they are, as every object does.

use resources::FieldError;
use serde_json::{Map, Value};

use crate::path::Step;

pub(super) fn check(object: &Map<String, Value>, at: &Step<'_>, errors: &mut Vec<FieldError>) {
    for name in ["apiVersion", "kind"] {
        let at = at.field(name).keyed();
        match object.get(name) {
            None => errors.push(FieldError::required(at, "")),
            Some(Value::String(text)) if text.is_empty() => {
                errors.push(FieldError::invalid(at, text, "must not be empty"));
            }
            Some(Value::String(text)) => {
                if name == "apiVersion" && text.matches('/').count() > 1 {
                    let detail = format!("unexpected GroupVersion string: {text}");
                    errors.push(FieldError::invalid(at.clone(), text, detail));
                }
                if name == "kind" && !is_label(&text.to_lowercase()) {
                    errors.push(FieldError::invalid(at, text, KIND));
                }
            }
            Some(other) => {
                errors.push(FieldError::invalid_json(at, other, "must be a string"));
            }
        }
    }
}

const KIND: &str = "may have mixed case, but should otherwise match: a DNS-1035 label must \
                    consist of lower case alphanumeric characters or '-', start with an \
                    alphabetic character, and end with an alphanumeric character (e.g. \
                    'my-name',  or 'abc-123', regex used for validation is \
                    '[a-z]([-a-z0-9]*[a-z0-9])?')";

/// DNS-1035.
fn is_label(text: &str) -> bool {
    text.len() <= 63
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && !text.ends_with('-')
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}
