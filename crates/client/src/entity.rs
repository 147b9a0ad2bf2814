//! What the client must know of a kind: its names, and where an object keeps
//! its own name and version.

use std::{fmt, sync::Arc};

use k8s_openapi::{
    api::{
        authorization::v1::SelfSubjectAccessReview,
        coordination::v1::Lease,
        core::v1::{ConfigMap, Event, Namespace, Node, Pod},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde::{Serialize, de::DeserializeOwned};

/// A kind of object, ours or Kubernetes'.
pub trait Entity: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    const GROUP: &'static str;
    const VERSION: &'static str;
    const PLURAL: &'static str;
    const NAMESPACED: bool;

    fn name(&self) -> &str;
    fn namespace(&self) -> Option<&str>;
    /// Opaque; absent on an object that was never stored.
    fn resource_version(&self) -> Option<&str>;
}

/// Namespace (empty for cluster-scoped objects) and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

// === impl Key ===

impl Key {
    #[must_use]
    pub fn of(entity: &impl Entity) -> Key {
        Key::new(entity.namespace().unwrap_or_default(), entity.name())
    }

    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Key {
        Key { namespace: namespace.into(), name: name.into() }
    }

    #[must_use]
    pub fn cluster(name: &str) -> Key {
        Key::new("", name)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            self.name.fmt(f)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

// === impl Entity ===

impl<K: resources::Kind> Entity for resources::Object<K> {
    const GROUP: &'static str = K::GROUP;
    const VERSION: &'static str = K::VERSION;
    const PLURAL: &'static str = K::PLURAL;
    const NAMESPACED: bool = matches!(K::SCOPE, resources::Scope::Namespaced);

    fn name(&self) -> &str {
        &self.metadata.name
    }

    fn namespace(&self) -> Option<&str> {
        self.metadata.namespace.as_deref()
    }

    fn resource_version(&self) -> Option<&str> {
        self.metadata.resource_version.as_deref()
    }
}

macro_rules! kubernetes {
    ($($kind:ty: $plural:literal, $namespaced:literal;)*) => {$(
        impl Entity for $kind {
            const GROUP: &'static str = <$kind as k8s_openapi::Resource>::GROUP;
            const VERSION: &'static str = <$kind as k8s_openapi::Resource>::VERSION;
            const PLURAL: &'static str = $plural;
            const NAMESPACED: bool = $namespaced;

            fn name(&self) -> &str {
                name(&self.metadata)
            }

            fn namespace(&self) -> Option<&str> {
                self.metadata.namespace.as_deref()
            }

            fn resource_version(&self) -> Option<&str> {
                self.metadata.resource_version.as_deref()
            }
        }
    )*};
}

kubernetes! {
    Pod: "pods", true;
    Node: "nodes", false;
    Namespace: "namespaces", false;
    ConfigMap: "configmaps", true;
    Event: "events", true;
    Lease: "leases", true;
    SelfSubjectAccessReview: "selfsubjectaccessreviews", false;
}

fn name(metadata: &ObjectMeta) -> &str {
    metadata.name.as_deref().unwrap_or_default()
}
