//! The federation's kinds: `resources` knows their defaults and what is valid.

use resources::{FieldError, Kind};
use serde::Deserialize;
use serde_json::Value;

use crate::resource::Rules;

pub const fn rules<K: Kind>() -> Rules {
    Rules { default: default::<K>, validate: validate::<K>, ..Rules::NONE }
}

/// A spec that parses is written back as understood, defaults included.
fn default<K: Kind>(object: &mut Value) {
    let Some(spec) = object.get("spec") else { return };
    if let Ok(spec) = K::deserialize(spec)
        && let Ok(spec) = serde_json::to_value(spec)
    {
        object["spec"] = spec;
    }
}

pub fn validate<K: Kind>(object: &Value) -> Vec<FieldError> {
    let mut errors = match object.get("spec").map(K::deserialize) {
        Some(Ok(spec)) => spec.validate(),
        Some(Err(error)) => vec![misread("spec", &error)],
        None => vec![FieldError::required("spec", "say what is wanted")],
    };
    let status = object.get("status").filter(|status| !status.is_null());
    if let Some(Err(error)) = status.map(K::Status::deserialize) {
        errors.push(misread("status", &error));
    }
    errors
}

/// The schema names most wrong fields with their whole path; this is for what
/// only the type knows.
fn misread(path: &str, error: &serde_json::Error) -> FieldError {
    FieldError::not_supported(path, error.to_string())
}
