//! Conversions between types.

use std::sync::Arc;

use super::timestamp::{self, Timestamp};
use super::{Apply, LibraryValue, duration};
use crate::error::EvalError;
use crate::value::{Entries, Map, Value};

pub use super::goformat::double_to_text;

pub const SIGNATURES: &str = "
    type(A) -> type(A)
    dyn(A) -> dyn
    bool(bool) -> bool
    bool(string) -> bool
    bytes(bytes) -> bytes
    bytes(string) -> bytes
    double(double) -> double
    double(int) -> double
    double(string) -> double
    double(uint) -> double
    duration(duration) -> duration
    duration(string) -> duration
    int(int) -> int
    int(double) -> int
    int(duration) -> int
    int(string) -> int
    int(timestamp) -> int
    int(uint) -> int
    string(string) -> string
    string(bool) -> string
    string(bytes) -> string
    string(double) -> string
    string(duration) -> string
    string(int) -> string
    string(timestamp) -> string
    string(uint) -> string
    string(ip) -> string
    string(cidr) -> string
    timestamp(timestamp) -> timestamp
    timestamp(int) -> timestamp
    timestamp(string) -> timestamp
    uint(uint) -> uint
    uint(double) -> uint
    uint(int) -> uint
    uint(string) -> uint
";

pub fn find(name: &str) -> Option<Apply> {
    Some(match name {
        "type" => |_, args| one(args, |value| Ok(Value::Type(value.type_name()))),
        "dyn" => |_, args| one(args, |value| Ok(value.clone())),
        "bool" => |_, args| one(args, to_bool),
        "bytes" => |_, args| one(args, to_bytes),
        "double" => |_, args| one(args, to_double),
        "duration" => |_, args| one(args, to_duration),
        "int" => |_, args| one(args, to_int),
        "string" => |_, args| one(args, to_text),
        "timestamp" => |_, args| one(args, to_timestamp),
        "uint" => |_, args| one(args, to_uint),
        _ => return None,
    })
}

type Converted<'a> = Result<Value<'a>, EvalError>;

fn one<'a>(args: &[Value<'a>], convert: fn(&Value<'a>) -> Converted<'a>) -> Converted<'a> {
    match args {
        [value] => convert(value),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn failed(value: &Value<'_>, to: &str) -> EvalError {
    let from = value.type_name();
    EvalError::new(format!("type conversion error from '{from}' to '{to}'"))
}

fn to_bool<'a>(value: &Value<'a>) -> Converted<'a> {
    match value {
        Value::Bool(value) => Ok(Value::Bool(*value)),
        Value::Text(text) => match &**text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
            _ => Err(failed(value, "bool")),
        },
        _ => Err(EvalError::no_such_overload()),
    }
}

fn to_bytes<'a>(value: &Value<'a>) -> Converted<'a> {
    match value {
        Value::Bytes(bytes) => Ok(Value::Bytes(bytes.clone())),
        Value::Text(text) => Ok(Value::Bytes(text.as_bytes().into())),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn to_double<'a>(value: &Value<'a>) -> Converted<'a> {
    Ok(Value::Double(match value {
        Value::Double(value) => *value,
        Value::Int(value) => *value as f64,
        Value::Uint(value) => *value as f64,
        Value::Text(text) => text.parse().map_err(|_| failed(value, "double"))?,
        _ => return Err(EvalError::no_such_overload()),
    }))
}

fn to_duration<'a>(value: &Value<'a>) -> Converted<'a> {
    match value {
        Value::Duration(nanos) => Ok(Value::Duration(*nanos)),
        Value::Text(text) => match duration::parse(text) {
            Ok(nanos) => Ok(Value::Duration(nanos)),
            Err(_) => Err(failed(value, "google.protobuf.Duration")),
        },
        _ => Err(EvalError::no_such_overload()),
    }
}

