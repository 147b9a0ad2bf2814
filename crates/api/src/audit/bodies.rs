//! What was sent and what was answered, as JSON on one line.

use bytes::Bytes;
use http::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::policy::Reference;
use crate::request::{body, yaml};

/// Which an object's own fields complete what the path says.
#[derive(Default, Deserialize)]
struct Head {
    #[serde(default)]
    metadata: Named,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Named {
    name: String,
    namespace: String,
    uid: String,
    resource_version: String,
}

/// The body of a request in JSON; none when it is none.
pub fn of_request(headers: &HeaderMap, bytes: &Bytes) -> Option<Bytes> {
    let media_type = body::media_type(headers);
    if media_type.ends_with("yaml") {
        return Some(yaml::decode(bytes).ok()?.value.to_string().into());
    }
    match media_type.ends_with("json") || media_type.is_empty() {
        true => Some(bytes.clone()),
        false => Some(body::json(headers, bytes).ok()??.value.to_string().into()),
    }
}

/// What `json` says, on one line, and without `managedFields` if they are to be
/// left out. None when it is no JSON.
pub fn line(json: &[u8], omit_managed_fields: bool) -> Option<Box<RawValue>> {
    let text = std::str::from_utf8(json).ok()?;
    if omit_managed_fields && memchr::memmem::find(json, b"\"managedFields\"").is_some() {
        let mut value: Value = serde_json::from_str(text).ok()?;
        without_managed_fields(&mut value);
        return RawValue::from_string(value.to_string()).ok();
    }
    // A line's end is never part of a text in JSON, only between its parts.
    match text.contains(['\n', '\r']) {
        true => RawValue::from_string(text.replace(['\n', '\r'], " ")).ok(),
        false => RawValue::from_string(text.to_owned()).ok(),
    }
}

/// Of an object, a list's items and a table's rows.
fn without_managed_fields(value: &mut Value) {
    fn strip(object: Option<&mut Value>) {
        let metadata = object.and_then(|object| object.get_mut("metadata"));
        if let Some(metadata) = metadata.and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
    }
    let items = value.get_mut("items").and_then(Value::as_array_mut);
    items.into_iter().flatten().for_each(|item| strip(Some(item)));
    let rows = value.get_mut("rows").and_then(Value::as_array_mut);
    rows.into_iter().flatten().for_each(|row| strip(row.get_mut("object")));
    strip(Some(value));
}

/// Fills in what the path did not say.
pub fn complete(reference: &mut Reference, json: &[u8]) {
    let Ok(Head { metadata }) = serde_json::from_slice::<Head>(json) else { return };
    for (known, said) in [
        (&mut reference.name, metadata.name),
        (&mut reference.namespace, metadata.namespace),
        (&mut reference.uid, metadata.uid),
        (&mut reference.resource_version, metadata.resource_version),
    ] {
        if known.is_empty() {
            *known = said;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_one_line_and_says_the_same() {
        let check = |json: &str, omit, expected: Option<&str>| {
            let line = line(json.as_bytes(), omit);
            assert_eq!(line.as_deref().map(RawValue::get), expected, "{json}");
        };
        check("{\"a\":\r\n [1,\n\"x\\ny\"]}", false, Some("{\"a\":   [1, \"x\\ny\"]}"));
        check("{\"a\":", false, None);
        check("{\"a\":\"two\nlines\"", false, None);
        let object = r#"{"metadata":{"managedFields":[{}],"name":"a"}}"#;
        check(object, false, Some(object));
        check(object, true, Some(r#"{"metadata":{"name":"a"}}"#));
        let list = format!(r#"{{"items":[{object}],"rows":[{{"object":{object}}}]}}"#);
        let bare = r#"{"metadata":{"name":"a"}}"#;
        let expected = format!(r#"{{"items":[{bare}],"rows":[{{"object":{bare}}}]}}"#);
        check(&list, true, Some(&expected));
        assert!(line(b"\"\xff\"", false).is_none());
    }

    #[test]
    fn an_object_completes_what_the_path_says() {
        let mut reference = Reference { name: "path".into(), ..Reference::default() };
        let object = br#"{"metadata":{"name":"body","uid":"7","resourceVersion":"9"}}"#;
        complete(&mut reference, object);
        assert_eq!((&*reference.name, &*reference.uid), ("path", "7"));
        assert_eq!(reference.resource_version, "9");
        complete(&mut reference, b"[1]");
    }
}
