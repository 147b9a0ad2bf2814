//! Discovery: which groups, versions and kinds a door serves.
//!
//! The legacy documents, and the aggregated one (`apidiscovery.k8s.io/v2`) that
//! kubectl asks for first.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{
    catalog,
    failure::Failure,
    request::path::{Discovery, Door},
    resource::{Face, Resource},
};

/// Questions about the caller, which are not kept: group, kind, plural.
const REVIEWS: [(&str, &str, &str); 3] = [
    ("authentication.k8s.io", "SelfSubjectReview", "selfsubjectreviews"),
    ("authorization.k8s.io", "SelfSubjectAccessReview", "selfsubjectaccessreviews"),
    ("authorization.k8s.io", "SelfSubjectRulesReview", "selfsubjectrulesreviews"),
];

pub fn show(door: &Door, what: &Discovery, aggregated: bool) -> Result<Value, Failure> {
    match what {
        Discovery::Core if aggregated => Ok(aggregate(door, true)),
        Discovery::Groups if aggregated => Ok(aggregate(door, false)),
        Discovery::Core => Ok(json!({
            "kind": "APIVersions",
            "versions": ["v1"],
            "serverAddressByClientCIDRs": [],
        })),
        Discovery::Groups => {
            let names: Vec<Value> = groups(door)
                .iter()
                .filter(|(group, _)| !group.is_empty())
                .map(|(group, version)| group_entry(group, version))
                .collect();
            Ok(json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": names }))
        }
        Discovery::Group(name) => {
            let found = groups(door).into_iter().find(|(group, _)| group == name);
            let (group, version) = found.ok_or_else(Failure::no_such_path)?;
            let mut entry = group_entry(group, version);
            entry["kind"] = "APIGroup".into();
            entry["apiVersion"] = "v1".into();
            Ok(entry)
        }
        Discovery::Version { group, version } => resources(door, group, version),
    }
}

/// Group and version, core first.
pub fn groups(door: &Door) -> BTreeSet<(&'static str, &'static str)> {
    let kept = catalog::at(door).map(|resource| (resource.group, resource.version));
    kept.chain(REVIEWS.iter().map(|(group, ..)| (*group, "v1"))).collect()
}

fn group_entry(group: &str, version: &str) -> Value {
    let version = json!({ "groupVersion": format!("{group}/{version}"), "version": version });
    json!({ "name": group, "versions": [version], "preferredVersion": version })
}

fn verbs(face: Face) -> Vec<&'static str> {
    match face {
        Face::Merged => vec!["get", "list", "watch"],
        Face::Stored | Face::Absent => {
            vec!["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
        }
    }
}

/// Subresource, its kind, its verbs.
fn subresources(
    face: Face,
    resource: &Resource,
) -> Vec<(&'static str, &'static str, Vec<&'static str>)> {
    let mut found = Vec::new();
    if resource.status && face == Face::Stored {
        found.push(("status", resource.kind, vec!["get", "patch", "update"]));
    }
    if resource.kind == "Namespace" {
        found.push(("finalize", resource.kind, vec!["update"]));
    }
    if resource.logs {
        found.push(("log", resource.kind, vec!["get"]));
    }
    found
}

fn resources(door: &Door, group: &str, version: &str) -> Result<Value, Failure> {
    let mut list = Vec::new();
    for resource in catalog::at(door).filter(|r| r.group == group && r.version == version) {
        let face = door.face(resource);
        let mut entry = json!({
            "name": resource.plural,
            "singularName": resource.singular,
            "namespaced": resource.is_namespaced(),
            "kind": resource.kind,
            "verbs": verbs(face),
        });
        if !resource.short_names.is_empty() {
            entry["shortNames"] = json!(resource.short_names);
        }
        if !resource.categories.is_empty() {
            entry["categories"] = json!(resource.categories);
        }
        list.push(entry);
        for (name, kind, verbs) in subresources(face, resource) {
            list.push(json!({
                "name": format!("{}/{name}", resource.plural),
                "singularName": "",
                "namespaced": resource.is_namespaced(),
                "kind": kind,
                "verbs": verbs,
            }));
        }
    }
    for (_, kind, plural) in REVIEWS.iter().filter(|(own, ..)| *own == group && version == "v1") {
        list.push(json!({
            "name": plural,
            "singularName": kind.to_lowercase(),
            "namespaced": false,
            "kind": kind,
            "verbs": ["create"],
        }));
    }
    if list.is_empty() {
        return Err(Failure::no_such_path());
    }
    let group_version =
        if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    Ok(json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version,
        "resources": list,
    }))
}

fn aggregate(door: &Door, core: bool) -> Value {
    let items: Vec<Value> = groups(door)
        .into_iter()
        .filter(|(group, _)| group.is_empty() == core)
        .map(|(group, version)| {
            let kept = catalog::at(door)
                .filter(|resource| resource.group == group && resource.version == version)
                .map(|resource| aggregate_resource(door.face(resource), resource));
            let reviews = REVIEWS.iter().filter(|(own, ..)| *own == group).map(|review| {
                let (group, kind, plural) = *review;
                json!({
                    "resource": plural,
                    "responseKind": { "group": group, "version": "v1", "kind": kind },
                    "scope": "Cluster",
                    "singularResource": kind.to_lowercase(),
                    "verbs": ["create"],
                })
            });
            let resources: Vec<Value> = kept.chain(reviews).collect();
            let mut metadata = json!({ "creationTimestamp": null });
            if !group.is_empty() {
                metadata["name"] = group.into();
            }
            json!({
                "metadata": metadata,
                "versions": [
                    { "version": version, "freshness": "Current", "resources": resources }
                ],
            })
        })
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    })
}

fn aggregate_resource(face: Face, resource: &Resource) -> Value {
    let kind =
        |kind: &str| json!({ "group": resource.group, "version": resource.version, "kind": kind });
    let mut entry = json!({
        "resource": resource.plural,
        "responseKind": kind(resource.kind),
        "scope": if resource.is_namespaced() { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular,
        "verbs": verbs(face),
    });
    if !resource.short_names.is_empty() {
        entry["shortNames"] = json!(resource.short_names);
    }
    if !resource.categories.is_empty() {
        entry["categories"] = json!(resource.categories);
    }
    let subresources: Vec<Value> = subresources(face, resource)
        .into_iter()
        .map(|(name, own, verbs)| {
            json!({ "subresource": name, "responseKind": kind(own), "verbs": verbs })
        })
        .collect();
    if !subresources.is_empty() {
        entry["subresources"] = subresources.into();
    }
    entry
}
