//! Nodes, leases and config maps: a rule or two each.

use resources::FieldError;
use serde_json::Value;

/// Kubernetes' bound on the data of a config map.
const CONFIG_MAP_BYTES_MAX: usize = 1024 * 1024;

pub fn validate_node(node: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for pointer in ["/spec", "/status"] {
        if node.pointer(pointer).is_some_and(|part| !part.is_object()) {
            errors.push(FieldError::invalid(&pointer[1..], "", "must be an object"));
        }
    }
    errors
}

pub fn validate_lease(lease: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut at_least = |field: &str, least: i64| {
        let Some(value) = lease.pointer(&format!("/spec/{field}")) else { return };
        if !value.is_null() && value.as_i64().is_none_or(|number| number < least) {
            let detail = format!("must be an integer and at least {least}");
            errors.push(FieldError::invalid(format!("spec.{field}"), value.to_string(), detail));
        }
    };
    at_least("leaseDurationSeconds", 1);
    at_least("leaseTransitions", 0);
    errors
}

pub fn validate_config_map(map: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut bytes = 0;
    for field in ["data", "binaryData"] {
        for (key, value) in map[field].as_object().into_iter().flatten() {
            bytes += value.as_str().map_or(0, str::len);
            let inner =
                |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            let valid = !key.is_empty()
                && key.len() <= 253
                && key.bytes().all(inner)
                && key != "."
                && !key.starts_with("..");
            if !valid {
                let detail = "a valid config key must consist of alphanumeric characters, '-', \
                              '_' or '.'";
                errors.push(FieldError::invalid(format!("{field}[{key}]"), key, detail));
            }
        }
    }
    if bytes > CONFIG_MAP_BYTES_MAX {
        let detail = format!("must have at most {CONFIG_MAP_BYTES_MAX} bytes");
        errors.push(FieldError::invalid("data", bytes, detail));
    }
    errors
}

pub fn validate_config_map_update(new: &Value, old: &Value) -> Vec<FieldError> {
    if old["immutable"] != true {
        return Vec::new();
    }
    ["immutable", "data", "binaryData"]
        .into_iter()
        .filter(|field| new[*field] != old[*field])
        .map(|field| {
            let detail = "field is immutable when `immutable` is set";
            FieldError::invalid(field, "", detail)
        })
        .collect()
}
