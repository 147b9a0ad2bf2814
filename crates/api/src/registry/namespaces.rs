//! What namespaces mean to the objects in them: nothing is created in one that
//! is missing or going, and one that is going is gone once it is empty.
//!
//! Pods go first, and all else once none is left: what runs keeps its network
//! policies, secrets and accounts until it has ended.

use std::sync::Arc;

use kv::{Compare, DeleteRequest, KeyRange, Kv, Op, OpResponse, RangeRequest, Txn, TxnResponse};
use serde_json::{Value, json};

use super::{Deleted, Registry, encode, read};
use crate::{
    caller::Caller,
    catalog::{self, Catalog},
    cluster::Cluster,
    failure::Failure,
    kinds::namespace,
    object::{self, timestamp},
    request::{
        options::DeleteOptions,
        path::{Door, Place},
    },
    resource::{Face, Resource},
};

/// Keys looked at in one step of emptying a namespace.
const SWEEP_CHUNK: usize = 100;

/// What a creation must compare, and create along.
pub(super) struct Guard {
    pub compare: Compare,
    pub provision: Option<Op>,
}

/// Holds the namespace still for the transaction that creates `name` in it.
///
/// Polis' own processes get a missing namespace along with the first object:
/// an application is spread to units whose namespaces nobody made by hand.
pub(super) async fn guard(
    cluster: &Cluster,
    fresh: bool,
    caller: &Caller,
    namespace: &str,
    name: &str,
    resource: &Resource,
) -> Result<Guard, Failure> {
    let kind = catalog::namespaces();
    let key = kind.key(None, namespace);
    // The transaction compares what was seen, so that seeing something old
    // costs a second look and nothing else.
    if !fresh
        && let Some(seen) = cluster.mirror().get(&kind.prefix(), &key)
        && memchr::memmem::find(&seen.value, b"\"deletionTimestamp\"").is_none()
    {
        let compare = Compare::modified_at(key, seen.mod_revision);
        return Ok(Guard { compare, provision: None });
    }
    match read(&*cluster.kv, kind, key.clone()).await? {
        Some(stored) if namespace::is_terminating(&stored.object) => {
            let why = format!(
                "unable to create new content in namespace {namespace} because it is being terminated"
            );
            // By this a controller knows that it need not try again.
            let cause = json!({
                "reason": "NamespaceTerminating",
                "message": format!("namespace {namespace} is being terminated"),
                "field": "metadata.namespace",
            });
            Err(Failure::forbidden_object(resource, name, &why).caused_by(vec![cause]))
        }
        Some(stored) => {
            Ok(Guard { compare: Compare::modified_at(key, stored.revision), provision: None })
        }
        None if namespace::ALWAYS.contains(&namespace) || caller.is_polis() => {
            let provision = Some(Op::put(key.clone(), encode(kind, &new(namespace))));
            Ok(Guard { compare: Compare::absent(key), provision })
        }
        None => Err(Failure::not_found(kind, namespace)),
    }
}

fn new(name: &str) -> Value {
    let mut object = json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": name,
            "uid": uuid::Uuid::new_v4().to_string(),
            "creationTimestamp": timestamp(object::now()),
        },
    });
    namespace::create(&mut object);
    object
}

/// Makes the namespaces that every cluster has.
pub(crate) async fn provision(kv: &dyn Kv) -> Result<(), kv::Error> {
    for name in namespace::ALWAYS {
        let key = catalog::namespaces().key(None, name);
        let put = Op::put(key.clone(), encode(catalog::namespaces(), &new(name)));
        kv.txn(Txn::when(vec![Compare::absent(key)]).then(vec![put])).await?;
    }
    Ok(())
}

/// Whether the read in a failed transaction's alternative found its key.
pub(super) fn found_one(outcome: &TxnResponse) -> bool {
    outcome.responses.iter().any(|response| match response {
        OpResponse::Range(range) => !range.kvs.is_empty(),
        _ => false,
    })
}

/// What a namespace may hold at `door`.
fn stored_in<'a>(catalog: &'a Catalog, door: &'a Door) -> impl Iterator<Item = &'a Arc<Resource>> {
    catalog
        .at(door)
        .filter(|resource| resource.is_namespaced() && door.face(resource) == Face::Stored)
}

