//! Lists whose items must differ: as a whole, or by the fields that name them.

use std::{collections::HashMap, sync::Arc};

use resources::FieldError;
use serde_json::{Map, Value};

use crate::{List, ListKind, path::Step};

pub(super) fn check(list: &List, items: &[Value], at: &Step<'_>, errors: &mut Vec<FieldError>) {
    match &list.kind {
        ListKind::Atomic => {}
        ListKind::Set => {
            for (index, item) in repeated(items.iter()) {
                errors.push(FieldError::duplicate(at.index(index).keyed(), item));
            }
        }
        ListKind::Map(keys) => {
            let odd = |item: &Value| !item.is_object() && !item.is_null();
            if let Some(index) = items.iter().position(odd) {
                let detail = "must be an object for an array of list-type map";
                let at = at.index(index).keyed();
                errors.push(FieldError::invalid_json(at, &items[index], detail));
                return;
            }
            if items.len() < 2 {
                return;
            }
            let named: Vec<Value> = items.iter().map(|item| names(keys, item)).collect();
            for (index, name) in repeated(named.iter()) {
                errors.push(FieldError::duplicate(at.index(index).keyed(), name));
            }
        }
    }
}

/// What tells an item of a map list apart, as a key to look it up by.
pub(super) fn key(keys: &[Arc<str>], item: &Value) -> String {
    names(keys, item).to_string()
}

/// The item with nothing but its keys.
fn names(keys: &[Arc<str>], item: &Value) -> Value {
    let found = keys
        .iter()
        .filter_map(|key| item.get(&**key).map(|value| (key.to_string(), value.clone())));
    Value::Object(found.collect::<Map<_, _>>())
}

/// Where values come for the second time; a third time is not told again.
fn repeated<'a>(values: impl Iterator<Item = &'a Value>) -> Vec<(usize, &'a Value)> {
    let mut times: HashMap<String, usize> = HashMap::new();
    let mut found = Vec::new();
    for (index, value) in values.enumerate() {
        let times = times.entry(value.to_string()).or_default();
        *times += 1;
        if *times == 2 {
            found.push((index, value));
        }
    }
    found
}
