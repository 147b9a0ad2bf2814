//! The road from `kubectl apply` to `kubectl apply --server-side`: the first
//! keeps what it applied in an annotation.
//!
//! What the annotation has and nobody changed since was kubectl's all along, so
//! that kubectl takes it over without a conflict; and the annotation is kept
//! up, so that one can go back.

use serde_json::{Map, Value};

use super::{Write, managed::metadata};
use crate::{
    fields::Fields,
    typed::{self, Duplicates},
};

/// Whose road it is.
pub(super) const MANAGER: &str = "kubectl";

const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Kubernetes' bound on all annotations of an object.
const ANNOTATIONS_BYTES_MAX: usize = 256 * 1024;

/// What was applied by the annotation and is still as it was.
pub(super) fn unchanged(live: &Value, write: &Write<'_>) -> Option<Fields> {
    let last: Value = serde_json::from_str(annotation(live)?).ok()?;
    if last["apiVersion"].as_str() != Some(write.api_version) {
        return None;
    }
    typed::check(&last, write.schema, Duplicates::Refused).ok()?;
    let fields = typed::fields_of(&last, write.schema).ok()?;
    let delta = typed::compare(Some(&last), live, write.schema).ok()?;
    Some(fields.difference(&delta.changed()).difference(&delta.removed))
}

/// Makes the annotation, if there is one, say what is applied now.
pub(super) fn renew(object: &mut Value, patch: &Value) {
    if annotation(object).is_none() {
        return;
    }
    let mut patch = patch.clone();
    if let Some(annotations) = annotations(&mut patch) {
        annotations.remove(ANNOTATION);
    }
    let Some(annotations) = annotations(object) else { return };
    annotations.insert(ANNOTATION.into(), format!("{patch}\n").into());
    let len = |(key, value): (&String, &Value)| key.len() + value.as_str().map_or(0, str::len);
    if annotations.iter().map(len).sum::<usize>() > ANNOTATIONS_BYTES_MAX {
        annotations.remove(ANNOTATION);
    }
}

fn annotation(object: &Value) -> Option<&str> {
    object["metadata"]["annotations"][ANNOTATION].as_str().filter(|text| !text.is_empty())
}

fn annotations(object: &mut Value) -> Option<&mut Map<String, Value>> {
    metadata(object)?.get_mut("annotations")?.as_object_mut()
}
