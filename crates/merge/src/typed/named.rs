//! Sets of fields, seen with the types that they are of.

use schema::Schema;

use crate::{
    fields::{Fields, Node, Step},
    shape::{Entry, Kind, Known, kind},
};

/// The set with the structs' fields that have members below them: who owns
/// `.spec.replicas` has a hand in `.spec`.
#[must_use]
pub fn with_named(fields: &Fields, schema: &Schema) -> Fields {
    named(fields, Some(schema))
}

fn named(fields: &Fields, known: Known<'_>) -> Fields {
    let nodes = fields.nodes().iter().map(|node| {
        let (is_field, below) = child(known, &node.step);
        let member = node.member || (is_field && !node.below.is_empty());
        let below = match node.below.is_empty() {
            true => Fields::default(),
            false => named(&node.below, below),
        };
        Node { step: node.step.clone(), member, below }
    });
    Fields::from_nodes(nodes)
}

/// The set as it is when what was granular has become atomic since: who owned
/// parts of a value owns all of it.
#[must_use]
pub fn reconcile(fields: Fields, schema: &Schema) -> Fields {
    match is_current(&fields, Some(schema)) {
        true => fields,
        false => current(&fields, Some(schema)),
    }
}

fn is_current(fields: &Fields, known: Known<'_>) -> bool {
    known.is_none()
        || fields.nodes().iter().all(|node| {
            let below = child(known, &node.step).1;
            node.below.is_empty() || (!is_atomic(below) && is_current(&node.below, below))
        })
}

fn current(fields: &Fields, known: Known<'_>) -> Fields {
    let nodes = fields.nodes().iter().map(|node| {
        let below = child(known, &node.step).1;
        match is_atomic(below) {
            true => Node { step: node.step.clone(), member: true, below: Fields::default() },
            false => Node { below: current(&node.below, below), ..node.clone() },
        }
    });
    Fields::from_nodes(nodes)
}

fn is_atomic(known: Known<'_>) -> bool {
    match known.map(|known| kind(Some(known), &serde_json::Value::Null)) {
        Some(Kind::Map(map)) => map.is_atomic(),
        Some(Kind::List(list)) => list.is_atomic(),
        Some(Kind::Scalar) | None => false,
    }
}

/// What is known behind `step`, and whether that is a struct's field.
fn child<'a>(known: Known<'a>, step: &Step) -> (bool, Known<'a>) {
    let Some(schema) = known else { return (false, None) };
    match (kind(Some(schema), &serde_json::Value::Null), step.name()) {
        (Kind::Map(map), Some(name)) => match map.entry(name) {
            Entry::Field(field) => (true, Some(&field.schema)),
            entry => (false, entry.known()),
        },
        (Kind::List(list), None) if step.is_key() => (false, list.items()),
        _ => (false, None),
    }
}
