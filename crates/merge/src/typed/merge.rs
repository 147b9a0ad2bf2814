//! A part of an object laid over the whole: what the part says goes, nothing
//! is removed, and lists are merged item by item where items have identities.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use schema::Schema;
use serde_json::{Map, Value};

use crate::{
    fields::Step,
    shape::{Kind, Known, ListOf, MapOf, kind},
};

pub fn merge(whole: &Value, part: &Value, schema: &Schema) -> Result<Value, String> {
    merged(whole, part, Some(schema))
}

fn merged(whole: &Value, part: &Value, known: Known<'_>) -> Result<Value, String> {
    match kind(known, part) {
        Kind::Map(map) if !map.is_atomic() => {
            let nothing = Map::new();
            let of = |value: &'_ Value| value.as_object().is_none_or(Map::is_empty);
            if of(whole) && of(part) {
                return Ok(part.clone());
            }
            let whole = whole.as_object().unwrap_or(&nothing);
            let part = part.as_object().unwrap_or(&nothing);
            merged_map(whole, part, map).map(Value::Object)
        }
        Kind::List(list) if !list.is_atomic() => {
            let of = |value: &'_ Value| value.as_array().is_none_or(Vec::is_empty);
            if of(whole) && of(part) {
                return Ok(part.clone());
            }
            let whole = whole.as_array().map_or(&[][..], Vec::as_slice);
            let part = part.as_array().map_or(&[][..], Vec::as_slice);
            merged_list(whole, part, list).map(Value::Array)
        }
        _ => Ok(part.clone()),
    }
}

fn merged_map(
    whole: &Map<String, Value>,
    part: &Map<String, Value>,
    map: MapOf<'_>,
) -> Result<Map<String, Value>, String> {
    let mut all = whole.clone();
    for (name, value) in part {
        match all.get_mut(name) {
            Some(present) => *present = merged(present, value, map.entry(name).known())?,
            None => {
                all.insert(name.clone(), value.clone());
            }
        }
    }
    Ok(all)
}

/// Items come in the order of the part; those that only the whole has stay
/// behind the same items as before, as far as the part's order lets them.
fn merged_list(whole: &[Value], part: &[Value], list: ListOf<'_>) -> Result<Vec<Value>, String> {
    let of_whole = list.steps(whole)?;
    let of_part = list.steps(part)?;
    let mut present: BTreeMap<&Step, Option<&Value>> = BTreeMap::new();
    for (step, item) in of_whole.iter().zip(whole) {
        // What is there twice is not merged with what is wanted.
        present.entry(step).and_modify(|twice| *twice = None).or_insert(Some(item));
    }
    let wanted: BTreeSet<&Step> = of_part.iter().collect();
    let mut shared: VecDeque<&Step> =
        of_part.iter().filter(|step| present.contains_key(step)).collect();
    let mut next = shared.pop_front();
    let mut done: BTreeSet<&Step> = BTreeSet::new();
    let mut all = Vec::with_capacity(whole.len().max(part.len()));
    let take = |step: &Step, item: &Value| match present.get(step) {
        Some(Some(present)) => merged(present, item, list.items()),
        _ => Ok(item.clone()),
    };
    let (mut left, mut right) = (0, 0);
    while left < whole.len() || right < part.len() {
        if let (Some(own), Some(step)) = (of_whole.get(left), of_part.get(right)) {
            if own == step {
                all.push(take(step, &part[right])?);
                done.insert(step);
                (left, right) = (left + 1, right + 1);
                next = shared.pop_front();
                continue;
            }
            if wanted.contains(own) && next.is_some_and(|next| next != own) {
                // Its turn comes with the part's order.
                left += 1;
                continue;
            }
        }
        if let Some(own) = of_whole.get(left) {
            if !wanted.contains(own) {
                all.push(whole[left].clone());
                left += 1;
                continue;
            }
            if done.contains(own) {
                left += 1;
            }
        }
        if let Some(step) = of_part.get(right) {
            all.push(take(step, &part[right])?);
            done.insert(step);
            right += 1;
            if next == Some(step) {
                next = shared.pop_front();
            }
        }
    }
    Ok(all)
}
