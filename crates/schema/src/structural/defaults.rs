//! Defaults are values like those that people write: of the right type, with
//! nothing unknown in them.

use std::sync::Arc;

use resources::FieldError;

use super::{node::Node, read};
use crate::Schema;

pub(super) fn check(root: Node<'_>, at: &str, metadata: &Arc<Schema>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    node(root, at, metadata, &mut errors);
    errors
}

fn node(schema: Node<'_>, at: &str, metadata: &Arc<Schema>, errors: &mut Vec<FieldError>) {
    if let (Some(default), Some(map)) = (schema.get("default"), schema.map()) {
        let at = format!("{at}.default");
        let wanted = read::node(map, metadata, 0);
        let mut pruned = default.clone();
        let findings = wanted.look(&mut pruned);
        if !findings.unknown.is_empty() {
            let detail = "must not have unknown fields";
            errors.push(FieldError::invalid_json(&at, default, detail));
        }
        if let Some(problem) = findings.malformed {
            errors.push(FieldError::invalid_json(&at, default, problem));
        }
        for error in wanted.check(default, None) {
            let path = match error.path.as_str() {
                "" | "<nil>" => at.clone(),
                path => format!("{at}.{path}"),
            };
            errors.push(FieldError { path, ..error });
        }
    }
    if let Some(items) = schema.child("items") {
        node(items, &format!("{at}.items"), metadata, errors);
    }
    for (name, property) in schema.properties() {
        node(property, &format!("{at}.properties[{name}]"), metadata, errors);
    }
}
