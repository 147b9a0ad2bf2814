//! Two lists into one: by key, as sets, or one instead of the other.

use schema::PatchRule;
use serde_json::{Map, Value};

use super::{Error, Known, PATCH, discard_nulls, merge_map, order, without_directives};
use crate::go;

/// What `present` becomes.
pub(super) fn merge(
    present: Vec<Value>,
    patch: Vec<Value>,
    items: Known<'_>,
    rule: &PatchRule,
) -> Result<Vec<Value>, Error> {
    if !rule.merge {
        let mut patch = Value::Array(patch);
        discard_nulls(&mut patch);
        return match patch {
            Value::Array(list) => Ok(list),
            _ => Ok(Vec::new()),
        };
    }
    if present.is_empty() && patch.is_empty() {
        return Ok(present);
    }
    if element_type(&[&present, &patch])? != "map[string]interface {}" {
        let mut merged: Vec<Value> = Vec::with_capacity(present.len() + patch.len());
        for item in present.iter().chain(&patch) {
            if !merged.contains(item) {
                merged.push(item.clone());
            }
        }
        return order::arrange(merged, &patch, &present, None);
    }
    let Some(key) = rule.key.as_deref() else {
        let message = "cannot merge lists without merge key for struct";
        return Err(Error::Unexpected(message.into()));
    };
    let (present, patch) = obey_directives(present, patch, key)?;
    let merged = merge_items(present.clone(), &patch, key, items)?;
    order::arrange(merged, &patch, &present, Some(key))
}

/// What the items of all lists are, which must be the same.
pub(super) fn element_type(lists: &[&[Value]]) -> Result<&'static str, Error> {
    let mut seen = None;
    for item in lists.iter().flat_map(|list| list.iter()) {
        let kind = go::type_name(item);
        match seen {
            None if item.is_array() => return Err(Error::LIST_OF_LISTS),
            None => seen = Some(kind),
            Some(other) if other == kind => {}
            Some(_) => {
                let shown = lists.iter().map(|list| go::plain(&Value::Array(list.to_vec())));
                let shown = shown.collect::<Vec<_>>().join(" ");
                let message = format!("list element types are not identical: [{shown}]");
                return Err(Error::Unexpected(message));
            }
        }
    }
    seen.ok_or_else(|| Error::Unexpected("no elements in any of the given slices".into()))
}

/// Carries out `$patch` on items. Returns what is left of the list, and of the
/// patch.
fn obey_directives(
    mut present: Vec<Value>,
    patch: Vec<Value>,
    key: &str,
) -> Result<(Vec<Value>, Vec<Value>), Error> {
    let mut rest = Vec::with_capacity(patch.len());
    let mut replace = false;
    for item in patch {
        let map = item.as_object().ok_or_else(|| Error::not_a_map(&item))?;
        let Some(directive) = map.get(PATCH) else {
            rest.push(item);
            continue;
        };
        match directive.as_str() {
            Some("delete") => {
                let gone = map.get(key).ok_or_else(|| Error::no_merge_key(map, key))?;
                present.retain(|one| one.get(key) != Some(gone));
            }
            Some("replace") => replace = true,
            Some("merge") => {
                let message = "merging lists cannot yet be specified in the patch";
                return Err(Error::Unexpected(message.into()));
            }
            _ => return Err(Error::patch_type(directive, map)),
        }
    }
    if replace {
        rest.iter_mut().for_each(discard_nulls);
        return Ok((rest, Vec::new()));
    }
    Ok((present, rest))
}

fn merge_items(
    mut merged: Vec<Value>,
    patch: &[Value],
    key: &str,
    items: Known<'_>,
) -> Result<Vec<Value>, Error> {
    for item in patch {
        let map: &Map<String, Value> = item.as_object().ok_or_else(|| Error::not_a_map(item))?;
        let id = map.get(key).ok_or_else(|| Error::no_merge_key(map, key))?;
        match merged.iter_mut().find(|one| one.get(key) == Some(id)) {
            Some(Value::Object(present)) => merge_map(present, map.clone(), items)?,
            _ => {
                let mut new = item.clone();
                discard_nulls(&mut new);
                merged.extend(without_directives(new));
            }
        }
    }
    Ok(merged)
}
