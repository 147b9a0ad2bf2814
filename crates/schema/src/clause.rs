//! What `allOf`, `anyOf`, `oneOf` and `not` join: rules without types.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::{Checks, Pattern};

/// The four ways to join clauses, beside the text they were read from (for
/// OpenAPI documents).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Junctors {
    /// An object with those of `allOf`, `anyOf`, `oneOf` and `not` that are set.
    pub written: Value,
    /// Clauses that hold beside, and complain without a word about `allOf`.
    pub implied: Vec<Clause>,
    pub all: Vec<Clause>,
    pub any: Vec<Clause>,
    pub one: Vec<Clause>,
    pub not: Option<Clause>,
}

/// Rules for a value whose type is told elsewhere: they apply where they can.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Clause {
    /// `integer` and `string` of the int-or-string idiom; structural schemas
    /// allow no other.
    pub kind: Option<Arc<str>>,
    pub checks: Checks,
    pub required: Vec<Arc<str>>,
    pub fields: Vec<(Arc<str>, Clause)>,
    pub items: Option<Box<Clause>>,
}

// === impl Junctors ===

impl Junctors {
    /// From the members of a schema as OpenAPI v3 words them.
    #[must_use]
    pub fn read(schema: &Map<String, Value>) -> Option<Junctors> {
        let mut written = Map::new();
        for name in ["allOf", "anyOf", "oneOf", "not"] {
            if let Some(value) = schema.get(name).filter(|value| !value.is_null()) {
                written.insert(name.to_owned(), value.clone());
            }
        }
        let list = |name: &str| -> Vec<Clause> {
            let list = written.get(name).and_then(Value::as_array);
            list.into_iter().flatten().map(Clause::read).collect()
        };
        let (all, any, one) = (list("allOf"), list("anyOf"), list("oneOf"));
        let not = written.get("not").map(Clause::read);
        if all.is_empty() && any.is_empty() && one.is_empty() && not.is_none() {
            return None;
        }
        Some(Junctors { written: Value::Object(written), implied: Vec::new(), all, any, one, not })
    }
}

// === impl Clause ===

impl Clause {
    #[must_use]
    pub fn read(clause: &Value) -> Clause {
        let Some(clause) = clause.as_object() else { return Clause::default() };
        let fields = clause.get("properties").and_then(Value::as_object);
        Clause {
            kind: clause.get("type").and_then(Value::as_str).map(Arc::from),
            checks: Checks::read(clause).unwrap_or_default(),
            required: texts(clause.get("required")),
            fields: fields
                .into_iter()
                .flatten()
                .map(|(name, clause)| (Arc::from(name.as_str()), Clause::read(clause)))
                .collect(),
            items: clause.get("items").map(|items| Box::new(Clause::read(items))),
        }
    }
}

// === impl Checks ===

impl Checks {
    /// From the members of a schema as OpenAPI v3 words them; `None` when it
    /// has no rule.
    #[must_use]
    pub fn read(schema: &Map<String, Value>) -> Option<Checks> {
        let number = |name: &str| schema.get(name).and_then(Value::as_number).cloned();
        let count = |name: &str| schema.get(name).and_then(Value::as_u64);
        let flag = |name: &str| schema.get(name).and_then(Value::as_bool).unwrap_or_default();
        let text =
            |name: &str| schema.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let list =
            |name: &str| schema.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
        let checks = Checks {
            values: list("enum"),
            pattern: text("pattern").map(Pattern::new),
            format: text("format").map(Arc::from),
            minimum: number("minimum"),
            maximum: number("maximum"),
            exclusive_minimum: flag("exclusiveMinimum"),
            exclusive_maximum: flag("exclusiveMaximum"),
            multiple_of: number("multipleOf"),
            min_length: count("minLength"),
            max_length: count("maxLength"),
            min_items: count("minItems"),
            max_items: count("maxItems"),
            unique_items: flag("uniqueItems"),
            min_properties: count("minProperties"),
            max_properties: count("maxProperties"),
            junctors: Junctors::read(schema).map(Box::new),
            rules: list("x-kubernetes-validations"),
        };
        (checks != Checks::default()).then_some(checks)
    }
}

/// A list of strings; anything else in it is passed over.
pub(crate) fn texts(value: Option<&Value>) -> Vec<Arc<str>> {
    let list = value.and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).map(Arc::from).collect()
}
