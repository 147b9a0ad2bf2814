//! What is wrong with values, word for word.

use serde_json::json;

use super::*;
use crate::testing::custom;

/// What is wrong with `spec` by the schema of it.
#[track_caller]
fn check(schema: Value, spec: Value, expected: &[&str]) {
    let schema = custom(json!({"type": "object", "properties": {"spec": schema}}));
    let errors = schema.check(&json!({"spec": spec}), None);
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(errors, expected);
}

#[test]
fn types_are_told_in_kubernetes_words() {
    let string = json!({"type": "string"});
    check(string.clone(), json!("a"), &[]);
    check(
        string.clone(),
        json!(1),
        &[r#"spec: Invalid value: "integer": spec in body must be of type string: "integer""#],
    );
    check(
        json!({"type": "integer"}),
        json!("a"),
        &[r#"spec: Invalid value: "string": spec in body must be of type integer: "string""#],
    );
    check(json!({"type": "integer"}), json!(3.0), &[]);
    check(
        json!({"type": "integer"}),
        json!(1.5),
        &[r#"spec: Invalid value: "number": spec in body must be of type integer: "number""#],
    );
    check(
        string,
        json!(null),
        &[r#"spec: Invalid value: "null": spec in body must be of type string: "null""#],
    );
    check(json!({"type": "string", "nullable": true}), json!(null), &[]);
    check(
        json!({"x-kubernetes-int-or-string": true}),
        json!(true),
        &[concat!(
            r#"spec: Invalid value: "boolean": spec in body must be of type integer,string: "#,
            r#""boolean""#
        )],
    );
    check(
        json!({"type": "integer", "format": "int32"}),
        json!(3_000_000_000_u64),
        &[concat!(
            r#"<nil>: Invalid value: "": Checked value must be of type integer with format "#,
            "int32 in spec"
        )],
    );
    check(
        json!({"type": "string", "format": "date"}),
        json!("x"),
        &[r#"spec: Invalid value: "x": spec in body must be of type date: "x""#],
    );
    check(json!({"type": "string", "format": "unheard-of"}), json!("x"), &[]);
}

#[test]
fn values_are_judged_by_every_rule() {
    check(
        json!({"type": "string", "enum": ["A", "B"]}),
        json!("C"),
        &[r#"spec: Unsupported value: "C": supported values: "A", "B""#],
    );
    check(
        json!({"type": "string", "pattern": "^a$"}),
        json!("b"),
        &[r#"spec: Invalid value: "b": spec in body should match '^a$'"#],
    );
    check(
        json!({"type": "string", "minLength": 2}),
        json!("é"),
        &[r#"spec: Invalid value: "é": spec in body should be at least 2 chars long"#],
    );
    check(
        json!({"type": "string", "maxLength": 1, "pattern": "^$"}),
        json!("ab"),
        &["spec: Too long: may not be more than 1 byte"],
    );
    check(
        json!({"type": "integer", "minimum": 1, "maximum": 3}),
        json!(0),
        &["spec: Invalid value: 0: spec in body should be greater than or equal to 1"],
    );
    check(
        json!({"type": "integer", "maximum": 3, "exclusiveMaximum": true}),
        json!(3),
        &["spec: Invalid value: 3: spec in body should be less than 3"],
    );
    check(
        json!({"type": "number", "multipleOf": 0.1}),
        json!(0.35),
        &["spec: Invalid value: 0.35: spec in body should be a multiple of 0.1"],
    );
    check(json!({"type": "number", "multipleOf": 0.1}), json!(0.3), &[]);
    check(
        json!({"type": "array", "items": {"type": "string"}, "maxItems": 1}),
        json!(["a", "b"]),
        &["spec: Too many: 2: must have at most 1 item"],
    );
    check(
        json!({"type": "array", "items": {"type": "string"}, "minItems": 1}),
        json!([]),
        &["spec: Invalid value: 0: spec in body should have at least 1 items"],
    );
    check(
        json!({"type": "object", "additionalProperties": {"type": "string"}, "minProperties": 1}),
        json!({}),
        &["spec: Invalid value: 0: spec in body should have at least 1 properties"],
    );
    check(
        json!({"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}}),
        json!({}),
        &["spec.a: Required value"],
    );
}

#[test]
fn joined_clauses_tell_the_one_that_fits_best() {
    let clauses = json!([
        {"required": ["a"]},
        {"required": ["b"], "properties": {"b": {"minimum": 2}}},
    ]);
    let properties = json!({"a": {"type": "integer"}, "b": {"type": "integer"}});
    let schema = |name: &str| {
        let mut schema = json!({"type": "object", "properties": properties});
        schema[name] = clauses.clone();
        schema
    };
    check(schema("anyOf"), json!({"a": 1}), &[]);
    check(
        schema("anyOf"),
        json!({"b": 1}),
        &[
            r#"<nil>: Invalid value: "": "spec" must validate at least one schema (anyOf)"#,
            "spec.b: Invalid value: 1: spec.b in body should be greater than or equal to 2",
        ],
    );
    check(
        schema("oneOf"),
        json!({"a": 1, "b": 2}),
        &[concat!(
            r#"<nil>: Invalid value: "": "spec" must validate one and only one schema (oneOf). "#,
            "Found 2 valid alternatives"
        )],
    );
    check(
        schema("allOf"),
        json!({"b": 2}),
        &[
            "spec.a: Required value",
            r#"<nil>: Invalid value: "": "spec" must validate all the schemas (allOf)"#,
        ],
    );
    check(
        json!({"type": "string", "not": {"enum": ["a"]}}),
        json!("a"),
        &[r#"<nil>: Invalid value: "": "spec" must not validate the schema (not)"#],
    );
    check(
        json!({"x-kubernetes-int-or-string": true,
            "anyOf": [{"type": "integer"}, {"type": "string"}]}),
        json!("a"),
        &[],
    );
}

#[test]
fn lists_by_key_and_sets_have_no_twins() {
    check(
        json!({"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"}),
        json!(["a", "b", "a", "a"]),
        &[r#"spec[2]: Duplicate value: "a""#],
    );
    let map = json!({
        "type": "array", "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["port", "protocol"],
        "items": {"type": "object", "properties": {
            "port": {"type": "integer"}, "protocol": {"type": "string"}}},
    });
    check(
        map,
        json!([{"port": 1, "protocol": "a"}, {"port": 1}, {"port": 1, "protocol": "a"}]),
        &[r#"spec[2]: Duplicate value: {"port":1,"protocol":"a"}"#],
    );
}

#[test]
fn embedded_objects_say_what_they_are() {
    check(
        json!({"type": "object", "x-kubernetes-embedded-resource": true,
            "x-kubernetes-preserve-unknown-fields": true}),
        json!({"apiVersion": "a/b/c", "metadata": {}}),
        &[
            r#"spec.apiVersion: Invalid value: "a/b/c": unexpected GroupVersion string: a/b/c"#,
            "spec.kind: Required value",
        ],
    );
}

#[test]
fn what_an_update_leaves_alone_stays_valid() {
    let schema = custom(json!({"type": "object", "properties": {
        "spec": {"type": "object", "required": ["new"], "properties": {
            "a": {"type": "string", "maxLength": 1},
            "b": {"type": "string", "maxLength": 1},
            "items": {"type": "array", "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"], "items": {"type": "object",
                    "properties": {"name": {"type": "string"},
                        "n": {"type": "integer", "maximum": 1}}}},
            "set": {"type": "array", "x-kubernetes-list-type": "set",
                "items": {"type": "string"}},
        }},
    }}));
    let old = json!({"spec": {"a": "long", "b": "x", "set": ["a", "a"],
        "items": [{"name": "p", "n": 5}, {"name": "q", "n": 5}]}});
    let paths = |new: &Value| -> Vec<String> {
        schema.check(new, Some(&old)).into_iter().map(|error| error.path).collect()
    };
    assert_eq!(paths(&old), [""; 0]);
    let new = json!({"spec": {"a": "long", "b": "too", "set": ["b", "b"],
        "items": [{"name": "q", "n": 5}, {"name": "p", "n": 6}]}});
    assert_eq!(paths(&new), ["spec.b", "spec.items[1].n", "spec.new"]);
}

#[test]
fn names_may_be_restricted_by_a_crd() {
    let schema = custom(json!({"type": "object", "properties": {
        "metadata": {"type": "object", "properties": {
            "name": {"type": "string", "maxLength": 3}}},
    }}));
    let errors = schema.check(&json!({"metadata": {"name": "long", "labels": {}}}), None);
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(errors, ["metadata.name: Too long: may not be more than 3 bytes"]);
}
