//! Strategic merge patch, for Kubernetes' own kinds: maps merge, nulls delete,
//! and lists whose items have an identity are merged item by item.
//!
//! Directives: `$patch: delete|replace|merge`, `$deleteFromPrimitiveList/…`;
//! `$setElementOrder/…` orders what was merged, `$retainKeys` clears unions.

use serde_json::{Map, Value};

/// Lists of objects and the field that tells their items apart. Keyed by the
/// list's own name, which is enough for the kinds that are served; `ports` of
/// a container and `conditions` of anything are the same everywhere.
const KEYED: [(&str, &[&str]); 18] = [
    ("containers", &["name"]),
    ("initContainers", &["name"]),
    ("ephemeralContainers", &["name"]),
    ("containerStatuses", &["name"]),
    ("volumes", &["name"]),
    ("volumeMounts", &["mountPath"]),
    ("volumeDevices", &["devicePath"]),
    ("env", &["name"]),
    ("ports", &["containerPort"]),
    ("imagePullSecrets", &["name"]),
    ("hostAliases", &["ip"]),
    ("topologySpreadConstraints", &["topologyKey"]),
    ("resourceClaims", &["name"]),
    ("ownerReferences", &["uid"]),
    ("conditions", &["type"]),
    ("addresses", &["type"]),
    ("podIPs", &["ip"]),
    ("hostIPs", &["ip"]),
];

/// Lists of plain values that are sets.
const SETS: [&str; 2] = ["finalizers", "podCIDRs"];

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const ORDER: &str = "$setElementOrder/";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";

/// Applies `patch` to `object`.
pub fn merge(object: &mut Value, patch: &Value) -> Result<(), String> {
    match (&mut *object, patch) {
        (Value::Object(map), Value::Object(patch)) => merge_map(map, patch),
        (_, patch) => {
            *object = strip(patch);
            Ok(())
        }
    }
}

fn merge_map(map: &mut Map<String, Value>, patch: &Map<String, Value>) -> Result<(), String> {
    match patch.get(PATCH).map(|directive| directive.as_str().unwrap_or_default()) {
        None | Some("merge") => {}
        Some("replace") => {
            *map = strip_map(patch);
            return Ok(());
        }
        Some("delete") => {
            map.clear();
            return Ok(());
        }
        Some(other) => return Err(format!("Unknown patch type: {other:?}")),
    }
    if let Some(retained) = patch.get(RETAIN_KEYS).and_then(Value::as_array) {
        map.retain(|key, _| retained.iter().any(|one| one == key));
    }
    for (key, value) in patch {
        if let Some(list) = key.strip_prefix(DELETE_FROM) {
            let gone = value.as_array().ok_or_else(|| format!("{key}: must be a list"))?;
            if let Some(items) = map.get_mut(list).and_then(Value::as_array_mut) {
                items.retain(|item| !gone.contains(item));
            }
        } else if key.starts_with('$') {
            continue;
        } else if value.is_null() {
            map.remove(key);
        } else {
            merge_field(map, key, value)?;
        }
    }
    for (key, order) in patch {
        if let Some(list) = key.strip_prefix(ORDER)
            && let (Some(items), Some(order)) =
                (map.get_mut(list).and_then(Value::as_array_mut), order.as_array())
        {
            sort(items, order, merge_keys(list));
        }
    }
    Ok(())
}

fn merge_field(map: &mut Map<String, Value>, key: &str, patch: &Value) -> Result<(), String> {
    let present = map.entry(key).or_insert(Value::Null);
    let keys = merge_keys(key);
    match (&mut *present, patch) {
        (Value::Object(_), Value::Object(_)) => merge(present, patch)?,
        (Value::Null, Value::Object(_)) => {
            *present = Value::Object(Map::new());
            merge(present, patch)?;
        }
        (Value::Array(items), Value::Array(patch)) if !keys.is_empty() => {
            merge_list(items, patch, keys, key)?;
        }
        (Value::Null, Value::Array(patch)) if !keys.is_empty() => {
            let mut items = Vec::new();
            merge_list(&mut items, patch, keys, key)?;
            *present = Value::Array(items);
        }
        (Value::Array(items), Value::Array(patch)) if SETS.contains(&key) => {
            for item in patch {
                if !items.contains(item) {
                    items.push(item.clone());
                }
            }
        }
        (_, patch) => *present = strip(patch),
    }
    Ok(())
}

fn merge_keys(list: &str) -> &'static [&'static str] {
    KEYED.iter().find(|(name, _)| *name == list).map_or(&[], |(_, keys)| keys)
}

