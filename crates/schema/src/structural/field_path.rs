//! Paths to fields in schemas: `.spec.replicas`, `.spec.labels['a.b']`.

use serde_json::Value;

use super::node::Node;

/// A path that leads to something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldPath {
    /// As complaints show it: `spec.labels[a.b]`.
    pub shown: String,
    pub names: Vec<String>,
    /// The type of what is there, as OpenAPI calls it.
    pub kind: String,
}

/// Where `path` leads in the schema `open_api`.
pub fn field_path(path: &str, open_api: &Value, brackets: bool) -> Result<FieldPath, String> {
    resolve(path, Node::of(open_api), brackets)
}

pub(super) fn resolve(path: &str, root: Node<'_>, brackets: bool) -> Result<FieldPath, String> {
    let (mut schema, mut rest) = (root, path);
    let (mut shown, mut names) = (String::new(), Vec::new());
    while !rest.is_empty() {
        let name;
        if let Some(after) = rest.strip_prefix('.') {
            if after.is_empty() {
                return Err("unexpected end of JSON path".to_owned());
            }
            let end = after.find(['.', '[', ']']).filter(|end| *end > 0);
            let end =
                end.unwrap_or(if after.starts_with(['.', '[', ']']) { 1 } else { after.len() });
            name = after[..end].to_owned();
            rest = &after[end..];
        } else if let Some(after) = rest.strip_prefix('[') {
            if !brackets {
                return Err("array notation is not allowed".to_owned());
            }
            (name, rest) = quoted(after)?;
        } else {
            let end = rest.find(['.', '[', ']']).unwrap_or(rest.len()).max(1);
            return Err(format!("expected [ or . but got: {}", &rest[..end]));
        }
        let gone = || "does not refer to a valid field".to_owned();
        if schema.get("properties").is_some() {
            schema = schema.property(&name).ok_or_else(gone)?;
            if !shown.is_empty() {
                shown.push('.');
            }
            shown.push_str(&name);
        } else {
            schema = Node::of(schema.get("additionalProperties").ok_or_else(gone)?);
            shown.push_str(&format!("[{name}]"));
        }
        names.push(name);
    }
    Ok(FieldPath { shown, names, kind: schema.kind().to_owned() })
}

/// `'name']` and what is behind it.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let Some(inner) = text.strip_prefix('\'') else {
        if text.is_empty() {
            return Err("unexpected end of JSON path".to_owned());
        }
        let end = text.find(['.', '[', ']']).unwrap_or(text.len()).max(1);
        return Err(format!(
            "expected single quoted string but got {}",
            &text[..end.min(text.len())]
        ));
    };
    let mut name = String::new();
    let mut chars = inner.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\'' => {
                let after = &inner[at + 1..];
                return match after.strip_prefix(']') {
                    Some(rest) => Ok((name, rest)),
                    None if after.is_empty() => Err("unexpected end of JSON path".to_owned()),
                    None => Err(format!("expected ] but got {after}")),
                };
            }
            '\\' => match chars.next() {
                Some((_, c @ ('\'' | '\\'))) => name.push(c),
                _ => return Err("invalid string literal: invalid syntax".to_owned()),
            },
            c => name.push(c),
        }
    }
    Err(format!("expected single quoted string but got {text}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_lead_through_properties_and_maps() {
        let schema = json!({"type": "object", "properties": {
            "spec": {"type": "object", "properties": {
                "replicas": {"type": "integer"},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            }},
        }});
        let path = |path: &str| field_path(path, &schema, true).map(|path| (path.shown, path.kind));
        let found = |shown: &str, kind: &str| Ok((shown.to_owned(), kind.to_owned()));
        assert_eq!(path(".spec.replicas"), found("spec.replicas", "integer"));
        assert_eq!(path(".spec.labels['a.b']"), found("spec.labels[a.b]", "string"));
        assert_eq!(path(".spec.nothing"), Err("does not refer to a valid field".to_owned()));
        assert_eq!(path("spec"), Err("expected [ or . but got: spec".to_owned()));
        assert_eq!(path(".spec."), Err("unexpected end of JSON path".to_owned()));
        assert_eq!(path(".spec[0]"), Err("expected single quoted string but got 0".to_owned()));
        assert_eq!(
            field_path(".spec.labels['a']", &schema, false).map(|path| path.kind),
            Err("array notation is not allowed".to_owned())
        );
        for odd in ["[", "['", "['a", "['a'", "]", "..", ".[", ".a\\", "['\\", "é"] {
            assert!(path(odd).is_err(), "{odd}");
        }
    }
}
