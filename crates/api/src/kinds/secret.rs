//! Secrets: their types say which keys they must have.

use base64::{Engine, engine::general_purpose::STANDARD};
use resources::FieldError;
use serde_json::{Value, json};

use super::check::{Check, at, config_key, is_true, map, same, text};
use crate::{object, resource::Rules};

pub const RULES: Rules = Rules { default, validate, validate_update, ..Rules::NONE };

/// Kubernetes' bound on the data of one secret or config map.
pub const DATA_BYTES_MAX: u64 = 1024 * 1024;

const ACCOUNT: &str = "kubernetes.io/service-account.name";

/// Text can be written as it is; it is kept like all else.
fn default(secret: &mut Value) {
    let Some(object) = secret.as_object_mut() else { return };
    let Some(Value::Object(texts)) = object.remove("stringData") else { return };
    if texts.is_empty() {
        return;
    }
    let data = object::child(secret, "data");
    for (key, value) in texts {
        let bytes = STANDARD.encode(value.as_str().unwrap_or_default());
        data.insert(key, bytes.into());
    }
}

fn validate(secret: &Value) -> Vec<FieldError> {
    let mut check = Check::default();
    let mut bytes = 0;
    for (key, value) in map(secret, "data").into_iter().flatten() {
        if let Some(why) = config_key(key) {
            check.invalid(format_args!("data[{key}]"), key.as_str(), why);
        }
        bytes += decoded_len(value.as_str().unwrap_or_default());
    }
    if bytes > DATA_BYTES_MAX {
        check.add(FieldError::too_long("data", DATA_BYTES_MAX));
    }
    let data = at(secret, "data");
    let has = |key: &str| data.get(key).is_some();
    let mut needs = |key: &str| {
        if !has(key) {
            check.required(format_args!("data[{key}]"), "");
        }
    };
    match text(secret, "type") {
        "kubernetes.io/tls" => ["tls.crt", "tls.key"].into_iter().for_each(needs),
        "kubernetes.io/ssh-auth" => needs("ssh-privatekey"),
        "kubernetes.io/basic-auth" if !has("username") && !has("password") => {
            ["username", "password"].into_iter().for_each(needs);
        }
        "kubernetes.io/service-account-token" => {
            let annotations = at(at(secret, "metadata"), "annotations");
            if text(annotations, ACCOUNT).is_empty() {
                check.required(format_args!("metadata.annotations[{ACCOUNT}]"), "");
            }
        }
        kind @ ("kubernetes.io/dockercfg" | "kubernetes.io/dockerconfigjson") => {
            let key = match kind {
                "kubernetes.io/dockercfg" => ".dockercfg",
                _ => ".dockerconfigjson",
            };
            let contents = data.get(key).and_then(Value::as_str);
            let json = contents.map(|text| STANDARD.decode(text).unwrap_or_default());
            match json.map(|json| serde_json::from_slice::<Value>(&json)) {
                None => check.required(format_args!("data[{key}]"), ""),
                Some(Err(error)) => {
                    let path = format_args!("data[{key}]");
                    check.invalid(path, "<secret contents redacted>", error.to_string());
                }
                Some(Ok(_)) => {}
            }
        }
        _ => {}
    }
    check.into_errors()
}

fn decoded_len(text: &str) -> u64 {
    let padding = text.bytes().rev().take_while(|byte| *byte == b'=').count();
    (text.len() / 4 * 3).saturating_sub(padding) as u64
}

fn validate_update(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut check = Check::default();
    check.unchanged(format_args!("type"), at(new, "type"), at(old, "type"));
    immutable(&mut check, new, old, &["data"]);
    check.into_errors()
}

/// Secrets and config maps can be sealed for good.
pub fn immutable(check: &mut Check, new: &Value, old: &Value, fields: &[&str]) {
    const SEALED: &str = "field is immutable when `immutable` is set";
    if !is_true(old, "immutable") {
        return;
    }
    if !is_true(new, "immutable") {
        check.forbidden(format_args!("immutable"), SEALED);
    }
    let empty = json!({});
    for field in fields {
        let of = |object| some_or(at(object, field), &empty).clone();
        if !same(&of(new), &of(old)) {
            check.forbidden(format_args!("{field}"), SEALED);
        }
    }
}

fn some_or<'a>(value: &'a Value, other: &'a Value) -> &'a Value {
    if value.is_null() { other } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(secret: Value, fault: &str) {
        let mut secret = secret;
        default(&mut secret);
        let errors = validate(&secret);
        assert_eq!(errors.first().map(ToString::to_string).unwrap_or_default(), fault);
    }

    #[test]
    fn text_is_kept_as_data() {
        let mut secret = json!({"data": {"a": "eA=="}, "stringData": {"b": "y"}});
        default(&mut secret);
        assert_eq!(secret, json!({"data": {"a": "eA==", "b": "eQ=="}}));
        default(&mut secret);
        assert_eq!(secret["data"]["b"], "eQ==");
    }

    #[test]
    fn types_have_their_keys() {
        check(json!({"type": "Opaque", "stringData": {"a": "b"}}), "");
        check(
            json!({"type": "kubernetes.io/tls", "stringData": {"tls.crt": "x"}}),
            "data[tls.key]: Required value",
        );
        check(json!({"type": "kubernetes.io/basic-auth", "stringData": {"password": "x"}}), "");
        check(
            json!({"type": "kubernetes.io/service-account-token"}),
            "metadata.annotations[kubernetes.io/service-account.name]: Required value",
        );
        check(
            json!({"type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": "{}"}}),
            "",
        );
        check(
            json!({"type": "Opaque", "stringData": {"a": "x".repeat(1024 * 1024 + 1)}}),
            "data: Too long: may not be more than 1048576 bytes",
        );
    }

    #[test]
    fn what_is_sealed_stays() {
        let old = json!({"type": "Opaque", "immutable": true, "data": {"a": "eA=="}});
        assert!(validate_update(&old, &old).is_empty());
        let new = json!({"type": "Other", "data": {"a": "eQ=="}});
        let errors: Vec<_> = validate_update(&new, &old).iter().map(ToString::to_string).collect();
        let sealed = "Forbidden: field is immutable when `immutable` is set";
        assert_eq!(
            errors,
            [
                "type: Invalid value: \"Other\": field is immutable".to_owned(),
                format!("immutable: {sealed}"),
                format!("data: {sealed}"),
            ]
        );
    }
}
