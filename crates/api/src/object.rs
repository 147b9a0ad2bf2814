//! An API object as JSON, and the handful of fields the server itself reads.
//!
//! The server is generic: it never parses an object into a type of its kind
//! except to validate it. Everything here tolerates any JSON.

use serde_json::{Map, Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::resource::Resource;

/// Text at `pointer` (`/metadata/name`), or the empty string.
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

pub fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

pub fn namespace(object: &Value) -> &str {
    text(object, "/metadata/namespace")
}

pub fn uid(object: &Value) -> &str {
    text(object, "/metadata/uid")
}

pub fn is_deleting(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some_and(|at| !at.is_null())
}

pub fn has_finalizers(object: &Value) -> bool {
    let finalizers = object.pointer("/metadata/finalizers").and_then(Value::as_array);
    finalizers.is_some_and(|list| !list.is_empty())
}

/// The object's metadata, created when it is absent or no object.
pub fn metadata(object: &mut Value) -> &mut Map<String, Value> {
    child(object, "metadata")
}

/// Field `key` of `object` as a map, created when it is absent or no object.
pub fn child<'a>(object: &'a mut Value, key: &str) -> &'a mut Map<String, Value> {
    if !object.is_object() {
        *object = json!({});
    }
    if !object[key].is_object() {
        object[key] = json!({});
    }
    object[key].as_object_mut().expect("it was made an object above")
}

/// Sets `field` unless it is there.
pub fn set_default(map: &mut Map<String, Value>, field: &str, value: impl Into<Value>) {
    map.entry(field).or_insert_with(|| value.into());
}

pub fn set_version(object: &mut Value, version: impl ToString) {
    metadata(object).insert("resourceVersion".into(), version.to_string().into());
}

/// States the kind, which lists and stored bytes may leave out.
pub fn set_kind(object: &mut Value, resource: &Resource) {
    object["apiVersion"] = resource.api_version().into();
    object["kind"] = Value::String(resource.kind.to_string());
}

/// Everything but metadata and status: what `generation` counts changes of.
pub fn same_intent(a: &Value, b: &Value) -> bool {
    let (Some(a), Some(b)) = (a.as_object(), b.as_object()) else { return a == b };
    let passive = |key: &str| matches!(key, "metadata" | "status" | "apiVersion" | "kind");
    let keys = a.keys().chain(b.keys()).filter(|key| !passive(key));
    keys.into_iter().all(|key| a.get(key) == b.get(key))
}

/// A moment as Kubernetes writes it: RFC 3339, whole seconds, UTC.
pub fn timestamp(at: OffsetDateTime) -> String {
    let at = at.replace_nanosecond(0).unwrap_or(at);
    at.format(&Rfc3339).expect("years of four digits have an RFC 3339 form")
}

pub fn parse_timestamp(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok()
}

/// Wall-clock time; it only labels objects, nothing is decided by it.
pub fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intent_is_everything_but_metadata_and_status() {
        let a = json!({"metadata": {"name": "a"}, "spec": {"x": 1}, "status": {}});
        assert!(same_intent(&a, &json!({"spec": {"x": 1}, "kind": "K"})));
        assert!(!same_intent(&a, &json!({"spec": {"x": 2}})));
        assert!(!same_intent(&a, &json!({"spec": {"x": 1}, "data": {}})));
    }

    #[test]
    fn metadata_is_made_whatever_was_there() {
        for mut odd in [json!(null), json!([1]), json!({"metadata": "x"})] {
            set_version(&mut odd, 7);
            assert_eq!(text(&odd, "/metadata/resourceVersion"), "7");
        }
    }
}
