//! Server-side apply, and who owns which field of an object.
//!
//! Every writer of an object is a manager. What a manager applied it owns, and
//! so does who changed a value in any other way; the object itself keeps the
//! record (`metadata.managedFields`). Applying what another one owns is a
//! conflict unless it is forced, and what a manager no longer applies goes, if
//! nobody else has a hand in it.

mod conflict;
mod last_applied;
mod managed;
mod manager;
mod prune;
mod track;
mod versions;

pub use conflict::{Conflict, Conflicts};
pub use managed::{Managed, without_times};
pub use manager::{MANAGER_LEN_MAX, Manager, Operation, manager_name};
pub use track::{track, track_across};
pub use versions::{Alike, Converted, Versions};

use schema::Schema;
use serde_json::{Map, Value};

use self::versions::Deltas;
use crate::{
    fields::Fields,
    go,
    typed::{self, Duplicates},
};

/// Which part of an object a write can have changed. What it cannot, it does
/// not come to own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    Whole,
    /// A kind whose status has a subresource of its own, written elsewhere.
    AllButStatus,
    /// Through that subresource.
    Status,
    /// Through it, where metadata may be written along.
    StatusAndMetadata,
}

/// One write of an object.
#[derive(Clone, Copy, Debug)]
pub struct Write<'a> {
    pub schema: &'a Schema,
    /// `v1`, `apps/v1`.
    pub api_version: &'a str,
    pub kind: &'a str,
    /// Empty for the object itself.
    pub subresource: &'a str,
    pub share: Share,
    /// Who writes.
    pub manager: &'a str,
    /// RFC 3339, in whole seconds.
    pub time: &'a str,
}

/// Why an object was not applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The caller's fault.
    Invalid(String),
    /// Others own what was applied with another value.
    Conflicts(Conflicts),
    /// What is applied is not of the kind's type; or what is there cannot be
    /// merged with.
    Unexpected(String),
}

/// Who owns what was there before anyone applied.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// The object that `live` becomes when `patch` is applied to it; none is live
/// before the first.
pub fn apply(
    live: Option<&Value>,
    patch: &Value,
    write: &Write<'_>,
    force: bool,
) -> Result<Value, Refused> {
    apply_across(live, patch, write, force, &Alike)
}

/// As [`apply`], of a kind whose versions differ.
pub fn apply_across(
    live: Option<&Value>,
    patch: &Value,
    write: &Write<'_>,
    force: bool,
    versions: &dyn Versions,
) -> Result<Value, Refused> {
    write.check_kind(patch)?;
    if !patch["metadata"]["managedFields"].is_null() {
        return Err(Refused::Invalid("metadata.managedFields must be nil".into()));
    }
    let mut managed = Managed::of(live).map_err(|error| {
        Refused::Unexpected(format!("failed to decode managed fields: {error}"))
    })?;
    if let Some(live) = live.filter(|_| managed.is_empty()) {
        let before = Write { manager: BEFORE_FIRST_APPLY, ..*write };
        let failed = |error| {
            Refused::Unexpected(format!("failed to create manager for existing fields: {error}"))
        };
        let owned = track::touched(None, live, &before).map_err(failed)?;
        managed.add(&before, owned.changed());
    }
    let mut object = match applied(live, patch, managed.clone(), write, force, versions) {
        Err(Refused::Conflicts(conflicts)) if write.manager == last_applied::MANAGER => {
            let allowed = live.and_then(|live| last_applied::unchanged(live, write));
            let Some(allowed) = allowed else { return Err(Refused::Conflicts(conflicts)) };
            let rest = conflicts.without(&allowed);
            if !rest.is_empty() {
                return Err(Refused::Conflicts(rest));
            }
            applied(live, patch, managed, write, true, versions)?
        }
        outcome => outcome?,
    };
    if write.manager == last_applied::MANAGER {
        last_applied::renew(&mut object, patch);
    }
    Ok(object)
}

