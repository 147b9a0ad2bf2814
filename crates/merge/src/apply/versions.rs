//! Managers that wrote other versions of the object than the one that is
//! written now: what changed is compared in the version of their fields.
//!
//! Versions are converted elsewhere, and that may take a question to somebody:
//! who does it hands in what it knows ([`Versions`]), and says of the rest that
//! it is not known yet. The outcome then means nothing; it is computed again
//! once that is known.

use std::collections::BTreeMap;

use schema::Schema;
use serde_json::Value;

use super::{Managed, Write};
use crate::typed::{self, Delta};

/// An object in another version.
#[derive(Clone, Debug)]
pub enum Converted {
    /// Its fields are the same there.
    Same,
    Object(Value),
    /// There is no such version any more.
    Gone,
    /// Not known yet.
    Pending,
}

pub trait Versions {
    /// `object`, which says its version, in `version` (`apps/v1`).
    fn convert(&self, object: &Value, version: &str) -> Converted;

    /// Of the kind in `version`; none where [`Versions::convert`] has no object.
    fn schema(&self, version: &str) -> Option<&Schema>;
}

/// All versions have the same fields.
#[derive(Clone, Copy, Debug)]
pub struct Alike;

/// What changed, as the versions of the managers show it.
pub(super) struct Deltas {
    own: Delta,
    others: BTreeMap<String, Delta>,
}

// === impl Alike ===

impl Versions for Alike {
    fn convert(&self, _: &Value, _: &str) -> Converted {
        Converted::Same
    }

    fn schema(&self, _: &str) -> Option<&Schema> {
        None
    }
}

// === impl Deltas ===

impl Deltas {
    /// `own` is what changed in the version that is written. Managers of versions
    /// that are gone are forgotten.
    pub fn of(
        own: Delta,
        (live, new): (&Value, &Value),
        managed: &mut Managed,
        write: &Write<'_>,
        versions: &dyn Versions,
    ) -> Result<Deltas, String> {
        let mut others = BTreeMap::new();
        for version in managed.versions().into_iter().filter(|it| it != write.api_version) {
            let before = versions.convert(live, &version);
            if matches!(before, Converted::Gone) {
                managed.forget_version(&version);
                continue;
            }
            let (Converted::Object(before), Converted::Object(now), Some(schema)) =
                (before, versions.convert(new, &version), versions.schema(&version))
            else {
                continue;
            };
            let mut delta = typed::compare(Some(&before), &now, schema)?;
            delta.retain(|name| write.share.holds(name));
            others.insert(version, delta);
        }
        Ok(Deltas { own, others })
    }

    /// As managers see it whose fields are of `version`.
    pub fn seen_in(&self, version: &str) -> &Delta {
        self.others.get(version).unwrap_or(&self.own)
    }
}
