//! A Pod as the API gives it. The spec stays JSON until it is planned, so that
//! one that cannot be read harms its own Pod and no list.

use k8s_openapi::{api::core::v1::PodStatus, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct SeenPod {
    pub metadata: ObjectMeta,
    pub spec: Value,
    pub status: Value,
}

/// Names one incarnation of a Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PodRef {
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

// === impl SeenPod ===

impl SeenPod {
    /// `None` if the API left out what every stored object has.
    pub(crate) fn identity(&self) -> Option<PodRef> {
        let ObjectMeta { namespace, name, uid, .. } = &self.metadata;
        Some(PodRef { namespace: namespace.clone()?, name: name.clone()?, uid: uid.clone()? })
    }

    pub(crate) fn node_name(&self) -> Option<&str> {
        self.spec.get("nodeName")?.as_str()
    }

    /// Of the object; 0 if it has none that can be compared.
    pub(crate) fn version(&self) -> u64 {
        let version = self.metadata.resource_version.as_deref();
        version.and_then(|version| version.parse().ok()).unwrap_or(0)
    }

    pub(crate) fn is_deleting(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }

    /// Finished for good: never started again.
    pub(crate) fn is_terminal(&self) -> bool {
        let phase = self.status.get("phase").and_then(Value::as_str);
        matches!(phase, Some("Succeeded" | "Failed"))
    }

    /// Empty if it cannot be read: it is ours to write anyway.
    pub(crate) fn last_status(&self) -> PodStatus {
        serde_json::from_value(self.status.clone()).unwrap_or_default()
    }
}

impl client::Entity for SeenPod {
    const GROUP: &'static str = "";
    const VERSION: &'static str = "v1";
    const PLURAL: &'static str = "pods";
    const NAMESPACED: bool = true;

    fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    fn namespace(&self) -> Option<&str> {
        self.metadata.namespace.as_deref()
    }

    fn resource_version(&self) -> Option<&str> {
        self.metadata.resource_version.as_deref()
    }
}

impl std::fmt::Display for PodRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
