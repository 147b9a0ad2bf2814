//! What holds of any objects: applying twice is applying once, and managers
//! that do not touch the same fields do not notice each other.

#[allow(dead_code, reason = "each test uses its own part")]
mod support;

use merge::{
    apply::{self, Managed, Share, Write, track},
    fields::Fields,
    typed,
};
use proptest::prelude::*;
use schema::Schema;
use serde_json::{Map, Value, json};

fn text() -> impl Strategy<Value = Value> {
    prop::sample::select(vec!["x", "y"]).prop_map(Value::from)
}

/// Some of these fields. Never none: an empty list is nobody's, and does not
/// come back once it went.
fn map(names: &'static [&'static str], value: BoxedStrategy<Value>) -> BoxedStrategy<Value> {
    let entry = (prop::sample::select(names), value);
    prop::collection::vec(entry, 1..=names.len())
        .prop_map(|entries| {
            Value::Object(
                entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            )
        })
        .boxed()
}

fn keyed(value: BoxedStrategy<Value>, names: &'static [&'static str]) -> BoxedStrategy<Value> {
    map(names, value)
        .prop_map(|items| {
            let items = items.as_object().cloned().unwrap_or_default().into_iter();
            let named = |(name, mut item): (String, Value)| {
                item["name"] = name.into();
                item
            };
            Value::Array(items.map(named).collect())
        })
        .boxed()
}

/// Objects of a Deployment's shape. `names` is what labels and containers of
/// this one are called.
fn object(names: &'static [&'static str]) -> impl Strategy<Value = Value> {
    let env = keyed(map(&["value"], text().boxed()), &["E", "F"]);
    let container = (map(&["image"], text().boxed()), prop::option::of(env)).prop_map(
        |(mut container, env)| {
            if let Some(env) = env {
                container["env"] = env;
            }
            container
        },
    );
    let labels = map(names, text().boxed());
    let containers = keyed(container.boxed(), names);
    (labels, containers).prop_map(|(labels, containers)| {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "labels": labels},
            "spec": {"template": {"spec": {"containers": containers}}},
        })
    })
}

fn write<'a>(schema: &'a Schema, manager: &'a str, time: &'a str) -> Write<'a> {
    let (api_version, kind) = ("apps/v1", "Deployment");
    Write { schema, api_version, kind, subresource: "", share: Share::Whole, manager, time }
}

fn apply(live: Option<&Value>, patch: &Value, manager: &str) -> Value {
    let schema = support::deployment();
    apply::apply(live, patch, &write(&schema, manager, "2026-01-01T00:00:00Z"), true)
        .expect("forced")
}

/// The object as it is but for the order of its lists' items.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().map(sorted).collect();
            items.sort_by_key(Value::to_string);
            Value::Array(items)
        }
        Value::Object(map) => {
            let entries = map.iter().map(|(name, value)| (name.clone(), sorted(value)));
            Value::Object(entries.collect::<Map<_, _>>())
        }
        other => other.clone(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn applying_twice_is_applying_once(
        first in object(&["a", "b", "c"]),
        second in object(&["a", "b", "c"]),
    ) {
        let live = apply(None, &first, "one");
        let once = apply(Some(&live), &second, "one");
        let twice = apply(Some(&once), &second, "one");
        prop_assert_eq!(&once, &twice);
        // Alone, one gets what it applies and no more.
        let fresh = apply(None, &second, "one");
        let has = |object: &Value| {
            let mut object = object.clone();
            object["metadata"]["managedFields"].take();
            typed::fields_of(&object, &support::deployment()).expect("it is of its type")
        };
        prop_assert_eq!(has(&fresh), has(&once));
    }

    #[test]
    fn managers_of_different_fields_may_come_in_any_order(
        mine in object(&["a", "b"]),
        theirs in object(&["c", "d"]),
    ) {
        let one = apply(Some(&apply(None, &mine, "mine")), &theirs, "theirs");
        let other = apply(Some(&apply(None, &theirs, "theirs")), &mine, "mine");
        prop_assert_eq!(sorted(&one), sorted(&other));
    }

    #[test]
    fn what_is_merged_has_what_was_applied_and_loses_nothing(
        live in object(&["a", "b", "c"]),
        patch in object(&["a", "b", "c"]),
    ) {
        let schema = support::deployment();
        let merged = typed::merge(&live, &patch, &schema).expect("they are of their type");
        let fields = |object: &Value| typed::fields_of(object, &schema).expect("of its type");
        let lost = fields(&live).union(&fields(&patch)).difference(&fields(&merged));
        // An empty map that got something is none any more.
        let mut empty = Fields::default();
        for path in [&["metadata", "labels"][..], &["spec", "template", "spec", "containers"]] {
            empty = empty.union(&Fields::of(&[path]));
        }
        prop_assert_eq!(lost.difference(&empty), Fields::default());
        let again = typed::merge(&merged, &patch, &schema).expect("they are of their type");
        prop_assert_eq!(again, merged);
    }

    #[test]
    fn after_an_update_nobody_owns_what_is_not_there(
        first in object(&["a", "b", "c"]),
        second in object(&["a", "b", "c"]),
        third in object(&["a", "b", "c"]),
    ) {
        let schema = support::deployment();
        let live = apply(Some(&apply(None, &first, "one")), &second, "two");
        let mut new = third;
        track(Some(&live), &mut new, &write(&schema, "hand", "2026-01-01T00:00:01Z"));
        let managed = Managed::of(Some(&new)).expect("we wrote it");
        let there = {
            let mut object = new.clone();
            object["metadata"]["managedFields"].take();
            typed::fields_of(&object, &schema).expect("it is of its type")
        };
        let there = typed::with_named(&there, &schema);
        for (manager, fields) in managed.iter() {
            let gone = fields.difference(&there);
            prop_assert_eq!(gone, Fields::default(), "{}", manager);
        }
    }
}