fn to_int<'a>(value: &Value<'a>) -> Converted<'a> {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    let overflow = || EvalError::new("integer overflow");
    Ok(Value::Int(match value {
        Value::Int(value) | Value::Duration(value) => *value,
        Value::Uint(value) => i64::try_from(*value).map_err(|_| overflow())?,
        Value::Double(value) if *value > -LIMIT && *value < LIMIT => *value as i64,
        Value::Double(_) => return Err(overflow()),
        Value::Text(text) => text.parse().map_err(|_| failed(value, "int"))?,
        Value::Timestamp(at) => at.seconds(),
        _ => return Err(EvalError::no_such_overload()),
    }))
}

fn to_uint<'a>(value: &Value<'a>) -> Converted<'a> {
    const LIMIT: f64 = 18_446_744_073_709_551_616.0;
    let overflow = || EvalError::new("unsigned integer overflow");
    Ok(Value::Uint(match value {
        Value::Uint(value) => *value,
        Value::Int(value) => u64::try_from(*value).map_err(|_| overflow())?,
        Value::Double(value) if *value >= 0.0 && *value < LIMIT => *value as u64,
        Value::Double(_) => return Err(overflow()),
        Value::Text(text) if text.starts_with('+') => return Err(failed(value, "uint")),
        Value::Text(text) => text.parse().map_err(|_| failed(value, "uint"))?,
        _ => return Err(EvalError::no_such_overload()),
    }))
}

fn to_text<'a>(value: &Value<'a>) -> Converted<'a> {
    match value {
        Value::Text(_) => Ok(value.clone()),
        Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Value::text(text)),
            Err(_) => Err(EvalError::new("invalid UTF-8 in bytes, cannot convert to string")),
        },
        Value::Bool(_)
        | Value::Double(_)
        | Value::Duration(_)
        | Value::Int(_)
        | Value::Timestamp(_)
        | Value::Uint(_) => Ok(Value::text(value.to_string())),
        Value::Library(library) => match &**library {
            LibraryValue::Ip(_) | LibraryValue::Cidr(_) => Ok(Value::text(library.to_string())),
            _ => Err(EvalError::no_such_overload()),
        },
        _ => Err(EvalError::no_such_overload()),
    }
}

fn to_timestamp<'a>(value: &Value<'a>) -> Converted<'a> {
    match value {
        Value::Timestamp(at) => Ok(Value::Timestamp(*at)),
        Value::Int(seconds) => Timestamp::new(*seconds, 0).map(Value::Timestamp),
        Value::Text(text) => match timestamp::parse(text) {
            Ok(at) => Ok(Value::Timestamp(at)),
            Err(timestamp::Error::Overflow) => Err(EvalError::new("timestamp overflow")),
            Err(timestamp::Error::Malformed) => Err(failed(value, "google.protobuf.Timestamp")),
        },
        _ => Err(EvalError::no_such_overload()),
    }
}

/// The value without what it borrows.
pub fn detached(value: &Value<'_>) -> Result<Value<'static>, EvalError> {
    Ok(match value {
        Value::Null => Value::Null,
        Value::Bool(value) => Value::Bool(*value),
        Value::Int(value) => Value::Int(*value),
        Value::Uint(value) => Value::Uint(*value),
        Value::Double(value) => Value::Double(*value),
        Value::Text(text) => Value::text(&**text),
        Value::Bytes(bytes) => Value::Bytes(bytes.clone()),
        Value::Duration(nanos) => Value::Duration(*nanos),
        Value::Timestamp(at) => Value::Timestamp(*at),
        Value::Type(name) => Value::Type(name.clone()),
        Value::Optional(None) => Value::Optional(None),
        Value::Optional(Some(value)) => Value::some(detached(value)?),
        Value::List(list) => {
            Value::list(list.iter().map(|item| detached(&item?)).collect::<Result<_, _>>()?)
        }
        Value::Map(map) => {
            let mut entries = Entries::default();
            for entry in map.iter() {
                let (key, value) = entry?;
                entries.replace(detached(&key)?, detached(&value)?)?;
            }
            Value::Map(Map::Made(Arc::new(entries)))
        }
        Value::Library(_) => return Err(EvalError::no_such_overload()),
    })
}
