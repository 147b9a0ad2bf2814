//! One operation, and how each version of OpenAPI words it.

use schema::openapi::Version;
use serde_json::{Map, Value, json};

/// What is done to what, before it is put in words.
pub struct Operation {
    /// `get`, `put`, … of HTTP.
    pub method: &'static str,
    /// `x-kubernetes-action`.
    pub action: &'static str,
    pub id: String,
    pub about: String,
    pub tag: String,
    /// `x-kubernetes-group-version-kind`.
    pub kind: Value,
    pub parameters: &'static [Parameter],
    pub body: Option<Body>,
    /// Of the answer; none for text.
    pub answer: Option<Value>,
    pub codes: &'static [(&'static str, &'static str)],
}

pub struct Body {
    pub schema: Value,
    pub required: bool,
    pub media_types: &'static [&'static str],
}

/// A name and a type.
pub type Parameter = (&'static str, &'static str);

pub const MEDIA_TYPES: &[&str] =
    &["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];

const TEXT: &[&str] = &["text/plain"];

// === impl Operation ===

impl Operation {
    pub fn show(self, version: Version) -> Value {
        let mut out = json!({
            "description": self.about,
            "operationId": self.id,
            "tags": [self.tag],
            "x-kubernetes-action": self.action,
            "x-kubernetes-group-version-kind": self.kind,
        });
        let mut parameters: Vec<Value> = self
            .parameters
            .iter()
            .map(|parameter| show_parameter(parameter, "query", version))
            .collect();
        let produces = if self.answer.is_some() { MEDIA_TYPES } else { TEXT };
        let schema = self.answer.unwrap_or_else(|| json!({ "type": "string" }));
        match version {
            Version::V3 => {
                if let Some(Body { schema, required, media_types }) = self.body {
                    let content = content(media_types, &schema);
                    out["requestBody"] = json!({ "required": required, "content": content });
                }
                let content = content(produces, &schema);
                out["responses"] = responses(self.codes, &json!({ "content": content }));
            }
            Version::V2 => {
                if let Some(Body { schema, required, media_types }) = self.body {
                    let mut body = json!({ "name": "body", "in": "body", "schema": schema });
                    if required {
                        body["required"] = true.into();
                    }
                    parameters.push(body);
                    out["consumes"] = json!(media_types);
                } else {
                    out["consumes"] = json!(["*/*"]);
                }
                out["produces"] = json!(produces);
                out["schemes"] = json!(["https"]);
                out["responses"] = responses(self.codes, &json!({ "schema": schema }));
            }
        }
        if !parameters.is_empty() {
            out["parameters"] = parameters.into();
        }
        out
    }
}

fn content(media_types: &[&str], schema: &Value) -> Value {
    let one = |name: &&str| ((*name).to_owned(), json!({ "schema": schema }));
    Value::Object(media_types.iter().map(one).collect())
}

fn responses(codes: &[(&str, &str)], body: &Value) -> Value {
    let mut out = Map::new();
    for (code, words) in codes {
        let mut response = body.clone();
        response["description"] = (*words).into();
        out.insert((*code).to_owned(), response);
    }
    out.insert("401".into(), json!({ "description": "Unauthorized" }));
    out.into()
}

pub fn show_parameter((name, kind): &Parameter, place: &str, version: Version) -> Value {
    let mut out = json!({ "name": name, "in": place });
    if place == "path" {
        out["required"] = true.into();
    }
    match version {
        Version::V3 => out["schema"] = json!({ "type": kind, "uniqueItems": true }),
        Version::V2 => {
            out["type"] = (*kind).into();
            out["uniqueItems"] = true.into();
        }
    }
    out
}
