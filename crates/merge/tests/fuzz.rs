//! The fuzz target on objects that are nearly right: random JSON of a
//! Deployment's words.

use proptest::prelude::*;
use serde_json::{Value, json};

fn word() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "metadata",
        "spec",
        "status",
        "labels",
        "finalizers",
        "managedFields",
        "replicas",
        "template",
        "containers",
        "name",
        "ports",
        "containerPort",
        "protocol",
        "env",
        "strategy",
        "$patch",
        "$retainKeys",
        "$setElementOrder/containers",
        "$deleteFromPrimitiveList/finalizers",
        "operation",
        "fieldsV1",
        "f:spec",
        "k:{\"name\":\"a\"}",
        ".",
    ])
    .prop_map(str::to_owned)
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        prop::sample::select(vec!["a", "replace", "delete", "merge", "TCP"]).prop_map(Value::from),
        (0..3_i64).prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(json!({"name": "a"})),
    ];
    leaf.prop_recursive(5, 48, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::btree_map(word(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Containers and labels where they belong.
fn object() -> impl Strategy<Value = Value> {
    (value(), value(), value()).prop_map(|(labels, containers, rest)| {
        json!({
            "metadata": {"name": "a", "labels": labels, "finalizers": rest["finalizers"]},
            "spec": {"template": {"spec": {"containers": [containers, {"name": "a", "env": rest}]}}},
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn no_objects_are_too_much(
        live in prop_oneof![object(), value()],
        patch in prop_oneof![object(), value()],
        applied in prop_oneof![object(), value()],
    ) {
        merge::fuzz::patch(format!("{live}\0{patch}\0{applied}").as_bytes());
    }
}
