//! A schema as OpenAPI 3.0.

use serde_json::{Map, Value, json};

use super::{Schema, Shape};

// === impl Schema ===

impl Schema {
    pub fn to_openapi(&self) -> Value {
        let mut node = match &self.shape {
            Shape::Object(fields) => {
                let properties: Map<String, Value> = fields
                    .iter()
                    .map(|field| (field.name.to_owned(), field.schema.to_openapi()))
                    .collect();
                let required: Vec<&str> =
                    fields.iter().filter(|field| field.required).map(|field| field.name).collect();
                let mut node = json!({ "type": "object", "properties": properties });
                if !required.is_empty() {
                    node["required"] = json!(required);
                }
                node
            }
            Shape::Map(each) => {
                json!({ "type": "object", "additionalProperties": each.to_openapi() })
            }
            Shape::List(each) => json!({ "type": "array", "items": each.to_openapi() }),
            Shape::Text | Shape::Form(_) => json!({ "type": "string" }),
            Shape::OneOf(values) => json!({ "type": "string", "enum": values }),
            Shape::Integer => json!({ "type": "integer", "format": "int64" }),
            Shape::Boolean => json!({ "type": "boolean" }),
            Shape::IntOrText => json!({
                "x-kubernetes-int-or-string": true,
                "anyOf": [{ "type": "integer" }, { "type": "string" }],
            }),
            Shape::Any => {
                json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
            }
        };
        if !self.about.is_empty() {
            node["description"] = self.about.into();
        }
        node
    }
}
