//! Who owns which field of an object: `metadata.managedFields`, kept up by
//! every write. The rules are `merge::apply`'s.

use std::{borrow::Cow, sync::Arc};

use http::StatusCode;
use merge::apply::{self, Refused, Share, Write};
use schema::Schema;
use serde_json::{Map, Value, json};

use crate::{
    cluster::Cluster,
    custom::Table,
    failure::Failure,
    kinds::status,
    object::{now, timestamp},
    registry::Part,
    resource::{Origin, Resource},
};

/// One write, by whom, of what.
pub struct Owner {
    schema: Arc<Schema>,
    api_version: String,
    kind: String,
    subresource: &'static str,
    share: Share,
    /// Of metadata, what goes with a status.
    takes_along: &'static [&'static str],
    manager: String,
    time: String,
    /// Of a kind whose versions differ.
    versions: Option<Table>,
}

/// Whether Kubernetes says how the kind's lists are merged.
pub fn is_builtin(resource: &Resource) -> bool {
    matches!(resource.origin, Origin::Builtin(_))
}

// === impl Owner ===

impl Owner {
    /// `subresource` is empty for the object itself.
    pub fn new(resource: &Resource, part: Part, subresource: &'static str, manager: &str) -> Owner {
        let takes_along = status::takes_along(resource);
        Owner {
            schema: resource.schema.clone(),
            api_version: resource.api_version(),
            kind: resource.kind.to_string(),
            subresource,
            share: match part {
                Part::Approval => Share::Status,
                Part::Status if takes_along.is_empty() => Share::Status,
                Part::Status => Share::StatusAndMetadata,
                _ if resource.has_status() => Share::AllButStatus,
                _ => Share::Whole,
            },
            takes_along,
            manager: manager.to_owned(),
            time: timestamp(now()),
            versions: resource
                .custom()
                .map(|custom| &custom.conversion)
                .filter(|conversion| conversion.asks())
                .map(Table::new),
        }
    }

    fn write(&self) -> Write<'_> {
        Write {
            schema: &self.schema,
            api_version: &self.api_version,
            kind: &self.kind,
            subresource: self.subresource,
            share: self.share,
            manager: &self.manager,
            time: &self.time,
        }
    }

    /// Records what `new`, which is to be written over `live`, changes. What it
    /// records counts once nothing is to be learned.
    pub fn track(&self, live: Option<&Value>, new: &mut Value) {
        match &self.versions {
            None => apply::track(live, new, &self.write()),
            Some(versions) => apply::track_across(live, new, &self.write(), versions),
        }
    }

    /// Whether versions of the kind differ, so that there may be something to
    /// learn.
    pub fn compares(&self) -> bool {
        self.versions.is_some()
    }

    /// Has converted what [`Owner::track`] or [`Owner::apply`] missed; whether
    /// they must be asked again.
    pub async fn learn(&self, cluster: &Cluster) -> Result<bool, Failure> {
        match &self.versions {
            None => Ok(false),
            Some(versions) => versions.learn(cluster).await,
        }
    }

    /// Without the metadata that does not go with a status.
    fn allowed<'a>(&self, patch: &'a Value) -> Cow<'a, Value> {
        let mut patch = Cow::Borrowed(patch);
        if self.share == Share::StatusAndMetadata && patch["metadata"].is_object() {
            let refused =
                |name: &str| status::METADATA.contains(&name) && !self.takes_along.contains(&name);
            let metadata = patch.to_mut()["metadata"].as_object_mut();
            metadata
                .into_iter()
                .for_each(|map: &mut Map<_, _>| map.retain(|name, _| !refused(name)));
        }
        patch
    }

    pub fn apply(
        &self,
        live: Option<&Value>,
        patch: &Value,
        force: bool,
    ) -> Result<Value, Failure> {
        let patch = self.allowed(patch);
        let applied = match &self.versions {
            None => apply::apply(live, &patch, &self.write(), force),
            Some(versions) => apply::apply_across(live, &patch, &self.write(), force, versions),
        };
        applied.map_err(|refused| match refused {
            // Kubernetes says the second with a 500; the caller is to blame all the same.
            Refused::Invalid(why) | Refused::Unexpected(why) => Failure::bad_request(why),
            Refused::Conflicts(conflicts) => {
                let causes = conflicts.iter().map(|conflict| {
                    json!({
                        "reason": "FieldManagerConflict",
                        "message": format!("conflict with {}", conflict.manager),
                        "field": conflict.path.to_string(),
                    })
                });
                Failure::new(StatusCode::CONFLICT, "Conflict", conflicts.to_string())
                    .caused_by(causes.collect())
            }
        })
    }
}

/// Whether nothing is different but when managers last wrote.
pub fn is_same_but_times(a: &Value, b: &Value) -> bool {
    let entries = |object: &Value| apply::without_times(&object["metadata"]["managedFields"]);
    let rest = |object: &Value| {
        let mut object = object.clone();
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("managedFields");
        }
        object
    };
    entries(a) == entries(b) && rest(a) == rest(b)
}
