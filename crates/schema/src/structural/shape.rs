//! What a structural schema may look like: types everywhere, none inside of
//! value validations, metadata left to the server.

use resources::FieldError;
use serde_json::{Value, json};

use super::node::Node;
use crate::pattern;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

pub(super) fn check(root: Node<'_>, at: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    node(root, Level::Root, at, &mut errors);
    errors
}

fn node(schema: Node<'_>, level: Level, at: &str, errors: &mut Vec<FieldError>) {
    let kind = schema.kind();
    let open = schema.flag("x-kubernetes-preserve-unknown-fields");
    let either = schema.flag("x-kubernetes-int-or-string");
    let embedded = schema.flag("x-kubernetes-embedded-resource");
    match schema.child("items") {
        Some(items) => node(items, Level::Item, &format!("{at}.items"), errors),
        None if kind == "array" => {
            errors.push(FieldError::required(format!("{at}.items"), "must be specified"));
        }
        None => {}
    }
    for (name, property) in schema.properties() {
        node(property, Level::Field, &format!("{at}.properties[{name}]"), errors);
    }
    if let Some(additional) = schema.get("additionalProperties") {
        let at = format!("{at}.additionalProperties");
        if level == Level::Root {
            errors.push(FieldError::forbidden(&at, "must not be used at the root"));
        }
        if additional.is_object() {
            node(Node::of(additional), Level::Field, &at, errors);
        }
    }
    if either && open {
        let at = format!("{at}.x-kubernetes-preserve-unknown-fields");
        let detail = "must be false if x-kubernetes-int-or-string is true";
        errors.push(FieldError::invalid(at, true, detail));
    }
    if either && embedded {
        let at = format!("{at}.x-kubernetes-embedded-resource");
        let detail = "must be false if x-kubernetes-int-or-string is true";
        errors.push(FieldError::invalid(at, true, detail));
    }
    let idiom = Idiom { any: is_either(schema), all: is_either_in_all(schema) };
    validations(schema, idiom, at, errors);
    typed(schema, level, at, errors);
    if embedded && schema.get("additionalProperties").is_some() {
        let detail = "must not be used if x-kubernetes-embedded-resource is set";
        errors.push(FieldError::forbidden(format!("{at}.additionalProperties"), detail));
    }
    if level == Level::Root && !kind.is_empty() && kind != "object" {
        let detail = "must be object at the root";
        errors.push(FieldError::invalid(format!("{at}.type"), kind, detail));
    }
    metadata(schema, level, at, errors);
    if embedded && !open && schema.properties().next().is_none() {
        let detail = "must not be empty if x-kubernetes-embedded-resource is true without \
                      x-kubernetes-preserve-unknown-fields";
        errors.push(FieldError::required(format!("{at}.properties"), detail));
    }
}

fn typed(schema: Node<'_>, level: Level, at: &str, errors: &mut Vec<FieldError>) {
    let kind = schema.kind();
    let at = format!("{at}.type");
    if schema.flag("x-kubernetes-embedded-resource") && kind != "object" {
        let detail = "must be object if x-kubernetes-embedded-resource is true";
        errors.push(match kind {
            "" => FieldError::required(at, detail),
            kind => FieldError::invalid(at, kind, detail),
        });
    } else if kind.is_empty()
        && !schema.flag("x-kubernetes-int-or-string")
        && !schema.flag("x-kubernetes-preserve-unknown-fields")
    {
        let detail = match level {
            Level::Root => "must not be empty at the root",
            Level::Item => "must not be empty for specified array items",
            Level::Field => "must not be empty for specified object fields",
        };
        errors.push(FieldError::required(at, detail));
    }
}

