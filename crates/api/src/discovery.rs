//! Discovery: which groups, versions and kinds a door serves.
//!
//! The legacy documents, and the aggregated one (`apidiscovery.k8s.io/v2`) that
//! kubectl asks for first.

use std::{cmp::Reverse, sync::Arc};

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::STANDARD};
use schema::{
    TypeId,
    builtin::{self, Kind},
};
use serde_json::{Value, json};

use crate::{
    catalog::Catalog,
    failure::Failure,
    request::path::{Discovery, Door, Review},
    resource::{Face, Origin, Resource},
    unkept::Unkept,
};

/// Something that can be asked for.
pub enum Served {
    Kind { resource: Arc<Resource>, face: Face },
    Question(&'static Kind),
}

/// Something below an object, and what is spoken there.
pub struct Sub {
    pub name: &'static str,
    pub group: String,
    pub version: String,
    pub kind: String,
    /// Its type, where that is not the object's own.
    pub type_id: Option<TypeId>,
    pub verbs: &'static [&'static str],
}

/// Everything at `door`, in the order in which it is shown.
pub fn served(catalog: &Catalog, door: &Door) -> Vec<Served> {
    let kept = catalog
        .at(door)
        .map(|resource| Served::Kind { face: door.face(resource), resource: resource.clone() });
    kept.chain(questions(door).map(Served::Question)).collect()
}

/// What is answered and not kept.
fn questions(door: &Door) -> impl Iterator<Item = &'static Kind> {
    let served = move |kind: &&Kind| {
        Unkept::has(door, kind)
            || Review::ALL
                .iter()
                .any(|one| (one.group(), one.plural()) == (kind.group, kind.plural))
    };
    builtin::kinds().iter().filter(served)
}

/// Group and version: core first, each group's best version first.
pub fn groups<'a>(catalog: &'a Catalog, door: &'a Door) -> Vec<(&'a str, &'a str)> {
    let kept = catalog.at(door).map(|resource| (&*resource.group, &*resource.version));
    let asked = questions(door).map(|kind| (kind.group, kind.version));
    let mut groups: Vec<(&str, &str)> = kept.chain(asked).collect();
    groups.sort_by_key(|(group, version)| (*group, Reverse(rank(version))));
    groups.dedup();
    groups
}

/// Versions by stability, then by number: `v2`, `v1`, `v1beta2`, `v1alpha1`, and
/// whatever else there is.
fn rank(version: &str) -> (u8, u32, u32, Reverse<&str>) {
    let none = (0, 0, 0, Reverse(version));
    let Some(rest) = version.strip_prefix('v') else { return none };
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (major, rest) = rest.split_at(digits);
    let Ok(major) = major.parse() else { return none };
    let minor = |rest: &str| rest.parse().ok();
    match (
        rest,
        rest.strip_prefix("beta").and_then(minor),
        rest.strip_prefix("alpha").and_then(minor),
    ) {
        ("", ..) => (3, major, 0, Reverse("")),
        (_, Some(minor), _) => (2, major, minor, Reverse("")),
        (_, _, Some(minor)) => (1, major, minor, Reverse("")),
        _ => none,
    }
}

