//! From OpenAPI v3 to a schema. Never fails: what the rules refuse is read as
//! far as it makes sense, so that a CRD from before a rule goes on to work.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::{
    Checks, Clause, Field, Form, Junctors, List, ListKind, Object, Schema, Shape, clause::texts,
};

/// Of schemas in schemas. Deeper values could not be read anyway.
const DEPTH_MAX: usize = 128;

/// The schema of whole objects. `metadata` is that of built-in kinds: it is no
/// business of a CRD, except for the form of names.
#[must_use]
pub fn read(open_api: &Value, metadata: &Arc<Schema>) -> Schema {
    let mut schema = match open_api {
        Value::Object(map) => node(map, metadata, 0),
        _ => Schema::default(),
    };
    // A schema without type keeps everything; it is an object all the same.
    if !matches!(schema.shape, Shape::Object(_)) {
        schema.shape = Shape::Object(Object { open: true, ..Object::default() });
    }
    if let Shape::Object(object) = &mut schema.shape {
        let embedded = object.embedded;
        whole(object, metadata);
        object.embedded = embedded;
    }
    schema
}

pub(super) fn node(map: &Map<String, Value>, metadata: &Arc<Schema>, depth: usize) -> Schema {
    let flag = |name: &str| map.get(name).and_then(Value::as_bool).unwrap_or_default();
    let child = |value: &Value| match value {
        Value::Object(map) if depth < DEPTH_MAX => node(map, metadata, depth + 1),
        _ => Schema::default(),
    };
    let properties = map.get("properties").and_then(Value::as_object);
    let shape = match map.get("type").and_then(Value::as_str).unwrap_or_default() {
        _ if flag("x-kubernetes-int-or-string") => Shape::IntOrText,
        "string" => Shape::Text(Form::Plain),
        "integer" if map.get("format").and_then(Value::as_str) == Some("int32") => {
            Shape::Integer(32)
        }
        "integer" => Shape::Integer(64),
        "number" => Shape::Number,
        "boolean" => Shape::Boolean,
        "array" => Shape::List(List {
            items: Arc::new(map.get("items").map(child).unwrap_or_default()),
            kind: list_kind(map),
        }),
        kind if kind == "object" || properties.is_some() => {
            let required = texts(map.get("required"));
            let fields = properties.into_iter().flatten().map(|(name, value)| Field {
                name: name.as_str().into(),
                required: required.iter().any(|required| **required == *name),
                schema: Arc::new(child(value)),
                ..Field::default()
            });
            let mut fields: Vec<Field> = fields.collect();
            // A name may be demanded that only an open object can have.
            for name in required {
                if !fields.iter().any(|field| field.name == name) {
                    fields.push(Field { name, required: true, ..Field::default() });
                }
            }
            let additional = match map.get("additionalProperties") {
                Some(Value::Bool(true)) => Some(Arc::new(Schema::default())),
                Some(schema @ Value::Object(_)) => Some(Arc::new(child(schema))),
                _ => None,
            };
            let mut object = Object {
                fields,
                additional,
                open: flag("x-kubernetes-preserve-unknown-fields"),
                atomic: map.get("x-kubernetes-map-type").and_then(Value::as_str) == Some("atomic"),
                embedded: flag("x-kubernetes-embedded-resource"),
            };
            if object.embedded {
                whole(&mut object, metadata);
            }
            Shape::Object(object)
        }
        _ => Shape::Any,
    };
    Schema {
        about: map.get("description").and_then(Value::as_str).unwrap_or_default().into(),
        shape,
        nullable: flag("nullable"),
        default: map.get("default").filter(|default| !default.is_null()).cloned(),
        checks: Checks::read(map).map(Box::new),
    }
}

fn list_kind(map: &Map<String, Value>) -> ListKind {
    match map.get("x-kubernetes-list-type").and_then(Value::as_str) {
        Some("set") => ListKind::Set,
        Some("map") => ListKind::Map(texts(map.get("x-kubernetes-list-map-keys"))),
        _ => ListKind::Atomic,
    }
}

