//! What a look drops, names and normalises.

use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::{
    Field, List, ListKind,
    testing::{custom, field, object},
};

fn text() -> Shape {
    Shape::Text(Form::Plain)
}

fn list(items: Shape) -> Shape {
    Shape::List(List { items: Arc::new(Schema::of(items)), kind: ListKind::Atomic })
}

/// What a look at a built-in object of `fields` makes of `value`.
fn built_in(fields: Vec<Field>, value: Value) -> (Value, Findings) {
    let mut value = value;
    let mut findings = Findings::default();
    findings.built_in(&Schema::of(object(fields)), &mut value, &Step::ROOT, "");
    (value, findings)
}

#[test]
fn custom_objects_are_pruned_and_each_path_is_named() {
    let schema = custom(json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {
            "a": {"type": "string"},
            "kept": {"x-kubernetes-preserve-unknown-fields": true, "type": "object"},
            "list": {"type": "array", "items": {"type": "object", "properties": {}}},
            "map": {"type": "object", "additionalProperties": {"type": "object"}},
        }},
    }}));
    let mut value = json!({
        "apiVersion": "a/v1", "kind": "A", "metadata": {"name": "a"}, "extra": 1,
        "spec": {"a": 1, "b": 2, "kept": {"x": {"y": 1}}, "list": [{}, {"c": 3}],
            "map": {"k": {"d": 4}}},
    });
    let findings = schema.look(&mut value);
    let expected = ["extra", "spec.b", "spec.list[1].c", "spec.map.k.d"];
    assert_eq!(findings.unknown, expected);
    assert_eq!(findings.malformed, None, "types of custom objects are checked later");
    let expected = json!({
        "apiVersion": "a/v1", "kind": "A", "metadata": {"name": "a"},
        "spec": {"a": 1, "kept": {"x": {"y": 1}}, "list": [{}, {}], "map": {"k": {}}},
    });
    assert_eq!(value, expected);
    assert!(schema.look(&mut value).is_empty());
}

#[test]
fn a_null_of_a_custom_object_stays_where_it_says_something() {
    let schema = custom(json!({"type": "object", "properties": {
        "gone": {"type": "string"},
        "kept": {"type": "string", "nullable": true},
        "defaulted": {"type": "string", "default": "a"},
    }}));
    let mut value = json!({"gone": null, "kept": null, "defaulted": null});
    assert!(schema.look(&mut value).is_empty());
    assert_eq!(value, json!({"kept": null, "defaulted": null}));
    schema.fill(&mut value);
    assert_eq!(value, json!({"kept": null, "defaulted": "a"}));
}

#[test]
fn built_in_types_are_read_strictly_in_the_words_of_gos_decoder() {
    let check = |shape: Shape, value: Value, expected: &str| {
        let (_, findings) = built_in(vec![field("x", shape)], json!({"x": value}));
        let malformed = findings.malformed.unwrap_or_default();
        assert!(malformed.contains(expected), "{malformed}");
    };
    check(text(), json!(1), "json: cannot unmarshal number into Go struct field");
    check(text(), json!(1), ".x of type string");
    check(Shape::Integer(32), json!("1"), "cannot unmarshal string into");
    check(Shape::Integer(32), json!(1.5), "cannot unmarshal number 1.5 into");
    check(Shape::Integer(32), json!(3_000_000_000_u64), "cannot unmarshal number 3000000000");
    check(list(text()), json!({}), "cannot unmarshal object into");
    check(list(text()), json!([[]]), "cannot unmarshal array into");
    check(Shape::Text(Form::Quantity), json!("x"), "quantities must match");
    check(Shape::Text(Form::Time), json!("x"), "parsing time");
    check(Shape::Text(Form::Bytes), json!("#"), "illegal base64");
}

#[test]
fn built_in_objects_are_stored_as_go_would_write_them() {
    let kept = field("kept", Shape::Integer(32));
    let sparse = Field { presence: Presence::Sparse, ..field("sparse", Shape::Integer(32)) };
    let always =
        Field { presence: Presence::Always, ..field("always", object(vec![field("a", text())])) };
    let quantity = field("quantity", Shape::Text(Form::Quantity));
    let args = field("args", list(text()));
    let fields = vec![kept, sparse, always, quantity, args, field("at", Shape::Text(Form::Time))];
    let (value, findings) = built_in(
        fields,
        json!({"kept": 0, "sparse": 0, "quantity": 0.5, "args": ["a", null], "at": null,
            "extra": {}}),
    );
    assert_eq!(findings.unknown, ["extra"]);
    assert_eq!(findings.malformed, None);
    let expected = json!({"kept": 0, "always": {}, "quantity": "500m", "args": ["a", ""]});
    assert_eq!(value, expected);
}

