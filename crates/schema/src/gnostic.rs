//! OpenAPI 2.0 as gnostic's protobuf, which older clients ask for.
//!
//! The numbers are those of gnostic's `OpenAPIv2.proto`. Maps are lists of named
//! values there; extensions and other free values are YAML text, for which JSON
//! will do.

use serde_json::{Map, Value};

use crate::proto::wire::{FIXED64, put_bytes, put_int, put_message, put_tag};

type Members = Map<String, Value>;
type Never = std::convert::Infallible;

/// The document in its binary form.
#[must_use]
pub fn encode(document: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    let document = members(document);
    texts(document, &[("swagger", 1)], &mut out);
    put(&mut out, 2, |out| {
        texts(members(&document["info"]), &[("title", 1), ("version", 2), ("description", 3)], out);
    });
    put(&mut out, 8, |out| {
        for (path, item) in members(&document["paths"]) {
            named(out, 2, path, |out| path_item(members(item), out));
        }
    });
    put(&mut out, 9, |out| {
        for (name, one) in members(&document["definitions"]) {
            named(out, 1, name, |out| schema(members(one), out));
        }
    });
    out
}

fn members(value: &Value) -> &Members {
    static EMPTY: std::sync::LazyLock<Members> = std::sync::LazyLock::new(Members::new);
    value.as_object().unwrap_or(&EMPTY)
}

fn put(out: &mut Vec<u8>, number: u32, fill: impl FnOnce(&mut Vec<u8>)) {
    let Ok(()) = put_message::<Never>(out, number, |out| {
        fill(out);
        Ok(())
    });
}

/// A `Named…` of a map: 1 is the key, 2 the value.
fn named(out: &mut Vec<u8>, number: u32, name: &str, fill: impl FnOnce(&mut Vec<u8>)) {
    put(out, number, |out| {
        put_bytes(out, 1, name.as_bytes());
        put(out, 2, fill);
    });
}

fn texts(of: &Members, fields: &[(&str, u32)], out: &mut Vec<u8>) {
    for (name, number) in fields {
        match of.get(*name) {
            Some(Value::String(text)) => put_bytes(out, *number, text.as_bytes()),
            Some(Value::Array(items)) => {
                for text in items.iter().filter_map(Value::as_str) {
                    put_bytes(out, *number, text.as_bytes());
                }
            }
            _ => {}
        }
    }
}

fn flags(of: &Members, fields: &[(&str, u32)], out: &mut Vec<u8>) {
    for (name, number) in fields {
        if of.get(*name) == Some(&Value::Bool(true)) {
            put_int(out, *number, 1);
        }
    }
}

/// `Any`, whose field 2 is YAML.
fn any(value: &Value, out: &mut Vec<u8>) {
    put_bytes(out, 2, value.to_string().as_bytes());
}

fn extensions(of: &Members, number: u32, out: &mut Vec<u8>) {
    for (name, value) in of.iter().filter(|(name, _)| name.starts_with("x-")) {
        named(out, number, name, |out| any(value, out));
    }
}

fn path_item(item: &Members, out: &mut Vec<u8>) {
    for (method, number) in [("get", 2), ("put", 3), ("post", 4), ("delete", 5), ("patch", 8)] {
        if let Some(one) = item.get(method) {
            put(out, number, |out| operation(members(one), out));
        }
    }
    parameters(item, 9, out);
    extensions(item, 10, out);
}

fn operation(one: &Members, out: &mut Vec<u8>) {
    let fields =
        [("tags", 1), ("description", 3), ("operationId", 5), ("produces", 6), ("consumes", 7)];
    texts(one, &fields, out);
    parameters(one, 8, out);
    put(out, 9, |out| {
        for (code, response) in members(&one["responses"]) {
            let response = members(response);
            // Of the two that a response may be, the response itself.
            named(out, 1, code, |out| {
                put(out, 1, |out| {
                    texts(response, &[("description", 1)], out);
                    if let Some(of) = response.get("schema") {
                        put(out, 2, |out| put(out, 1, |out| schema(members(of), out)));
                    }
                });
            });
        }
    });
    texts(one, &[("schemes", 10)], out);
    extensions(one, 13, out);
}

