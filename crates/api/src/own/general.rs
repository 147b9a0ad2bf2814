//! Our own descriptions in the general form, for everything that works on
//! kinds of any origin: merging, ownership of fields, OpenAPI, protobuf.

use std::sync::Arc;

use schema::{Checks, Field, Form, List, ListKind, Object, Schema, builtin};
use serde_json::Value;

use super::Shape;

// === impl Schema ===

impl super::Schema {
    pub fn general(&self) -> Schema {
        let text = || schema::Shape::Text(Form::Plain);
        let shape = match &self.shape {
            Shape::Object(fields) => schema::Shape::Object(Object {
                fields: fields.iter().map(field).collect(),
                ..Object::default()
            }),
            Shape::Map(each) => schema::Shape::Object(Object {
                additional: Some(Arc::new(each.general())),
                ..Object::default()
            }),
            Shape::List(each) => schema::Shape::List(List {
                items: Arc::new(each.general()),
                kind: ListKind::Atomic,
            }),
            Shape::Text | Shape::Form(_) | Shape::OneOf(_) => text(),
            Shape::Integer => schema::Shape::Integer(64),
            Shape::Boolean => schema::Shape::Boolean,
            Shape::IntOrText => schema::Shape::IntOrText,
            Shape::Any => schema::Shape::Any,
        };
        let checks = match &self.shape {
            Shape::OneOf(values) => Some(Box::new(Checks {
                values: values.iter().map(|value| Value::from(*value)).collect(),
                ..Checks::default()
            })),
            _ => None,
        };
        Schema { about: self.about.into(), shape, checks, ..Schema::default() }
    }
}

fn field(field: &super::Field) -> Field {
    let schema = match field.name {
        "metadata" => Schema {
            about: field.schema.about.into(),
            shape: schema::Shape::Named(object_meta()),
            ..Schema::default()
        },
        _ => field.schema.general(),
    };
    Field {
        name: field.name.into(),
        required: field.required,
        schema: Arc::new(schema),
        ..Field::default()
    }
}

/// The metadata of every object.
pub fn object_meta() -> schema::TypeId {
    builtin::find("meta.v1.ObjectMeta").expect("a built-in type")
}
