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
const ANNOTATIONS_BYTES_MAX: u64 = 256 * 1024;

/// Bound on the labels of one object; each is shown, stored and matched.
const LABELS_MAX: u64 = 1024;

/// RFC 1123 label.
pub fn label(name: &str) -> Option<String> {
    let wrong = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or \
                 '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or \
                 '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
    too_long(name, LABEL_LEN_MAX).or_else(|| unless(is_label(name), wrong))
}

/// RFC 1035 label: begins with a letter.
pub fn label_1035(name: &str) -> Option<String> {
    let wrong = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start \
                 with an alphabetic character, and end with an alphanumeric character (e.g. \
                 'my-name',  or 'abc-123', regex used for validation is \
                 '[a-z]([-a-z0-9]*[a-z0-9])?')";
    let valid = is_label(name) && name.starts_with(|first: char| first.is_ascii_lowercase());
    too_long(name, LABEL_LEN_MAX).or_else(|| unless(valid, wrong))
}

/// RFC 1123 subdomain.
pub fn subdomain(name: &str) -> Option<String> {
    let wrong = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, \
                 '-' or '.', and must start and end with an alphanumeric character (e.g. \
                 'example.com', regex used for validation is \
                 '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
    too_long(name, SUBDOMAIN_LEN_MAX).or_else(|| unless(name.split('.').all(is_label), wrong))
}

fn is_label(name: &str) -> bool {
    let bytes = name.as_bytes();
    bytes.iter().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        && bytes.first().is_some_and(|byte| *byte != b'-')
        && bytes.last().is_some_and(|byte| *byte != b'-')
}

fn too_long(text: &str, max: usize) -> Option<String> {
    (text.len() > max).then(|| format!("must be no more than {max} bytes"))
}

fn unless(valid: bool, wrong: &str) -> Option<String> {
    (!valid).then(|| wrong.to_owned())
}

/// What can stand between two slashes of a path.
pub fn segment(name: &str) -> Option<String> {
    let why = match name {
        "." | ".." => format!("may not be '{name}'"),
        _ if name.contains('/') => "may not contain '/'".to_owned(),
        _ if name.contains('%') => "may not contain '%'".to_owned(),
        _ if name.len() > SUBDOMAIN_LEN_MAX => {
            format!("must be no more than {SUBDOMAIN_LEN_MAX} characters")
        }
        _ => return None,
    };
    Some(why)
}

fn qualified_part(part: &str) -> bool {
    let bytes = part.as_bytes();
    let inner = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    bytes.iter().all(inner)
        && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
}

/// `[prefix/]name`
pub fn label_key(key: &str) -> Option<String> {
    const WRONG: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start \
                         and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or \
                         '123-abc', regex used for validation is \
                         '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
    let (prefix, name) = match key.split_once('/') {
        Some((_, name)) if name.contains('/') => {
            return Some(format!(
                "a valid label key {WRONG} with an optional DNS subdomain prefix and '/' (e.g. \
                 'example.com/MyName')"
            ));
        }
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    match prefix {
        Some("") => return Some("prefix part must be non-empty".to_owned()),
        Some(prefix) => {
            if let Some(why) = subdomain(prefix) {
                return Some(format!("prefix part {why}"));
            }
        }
        None => {}
    }
    if name.is_empty() {
        return Some("name part must be non-empty".to_owned());
    }
    let wrong = too_long(name, LABEL_LEN_MAX).or_else(|| unless(qualified_part(name), WRONG))?;
    Some(format!("name part {wrong}"))
}

pub fn label_value(value: &str) -> Option<String> {
    let wrong = "a valid label must be an empty string or consist of alphanumeric characters, '-', \
                 '_' or '.', and must start and end with an alphanumeric character (e.g. \
                 'MyValue',  or 'my_value',  or '12345', regex used for validation is \
                 '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
    let valid = value.is_empty() || qualified_part(value);
    too_long(value, LABEL_LEN_MAX).or_else(|| unless(valid, wrong))
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
            NameRule::Segment => segment(name),
        };
        errors.extend(wrong.map(|why| FieldError::invalid("metadata.name", name, why)));
    }
    let map = |pointer| object.pointer(pointer).and_then(Value::as_object);
    if let Some(labels) = map("/metadata/labels") {
        check_labels("metadata.labels", labels, &mut errors);
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
    if let Some(owners) = object.pointer("/metadata/ownerReferences").and_then(Value::as_array) {
        check_owners(owners, &mut errors);
    }
    errors
}

/// What the collector goes by: an owner that cannot be found takes the object along.
fn check_owners(owners: &[Value], errors: &mut Vec<FieldError>) {
    const PATH: &str = "metadata.ownerReferences";
    for owner in owners {
        let text = |field: &str| owner[field].as_str().unwrap_or_default();
        let version = text("apiVersion").rsplit('/').next().unwrap_or_default();
        let parts = [
            ("apiVersion", "version", version),
            ("kind", "kind", text("kind")),
            ("name", "name", text("name")),
            ("uid", "uid", text("uid")),
        ];
        for (field, part, _) in parts.iter().filter(|(_, _, said)| said.is_empty()) {
            let why = format!("{part} must not be empty");
            errors.push(FieldError::invalid(format!("{PATH}.{field}"), "", why));
        }
    }
    let controls = |owner: &&Value| owner["controller"] == true;
    let mut controllers = owners.iter().filter(controls).map(|owner| {
        let text = |field: &str| owner[field].as_str().unwrap_or_default();
        format!("{}/{}", text("kind"), text("name"))
    });
    if let (Some(first), Some(second)) = (controllers.next(), controllers.next()) {
        let detail = format!(
            "Only one reference can have Controller set to true. Found \"true\" in references for \
             {first} and {second}"
        );
        errors.push(FieldError::invalid_json(PATH, &owners.into(), detail));
    }
}

pub(crate) fn check_labels(path: &str, labels: &Map<String, Value>, errors: &mut Vec<FieldError>) {
    if labels.len() as u64 > LABELS_MAX {
        errors.push(FieldError::too_many(path, labels.len(), LABELS_MAX));
        return;
    }
    for (key, value) in labels {
        let value = value.as_str().unwrap_or_default();
        errors.extend(label_key(key).map(|why| FieldError::invalid(path, key, why)));
        errors.extend(label_value(value).map(|why| FieldError::invalid(path, value, why)));
    }
}

pub(crate) fn check_annotations(annotations: &Map<String, Value>, errors: &mut Vec<FieldError>) {
    let path = "metadata.annotations";
    let mut bytes = 0;
    for (key, value) in annotations {
        bytes += key.len() + value.as_str().map_or(0, str::len);
        let wrong = label_key(&key.to_lowercase());
        errors.extend(wrong.map(|why| FieldError::invalid(path, key, why)));
    }
    if bytes as u64 > ANNOTATIONS_BYTES_MAX {
        errors.push(FieldError::too_long(path, ANNOTATIONS_BYTES_MAX));
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
        assert!(label_1035("0a").is_some() && label_1035("a0").is_none());
        assert!(label_key("a/b/c").is_some() && label_value("-").is_some());
        assert!(label_key("polis.dev/unit").is_none() && label_key("/unit").is_some());
    }

    #[test]
    fn owners_can_be_found_and_one_of_them_controls() {
        let owner = |name: &str, uid: &str, controller: bool| {
            serde_json::json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": name,
                "uid": uid, "controller": controller})
        };
        let told = |owners: &[Value]| {
            let mut errors = Vec::new();
            check_owners(owners, &mut errors);
            errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        };
        assert_eq!(told(&[owner("a", "1", true), owner("b", "2", false)]), "");
        assert!(told(&[owner("a", "", true)]).contains("uid must not be empty"));
        let two = told(&[owner("a", "1", true), owner("b", "2", true)]);
        assert!(two.contains("in references for Deployment/a and Deployment/b"), "{two}");
    }
}
