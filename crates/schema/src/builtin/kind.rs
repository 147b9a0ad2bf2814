//! A kind: what is served under which names.

use resources::Scope;

use crate::TypeId;

/// What can be done to most resources, in the order of discovery.
pub const VERBS: &[&str] =
    &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

#[derive(Debug)]
pub struct Kind {
    /// Empty for the core group.
    pub group: &'static str,
    pub version: &'static str,
    pub kind: &'static str,
    pub plural: &'static str,
    pub singular: &'static str,
    pub short_names: Vec<&'static str>,
    pub categories: Vec<&'static str>,
    pub scope: Scope,
    pub verbs: Vec<&'static str>,
    pub subresources: Vec<Subresource>,
    /// Field selectors beyond `metadata.name` and `metadata.namespace`.
    pub selectable: Vec<Selectable>,
    pub id: TypeId,
    /// `PodList`; reviews and bindings have none, they are never listed.
    pub list: Option<TypeId>,
}

#[derive(Debug)]
pub struct Subresource {
    /// `status`, `log`.
    pub name: &'static str,
    /// What is spoken there; often the kind's own type, and sometimes one of
    /// another group (`autoscaling.v1.Scale`).
    pub id: TypeId,
    pub verbs: Vec<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selectable {
    /// As clients write it: `status.phase`.
    pub label: &'static str,
    /// Where it is, names with dots between: nearly always the same.
    pub path: &'static str,
}

// === impl Kind ===

impl Kind {
    /// `v1`, `apps/v1`.
    #[must_use]
    pub fn api_version(&self) -> String {
        match self.group {
            "" => self.version.to_owned(),
            group => format!("{group}/{}", self.version),
        }
    }

    #[must_use]
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|sub| sub.name == name)
    }

    /// Kept objects, as against questions that are answered and forgotten.
    #[must_use]
    pub fn is_stored(&self) -> bool {
        self.verbs.contains(&"watch")
    }
}