#[test]
fn findings_and_depth_are_bounded() {
    let schema = custom(json!({"type": "object"}));
    let many = (0..1000).map(|i| (format!("f{i:04}"), json!(1)));
    let mut value = Value::Object(many.collect());
    assert_eq!(schema.look(&mut value).unknown.len(), FINDINGS_MAX);
    assert_eq!(value, json!({}), "all go, though not all are told");

    let mut schema = Schema::default();
    let mut value = json!(1);
    for _ in 0..400 {
        schema = Schema::of(object(vec![Field {
            name: "a".into(),
            schema: Arc::new(schema),
            ..Field::default()
        }]));
        value = json!({"a": value});
    }
    let mut findings = Findings::default();
    findings.built_in(&schema, &mut value, &Step::ROOT, "");
    assert_eq!(findings.malformed.as_deref(), Some("exceeded max depth"));
}

/// What a look at a built-in kind says of an object.
fn look(kind: &str, mut value: Value) -> (Value, Findings) {
    let schema = Schema::of(Shape::Named(builtin::find(kind).expect("it is built in")));
    let findings = schema.look(&mut value);
    (value, findings)
}

#[test]
fn a_type_error_in_a_pod_names_the_struct_around_it() {
    let (_, findings) = look(
        "core.v1.Pod",
        json!({"spec": {"containers": [{"name": "a", "ports": [{"containerPort": "80"}]}]}}),
    );
    assert_eq!(
        findings.malformed.as_deref(),
        Some(
            "json: cannot unmarshal string into Go struct field \
             ContainerPort.spec.containers.ports.containerPort of type int32"
        )
    );
    let (_, findings) = look("core.v1.ConfigMap", json!({"metadata": {"labels": {"a": 1}}}));
    assert_eq!(
        findings.malformed.as_deref(),
        Some(
            "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of \
             type string"
        )
    );
    let (_, findings) = look("core.v1.Pod", json!({"spec": {"containers": {}}}));
    assert_eq!(
        findings.malformed.as_deref(),
        Some(
            "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type \
             []v1.Container"
        )
    );
}

#[test]
fn a_pod_keeps_what_it_has_and_loses_what_it_cannot_have() {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "a", "creationTimestamp": null, "labels": {"x": "y"}},
        "spec": {"containers": [{"name": "a", "image": "b", "colour": 1,
            "resources": {"limits": {"cpu": 2, "memory": "1024Mi"}}}]},
    });
    let (pod, findings) = look("core.v1.Pod", pod);
    assert_eq!(findings.unknown, ["spec.containers[0].colour"]);
    assert_eq!(pod["metadata"]["labels"]["x"], "y");
    let limits = &pod["spec"]["containers"][0]["resources"]["limits"];
    assert_eq!(limits, &json!({"cpu": "2", "memory": "1Gi"}));
}

/// `cargo test --release -- --ignored --nocapture` shows what a look costs.
#[test]
#[ignore = "a measurement"]
#[allow(clippy::disallowed_methods)] // It is one.
fn cost_of_a_look() {
    let data: serde_json::Map<String, Value> =
        (0..8).map(|i| (format!("key-{i}"), json!("x".repeat(60)))).collect();
    let config = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "a", "namespace": "b", "labels": {"app": "a"}}, "data": data});
    let container = json!({"name": "a", "image": "nginx:1.25", "ports": [{"containerPort": 80}],
        "env": [{"name": "A", "value": "b"}, {"name": "C", "value": "d"}],
        "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}},
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        "livenessProbe": {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 10}});
    let pod = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "a", "namespace": "b", "labels": {"app": "a"}},
        "spec": {"containers": [container.clone(), container],
            "volumes": [{"name": "data", "emptyDir": {}}]}});
    for (kind, value) in [("core.v1.ConfigMap", config), ("core.v1.Pod", pod)] {
        let schema = Schema::of(Shape::Named(builtin::find(kind).expect("it is built in")));
        let mut value = value;
        assert!(schema.look(&mut value).is_empty());
        schema.fill(&mut value);
        let rounds = 20_000_u32;
        let (mut look, mut fill, mut check) = (0, 0, 0);
        for _ in 0..rounds {
            let at = std::time::Instant::now();
            assert!(schema.look(&mut value).is_empty());
            look += at.elapsed().as_nanos();
            let at = std::time::Instant::now();
            schema.fill(&mut value);
            fill += at.elapsed().as_nanos();
            let at = std::time::Instant::now();
            assert!(schema.check(&value, None).is_empty());
            check += at.elapsed().as_nanos();
        }
        let each = |nanos: u128| nanos / u128::from(rounds);
        let bytes = value.to_string().len();
        eprintln!(
            "{kind} {bytes} B: look {} ns, fill {} ns, check {} ns",
            each(look),
            each(fill),
            each(check)
        );
    }
}
