//! A look at one schema as OpenAPI writes it; absent and null are one.

use serde_json::{Map, Value};

/// Of schemas in schemas; what is deeper could not be read anyway.
const DEPTH_MAX: usize = 128;

/// The largest published CRDs have some 10,000.
const NODES_MAX: usize = 100_000;

#[derive(Clone, Copy)]
pub(super) struct Node<'a>(Option<&'a Map<String, Value>>);

// === impl Node ===

impl<'a> Node<'a> {
    pub(super) fn of(value: &'a Value) -> Node<'a> {
        Node(value.as_object())
    }

    pub(super) fn get(self, name: &str) -> Option<&'a Value> {
        self.0?.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn text(self, name: &str) -> &'a str {
        self.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    pub(super) fn kind(self) -> &'a str {
        self.text("type")
    }

    pub(super) fn flag(self, name: &str) -> bool {
        self.get(name).and_then(Value::as_bool).unwrap_or_default()
    }

    /// A list that has something in it.
    pub(super) fn list(self, name: &str) -> &'a [Value] {
        self.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }

    pub(super) fn nodes(self, name: &str) -> impl Iterator<Item = (usize, Node<'a>)> {
        self.list(name).iter().map(Node::of).enumerate()
    }

    pub(super) fn properties(self) -> impl Iterator<Item = (&'a str, Node<'a>)> {
        let properties = self.get("properties").and_then(Value::as_object);
        properties.into_iter().flatten().map(|(name, value)| (name.as_str(), Node::of(value)))
    }

    pub(super) fn property(self, name: &str) -> Option<Node<'a>> {
        self.get("properties")?.get(name).map(Node::of)
    }

    /// The schema under a name, where it is one.
    pub(super) fn child(self, name: &str) -> Option<Node<'a>> {
        self.get(name).filter(|value| value.is_object()).map(Node::of)
    }

    pub(super) fn map(self) -> Option<&'a Map<String, Value>> {
        self.0
    }

    /// Something is said, and it is not nothing.
    pub(super) fn has(self, name: &str) -> bool {
        match self.get(name) {
            None | Some(Value::Null | Value::Bool(false)) => false,
            Some(Value::String(text)) => !text.is_empty(),
            Some(Value::Array(list)) => !list.is_empty(),
            Some(_) => true,
        }
    }

    pub(super) fn is_too_large(self) -> bool {
        fn count(value: &Value, depth: usize, left: &mut usize) -> bool {
            if depth > DEPTH_MAX || *left == 0 {
                return true;
            }
            *left -= 1;
            match value {
                Value::Array(list) => list.iter().any(|value| count(value, depth + 1, left)),
                Value::Object(map) => map.values().any(|value| count(value, depth + 1, left)),
                _ => false,
            }
        }
        let mut left = NODES_MAX * 4;
        self.0.is_some_and(|map| map.values().any(|value| count(value, 0, &mut left)))
    }
}
