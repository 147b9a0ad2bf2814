//! The generic registry: every verb on every kind, over a keyspace.
//!
//! Objects are JSON values under `/registry/GROUP/PLURAL[/NAMESPACE]/NAME`.
//! `resourceVersion` is the key's modification revision and is not stored; a
//! list's is the revision it was read at. Every write is one transaction that
//! compares what it was computed from, so two API servers need not know of
//! each other.

mod admit;
mod apply;
mod charge;
mod convert;
mod create;
mod delete;
mod item;
mod list;
mod namespaces;
mod token;
mod update;
pub mod watch;

pub use charge::Turns;
pub use delete::Deleted;
pub use item::{Item, encode};
pub use list::Page;
pub(crate) use list::after;
pub(crate) use namespaces::provision as provision_namespaces;
pub(crate) use token::Token;
pub use update::{Part, Wanted};

use std::sync::Arc;

use kv::{KeyRange, KeyValue, Kv, RangeRequest, Revision};
use serde_json::Value;

use crate::{
    authz::Guard, caller::Caller, cluster::Cluster, failure::Failure, object, request::path::Place,
    resource::Resource, subresource::Subresource,
};

/// Attempts at a write that others keep overtaking. Kubernetes' patch gives up
/// after five.
const ATTEMPTS_MAX: usize = 8;

/// One collection, in one cluster.
#[derive(Clone)]
pub struct Registry {
    cluster: Arc<Cluster>,
    place: Place,
    /// Has a say about what is written.
    guard: Option<Arc<Guard>>,
    /// On whose behalf; none for the server's own.
    caller: Option<Caller>,
    /// Nobody else is asked.
    admitted: bool,
}

/// An object as it is kept, and when it was last written.
pub struct Stored {
    pub object: Value,
    pub revision: Revision,
    /// Writing the same object again would change nothing.
    pub settled: bool,
}

// === impl Registry ===

impl Registry {
    pub fn new(cluster: Arc<Cluster>, place: Place) -> Registry {
        Registry { cluster, place, guard: None, caller: None, admitted: false }
    }

    #[must_use]
    pub fn guarded(self, guard: Option<Guard>) -> Registry {
        Registry { guard: guard.map(Arc::new), ..self }
    }

    /// Whether `old` (none for a creation) may become `new`.
    fn judge(&self, new: &Value, old: Option<&Value>) -> Result<(), Failure> {
        self.guard.as_ref().map_or(Ok(()), |guard| guard.judge(new, old))
    }

    /// The same collection, seen through a subresource.
    pub fn below(&self, subresource: Subresource) -> Registry {
        let mut registry = self.clone();
        registry.place.subresource = Some(subresource);
        registry
    }

    fn kv(&self) -> &dyn Kv {
        &*self.cluster.kv
    }

    /// The object as the mirror has it.
    pub fn known(&self, name: &str) -> Option<KeyValue> {
        self.cluster.mirror().get(&self.resource().prefix(), &self.place.key(name))
    }

    /// The namespace it is of, when it is of one.
    pub fn namespace(&self) -> Option<&str> {
        self.place.namespace.as_deref()
    }

    pub fn kind(&self) -> &Resource {
        &self.place.resource
    }

    fn resource(&self) -> &Arc<Resource> {
        &self.place.resource
    }

    pub async fn get(&self, name: &str) -> Result<Value, Failure> {
        Ok(self.read(name).await?.object)
    }

    /// The newest object as it is kept.
    pub async fn fetch(&self, name: &str) -> Result<Item, Failure> {
        let key = self.place.key(name);
        let response = self.kv().range(RangeRequest::new(KeyRange::key(key))).await?;
        match response.kvs.into_iter().next() {
            Some(kv) => self.show_one(kv).await,
            None => Err(Failure::not_found(self.resource(), name)),
        }
    }

    /// What objects of this kind go with, if they go by themselves.
    async fn lease(&self) -> Result<Option<kv::LeaseId>, Failure> {
        match self.resource().ttl_s {
            Some(ttl_s) => Ok(Some(self.cluster.expiry.lease(self.kv(), ttl_s).await?)),
            None => Ok(None),
        }
    }

    async fn read(&self, name: &str) -> Result<Stored, Failure> {
        let found = self.find(name).await?;
        found.ok_or_else(|| Failure::not_found(self.resource(), name))
    }

    async fn find(&self, name: &str) -> Result<Option<Stored>, Failure> {
        let key = self.place.key(name);
        let response = self.kv().range(RangeRequest::new(KeyRange::key(key))).await?;
        let Some(kv) = response.kvs.into_iter().next() else { return Ok(None) };
        let (settled, revision) = (is_settled(self.resource(), &kv), kv.mod_revision);
        let object = self.show_one(kv).await?.into_object(self.resource())?;
        Ok(Some(Stored { object, revision, settled }))
    }
}

/// Whether the object is kept as it would be written now: not in a version that
/// is no longer the stored one.
fn is_settled(resource: &Resource, kv: &KeyValue) -> bool {
    kv.value.starts_with(resource.head().as_bytes())
}

/// The object under `key`, if there is one; of kinds that nobody converts.
pub async fn read(
    kv: &dyn Kv,
    resource: &Resource,
    key: String,
) -> Result<Option<Stored>, Failure> {
    let response = kv.range(RangeRequest::new(KeyRange::key(key))).await?;
    let found = response.kvs.first().map(|kv| {
        let object = decode(resource, kv)?;
        let settled = is_settled(resource, kv);
        Ok(Stored { object, revision: kv.mod_revision, settled })
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
    if let Some(kept) = resource.kept_as {
        (kept.from)(&mut object);
    }
    if let Some(custom) = resource.custom() {
        custom.read(&mut object)?;
    }
    object::set_kind(&mut object, resource);
    object::set_version(&mut object, kv.mod_revision);
    Ok(object)
}
