//! JSON as values, by what is declared.

use serde_json::Value as Json;

use super::{List, Map, Text, Value};
use crate::error::EvalError;
use crate::library::{base64, duration, timestamp};
use crate::types::{Decl, DeclKind};

/// Of what nothing is declared.
pub(super) static DYNAMIC: Decl = Decl { kind: DeclKind::Dyn, elements_max: 0, bytes_min: 1 };

impl<'a> Value<'a> {
    /// A value of which nothing is declared.
    #[must_use]
    pub fn dynamic(json: &'a Json) -> Value<'a> {
        match json {
            Json::Null => Value::Null,
            Json::Bool(value) => Value::Bool(*value),
            Json::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(value), _) => Value::Int(value),
                (None, Some(value)) => Value::Uint(value),
                (None, None) => Value::Double(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(text) => Value::Text(Text::Borrowed(text)),
            Json::Array(items) => Value::List(List::of_json(items, &DYNAMIC, None)),
            Json::Object(map) => Value::Map(Map::Values { map, decl: &DYNAMIC }),
        }
    }

    /// A value as it is declared; data of another shape is an error where it is
    /// looked at.
    pub fn read(json: &'a Json, decl: &'a Decl) -> Result<Value<'a>, EvalError> {
        Ok(match (&decl.kind, json) {
            (DeclKind::Dyn, _) => Value::dynamic(json),
            (DeclKind::Optional(decl), _) => Value::some(Value::read(json, decl)?),
            (_, Json::Null) => Value::Null,
            (DeclKind::Bool, Json::Bool(value)) => Value::Bool(*value),
            (DeclKind::Int, Json::Number(number)) => match number.as_i64() {
                Some(value) => Value::Int(value),
                None => return Err(EvalError::new("invalid data, expected int, got float64")),
            },
            (DeclKind::Double, Json::Number(number)) => {
                Value::Double(number.as_f64().unwrap_or(f64::NAN))
            }
            (DeclKind::Text, Json::String(text)) => Value::Text(Text::Borrowed(text)),
            (DeclKind::Bytes, Json::String(text)) => match base64::decode(text) {
                Some(bytes) => Value::Bytes(bytes.into()),
                None => return Err(malformed("byte", text, "illegal base64 data")),
            },
            (DeclKind::Duration, Json::String(text)) => match duration::parse_loose(text) {
                Some(nanos) => Value::Duration(nanos),
                None => {
                    let message = format!("Invalid duration {text}: unable to parse it");
                    return Err(EvalError::new(message));
                }
            },
            (DeclKind::Date, Json::String(text)) => match timestamp::parse_date(text) {
                Some(at) => Value::Timestamp(at),
                None => return Err(malformed("date", text, "cannot parse it")),
            },
            (DeclKind::Timestamp, Json::String(text)) => match timestamp::parse_loose(text) {
                Some(at) => Value::Timestamp(at),
                None => return Err(malformed("date-time", text, "cannot parse it")),
            },
            (DeclKind::List { items: decl, kind }, Json::Array(items)) => {
                Value::List(List::of_json(items, decl, Some(kind)))
            }
            (DeclKind::Map(decl), Json::Object(map)) => Value::Map(Map::Values { map, decl }),
            (DeclKind::Object(object), Json::Object(map)) => {
                Value::Map(Map::Object { map, object })
            }
            (kind, _) => {
                let wanted = match kind {
                    DeclKind::Bool => "bool",
                    DeclKind::Int => "int",
                    DeclKind::Double => "float",
                    DeclKind::List { .. } => "an array for the provided schema with type=array",
                    DeclKind::Map(_) | DeclKind::Object(_) => {
                        "a map for the provided schema with type=object"
                    }
                    DeclKind::Host(_) => "a value of the host",
                    _ => "string",
                };
                return Err(EvalError::new(format!("invalid data, expected {wanted}")));
            }
        })
    }

    /// The value as JSON; times and durations as texts. `None` for what JSON
    /// does not have.
    #[must_use]
    pub fn to_json(&self) -> Option<Json> {
        Some(match self {
            Value::Null => Json::Null,
            Value::Bool(value) => Json::Bool(*value),
            Value::Int(value) => Json::from(*value),
            Value::Uint(value) => Json::from(*value),
            Value::Double(value) => Json::Number(serde_json::Number::from_f64(*value)?),
            Value::Text(text) => Json::String(text.to_string()),
            Value::Bytes(bytes) => Json::String(base64::encode(bytes)),
            Value::Duration(_) | Value::Timestamp(_) => Json::String(self.to_string()),
            Value::List(list) => {
                let items = list.iter().map(|item| item.ok()?.to_json());
                Json::Array(items.collect::<Option<_>>()?)
            }
            Value::Map(map) => {
                let entries = map.iter().map(|entry| {
                    let (key, value) = entry.ok()?;
                    Some((key.to_string(), value.to_json()?))
                });
                Json::Object(entries.collect::<Option<_>>()?)
            }
            Value::Optional(Some(value)) => value.to_json()?,
            Value::Optional(None) | Value::Type(_) | Value::Library(_) => return None,
        })
    }
}

fn malformed(what: &str, text: &str, why: &str) -> EvalError {
    EvalError::new(format!("Invalid {what} formatted string {text}: {why}"))
}
