//! The kinds that Kubernetes brings along, as data.
//!
//! The sources are `kinds/*.api`, one a group-version; [`source`] tells their
//! language. They are parsed once, at first use: a few milliseconds, instead
//! of tens of thousands of lines of generated types that nothing here needs.
//! Everything lives as long as the process, so that schemas are handed out by
//! reference.

mod kind;
mod source;

use std::{collections::HashMap, sync::LazyLock};

pub use self::kind::{Kind, Selectable, Subresource, VERBS};
use crate::{Schema, TypeId};

/// In the order in which the groups are shown.
static SOURCES: &[&str] = &[
    include_str!("../../kinds/core_v1.api"),
    include_str!("../../kinds/apps_v1.api"),
    include_str!("../../kinds/batch_v1.api"),
    include_str!("../../kinds/autoscaling_v2.api"),
    include_str!("../../kinds/autoscaling_v1.api"),
    include_str!("../../kinds/policy_v1.api"),
    include_str!("../../kinds/rbac_v1.api"),
    include_str!("../../kinds/networking_v1.api"),
    include_str!("../../kinds/storage_v1.api"),
    include_str!("../../kinds/scheduling_v1.api"),
    include_str!("../../kinds/scheduling_v1alpha3.api"),
    include_str!("../../kinds/coordination_v1.api"),
    include_str!("../../kinds/discovery_v1.api"),
    include_str!("../../kinds/events_v1.api"),
    include_str!("../../kinds/node_v1.api"),
    include_str!("../../kinds/resource_v1.api"),
    include_str!("../../kinds/certificates_v1.api"),
    include_str!("../../kinds/flowcontrol_v1.api"),
    include_str!("../../kinds/storagemigration_v1.api"),
    include_str!("../../kinds/authentication_v1.api"),
    include_str!("../../kinds/authorization_v1.api"),
    include_str!("../../kinds/admissionregistration_v1.api"),
    include_str!("../../kinds/apiextensions_v1.api"),
    include_str!("../../kinds/apiregistration_v1.api"),
    include_str!("../../kinds/meta_v1.api"),
    include_str!("../../kinds/runtime.api"),
];

static TABLES: LazyLock<Tables> =
    LazyLock::new(|| source::parse(SOURCES).expect("the sources parse: a test reads them all"));

/// A type and the names it goes by.
#[derive(Debug)]
pub struct Type {
    /// Empty for the core group and for what belongs to none.
    pub group: &'static str,
    pub version: &'static str,
    pub name: &'static str,
    /// Carries `apiVersion` and `kind`.
    pub root: bool,
    pub schema: Schema,
    package: Package,
}

/// What the types of one source are called elsewhere.
#[derive(Clone, Copy, Debug)]
struct Package {
    /// `core.v1`: how other sources refer to it.
    short: &'static str,
    proto: &'static str,
    openapi: &'static str,
}

#[derive(Debug, Default)]
struct Tables {
    types: Vec<Type>,
    kinds: Vec<Kind>,
    /// By `core.v1.Pod` and by `io.k8s.api.core.v1.Pod`.
    by_name: HashMap<String, TypeId>,
}

/// The schema behind [`crate::Shape::Named`]. Never itself `Named`.
#[must_use]
pub fn get(id: TypeId) -> &'static Schema {
    &describe(id).schema
}

/// # Panics
/// On an id that this module did not give out.
#[must_use]
pub fn describe(id: TypeId) -> &'static Type {
    &TABLES.types[id.0 as usize]
}

/// All types with their ids, source by source.
pub fn types() -> impl Iterator<Item = (TypeId, &'static Type)> {
    (0..).map(TypeId).zip(&TABLES.types)
}

/// Whatever is served, in the order of the sources.
#[must_use]
pub fn kinds() -> &'static [Kind] {
    &TABLES.kinds
}

/// `core.v1.Pod` or `io.k8s.api.core.v1.Pod`.
#[must_use]
pub fn find(name: &str) -> Option<TypeId> {
    TABLES.by_name.get(name).copied()
}

#[must_use]
pub fn kind(group: &str, version: &str, kind: &str) -> Option<&'static Kind> {
    kinds().iter().find(|it| it.kind == kind && it.group == group && it.version == version)
}

// === impl Type ===

impl Type {
    /// `io.k8s.api.core.v1.Pod`.
    #[must_use]
    pub fn openapi(&self) -> String {
        format!("{}.{}", self.package.openapi, self.name)
    }

    /// `k8s.io.api.core.v1.Pod`.
    #[must_use]
    pub fn message(&self) -> String {
        format!("{}.{}", self.package.proto, self.name)
    }

    /// `core.v1.Pod`.
    #[must_use]
    pub fn short(&self) -> String {
        format!("{}.{}", self.package.short, self.name)
    }
}

#[cfg(test)]
mod tests;
