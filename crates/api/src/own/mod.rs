//! The schemas of our own kinds, which fields they have and of which type, with
//! the forms of names that only `topology` knows.
//!
//! Unknown fields are named and dropped, values of the wrong type are refused
//! with their path. Everything else works on the general form ([`general`]).
//! Rules beyond structure are elsewhere (`resources::Kind::validate`, `kinds`).

mod general;
mod meta;
mod openapi;
mod ours;

pub use ours::{
    CAFE_DEPLOYMENT, CENTER, CITY, FAILOVER, FAILOVER_POLICY, SHARD_MAP, SHARD_MOVE, UNIT,
    UNIT_RENTAL,
};

use std::fmt::Write as _;

use resources::FieldError;
use serde_json::Value;

pub struct Schema {
    pub about: &'static str,
    pub shape: Shape,
}

pub enum Shape {
    Object(&'static [Field]),
    Map(&'static Schema),
    List(&'static Schema),
    Text,
    /// Text of a certain form; the function says what is wrong with it.
    Form(fn(&str) -> Option<String>),
    OneOf(&'static [&'static str]),
    Integer,
    Boolean,
    IntOrText,
    /// Anything; unknown fields are kept.
    Any,
}

pub struct Field {
    pub name: &'static str,
    pub required: bool,
    pub schema: Schema,
}

/// What a look at an object found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Paths of fields that the kind does not have; they were removed.
    pub unknown: Vec<String>,
    pub errors: Vec<FieldError>,
}

/// More findings than a person reads are not collected.
const FINDINGS_MAX: usize = 64;

// === impl Schema ===

impl Schema {
    /// Removes unknown and null fields of `object` and reports what is wrong.
    pub fn look(&self, object: &mut Value) -> Findings {
        let mut findings = Findings::default();
        let mut path = String::new();
        self.walk(object, &mut path, &mut findings);
        findings
    }

    fn walk(&self, value: &mut Value, path: &mut String, findings: &mut Findings) {
        let wanted = match (&self.shape, &mut *value) {
            (Shape::Any, _)
            | (Shape::Text, Value::String(_))
            | (Shape::Boolean, Value::Bool(_))
            | (Shape::IntOrText, Value::String(_)) => return,
            (Shape::Integer | Shape::IntOrText, Value::Number(number)) if is_integer(number) => {
                return;
            }
            (Shape::Form(check), Value::String(text)) => {
                if let Some(detail) = check(text) {
                    findings.error(FieldError::invalid(path.as_str(), &*text, detail));
                }
                return;
            }
            (Shape::OneOf(known), Value::String(text)) => {
                if !known.contains(&text.as_str()) {
                    let detail = format!("{text:?}: supported values: {known:?}");
                    findings.error(FieldError::not_supported(path.as_str(), detail));
                }
                return;
            }
            (Shape::Object(fields), Value::Object(_)) => {
                return walk_object(fields, value, path, findings);
            }
            (Shape::Map(each), Value::Object(map)) => {
                for (key, item) in map {
                    at(path, format_args!("[{key}]"), |path| each.walk(item, path, findings));
                }
                return;
            }
            (Shape::List(each), Value::Array(list)) => {
                for (index, item) in list.iter_mut().enumerate() {
                    at(path, format_args!("[{index}]"), |path| each.walk(item, path, findings));
                }
                return;
            }
            (Shape::Object(_) | Shape::Map(_), _) => "an object",
            (Shape::List(_), _) => "a list",
            (Shape::Text | Shape::Form(_) | Shape::OneOf(_), _) => "a string",
            (Shape::Integer, _) => "an integer",
            (Shape::Boolean, _) => "true or false",
            (Shape::IntOrText, _) => "an integer or a string",
        };
        let shown = value.to_string().chars().take(64).collect::<String>();
        let detail = format!("must be {wanted}");
        findings.error(FieldError::invalid(path.as_str(), shown, detail));
    }
}

fn walk_object(
    fields: &'static [Field],
    value: &mut Value,
    path: &mut String,
    findings: &mut Findings,
) {
    let Some(map) = value.as_object_mut() else { return };
    map.retain(|name, value| {
        if !fields.iter().any(|field| field.name == name) {
            at(path, format_args!(".{name}"), |path| findings.unknown(path));
            return false;
        }
        !value.is_null()
    });
    for field in fields {
        at(path, format_args!(".{}", field.name), |path| match map.get_mut(field.name) {
            Some(value) => field.schema.walk(value, path, findings),
            None if field.required => findings.error(FieldError::required(path.as_str(), "")),
            None => {}
        });
    }
}

/// Runs `f` with the path one step longer.
fn at(path: &mut String, step: std::fmt::Arguments<'_>, f: impl FnOnce(&mut String)) {
    let len = path.len();
    let _ = path.write_fmt(step);
    if len == 0 && path.starts_with('.') {
        path.remove(0);
    }
    f(path);
    path.truncate(len);
}

fn is_integer(number: &serde_json::Number) -> bool {
    number.is_i64() || number.is_u64()
}

// === impl Findings ===

impl Findings {
    fn error(&mut self, error: FieldError) {
        if self.errors.len() < FINDINGS_MAX {
            self.errors.push(error);
        }
    }

    fn unknown(&mut self, path: &str) {
        if self.unknown.len() < FINDINGS_MAX {
            self.unknown.push(path.to_owned());
        }
    }
}

// === Shorthand for the tables ===

pub(crate) const fn required(name: &'static str, about: &'static str, shape: Shape) -> Field {
    Field { name, required: true, schema: Schema { about, shape } }
}

pub(crate) const fn optional(name: &'static str, about: &'static str, shape: Shape) -> Field {
    Field { name, required: false, schema: Schema { about, shape } }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn unknown_fields_are_named_and_dropped_and_wrong_types_named_with_their_path() {
        let mut unit = json!({
            "metadata": {"name": "rz01", "creationTimestamp": null, "labels": {"a": 1}},
            "spec": {
                "kind": "XZone", "center": "East", "colour": "red",
                "ports": {"first": "1", "last": 2},
                "standbys": ["rz02", 3],
            },
        });
        let findings = UNIT.look(&mut unit);
        assert_eq!(findings.unknown, ["spec.colour"]);
        assert_eq!(unit["spec"].get("colour"), None);
        let paths: Vec<_> = findings.errors.iter().map(|error| error.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "metadata.labels[a]",
                "spec.kind",
                "spec.center",
                "spec.standbys[1]",
                "spec.ports.first"
            ]
        );
        assert_eq!(unit["metadata"].get("creationTimestamp"), None);
    }
}
