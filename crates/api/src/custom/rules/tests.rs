//! What rules say of objects, and what is said of rules.

use serde_json::json;

use super::*;
use crate::custom::definition::METADATA;

fn schema(open_api: Value) -> Schema {
    let root = json!({"type": "object", "properties": {"spec": open_api}});
    schema::structural::read(&root, &METADATA)
}

#[track_caller]
fn check(open_api: Value, spec: Value, old: Option<Value>, expected: &[&str]) {
    let old = old.map(|spec| json!({ "spec": spec }));
    let errors = Rules::of(&schema(open_api)).check(&json!({"spec": spec}), old.as_ref());
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(errors, expected);
}

#[track_caller]
fn wrong(open_api: Value, expected: &[(&str, &str)]) {
    let errors = problems(&schema(open_api), "s");
    assert_eq!(errors.len(), expected.len(), "{errors:#?}");
    for (error, (path, detail)) in errors.iter().zip(expected) {
        assert_eq!(error.path, *path);
        assert!(error.detail.contains(detail), "{error}");
    }
}

fn replicas(rule: Value) -> Value {
    json!({"type": "object", "properties": {
        "replicas": {"type": "integer"}, "max": {"type": "integer"}},
        "x-kubernetes-validations": [rule]})
}

#[test]
fn a_rule_that_does_not_hold_is_told_where_and_how_it_says() {
    let spec = json!({"replicas": 3, "max": 2});
    let rule = "self.replicas <= self.max";
    check(replicas(json!({"rule": rule})), json!({"replicas": 1, "max": 2}), None, &[]);
    check(
        replicas(json!({"rule": rule})),
        spec.clone(),
        None,
        &["spec: Invalid value: failed rule: self.replicas <= self.max"],
    );
    check(
        replicas(json!({"rule": rule, "message": "too many", "reason": "FieldValueForbidden",
            "fieldPath": ".replicas"})),
        spec.clone(),
        None,
        &["spec.replicas: Forbidden: too many"],
    );
    check(
        replicas(json!({"rule": rule,
            "messageExpression": "'at most ' + string(self.max)"})),
        spec,
        None,
        &["spec: Invalid value: at most 2"],
    );
    check(
        replicas(json!({"rule": rule})),
        json!({"max": 2}),
        None,
        &[concat!(
            r#"spec: Invalid value: "object": no such key: replicas evaluating rule: "#,
            "self.replicas <= self.max"
        )],
    );
    check(
        json!({"type": "string", "x-kubernetes-validations": [
            {"rule": "self.startsWith('a')", "message": "no a"}]}),
        json!("b"),
        None,
        &[r#"spec: Invalid value: "b": no a"#],
    );
}

#[test]
fn transitions_are_judged_by_what_was_before() {
    let fixed = json!({"type": "string", "x-kubernetes-validations": [
        {"rule": "self == oldSelf", "message": "is immutable"}]});
    check(fixed.clone(), json!("a"), None, &[]);
    check(fixed.clone(), json!("a"), Some(json!("a")), &[]);
    check(fixed, json!("b"), Some(json!("a")), &[r#"spec: Invalid value: "b": is immutable"#]);
    let optional = json!({"type": "integer", "x-kubernetes-validations": [
        {"rule": "!oldSelf.hasValue() || self >= oldSelf.value()", "optionalOldSelf": true,
            "message": "goes down"}]});
    check(optional.clone(), json!(1), None, &[]);
    check(optional, json!(1), Some(json!(2)), &["spec: Invalid value: 1: goes down"]);
}

#[test]
fn what_an_update_leaves_alone_is_forgiven() {
    let list = json!({"type": "array", "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"], "items": {"type": "object",
        "properties": {"name": {"type": "string"}, "n": {"type": "integer"}},
        "x-kubernetes-validations": [{"rule": "self.n < 5", "message": "too much"}]}});
    let old = json!([{"name": "a", "n": 9}, {"name": "b", "n": 9}]);
    check(list.clone(), old.clone(), Some(old.clone()), &[]);
    check(
        list,
        json!([{"name": "b", "n": 9}, {"name": "a", "n": 8}]),
        Some(old),
        &["spec[1]: Invalid value: too much"],
    );
}

#[test]
fn rules_that_cannot_be_are_refused_with_the_definition() {
    wrong(
        replicas(json!({"rule": "self.nothing"})),
        &[(
            "s.properties[spec].x-kubernetes-validations[0].rule",
            "compilation failed: ERROR: <input>:1:5: undefined field 'nothing'",
        )],
    );
    wrong(
        replicas(json!({"rule": "self.replicas"})),
        &[(
            "s.properties[spec].x-kubernetes-validations[0].rule",
            "cel expression must evaluate to a bool",
        )],
    );
    let nested = json!({"type": "array", "items": {"type": "array", "items": {
        "type": "string", "x-kubernetes-validations": [{"rule": "self.contains('a')"}]}}});
    let errors = problems(&schema(nested), "s");
    let first = errors.first().expect("it costs too much").to_string();
    assert!(first.contains("estimated rule cost exceeds budget by factor of"), "{first}");
    let set = json!({"type": "array", "maxItems": 5, "items": {"type": "string",
        "maxLength": 9, "x-kubernetes-validations": [{"rule": "self == oldSelf"}]}});
    wrong(
        set,
        &[(
            "s.properties[spec].items.x-kubernetes-validations[0].rule",
            "oldSelf cannot be used on the uncorrelatable portion of the schema within \
             s.properties[spec]",
        )],
    );
}
