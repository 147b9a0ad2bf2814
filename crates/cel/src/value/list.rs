//! Lists: of the data, or made.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use schema::ListKind;
use serde_json::Value as Json;

use super::Value;
use super::map::Key;
use crate::error::EvalError;
use crate::types::Decl;

#[derive(Clone, Debug)]
pub enum List<'a> {
    Json {
        items: &'a [Json],
        decl: &'a Decl,
        kind: Option<&'a ListKind>,
    },
    Made(Arc<Vec<Value<'a>>>),
    /// Made of a set, or of a map by keys: it stays one.
    Keyed {
        items: Arc<Vec<Value<'a>>>,
        kind: &'a ListKind,
    },
}

// === impl List ===

impl<'a> List<'a> {
    pub(super) fn of_json(
        items: &'a [Json],
        decl: &'a Decl,
        kind: Option<&'a ListKind>,
    ) -> List<'a> {
        List::Json { items, decl, kind }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            List::Json { items, .. } => items.len(),
            List::Made(items) | List::Keyed { items, .. } => items.len(),
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The element at a place that there is.
    pub fn get(&self, index: usize) -> Result<Value<'a>, EvalError> {
        match self {
            List::Json { items, decl, .. } => Value::read(&items[index], decl),
            List::Made(items) | List::Keyed { items, .. } => Ok(items[index].clone()),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = Result<Value<'a>, EvalError>> + '_ {
        (0..self.len()).map(|index| self.get(index))
    }

    pub(crate) fn to_vec(&self) -> Result<Vec<Value<'a>>, EvalError> {
        self.iter().collect()
    }

    pub(crate) fn contains(&self, wanted: &Value<'a>) -> Result<bool, EvalError> {
        for item in self.iter() {
            if item?.equals(wanted)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What tells its elements apart, where order does not.
    fn identity(&self) -> Option<&'a ListKind> {
        match self {
            List::Json { kind: Some(kind @ (ListKind::Set | ListKind::Map(_))), .. }
            | List::Keyed { kind, .. } => Some(kind),
            _ => None,
        }
    }

    /// Lists that are sets or maps are equal in whatever order.
    pub(crate) fn equals(&self, other: &List<'a>) -> Result<bool, EvalError> {
        if self.len() != other.len() {
            return Ok(false);
        }
        if let Some(kind) = self.identity() {
            let places = places(&other.to_vec()?, kind)?;
            for item in self.iter() {
                let item = item?;
                match places.get(&identity_of(&item, kind)?) {
                    Some(at) if other.get(*at)?.equals(&item)? => {}
                    _ => return Ok(false),
                }
            }
            return Ok(true);
        }
        for (one, another) in self.iter().zip(other.iter()) {
            if !one?.equals(&another?)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// One after the other; sets are united, and in maps by key the other's
    /// elements take the place of those they have the key of.
    pub(crate) fn add(&self, other: &List<'a>) -> Result<List<'a>, EvalError> {
        let mut items = self.to_vec()?;
        let Some(kind) = self.identity() else {
            items.extend(other.to_vec()?);
            return Ok(List::Made(Arc::new(items)));
        };
        let mut places = places(&items, kind)?;
        for item in other.iter() {
            let item = item?;
            match places.entry(identity_of(&item, kind)?) {
                Entry::Occupied(place) => items[*place.get()] = item,
                Entry::Vacant(place) => {
                    place.insert(items.len());
                    items.push(item);
                }
            }
        }
        Ok(List::Keyed { items: Arc::new(items), kind })
    }

    /// Whether it lies in data whose type is declared.
    pub(super) fn is_declared(&self) -> bool {
        matches!(self, List::Json { kind: Some(_), .. } | List::Keyed { .. })
    }
}

/// What tells one element of a set or map from the others.
type Identity = Vec<Option<Key>>;

fn identity_of(item: &Value<'_>, kind: &ListKind) -> Result<Identity, EvalError> {
    match (kind, item) {
        (ListKind::Map(keys), Value::Map(map)) => {
            keys.iter().map(|key| Ok(map.find_field(key)?.as_ref().map(Key::of_element))).collect()
        }
        _ => Ok(vec![Some(Key::of_element(item))]),
    }
}

/// Where which element is.
fn places(items: &[Value<'_>], kind: &ListKind) -> Result<BTreeMap<Identity, usize>, EvalError> {
    let place = |(place, item)| Ok((identity_of(item, kind)?, place));
    items.iter().enumerate().map(place).collect()
}
