//! Schemas that are refused, and why.

use serde_json::json;

use super::*;
use crate::Shape;

#[track_caller]
fn check(schema: Value, expected: &[&str]) {
    let metadata = Arc::new(Schema::of(Shape::Any));
    let errors = judge(&schema, "s", false, &metadata);
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(errors, expected);
}

/// A schema with one property `a`.
fn with(property: Value) -> Value {
    json!({"type": "object", "properties": {"a": property}})
}

#[test]
fn types_are_told_everywhere_and_only_once() {
    check(with(json!({"type": "string"})), &[]);
    check(json!({}), &["s.type: Required value: must not be empty at the root"]);
    check(
        json!({"type": "array", "items": {"type": "string"}}),
        &[r#"s.type: Invalid value: "array": must be object at the root"#],
    );
    check(
        with(json!({})),
        &["s.properties[a].type: Required value: must not be empty for specified object fields"],
    );
    check(
        with(json!({"type": "array", "items": {}})),
        &[concat!(
            "s.properties[a].items.type: Required value: must not be empty for specified array ",
            "items"
        )],
    );
    check(
        with(json!({"type": "array"})),
        &["s.properties[a].items: Required value: must be specified"],
    );
    check(
        with(json!({"type": "integer", "anyOf": [{"type": "integer", "minimum": 1}]})),
        &["s.properties[a].anyOf[0].type: Forbidden: must be empty to be structural"],
    );
    check(
        with(json!({"x-kubernetes-int-or-string": true,
            "anyOf": [{"type": "integer"}, {"type": "string"}]})),
        &[],
    );
    check(
        json!({"type": "object", "anyOf": [{"properties": {"b": {"minimum": 1}}}]}),
        &["s.properties[b]: Required value: because it is defined in s.anyOf[0].properties[b]"],
    );
    check(
        with(json!({"type": "floof"})),
        &[concat!(
            r#"s.properties[a].type: Unsupported value: "floof": supported values: "array", "#,
            r#""boolean", "integer", "number", "object", "string""#
        )],
    );
}

#[test]
fn what_pruning_could_not_follow_is_forbidden() {
    check(
        json!({"type": "object", "additionalProperties": {"type": "string"}}),
        &["s.additionalProperties: Forbidden: must not be used at the root"],
    );
    check(
        with(json!({"type": "object", "properties": {"b": {"type": "string"}},
            "additionalProperties": {"type": "string"}})),
        &[concat!(
            "s.properties[a].additionalProperties: Forbidden: additionalProperties and ",
            "properties are mutual exclusive"
        )],
    );
    check(
        with(json!({"type": "string", "$ref": "#/x"})),
        &["s.properties[a].$ref: Forbidden: $ref is not supported"],
    );
    check(
        with(json!({"type": "array", "items": {"type": "string"}, "uniqueItems": true})),
        &[concat!(
            "s.properties[a].uniqueItems: Forbidden: uniqueItems cannot be set to true since the ",
            "runtime complexity becomes quadratic"
        )],
    );
    check(
        with(json!({"type": "object", "x-kubernetes-embedded-resource": true})),
        &[concat!(
            "s.properties[a].properties: Required value: must not be empty if ",
            "x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields"
        )],
    );
    check(
        with(json!({"type": "string", "pattern": "("})),
        &[concat!(
            r#"s.properties[a].pattern: Invalid value: "(": must be a valid regular expression, "#,
            "but isn't: error parsing regexp: unclosed group: `(`"
        )],
    );
}

#[test]
fn metadata_is_the_servers_but_for_names() {
    let root = |metadata: Value| json!({"type": "object", "properties": {"metadata": metadata}});
    check(root(json!({"type": "object"})), &[]);
    check(
        root(json!({"type": "object", "properties": {"name": {"type": "string",
            "pattern": "^a$"}}})),
        &[],
    );
    check(
        root(json!({"type": "object", "properties": {"labels": {"type": "object"}}})),
        &[concat!(
            "s.properties[metadata]: Forbidden: must not specify anything other than name and ",
            "generateName, but metadata is implicitly specified"
        )],
    );
}

#[test]
fn defaults_are_valid_and_known_values() {
    check(with(json!({"type": "integer", "default": 1})), &[]);
    check(
        with(json!({"type": "integer", "default": "x"})),
        &[concat!(
            r#"s.properties[a].default: Invalid value: "string":  in body must be of type "#,
            r#"integer: "string""#
        )],
    );
    check(
        with(json!({"type": "object", "properties": {"b": {"type": "integer", "minimum": 1}},
            "default": {"b": 0, "c": 1}})),
        &[
            concat!(
                r#"s.properties[a].default: Invalid value: {"b":0,"c":1}: must not have unknown "#,
                "fields"
            ),
            concat!(
                "s.properties[a].default.b: Invalid value: 0: b in body should be greater than ",
                "or equal to 1"
            ),
        ],
    );
    check(
        json!({"type": "object", "properties": {"kind": {"type": "string", "default": "A"}}}),
        &["s.properties[kind].default: Forbidden: must not be set in top-level kind"],
    );
}

#[test]
fn lists_by_key_have_keys_that_are_always_there() {
    let list = |keys: Value, item: Value| {
        with(json!({"type": "array", "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": keys, "items": item}))
    };
    let item = json!({"type": "object", "required": ["n"],
        "properties": {"n": {"type": "string"}, "m": {"type": "string"},
            "o": {"type": "object"}}});
    check(list(json!(["n"]), item.clone()), &[]);
    check(
        list(json!(["m"]), item.clone()),
        &[concat!(
            "s.properties[a].items.properties[m].default: Required value: this property is in ",
            "x-kubernetes-list-map-keys, so it must have a default or be a required property"
        )],
    );
    check(
        list(json!(["x"]), item.clone()),
        &[concat!(
            r#"s.properties[a].x-kubernetes-list-map-keys: Invalid value: ["x"]: entries must "#,
            "all be names of item properties"
        )],
    );
    check(
        list(json!([]), item),
        &[concat!(
            "s.properties[a].x-kubernetes-list-map-keys: Required value: must not be empty if ",
            "x-kubernetes-list-type is map"
        )],
    );
    check(
        with(json!({"type": "array", "x-kubernetes-list-type": "set",
            "items": {"type": "object", "properties": {}}})),
        &[concat!(
            "s.properties[a].items.x-kubernetes-map-type: Invalid value: null: must be atomic as ",
            "item of a list with x-kubernetes-list-type=set"
        )],
    );
}

#[test]
fn a_kind_with_a_status_has_no_junctors_at_the_root() {
    let metadata = Arc::new(Schema::of(Shape::Any));
    let schema = json!({"type": "object", "anyOf": [{"required": ["a"]}]});
    let errors = judge(&schema, "s", true, &metadata);
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].detail.starts_with("only [Description Type Format"), "{errors:?}");
}

