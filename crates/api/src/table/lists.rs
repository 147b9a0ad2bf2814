//! Cells that are lists of something.

use serde_json::Value;

use super::Row;

/// Names of the containers of the pod's spec at `spec`.
pub fn containers(row: &Row<'_>, spec: &str) -> Value {
    texts(row.list(&format!("{spec}/containers")), "name").join(",").into()
}

pub fn images(row: &Row<'_>, spec: &str) -> Value {
    texts(row.list(&format!("{spec}/containers")), "image").join(",").into()
}

fn texts<'a>(list: &'a [Value], field: &str) -> Vec<&'a str> {
    list.iter().map(|one| one[field].as_str().unwrap_or_default()).collect()
}

/// `a=1,b=2` of a map.
pub fn labels(row: &Row<'_>, pointer: &str) -> Value {
    let pairs = pairs(row.object.pointer(pointer));
    if pairs.is_empty() { "<none>".into() } else { pairs.join(",").into() }
}

/// A label selector as kubectl takes it.
pub fn selector(row: &Row<'_>, pointer: &str) -> Value {
    let selector = row.object.pointer(pointer).unwrap_or(&Value::Null);
    let mut parts: Vec<String> = pairs(selector.get("matchLabels"));
    for one in selector["matchExpressions"].as_array().into_iter().flatten() {
        let key = one["key"].as_str().unwrap_or_default();
        let mut values: Vec<&str> =
            one["values"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        values.sort_unstable();
        let values = values.join(",");
        parts.push(match one["operator"].as_str() {
            Some("In") => format!("{key} in ({values})"),
            Some("NotIn") => format!("{key} notin ({values})"),
            Some("DoesNotExist") => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    if parts.is_empty() { "<none>".into() } else { parts.join(",").into() }
}

fn pairs(map: Option<&Value>) -> Vec<String> {
    let pairs = map.and_then(Value::as_object).into_iter().flatten();
    let mut pairs: Vec<String> =
        pairs.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    pairs.sort_unstable();
    pairs
}

/// Texts of a list, joined; `<none>` of none.
pub fn joined(row: &Row<'_>, pointer: &str) -> Value {
    let texts: Vec<&str> = row.list(pointer).iter().filter_map(Value::as_str).collect();
    if texts.is_empty() { "<none>".into() } else { texts.join(",").into() }
}

/// A number or text as text.
pub fn shown(row: &Row<'_>, pointer: &str, absent: &str) -> Value {
    match row.object.pointer(pointer) {
        None | Some(Value::Null) => absent.into(),
        Some(Value::String(text)) => text.as_str().into(),
        Some(other) => other.to_string().into(),
    }
}

/// Go's words for a boolean.
pub fn truth(row: &Row<'_>, pointer: &str, absent: &str) -> Value {
    match row.object.pointer(pointer).and_then(Value::as_bool) {
        Some(true) => "True".into(),
        Some(false) => "False".into(),
        None => absent.into(),
    }
}

/// The first `most` of `all`, and how many there are beyond.
pub fn cut(all: &[String], most: usize, separator: &str) -> String {
    let shown = all.iter().take(most).cloned().collect::<Vec<_>>().join(separator);
    match all.len().saturating_sub(most) {
        0 => shown,
        more => format!("{shown} + {more} more..."),
    }
}