fn inside(resource: &Resource, namespace: &str) -> String {
    format!("{}{namespace}/", resource.prefix())
}

// === impl Registry ===

impl Registry {
    /// Deletes a namespace: marks it, empties it, and removes it if nothing in
    /// it takes its time. Asking again goes on where an earlier try stopped.
    pub(super) async fn delete_namespace(
        &self,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Deleted, Failure> {
        if namespace::IMMORTAL.contains(&name) {
            let why = "this namespace may not be deleted";
            return Err(Failure::forbidden_object(self.resource(), name, why));
        }
        let marked = self.mark_deleted(name, options, 0, namespace::terminate).await?;
        if options.is_dry_run() {
            return Ok(Deleted::Going(marked));
        }
        match self.empty_namespace(name).await? {
            true => Ok(Deleted::Gone(marked)),
            false => Ok(Deleted::Going(marked)),
        }
    }

    /// Deletes what is in a namespace that is going, and the namespace once
    /// nothing is; says whether it is gone.
    pub async fn empty_namespace(&self, name: &str) -> Result<bool, Failure> {
        let catalog = self.cluster.catalog();
        let is_pods = |resource: &Resource| resource.prefix() == catalog::pods().prefix();
        let kinds = || stored_in(&catalog, &self.place.door);
        if let Some(pods) = kinds().find(|resource| is_pods(resource)) {
            self.sweep(pods.clone(), name).await?;
            if self.holds(pods, name).await? {
                return Ok(false);
            }
        }
        for resource in kinds().filter(|resource| !is_pods(resource)) {
            self.sweep(resource.clone(), name).await?;
        }
        self.settle(name).await
    }

    async fn holds(&self, resource: &Resource, namespace: &str) -> Result<bool, Failure> {
        let mut request = RangeRequest::new(KeyRange::prefix(inside(resource, namespace)));
        request.count_only = true;
        Ok(self.kv().range(request).await?.count > 0)
    }

    async fn sweep(&self, resource: Arc<Resource>, namespace: &str) -> Result<(), Failure> {
        let prefix = inside(&resource, namespace);
        let place = Place {
            door: self.place.door.clone(),
            resource,
            namespace: Some(namespace.to_owned()),
            name: None,
            subresource: None,
        };
        let registry = Registry::new(self.cluster.clone(), place);
        let mut range = KeyRange::prefix(prefix);
        loop {
            let mut request = RangeRequest::new(range.clone()).limit(SWEEP_CHUNK);
            request.keys_only = true;
            let response = self.kv().range(request).await?;
            for kv in &response.kvs {
                let key = String::from_utf8_lossy(&kv.key);
                let Some((_, name)) = key.rsplit_once('/') else { continue };
                match Box::pin(registry.delete(name, &DeleteOptions::default())).await {
                    Err(failure) if !failure.is_not_found() => return Err(failure),
                    _ => {}
                }
            }
            match response.kvs.last() {
                Some(last) if response.more => range = super::list::after(&last.key, &range),
                _ => return Ok(()),
            }
        }
    }

    /// Removes the namespace if it is going and nothing is left in it. Nothing
    /// can have come since: creations compare the namespace.
    pub(super) async fn settle(&self, namespace: &str) -> Result<bool, Failure> {
        let kind = catalog::namespaces();
        let key = kind.key(None, namespace);
        let Some(stored) = read(self.kv(), kind, key.clone()).await? else { return Ok(true) };
        let finalizers = object::has_finalizers(&stored.object);
        if !namespace::is_terminating(&stored.object) || finalizers {
            return Ok(false);
        }
        for resource in stored_in(&self.cluster.catalog(), &self.place.door) {
            if self.holds(resource, namespace).await? {
                return Ok(false);
            }
        }
        let delete =
            Op::Delete(DeleteRequest { range: KeyRange::key(key.clone()), prev_kv: false });
        let txn = Txn::when(vec![Compare::modified_at(key, stored.revision)]).then(vec![delete]);
        Ok(self.kv().txn(txn).await?.succeeded)
    }
}