/// Adds what every object has, before all else.
fn whole(object: &mut Object, metadata: &Arc<Schema>) {
    let (mut kind, mut version, mut meta) = (None, None, None);
    for field in std::mem::take(&mut object.fields) {
        match &*field.name {
            "kind" => kind = Some(field),
            "apiVersion" => version = Some(field),
            "metadata" => meta = Some(field),
            _ => object.fields.push(field),
        }
    }
    let text = |name: &str, told: Option<Field>| {
        let schema = Arc::new(Schema::of(Shape::Text(Form::Plain)));
        told.unwrap_or_else(|| Field { name: name.into(), schema, ..Field::default() })
    };
    let names = meta.as_ref().and_then(|field| name_rules(&field.schema));
    let schema = match names {
        None => metadata.clone(),
        Some(clause) => {
            let junctors = Junctors { implied: vec![clause], ..Junctors::default() };
            let checks = Checks { junctors: Some(Box::new(junctors)), ..Checks::default() };
            Arc::new(Schema { checks: Some(Box::new(checks)), ..(**metadata).clone() })
        }
    };
    let meta = Field {
        name: "metadata".into(),
        required: meta.is_some_and(|field| field.required),
        schema,
        ..Field::default()
    };
    object.fields.splice(0..0, [text("apiVersion", version), text("kind", kind), meta]);
}

/// Rules for `name` and `generateName`, as clauses: the type is known.
fn name_rules(metadata: &Schema) -> Option<Clause> {
    let Shape::Object(object) = &metadata.shape else { return None };
    let rules = object.fields.iter().filter_map(|field| {
        let checks = field.schema.checks.as_deref()?.clone();
        Some((field.name.clone(), Clause { checks, ..Clause::default() }))
    });
    let fields: Vec<_> = rules.collect();
    (!fields.is_empty()).then(|| Clause { fields, ..Clause::default() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::custom;

    #[test]
    fn every_object_has_its_frame_and_fields_their_types() {
        let schema = custom(json!({"type": "object", "properties": {
            "spec": {"type": "object", "required": ["a"], "properties": {
                "a": {"type": "integer", "format": "int32"},
                "b": {"x-kubernetes-int-or-string": true},
                "c": {"type": "array", "items": {"type": "string"},
                    "x-kubernetes-list-type": "set"},
                "d": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                "e": {"x-kubernetes-preserve-unknown-fields": true},
                "f": {"type": "object", "additionalProperties": {"type": "number"}},
            }},
        }}));
        let Shape::Object(root) = &schema.shape else { panic!("{schema:?}") };
        let names: Vec<&str> = root.fields.iter().map(|field| &*field.name).collect();
        assert_eq!(names, ["apiVersion", "kind", "metadata", "spec"]);
        let spec = &root.field("spec").expect("it is there").schema;
        let Shape::Object(spec) = &spec.shape else { panic!("{spec:?}") };
        let shape = |name: &str| &spec.field(name).expect("it is there").schema.shape;
        assert_eq!(shape("a"), &Shape::Integer(32));
        assert!(spec.field("a").expect("it is there").required);
        assert_eq!(shape("b"), &Shape::IntOrText);
        assert!(matches!(shape("c"), Shape::List(List { kind: ListKind::Set, .. })));
        assert!(matches!(shape("d"), Shape::Object(Object { open: true, .. })));
        assert_eq!(shape("e"), &Shape::Any);
        assert!(matches!(shape("f"), Shape::Object(Object { additional: Some(_), .. })));
    }

    #[test]
    fn nonsense_is_read_as_something() {
        for odd in [json!(null), json!([]), json!({"type": 1}), json!({"type": "array"})] {
            assert!(matches!(custom(odd).shape, Shape::Object(_)));
        }
    }
}
