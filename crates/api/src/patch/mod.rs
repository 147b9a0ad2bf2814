//! Patches: four ways to say what should change.

pub mod json;

use bytes::Bytes;
use http::StatusCode;
use merge::strategic;
use schema::Schema;
use serde_json::{Value, json};

use crate::{
    failure::Failure,
    request::{body, decode::Decoded, yaml},
};

pub const JSON: &str = "application/json-patch+json";
pub const MERGE: &str = "application/merge-patch+json";
pub const STRATEGIC: &str = "application/strategic-merge-patch+json";
pub const APPLY: &str = "application/apply-patch+yaml";

/// Kubernetes' bound on the operations of one JSON patch.
const OPERATIONS_MAX: usize = 10_000;

/// Bound on what a patch makes of an object, and on what it copies and moves within.
const RESULT_BYTES_MAX: usize = body::BODY_BYTES_MAX;

/// As deep as bodies are read.
const DEPTH_MAX: usize = 128;

#[derive(Debug)]
pub enum Patch {
    /// RFC 6902.
    Json(json_patch::Patch),
    /// RFC 7386.
    Merge(Value, Vec<String>),
    Strategic(Value, Vec<String>),
    /// What the caller wants to be so, and from now on answers for.
    Apply(Value, Vec<String>),
}

// === impl Patch ===

impl Patch {
    /// `builtin`: Kubernetes says how the kind's lists are merged.
    pub fn parse(media_type: &str, bytes: &Bytes, builtin: bool) -> Result<Patch, Failure> {
        match media_type {
            JSON => {
                let value = parse(bytes)?.value;
                if !value.is_array() {
                    return Err(cannot_unmarshal(&value, "[]handlers.jsonPatchOp"));
                }
                json::parse(value).map(Patch::Json)
            }
            MERGE => object(parse(bytes)?).map(|(patch, twice)| Patch::Merge(patch, twice)),
            STRATEGIC if builtin => {
                object(parse(bytes)?).map(|(patch, twice)| Patch::Strategic(patch, twice))
            }
            APPLY => {
                let decoded = yaml::decode(bytes).map_err(|error| {
                    Failure::bad_request(format!("error decoding patch: {error}"))
                })?;
                object(decoded).map(|(patch, twice)| Patch::Apply(patch, twice))
            }
            _ => {
                let known: &[&str] = match builtin {
                    true => &[JSON, MERGE, STRATEGIC, APPLY],
                    false => &[JSON, MERGE, APPLY],
                };
                Err(Failure::unsupported_media_type(format!(
                    "the body of the request was in an unknown format - accepted media types \
                     include: {}",
                    known.join(", ")
                )))
            }
        }
    }

    /// What `object` becomes, and fields that the patch wrote twice. Not for
    /// what is applied: that needs to know who owns what.
    pub fn change(&self, object: &Value, schema: &Schema) -> Result<(Value, Vec<String>), Failure> {
        let mut patched = object.clone();
        let twice = match self {
            Patch::Json(patch) => {
                json::change(&mut patched, patch)?;
                Vec::new()
            }
            Patch::Merge(patch, twice) => {
                json_patch::merge(&mut patched, patch);
                twice.clone()
            }
            Patch::Strategic(patch, twice) => {
                strategic::merge(&mut patched, patch.clone(), schema).map_err(refused)?;
                twice.clone()
            }
            Patch::Apply(..) => {
                return Err(Failure::internal("an apply patch taken for another one"));
            }
        };
        match patched.is_object() {
            true => Ok((patched, twice)),
            false => Err(Failure::bad_request("the patch leaves no object")),
        }
    }
}

fn parse(bytes: &Bytes) -> Result<Decoded, Failure> {
    crate::request::decode::decode(bytes)
        .map_err(|error| Failure::bad_request(format!("error decoding patch: {error}")))
}

fn object(decoded: Decoded) -> Result<(Value, Vec<String>), Failure> {
    match decoded.value.is_object() {
        true => Ok((decoded.value, decoded.twice)),
        false => Err(cannot_unmarshal(&decoded.value, "map[string]interface {}")),
    }
}

fn cannot_unmarshal(value: &Value, wanted: &str) -> Failure {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    Failure::bad_request(format!(
        "error decoding patch: json: cannot unmarshal {kind} into Go value of type {wanted}"
    ))
}

fn refused(error: strategic::Error) -> Failure {
    match error {
        strategic::Error::Malformed(why) => Failure::bad_request(why),
        strategic::Error::Impossible(why) => Failure::rejected(why),
        // Kubernetes says the same with a 500; the caller is to blame all the same.
        strategic::Error::Unexpected(why) => Failure::bad_request(why),
    }
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

/// An object that a patch made, with fields that its kind does not have.
pub fn strictly_refused(patched: &Value, findings: &str) -> Failure {
    let shown = format!("{:?}", patched.to_string());
    let message = format!(" \"\" is invalid: patch: Invalid value: {shown}: {findings}");
    let cause = json!({
        "reason": "FieldValueInvalid",
        "message": format!("Invalid value: {shown}: {findings}"),
        "field": "patch",
    });
    Failure::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message).caused_by(vec![cause])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(media_type: &str, object: Value, patch: Value, expected: Option<Value>) {
        let bytes = Bytes::from(patch.to_string());
        let schema = Schema::default();
        let patched =
            Patch::parse(media_type, &bytes, true).and_then(|patch| patch.change(&object, &schema));
        assert_eq!(patched.ok().map(|(object, _)| object), expected, "{patch}");
    }

    #[test]
    fn json_patches_apply_whole_or_not_at_all() {
        check(
            JSON,
            json!({"a": 1}),
            json!([{"op": "replace", "path": "/a", "value": 2}]),
            Some(json!({"a": 2})),
        );
        check(JSON, json!({"a": 1}), json!([{"op": "test", "path": "/a", "value": 2}]), None);
        check(JSON, json!({"a": 1}), json!([{"op": "replace", "path": "", "value": 2}]), None);
        check(JSON, json!({}), json!({}), None);
    }

    #[test]
    fn a_patch_that_doubles_again_and_again_is_refused() {
        let mut operations = vec![json!({"op": "add", "path": "/a", "value": ["x".repeat(1000)]})];
        for _ in 0..60 {
            operations.push(json!({"op": "copy", "from": "/a", "path": "/a/-"}));
        }
        check(JSON, json!({}), json!(operations), None);
    }

    #[test]
    fn merge_patches_merge() {
        check(
            MERGE,
            json!({"a": {"b": 1, "c": 2}}),
            json!({"a": {"b": null}}),
            Some(json!({"a": {"c": 2}})),
        );
        check(MERGE, json!({}), json!([]), None);
    }

    #[test]
    fn kinds_without_rules_for_lists_take_no_strategic_patch() {
        let refusal = Patch::parse(STRATEGIC, &Bytes::from("{}"), false).expect_err("refused");
        assert_eq!(refusal.code(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
        assert!(refusal.message().ends_with(
            "include: application/json-patch+json, application/merge-patch+json, \
             application/apply-patch+yaml"
        ));
    }
}