fn applied(
    live: Option<&Value>,
    patch: &Value,
    mut managed: Managed,
    write: &Write<'_>,
    force: bool,
    versions: &dyn Versions,
) -> Result<Value, Refused> {
    let nothing = Value::Object(Map::new());
    let present = live.unwrap_or(&nothing);
    typed::check(patch, write.schema, Duplicates::Refused).map_err(|wrong| {
        let name = write.describe(patch);
        Refused::Unexpected(format!("failed to create typed patch object ({name}): {wrong}"))
    })?;

    let unexpected = |what: &str| {
        let what = what.to_owned();
        move |error: String| Refused::Unexpected(format!("{what}: {error}"))
    };
    managed.reconcile(write, versions);
    let merged =
        typed::merge(present, patch, write.schema).map_err(unexpected("failed to merge config"))?;
    let mut set =
        typed::fields_of(patch, write.schema).map_err(unexpected("failed to get field set"))?;
    set.retain(|name| write.share.holds(name));

    let own = Manager::of(write, Operation::Apply);
    let last_version = managed.version(&own).unwrap_or(write.api_version).to_owned();
    let last = managed.replace(&own, write.api_version, set);
    let last = last.map(|fields| prune::Last { version: &last_version, fields });
    let object = prune::prune(merged, &managed, last.as_ref(), write, versions)
        .map_err(unexpected("failed to prune fields"))?;

    let mut delta = typed::compare(Some(present), &object, write.schema)
        .map_err(unexpected("failed to compare objects"))?;
    delta.retain(|name| write.share.holds(name));
    let deltas = Deltas::of(delta, (present, &object), &mut managed, write, versions)
        .map_err(unexpected("failed to compare objects"))?;
    let conflicts = Conflicts::between(&managed, &own, &deltas);
    if !force && !conflicts.is_empty() {
        return Err(Refused::Conflicts(conflicts));
    }
    managed.lose(&own, &deltas);
    managed.strip(&own);
    let set = managed.fields(&own);
    if object != *present || set != last.as_ref().map(|last| &last.fields) {
        managed.stamp(&own, write.time);
    }
    let mut object = object;
    managed.put(&mut object);
    Ok(object)
}

// === impl Share ===

impl Share {
    fn holds(self, name: &str) -> bool {
        match self {
            Share::Whole => true,
            Share::AllButStatus => name != "status",
            Share::Status => name == "status",
            Share::StatusAndMetadata => matches!(name, "status" | "metadata"),
        }
    }
}

// === impl Write ===

impl Write<'_> {
    /// What is applied must say what it is.
    fn check_kind(&self, patch: &Value) -> Result<(), Refused> {
        let text = |field: &str| patch[field].as_str().unwrap_or_default();
        match (text("apiVersion"), text("kind")) {
            (version, kind) if version == self.api_version && kind == self.kind => Ok(()),
            (version, kind) => Err(Refused::Invalid(format!(
                "invalid object type: {}",
                describe_kind(version, kind)
            ))),
        }
    }

    /// `default/web; apps/v1, Kind=Deployment`.
    fn describe(&self, object: &Value) -> String {
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
        let kind = describe_kind(self.api_version, self.kind);
        format!("{}/{}; {kind}", text("namespace"), text("name"))
    }
}

fn describe_kind(version: &str, kind: &str) -> String {
    let slash = if version.contains('/') { "" } else { "/" };
    format!("{slash}{version}, Kind={kind}")
}

/// What no manager owns: it is the server's, or says which object it is.
fn stripped() -> &'static Fields {
    static STRIPPED: std::sync::LazyLock<Fields> = std::sync::LazyLock::new(|| {
        const OF_METADATA: [&str; 9] = [
            "name",
            "namespace",
            "creationTimestamp",
            "selfLink",
            "uid",
            "clusterName",
            "generation",
            "managedFields",
            "resourceVersion",
        ];
        let mut fields = Fields::of(&[&["apiVersion"], &["kind"], &["metadata"]]);
        for name in OF_METADATA {
            fields = fields.union(&Fields::of(&[&["metadata", name]]));
        }
        fields
    });
    &STRIPPED
}

fn quoted(text: &str) -> String {
    go::quote(text)
}
