//! Strategic merge patch, for Kubernetes' own kinds: maps merge, nulls delete,
//! and lists whose items have an identity are merged item by item.
//!
//! Which lists those are, and by which field, the schema's [`PatchRule`]s say.
//! Directives: `$patch: replace|delete` on maps and items, `$retainKeys`,
//! `$deleteFromPrimitiveList/…`, and `$setElementOrder/…`, which says in which
//! order the merged list stands. Kinds of users have no such rules; their
//! callers are told to send another kind of patch.

mod error;
mod list;
mod order;

pub use error::Error;

use schema::{PatchRule, Schema, Shape};
use serde_json::{Map, Value};

use crate::shape;

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const ORDER: &str = "$setElementOrder";
const DELETE_FROM: &str = "$deleteFromPrimitiveList";

/// Of fields that have none.
const NO_RULE: &PatchRule = &PatchRule { merge: false, retain_keys: false, key: None };

/// What is known of the values that a patch and an object hold at one place.
type Known<'a> = Option<&'a Schema>;

/// Applies `patch` to `object`, which is left half-changed by an error.
pub fn merge(object: &mut Value, patch: Value, schema: &Schema) -> Result<(), Error> {
    match (object, patch) {
        (Value::Object(map), Value::Object(patch)) => merge_map(map, patch, Some(schema)),
        _ => Err(Error::DOCUMENT),
    }
}

fn merge_map(
    map: &mut Map<String, Value>,
    mut patch: Map<String, Value>,
    known: Known<'_>,
) -> Result<(), Error> {
    if let Some(directive) = patch.get(PATCH) {
        match directive.as_str() {
            Some("replace") => {
                patch.remove(PATCH);
                *map = patch;
                map.values_mut().for_each(discard_nulls);
            }
            Some("delete") => map.clear(),
            _ => return Err(Error::patch_type(directive, &patch)),
        }
        return Ok(());
    }
    retain_keys(map, &mut patch)?;
    merge_ordered(map, &mut patch, known)?;
    for (key, value) in patch {
        match key.strip_prefix(DELETE_FROM) {
            Some(list) => {
                let list = list.strip_prefix('/').ok_or(Error::PRIMITIVE_LIST)?;
                delete_from(map, list, value)?;
            }
            None => merge_field(map, key, value, known)?,
        }
    }
    Ok(())
}

/// `$retainKeys`: all others go. What the patch itself sets must be named.
fn retain_keys(map: &mut Map<String, Value>, patch: &mut Map<String, Value>) -> Result<(), Error> {
    let Some(retained) = patch.remove(RETAIN_KEYS) else { return Ok(()) };
    let retained = retained.as_array().ok_or(Error::RETAIN_KEYS)?;
    let is_retained = |key: &str| retained.iter().any(|one| one == key);
    let set = patch.iter().filter(|(key, value)| {
        !value.is_null() && !key.starts_with(DELETE_FROM) && !key.starts_with(ORDER)
    });
    if !set.map(|(key, _)| key).all(|key| is_retained(key)) {
        return Err(Error::RETAIN_KEYS);
    }
    map.retain(|key, _| is_retained(key));
    Ok(())
}

/// Lists whose order the patch gives: merged and arranged in one go.
fn merge_ordered(
    map: &mut Map<String, Value>,
    patch: &mut Map<String, Value>,
    known: Known<'_>,
) -> Result<(), Error> {
    let directives: Vec<String> =
        patch.keys().filter(|key| key.starts_with(ORDER)).cloned().collect();
    for directive in directives {
        let order = match patch.remove(&directive) {
            Some(Value::Array(order)) => order,
            Some(other) => return Err(Error::not_a_list(&other)),
            None => continue,
        };
        let name = directive.strip_prefix(ORDER).and_then(|name| name.strip_prefix('/'));
        let name = name.ok_or(Error::ELEMENT_ORDER)?;
        let present = items(map.get(name))?.map(<[Value]>::to_vec);
        let wanted = items(patch.get(name))?.map(<[Value]>::to_vec);
        let (items, rule) = lookup_list(known, name)?;
        let key = rule.key.as_deref();
        order::check(wanted.as_deref().unwrap_or_default(), &order, key)?;
        let merged = match (&present, &wanted) {
            (None, None) => continue,
            (Some(present), None) => present.clone(),
            (None, Some(wanted)) => {
                let mut added = Value::Array(wanted.clone());
                discard_nulls(&mut added);
                match without_directives(added) {
                    Some(Value::Array(added)) => added,
                    _ => continue,
                }
            }
            (Some(present), Some(wanted)) => {
                list::merge(present.clone(), wanted.clone(), items, rule)?
            }
        };
        let server_order = present.unwrap_or_default();
        list::element_type(&[&server_order, wanted.as_deref().unwrap_or_default()])?;
        let arranged = order::arrange(merged, &order, &server_order, key)?;
        map.insert(name.to_owned(), Value::Array(arranged));
        patch.remove(name);
    }
    Ok(())
}

