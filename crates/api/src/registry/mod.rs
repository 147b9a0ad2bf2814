//! The generic registry: every verb on every kind, over a keyspace.
//!
//! Objects are JSON values under `/registry/GROUP/PLURAL[/NAMESPACE]/NAME`.
//! `resourceVersion` is the key's modification revision and is not stored; a
//! list's is the revision it was read at. Every write is one transaction that
//! compares what it was computed from, so two API servers need not know of
//! each other.

mod create;
mod delete;
mod list;
mod namespaces;
mod token;
mod update;
pub mod watch;

pub use delete::Deleted;
pub use list::Page;
pub(crate) use namespaces::provision as provision_namespaces;
pub use update::Part;

use std::sync::Arc;

use kv::{KeyRange, KeyValue, Kv, RangeRequest, Revision};
use serde_json::Value;

use crate::{cluster::Cluster, failure::Failure, object, request::path::Place, resource::Resource};

/// Attempts at a write that others keep overtaking. Kubernetes' patch gives up
/// after five.
const ATTEMPTS_MAX: usize = 8;

/// One collection, in one cluster.
#[derive(Clone)]
pub struct Registry {
    cluster: Arc<Cluster>,
    place: Place,
}

/// An object as it is kept, and when it was last written.
pub struct Stored {
    pub object: Value,
    pub revision: Revision,
}

// === impl Registry ===

impl Registry {
    pub fn new(cluster: Arc<Cluster>, place: Place) -> Registry {
        Registry { cluster, place }
    }

    fn kv(&self) -> &dyn Kv {
        &*self.cluster.kv
    }

    fn resource(&self) -> &'static Resource {
        self.place.resource
    }

    pub async fn get(&self, name: &str) -> Result<Value, Failure> {
        Ok(self.read(name).await?.object)
    }

    /// What objects of this kind go with, if they go by themselves.
    async fn lease(&self) -> Result<Option<kv::LeaseId>, Failure> {
        match self.resource().ttl_s {
            Some(ttl_s) => Ok(Some(self.cluster.expiry.lease(self.kv(), ttl_s).await?)),
            None => Ok(None),
        }
    }

    async fn read(&self, name: &str) -> Result<Stored, Failure> {
        let found = read(self.kv(), self.resource(), self.place.key(name)).await?;
        found.ok_or_else(|| Failure::not_found(self.resource(), name))
    }
}

/// The object under `key`, if there is one.
pub async fn read(
    kv: &dyn Kv,
    resource: &Resource,
    key: String,
) -> Result<Option<Stored>, Failure> {
    let response = kv.range(RangeRequest::new(KeyRange::key(key))).await?;
    let found = response.kvs.first().map(|kv| {
        let object = decode(resource, kv)?;
        Ok(Stored { object, revision: kv.mod_revision })
    });
    found.transpose()
}

/// Stored bytes as an object of the API.
pub fn decode(resource: &Resource, kv: &KeyValue) -> Result<Value, Failure> {
    let mut object: Value =
        serde_json::from_slice(&kv.value).map_err(|_| Failure::corrupt(&kv.key))?;
    if !object.is_object() {
        return Err(Failure::corrupt(&kv.key));
    }
    object::set_kind(&mut object, resource);
    object::set_version(&mut object, kv.mod_revision);
    Ok(object)
}

/// An object of the API as bytes to be stored.
fn encode(object: &Value) -> Vec<u8> {
    let mut object = object.clone();
    let metadata = object::metadata(&mut object);
    for field in ["resourceVersion", "managedFields", "selfLink"] {
        metadata.remove(field);
    }
    serde_json::to_vec(&object).expect("JSON values have a text form")
}
