//! The schema of a CustomResourceDefinition version: `openAPIV3Schema`, read
//! into a [`Schema`](crate::Schema), and judged by the rules that make it
//! structural.
//!
//! Structural: every value has a type that is told outside of `allOf`, `anyOf`,
//! `oneOf` and `not`, so that one walk over schema and object knows what each
//! value is; those four may only narrow what is told already.

mod complete;
mod defaults;
mod field_path;
mod node;
mod read;
mod shape;
mod words;

pub use field_path::{FieldPath, field_path};
pub use read::read;

use std::sync::Arc;

use resources::FieldError;
use serde_json::Value;

use crate::Schema;
use node::Node;

/// Complaints about one schema. A person mends the first and looks again.
const ERRORS_MAX: usize = 100;

/// What is wrong with `open_api`, which stands at the path `at`. `status` tells
/// that the kind has a status of its own.
#[must_use]
pub fn judge(open_api: &Value, at: &str, status: bool, metadata: &Arc<Schema>) -> Vec<FieldError> {
    let root = Node::of(open_api);
    let mut errors = Vec::new();
    if root.is_too_large() {
        let detail = "the schema is too large or too deep";
        errors.push(FieldError::forbidden(at, detail));
        return errors;
    }
    if status {
        errors.extend(words::root_with_status(root, open_api, at));
    }
    if root.flag("nullable") {
        let detail = "nullable cannot be true at the root";
        errors.push(FieldError::forbidden(format!("{at}.nullable"), detail));
    }
    let unsupported = words::unsupported(root);
    if unsupported.is_none() {
        let mut structure = shape::check(root, at);
        complete::check(root, at, &mut structure);
        if structure.is_empty() {
            structure = defaults::check(root, at, metadata);
        } else {
            structure.sort_by_key(ToString::to_string);
        }
        errors.extend(structure);
    }
    words::check(root, at, &mut errors);
    if errors.is_empty()
        && let Some(what) = unsupported
    {
        let detail = format!("OpenAPIV3Schema '{what}' is not supported");
        errors.push(FieldError::invalid(at, "", detail));
    }
    errors.truncate(ERRORS_MAX);
    errors
}

/// What makes a stored schema non-structural, as its condition tells it.
#[must_use]
pub fn is_structural(open_api: &Value, at: &str) -> Vec<FieldError> {
    let root = Node::of(open_api);
    let mut errors = shape::check(root, at);
    complete::check(root, at, &mut errors);
    errors.sort_by_key(ToString::to_string);
    errors.truncate(ERRORS_MAX);
    errors
}

#[cfg(test)]
mod tests;
