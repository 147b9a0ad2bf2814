//! What is done about one object.

use std::sync::Arc;

use serde_json::Value;

use super::{
    Task,
    graph::{FOREGROUND, Graph, Head, ORPHAN, Owner},
};
use crate::{
    cluster::Cluster,
    failure::Failure,
    mirror, object,
    registry::{Part, Registry, Wanted},
    request::{
        options::{DeleteOptions, Preconditions, Propagation, WriteOptions},
        path::Place,
    },
};

/// What became of an owner.
enum Standing {
    There,
    /// It waits for this to be gone.
    Waiting,
    Gone,
    /// Its kind is not served (now), or a reference crosses namespaces.
    Unknown,
}

/// Does it, and says what to look at next.
pub async fn act(cluster: &Arc<Cluster>, graph: &Graph, task: &Task) -> Result<Vec<Task>, Failure> {
    let done = match task {
        Task::Judge(key) => judge(cluster, graph, key).await,
        Task::Release(key) => match place(cluster, key) {
            Some((registry, name)) => release(cluster, graph, &registry, &name).await,
            None => return Ok(Vec::new()),
        },
        Task::ReleaseOwner { owner, namespace } => match find(cluster, owner, namespace.as_deref())
        {
            Some(registry) => release(cluster, graph, &registry, &owner.name).await,
            None => return Ok(Vec::new()),
        },
        Task::Empty(namespace) => return empty(cluster, namespace).await,
    };
    match done {
        Err(failure) if failure.is_not_found() => Ok(Vec::new()),
        done => done,
    }
}

/// The collection and the name of the object under `key`.
fn place(cluster: &Arc<Cluster>, key: &str) -> Option<(Registry, String)> {
    let catalog = cluster.catalog();
    let rest = key.strip_prefix(mirror::ROOT)?;
    let mut parts = rest.splitn(3, '/');
    let (group, plural, object) = (parts.next()?, parts.next()?, parts.next()?);
    let prefix = format!("{}{group}/{plural}/", mirror::ROOT);
    let resource = catalog.all().find(|resource| resource.prefix() == prefix)?.clone();
    let (namespace, name) = match object.split_once('/') {
        Some((namespace, name)) => (Some(namespace.to_owned()), name),
        None => (None, object),
    };
    Some((registry(cluster, resource, namespace), name.to_owned()))
}

fn registry(
    cluster: &Arc<Cluster>,
    resource: Arc<crate::resource::Resource>,
    namespace: Option<String>,
) -> Registry {
    let door = cluster.door.clone();
    let place = Place { door, resource, namespace, name: None, subresource: None };
    Registry::new(cluster.clone(), place)
}

/// The collection that an owner is in; none when its kind is not served, or
/// when the reference crosses namespaces.
fn find(cluster: &Arc<Cluster>, owner: &Owner, namespace: Option<&str>) -> Option<Registry> {
    let (group, version) = owner.api_version.split_once('/').unwrap_or(("", &owner.api_version));
    let catalog = cluster.catalog();
    let resource = catalog.of_kind(group, version, &owner.kind)?.clone();
    let namespace = match (resource.is_namespaced(), namespace) {
        (true, None) => return None,
        (true, Some(namespace)) => Some(namespace.to_owned()),
        (false, _) => None,
    };
    Some(registry(cluster, resource, namespace))
}

/// Whether all owners are there, as far as the mirror knows. When one goes, its
/// dependents are looked at anyway.
pub fn is_settled(cluster: &Arc<Cluster>, owners: &[Owner], namespace: Option<&str>) -> bool {
    owners.iter().all(|owner| {
        let Some(registry) = find(cluster, owner, namespace) else { return false };
        let found = registry.known(&owner.name);
        let head = found.map(|kv| Head::read(&kv.value)).unwrap_or_default();
        head.uid == owner.uid && !(head.deleting && head.has_finalizer(FOREGROUND))
    })
}

fn head(object: &Value) -> Head {
    Head::read(object.to_string().as_bytes())
}

