//! Which words of OpenAPI a CRD may use, and how they go together.

use std::collections::HashSet;

use resources::FieldError;
use serde_json::Value;

use super::{field_path, node::Node};

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];

/// With a status of its own, a kind's schema is cut in two at the root: only
/// what survives that may stand there.
const AT_ROOT: [(&str, &str); 22] = [
    ("description", "Description"),
    ("type", "Type"),
    ("format", "Format"),
    ("title", "Title"),
    ("maximum", "Maximum"),
    ("exclusiveMaximum", "ExclusiveMaximum"),
    ("minimum", "Minimum"),
    ("exclusiveMinimum", "ExclusiveMinimum"),
    ("maxLength", "MaxLength"),
    ("minLength", "MinLength"),
    ("pattern", "Pattern"),
    ("maxItems", "MaxItems"),
    ("minItems", "MinItems"),
    ("uniqueItems", "UniqueItems"),
    ("multipleOf", "MultipleOf"),
    ("required", "Required"),
    ("items", "Items"),
    ("properties", "Properties"),
    ("externalDocs", "ExternalDocs"),
    ("example", "Example"),
    ("x-kubernetes-preserve-unknown-fields", "XPreserveUnknownFields"),
    ("x-kubernetes-validations", "XValidations"),
];

/// The first word that is not supported anywhere.
pub(super) fn unsupported(schema: Node<'_>) -> Option<&'static str> {
    const UNSUPPORTED: [(&str, &str); 7] = [
        ("id", "id"),
        ("$schema", "schema"),
        ("$ref", "$ref"),
        ("patternProperties", "patternProperties"),
        ("dependencies", "dependencies"),
        ("additionalItems", "additionalItems"),
        ("definitions", "definitions"),
    ];
    UNSUPPORTED.into_iter().find(|(word, _)| schema.has(word)).map(|(_, name)| name)
}

pub(super) fn root_with_status(root: Node<'_>, schema: &Value, at: &str) -> Option<FieldError> {
    if root.kind() != "object" && root.has("type") {
        let detail = "only \"object\" is allowed as the type at the root of the schema if the \
                      status subresource is enabled";
        return Some(FieldError::invalid(format!("{at}.type"), root.kind(), detail));
    }
    let mut names = root.map()?.keys().filter(|name| root.has(name));
    let odd = names.any(|name| !AT_ROOT.iter().any(|(known, _)| known == name));
    odd.then(|| {
        let known = AT_ROOT.map(|(_, name)| name).join(" ");
        let detail = format!(
            "only [{known}] fields are allowed at the root of the schema if the status \
             subresource is enabled"
        );
        FieldError::invalid_json(at, schema, detail)
    })
}

/// What surrounds a schema.
#[derive(Clone, Copy, Default)]
struct Around<'a> {
    root: bool,
    in_metadata: bool,
    /// Why there may be no defaults.
    no_defaults: Option<&'a str>,
}

pub(super) fn check(root: Node<'_>, at: &str, errors: &mut Vec<FieldError>) {
    node(root, Around { root: true, ..Around::default() }, at, errors);
}

fn node(schema: Node<'_>, around: Around<'_>, at: &str, errors: &mut Vec<FieldError>) {
    words(schema, around, at, errors);
    let below = Around { root: false, ..around };
    if let Some(additional) = schema.get("additionalProperties") {
        let path = format!("{at}.additionalProperties");
        if schema.properties().next().is_some() && additional != &Value::Bool(true) {
            let detail = "additionalProperties and properties are mutual exclusive";
            errors.push(FieldError::forbidden(&path, detail));
        }
        let no_defaults = match around.in_metadata {
            true => Some("inside additionalProperties applying to object metadata"),
            false => around.no_defaults,
        };
        node(Node::of(additional), Around { no_defaults, ..below }, &path, errors);
    }
    let whole = around.root || schema.flag("x-kubernetes-embedded-resource");
    for (name, property) in schema.properties() {
        let meta = whole && matches!(name, "metadata" | "kind" | "apiVersion");
        let reason = format!("in top-level {name}");
        let no_defaults =
            if meta && around.root { Some(reason.as_str()) } else { below.no_defaults };
        let below = Around { in_metadata: below.in_metadata || meta, no_defaults, ..below };
        node(property, below, &format!("{at}.properties[{name}]"), errors);
    }
    if let Some(clause) = schema.child("not") {
        node(clause, below, &format!("{at}.not"), errors);
    }
    for name in ["allOf", "oneOf", "anyOf"] {
        for (index, clause) in schema.nodes(name) {
            node(clause, below, &format!("{at}.{name}[{index}]"), errors);
        }
    }
    if let Some(items) = schema.child("items") {
        node(items, below, &format!("{at}.items"), errors);
    }
    if schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(false)) {
        let at = format!("{at}.x-kubernetes-preserve-unknown-fields");
        errors.push(FieldError::invalid(at, false, "must be true or undefined"));
    }
    extensions(schema, at, errors);
    if schema.text("x-kubernetes-list-type") == "map" {
        map_list(schema, at, errors);
    }
    no_nulls(schema, at, errors);
    rules(schema, at, errors);
}

