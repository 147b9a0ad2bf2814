//! A definition that goes takes its objects along: they are deleted one by one,
//! and it stays, guarded by a finalizer, until the last is gone.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{definition::FINALIZER, status};
use crate::{
    cluster::Cluster,
    failure::Failure,
    object,
    registry::Registry,
    request::{
        options::{DeleteOptions, ListOptions},
        path::Place,
    },
    resource::Resource,
};

/// Makes a definition wait for its objects.
pub fn mark(crd: &mut Value) {
    let finalizers = object::metadata(crd).entry("finalizers").or_insert_with(|| json!([]));
    if let Some(list) = finalizers.as_array_mut()
        && !list.iter().any(|finalizer| finalizer == FINALIZER)
    {
        list.push(FINALIZER.into());
    }
    if !crd["status"].is_object() {
        crd["status"] = json!({});
    }
    let message = "CustomResourceDefinition marked for deletion; CustomResource deletion will \
                   begin soon";
    let now = object::timestamp(object::now());
    status::set(
        &mut crd["status"],
        "Terminating",
        "True",
        "InstanceDeletionPending",
        message,
        &now,
    );
}

pub fn is_guarded(crd: &Value) -> bool {
    let finalizers = crd.pointer("/metadata/finalizers").and_then(Value::as_array);
    finalizers.is_some_and(|list| list.iter().any(|finalizer| finalizer == FINALIZER))
}

/// Takes the guard away.
pub fn release(crd: &mut Value) {
    if let Some(list) = crd.pointer_mut("/metadata/finalizers").and_then(Value::as_array_mut) {
        list.retain(|finalizer| finalizer != FINALIZER);
    }
}

/// Deletes every object of the kind; whether none is left.
pub async fn sweep(cluster: &Arc<Cluster>, resource: &Arc<Resource>) -> Result<bool, Failure> {
    let collection = |namespace: Option<String>| {
        let place = Place {
            door: cluster.door.clone(),
            resource: resource.clone(),
            namespace,
            name: None,
            subresource: None,
        };
        Registry::new(cluster.clone(), place)
    };
    let all = collection(None);
    for item in all.list(&ListOptions::all()).await?.items {
        let found = item.object(resource)?;
        if object::is_deleting(&found) {
            continue;
        }
        let namespace = Some(object::namespace(&found)).filter(|name| !name.is_empty());
        let registry = collection(namespace.map(str::to_owned));
        match registry.delete(object::name(&found), &DeleteOptions::default()).await {
            Err(failure) if !failure.is_not_found() => return Err(failure),
            _ => {}
        }
    }
    Ok(all.list(&ListOptions::all()).await?.items.is_empty())
}
