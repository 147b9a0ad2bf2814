//! An object without some of its fields.

use schema::Schema;
use serde_json::{Map, Value};

use crate::{
    fields::Fields,
    shape::{Kind, Known, kind},
};

/// What is left of `object` without `fields`. What had only them goes as a
/// whole.
pub fn remove(object: &Value, fields: &Fields, schema: &Schema) -> Result<Value, String> {
    let left = left(object, fields, Some(schema))?;
    Ok(left.unwrap_or_else(|| Value::Object(Map::new())))
}

fn left(value: &Value, gone: &Fields, known: Known<'_>) -> Result<Option<Value>, String> {
    match (kind(known, value), value) {
        (Kind::Map(map), Value::Object(entries)) if !map.is_atomic() => {
            let mut rest = Map::new();
            for (name, value) in entries {
                let value = match gone.field(name) {
                    Some(node) if node.member => None,
                    Some(node) => left(value, &node.below, map.entry(name).known())?,
                    None => Some(value.clone()),
                };
                rest.extend(value.map(|value| (name.clone(), value)));
            }
            Ok((!rest.is_empty()).then_some(Value::Object(rest)))
        }
        (Kind::List(list), Value::Array(items)) if !list.is_atomic() => {
            let mut rest = Vec::new();
            for (step, item) in list.steps(items)?.iter().zip(items) {
                rest.extend(match gone.node(step) {
                    Some(node) if node.member => None,
                    Some(node) => left(item, &node.below, list.items())?,
                    None => Some(item.clone()),
                });
            }
            Ok((!rest.is_empty()).then_some(Value::Array(rest)))
        }
        (Kind::Scalar, _) => Ok(Some(value.clone())),
        _ => Ok(None),
    }
}
