//! What may be a name, a label, an annotation. Each function returns what is
//! wrong, in Kubernetes' terms, or none.

use resources::FieldError;
use serde_json::{Map, Value};

use crate::{
    object,
    resource::{NameRule, Resource},
};

const LABEL_LEN_MAX: usize = 63;
const SUBDOMAIN_LEN_MAX: usize = 253;

/// Kubernetes' bound on all annotations of one object together.
const ANNOTATIONS_BYTES_MAX: usize = 256 * 1024;

/// Bound on the labels of one object; each is shown, stored and matched.
const LABELS_MAX: usize = 1024;

/// RFC 1123 label.
pub fn label(name: &str) -> Option<String> {
    let inner = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    let edge = |byte: Option<&u8>| byte.is_some_and(|byte| *byte != b'-');
    let bytes = name.as_bytes();
    let valid = bytes.len() <= LABEL_LEN_MAX
        && bytes.iter().copied().all(inner)
        && edge(bytes.first())
        && edge(bytes.last());
    (!valid).then(|| {
        "a lowercase RFC 1123 label must consist of at most 63 lower case alphanumeric characters \
         or '-', and must start and end with an alphanumeric character"
            .to_owned()
    })
}

/// RFC 1123 subdomain.
pub fn subdomain(name: &str) -> Option<String> {
    let part = |part: &str| {
        let inner = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        let bytes = part.as_bytes();
        bytes.iter().copied().all(inner)
            && bytes.first().is_some_and(|byte| *byte != b'-')
            && bytes.last().is_some_and(|byte| *byte != b'-')
    };
    let valid = name.len() <= SUBDOMAIN_LEN_MAX && name.split('.').all(part);
    (!valid).then(|| {
        "a lowercase RFC 1123 subdomain must consist of at most 253 lower case alphanumeric \
         characters, '-' or '.', and must start and end with an alphanumeric character"
            .to_owned()
    })
}

fn qualified_part(part: &str) -> bool {
    let bytes = part.as_bytes();
    let inner = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    bytes.len() <= LABEL_LEN_MAX
        && bytes.iter().all(inner)
        && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
}

/// `[prefix/]name`
pub fn label_key(key: &str) -> Option<String> {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let valid = qualified_part(name) && prefix.is_none_or(|prefix| subdomain(prefix).is_none());
    (!valid).then(|| {
        "name part must consist of at most 63 alphanumeric characters, '-', '_' or '.', and must \
         start and end with an alphanumeric character; the optional prefix is a DNS subdomain and '/'"
            .to_owned()
    })
}

fn label_value(value: &str) -> Option<String> {
    (!value.is_empty() && !qualified_part(value)).then(|| {
        "a valid label must be an empty string or consist of at most 63 alphanumeric characters, \
         '-', '_' or '.', and must start and end with an alphanumeric character"
            .to_owned()
    })
}

/// Everything wrong with an object's metadata, whatever its kind.
pub fn metadata(object: &Value, resource: &Resource) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let name = object::name(object);
    if name.is_empty() {
        let detail = "name or generateName is required";
        errors.push(FieldError::required("metadata.name", detail));
    } else {
        let wrong = match resource.names {
            NameRule::Label => label(name),
            NameRule::Subdomain => subdomain(name),
        };
        errors.extend(wrong.map(|why| FieldError::invalid("metadata.name", name, why)));
    }
    let map = |pointer| object.pointer(pointer).and_then(Value::as_object);
    if let Some(labels) = map("/metadata/labels") {
        check_labels(labels, &mut errors);
    }
    if let Some(annotations) = map("/metadata/annotations") {
        check_annotations(annotations, &mut errors);
    }
    let finalizers = object.pointer("/metadata/finalizers").and_then(Value::as_array);
    for (index, finalizer) in finalizers.into_iter().flatten().enumerate() {
        let finalizer = finalizer.as_str().unwrap_or_default();
        if let Some(why) = label_key(finalizer) {
            let path = format!("metadata.finalizers[{index}]");
            errors.push(FieldError::invalid(path, finalizer, why));
        }
    }
    errors
}

fn check_labels(labels: &Map<String, Value>, errors: &mut Vec<FieldError>) {
    let path = "metadata.labels";
    if labels.len() > LABELS_MAX {
        let detail = format!("must have at most {LABELS_MAX} items");
        errors.push(FieldError::invalid(path, labels.len(), detail));
        return;
    }
    for (key, value) in labels {
        let value = value.as_str().unwrap_or_default();
        errors.extend(label_key(key).map(|why| FieldError::invalid(path, key, why)));
        errors.extend(label_value(value).map(|why| FieldError::invalid(path, value, why)));
    }
}

fn check_annotations(annotations: &Map<String, Value>, errors: &mut Vec<FieldError>) {
    let path = "metadata.annotations";
    let mut bytes = 0;
    for (key, value) in annotations {
        bytes += key.len() + value.as_str().map_or(0, str::len);
        let wrong = label_key(&key.to_lowercase());
        errors.extend(wrong.map(|why| FieldError::invalid(path, key, why)));
    }
    if bytes > ANNOTATIONS_BYTES_MAX {
        let detail = format!("must have at most {ANNOTATIONS_BYTES_MAX} bytes");
        errors.push(FieldError::invalid(path, bytes, detail));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_names() {
        for good in ["a", "rz01", "a-b.c", "0"] {
            assert_eq!(subdomain(good), None, "{good}");
        }
        for bad in ["", "A", "-a", "a-", "a..b", "a/b", ".", "ä", &"a".repeat(254)] {
            assert!(subdomain(bad).is_some(), "{bad}");
        }
        assert!(label("a.b").is_some() && label("a-b").is_none());
        assert!(label_key("polis.dev/unit").is_none() && label_key("/unit").is_some());
    }
}