/// Of whole objects: what they are is text, and of metadata only the form of
/// names may be told.
fn metadata(schema: Node<'_>, level: Level, at: &str, errors: &mut Vec<FieldError>) {
    let whole = level == Level::Root || schema.flag("x-kubernetes-embedded-resource");
    if !whole && level != Level::Root {
        return;
    }
    for name in ["kind", "apiVersion"] {
        if let Some(property) = schema.property(name).filter(|property| property.kind() != "string")
        {
            let at = format!("{at}.properties[{name}].type");
            errors.push(FieldError::invalid(at, property.kind(), "must be string"));
        }
    }
    let Some(metadata) = schema.property("metadata") else { return };
    let at = format!("{at}.properties[metadata]");
    if metadata.kind() != "object" {
        let at = format!("{at}.type");
        errors.push(FieldError::invalid(at, metadata.kind(), "must be object"));
    }
    let names_only = metadata.properties().all(|(name, _)| matches!(name, "name" | "generateName"));
    let map = metadata.map().into_iter().flatten();
    let others = map.filter(|(key, _)| !matches!(key.as_str(), "type" | "properties" | "default"));
    let bare = others.filter(|(key, _)| metadata.has(key)).count() == 0;
    if level == Level::Root && !(names_only && bare) {
        let detail = "must not specify anything other than name and generateName, but metadata \
                      is implicitly specified";
        errors.push(FieldError::forbidden(at, detail));
    }
}

/// The two ways to write "integer or string" with types in value validations.
#[derive(Clone, Copy, Default)]
struct Idiom {
    any: bool,
    all: bool,
}

fn is_either(schema: Node<'_>) -> bool {
    schema.get("anyOf") == Some(&json!([{"type": "integer"}, {"type": "string"}]))
}

fn is_either_in_all(schema: Node<'_>) -> bool {
    schema.list("allOf").first().is_some_and(|first| is_either(Node::of(first)))
}

fn validations(schema: Node<'_>, idiom: Idiom, at: &str, errors: &mut Vec<FieldError>) {
    if !idiom.any {
        for (index, clause) in schema.nodes("anyOf") {
            nested(clause, false, &format!("{at}.anyOf[{index}]"), errors);
        }
    }
    for (index, clause) in schema.nodes("allOf") {
        nested(clause, idiom.all && index == 0, &format!("{at}.allOf[{index}]"), errors);
    }
    for (index, clause) in schema.nodes("oneOf") {
        nested(clause, false, &format!("{at}.oneOf[{index}]"), errors);
    }
    if let Some(clause) = schema.child("not") {
        nested(clause, false, &format!("{at}.not"), errors);
    }
    let written = schema.text("pattern");
    if !written.is_empty()
        && let Err(problem) = pattern::compile(written)
    {
        let detail = format!("must be a valid regular expression, but isn't: {problem}");
        errors.push(FieldError::invalid(format!("{at}.pattern"), written, detail));
    }
}

fn nested(clause: Node<'_>, any: bool, at: &str, errors: &mut Vec<FieldError>) {
    validations(clause, Idiom { any, all: false }, at, errors);
    if let Some(items) = clause.child("items") {
        nested(items, false, &format!("{at}.items"), errors);
    }
    for (name, property) in clause.properties() {
        nested(property, false, &format!("{at}.properties[{name}]"), errors);
    }
    let mut forbid = |name: &str, detail: &str| {
        errors.push(FieldError::forbidden(format!("{at}.{name}"), detail));
    };
    for name in ["type", "title", "description", "x-kubernetes-list-map-keys"] {
        if clause.has(name) {
            forbid(name, "must be empty to be structural");
        }
    }
    if clause.get("additionalProperties").is_some_and(|told| told != &Value::Bool(false)) {
        forbid("additionalProperties", "must be undefined to be structural");
    }
    for name in ["default", "x-kubernetes-list-type", "x-kubernetes-map-type"] {
        if clause.get(name).is_some() {
            forbid(name, "must be undefined to be structural");
        }
    }
    for name in [
        "nullable",
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-embedded-resource",
        "x-kubernetes-int-or-string",
    ] {
        if clause.flag(name) {
            forbid(name, "must be false to be structural");
        }
    }
    if clause.has("x-kubernetes-validations") {
        forbid("x-kubernetes-validations", "must be empty to be structural");
    }
    if clause.property("metadata").is_some() {
        forbid("properties[metadata]", "must not be specified in a nested context");
    }
}
