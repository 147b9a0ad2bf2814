//! Where a value is: in memory, or at a place the caller can fetch from.

use std::{cell::RefCell, collections::HashMap};

use bytes::Bytes;
use kv::{Revision, Value};

/// A value as the index and the base hold it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handle {
    Inline(Value),
    /// Written by the put of this key at this revision. A key is put at most
    /// once in a revision, so that names the value for as long as it lives.
    At(Revision),
}

/// A value that lives outside of memory.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    pub key: Bytes,
    /// Revision of the put that wrote the value.
    pub written: Revision,
}

/// Values fetched for one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Values {
    fetched: HashMap<Place, Value>,
}

/// How reading rules come by the bytes of a [`Handle`].
pub(crate) trait Resolve {
    fn resolve(&self, key: &Bytes, handle: &Handle) -> Value;
}

/// Resolves nothing and remembers what was asked for.
pub(crate) struct Missing<'a> {
    known: &'a Values,
    places: RefCell<Vec<Place>>,
}

// === impl Handle ===

impl Handle {
    /// Bytes that it holds in memory beside itself.
    pub(crate) fn inline_bytes(&self) -> usize {
        match self {
            Handle::Inline(value) => value.len(),
            Handle::At(_) => 0,
        }
    }
}

// === impl Values ===

impl Values {
    pub fn insert(&mut self, place: Place, value: Value) {
        self.fetched.insert(place, value);
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fetched.is_empty()
    }

    fn get(&self, key: &Bytes, written: Revision) -> Option<&Value> {
        // A lookup by reference would need a borrowed form of the pair; the
        // clone is a reference count, and only values outside of memory pay it.
        self.fetched.get(&Place { key: key.clone(), written })
    }
}

impl Resolve for Values {
    fn resolve(&self, key: &Bytes, handle: &Handle) -> Value {
        match handle {
            Handle::Inline(value) => value.clone(),
            Handle::At(written) => self
                .get(key, *written)
                .cloned()
                .expect("the caller fetches all that `needs` names before it goes on"),
        }
    }
}

// === impl Missing ===

impl<'a> Missing<'a> {
    pub(crate) fn new(known: &'a Values) -> Missing<'a> {
        Missing { known, places: RefCell::default() }
    }

    pub(crate) fn into_places(self) -> Vec<Place> {
        let mut places = self.places.into_inner();
        places.sort_unstable();
        places.dedup();
        places
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.places.borrow().is_empty()
    }
}

impl Resolve for Missing<'_> {
    fn resolve(&self, key: &Bytes, handle: &Handle) -> Value {
        match handle {
            Handle::Inline(value) => value.clone(),
            Handle::At(written) => self.known.get(key, *written).cloned().unwrap_or_else(|| {
                self.places.borrow_mut().push(Place { key: key.clone(), written: *written });
                Value::new()
            }),
        }
    }
}