async fn judge(cluster: &Arc<Cluster>, graph: &Graph, key: &str) -> Result<Vec<Task>, Failure> {
    let Some((registry, name)) = place(cluster, key) else { return Ok(Vec::new()) };
    let object = registry.get(&name).await?;
    let own = head(&object);
    if own.owners.is_empty() || (own.deleting && !own.has_finalizer(FOREGROUND)) {
        return Ok(Vec::new());
    }
    let (mut solid, mut waiting, mut useless) = (0, 0, Vec::new());
    for owner in &own.owners {
        match standing(cluster, &registry, owner).await? {
            Standing::There | Standing::Unknown => solid += 1,
            Standing::Waiting => {
                waiting += 1;
                useless.push(owner.uid.clone());
            }
            Standing::Gone => useless.push(owner.uid.clone()),
        }
    }
    if solid > 0 {
        if !useless.is_empty() {
            disown(&registry, &name, &own.uid, &useless).await?;
        }
        return Ok(Vec::new());
    }
    if own.deleting {
        return Ok(Vec::new());
    }
    let propagation = if waiting > 0 && graph.has_dependents(&own.uid) {
        // Whoever waits for this waits for what belongs to it, too.
        Propagation::Foreground
    } else if own.has_finalizer(ORPHAN) {
        Propagation::Orphan
    } else if own.has_finalizer(FOREGROUND) {
        Propagation::Foreground
    } else {
        Propagation::Background
    };
    let options = DeleteOptions {
        propagation_policy: Some(propagation),
        preconditions: Preconditions { uid: Some(own.uid.clone()), resource_version: None },
        ..DeleteOptions::default()
    };
    match registry.delete(&name, &options).await {
        // Another object of that name by now.
        Err(failure) if failure.code() == http::StatusCode::CONFLICT => Ok(Vec::new()),
        deleted => deleted.map(|_| Vec::new()),
    }
}

async fn standing(
    cluster: &Arc<Cluster>,
    dependent: &Registry,
    owner: &Owner,
) -> Result<Standing, Failure> {
    let Some(registry) = find(cluster, owner, dependent.namespace()) else {
        return Ok(Standing::Unknown);
    };
    match registry.get(&owner.name).await {
        Ok(found) if object::uid(&found) != owner.uid => Ok(Standing::Gone),
        Ok(found) => {
            let found = head(&found);
            let waits = found.deleting && found.has_finalizer(FOREGROUND);
            Ok(if waits { Standing::Waiting } else { Standing::There })
        }
        Err(failure) if failure.is_not_found() => Ok(Standing::Gone),
        Err(failure) => Err(failure),
    }
}

/// Takes references to `owners` out of the object.
async fn disown(
    registry: &Registry,
    name: &str,
    uid: &str,
    owners: &[String],
) -> Result<(), Failure> {
    change(registry, name, uid, |metadata| {
        if let Some(list) = metadata["ownerReferences"].as_array_mut() {
            list.retain(|owner| !owners.iter().any(|gone| owner["uid"] == gone.as_str()));
        }
    })
    .await
}

/// Changes the metadata of exactly this object, whatever a kind's schema says
/// by now.
async fn change(
    registry: &Registry,
    name: &str,
    uid: &str,
    edit: impl Fn(&mut Value),
) -> Result<(), Failure> {
    let updated = registry
        .update(name, Part::Metadata, &WriteOptions::own(), |object| {
            if object::uid(object) != uid {
                return Err(Failure::not_found(registry.kind(), name));
            }
            let mut object = object.clone();
            edit(&mut object["metadata"]);
            Ok(Wanted::sent((object, Vec::new())))
        })
        .await;
    updated.map(drop)
}

/// Lets an object go that waits for its dependents, once it need not.
async fn release(
    cluster: &Arc<Cluster>,
    graph: &Graph,
    registry: &Registry,
    name: &str,
) -> Result<Vec<Task>, Failure> {
    let own = head(&registry.get(name).await?);
    if !own.deleting {
        return Ok(Vec::new());
    }
    if own.has_finalizer(ORPHAN) {
        for dependent in graph.dependents(&own.uid) {
            let Some((registry, name)) = place(cluster, &dependent) else { continue };
            let object = match registry.get(&name).await {
                Err(failure) if failure.is_not_found() => continue,
                object => object?,
            };
            let uid = object::uid(&object).to_owned();
            disown(&registry, &name, &uid, std::slice::from_ref(&own.uid)).await?;
        }
        finish(registry, name, &own.uid, ORPHAN).await?;
    } else if own.has_finalizer(FOREGROUND) {
        let blocking = graph.blocking(&own.uid);
        if blocking.is_empty() {
            finish(registry, name, &own.uid, FOREGROUND).await?;
        }
        return Ok(graph.dependents(&own.uid).into_iter().map(Task::Judge).collect());
    }
    Ok(Vec::new())
}

async fn finish(registry: &Registry, name: &str, uid: &str, ours: &str) -> Result<(), Failure> {
    change(registry, name, uid, |metadata| {
        if let Some(list) = metadata["finalizers"].as_array_mut() {
            list.retain(|finalizer| finalizer != ours);
        }
    })
    .await
}

async fn empty(cluster: &Arc<Cluster>, namespace: &str) -> Result<Vec<Task>, Failure> {
    let registry = registry(cluster, crate::catalog::namespaces().clone(), None);
    match registry.empty_namespace(namespace).await? {
        true => Ok(Vec::new()),
        // Something in it takes its time.
        false => Err(Failure::unavailable("the namespace is not empty yet")),
    }
}
