//! Values while an expression is evaluated.
//!
//! What comes from JSON stays where it is and is read when it is asked for;
//! what an expression makes is shared.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

mod compare;
mod list;
mod map;
mod read;

pub use list::List;
pub use map::{Entries, Map};

use crate::error::EvalError;
use crate::library::LibraryValue;
use crate::library::timestamp::Timestamp;

#[derive(Clone, Debug)]
pub enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(Text<'a>),
    Bytes(Arc<[u8]>),
    /// In nanoseconds.
    Duration(i64),
    Timestamp(Timestamp),
    List(List<'a>),
    Map(Map<'a>),
    /// A type, by its name.
    Type(Arc<str>),
    Optional(Option<Arc<Value<'a>>>),
    Library(Arc<LibraryValue<'a>>),
}

/// A text that lies in the data, or was made.
#[derive(Clone)]
pub enum Text<'a> {
    Borrowed(&'a str),
    Shared(Arc<str>),
}

// === impl Value ===

impl<'a> Value<'a> {
    pub fn text(text: impl Into<Arc<str>>) -> Value<'a> {
        Value::Text(Text::Shared(text.into()))
    }

    #[must_use]
    pub fn list(items: Vec<Value<'a>>) -> Value<'a> {
        Value::List(List::Made(Arc::new(items)))
    }

    /// A map by texts; of equal names the last counts.
    #[must_use]
    pub fn record(fields: impl IntoIterator<Item = (String, Value<'a>)>) -> Value<'a> {
        let mut entries = map::Entries::default();
        for (name, value) in fields {
            entries.replace(Value::text(name), value).expect("a text can be a key");
        }
        Value::Map(Map::Made(Arc::new(entries)))
    }

    #[must_use]
    pub fn some(value: Value<'a>) -> Value<'a> {
        Value::Optional(Some(Arc::new(value)))
    }

    #[must_use]
    pub fn library(value: LibraryValue<'a>) -> Value<'a> {
        Value::Library(Arc::new(value))
    }

    pub(crate) fn as_bool(&self) -> Result<bool, EvalError> {
        match self {
            Value::Bool(value) => Ok(*value),
            _ => Err(EvalError::no_such_overload()),
        }
    }

    /// What `type()` calls it.
    #[must_use]
    pub fn type_name(&self) -> Arc<str> {
        match self {
            Value::Null => "null_type",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Uint(_) => "uint",
            Value::Double(_) => "double",
            Value::Text(_) => "string",
            Value::Bytes(_) => "bytes",
            Value::Duration(_) => "google.protobuf.Duration",
            Value::Timestamp(_) => "google.protobuf.Timestamp",
            Value::List(_) => "list",
            Value::Map(_) => "map",
            Value::Type(_) => "type",
            Value::Optional(_) => "optional_type",
            Value::Library(value) => value.type_name(),
        }
        .into()
    }

    /// Elements, characters or bytes; 1 for what has no size. What costs are
    /// counted by.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self {
            Value::Text(text) => characters(text),
            Value::Bytes(bytes) => bytes.len() as u64,
            Value::List(list) => list.len() as u64,
            Value::Map(map) => map.len() as u64,
            Value::Optional(Some(value)) => value.size(),
            Value::Library(value) => value.size(),
            _ => 1,
        }
    }

    /// Whether `optional.ofNonZeroValue` takes it for nothing.
    pub(crate) fn is_zero(&self) -> bool {
        match self {
            Value::Null => true,
            Value::Bool(value) => !value,
            Value::Int(value) | Value::Duration(value) => *value == 0,
            Value::Uint(value) => *value == 0,
            Value::Double(value) => *value == 0.0,
            Value::Text(text) => text.is_empty(),
            Value::Bytes(bytes) => bytes.is_empty(),
            Value::List(list) => list.is_empty(),
            Value::Map(map) => map.is_empty(),
            Value::Optional(value) => value.is_none(),
            Value::Timestamp(_) | Value::Type(_) | Value::Library(_) => false,
        }
    }
}

/// How many characters, fast for what is all ASCII.
pub(crate) fn characters(text: &str) -> u64 {
    if text.is_ascii() { text.len() as u64 } else { text.chars().count() as u64 }
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}

/// As errors and messages show it.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("null"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Int(value) => write!(f, "{value}"),
            Value::Uint(value) => write!(f, "{value}"),
            Value::Double(value) => f.write_str(&crate::library::convert::double_to_text(*value)),
            Value::Text(text) => f.write_str(text),
            Value::Bytes(bytes) => f.write_str(&String::from_utf8_lossy(bytes)),
            Value::Duration(nanos) => f.write_str(&crate::library::duration::to_text(*nanos)),
            Value::Timestamp(at) => write!(f, "{at}"),
            Value::List(list) => {
                f.write_str("[")?;
                for (index, item) in list.iter().enumerate() {
                    let comma = if index > 0 { ", " } else { "" };
                    write!(f, "{comma}{}", item.map_err(|_| fmt::Error)?)?;
                }
                f.write_str("]")
            }
            Value::Map(map) => {
                f.write_str("{")?;
                for (index, entry) in map.iter().enumerate() {
                    let (key, value) = entry.map_err(|_| fmt::Error)?;
                    let comma = if index > 0 { ", " } else { "" };
                    write!(f, "{comma}{key}: {value}")?;
                }
                f.write_str("}")
            }
            Value::Type(name) => f.write_str(name),
            Value::Optional(None) => f.write_str("optional.none()"),
            Value::Optional(Some(value)) => write!(f, "optional({value})"),
            Value::Library(value) => write!(f, "{value}"),
        }
    }
}

// === impl Text ===

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Text::Borrowed(text) => text,
            Text::Shared(text) => text,
        }
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}
