//! Maps and objects: of the data, or made.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map as JsonMap, Value as Json};

use super::read::DYNAMIC;
use super::{Text, Value};
use crate::error::EvalError;
use crate::types::declared::Object;
use crate::types::{Decl, escape, unescape};

#[derive(Clone, Debug)]
pub enum Map<'a> {
    /// Any keys, all values of one kind.
    Values {
        map: &'a JsonMap<String, Json>,
        decl: &'a Decl,
    },
    /// The fields that are declared.
    Object {
        map: &'a JsonMap<String, Json>,
        object: &'a Object,
    },
    Made(Arc<Entries<'a>>),
}

/// Entries in the order in which they were made, found by key.
#[derive(Clone, Debug, Default)]
pub struct Entries<'a> {
    entries: Vec<(Value<'a>, Value<'a>)>,
    places: BTreeMap<Key, usize>,
}

/// What tells keys, and elements of sets, apart: integers of both kinds are one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Bool(bool),
    Integer(i128),
    Text(String),
    /// Of what no map has as a key: as it is shown.
    Shown(String),
}

// === impl Map ===

impl<'a> Map<'a> {
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Map::Values { map, .. } | Map::Object { map, .. } => map.len(),
            Map::Made(entries) => entries.entries.len(),
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn find(&self, key: &Value<'_>) -> Result<Option<Value<'a>>, EvalError> {
        match (self, key) {
            (Map::Made(entries), key) => Ok(entries.find(key)),
            (_, Value::Text(text)) => self.find_text(text),
            _ => Err(EvalError::no_such_overload()),
        }
    }

    /// What is under an identifier; in an object no value is as no field.
    pub fn find_text(&self, key: &str) -> Result<Option<Value<'a>>, EvalError> {
        match self {
            Map::Values { map, decl } => {
                map.get(key).map(|json| Value::read(json, decl)).transpose()
            }
            Map::Object { map, object } => {
                let read = |name: &str, decl: &'a Decl| match map.get(name) {
                    None | Some(Json::Null) => Ok(None),
                    Some(json) => Value::read(json, decl).map(Some),
                };
                if let Some(field) = object.field(key) {
                    return read(&field.name, &field.decl);
                }
                match unescape(key) {
                    Some(name) => match object.decl_of(&name) {
                        Some(decl) => read(&name, decl),
                        None => Ok(None),
                    },
                    None => Ok(None),
                }
            }
            Map::Made(entries) => Ok(entries.find(&Value::Text(Text::Shared(key.into())))),
        }
    }

    /// What JSON has under `name`, which is no identifier.
    pub(super) fn find_field(&self, name: &str) -> Result<Option<Value<'a>>, EvalError> {
        match (self, escape(name)) {
            (Map::Object { .. }, Some(identifier)) => self.find_text(&identifier),
            (Map::Object { .. }, None) => Ok(None),
            _ => self.find_text(name),
        }
    }

    /// The keys that expressions see.
    pub fn keys(&self) -> Vec<Value<'a>> {
        match self {
            Map::Values { map, .. } => {
                map.keys().map(|key| Value::Text(Text::Borrowed(key))).collect()
            }
            Map::Object { map, object } => object
                .fields
                .iter()
                .filter(|field| map.contains_key(&*field.name))
                .map(|field| Value::Text(Text::Borrowed(&field.identifier)))
                .collect(),
            Map::Made(entries) => entries.entries.iter().map(|(key, _)| key.clone()).collect(),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = Result<(Value<'a>, Value<'a>), EvalError>> + '_ {
        self.keys().into_iter().map(|key| {
            let value = self.find(&key)?.unwrap_or(Value::Null);
            Ok((key, value))
        })
    }

    /// Whether it lies in data whose type is declared.
    pub(super) fn is_declared(&self) -> bool {
        match self {
            Map::Values { decl, .. } => !std::ptr::eq(*decl, &DYNAMIC),
            Map::Object { .. } => true,
            Map::Made(_) => false,
        }
    }

    pub(crate) fn equals(&self, other: &Map<'a>) -> Result<bool, EvalError> {
        if self.len() != other.len() {
            return Ok(false);
        }
        if let (Map::Object { map, .. }, Map::Object { map: other, .. }) = (self, other)
            && std::ptr::eq(*map, *other)
        {
            return Ok(true);
        }
        for entry in self.iter() {
            let (key, value) = entry?;
            match other.find(&key)? {
                Some(other) if value.equals(&other)? => {}
                None if matches!(value, Value::Null) && matches!(self, Map::Object { .. }) => {}
                _ => return Ok(false),
            }
        }
        Ok(match (self, other) {
            (Map::Object { map, object }, Map::Object { map: other, .. }) => {
                unseen_equal(map, other, object)
            }
            _ => true,
        })
    }
}

/// Whether fields that expressions do not see are equal as well.
fn unseen_equal(
    map: &JsonMap<String, Json>,
    other: &JsonMap<String, Json>,
    object: &Object,
) -> bool {
    map.iter()
        .filter(|(name, _)| object.decl_of(name).is_none())
        .all(|(name, value)| other.get(name).is_none_or(|other| other == value))
}

// === impl Entries ===

impl<'a> Entries<'a> {
    fn find(&self, key: &Value<'_>) -> Option<Value<'a>> {
        let place = self.places.get(&Key::of(key)?)?;
        Some(self.entries[*place].1.clone())
    }

    /// Adds one; a key comes once.
    pub(crate) fn insert(&mut self, key: Value<'a>, value: Value<'a>) -> Result<(), EvalError> {
        let Some(place) = Key::of(&key) else {
            return Err(EvalError::new(format!("unsupported key type: {}", key.type_name())));
        };
        if self.places.contains_key(&place) {
            return Err(EvalError::new(format!("insert failed: key {key} already exists")));
        }
        self.places.insert(place, self.entries.len());
        self.entries.push((key, value));
        Ok(())
    }

    pub(crate) fn replace(&mut self, key: Value<'a>, value: Value<'a>) -> Result<(), EvalError> {
        match Key::of(&key).and_then(|key| self.places.get(&key).copied()) {
            Some(place) => {
                self.entries[place].1 = value;
                Ok(())
            }
            None => self.insert(key, value),
        }
    }
}

// === impl Key ===

impl Key {
    /// Of any element of a set.
    pub(super) fn of_element(value: &Value<'_>) -> Key {
        Key::of(value).unwrap_or_else(|| match value.to_json() {
            Some(json) => Key::Shown(json.to_string()),
            None => Key::Shown(value.to_string()),
        })
    }

    fn of(value: &Value<'_>) -> Option<Key> {
        Some(match value {
            Value::Bool(value) => Key::Bool(*value),
            Value::Int(value) => Key::Integer((*value).into()),
            Value::Uint(value) => Key::Integer((*value).into()),
            Value::Double(value) if value.fract() == 0.0 && value.abs() < 1e18 => {
                Key::Integer(*value as i128)
            }
            Value::Text(text) => Key::Text(text.to_string()),
            _ => return None,
        })
    }
}
