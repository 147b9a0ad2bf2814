//! Strategic merge patch, case by case.

#[allow(dead_code, reason = "each test uses its own part")]
mod support;

use merge::strategic::merge;
use serde_json::{Value, json};
use support::deployment;

fn check(object: Value, patch: Value, expected: Value) {
    let mut patched = object;
    merge(&mut patched, patch.clone(), &deployment()).expect("the patch applies");
    assert_eq!(patched, expected, "{patch}");
}

fn refused(object: Value, patch: Value, expected: &str) {
    let mut patched = object;
    let error = merge(&mut patched, patch, &deployment()).expect_err("the patch is refused");
    assert_eq!(error.to_string(), expected);
}

/// A Deployment's containers.
fn pod(containers: Value) -> Value {
    json!({"spec": {"template": {"spec": {"containers": containers}}}})
}

#[test]
fn maps_merge_and_nulls_delete() {
    check(
        json!({"metadata": {"labels": {"a": "1", "b": "2"}}, "spec": {"replicas": 1}}),
        json!({"metadata": {"labels": {"a": null, "c": "3"}}, "spec": {"replicas": null}}),
        json!({"metadata": {"labels": {"b": "2", "c": "3"}}, "spec": {}}),
    );
}

#[test]
fn lists_without_a_rule_are_replaced() {
    check(
        pod(json!([{"name": "a", "args": ["1", "2"]}])),
        pod(json!([{"name": "a", "args": ["3"]}])),
        pod(json!([{"name": "a", "args": ["3"]}])),
    );
}

#[test]
fn lists_with_a_key_merge_item_by_item() {
    check(
        pod(json!([{"name": "a", "image": "1"}, {"name": "b", "image": "1"}])),
        pod(
            json!([{"name": "b", "image": "2"}, {"name": "c", "env": null}, {"name": "a", "$patch": "delete"}]),
        ),
        pod(json!([{"name": "b", "image": "2"}, {"name": "c"}])),
    );
    check(
        pod(json!([{"name": "a", "ports": [{"containerPort": 1, "name": "x"}]}])),
        pod(
            json!([{"name": "a", "ports": [{"containerPort": 2}, {"containerPort": 1, "name": "y"}]}]),
        ),
        pod(
            json!([{"name": "a", "ports": [{"containerPort": 2}, {"containerPort": 1, "name": "y"}]}]),
        ),
    );
}

#[test]
fn new_items_go_before_items_that_only_the_server_has() {
    check(
        pod(json!([{"name": "a"}, {"name": "b"}])),
        pod(json!([{"name": "c"}])),
        pod(json!([{"name": "c"}, {"name": "a"}, {"name": "b"}])),
    );
}

#[test]
fn an_order_is_kept_and_the_servers_own_items_stay_where_they_are() {
    let patch = |containers: Value, order: Value| {
        json!({"spec": {"template": {"spec": {
            "containers": containers, "$setElementOrder/containers": order,
        }}}})
    };
    check(
        pod(json!([{"name": "a"}, {"name": "injected"}, {"name": "b"}])),
        patch(json!([{"name": "b", "image": "2"}]), json!([{"name": "b"}, {"name": "a"}])),
        pod(json!([{"name": "injected"}, {"name": "b", "image": "2"}, {"name": "a"}])),
    );
    check(
        pod(json!([{"name": "a"}, {"name": "b"}])),
        json!({"spec": {"template": {"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}}}}),
        pod(json!([{"name": "b"}, {"name": "a"}])),
    );
    refused(
        pod(json!([{"name": "a"}])),
        patch(json!([{"name": "a"}, {"name": "c"}]), json!([{"name": "c"}, {"name": "a"}])),
        "The order in patch list:\n[map[name:a] map[name:c]]\n doesn't match $setElementOrder \
         list:\n[map[name:c] map[name:a]]\n",
    );
}

#[test]
fn sets_of_plain_values_unite_and_lose_what_is_named() {
    check(
        json!({"metadata": {"finalizers": ["a", "b"]}}),
        json!({"metadata": {"finalizers": ["c", "b"]}}),
        json!({"metadata": {"finalizers": ["c", "a", "b"]}}),
    );
    check(
        json!({"metadata": {"finalizers": ["a", "b"]}}),
        json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a", "z"]}}),
        json!({"metadata": {"finalizers": ["b"]}}),
    );
    check(
        json!({"metadata": {"finalizers": ["a", "b"]}}),
        json!({"metadata": {
            "$deleteFromPrimitiveList/finalizers": ["a"],
            "$setElementOrder/finalizers": ["c", "b"],
            "finalizers": ["c"],
        }}),
        json!({"metadata": {"finalizers": ["c", "b"]}}),
    );
}

#[test]
fn directives_replace_and_delete_and_never_stay() {
    check(
        json!({"spec": {"strategy": {"type": "x", "rollingUpdate": {"maxSurge": 1}}}}),
        json!({"spec": {"strategy": {"$patch": "replace", "type": "y"}}}),
        json!({"spec": {"strategy": {"type": "y"}}}),
    );
    check(
        json!({"spec": {"strategy": {"type": "x"}}}),
        json!({"spec": {"strategy": {"$patch": "delete"}}}),
        json!({"spec": {"strategy": {}}}),
    );
    check(
        pod(json!([{"name": "a"}, {"name": "b"}])),
        pod(json!([{"$patch": "replace"}, {"name": "c"}])),
        pod(json!([{"name": "c"}])),
    );
    check(
        json!({}),
        json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "x"},
               "template": {"spec": {"$setElementOrder/containers": [{"name": "a"}],
                                     "containers": [{"name": "a"}, {"name": "b", "$patch": "delete"}]}}}}),
        json!({"spec": {"strategy": {"type": "x"}, "template": {"spec": {"containers": [{"name": "a"}]}}}}),
    );
}

#[test]
fn retained_keys_clear_the_other_side_of_a_union() {
    check(
        json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}),
        json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate", "rollingUpdate": null}}}),
        json!({"spec": {"strategy": {"type": "Recreate"}}}),
    );
    refused(
        json!({"spec": {"strategy": {}}}),
        json!({"spec": {"strategy": {"$retainKeys": ["rollingUpdate"], "type": "Recreate"}}}),
        "invalid patch format of retainKeys",
    );
}

#[test]
fn wrong_patches_are_refused_in_kubernetes_words() {
    refused(
        pod(json!([{"name": "a"}])),
        pod(json!([{"image": "x"}])),
        "map: map[image:x] does not contain declared merge key: name",
    );
    refused(
        json!({"spec": {"strategy": {}}}),
        json!({"spec": {"strategy": {"$patch": "merge"}}}),
        "unknown patch type: merge in map: map[$patch:merge]",
    );
    refused(
        pod(json!([{"name": "a"}])),
        pod(json!(["x"])),
        "list element types are not identical: [[map[name:a]] [x]]",
    );
    refused(
        json!({"metadata": {"finalizers": []}}),
        json!({"metadata": {"finalizers": [["a"]]}}),
        "lists of lists are not supported",
    );
    refused(
        json!({"metadata": {"finalizers": ["a"]}}),
        json!({"metadata": {"$deleteFromPrimitiveList": ["a"]}}),
        "invalid patch format of primitive list",
    );
    refused(json!({}), json!([]), "invalid JSON document");
}