#[test]
fn a_schema_without_end_is_refused() {
    let mut deep = json!({"type": "string"});
    for _ in 0..200 {
        deep = with(deep);
    }
    check(deep, &["s: Forbidden: the schema is too large or too deep"]);
}

#[test]
fn rules_have_a_frame() {
    check(
        with(json!({"type": "object", "properties": {"b": {"type": "string"}},
        "x-kubernetes-validations": [
            {"rule": " "},
            {"rule": "true", "reason": "Odd", "fieldPath": ".c"},
            {"rule": "a\n", "message": "x\ny"},
        ]})),
        &[
            "s.properties[a].x-kubernetes-validations[0].rule: Required value: rule is not \
             specified",
            concat!(
                r#"s.properties[a].x-kubernetes-validations[1].reason: Unsupported value: "Odd": "#,
                r#"supported values: "FieldValueDuplicate", "FieldValueForbidden", "#,
                r#""FieldValueInvalid", "FieldValueRequired""#
            ),
            concat!(
                r#"s.properties[a].x-kubernetes-validations[1].fieldPath: Invalid value: ".c": "#,
                "must be a valid path"
            ),
            concat!(
                r#"s.properties[a].x-kubernetes-validations[2].message: Invalid value: "x\ny": "#,
                "must not contain line breaks"
            ),
        ],
    );
}
