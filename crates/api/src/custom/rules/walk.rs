//! The walk through an object, with its rules.

use std::{collections::HashMap, sync::Arc};

use cel::{Bindings, Budget, EvalError, Value as CelValue};
use resources::FieldError;
use schema::ListKind;
use serde_json::{Value, json};

use super::{Node, Rule};

/// What an evaluated message may be long.
const MESSAGE_BYTES_MAX: usize = 5 * 1024;

/// Which rules `object` breaks.
pub(super) fn check(node: &Node, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut walk = Walk { budget: Budget::per_object(), errors: Vec::new(), path: Vec::new() };
    let _ = walk.node(node, object, old, None);
    walk.errors
}

enum Part<'a> {
    Field(&'a str),
    Key(&'a str),
    Index(usize),
}

struct Walk<'a> {
    budget: Budget,
    errors: Vec<FieldError>,
    path: Vec<Part<'a>>,
}

/// Nothing more is evaluated.
struct Spent;

/// A value and what it was before.
type Pair<'a> = (&'a Value, &'a Value);

// === impl Walk ===

impl<'a> Walk<'a> {
    /// `above` is the nearest place around that has an old value.
    fn node(
        &mut self,
        node: &'a Node,
        value: &'a Value,
        old: Option<&'a Value>,
        above: Option<Pair<'a>>,
    ) -> Result<(), Spent> {
        if value.is_null() {
            return Ok(());
        }
        let old = old.filter(|old| !old.is_null());
        let pair = old.map(|old| (value, old)).or(above);
        self.rules(node, value, old, pair)?;
        match value {
            Value::Array(items) => {
                let Some((inner, list)) = &node.items else { return Ok(()) };
                let by_key = match (list, old.and_then(Value::as_array)) {
                    (ListKind::Map(keys), Some(old)) => {
                        let by_key = old.iter().map(|item| (key(keys, item), item));
                        Some((keys, by_key.collect::<HashMap<_, _>>()))
                    }
                    _ => None,
                };
                for (index, item) in items.iter().enumerate() {
                    let old =
                        by_key.as_ref().and_then(|(keys, by_key)| by_key.get(&key(keys, item)));
                    self.step(Part::Index(index), inner, item, old.copied(), pair)?;
                }
            }
            Value::Object(map) => {
                let old = old.filter(|_| node.granular);
                for (name, inner) in &node.fields {
                    let Some(value) = map.get(&**name) else { continue };
                    let old = old.and_then(|old| old.get(&**name));
                    self.step(Part::Field(name), inner, value, old, pair)?;
                }
                let Some(inner) = &node.values else { return Ok(()) };
                for (name, value) in map {
                    let old = old.and_then(|old| old.get(name));
                    self.step(Part::Key(name), inner, value, old, pair)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn step(
        &mut self,
        part: Part<'a>,
        node: &'a Node,
        value: &'a Value,
        old: Option<&'a Value>,
        above: Option<Pair<'a>>,
    ) -> Result<(), Spent> {
        self.path.push(part);
        let outcome = self.node(node, value, old, above);
        self.path.pop();
        outcome
    }

    fn rules(
        &mut self,
        node: &'a Node,
        value: &'a Value,
        old: Option<&'a Value>,
        pair: Option<Pair<'a>>,
    ) -> Result<(), Spent> {
        for rule in &node.rules {
            if self.budget.is_spent() {
                return self.stop(node, OUT_OF_BUDGET.to_owned());
            }
            let program = match &rule.program {
                Ok(program) => program,
                Err(why) => {
                    self.fail(node, format!("rule compile error: {why}"));
                    continue;
                }
            };
            if rule.transition && old.is_none() && !rule.optional {
                continue;
            }
            let bindings = Bindings::new().json("self", value);
            let bindings = match (rule.optional, old) {
                (true, old) => bindings.maybe("oldSelf", old),
                (false, Some(old)) => bindings.json("oldSelf", old),
                (false, None) => bindings,
            };
            match program.holds(&bindings, &mut self.budget) {
                Ok(true) => {}
                Ok(false) => {
                    // What was there before and is as it was is forgiven.
                    if !rule.transition && pair.is_some_and(|(value, old)| value == old) {
                        continue;
                    }
                    let said = rule.expression.as_ref().and_then(|expression| {
                        said(expression.evaluate(&bindings, &mut self.budget).ok()?)
                    });
                    self.broken(node, rule, value, said.as_ref().unwrap_or(&rule.message));
                }
                Err(EvalError::Budget) if self.budget.is_spent() => {
                    return self.stop(node, OUT_OF_BUDGET.to_owned());
                }
                Err(why @ EvalError::Budget) => {
                    let name = &rule.name;
                    let detail = format!(
                        "'{why}': no further validation rules will be run due to call cost \
                         exceeds limit for rule: {name}"
                    );
                    return self.stop(node, detail);
                }
                Err(EvalError::Value(why)) if why.starts_with("no such overload") => {
                    let name = &rule.name;
                    let detail = format!(
                        "'{why}': call arguments did not match a supported operator, function or \
                         macro signature for rule: {name}"
                    );
                    self.fail(node, detail);
                }
                Err(why) => self.fail(node, format!("{why} evaluating rule: {}", rule.name)),
            }
        }
        Ok(())
    }

    fn broken(&mut self, node: &Node, rule: &Rule, value: &Value, detail: &str) {
        let mut at = self.at();
        if !rule.path.is_empty() {
            if !at.is_empty() && !rule.path.starts_with('[') {
                at.push('.');
            }
            at.push_str(&rule.path);
        }
        let at = nowhere(at);
        let compound = matches!(node.kind, "object" | "array");
        self.errors.push(match rule.reason.as_str() {
            "FieldValueForbidden" => FieldError::forbidden(at, detail),
            "FieldValueRequired" => FieldError::required(at, detail),
            "FieldValueDuplicate" if compound => FieldError::duplicate_unsaid(at),
            "FieldValueDuplicate" => FieldError::duplicate(at, value),
            _ if compound => FieldError::invalid_unsaid(at, detail),
            _ => FieldError::invalid_json(at, value, detail),
        });
    }

    fn fail(&mut self, node: &Node, detail: String) {
        self.errors.push(FieldError::invalid(nowhere(self.at()), node.kind, detail));
    }

    fn stop(&mut self, node: &Node, detail: String) -> Result<(), Spent> {
        self.fail(node, detail);
        Err(Spent)
    }

    fn at(&self) -> String {
        let mut at = String::new();
        for part in &self.path {
            match part {
                Part::Field(name) if at.is_empty() => at.push_str(name),
                Part::Field(name) => {
                    at.push('.');
                    at.push_str(name);
                }
                Part::Key(name) => at.push_str(&format!("[{name}]")),
                Part::Index(index) => at.push_str(&format!("[{index}]")),
            }
        }
        at
    }
}

const OUT_OF_BUDGET: &str = "validation failed due to running out of cost budget, no further \
                             validation rules will be run";

/// Kubernetes' name for the root.
fn nowhere(at: String) -> String {
    if at.is_empty() { "<nil>".to_owned() } else { at }
}

/// An evaluated message, if it can be shown as one.
fn said(value: CelValue<'_>) -> Option<String> {
    let value = value.to_json()?;
    let text = value.as_str()?.trim();
    let fits = !text.is_empty() && text.len() <= MESSAGE_BYTES_MAX && !text.contains(['\n', '\r']);
    fits.then(|| text.to_owned())
}

fn key(keys: &[Arc<str>], item: &Value) -> String {
    let own = keys.iter().map(|key| item.get(&**key).cloned().unwrap_or_default());
    json!(own.collect::<Vec<Value>>()).to_string()
}
