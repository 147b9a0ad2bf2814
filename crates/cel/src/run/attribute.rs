//! A value, and the way from it: fields, indices, what may be missing.

use super::machine::{Evaluated, Machine, is_spent};
use super::node::{Attribute, Base, Node, Step, StepKey};
use crate::error::EvalError;
use crate::value::Value;

// === impl Machine: attributes ===

impl<'a> Machine<'a> {
    /// `counted`: a bare branch of `?:` is not.
    pub(super) fn attribute(&mut self, attribute: &'a Attribute, counted: bool) -> Evaluated<'a> {
        let mut value = match &attribute.base {
            Base::Variable(place, name) => match self.variables.get(*place) {
                Some(Some(value)) => Ok(value.clone()),
                _ => Err(EvalError::new(format!("no such attribute(s): {name}"))),
            },
            Base::Local(slot) => self.slots[*slot].clone(),
            Base::Of(node) => self.evaluate(node),
            Base::Choice(parts) => {
                let [condition, yes, no] = parts.as_ref();
                let branch = if self.evaluate(condition)?.as_bool()? { yes } else { no };
                match branch {
                    Node::Attribute(branch) => self.attribute(branch, false),
                    branch => self.evaluate(branch),
                }
            }
        };
        if is_spent(&value) {
            return value;
        }
        if counted && !attribute.test && !matches!(attribute.base, Base::Choice(_)) {
            self.spend(1)?;
        }
        let mut optional = false;
        let last = attribute.steps.len().wrapping_sub(1);
        for (index, step) in attribute.steps.iter().enumerate() {
            let mut from = value?;
            if let Value::Optional(inner) = &from {
                let Some(inner) = inner.clone() else {
                    return Ok(if attribute.test { Value::Bool(false) } else { from });
                };
                from = (*inner).clone();
                optional = true;
            }
            optional |= step.optional;
            if attribute.test && index == last {
                return self.test(&from, step);
            }
            match self.step(&from, step, optional)? {
                Some(next) => value = Ok(next),
                None => return Ok(Value::Optional(None)),
            }
        }
        let value = value?;
        Ok(if optional { Value::some(value) } else { value })
    }

    /// Whether a field is there; costs one either way.
    fn test(&mut self, from: &Value<'a>, step: &'a Step) -> Evaluated<'a> {
        self.spend(1)?;
        let (Value::Map(map), StepKey::Field(name)) = (from, &step.key) else {
            return Ok(Value::Bool(false));
        };
        Ok(Value::Bool(map.find_text(name)?.is_some()))
    }

    /// What lies behind one step; none only where that is no error.
    fn step(
        &mut self,
        from: &Value<'a>,
        step: &'a Step,
        lenient: bool,
    ) -> Result<Option<Value<'a>>, EvalError> {
        let (key, counted_before) = match &step.key {
            StepKey::Field(name) => return self.field(from, name, lenient),
            StepKey::Constant(key) => (key.clone(), !lenient),
            // As a branch of `?:`, a bare one is not counted; the step is.
            StepKey::Of(node) => {
                let key = match node {
                    Node::Attribute(key) => self.attribute(key, false),
                    node => self.evaluate(node),
                };
                if !lenient && key.is_err() && !is_spent(&key) {
                    self.spend(1)?;
                }
                (key?, !lenient)
            }
        };
        if counted_before {
            self.spend(1)?;
        }
        let found = index(from, &key);
        match found {
            Ok(Some(value)) => {
                if !counted_before {
                    self.spend(1)?;
                }
                Ok(Some(value))
            }
            Ok(None) if lenient => Ok(None),
            Ok(None) => Err(missing(from, &key)),
            Err(error) => Err(error),
        }
    }

    fn field(
        &mut self,
        from: &Value<'a>,
        name: &str,
        lenient: bool,
    ) -> Result<Option<Value<'a>>, EvalError> {
        let found = match from {
            Value::Map(map) => map.find_text(name)?,
            Value::List(_) if !lenient => {
                self.spend(1)?;
                return Err(EvalError::new("unsupported index type 'string' in list"));
            }
            _ => None,
        };
        if found.is_some() || !lenient {
            self.spend(1)?;
        }
        match found {
            None if !lenient => Err(EvalError::new(format!("no such key: {name}"))),
            found => Ok(found),
        }
    }
}

/// What is at `key`, none if there is nothing.
fn index<'a>(from: &Value<'a>, key: &Value<'a>) -> Result<Option<Value<'a>>, EvalError> {
    match from {
        Value::Map(map) => map.find(key),
        Value::List(list) => {
            let place = match key {
                Value::Int(index) => *index,
                Value::Uint(index) => i64::try_from(*index).unwrap_or(i64::MAX),
                Value::Double(index) if index.fract() == 0.0 => *index as i64,
                Value::Double(_) => {
                    let message = format!("unsupported index value {key} in list");
                    return Err(EvalError::new(message));
                }
                _ => {
                    let of = key.type_name();
                    let message = format!("unsupported index type '{of}' in list");
                    return Err(EvalError::new(message));
                }
            };
            match usize::try_from(place) {
                Ok(place) if place < list.len() => list.get(place).map(Some),
                _ => Ok(None),
            }
        }
        _ => Ok(None),
    }
}

fn missing(from: &Value<'_>, key: &Value<'_>) -> EvalError {
    EvalError::new(match from {
        Value::List(_) => format!("index out of bounds: {key}"),
        _ => format!("no such key: {key}"),
    })
}
