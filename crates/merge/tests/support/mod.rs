//! Small schemas of the shapes that matter, in the words of Kubernetes.

use std::sync::Arc;

use schema::{Field, Form, List, ListKind, Object, PatchRule, Schema, Shape};

pub fn text() -> Schema {
    Schema::of(Shape::Text(Form::Plain))
}

pub fn int() -> Schema {
    Schema::of(Shape::Integer(32))
}

pub fn any() -> Schema {
    Schema::default()
}

pub fn object(fields: Vec<Field>) -> Schema {
    Schema::of(Shape::Object(Object { fields, ..Object::default() }))
}

pub fn atomic(fields: Vec<Field>) -> Schema {
    Schema::of(Shape::Object(Object { fields, atomic: true, ..Object::default() }))
}

pub fn map(values: Schema) -> Schema {
    let additional = Some(Arc::new(values));
    Schema::of(Shape::Object(Object { additional, ..Object::default() }))
}

pub fn list(items: Schema) -> Schema {
    Schema::of(Shape::List(List { items: Arc::new(items), kind: ListKind::Atomic }))
}

pub fn set(items: Schema) -> Schema {
    Schema::of(Shape::List(List { items: Arc::new(items), kind: ListKind::Set }))
}

pub fn keyed(keys: &[&str], items: Schema) -> Schema {
    let kind = ListKind::Map(keys.iter().map(|key| Arc::from(*key)).collect());
    Schema::of(Shape::List(List { items: Arc::new(items), kind }))
}

pub fn defaulted(schema: Schema, default: impl Into<serde_json::Value>) -> Schema {
    Schema { default: Some(default.into()), ..schema }
}

pub fn field(name: &str, schema: Schema) -> Field {
    let (name, schema) = (Arc::from(name), Arc::new(schema));
    Field { name, schema, ..Field::default() }
}

/// A field whose list strategic merge merges: by `key`, or as a set.
pub fn merged(name: &str, key: Option<&str>, schema: Schema) -> Field {
    let key = key.map(Arc::from);
    let patch = Some(PatchRule { merge: true, retain_keys: false, key });
    Field { patch, ..field(name, schema) }
}

/// What matters of a Deployment.
pub fn deployment() -> Schema {
    let port = object(vec![
        field("containerPort", int()),
        field("protocol", defaulted(text(), "TCP")),
        field("name", text()),
    ]);
    let env = object(vec![field("name", text()), field("value", text())]);
    let container = object(vec![
        field("name", text()),
        field("image", text()),
        field("args", list(text())),
        merged("env", Some("name"), keyed(&["name"], env)),
        merged("ports", Some("containerPort"), keyed(&["containerPort", "protocol"], port)),
        field("resources", object(vec![field("limits", map(text()))])),
    ]);
    let pod = object(vec![
        merged("containers", Some("name"), keyed(&["name"], container)),
        field(
            "nodeSelector",
            Schema::of(Shape::Object(Object {
                additional: Some(Arc::new(text())),
                atomic: true,
                ..Object::default()
            })),
        ),
        field("restartPolicy", text()),
    ]);
    let template = object(vec![field("metadata", metadata()), field("spec", pod)]);
    let strategy = object(vec![
        field("type", text()),
        field("rollingUpdate", object(vec![field("maxSurge", Schema::of(Shape::IntOrText))])),
    ]);
    let retain = Some(PatchRule { merge: false, retain_keys: true, key: None });
    let spec = object(vec![
        field("replicas", int()),
        field("paused", Schema::of(Shape::Boolean)),
        field("selector", atomic(vec![field("matchLabels", map(text()))])),
        Field { patch: retain, ..field("strategy", strategy) },
        field("template", template),
    ]);
    let condition = object(vec![field("type", text()), field("status", text())]);
    let status = object(vec![
        field("replicas", int()),
        merged("conditions", Some("type"), keyed(&["type"], condition)),
    ]);
    object(vec![
        field("apiVersion", text()),
        field("kind", text()),
        field("metadata", metadata()),
        field("spec", spec),
        field("status", status),
    ])
}

pub fn config_map() -> Schema {
    object(vec![
        field("apiVersion", text()),
        field("kind", text()),
        field("metadata", metadata()),
        field("data", map(text())),
        field("immutable", Schema::of(Shape::Boolean)),
    ])
}

pub fn metadata() -> Schema {
    let owner = object(vec![field("uid", text()), field("name", text())]);
    object(vec![
        field("name", text()),
        field("namespace", text()),
        field("uid", text()),
        field("resourceVersion", text()),
        field("generation", Schema::of(Shape::Integer(64))),
        field("creationTimestamp", Schema::of(Shape::Text(Form::Time))),
        field("labels", map(text())),
        field("annotations", map(text())),
        merged("finalizers", None, set(text())),
        merged("ownerReferences", Some("uid"), keyed(&["uid"], owner)),
        field("managedFields", list(any())),
    ])
}
