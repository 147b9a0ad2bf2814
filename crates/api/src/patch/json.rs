//! JSON patches (RFC 6902) as Kubernetes takes them: a value that is left out
//! is null, and what is not there is null to a `test`. Controllers look with
//! that whether anybody else has written a list before they begin one.

use json_patch::PatchOperation;
use serde_json::Value;

use super::{DEPTH_MAX, OPERATIONS_MAX, RESULT_BYTES_MAX, size};
use crate::failure::Failure;

/// From a list of operations.
pub fn parse(mut value: Value) -> Result<json_patch::Patch, Failure> {
    for operation in value.as_array_mut().into_iter().flatten() {
        let takes_value = matches!(operation["op"].as_str(), Some("add" | "replace" | "test"));
        if let Some(fields) = operation.as_object_mut().filter(|_| takes_value) {
            fields.entry("value").or_insert(Value::Null);
        }
    }
    let patch: json_patch::Patch = serde_json::from_value(value)
        .map_err(|error| Failure::bad_request(format!("JSON patch: {error}")))?;
    match patch.len() {
        0..=OPERATIONS_MAX => Ok(patch),
        len => Err(Failure::too_large(format!(
            "The allowed maximum operations in a JSON patch is {OPERATIONS_MAX}, got {len}"
        ))),
    }
}

/// Leaves `object` half changed when it fails. Each value is looked at before it
/// is put in: a few operations could make more of themselves than memory or a
/// stack holds.
pub fn change(object: &mut Value, patch: &json_patch::Patch) -> Result<(), Failure> {
    let mut carried = 0;
    for operation in patch.iter() {
        if holds_of_nothing(object, operation) {
            continue;
        }
        let nothing = Value::Null;
        let at = |from: &str| object.pointer(from).unwrap_or(&nothing);
        let (value, is_carried) = match operation {
            PatchOperation::Add(add) => (&add.value, false),
            PatchOperation::Replace(replace) => (&replace.value, false),
            PatchOperation::Copy(copy) => (at(copy.from.as_str()), true),
            PatchOperation::Move(moved) => (at(moved.from.as_str()), true),
            PatchOperation::Remove(_) | PatchOperation::Test(_) => (&nothing, false),
        };
        if is_carried {
            carried += size(value);
            check_size(carried, "copied and moved by the patch")?;
        }
        let above = operation.path().as_str().matches('/').count();
        if above + depth(value) > DEPTH_MAX {
            return Err(Failure::too_large(format!(
                "the patched object is deeper than {DEPTH_MAX} levels"
            )));
        }
        json_patch::patch(object, std::slice::from_ref(operation))
            .map_err(|error| Failure::rejected(&error.to_string()))?;
    }
    check_size(size(object), "the patched object")
}

fn check_size(bytes: usize, what: &str) -> Result<(), Failure> {
    match bytes > RESULT_BYTES_MAX {
        true => Err(Failure::too_large(format!("{what}: more than {RESULT_BYTES_MAX} bytes"))),
        false => Ok(()),
    }
}

/// Lists and objects within each other.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// A test for null of what an object does not have.
fn holds_of_nothing(object: &Value, operation: &PatchOperation) -> bool {
    let PatchOperation::Test(test) = operation else { return false };
    let path = test.path.as_str();
    let above = path.rsplit_once('/').and_then(|(above, _)| object.pointer(above));
    test.value.is_null() && above.is_some_and(Value::is_object) && object.pointer(path).is_none()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(operations: Value, expected: Option<Value>) {
        let mut object = json!({ "metadata": { "name": "a" }, "list": [1] });
        let changed = parse(operations.clone()).and_then(|patch| change(&mut object, &patch));
        assert_eq!(changed.ok().map(|()| object), expected, "{operations}");
    }

    #[test]
    fn what_is_not_there_is_null_to_a_test() {
        let path = "/metadata/finalizers";
        let first = json!([
            { "op": "test", "path": path, "value": null },
            { "op": "add", "path": path, "value": ["f"] },
        ]);
        let whole = json!({ "metadata": { "name": "a", "finalizers": ["f"] }, "list": [1] });
        check(first, Some(whole));
        for refused in [
            json!([{ "op": "test", "path": "/metadata/name", "value": null }]),
            json!([{ "op": "test", "path": "/metadata/finalizers", "value": [] }]),
            json!([{ "op": "test", "path": "/spec/finalizers", "value": null }]),
            json!([{ "op": "test", "path": "/list/7", "value": null }]),
        ] {
            check(refused, None);
        }
    }

    #[test]
    fn what_makes_more_of_itself_is_refused_before_it_does() {
        let refused = |operations: Value| {
            let mut object = json!({ "data": {} });
            let changed = parse(operations).and_then(|patch| change(&mut object, &patch));
            changed.expect_err("too much").message().to_owned()
        };
        let chain = (0..100).fold(json!({}), |inner, _| json!({ "a": inner }));
        let inside = format!("/data/x{}", "/a".repeat(100));
        let deep = json!([
            { "op": "add", "path": "/data/x", "value": chain },
            { "op": "copy", "from": "/data/x", "path": inside + "/a" },
        ]);
        assert!(refused(deep).contains("deeper than"));
        let mut wide =
            vec![json!({ "op": "add", "path": "/data", "value": ["x".repeat(1 << 20)] })];
        let copy = json!({ "op": "copy", "from": "/data/0", "path": "/data/-" });
        wide.extend(std::iter::repeat_n(copy, 9_000));
        assert!(refused(wide.into()).contains("copied and moved"));
    }

    #[test]
    fn a_value_that_is_left_out_is_null() {
        let whole = json!({ "metadata": { "name": "a" }, "list": null });
        check(json!([{ "op": "replace", "path": "/list" }]), Some(whole.clone()));
        check(
            json!([{ "op": "add", "path": "/list" }, { "op": "test", "path": "/list" }]),
            Some(whole),
        );
        check(json!([{ "op": "copy", "path": "/list" }]), None);
    }
}