/// `ParametersItem` → `Parameter` → of the body, or of the path or query.
fn parameters(of: &Members, number: u32, out: &mut Vec<u8>) {
    for one in of.get("parameters").and_then(Value::as_array).into_iter().flatten() {
        let one = members(one);
        let place = one.get("in").and_then(Value::as_str).unwrap_or_default();
        put(out, number, |out| {
            put(out, 1, |out| match place {
                "body" => put(out, 1, |out| {
                    texts(one, &[("description", 1), ("name", 2), ("in", 3)], out);
                    flags(one, &[("required", 4)], out);
                    if let Some(of) = one.get("schema") {
                        put(out, 5, |out| schema(members(of), out));
                    }
                }),
                "path" => put(out, 2, |out| put(out, 4, |out| simple(one, [5, 19], out))),
                _ => put(out, 2, |out| put(out, 3, |out| simple(one, [6, 20], out))),
            });
        });
    }
}

/// Of the path or query; the numbers of `type` and `uniqueItems` differ.
fn simple(one: &Members, [kind, unique]: [u32; 2], out: &mut Vec<u8>) {
    flags(one, &[("required", 1)], out);
    texts(one, &[("in", 2), ("description", 3), ("name", 4)], out);
    texts(one, &[("type", kind)], out);
    flags(one, &[("uniqueItems", unique)], out);
}

fn schema(of: &Members, out: &mut Vec<u8>) {
    texts(of, &[("$ref", 1), ("format", 2), ("title", 3), ("description", 4)], out);
    if let Some(default) = of.get("default") {
        put(out, 5, |out| any(default, out));
    }
    for (name, number) in [("multipleOf", 6), ("maximum", 7), ("minimum", 9)] {
        if let Some(value) = of.get(name).and_then(Value::as_f64) {
            put_tag(out, number, FIXED64);
            out.extend_from_slice(&value.to_bits().to_le_bytes());
        }
    }
    flags(of, &[("exclusiveMaximum", 8), ("exclusiveMinimum", 10), ("uniqueItems", 16)], out);
    let counts = [
        ("maxLength", 11),
        ("minLength", 12),
        ("maxItems", 14),
        ("minItems", 15),
        ("maxProperties", 17),
        ("minProperties", 18),
    ];
    for (name, number) in counts {
        if let Some(value) = of.get(name).and_then(Value::as_i64) {
            put_int(out, number, value);
        }
    }
    texts(of, &[("pattern", 13), ("required", 19)], out);
    for value in of.get("enum").and_then(Value::as_array).into_iter().flatten() {
        put(out, 20, |out| any(value, out));
    }
    match of.get("additionalProperties") {
        Some(Value::Bool(any)) => put(out, 21, |out| put_int(out, 2, i64::from(*any))),
        Some(each) => put(out, 21, |out| put(out, 1, |out| schema(members(each), out))),
        None => {}
    }
    if of.contains_key("type") {
        put(out, 22, |out| texts(of, &[("type", 1)], out));
    }
    if let Some(items) = of.get("items") {
        put(out, 23, |out| put(out, 1, |out| schema(members(items), out)));
    }
    for one in of.get("allOf").and_then(Value::as_array).into_iter().flatten() {
        put(out, 24, |out| schema(members(one), out));
    }
    if let Some(properties) = of.get("properties") {
        put(out, 25, |out| {
            for (name, one) in members(properties) {
                named(out, 1, name, |out| schema(members(one), out));
            }
        });
    }
    extensions(of, 31, out);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_small_document_has_gnostics_bytes() {
        let document = json!({
            "swagger": "2.0",
            "info": {"title": "t"},
            "paths": {},
            "definitions": {"A": {"type": "object", "x-y": [1]}},
        });
        let hex: String = encode(&document).iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = concat!(
            "0a03322e30",
            "12030a0174",
            "4200",
            "4a21",
            "0a1f",
            "0a0141",
            "121a",
            "b201080a066f626a656374",
            "fa010c",
            "0a03782d79",
            "1205",
            "12035b315d",
        );
        assert_eq!(hex, expected);
    }
}
