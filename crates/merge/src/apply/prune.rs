//! What a manager applied last time and not now goes, but for what someone
//! else has a hand in.

use schema::Schema;
use serde_json::Value;

use super::{Converted, Managed, Versions, Write};
use crate::{
    fields::Fields,
    typed::{fields_of, remove, with_named},
};

/// What a manager applied before.
pub(super) struct Last<'a> {
    pub version: &'a str,
    pub fields: Fields,
}

/// `managed` has what the manager applies now already.
pub(super) fn prune(
    merged: Value,
    managed: &Managed,
    last: Option<&Last<'_>>,
    write: &Write<'_>,
    versions: &dyn Versions,
) -> Result<Value, String> {
    let Some(last) = last else { return Ok(merged) };
    let others = managed.versions().into_iter().filter(|it| it != write.api_version);
    let differ = others.chain([last.version.to_owned()]).any(|it| versions.schema(&it).is_some());
    if differ {
        return across(merged, managed, last, write, versions);
    }
    match last.version == write.api_version {
        false if matches!(versions.convert(&merged, last.version), Converted::Gone) => Ok(merged),
        _ => without(merged, &managed.all(), &last.fields, write.schema),
    }
}

/// Prunes in the version that was applied before. What somebody has a hand in,
/// by the names of another version, comes back in that version.
fn across(
    merged: Value,
    managed: &Managed,
    last: &Last<'_>,
    write: &Write<'_>,
    versions: &dyn Versions,
) -> Result<Value, String> {
    let schema = |version: &str| match version == write.api_version {
        true => Some(write.schema),
        false => versions.schema(version),
    };
    let shown = |object: &Value, from: &str, to: &str| match from == to {
        true => Some(object.clone()),
        false => match versions.convert(object, to) {
            Converted::Object(object) => Some(object),
            Converted::Same | Converted::Gone | Converted::Pending => None,
        },
    };
    let own = write.api_version;
    let (Some(start), Some(last_schema)) =
        (shown(&merged, own, last.version), schema(last.version))
    else {
        return Ok(merged);
    };
    let owned = managed.of_version(last.version).all();
    let mut pruned = without(start.clone(), &owned, &last.fields, last_schema)?;
    if pruned == start {
        return Ok(merged);
    }
    let mut at = last.version.to_owned();
    for version in managed.versions().into_iter().filter(|it| *it != last.version) {
        let (Some(all), Some(rest), Some(schema)) =
            (shown(&merged, own, &version), shown(&pruned, &at, &version), schema(&version))
        else {
            continue;
        };
        let named = |fields: &Fields| with_named(fields, schema);
        let there = named(&fields_of(&all, schema)?);
        let kept = named(&fields_of(&rest, schema)?);
        let kept = kept.union(&named(&managed.of_version(&version).all()));
        pruned = remove(&all, &there.difference(&kept), schema)?;
        at = version;
    }
    Ok(shown(&pruned, &at, own).unwrap_or(merged))
}

fn without(merged: Value, owned: &Fields, last: &Fields, schema: &Schema) -> Result<Value, String> {
    if last.difference(owned).is_empty() {
        return Ok(merged);
    }
    let named = |fields: &Fields| with_named(fields, schema);
    let there = named(&fields_of(&merged, schema)?);
    let last = named(last);

    // Everything from last time goes, and what is owned comes back,
    let rest = remove(&merged, &last, schema)?;
    let kept = named(&fields_of(&rest, schema)?).union(&named(owned));
    let rest = remove(&merged, &there.difference(&kept), schema)?;
    // and what nobody owned, which went with its container.
    let kept = named(&fields_of(&rest, schema)?);
    remove(&merged, &there.difference(&kept).intersection(&last), schema)
}