/// `aggregated` names the version of the aggregated form.
pub fn show(
    catalog: &Catalog,
    door: &Door,
    what: &Discovery,
    aggregated: Option<&str>,
) -> Result<Value, Failure> {
    match (what, aggregated) {
        (Discovery::Core, Some(version)) => Ok(aggregate(catalog, door, true, version)),
        (Discovery::Groups, Some(version)) => Ok(aggregate(catalog, door, false, version)),
        (Discovery::Core, None) => Ok(json!({
            "kind": "APIVersions",
            "apiVersion": "v1",
            "versions": ["v1"],
            "serverAddressByClientCIDRs": [],
        })),
        (Discovery::Groups, None) => {
            let mut names: Vec<&str> =
                groups(catalog, door).into_iter().map(|(group, _)| group).collect();
            names.dedup();
            let named = names.into_iter().filter(|group| !group.is_empty());
            let entries: Vec<Value> =
                named.map(|group| group_entry(catalog, door, group)).collect();
            Ok(json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": entries }))
        }
        (Discovery::Group(name), _) => {
            let known = groups(catalog, door).iter().any(|(group, _)| group == name);
            if !known || name.is_empty() {
                return Err(Failure::no_such_path());
            }
            let mut entry = group_entry(catalog, door, name);
            entry["kind"] = "APIGroup".into();
            entry["apiVersion"] = "v1".into();
            Ok(entry)
        }
        (Discovery::Version { group, version }, _) => resources(catalog, door, group, version),
    }
}

fn group_entry(catalog: &Catalog, door: &Door, name: &str) -> Value {
    let versions: Vec<Value> = groups(catalog, door)
        .into_iter()
        .filter(|(group, _)| *group == name)
        .map(|(group, version)| {
            json!({ "groupVersion": format!("{group}/{version}"), "version": version })
        })
        .collect();
    json!({ "name": name, "preferredVersion": versions.first(), "versions": versions })
}

fn resources(catalog: &Catalog, door: &Door, group: &str, version: &str) -> Result<Value, Failure> {
    let mut list = Vec::new();
    let all = served(catalog, door);
    for one in all.iter().filter(|one| one.group() == group && one.version() == version) {
        let mut entry = json!({
            "name": one.plural(),
            "singularName": one.singular(),
            "namespaced": one.is_namespaced(),
            "kind": one.kind(),
            "verbs": one.verbs(),
        });
        one.names(&mut entry);
        if let Some(hash) = one.storage_hash() {
            entry["storageVersionHash"] = hash.into();
        }
        list.push(entry);
        for sub in one.subresources() {
            let mut entry = json!({
                "name": format!("{}/{}", one.plural(), sub.name),
                "singularName": "",
                "namespaced": one.is_namespaced(),
                "kind": sub.kind,
                "verbs": sub.verbs,
            });
            if (&*sub.group, &*sub.version) != (group, version) {
                entry["group"] = sub.group.into();
                entry["version"] = sub.version.into();
            }
            list.push(entry);
        }
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

fn aggregate(catalog: &Catalog, door: &Door, core: bool, form: &str) -> Value {
    let all = served(catalog, door);
    let mut items: Vec<Value> = Vec::new();
    let mut last = None;
    for (group, version) in groups(catalog, door) {
        if group.is_empty() != core {
            continue;
        }
        let here = all.iter().filter(|one| one.group() == group && one.version() == version);
        let resources: Vec<Value> = here.map(aggregate_one).collect();
        let shown = json!({ "version": version, "freshness": "Current", "resources": resources });
        if last == Some(group)
            && let Some(versions) =
                items.last_mut().and_then(|item| item["versions"].as_array_mut())
        {
            versions.push(shown);
            continue;
        }
        last = Some(group);
        let mut metadata = json!({ "creationTimestamp": null });
        if !group.is_empty() {
            metadata["name"] = group.into();
        }
        items.push(json!({ "metadata": metadata, "versions": [shown] }));
    }
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{form}"),
        "metadata": {},
        "items": items,
    })
}

fn aggregate_one(one: &Served) -> Value {
    let kind = |group: &str, version: &str, kind: &str| json!({ "group": group, "version": version, "kind": kind });
    let mut entry = json!({
        "resource": one.plural(),
        "responseKind": kind(one.group(), one.version(), one.kind()),
        "scope": if one.is_namespaced() { "Namespaced" } else { "Cluster" },
        "singularResource": one.singular(),
        "verbs": one.verbs(),
    });
    one.names(&mut entry);
    let subresources: Vec<Value> = one
        .subresources()
        .into_iter()
        .map(|sub| {
            json!({
                "subresource": sub.name,
                "responseKind": kind(&sub.group, &sub.version, &sub.kind),
                "verbs": sub.verbs,
            })
        })
        .collect();
    if !subresources.is_empty() {
        entry["subresources"] = subresources.into();
    }
    entry
}

// === impl Served ===

impl Served {
    pub fn group(&self) -> &str {
        match self {
            Served::Kind { resource, .. } => &resource.group,
            Served::Question(kind) => kind.group,
        }
    }

    pub fn version(&self) -> &str {
        match self {
            Served::Kind { resource, .. } => &resource.version,
            Served::Question(kind) => kind.version,
        }
    }

    pub fn kind(&self) -> &str {
        match self {
            Served::Kind { resource, .. } => &resource.kind,
            Served::Question(kind) => kind.kind,
        }
    }

    pub fn plural(&self) -> &str {
        match self {
            Served::Kind { resource, .. } => &resource.plural,
            Served::Question(kind) => kind.plural,
        }
    }

    fn singular(&self) -> &str {
        match self {
            Served::Kind { resource, .. } => &resource.singular,
            Served::Question(kind) => kind.singular,
        }
    }

    pub fn is_namespaced(&self) -> bool {
        match self {
            Served::Kind { resource, .. } => resource.is_namespaced(),
            Served::Question(kind) => kind.scope == resources::Scope::Namespaced,
        }
    }

    /// `/api/v1`, `/apis/GROUP/VERSION`.
    pub fn base(&self) -> String {
        match (self.group(), self.version()) {
            ("", version) => format!("/api/{version}"),
            (group, version) => format!("/apis/{group}/{version}"),
        }
    }

    pub fn verbs(&self) -> &[&'static str] {
        match self {
            Served::Kind { face: Face::Merged, .. } => &["get", "list", "watch"],
            Served::Kind { resource, .. } => resource.verbs(),
            Served::Question(kind) => &kind.verbs,
        }
    }

    pub fn subresources(&self) -> Vec<Sub> {
        let Served::Kind { resource, face } = self else { return Vec::new() };
        let stored = *face == Face::Stored;
        let served = resource.subresources.iter();
        let served = served.filter(|sub| stored || sub.verbs() == ["get"]);
        served
            .map(|sub| {
                let name = sub.as_str();
                let type_id = match &resource.origin {
                    Origin::Builtin(kind) => kind.subresource(name).map(|sub| sub.id),
                    _ if name == "scale" => builtin::find("autoscaling.v1.Scale"),
                    _ => None,
                };
                let (group, version, kind) = match type_id.map(builtin::describe) {
                    Some(one) => (one.group, one.version, one.name),
                    None => (&*resource.group, &*resource.version, &*resource.kind),
                };
                let [group, version, kind] = [group, version, kind].map(str::to_owned);
                Sub { name, group, version, kind, type_id, verbs: sub.verbs() }
            })
            .collect()
    }

    /// The other names it goes by.
    fn names(&self, entry: &mut Value) {
        let (short, categories) = match self {
            Served::Kind { resource, .. } => {
                (json!(resource.short_names), json!(resource.categories))
            }
            Served::Question(kind) => (json!(kind.short_names), json!(kind.categories)),
        };
        for (name, list) in [("shortNames", short), ("categories", categories)] {
            if list.as_array().is_some_and(|list| !list.is_empty()) {
                entry[name] = list;
            }
        }
    }

    /// Tells clients whether two names are of the same objects.
    fn storage_hash(&self) -> Option<String> {
        let Served::Kind { resource, .. } = self else { return None };
        let (group, version) = match resource.kept_as {
            Some(kept) => (kept.group, kept.version),
            None => (&*resource.group, &*resource.version),
        };
        let digest = digest(&SHA256, format!("{group}/{version}/{}", resource.kind).as_bytes());
        digest.as_ref().get(..8).map(|first| STANDARD.encode(first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_version_comes_first() {
        let mut versions = ["v1alpha1", "v1", "foo", "v2beta1", "v10", "v2", "bar", "v1beta2"];
        versions.sort_by_key(|version| Reverse(rank(version)));
        assert_eq!(versions, ["v10", "v2", "v1", "v2beta1", "v1beta2", "v1alpha1", "bar", "foo"]);
    }

    #[test]
    fn groups_and_kinds_are_told_as_kubernetes_tells_them() {
        let catalog = Catalog::builtin();
        let what = Discovery::Group("autoscaling".into());
        let group = show(catalog, &Door::Cluster, &what, None).expect("served");
        assert_eq!(group["preferredVersion"]["version"], "v2");
        assert_eq!(group["versions"].as_array().map(Vec::len), Some(2));
        let what = Discovery::Version { group: String::new(), version: "v1".into() };
        let list = show(catalog, &Door::Cluster, &what, None).expect("served");
        let entries = list["resources"].as_array().expect("a list");
        let find = |name: &str| entries.iter().find(|one| one["name"] == name).expect("served");
        assert_eq!(find("pods")["storageVersionHash"], "xPOwRZ+Yhw8=");
        assert_eq!(find("pods/eviction")["kind"], "Eviction");
        assert_eq!(find("pods/eviction")["group"], "policy");
        let scale = find("replicationcontrollers/scale");
        assert_eq!((&scale["group"], &scale["kind"]), (&json!("autoscaling"), &json!("Scale")));
        let whole = show(catalog, &Door::Cluster, &Discovery::Groups, Some("v2")).expect("served");
        let names: Vec<&Value> = whole["items"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|item| &item["metadata"]["name"])
            .collect();
        let mut once = names.clone();
        once.dedup();
        assert_eq!(names, once);
    }
}
