//! What a reader gives out.

use std::borrow::Cow;

/// A value that is not looked into until someone asks.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    Null,
    Bool(bool),
    Int(i32),
    Long(i64),
    Double(f64),
    /// Milliseconds since 1970.
    Date(i64),
    Text(Cow<'a, str>),
    /// A string longer than [`super::TEXT_BYTES_MAX`].
    LongText,
    Binary,
    Node(Node),
}

/// A list, map or object, by where it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    pub(super) at: u32,
}

// === impl Node ===

impl Node {
    pub(crate) fn begins_at(self, position: usize) -> bool {
        self.at as usize == position
    }
}

// === impl Value ===

impl<'a> Value<'a> {
    /// As a key of routing: a string, or a whole number in decimal.
    #[must_use]
    pub fn key(self) -> Option<Cow<'a, str>> {
        match self {
            Value::Text(text) => Some(text),
            Value::Int(number) => Some(number.to_string().into()),
            Value::Long(number) => Some(number.to_string().into()),
            _ => None,
        }
    }

    /// Of a string.
    #[must_use]
    pub fn text(self) -> Option<Cow<'a, str>> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}
