//! The look at an object when it comes in: unknown fields are named and
//! dropped, nulls that say nothing go, built-in types are read strictly.
//!
//! What Kubernetes does by decoding: a built-in kind (and the metadata of a
//! custom one) passes through a typed struct, so a value of the wrong type
//! fails at once; a custom kind is pruned by its schema and its types are
//! checked later, with all else ([`Schema::check`]).

use serde_json::{Number, Value};

use crate::{Form, Object, Presence, Schema, Shape, builtin, form, path::Step};

/// What a look found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Paths of fields that the kind does not have; they were removed. Shown
    /// as `unknown field "spec.foo"`.
    pub unknown: Vec<String>,
    /// Why it cannot be read at all: the first built-in value of a wrong type,
    /// in the words of Go's decoder.
    pub malformed: Option<String>,
}

/// More findings than a person reads are not collected.
pub(crate) const FINDINGS_MAX: usize = 64;

// === impl Schema ===

impl Schema {
    /// Removes what does not belong into `object`, and normalises what does.
    pub fn look(&self, object: &mut Value) -> Findings {
        let mut findings = Findings::default();
        if let Shape::Named(_) = self.shape {
            findings.built_in(self, object, &Step::ROOT, "");
        } else {
            findings.custom(self, object, &Step::ROOT);
        }
        findings
    }
}

// === impl Findings ===

impl Findings {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.unknown.is_empty() && self.malformed.is_none()
    }

    fn custom(&mut self, schema: &Schema, value: &mut Value, at: &Step<'_>) {
        match (&schema.shape, &mut *value) {
            (Shape::Named(_), value) => self.built_in(schema, value, at, ""),
            (Shape::Object(object), Value::Object(_)) => self.custom_object(object, value, at),
            (Shape::List(list), Value::Array(items)) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.custom(&list.items, item, &at.index(index));
                }
            }
            (Shape::Integer(_) | Shape::IntOrText, Value::Number(number)) => whole(number),
            _ => {}
        }
    }

    fn custom_object(&mut self, object: &Object, value: &mut Value, at: &Step<'_>) {
        let Some(map) = value.as_object_mut() else { return };
        if self.is_too_deep(at) {
            return;
        }
        let mut gone = Vec::new();
        for (name, value) in map.iter_mut() {
            match object.schema_of(name) {
                Some(schema) if value.is_null() => {
                    if !schema.nullable && schema.default.is_none() {
                        gone.push(name.clone());
                    }
                }
                Some(schema) => self.custom(schema, value, &at.field(name)),
                None if object.open => {}
                None => {
                    self.unknown(&at.field(name));
                    gone.push(name.clone());
                }
            }
        }
        for name in gone {
            map.remove(&name);
        }
    }

    /// `owner` is the type around, for what Go's decoder says.
    fn built_in(&mut self, schema: &Schema, value: &mut Value, at: &Step<'_>, owner: &str) {
        let told = schema;
        let schema = schema.resolved();
        match (&schema.shape, &mut *value) {
            (Shape::Any, _)
            | (Shape::Boolean, Value::Bool(_))
            | (Shape::Number, Value::Number(_))
            | (Shape::Text(Form::Plain) | Shape::IntOrText, Value::String(_)) => {}
            (Shape::Text(form), Value::String(text)) => match form::canonical(*form, text) {
                Ok(None) => {}
                Ok(Some(canonical)) => *text = canonical,
                Err(problem) => self.malformed(problem),
            },
            (Shape::Text(Form::Quantity), Value::Number(number)) => {
                let text = number.to_string();
                match form::canonical(Form::Quantity, &text) {
                    Ok(canonical) => *value = canonical.unwrap_or(text).into(),
                    Err(problem) => self.malformed(problem),
                }
            }
            (Shape::Integer(bits), Value::Number(number)) if fits(number, *bits) => {}
            (Shape::IntOrText, Value::Number(number)) if fits(number, 32) => {}
            (Shape::Object(object), Value::Object(_)) => {
                self.built_in_object(told, object, value, at, owner);
            }
            (Shape::List(list), Value::Array(items)) => {
                for (index, item) in items.iter_mut().enumerate() {
                    if item.is_null() {
                        *item = zero(&list.items);
                    }
                    self.built_in(&list.items, item, &at.index(index), owner);
                }
            }
            _ => self.wrong_type(told, value, at, owner),
        }
    }

    fn built_in_object(
        &mut self,
        schema: &Schema,
        object: &Object,
        value: &mut Value,
        at: &Step<'_>,
        owner: &str,
    ) {
        let Some(map) = value.as_object_mut() else { return };
        if self.is_too_deep(at) {
            return;
        }
        // A map has no name of its own.
        let owner = Some(go_name(schema)).filter(|name| !name.is_empty()).unwrap_or(owner);
        let mut gone = Vec::new();
        for (name, value) in map.iter_mut() {
            if let Some(field) = object.field(name) {
                if value.is_null() {
                    gone.push(name.clone());
                    continue;
                }
                self.built_in(&field.schema, value, &at.field(name), owner);
                if field.presence != Presence::Kept && is_empty(value) {
                    gone.push(name.clone());
                }
            } else if let Some(each) = &object.additional {
                if value.is_null() {
                    *value = zero(each);
                }
                self.built_in(each, value, &at.key(name), owner);
            } else if !object.open {
                self.unknown(&at.field(name));
                gone.push(name.clone());
            }
        }
        for name in gone {
            map.remove(&name);
        }
        for field in &object.fields {
            if field.presence == Presence::Always && !map.contains_key(&*field.name) {
                let mut value = zero(&field.schema);
                self.built_in(&field.schema, &mut value, &at.field(&field.name), owner);
                map.insert(field.name.to_string(), value);
            }
        }
    }

    fn unknown(&mut self, at: &Step<'_>) {
        if self.unknown.len() < FINDINGS_MAX {
            self.unknown.push(at.dotted());
        }
    }

    fn malformed(&mut self, problem: String) {
        self.malformed.get_or_insert(problem);
    }

    fn is_too_deep(&mut self, at: &Step<'_>) -> bool {
        if at.is_too_deep() {
            self.malformed("exceeded max depth".to_owned());
        }
        at.is_too_deep()
    }

    fn wrong_type(&mut self, schema: &Schema, value: &Value, at: &Step<'_>, owner: &str) {
        // Absent and null are one to Go; nothing is told of them.
        let found = match value {
            Value::Null => return,
            Value::Bool(_) => "bool".to_owned(),
            Value::Number(number) => match schema.resolved().shape {
                Shape::Integer(_) | Shape::IntOrText => format!("number {number}"),
                _ => "number".to_owned(),
            },
            Value::String(_) => "string".to_owned(),
            Value::Array(_) => "array".to_owned(),
            Value::Object(_) => "object".to_owned(),
        };
        let wanted = go_type(schema);
        let place = match at.is_root() {
            true => "Go value".to_owned(),
            false => format!("Go struct field {owner}.{}", at.fields()),
        };
        self.malformed(format!("json: cannot unmarshal {found} into {place} of type {wanted}"));
    }
}

