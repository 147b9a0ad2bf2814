//! Metadata of a converted object: the original's, with the labels and the
//! annotations that the webhook gave it.

use serde_json::{Map, Value};

use crate::names;

pub(super) fn restore(original: &Value, converted: &mut Value) -> Result<(), String> {
    let given = match converted.get_mut("metadata").map(Value::take) {
        None | Some(Value::Null) => return Err("missing metadata in converted object".to_owned()),
        Some(Value::Object(given)) => given,
        Some(_) => return Err("invalid metadata in converted object".to_owned()),
    };
    let mut metadata = original["metadata"].as_object().cloned().unwrap_or_default();
    for field in ["labels", "annotations"] {
        match given.get(field) {
            None | Some(Value::Null) => {
                metadata.remove(field);
            }
            Some(Value::Object(texts)) => {
                check(field, texts, metadata.get(field))?;
                metadata.insert(field.to_owned(), Value::Object(texts.clone()));
            }
            Some(_) => return Err(format!("invalid metadata.{field} in converted object")),
        }
    }
    converted["metadata"] = Value::Object(metadata);
    Ok(())
}

fn check(field: &str, texts: &Map<String, Value>, before: Option<&Value>) -> Result<(), String> {
    if let Some((key, _)) = texts.iter().find(|(_, value)| !value.is_string()) {
        return Err(format!("metadata.{field}[{key}] must be a string in converted object"));
    }
    if before.and_then(Value::as_object) == Some(texts) {
        return Ok(());
    }
    let mut errors = Vec::new();
    match field {
        "labels" => names::check_labels("metadata.labels", texts, &mut errors),
        _ => names::check_annotations(texts, &mut errors),
    }
    match errors.as_slice() {
        [] => Ok(()),
        [one] => Err(one.to_string()),
        several => {
            let all: Vec<String> = several.iter().map(ToString::to_string).collect();
            Err(format!("[{}]", all.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(given: Value, expected: Result<Value, &str>) {
        let original = json!({"metadata": {"name": "a", "finalizers": ["x/y"],
            "labels": {"odd value": "kept as it was"}}});
        let mut converted = json!({"metadata": given});
        let outcome = restore(&original, &mut converted).map(|()| converted["metadata"].clone());
        assert_eq!(outcome, expected.map_err(str::to_owned));
    }

    #[test]
    fn labels_and_annotations_change_and_nothing_else() {
        check(
            json!({"name": "a", "finalizers": [], "annotations": {"b": "1"}}),
            Ok(json!({"name": "a", "finalizers": ["x/y"], "annotations": {"b": "1"}})),
        );
        check(
            json!({"labels": {"odd value": "kept as it was"}}),
            Ok(json!({"name": "a", "finalizers": ["x/y"],
                "labels": {"odd value": "kept as it was"}})),
        );
        check(json!(null), Err("missing metadata in converted object"));
        check(
            json!({"labels": {"a": 1}}),
            Err("metadata.labels[a] must be a string in converted object"),
        );
        check(json!({"labels": []}), Err("invalid metadata.labels in converted object"));
    }

    #[test]
    fn changed_labels_are_judged() {
        let original = json!({"metadata": {}});
        let mut converted = json!({"metadata": {"labels": {"a b": "c"}}});
        let why = restore(&original, &mut converted).expect_err("it is no label");
        assert!(why.starts_with("metadata.labels: Invalid value: \"a b\""), "{why}");
    }
}
