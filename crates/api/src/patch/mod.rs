//! Patches: three ways to say what should change.

mod strategic;

use bytes::Bytes;
use serde_json::Value;

use crate::{failure::Failure, request::body};

/// Kubernetes' bound on the operations of one JSON patch.
const OPERATIONS_MAX: usize = 10_000;

/// Bound on what a patch may blow an object up to, between operations; `copy`
/// can double it each time.
const RESULT_BYTES_MAX: usize = body::BODY_BYTES_MAX;

/// Operations applied between two looks at the size.
const OPERATIONS_PER_LOOK: usize = 16;

#[derive(Debug)]
pub enum Patch {
    /// RFC 6902.
    Json(json_patch::Patch),
    /// RFC 7386.
    Merge(Value, Vec<String>),
    Strategic(Value, Vec<String>),
}

// === impl Patch ===

impl Patch {
    pub fn parse(media_type: &str, bytes: &Bytes, builtin: bool) -> Result<Patch, Failure> {
        match media_type {
            "application/json-patch+json" => {
                let decoded = body::parse(bytes)?;
                let patch: json_patch::Patch = serde_json::from_value(decoded.value)
                    .map_err(|error| Failure::bad_request(format!("JSON patch: {error}")))?;
                match patch.len() {
                    0..=OPERATIONS_MAX => Ok(Patch::Json(patch)),
                    len => Err(Failure::too_large(format!(
                        "The allowed maximum operations in a JSON patch is {OPERATIONS_MAX}, got {len}"
                    ))),
                }
            }
            "application/merge-patch+json" => {
                let (patch, twice) = body::require_object(Some(body::parse(bytes)?))?;
                Ok(Patch::Merge(patch, twice))
            }
            "application/strategic-merge-patch+json" if builtin => {
                let (patch, twice) = body::require_object(Some(body::parse(bytes)?))?;
                Ok(Patch::Strategic(patch, twice))
            }
            "application/apply-patch+yaml" | "application/apply-patch+cbor" => {
                Err(Failure::unsupported_media_type(
                    "server-side apply is not served in this release: use client-side apply \
                     (kubectl apply without --server-side)",
                ))
            }
            other => {
                let known = match builtin {
                    true => {
                        "application/json-patch+json, application/merge-patch+json, \
                         application/strategic-merge-patch+json"
                    }
                    false => "application/json-patch+json, application/merge-patch+json",
                };
                Err(Failure::unsupported_media_type(format!(
                    "the body of the request was in an unknown format - accepted media types \
                     include: {known} (got {other:?})"
                )))
            }
        }
    }

    /// What `object` becomes, and fields that the patch wrote twice.
    pub fn apply(&self, object: &Value) -> Result<(Value, Vec<String>), Failure> {
        let mut patched = object.clone();
        let twice = match self {
            Patch::Json(patch) => {
                apply_json(&mut patched, patch)?;
                Vec::new()
            }
            Patch::Merge(patch, twice) => {
                json_patch::merge(&mut patched, patch);
                twice.clone()
            }
            Patch::Strategic(patch, twice) => {
                strategic::merge(&mut patched, patch).map_err(Failure::bad_request)?;
                twice.clone()
            }
        };
        match patched.is_object() {
            true => Ok((patched, twice)),
            false => Err(Failure::bad_request("the patch leaves no object")),
        }
    }
}

fn apply_json(object: &mut Value, patch: &json_patch::Patch) -> Result<(), Failure> {
    for operations in patch.chunks(OPERATIONS_PER_LOOK) {
        json_patch::patch(object, operations).map_err(|error| {
            let message = error.to_string();
            Failure::new(http::StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message)
        })?;
        if size(object) > RESULT_BYTES_MAX {
            return Err(Failure::too_large(format!(
                "the patched object is larger than {RESULT_BYTES_MAX} bytes"
            )));
        }
    }
    Ok(())
}

/// Roughly the bytes of its text form.
fn size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
        Value::String(text) => text.len() + 2,
        Value::Array(list) => list.iter().map(|item| size(item) + 1).sum(),
        Value::Object(map) => map.iter().map(|(key, item)| key.len() + size(item) + 4).sum(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(media_type: &str, object: Value, patch: Value, expected: Option<Value>) {
        let bytes = Bytes::from(patch.to_string());
        let patched = Patch::parse(media_type, &bytes, true).and_then(|patch| patch.apply(&object));
        assert_eq!(patched.ok().map(|(object, _)| object), expected, "{patch}");
    }

    #[test]
    fn json_patches_apply_whole_or_not_at_all() {
        let json = "application/json-patch+json";
        check(
            json,
            json!({"a": 1}),
            json!([{"op": "replace", "path": "/a", "value": 2}]),
            Some(json!({"a": 2})),
        );
        check(json, json!({"a": 1}), json!([{"op": "test", "path": "/a", "value": 2}]), None);
        check(json, json!({"a": 1}), json!([{"op": "replace", "path": "", "value": 2}]), None);
    }

    #[test]
    fn a_patch_that_doubles_again_and_again_is_refused() {
        let mut operations = vec![json!({"op": "add", "path": "/a", "value": ["x".repeat(1000)]})];
        for _ in 0..60 {
            operations.push(json!({"op": "copy", "from": "/a", "path": "/a/-"}));
        }
        check("application/json-patch+json", json!({}), json!(operations), None);
    }

    #[test]
    fn merge_patches_merge_and_apply_patches_are_refused() {
        let merge = "application/merge-patch+json";
        check(
            merge,
            json!({"a": {"b": 1, "c": 2}}),
            json!({"a": {"b": null}}),
            Some(json!({"a": {"c": 2}})),
        );
        check(merge, json!({}), json!([]), None);
        check("application/apply-patch+yaml", json!({}), json!({}), None);
    }
}
