//! Just enough of Kubernetes' protobuf encoding to read the two questions that
//! kubectl asks in it (`auth can-i`, `auth whoami`), whatever we announce.
//!
//! `k8s\0`, then `runtime.Unknown` (typeMeta 1, raw 2), whose `raw` is the
//! message; field numbers are those of `authorization/v1/generated.proto`.

use serde_json::{Value, json};

const MAGIC: &[u8] = b"k8s\0";

pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// A SelfSubjectAccessReview's spec; for other kinds it is empty. None when
/// the bytes are no such message.
pub fn review(bytes: &[u8]) -> Option<Value> {
    let raw = field(bytes.strip_prefix(MAGIC)?, 2)?.unwrap_or_default();
    let Some(spec) = field(raw, 2)? else { return Some(json!({})) };
    let text = |message: &[u8], number| -> Option<Value> {
        let bytes = field(message, number)?.unwrap_or_default();
        Some(std::str::from_utf8(bytes).ok()?.into())
    };
    let mut shown = json!({});
    if let Some(resource) = field(spec, 1)? {
        let names = ["namespace", "verb", "group", "version", "resource", "subresource", "name"];
        for (number, name) in (1..).zip(names) {
            shown["resourceAttributes"][name] = text(resource, number)?;
        }
    }
    if let Some(other) = field(spec, 2)? {
        shown["nonResourceAttributes"]["path"] = text(other, 1)?;
        shown["nonResourceAttributes"]["verb"] = text(other, 2)?;
    }
    Some(json!({ "spec": shown }))
}

/// The last length-delimited field `wanted` of a message; the outer none says
/// that it is malformed.
#[expect(clippy::option_option, reason = "malformed and absent are different")]
fn field(mut message: &[u8], wanted: u64) -> Option<Option<&[u8]>> {
    let mut found = None;
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
                    found = Some(value);
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
