//! OpenAPI v3: an index, and one document for each group and version, made
//! from the descriptors. kubectl reads from them which kinds check unknown
//! fields on the server (`fieldValidation`) and what `kubectl explain` prints.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Map, Value, json};

use crate::{
    catalog, discovery,
    failure::Failure,
    request::path::Door,
    resource::{Face, Resource},
};

/// The documents of `door`, each with an address that changes with its text.
pub fn index(door: &Door) -> Value {
    let mut paths = Map::new();
    for (group, version) in discovery::groups(door) {
        let Ok(document) = document(door, group, version) else { continue };
        let path = match group {
            "" => format!("api/{version}"),
            group => format!("apis/{group}/{version}"),
        };
        let mut hasher = DefaultHasher::new();
        document.to_string().hash(&mut hasher);
        let hash = hasher.finish();
        let url = format!("{}/openapi/v3/{path}?hash={hash:016X}", door.prefix());
        paths.insert(path, json!({ "serverRelativeURL": url }));
    }
    json!({ "paths": paths })
}

pub fn document(door: &Door, group: &str, version: &str) -> Result<Value, Failure> {
    let mut paths = Map::new();
    let mut schemas = Map::new();
    for resource in catalog::at(door).filter(|r| r.group == group && r.version == version) {
        let face = door.face(resource);
        let namespace = resource.is_namespaced().then_some("{namespace}");
        paths.insert(resource.path(namespace, ""), collection(face, resource));
        paths.insert(resource.path(namespace, "{name}"), item(face, resource));
        if resource.status && face == Face::Stored {
            let path = format!("{}/status", resource.path(namespace, "{name}"));
            paths.insert(path, item(face, resource));
        }
        let mut schema = resource.schema.to_openapi();
        schema["x-kubernetes-group-version-kind"] = json!([gvk(resource)]);
        schemas.insert(schema_name(resource), schema);
    }
    let known = discovery::groups(door).contains(&(group, version));
    if paths.is_empty() && !known {
        return Err(Failure::no_such_path());
    }
    Ok(json!({
        "openapi": "3.0.0",
        "info": { "title": "Polis", "version": crate::version::GIT_VERSION },
        "paths": paths,
        "components": { "schemas": schemas },
    }))
}

/// The frame of an OpenAPI v2 document, for clients that ask for one before
/// they look at v3.
pub fn v2() -> Value {
    json!({
        "swagger": "2.0",
        "info": { "title": "Polis", "version": crate::version::GIT_VERSION },
        "paths": {},
        "definitions": {},
    })
}

fn gvk(resource: &Resource) -> Value {
    json!({ "group": resource.group, "version": resource.version, "kind": resource.kind })
}

/// `dev.polis.v1alpha1.Unit`: the group's parts in reverse, as Kubernetes does.
fn schema_name(resource: &Resource) -> String {
    let group = match resource.group {
        "" => "core.api.k8s.io",
        group => group,
    };
    let mut parts: Vec<&str> = group.split('.').rev().collect();
    parts.extend([resource.version, resource.kind]);
    parts.join(".")
}

fn parameter(name: &str, place: &str) -> Value {
    json!({
        "name": name,
        "in": place,
        "required": place == "path",
        "schema": { "type": "string", "uniqueItems": true },
    })
}

fn operation(action: &str, resource: &Resource, parameters: &[&str], patches: bool) -> Value {
    let content = json!({
        "application/json": {
            "schema": { "$ref": format!("#/components/schemas/{}", schema_name(resource)) },
        },
    });
    let mut operation = json!({
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": gvk(resource),
        "parameters": parameters.iter().map(|name| parameter(name, "query")).collect::<Vec<_>>(),
        "responses": { "200": { "description": "OK", "content": content } },
    });
    if patches {
        let any = json!({ "schema": { "type": "object" } });
        operation["requestBody"] = json!({
            "required": true,
            "content": {
                "application/json-patch+json": any,
                "application/merge-patch+json": any,
            },
        });
    } else if matches!(action, "post" | "put") {
        operation["requestBody"] = json!({ "required": true, "content": content });
    }
    operation
}

const WRITE: &[&str] = &["dryRun", "fieldManager", "fieldValidation"];
const LIST: &[&str] = &[
    "labelSelector",
    "fieldSelector",
    "limit",
    "continue",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "allowWatchBookmarks",
    "timeoutSeconds",
    "watch",
];

fn path_parameters(resource: &Resource, named: bool) -> Vec<Value> {
    let namespace = resource.is_namespaced().then(|| parameter("namespace", "path"));
    let name = named.then(|| parameter("name", "path"));
    namespace.into_iter().chain(name).collect()
}

fn collection(face: Face, resource: &Resource) -> Value {
    let mut path = json!({
        "get": operation("list", resource, LIST, false),
        "parameters": path_parameters(resource, false),
    });
    if face == Face::Stored {
        path["post"] = operation("post", resource, WRITE, false);
        path["delete"] = operation("deletecollection", resource, LIST, false);
    }
    path
}

fn item(face: Face, resource: &Resource) -> Value {
    let mut path = json!({
        "get": operation("get", resource, &[], false),
        "parameters": path_parameters(resource, true),
    });
    if face == Face::Stored {
        path["put"] = operation("put", resource, WRITE, false);
        path["patch"] = operation("patch", resource, WRITE, true);
        let delete = &["dryRun", "gracePeriodSeconds", "propagationPolicy"];
        path["delete"] = operation("delete", resource, delete, false);
    }
    path
}