fn words(schema: Node<'_>, around: Around<'_>, at: &str, errors: &mut Vec<FieldError>) {
    let kind = schema.kind();
    if !kind.is_empty() && !TYPES.contains(&kind) {
        errors.push(FieldError::unsupported(format!("{at}.type"), &kind.into(), TYPES));
    }
    let mut forbid = |name: &str, detail: &str| {
        errors.push(FieldError::forbidden(format!("{at}.{name}"), detail));
    };
    if let (Some(reason), true) = (around.no_defaults, schema.get("default").is_some()) {
        forbid("default", &format!("must not be set {reason}"));
    }
    for name in
        ["id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref"]
    {
        if schema.has(name) {
            forbid(name, &format!("{name} is not supported"));
        }
    }
    if kind == "null" {
        forbid("type", "type cannot be set to null, use nullable as an alternative");
    }
    if schema.get("items").is_some_and(Value::is_array) {
        forbid("items", "items must be a schema object and not an array");
    }
    if around.in_metadata && schema.flag("x-kubernetes-embedded-resource") {
        forbid("x-kubernetes-embedded-resource", "must not be used inside of resource meta");
    }
    if schema.flag("uniqueItems") {
        let detail =
            "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        forbid("uniqueItems", detail);
    }
}

fn extensions(schema: Node<'_>, at: &str, errors: &mut Vec<FieldError>) {
    let kind = schema.kind();
    let map = schema.get("x-kubernetes-map-type");
    let list = schema.get("x-kubernetes-list-type");
    let must_be = |told: Option<&Value>, wanted: &str, what: &str| {
        if told.is_none() || kind == wanted {
            return None;
        }
        let at = format!("{at}.type");
        let detail = format!("must be {wanted} if x-kubernetes-{what} is specified");
        Some(match kind {
            "" => FieldError::required(at, detail),
            kind => FieldError::invalid(at, kind, detail),
        })
    };
    errors.extend(must_be(map, "object", "map-type"));
    if let Some(told) = map.filter(|told| !matches!(told.as_str(), Some("atomic" | "granular"))) {
        let at = format!("{at}.x-kubernetes-map-type");
        errors.push(FieldError::unsupported(at, told, ["atomic", "granular"]));
    }
    let odd = must_be(list, "array", "list-type");
    if odd.is_none()
        && list.and_then(Value::as_str) == Some("set")
        && let Some(items) = schema.child("items")
    {
        let name = match items.kind() {
            "array" if !matches!(items.text("x-kubernetes-list-type"), "" | "atomic") => {
                Some("list-type")
            }
            "object" if items.text("x-kubernetes-map-type") != "atomic" => Some("map-type"),
            _ => None,
        };
        if let Some(name) = name {
            let told = items.get("x-kubernetes-list-type").unwrap_or(&Value::Null);
            let at = format!("{at}.items.x-kubernetes-{name}");
            let detail = "must be atomic as item of a list with x-kubernetes-list-type=set";
            errors.push(FieldError::invalid_json(at, told, detail));
        }
    }
    errors.extend(odd);
    let known = |told: &&Value| matches!(told.as_str(), Some("atomic" | "set" | "map"));
    if let Some(told) = list.filter(|told| !known(told)) {
        let at = format!("{at}.x-kubernetes-list-type");
        errors.push(FieldError::unsupported(at, told, ["atomic", "set", "map"]));
    }
    if !schema.list("x-kubernetes-list-map-keys").is_empty() {
        let at = format!("{at}.x-kubernetes-list-type");
        let detail = "must be map if x-kubernetes-list-map-keys is non-empty";
        match list.and_then(Value::as_str) {
            Some("map") => {}
            None => errors.push(FieldError::required(at, detail)),
            Some(told) => errors.push(FieldError::invalid(at, told, detail)),
        }
    }
}

