//! What is common to every kind: how it is called and how it is wrapped.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{FieldError, Metadata};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Cluster,
    Namespaced,
}

/// A spec type of ours and the names it is served under.
pub trait Kind: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    type Status: Serialize + DeserializeOwned + Clone + Default + Send + Sync + 'static;

    const GROUP: &'static str;
    const VERSION: &'static str;
    const KIND: &'static str;
    const PLURAL: &'static str;
    const SINGULAR: &'static str;
    const SHORT_NAMES: &'static [&'static str];
    const SCOPE: Scope;

    /// Everything wrong with this spec, each with its field path.
    fn validate(&self) -> Vec<FieldError>;
}

/// An object of the API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "K: Kind"))]
pub struct Object<K: Kind> {
    #[serde(default = "api_version::<K>")]
    pub api_version: String,
    #[serde(default = "kind::<K>")]
    pub kind: String,
    pub metadata: Metadata,
    pub spec: K,
    #[serde(default)]
    pub status: K::Status,
}

fn api_version<K: Kind>() -> String {
    format!("{}/{}", K::GROUP, K::VERSION)
}

fn kind<K: Kind>() -> String {
    K::KIND.into()
}

// === impl Object ===

impl<K: Kind> Object<K> {
    #[must_use]
    pub fn new(metadata: Metadata, spec: K) -> Object<K> {
        Object {
            api_version: api_version::<K>(),
            kind: kind::<K>(),
            metadata,
            spec,
            status: K::Status::default(),
        }
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.metadata.name
    }
}
