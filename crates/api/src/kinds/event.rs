//! Events: remarks, kept for an hour.

use resources::FieldError;
use serde_json::Value;

use crate::{object, resource::KeptAs};

/// Events of the newer group are those of the core, with other names.
pub const NEWER_KEPT: KeptAs = KeptAs {
    group: "",
    version: "v1",
    to: |event| rename(event, |(newer, core)| (newer, core)),
    from: |event| rename(event, |(newer, core)| (core, newer)),
};

/// The names of the newer group, and those of the core.
const NAMES: [(&str, &str); 7] = [
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("reportingController", "reportingComponent"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
];

/// Kubernetes' bound on an event's message.
const MESSAGE_BYTES_MAX: usize = 1024;

fn rename(
    event: &mut Value,
    order: fn((&'static str, &'static str)) -> (&'static str, &'static str),
) {
    let Some(event) = event.as_object_mut() else { return };
    for (from, to) in NAMES.map(order) {
        if let Some(value) = event.remove(from) {
            event.insert(to.to_owned(), value);
        }
    }
}

/// Of the newer group, under its own names.
pub fn validate_newer(event: &Value) -> Vec<FieldError> {
    let mut core = event.clone();
    (NEWER_KEPT.to)(&mut core);
    let mut errors = validate(&core);
    for error in &mut errors {
        for (newer, core) in NAMES {
            if let Some(rest) = error.path.strip_prefix(core) {
                error.path = format!("{newer}{rest}");
                break;
            }
        }
    }
    errors
}

pub fn validate(event: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let about = object::text(event, "/involvedObject/namespace");
    let own = object::namespace(event);
    // Remarks about objects without a namespace are kept in `default`.
    if about != own && !(about.is_empty() && own == "default") {
        let detail = "does not match event.namespace";
        errors.push(FieldError::invalid("involvedObject.namespace", about, detail));
    }
    let len = object::text(event, "/message").len();
    if len > MESSAGE_BYTES_MAX {
        let detail = format!("may not be longer than {MESSAGE_BYTES_MAX} bytes");
        errors.push(FieldError::invalid("message", len, detail));
    }
    errors
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_groups_have_the_same_events() {
        let newer = json!({"note": "n", "regarding": {"namespace": "a"}, "reason": "r",
            "metadata": {"namespace": "b"}});
        let mut core = newer.clone();
        (NEWER_KEPT.to)(&mut core);
        assert_eq!(core["message"], "n");
        assert_eq!(core["involvedObject"]["namespace"], "a");
        (NEWER_KEPT.from)(&mut core);
        assert_eq!(core, newer);
        assert_eq!(validate_newer(&newer)[0].path, "regarding.namespace");
    }
}
