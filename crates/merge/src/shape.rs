//! From a schema to what its values are: names are looked up, once, here.

use std::sync::{Arc, LazyLock};

use schema::{Field, List, ListKind, Object, Presence, Schema, Shape};
use serde_json::{Map, Value};

use crate::fields::Step;

/// What is known of a value; nothing, below what only its owner understands.
pub(crate) type Known<'a> = Option<&'a Schema>;

/// What a value is, where ownership of fields is concerned.
#[derive(Clone, Copy)]
pub(crate) enum Kind<'a> {
    Scalar,
    Map(MapOf<'a>),
    List(ListOf<'a>),
}

/// A map or a struct; without a description its entries may be anything.
#[derive(Clone, Copy)]
pub(crate) struct MapOf<'a>(Option<&'a Object>);

/// A list; without a description it is owned as one value.
#[derive(Clone, Copy)]
pub(crate) struct ListOf<'a>(Option<&'a List>);

/// What a map says of one of its entries.
#[derive(Clone, Copy)]
pub(crate) enum Entry<'a> {
    /// A field of a struct.
    Field(&'a Field),
    /// Of a map, or kept without being known.
    Other(Known<'a>),
    Undeclared,
}

/// The schema that a name stands for; others stand for themselves.
pub(crate) fn resolve(schema: &Schema) -> &Schema {
    schema.resolved()
}

/// The object that values of `schema` are, if they are described as one.
pub(crate) fn object(schema: &Schema) -> Option<&Object> {
    match &resolve(schema).shape {
        Shape::Object(object) => Some(object),
        _ => None,
    }
}

/// What `value` is taken for. Where anything may stand, the value says.
pub(crate) fn kind<'a>(known: Known<'a>, value: &Value) -> Kind<'a> {
    match known.map(|schema| &resolve(schema).shape) {
        Some(Shape::Object(object)) => Kind::Map(MapOf(Some(object))),
        Some(Shape::List(list)) => Kind::List(ListOf(Some(list))),
        None | Some(Shape::Any | Shape::Named(_)) => match value {
            Value::Array(_) => Kind::List(ListOf(None)),
            Value::Object(_) | Value::Null => Kind::Map(MapOf(None)),
            _ => Kind::Scalar,
        },
        Some(_) => Kind::Scalar,
    }
}

// === impl Kind ===

impl Kind<'_> {
    pub fn is_same(self, other: Kind<'_>) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }
}

// === impl MapOf ===

impl<'a> MapOf<'a> {
    /// Owned and replaced as one value.
    pub fn is_atomic(self) -> bool {
        self.0.is_some_and(|object| object.atomic)
    }

    pub fn entry(self, name: &str) -> Entry<'a> {
        let Some(object) = self.0 else { return Entry::Other(None) };
        if let Some(field) = object.field(name) {
            return Entry::Field(field);
        }
        let meta = || object.embedded && matches!(name, "apiVersion" | "kind" | "metadata");
        match &object.additional {
            Some(schema) => Entry::Other(Some(schema)),
            None if object.open || object.fields.is_empty() || meta() => Entry::Other(None),
            None => Entry::Undeclared,
        }
    }
}

// === impl Entry ===

impl<'a> Entry<'a> {
    pub fn known(self) -> Known<'a> {
        match self {
            Entry::Field(field) => Some(&field.schema),
            Entry::Other(known) => known,
            Entry::Undeclared => None,
        }
    }

    /// What a struct holds in the field when nobody has set it.
    pub fn unset(self) -> Option<&'static Value> {
        static ZERO: LazyLock<Value> = LazyLock::new(|| 0.into());
        static LIST: Value = Value::Null;
        static FLAG: Value = Value::Bool(false);
        static TEXT: Value = Value::String(String::new());
        static MAP: LazyLock<Value> = LazyLock::new(|| Value::Object(Map::new()));
        match self {
            Entry::Field(field) if field.presence == Presence::Always => {
                match &resolve(&field.schema).shape {
                    Shape::Object(_) => Some(&MAP),
                    Shape::List(_) => Some(&LIST),
                    Shape::Boolean => Some(&FLAG),
                    Shape::Text(_) => Some(&TEXT),
                    Shape::Integer(_) => Some(&ZERO),
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

// === impl ListOf ===

impl<'a> ListOf<'a> {
    pub fn is_atomic(self) -> bool {
        self.0.is_none_or(|list| list.kind == ListKind::Atomic)
    }

    pub fn items(self) -> Known<'a> {
        self.0.map(|list| &*list.items)
    }

    /// How the items are told apart, in their order.
    pub fn steps(self, list: &[Value]) -> Result<Vec<Step>, String> {
        let steps = list.iter().enumerate();
        let steps = steps.map(|(index, item)| {
            self.step(item).map_err(|message| format!("element {index}: {message}"))
        });
        steps.collect()
    }

    fn step(self, item: &Value) -> Result<Step, String> {
        match self.0.map(|list| &list.kind) {
            Some(ListKind::Map(keys)) => match item {
                Value::Object(map) => self.keyed(map, keys),
                Value::Null => Err("associative list with keys may not have a null element".into()),
                _ => Err("associative list with keys may not have non-map elements".into()),
            },
            Some(ListKind::Set) => match item {
                Value::Object(_) => {
                    Err("associative list without keys has an element that's a map type".into())
                }
                Value::Array(_) => {
                    Err("not supported: associative list with lists as elements".into())
                }
                Value::Null => {
                    let message =
                        "associative list without keys has an element that's an explicit null";
                    Err(message.into())
                }
                scalar => Ok(Step::value(scalar)),
            },
            _ => Err("invalid indexing of non-associative list".into()),
        }
    }

    /// A key that is absent counts as its default; without one, its absence
    /// is part of the item's identity.
    fn keyed(self, item: &Map<String, Value>, keys: &[Arc<str>]) -> Result<Step, String> {
        let object = self.items().and_then(object);
        let default = |key: &str| object?.field(key)?.schema.default.as_ref();
        let mut found: Vec<(&str, &Value)> = keys
            .iter()
            .filter_map(|key| Some((&**key, item.get(&**key).or_else(|| default(key))?)))
            .collect();
        if found.is_empty() {
            let keys: Vec<String> = keys.iter().map(|key| crate::go::quote(key)).collect();
            return Err(format!(
                "associative list with keys has an element that omits all key fields [{}] (and \
                 doesn't have default values for any key fields)",
                keys.join(" ")
            ));
        }
        found.sort_unstable_by_key(|(key, _)| *key);
        Ok(Step::key(&found))
    }
}
