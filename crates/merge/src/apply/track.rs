//! What every other write does to the owners of fields: who changes a value
//! owns it.

use serde_json::{Map, Value};

use super::{
    Alike, Deltas, Managed, Manager, Operation, Versions, Write, managed::metadata, stripped,
};
use crate::typed::{self, Delta};

/// Records in `new`, which is about to be written over `live`, who owns what.
///
/// Never fails: what cannot be compared stays whose it was.
pub fn track(live: Option<&Value>, new: &mut Value, write: &Write<'_>) {
    track_across(live, new, write, &Alike);
}

/// As [`track`], of a kind whose versions differ.
pub fn track_across(
    live: Option<&Value>,
    new: &mut Value,
    write: &Write<'_>,
    versions: &dyn Versions,
) {
    let given = metadata(new).and_then(|metadata| metadata.remove("managedFields"));
    let present = live.and_then(|live| live.pointer("/metadata/managedFields"));
    // A subresource's caller has no say in who owns the object.
    let given = given.filter(|_| write.subresource.is_empty());
    if given.as_ref().is_some_and(is_reset) && live.is_some() {
        return;
    }
    let base = base(given.as_ref(), present);
    if live.is_some() && base.is_none() {
        // Not tracked since it was made, or no longer; the first apply begins.
        return;
    }
    let unchanged = |new: &mut Value, entries: Option<&Value>| {
        if let (Some(metadata), Some(entries)) = (metadata(new), entries) {
            metadata.insert("managedFields".into(), entries.clone());
        }
    };
    let Ok(delta) = touched(live, new, write) else { return unchanged(new, present) };
    if delta.is_empty() {
        return unchanged(new, base);
    }
    let mut managed = base.and_then(|base| Managed::decode(base).ok()).unwrap_or_default();
    managed.reconcile(write, versions);
    let own = Manager::of(write, Operation::Update);
    let objects = (live.unwrap_or(new), &*new);
    let Ok(deltas) = Deltas::of(delta.clone(), objects, &mut managed, write, versions) else {
        return unchanged(new, present);
    };
    managed.lose(&own, &deltas);
    managed.forget(&own, &delta);
    managed.add(write, delta.changed());
    managed.put(new);
}

/// What the write changes, of what it can.
pub(super) fn touched(
    live: Option<&Value>,
    new: &Value,
    write: &Write<'_>,
) -> Result<Delta, String> {
    let mut delta = typed::compare(live, new, write.schema)?;
    delta.retain(|name| write.share.holds(name));
    delta.lose(stripped());
    Ok(delta)
}

/// The entries to go on from: what the caller sends, if it can be read; what
/// is there, otherwise.
fn base<'a>(given: Option<&'a Value>, present: Option<&'a Value>) -> Option<&'a Value> {
    let readable = |entries: &&Value| {
        Some(*entries) == present
            || Managed::decode(entries).is_ok_and(|managed| !managed.is_empty())
    };
    given.filter(readable).or_else(|| present.filter(readable))
}

/// Kubernetes' two ways to say that nobody owns anything from now on.
fn is_reset(entries: &Value) -> bool {
    let is_empty = |entry: &Value| entry.as_object().is_some_and(Map::is_empty);
    match entries.as_array().map(Vec::as_slice) {
        Some([]) => true,
        Some([one]) => is_empty(one),
        _ => false,
    }
}