fn merge_list(
    items: &mut Vec<Value>,
    patch: &[Value],
    keys: &[&str],
    list: &str,
) -> Result<(), String> {
    // Items without the key cannot be told apart: the list is replaced whole.
    let keyed = |item: &Value| keys.iter().all(|key| !item[*key].is_null());
    let replace = patch.iter().any(|item| item[PATCH] == "replace");
    if replace || !items.iter().all(keyed) {
        *items = patch
            .iter()
            .filter(|item| item[PATCH] != "replace" || keyed(item))
            .map(strip)
            .collect();
        return Ok(());
    }
    for item in patch {
        if !item.is_object() || !keyed(item) {
            return Err(format!(
                "map: {item} does not contain declared merge key: {}, in list {list:?}",
                keys.join(",")
            ));
        }
        let same = |one: &Value| keys.iter().all(|key| one[*key] == item[*key]);
        let present = items.iter().position(same);
        match (present, item[PATCH] == "delete") {
            (Some(_), true) => items.retain(|one| !same(one)),
            (None, true) => {}
            (Some(index), false) => merge(&mut items[index], item)?,
            (None, false) => {
                let mut new = Value::Object(Map::new());
                merge(&mut new, item)?;
                items.push(new);
            }
        }
    }
    Ok(())
}

/// Items named in `order` come in that order, in the places where such items
/// stand; the others keep theirs.
fn sort(items: &mut [Value], order: &[Value], keys: &[&str]) {
    let rank = |item: &Value| {
        order.iter().position(|one| match keys {
            [] => one == item,
            keys => keys.iter().all(|key| one[*key] == item[*key]),
        })
    };
    let places: Vec<usize> = (0..items.len()).filter(|at| rank(&items[*at]).is_some()).collect();
    let mut sorted: Vec<Value> = places.iter().map(|at| items[*at].take()).collect();
    sorted.sort_by_key(|item| rank(item));
    for (at, item) in places.into_iter().zip(sorted) {
        items[at] = item;
    }
}

/// The value without directives and nulls.
fn strip(patch: &Value) -> Value {
    match patch {
        Value::Object(map) => Value::Object(strip_map(map)),
        Value::Array(list) => Value::Array(list.iter().map(strip).collect()),
        other => other.clone(),
    }
}

fn strip_map(map: &Map<String, Value>) -> Map<String, Value> {
    let kept = map.iter().filter(|(key, value)| !key.starts_with('$') && !value.is_null());
    kept.map(|(key, value)| (key.clone(), strip(value))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(object: Value, patch: Value, expected: Value) {
        let mut patched = object;
        merge(&mut patched, &patch).expect("the patch applies");
        assert_eq!(patched, expected, "{patch}");
    }

    #[test]
    fn maps_merge_and_nulls_delete() {
        check(
            json!({"a": {"b": 1, "c": 2}, "l": [1, 2]}),
            json!({"a": {"b": null, "d": 3}, "l": [3]}),
            json!({"a": {"c": 2, "d": 3}, "l": [3]}),
        );
    }

    #[test]
    fn lists_with_identities_merge_item_by_item() {
        check(
            json!({"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]}),
            json!({"containers": [{"name": "b", "image": "2"}, {"name": "c"}, {"name": "a", "$patch": "delete"}]}),
            json!({"containers": [{"name": "b", "image": "2"}, {"name": "c"}]}),
        );
        check(
            json!({"containers": [{"name": "a", "ports": [{"containerPort": 1}]}]}),
            json!({"containers": [{"name": "a", "ports": [{"containerPort": 2}]}],
                   "$setElementOrder/containers": [{"name": "a"}]}),
            json!({"containers": [{"name": "a", "ports": [{"containerPort": 1}, {"containerPort": 2}]}]}),
        );
        check(
            json!({"conditions": [{"type": "A"}, {"type": "B"}]}),
            json!({"conditions": [{"type": "C"}], "$setElementOrder/conditions": [{"type": "C"}, {"type": "A"}]}),
            json!({"conditions": [{"type": "C"}, {"type": "B"}, {"type": "A"}]}),
        );
    }

    #[test]
    fn directives_replace_delete_and_never_stay() {
        check(
            json!({"a": {"b": 1}}),
            json!({"a": {"$patch": "replace", "c": 2}}),
            json!({"a": {"c": 2}}),
        );
        check(
            json!({"env": [{"name": "a"}]}),
            json!({"env": [{"$patch": "replace"}, {"name": "b"}]}),
            json!({"env": [{"name": "b"}]}),
        );
        check(
            json!({"finalizers": ["a", "b"]}),
            json!({"finalizers": ["c"], "$deleteFromPrimitiveList/finalizers": ["a"]}),
            json!({"finalizers": ["b", "c"]}),
        );
        check(
            json!({"strategy": {"a": 1, "type": "x"}}),
            json!({"strategy": {"type": "y", "$retainKeys": ["type"]}}),
            json!({"strategy": {"type": "y"}}),
        );
    }

    #[test]
    fn items_without_their_key_are_refused() {
        let mut object = json!({"containers": [{"name": "a"}]});
        assert!(merge(&mut object, &json!({"containers": [{"image": "x"}]})).is_err());
        assert!(merge(&mut object, &json!({"containers": [1]})).is_err());
    }
}