fn map_list(schema: Node<'_>, at: &str, errors: &mut Vec<FieldError>) {
    let keys = schema.list("x-kubernetes-list-map-keys");
    let keys_at = format!("{at}.x-kubernetes-list-map-keys");
    if keys.is_empty() {
        let detail = "must not be empty if x-kubernetes-list-type is map";
        errors.push(FieldError::required(&keys_at, detail));
    }
    let Some(items) = schema.child("items") else {
        let detail = "must have a schema if x-kubernetes-list-type is map";
        errors.push(FieldError::required(format!("{at}.items"), detail));
        return;
    };
    if items.kind() != "object" {
        let at = format!("{at}.items.type");
        let detail = "must be object if parent array's x-kubernetes-list-type is map";
        errors.push(FieldError::invalid(at, items.kind(), detail));
        return;
    }
    let shown = Value::Array(keys.to_vec());
    let mut seen = HashSet::new();
    for key in keys.iter().filter_map(Value::as_str) {
        match items.property(key) {
            Some(property) if matches!(property.kind(), "array" | "object") => {
                let at = format!("{at}.items.properties[{key}].type");
                let detail =
                    "must be a scalar type if parent array's x-kubernetes-list-type is map";
                errors.push(FieldError::invalid(at, items.kind(), detail));
            }
            Some(_) => {}
            None => {
                let detail = "entries must all be names of item properties";
                errors.push(FieldError::invalid_json(&keys_at, &shown, detail));
            }
        }
        if !seen.insert(key) {
            let detail = "must not contain duplicate entries";
            errors.push(FieldError::invalid_json(&keys_at, &shown, detail));
        }
    }
}

/// Items of sets and maps are told apart by what they are, so they are
/// something.
fn no_nulls(schema: Node<'_>, at: &str, errors: &mut Vec<FieldError>) {
    let kind = schema.text("x-kubernetes-list-type");
    let Some(items) = schema.child("items").filter(|_| matches!(kind, "set" | "map")) else {
        return;
    };
    if items.flag("nullable") {
        let detail = format!("cannot be nullable when x-kubernetes-list-type is {kind}");
        errors.push(FieldError::forbidden(format!("{at}.items.nullable"), detail));
    }
    let required = items.list("required");
    for key in schema.list("x-kubernetes-list-map-keys").iter().filter(|_| kind == "map") {
        let Some((name, property)) =
            key.as_str().and_then(|name| Some((name, items.property(name)?)))
        else {
            continue;
        };
        let at = format!("{at}.items.properties[{name}]");
        if !required.contains(key) && property.get("default").is_none() {
            let detail = "this property is in x-kubernetes-list-map-keys, so it must have a \
                          default or be a required property";
            errors.push(FieldError::required(format!("{at}.default"), detail));
        }
        if property.flag("nullable") {
            let detail = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
            errors.push(FieldError::forbidden(format!("{at}.nullable"), detail));
        }
    }
}

/// The frame of `x-kubernetes-validations`; what they say is compiled elsewhere.
fn rules(schema: Node<'_>, at: &str, errors: &mut Vec<FieldError>) {
    const REASONS: [&str; 4] =
        ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];
    let broken = |text: &str| text.contains(['\n', '\r']);
    for (index, rule) in schema.nodes("x-kubernetes-validations") {
        let at = |name: &str| format!("{at}.x-kubernetes-validations[{index}].{name}");
        let (text, message) = (rule.text("rule").trim(), rule.text("message"));
        if text.is_empty() {
            errors.push(FieldError::required(at("rule"), "rule is not specified"));
        } else if !message.is_empty() && message.trim().is_empty() {
            let detail = "must be non-empty if specified";
            errors.push(FieldError::invalid(at("message"), message, detail));
        } else if broken(message.trim()) {
            let detail = "must not contain line breaks";
            errors.push(FieldError::invalid(at("message"), message, detail));
        } else if broken(text) && message.trim().is_empty() {
            let detail = "message must be specified if rule contains line breaks";
            errors.push(FieldError::required(at("message"), detail));
        }
        let expression = rule.text("messageExpression");
        if !expression.is_empty() && expression.trim().is_empty() {
            let detail = "messageExpression must be non-empty if specified";
            errors.push(FieldError::required(at("messageExpression"), detail));
        }
        if let Some(reason) = rule.get("reason")
            && !reason.as_str().is_some_and(|reason| REASONS.contains(&reason))
        {
            errors.push(FieldError::unsupported(at("reason"), reason, REASONS));
        }
        let path = rule.text("fieldPath");
        if path.is_empty() {
            continue;
        }
        if path.trim().is_empty() {
            let detail = "must be non-empty if specified";
            errors.push(FieldError::invalid(at("fieldPath"), path, detail));
        }
        if broken(path) {
            let detail = "must not contain line breaks";
            errors.push(FieldError::invalid(at("fieldPath"), path, detail));
        }
        if field_path::resolve(path, schema, true).is_err() {
            errors.push(FieldError::invalid(at("fieldPath"), path, "must be a valid path"));
        }
    }
}