/// `3.0` is the integer 3, and is shown so.
fn whole(number: &mut Number) {
    // Beyond this, numbers of 64 bits cannot be told apart.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    if number.is_f64()
        && let Some(float) = number.as_f64()
        && float.fract() == 0.0
        && float.abs() <= EXACT_MAX
    {
        #[allow(clippy::cast_possible_truncation)] // It is whole and within the bound.
        let integer = float as i64;
        *number = integer.into();
    }
}

fn fits(number: &Number, bits: u8) -> bool {
    match number.as_i64() {
        Some(number) => bits == 64 || i32::try_from(number).is_ok(),
        None => false,
    }
}

pub(crate) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

/// What Go has where nothing was said.
fn zero(schema: &Schema) -> Value {
    match &schema.resolved().shape {
        Shape::Text(Form::Plain) => "".into(),
        Shape::Text(Form::Quantity) => "0".into(),
        Shape::Integer(_) | Shape::Number | Shape::IntOrText => 0.into(),
        Shape::Boolean => false.into(),
        Shape::Object(object) if object.additional.is_none() => {
            Value::Object(serde_json::Map::new())
        }
        _ => Value::Null,
    }
}

/// What the type is called, where it has a name.
fn go_name(schema: &Schema) -> &'static str {
    match schema.shape {
        Shape::Named(id) => builtin::describe(id).name,
        _ => "",
    }
}

fn go_type(schema: &Schema) -> String {
    match &schema.resolved().shape {
        Shape::Any => "interface {}".to_owned(),
        Shape::Text(Form::Bytes) => "[]uint8".to_owned(),
        Shape::Text(_) => "string".to_owned(),
        Shape::Integer(32) => "int32".to_owned(),
        Shape::Integer(_) => "int64".to_owned(),
        Shape::Number => "float64".to_owned(),
        Shape::Boolean => "bool".to_owned(),
        Shape::IntOrText => "intstr.IntOrString".to_owned(),
        Shape::List(list) => format!("[]{}", go_type(&list.items)),
        Shape::Object(object) => match &object.additional {
            Some(each) => format!("map[string]{}", go_type(each)),
            None => match schema.shape {
                Shape::Named(id) => {
                    let builtin::Type { version, name, .. } = builtin::describe(id);
                    format!("{version}.{name}")
                }
                _ => "struct {}".to_owned(),
            },
        },
        Shape::Named(_) => "struct".to_owned(),
    }
}

#[cfg(test)]
mod tests;
