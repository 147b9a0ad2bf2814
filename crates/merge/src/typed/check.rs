//! Whether an object is of its type, in the words that Kubernetes' apply has
//! for it.

use std::{collections::BTreeSet, fmt};

use schema::{Schema, Shape};
use serde_json::Value;

use crate::{
    go,
    shape::{Entry, Kind, Known, ListOf, MapOf, kind, resolve},
};

/// Whether sets may hold a value twice, and keyed lists a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duplicates {
    Allowed,
    Refused,
}

/// What is wrong, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wrong(Vec<(String, String)>);

/// More than a person reads is not collected.
const WRONG_MAX: usize = 64;

pub fn check(object: &Value, schema: &Schema, duplicates: Duplicates) -> Result<(), Wrong> {
    let mut wrong = Wrong::default();
    wrong.check(object, Some(schema), duplicates);
    match wrong.0.is_empty() {
        true => Ok(()),
        false => Err(wrong),
    }
}

// === impl Wrong ===

impl Wrong {
    fn add(&mut self, message: String) {
        if self.0.len() < WRONG_MAX {
            self.0.push((String::new(), message));
        }
    }

    /// Puts `step` before the paths of what was found since there were `len`.
    fn prefix(&mut self, len: usize, step: impl Fn() -> String) {
        for (path, _) in self.0.iter_mut().skip(len) {
            path.insert_str(0, &step());
        }
    }

    fn check(&mut self, value: &Value, known: Known<'_>, duplicates: Duplicates) {
        match kind(known, value) {
            Kind::Scalar => self.scalar(value, known),
            Kind::Map(map) => self.map(value, map, duplicates),
            Kind::List(list) => self.list(value, list, duplicates),
        }
    }

    fn scalar(&mut self, value: &Value, known: Known<'_>) {
        let Some(schema) = known.map(resolve) else { return };
        match (&schema.shape, value) {
            (_, Value::Null)
            | (Shape::Integer(_) | Shape::Number, Value::Number(_))
            | (Shape::Boolean, Value::Bool(_)) => {}
            (Shape::Integer(_) | Shape::Number, other) => {
                self.add(format!("expected numeric (int or float), got {}", go::type_name(other)));
            }
            (Shape::Boolean, other) => {
                self.add(format!("expected boolean, got &{{{}}}", go::plain(other)));
            }
            (Shape::Text(form), value) => match (value, form.takes_numbers()) {
                (Value::String(_), _) | (Value::Number(_) | Value::Bool(_), true) => {}
                (other, true) => {
                    self.add(format!("expected any scalar, got &{{{}}}", go::plain(other)));
                }
                (other, false) => {
                    let shown = go::literal(other);
                    self.add(format!(
                        "expected string, got &value.valueUnstructured{{Value:{shown}}}"
                    ));
                }
            },
            (_, Value::Array(_) | Value::Object(_)) => {
                self.add(format!("expected any scalar, got &{{{}}}", go::plain(value)));
            }
            _ => {}
        }
    }

    fn map(&mut self, value: &Value, map: MapOf<'_>, duplicates: Duplicates) {
        let entries = match value {
            Value::Object(entries) => entries,
            Value::Null => return,
            other => return self.add(format!("expected map, got &{{{}}}", go::plain(other))),
        };
        for (name, value) in entries {
            let len = self.0.len();
            match map.entry(name) {
                Entry::Undeclared => self.add("field not declared in schema".into()),
                entry => self.check(value, entry.known(), duplicates),
            }
            self.prefix(len, || format!(".{name}"));
        }
    }

    fn list(&mut self, value: &Value, list: ListOf<'_>, duplicates: Duplicates) {
        let items = match value {
            Value::Array(items) => items,
            Value::Null => return,
            other => return self.add(format!("expected list, got &{{{}}}", go::plain(other))),
        };
        if list.is_atomic() {
            for (index, item) in items.iter().enumerate() {
                let len = self.0.len();
                self.check(item, list.items(), duplicates);
                self.prefix(len, || format!("[{index}]"));
            }
            return;
        }
        let steps = match list.steps(items) {
            Ok(steps) => steps,
            Err(message) => return self.add(message),
        };
        let mut seen = BTreeSet::new();
        for (step, item) in steps.iter().zip(items) {
            if !seen.insert(step) && duplicates == Duplicates::Refused {
                self.add(format!("duplicate entries for key {step}"));
            }
            let len = self.0.len();
            self.check(item, list.items(), duplicates);
            self.prefix(len, || step.to_string());
        }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |(path, message): &(String, String)| match path.as_str() {
            "" => message.clone(),
            path => format!("{path}: {message}"),
        };
        match self.0.as_slice() {
            [one] => f.write_str(&line(one)),
            all => {
                f.write_str("errors:")?;
                all.iter().try_for_each(|one| write!(f, "\n  {}", line(one)))
            }
        }
    }
}

/// What may be written as a number although it is text.
trait TakesNumbers {
    fn takes_numbers(&self) -> bool;
}

impl TakesNumbers for schema::Form {
    fn takes_numbers(&self) -> bool {
        matches!(self, schema::Form::Quantity)
    }
}
