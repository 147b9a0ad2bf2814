//! In which order a merged list stands: what the patch says goes for the items
//! it names, the others keep the server's order, and where both are known the
//! server's order decides between them.

use std::collections::VecDeque;

use serde_json::Value;

use super::{Error, PATCH};
use crate::go;

/// The patch's items must come in the order that it gives itself.
pub(super) fn check(patch: &[Value], order: &[Value], key: Option<&str>) -> Result<(), Error> {
    if order.is_empty() || patch.is_empty() {
        return Ok(());
    }
    let mut rest = order.iter();
    for item in patch {
        if key.is_some() && !item.is_object() {
            return Err(Error::not_a_map(item));
        }
        if item.get(PATCH).is_some() {
            continue;
        }
        let id = identity(item, key)?;
        loop {
            let Some(next) = rest.next() else {
                let patch = go::plain(&Value::Array(patch.to_vec()));
                let order = go::plain(&Value::Array(order.to_vec()));
                return Err(Error::Unexpected(format!(
                    "The order in patch list:\n{patch}\n doesn't match $setElementOrder list:\n{order}\n"
                )));
            };
            if identity(next, key)? == id {
                break;
            }
        }
    }
    Ok(())
}

/// Puts `merged` in order.
pub(super) fn arrange(
    merged: Vec<Value>,
    patch_order: &[Value],
    server_order: &[Value],
    key: Option<&str>,
) -> Result<Vec<Value>, Error> {
    let named = places(patch_order, key)?;
    let known = places(server_order, key)?;
    let place = |places: &[&Value], id: &Value| places.iter().position(|one| *one == id);
    let mut of_patch = Vec::new();
    let mut of_server = Vec::new();
    for item in merged {
        let id = identity(&item, key)?;
        let server = place(&known, id);
        match place(&named, id) {
            Some(at) => of_patch.push((at, server, item)),
            None => of_server.push((server, item)),
        }
    }
    of_patch.sort_by_key(|(at, ..)| *at);
    of_server.sort_by_key(|(at, _)| at.unwrap_or(usize::MAX));
    let mut of_patch = VecDeque::from(of_patch);
    let mut all = Vec::with_capacity(of_patch.len() + of_server.len());
    for (server, item) in of_server {
        while let Some((_, at, _)) = of_patch.front()
            && !matches!((server, at), (Some(own), Some(other)) if own < *other)
        {
            all.extend(of_patch.pop_front().map(|(.., item)| item));
        }
        all.push(item);
    }
    all.extend(of_patch.into_iter().map(|(.., item)| item));
    Ok(all)
}

fn places<'a>(list: &'a [Value], key: Option<&str>) -> Result<Vec<&'a Value>, Error> {
    list.iter().map(|item| identity(item, key)).collect()
}

fn identity<'a>(item: &'a Value, key: Option<&str>) -> Result<&'a Value, Error> {
    let Some(key) = key else { return Ok(item) };
    let map = item.as_object().ok_or_else(|| Error::not_a_map(item))?;
    map.get(key).ok_or_else(|| Error::no_merge_key(map, key))
}
