//! Defaults: what a field is when nothing was said.

use serde_json::Value;

use crate::{Presence, Schema, Shape, look::is_empty};

// === impl Schema ===

impl Schema {
    /// Fills in defaults; a second time changes nothing. Where null is no value,
    /// it counts as absent, and so does a zero where a kind cannot tell the two
    /// apart.
    pub fn fill(&self, value: &mut Value) {
        match (&self.resolved().shape, value) {
            (Shape::Object(object), Value::Object(map)) => {
                for (name, value) in map.iter_mut() {
                    if let Some(schema) = object.schema_of(name) {
                        fill_present(schema, value);
                    }
                }
                for field in &object.fields {
                    let blank = |value: &Value| match field.presence {
                        Presence::Kept => false,
                        Presence::Sparse | Presence::Always => is_empty(value),
                    };
                    if let Some(default) = &field.schema.default
                        && map.get(&*field.name).is_none_or(blank)
                    {
                        let mut value = default.clone();
                        field.schema.fill(&mut value);
                        map.insert(field.name.to_string(), value);
                    }
                }
            }
            (Shape::List(list), Value::Array(items)) => {
                for item in items {
                    fill_present(&list.items, item);
                }
            }
            _ => {}
        }
    }
}

fn fill_present(schema: &Schema, value: &mut Value) {
    if value.is_null()
        && !schema.nullable
        && let Some(default) = &schema.default
    {
        *value = default.clone();
    }
    schema.fill(value);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::{
        Field,
        testing::{custom, field, object},
    };

    #[test]
    fn defaults_fill_what_is_absent_at_every_depth_and_only_once() {
        let schema = custom(json!({"type": "object", "properties": {
            "replicas": {"type": "integer", "default": 1},
            "mode": {"type": "string", "default": "a", "nullable": true},
            "port": {"type": "object", "default": {}, "properties": {
                "name": {"type": "string", "default": "http"},
            }},
            "rules": {"type": "array", "items": {"type": "object", "properties": {
                "weight": {"type": "integer", "default": 10},
            }}},
            "byName": {"type": "object", "additionalProperties": {"type": "object", "properties": {
                "weight": {"type": "integer", "default": 10},
            }}},
        }}));
        let mut object = json!({"replicas": null, "mode": null, "rules": [{}, {"weight": 1}],
            "byName": {"a": {}}});
        schema.fill(&mut object);
        let expected = json!({"replicas": 1, "mode": null, "port": {"name": "http"},
            "rules": [{"weight": 10}, {"weight": 1}], "byName": {"a": {"weight": 10}}});
        assert_eq!(object, expected);
        schema.fill(&mut object);
        assert_eq!(object, expected);
    }

    #[test]
    fn a_number_that_is_always_written_is_filled_where_it_is_zero() {
        let number = |name: &str, presence: Presence, default: u64| {
            let schema = Schema { default: Some(default.into()), ..Schema::of(Shape::Integer(32)) };
            Field { presence, schema: Arc::new(schema), ..field(name, Shape::Any) }
        };
        let schema = Schema::of(object(vec![
            number("always", Presence::Always, 64),
            number("sparse", Presence::Sparse, 10),
            number("kept", Presence::Kept, 1),
        ]));
        let mut value = json!({"always": 0, "sparse": 0, "kept": 0});
        schema.fill(&mut value);
        assert_eq!(value, json!({"always": 64, "sparse": 10, "kept": 0}));
    }
}
