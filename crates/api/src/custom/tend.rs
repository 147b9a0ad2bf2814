//! Keeps a cluster's definitions and its catalog together.
//!
//! Every replica does so for itself, from the store: statuses follow from the
//! definitions alone, so two replicas that write one write the same. The
//! catalog has a kind a moment after its definition says `Established`, as
//! kube-apiserver has: who waits for that asks again when the kind is not found.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use serde_json::Value;
use tokio::{sync::watch, task::JoinHandle};

use super::{definition::Definition, going, kind, status};
use crate::{
    catalog::{self, Catalog},
    cluster::Cluster,
    failure::Failure,
    object,
    registry::{Part, Registry, Wanted},
    request::{
        options::{ListOptions, WriteOptions},
        path::Place,
    },
    resource::Resource,
    subresource::Subresource,
};

/// How soon it looks again at objects that take their time to go, and after a
/// store that did not answer.
const AGAIN: Duration = Duration::from_secs(1);

/// Follows the definitions of a cluster until it is dropped.
pub struct Tended(JoinHandle<()>);

impl Drop for Tended {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Serves what is defined, and follows what changes.
pub async fn tend(cluster: &Arc<Cluster>) -> Result<Tended, Failure> {
    let mut seen = Vec::new();
    let definitions = read(cluster).await?;
    serve(cluster, &definitions, &mut seen);
    let changes = cluster.mirror().changes(&catalog::definitions().prefix());
    let follower = follow(Arc::downgrade(cluster), changes, seen);
    Ok(Tended(tokio::spawn(follower)))
}

async fn follow(
    cluster: Weak<Cluster>,
    mut changes: watch::Receiver<u64>,
    mut seen: Vec<(String, String)>,
) {
    loop {
        changes.borrow_and_update();
        let again = {
            let Some(cluster) = cluster.upgrade() else { return };
            match pass(&cluster, &mut seen).await {
                Ok(again) => again,
                Err(failure) => {
                    tracing::warn!(?failure, "custom kinds could not be looked after");
                    true
                }
            }
        };
        let changed = changes.changed();
        let ended = match again {
            true => tokio::time::timeout(AGAIN, changed).await.is_ok_and(|end| end.is_err()),
            false => changed.await.is_err(),
        };
        if ended {
            return;
        }
    }
}

/// Looks at all definitions once; whether to look again soon.
async fn pass(cluster: &Arc<Cluster>, seen: &mut Vec<(String, String)>) -> Result<bool, Failure> {
    let mut definitions = read(cluster).await?;
    let now = object::timestamp(object::now());
    let mut changed = Vec::new();
    for index in 0..definitions.len() {
        let others = definitions.iter().enumerate().filter(|(at, _)| *at != index);
        let settled = status::settle(&definitions[index], others.map(|(_, other)| other), &now);
        if let Some(settled) = settled {
            definitions[index]["status"] = settled;
            changed.push(index);
        }
    }
    let registry = registry(cluster);
    for index in changed {
        let settled = &definitions[index];
        let write = |present: &Value| {
            let mut wanted = present.clone();
            // Of another state than was looked at: the next pass sees it.
            if object::text(present, VERSION) == object::text(settled, VERSION) {
                wanted["status"] = settled["status"].clone();
            }
            Ok(Wanted::sent((wanted, Vec::new())))
        };
        let registry = registry.below(Subresource::Status);
        let (name, options) = (object::name(settled), WriteOptions::own());
        ignore_gone(registry.update(name, Part::Status, &options, write).await)?;
    }
    // Who finds the kind served reads the definition next, and may write it:
    // what is to be said of it has been said by then.
    serve(cluster, &definitions, seen);
    let mut again = false;
    for definition in &definitions {
        if object::is_deleting(definition) && going::is_guarded(definition) {
            again |= !finish(cluster, &registry, definition).await?;
        }
    }
    Ok(again)
}

const VERSION: &str = "/metadata/resourceVersion";

/// Deletes what a definition that goes has defined; whether it is done.
async fn finish(
    cluster: &Arc<Cluster>,
    registry: &Registry,
    definition: &Value,
) -> Result<bool, Failure> {
    if let Some(resource) = kind::stored(definition)
        && !going::sweep(cluster, &resource).await?
    {
        return Ok(false);
    }
    let release = |present: &Value| {
        let mut wanted = present.clone();
        going::release(&mut wanted);
        Ok(Wanted::sent((wanted, Vec::new())))
    };
    let name = object::name(definition);
    ignore_gone(registry.update(name, Part::Main, &WriteOptions::own(), release).await)?;
    Ok(true)
}

fn ignore_gone<T>(result: Result<T, Failure>) -> Result<(), Failure> {
    match result {
        Err(failure) if !failure.is_not_found() => Err(failure),
        _ => Ok(()),
    }
}

/// Oldest first: who came first has the names.
async fn read(cluster: &Arc<Cluster>) -> Result<Vec<Value>, Failure> {
    let page = registry(cluster).list(&ListOptions::all()).await?;
    let objects = page.items.into_iter().map(|item| item.into_object(catalog::definitions()));
    let mut definitions = objects.collect::<Result<Vec<Value>, Failure>>()?;
    let key = |crd: &Value| {
        let created = object::text(crd, "/metadata/creationTimestamp").to_owned();
        (created, object::name(crd).to_owned())
    };
    definitions.sort_by_key(key);
    Ok(definitions)
}

fn registry(cluster: &Arc<Cluster>) -> Registry {
    let place = Place {
        door: cluster.door.clone(),
        resource: catalog::definitions().clone(),
        namespace: None,
        name: None,
        subresource: None,
    };
    Registry::new(cluster.clone(), place)
}

/// Puts what is established into the catalog, if that is not what it has:
/// `seen` are the definitions it was made of.
fn serve(cluster: &Cluster, definitions: &[Value], seen: &mut Vec<(String, String)>) {
    let served = definitions.iter().filter(|crd| Definition(crd).is("Established"));
    let now: Vec<(String, String)> = served
        .clone()
        .map(|crd| {
            let terminating = object::is_deleting(crd);
            let intent = object::text(crd, "/metadata/uid").to_owned();
            let names = &crd["status"]["acceptedNames"];
            let generation = &crd["metadata"]["generation"];
            (intent, format!("{generation} {terminating} {names}"))
        })
        .collect();
    if now == *seen {
        return;
    }
    let builtin = Catalog::builtin();
    let free = |resource: &Arc<Resource>| {
        builtin.find(&resource.group, &resource.version, &resource.plural).is_none()
    };
    let custom = served.flat_map(kind::resources).filter(free);
    cluster.set_catalog(Catalog::with(custom));
    *seen = now;
}
