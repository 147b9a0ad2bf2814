//! Just enough of Kubernetes' protobuf encoding to read what kubectl sends in
//! it whatever we announce: `create namespace`, `create configmap` and the
//! questions of `auth`. Everything else of it is 415.
//!
//! `k8s\0`, then `runtime.Unknown` (typeMeta 1, raw 2), whose `raw` is the
//! message; field numbers are those of the `generated.proto` files.

use serde_json::{Map, Value, json};

const MAGIC: &[u8] = b"k8s\0";

pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// A Namespace or ConfigMap. None when the bytes are another kind or no such
/// message.
pub fn object(bytes: &[u8]) -> Option<Value> {
    let unknown = bytes.strip_prefix(MAGIC)?;
    let kind = field(unknown, 1)?.unwrap_or_default();
    let (version, kind) = (text(kind, 1)?, text(kind, 2)?);
    let raw = field(unknown, 2)?.unwrap_or_default();
    let mut object = json!({ "apiVersion": version, "kind": kind });
    object["metadata"] = metadata(field(raw, 1)?.unwrap_or_default())?;
    match kind.as_str() {
        "Namespace" => {}
        "ConfigMap" => {
            object["data"] = map(raw, 2, |value| Some(std::str::from_utf8(value).ok()?.into()))?;
            object["binaryData"] = map(raw, 3, |value| Some(base64(value).into()))?;
        }
        _ => return None,
    }
    Some(object)
}

fn metadata(message: &[u8]) -> Option<Value> {
    let mut shown = json!({});
    for (number, name) in
        [(1, "name"), (2, "generateName"), (3, "namespace"), (6, "resourceVersion")]
    {
        shown[name] = text(message, number)?.into();
    }
    let plain = |value: &[u8]| Some(std::str::from_utf8(value).ok()?.into());
    shown["labels"] = map(message, 11, plain)?;
    shown["annotations"] = map(message, 12, plain)?;
    let finalizers = fields(message, 14)?;
    let finalizers: Option<Vec<Value>> = finalizers.into_iter().map(plain).collect();
    shown["finalizers"] = finalizers?.into();
    Some(shown)
}

/// A map field: entries of key 1 and value 2.
fn map(message: &[u8], wanted: u64, show: impl Fn(&[u8]) -> Option<Value>) -> Option<Value> {
    let mut shown = Map::new();
    for entry in fields(message, wanted)? {
        shown.insert(text(entry, 1)?, show(field(entry, 2)?.unwrap_or_default())?);
    }
    Some(Value::Object(shown))
}

fn text(message: &[u8], wanted: u64) -> Option<String> {
    String::from_utf8(field(message, wanted)?.unwrap_or_default().to_vec()).ok()
}

/// Standard alphabet, padded, as JSON carries bytes.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let at = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let group = at(0) << 16 | at(1) << 8 | at(2);
        for place in 0..4 {
            let digit = usize::try_from(group >> (18 - 6 * place) & 63).unwrap_or(0);
            let padding = place > chunk.len();
            out.push(if padding { '=' } else { char::from(DIGITS[digit]) });
        }
    }
    out
}

/// A SelfSubjectAccessReview's spec. None when the bytes are no such message.
pub fn review(bytes: &[u8]) -> Option<Value> {
    let raw = field(bytes.strip_prefix(MAGIC)?, 2)?.unwrap_or_default();
    let Some(spec) = field(raw, 2)? else { return Some(json!({})) };
    let mut shown = json!({});
    if let Some(resource) = field(spec, 1)? {
        let names = ["namespace", "verb", "group", "version", "resource", "subresource", "name"];
        for (number, name) in (1..).zip(names) {
            shown["resourceAttributes"][name] = text(resource, number)?.into();
        }
    }
    if let Some(other) = field(spec, 2)? {
        shown["nonResourceAttributes"]["path"] = text(other, 1)?.into();
        shown["nonResourceAttributes"]["verb"] = text(other, 2)?.into();
    }
    Some(json!({ "spec": shown }))
}

/// The last of [`fields`]; the outer none says that the message is malformed.
#[expect(clippy::option_option, reason = "malformed and absent are different")]
fn field(message: &[u8], wanted: u64) -> Option<Option<&[u8]>> {
    Some(fields(message, wanted)?.pop())
}

/// The length-delimited fields `wanted` of a message.
fn fields(mut message: &[u8], wanted: u64) -> Option<Vec<&[u8]>> {
    let mut found = Vec::new();
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        match tag & 7 {
            0 => {
                varint(&mut message)?;
            }
            2 => {
                let len = usize::try_from(varint(&mut message)?).ok()?;
                let value = message.get(..len)?;
                message = message.get(len..)?;
                if tag >> 3 == wanted {
                    found.push(value);
                }
            }
            1 => message = message.get(8..)?,
            5 => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(found)
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(fields: &[(u8, &[u8])]) -> Vec<u8> {
        let one = |(number, value): &(u8, &[u8])| {
            let len = u8::try_from(value.len()).expect("short");
            [&[number << 3 | 2, len], *value].concat()
        };
        fields.iter().flat_map(one).collect()
    }

    #[test]
    fn a_config_map_is_read_as_kubectl_writes_it() {
        let meta = message(&[(1, b"x"), (11, &message(&[(1, b"k"), (2, b"v")]))]);
        let entry = |key: &[u8], value: &[u8]| message(&[(1, key), (2, value)]);
        let raw = message(&[(1, &meta), (2, &entry(b"a", b"b")), (3, &entry(b"z", b"\xff\x00"))]);
        let kind = message(&[(1, b"v1"), (2, b"ConfigMap")]);
        let bytes = [MAGIC, &message(&[(1, &kind), (2, &raw)])].concat();
        let shown = object(&bytes).expect("a config map");
        assert_eq!(shown["metadata"]["name"], "x");
        assert_eq!(shown["metadata"]["labels"], json!({"k": "v"}));
        assert_eq!(shown["data"], json!({"a": "b"}));
        assert_eq!(shown["binaryData"], json!({"z": "/wA="}));
        for end in 0..bytes.len() {
            let _ = object(&bytes[..end]);
        }
    }

    #[test]
    fn a_question_is_read_and_rubbish_is_not() {
        let attributes = message(&[(1, b"shop"), (2, b"get"), (5, b"pods")]);
        let review_bytes = message(&[(2, &message(&[(1, &attributes)]))]);
        let bytes = [MAGIC, &message(&[(1, b""), (2, &review_bytes)])].concat();
        let shown = review(&bytes).expect("a question");
        assert_eq!(shown["spec"]["resourceAttributes"]["verb"], "get");
        assert_eq!(shown["spec"]["resourceAttributes"]["resource"], "pods");
        for end in 0..bytes.len() {
            // Cut anywhere, it is refused or read, and never a panic.
            let _ = review(&bytes[..end]);
        }
        assert_eq!(review(b"{}"), None);
        assert_eq!(review(b"k8s\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), None);
    }
}
