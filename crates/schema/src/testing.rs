//! Short cuts of this crate's tests.

use std::sync::Arc;

use serde_json::Value;

use crate::{Field, Object, Schema, Shape, structural};

/// A custom kind's schema whose metadata may be anything.
pub(crate) fn custom(open_api: Value) -> Schema {
    structural::read(&open_api, &Arc::new(Schema::of(Shape::Any)))
}

pub(crate) fn field(name: &str, shape: Shape) -> Field {
    Field { name: name.into(), schema: Arc::new(Schema::of(shape)), ..Field::default() }
}

pub(crate) fn object(fields: Vec<Field>) -> Shape {
    Shape::Object(Object { fields, ..Object::default() })
}