fn items(value: Option<&Value>) -> Result<Option<&[Value]>, Error> {
    match value {
        None => Ok(None),
        Some(Value::Array(list)) => Ok(Some(list)),
        Some(other) => Err(Error::not_a_list(other)),
    }
}

/// `$deleteFromPrimitiveList/NAME`: whatever the list's rule is.
fn delete_from(map: &mut Map<String, Value>, name: &str, gone: Value) -> Result<(), Error> {
    match (map.get_mut(name), gone) {
        (_, Value::Null) => {
            map.remove(name);
            Ok(())
        }
        (Some(Value::Array(list)), Value::Array(gone)) => {
            if !(list.is_empty() && gone.is_empty()) {
                list::element_type(&[list, &gone])?;
            }
            list.retain(|item| !gone.contains(item));
            Ok(())
        }
        _ => Ok(()),
    }
}

fn merge_field(
    map: &mut Map<String, Value>,
    key: String,
    patch: Value,
    known: Known<'_>,
) -> Result<(), Error> {
    match (map.get_mut(&key), patch) {
        (_, Value::Null) => {
            map.remove(&key);
        }
        (Some(Value::Object(present)), Value::Object(patch)) => {
            let (below, _) = lookup(known, &key)?;
            merge_map(present, patch, below)?;
        }
        (Some(Value::Array(present)), Value::Array(patch)) => {
            let (items, rule) = lookup_list(known, &key)?;
            *present = list::merge(std::mem::take(present), patch, items, rule)?;
        }
        (_, mut patch) => {
            discard_nulls(&mut patch);
            match without_directives(patch) {
                Some(value) => map.insert(key, value),
                None => map.remove(&key),
            };
        }
    }
    Ok(())
}

/// What is known of the field `key`, and how patches treat it.
fn lookup<'a>(known: Known<'a>, key: &str) -> Result<(Known<'a>, &'a PatchRule), Error> {
    let Some(object) = known.and_then(shape::object) else { return Ok((None, NO_RULE)) };
    match object.field(key) {
        Some(field) => Ok((Some(&field.schema), field.patch.as_ref().unwrap_or(NO_RULE))),
        None if object.additional.is_some() || object.open => {
            Ok((object.additional.as_deref(), NO_RULE))
        }
        None => Err(Error::Unexpected(format!("unable to find api field {key:?}"))),
    }
}

/// As [`lookup`], for a list: what is known of its items.
fn lookup_list<'a>(known: Known<'a>, key: &str) -> Result<(Known<'a>, &'a PatchRule), Error> {
    let (list, rule) = lookup(known, key)?;
    match list.map(|list| &shape::resolve(list).shape) {
        Some(Shape::List(list)) => Ok((Some(&*list.items), rule)),
        _ => Ok((None, rule)),
    }
}

/// New values hold no nulls.
fn discard_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(discard_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(discard_nulls),
        _ => {}
    }
}

/// What a value that is new becomes: maps with a `$patch` are no values, and
/// the other directives say how to merge with what is not there.
fn without_directives(value: Value) -> Option<Value> {
    match value {
        Value::Object(map) if map.contains_key(PATCH) => None,
        Value::Object(map) => {
            let kept = map.into_iter().filter(|(key, _)| !is_directive(key));
            let kept = kept.filter_map(|(key, value)| Some((key, without_directives(value)?)));
            Some(Value::Object(kept.collect()))
        }
        Value::Array(list) => {
            Some(Value::Array(list.into_iter().filter_map(without_directives).collect()))
        }
        other => Some(other),
    }
}

fn is_directive(key: &str) -> bool {
    key == RETAIN_KEYS || key.starts_with(ORDER) || key.starts_with(DELETE_FROM)
}
