//! The part of Kubernetes' ObjectMeta that our own code reads and writes. The
//! rest of it passes through untouched in `other`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Opaque to clients; decimal here. Compared by the server on update.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creation_timestamp: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_timestamp: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

// === impl Metadata ===

impl Metadata {
    #[must_use]
    pub fn named(name: impl Into<String>) -> Metadata {
        Metadata { name: name.into(), ..Metadata::default() }
    }

    #[must_use]
    pub fn namespaced(namespace: impl Into<String>, name: impl Into<String>) -> Metadata {
        Metadata { namespace: Some(namespace.into()), ..Metadata::named(name) }
    }
}
