//! Which fields an object has: what its applier comes to own.

use std::collections::BTreeSet;

use schema::Schema;
use serde_json::Value;

use crate::{
    fields::{Fields, Node, Step},
    shape::{Entry, Kind, Known, ListOf, kind},
};

pub fn fields_of(object: &Value, schema: &Schema) -> Result<Fields, String> {
    Ok(below(object, Some(schema))?.1)
}

/// Whether the value is a field by itself, and those below it.
fn below(value: &Value, known: Known<'_>) -> Result<(bool, Fields), String> {
    match (kind(known, value), value) {
        (Kind::Scalar, _) => Ok((true, Fields::default())),
        (Kind::Map(map), _) if map.is_atomic() => Ok((true, Fields::default())),
        (Kind::List(list), _) if list.is_atomic() => Ok((true, Fields::default())),
        (Kind::Map(map), Value::Object(entries)) => {
            let mut fields = Fields::default();
            for (name, value) in entries {
                let entry = map.entry(name);
                let (member, below) = below(value, entry.known())?;
                let is_empty = match value {
                    Value::Null => true,
                    Value::Object(map) => map.is_empty(),
                    _ => false,
                };
                let member = member || is_empty || !matches!(entry, Entry::Field(_));
                fields.push(Node { step: Step::field(name), member, below });
            }
            Ok((false, fields))
        }
        (Kind::List(list), Value::Array(items)) => Ok((false, items_of(items, list)?)),
        // Values of another type than their own are owned as they are.
        (_, Value::Null) => Ok((false, Fields::default())),
        _ => Ok((true, Fields::default())),
    }
}

/// Items are fields themselves. Of one that is there twice nothing more is
/// known than that.
fn items_of(items: &[Value], list: ListOf<'_>) -> Result<Fields, String> {
    let steps = list.steps(items)?;
    let mut seen = BTreeSet::new();
    let twice: BTreeSet<&Step> = steps.iter().filter(|step| !seen.insert(*step)).collect();
    let mut nodes = Vec::with_capacity(items.len());
    for (step, item) in steps.iter().zip(items).filter(|(step, _)| !twice.contains(step)) {
        let (_, below) = below(item, list.items())?;
        nodes.push(Node { step: step.clone(), member: true, below });
    }
    let twice = twice.iter().map(|step| Node {
        step: (*step).clone(),
        member: true,
        below: Fields::default(),
    });
    Ok(Fields::from_nodes(nodes.into_iter().chain(twice)))
}
