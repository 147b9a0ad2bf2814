//! All rules of a schema over a whole object, in the words of Kubernetes.
//!
//! Custom kinds: types, value validations, list types, embedded objects. Of
//! built-in kinds only enumerations: their types were read strictly when the
//! object came in, and what else Kubernetes demands of them no schema says.
//!
//! Ratcheting: a value that an update leaves as it was stays valid, whatever
//! the schema has come to say since.

mod clause;
mod embedded;
mod unique;
mod value;

use std::collections::HashMap;

use resources::FieldError;
use serde_json::Value;

use crate::{List, ListKind, Object, Schema, Shape, look::FINDINGS_MAX, path::Step};

/// Where Kubernetes names no field.
const NOWHERE: &str = "<nil>";

#[derive(Default)]
struct Checker {
    errors: Vec<FieldError>,
    /// Told after all others, and never forgiven.
    embedded: Vec<FieldError>,
    /// Forgiven when the old object had such already.
    duplicates: Vec<FieldError>,
}

// === impl Schema ===

impl Schema {
    /// What is wrong with `value`, which defaults have been filled into; `old`
    /// is what an update replaces.
    #[must_use]
    pub fn check(&self, value: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut checker = Checker::default();
        checker.node(self, value, None, &Step::ROOT);
        // Nearly every object is right; only then is the old one of interest.
        if let Some(old) = old.filter(|_| !checker.errors.is_empty()) {
            checker = Checker::default();
            checker.node(self, value, Some(old), &Step::ROOT);
        }
        let Checker { mut errors, embedded, duplicates } = checker;
        errors.extend(embedded);
        let forgiven = |old: &Value| {
            let mut checker = Checker::default();
            checker.node(self, old, None, &Step::ROOT);
            !checker.duplicates.is_empty()
        };
        if !duplicates.is_empty() && !old.is_some_and(forgiven) {
            errors.extend(duplicates);
        }
        errors
    }
}

// === impl Checker ===

impl Checker {
    fn node(&mut self, schema: &Schema, value: &Value, old: Option<&Value>, at: &Step<'_>) {
        if at.is_too_deep() {
            return;
        }
        let before = self.errors.len();
        if let Shape::Named(_) = schema.shape {
            if let Some(junctors) = schema.checks.as_ref().and_then(|c| c.junctors.as_ref()) {
                clause::implied(&junctors.implied, value, at, &mut self.errors);
            }
            self.built_in(schema.resolved(), value, at);
        } else {
            self.custom(schema, value, old, at);
        }
        if self.errors.len() > before && old == Some(value) {
            self.errors.truncate(before);
        }
        if self.errors.len() > FINDINGS_MAX {
            self.errors.truncate(FINDINGS_MAX.max(before));
        }
    }

    fn custom(&mut self, schema: &Schema, value: &Value, old: Option<&Value>, at: &Step<'_>) {
        value::kind(schema, value, at, &mut self.errors);
        let checks = schema.checks.as_deref();
        if let Some(checks) = checks.filter(|_| !value.is_null()) {
            if let Some(junctors) = &checks.junctors {
                clause::junctors(junctors, value, at, &mut self.errors);
            }
            value::scalar(checks, Some(&schema.shape), value, at, &mut self.errors);
        }
        if let (Shape::List(list), Value::Array(items)) = (&schema.shape, value) {
            self.list(list, items, old, at);
        }
        if let Some(checks) = checks {
            value::collection(checks, value, at, &mut self.errors);
        }
        if let (Shape::Object(object), Value::Object(map)) = (&schema.shape, value) {
            self.object(object, map, old, at);
        }
    }

    fn object(
        &mut self,
        object: &Object,
        map: &serde_json::Map<String, Value>,
        old: Option<&Value>,
        at: &Step<'_>,
    ) {
        if object.embedded {
            embedded::check(map, at, &mut self.embedded);
        }
        for (name, value) in map {
            let old = old.and_then(|old| old.get(name));
            if let Some(field) = object.field(name) {
                // What an object calls itself is not seen to change.
                let old = old.filter(|_| !at.is_root() || (name != "kind" && name != "apiVersion"));
                self.node(&field.schema, value, old, &at.field(name));
            } else if let Some(each) = &object.additional {
                self.node(each, value, old, &at.key(name));
            }
        }
        for field in object.fields.iter().filter(|field| field.required) {
            if !map.contains_key(&*field.name) {
                self.errors.push(FieldError::required(at.field(&field.name).dotted(), ""));
            }
        }
    }

    fn list(&mut self, list: &List, items: &[Value], old: Option<&Value>, at: &Step<'_>) {
        let old = match &list.kind {
            ListKind::Map(keys) => old.and_then(Value::as_array).map(|old| {
                let by_key = old.iter().map(|item| (unique::key(keys, item), item));
                (keys, by_key.collect::<HashMap<_, _>>())
            }),
            // Their items cannot be told apart, so none has an old one.
            ListKind::Atomic | ListKind::Set => None,
        };
        for (index, item) in items.iter().enumerate() {
            let old = old.as_ref().and_then(|(keys, by_key)| by_key.get(&unique::key(keys, item)));
            self.node(&list.items, item, old.copied(), &at.index(index));
        }
        unique::check(list, items, at, &mut self.duplicates);
    }

    /// Enumerations. A status is what controllers saw: it is not judged.
    fn built_in(&mut self, schema: &Schema, value: &Value, at: &Step<'_>) {
        match (&schema.shape, value) {
            (Shape::Object(object), Value::Object(map)) if !at.is_too_deep() => {
                for (name, value) in map {
                    if let Some(field) = object.field(name) {
                        if !(at.is_root() && name == "status") {
                            self.built_in(field.schema.resolved(), value, &at.field(name));
                        }
                    } else if let Some(each) = &object.additional {
                        self.built_in(each.resolved(), value, &at.key(name));
                    }
                }
            }
            (Shape::List(list), Value::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    self.built_in(list.items.resolved(), item, &at.index(index));
                }
            }
            (Shape::Text(_), Value::String(_)) => {
                if let Some(checks) = schema.checks.as_ref().filter(|c| !c.values.is_empty())
                    && !checks.values.contains(value)
                    && self.errors.len() < FINDINGS_MAX
                {
                    let known = checks.values.iter().filter_map(Value::as_str);
                    self.errors.push(FieldError::unsupported(at.keyed(), value, known));
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
