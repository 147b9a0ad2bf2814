//! Schemas as OpenAPI documents say them, in both versions.

use std::{collections::BTreeSet, sync::Arc};

use schema::{
    Checks, Field, Form, List, ListKind, Object, Schema, Shape, builtin,
    openapi::{Components, Version},
};
use serde_json::{Map, Value, json};

fn pod(version: Version) -> Map<String, Value> {
    let mut components = Components::new(version);
    components.refer(builtin::find("core.v1.Pod").expect("a built-in type"));
    components.finish(|_| Map::new())
}

/// Every `$ref` below `value`.
fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("$ref").and_then(Value::as_str));
            members.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn a_document_carries_exactly_what_its_references_need() {
    for (version, prefix) in
        [(Version::V2, "#/definitions/"), (Version::V3, "#/components/schemas/")]
    {
        let made = Value::Object(pod(version));
        let mut wanted = BTreeSet::new();
        references(&made, &mut wanted);
        let named: BTreeSet<String> = wanted
            .iter()
            .map(|name| name.replace(prefix, ""))
            .chain(["io.k8s.api.core.v1.Pod".into()])
            .collect();
        let had: BTreeSet<String> = made.as_object().expect("an object").keys().cloned().collect();
        assert_eq!(had, named);
    }
}

#[test]
fn what_kubernetes_says_beside_types_is_said() {
    let made = Value::Object(pod(Version::V3));
    let spec = &made["io.k8s.api.core.v1.PodSpec"];
    let containers = &spec["properties"]["containers"];
    assert_eq!(spec["required"], json!(["containers"]));
    assert_eq!(containers["x-kubernetes-list-type"], "map");
    assert_eq!(containers["x-kubernetes-list-map-keys"], json!(["name"]));
    assert_eq!(containers["x-kubernetes-patch-strategy"], "merge");
    assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
    let volumes = &spec["properties"]["volumes"];
    assert_eq!(volumes["x-kubernetes-patch-strategy"], "merge,retainKeys");
    let limits = &made["io.k8s.api.core.v1.ResourceRequirements"]["properties"]["limits"];
    let quantity = "#/components/schemas/io.k8s.apimachinery.pkg.api.resource.Quantity";
    assert_eq!(limits["additionalProperties"], json!({ "$ref": quantity }));
    let selector = &made["io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector"];
    assert_eq!(selector["x-kubernetes-map-type"], "atomic");
}

fn custom(version: Version) -> Value {
    let of = |shape| Arc::new(Schema::of(shape));
    let field = |name: &str, schema: Arc<Schema>| Field {
        name: name.into(),
        required: true,
        schema,
        ..Field::default()
    };
    let text = || of(Shape::Text(Form::Plain));
    let checked = Schema {
        default: Some("a".into()),
        checks: Some(Box::new(Checks {
            values: vec!["a".into(), "b".into()],
            pattern: Some("^[ab]$".into()),
            ..Checks::default()
        })),
        ..Schema::of(Shape::Text(Form::Plain))
    };
    let nullable = Schema { nullable: true, ..Schema::of(Shape::Integer(64)) };
    let open = Object { open: true, fields: vec![field("known", text())], ..Object::default() };
    let list = List { items: text(), kind: ListKind::Set };
    let object = Object {
        fields: vec![
            field("checked", checked.into()),
            field("maybe", nullable.into()),
            field("open", of(Shape::Object(open))),
            field("set", of(Shape::List(list))),
            field("port", of(Shape::IntOrText)),
        ],
        ..Object::default()
    };
    let mut components = Components::new(version);
    components.add_custom("dev.x.v1.Sample", &Schema::of(Shape::Object(object)), Map::new());
    let mut made = components.finish(|_| Map::new())["dev.x.v1.Sample"].clone();
    let properties = made["properties"].as_object_mut().expect("properties");
    for every in ["apiVersion", "kind", "metadata"] {
        assert!(properties.remove(every).is_some(), "{every}");
    }
    made
}

#[test]
fn custom_kinds_say_everything_in_place() {
    assert_eq!(
        custom(Version::V3),
        json!({
            "type": "object",
            "required": ["checked", "maybe", "open", "set", "port"],
            "properties": {
                "checked": {
                    "type": "string", "default": "a", "enum": ["a", "b"], "pattern": "^[ab]$",
                },
                "maybe": { "type": "integer", "nullable": true },
                "open": {
                    "type": "object",
                    "required": ["known"],
                    "properties": { "known": { "type": "string" } },
                    "x-kubernetes-preserve-unknown-fields": true,
                },
                "set": {
                    "type": "array",
                    "items": { "type": "string" },
                    "x-kubernetes-list-type": "set",
                },
                "port": { "x-kubernetes-int-or-string": true },
            },
        })
    );
}

#[test]
fn version_2_leaves_out_what_old_clients_cannot_read() {
    let made = custom(Version::V2);
    assert_eq!(made["required"], json!(["checked", "open", "set", "port"]));
    let checked = json!({ "type": "string", "enum": ["a", "b"], "pattern": "^[ab]$" });
    assert_eq!(made["properties"]["checked"], checked);
    assert_eq!(made["properties"]["maybe"], json!({}));
    let open = json!({ "x-kubernetes-preserve-unknown-fields": true });
    assert_eq!(made["properties"]["open"], open);
}
