//! Paths: which door, which kind, which object.
//!
//! `/` is the federation, `/units/NAME` a unit's own cluster; below either the
//! paths are Kubernetes'. A server of one plain cluster has that at `/` and
//! nothing else. Parsing knows no stored object: whether a unit, a kind or an
//! object exists is found out later, by whoever may know.

use std::sync::Arc;

use topology::UnitName;

use crate::{
    catalog::{self, Catalog},
    failure::Failure,
    flows::Dump,
    kinds::unit,
    request::query,
    resource::{Face, Resource},
    subresource::Subresource,
    unkept::Unkept,
};

/// Longest path we look at; names and groups are bounded by far less.
const PATH_BYTES_MAX: usize = 4096;

/// What the names of units' keyspaces start with.
pub const UNIT_KEYSPACE_PREFIX: &str = "unit-";

/// Which cluster a request is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Door {
    Federation,
    /// The only cluster of a server without units.
    Cluster,
    Unit(UnitName),
}

#[derive(Debug)]
pub enum Target {
    /// Which, and the one check of it that is asked about.
    Health(&'static str, Option<String>),
    Version,
    Metrics,
    /// `/api`, `/apis`, `/apis/GROUP`, `/apis/GROUP/VERSION`.
    Discovery(Door, Discovery),
    /// The index, or the document of one group and version.
    OpenApiV3(Door, Option<(String, String)>),
    OpenApiV2(Door),
    /// A question that is answered and not kept, and in which namespace.
    Review(Door, Review, Option<String>),
    /// What priority levels are at.
    Flows(Door, Dump),
    /// How tokens of service accounts are verified: the configuration, or keys.
    Issuer(Door, Issuer),
    /// A kind that is served and not kept.
    Unkept(Door, Unkept),
    Resource(Address),
}

#[derive(Debug, PartialEq, Eq)]
pub enum Discovery {
    Core,
    Groups,
    Group(String),
    Version { group: String, version: String },
}

/// Of whom, and about what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Review {
    Whoami,
    Token,
    Access,
    Rules,
    SubjectAccess,
    LocalAccess,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Issuer {
    Configuration,
    Keys,
}

/// A collection or an object, by names that may mean nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    pub door: Door,
    pub group: String,
    pub version: String,
    pub plural: String,
    pub namespace: Option<String>,
    pub name: Option<String>,
    pub subresource: Option<Subresource>,
}

/// A collection or an object of a kind that is served.
#[derive(Clone)]
pub struct Place {
    pub door: Door,
    pub resource: Arc<Resource>,
    pub namespace: Option<String>,
    pub name: Option<String>,
    pub subresource: Option<Subresource>,
}

// === impl Target ===

impl Target {
    /// `root` is what stands at `/`.
    pub fn parse(path: &str, root: &Door) -> Result<Target, Failure> {
        if path.len() > PATH_BYTES_MAX {
            return Err(Failure::bad_request(format!(
                "path is longer than {PATH_BYTES_MAX} bytes"
            )));
        }
        let segments = split(path).ok_or_else(Failure::no_such_path)?;
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match segments.as_slice() {
            ["units", unit, rest @ ..] if *root == Door::Federation && !rest.is_empty() => {
                let parsed = unit.parse::<UnitName>().ok().filter(unit::has_keyspace);
                let unit = parsed.ok_or_else(|| {
                    Failure::not_found(catalog::units(), &unit.chars().take(64).collect::<String>())
                })?;
                below(Door::Unit(unit), rest)
            }
            rest => below(root.clone(), rest),
        }
    }
}

// === impl Target, whose doors ===

impl Target {
    /// Whose business it is; none for what is the whole server's.
    pub fn door(&self) -> Option<&Door> {
        match self {
            Target::Health(..) | Target::Version | Target::Metrics => None,
            Target::Discovery(door, _)
            | Target::OpenApiV3(door, _)
            | Target::OpenApiV2(door)
            | Target::Review(door, ..)
            | Target::Unkept(door, _)
            | Target::Flows(door, _)
            | Target::Issuer(door, _) => Some(door),
            Target::Resource(address) => Some(&address.door),
        }
    }
}

/// Decoded segments; none when one of them could be mistaken for another path.
fn split(path: &str) -> Option<Vec<String>> {
    let path = path.strip_prefix('/')?;
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() {
        return Some(Vec::new());
    }
    let decoded = path.split('/').map(|segment| {
        let segment = query::decode(segment, false)?;
        let odd = |c: char| c == '/' || c == '%' || c.is_control();
        let plain =
            !segment.is_empty() && segment != "." && segment != ".." && !segment.contains(odd);
        plain.then_some(segment)
    });
    decoded.collect()
}

fn below(door: Door, segments: &[&str]) -> Result<Target, Failure> {
    Ok(match segments {
        ["livez", check @ ..] if check.len() < 2 => health("livez", check),
        ["readyz", check @ ..] if check.len() < 2 => health("readyz", check),
        ["healthz", check @ ..] if check.len() < 2 => health("healthz", check),
        ["version"] => Target::Version,
        ["metrics"] if !matches!(door, Door::Unit(_)) => Target::Metrics,
        ["openapi", "v2"] => Target::OpenApiV2(door),
        ["openapi", "v3"] => Target::OpenApiV3(door, None),
        ["openapi", "v3", "api", version] => {
            Target::OpenApiV3(door, Some((String::new(), (*version).into())))
        }
        ["openapi", "v3", "apis", group, version] => {
            Target::OpenApiV3(door, Some(((*group).into(), (*version).into())))
        }
        ["api"] => Target::Discovery(door, Discovery::Core),
        ["apis"] => Target::Discovery(door, Discovery::Groups),
        ["api", version] => {
            let version = (*version).into();
            Target::Discovery(door, Discovery::Version { group: String::new(), version })
        }
        ["apis", group] => Target::Discovery(door, Discovery::Group((*group).into())),
        ["apis", group, version] => {
            let (group, version) = ((*group).into(), (*version).into());
            Target::Discovery(door, Discovery::Version { group, version })
        }
        ["apis", group, "v1", plural]
            if let Some(review) =
                Review::find(group, plural).filter(|review| !review.is_namespaced()) =>
        {
            Target::Review(door, review, None)
        }
        ["apis", group, "v1", "namespaces", namespace, plural]
            if let Some(review) =
                Review::find(group, plural).filter(|review| review.is_namespaced()) =>
        {
            Target::Review(door, review, Some((*namespace).to_owned()))
        }
        ["debug", "api_priority_and_fairness", name] => {
            Target::Flows(door, Dump::parse(name).ok_or_else(Failure::no_such_path)?)
        }
        [".well-known", "openid-configuration"] => Target::Issuer(door, Issuer::Configuration),
        ["openid", "v1", "jwks"] => Target::Issuer(door, Issuer::Keys),
        ["api", "v1", rest @ ..] if let Some(unkept) = Unkept::find(rest) => {
            Target::Unkept(door, unkept)
        }
        ["api", version, rest @ ..] => Target::Resource(address(door, "", version, rest)?),
        ["apis", group, version, rest @ ..] => {
            Target::Resource(address(door, group, version, rest)?)
        }
        _ => return Err(Failure::no_such_path()),
    })
}

fn health(which: &'static str, check: &[&str]) -> Target {
    Target::Health(which, check.first().map(|name| (*name).to_owned()))
}

fn address(door: Door, group: &str, version: &str, rest: &[&str]) -> Result<Address, Failure> {
    let (namespace, rest) = match rest {
        // `/namespaces/NAME` and its subresources are about the namespace.
        ["namespaces", namespace, resource, rest @ ..]
            if !(rest.is_empty()
                && group.is_empty()
                && matches!(*resource, "status" | "finalize")) =>
        {
            (Some((*namespace).to_owned()), [&[*resource], rest].concat())
        }
        rest => (None, rest.to_vec()),
    };
    let (plural, name, subresource) = match rest.as_slice() {
        [plural] => (plural, None, None),
        [plural, name] => (plural, Some((*name).to_owned()), None),
        [plural, name, sub] => {
            let sub = Subresource::parse(sub).ok_or_else(Failure::no_such_path)?;
            (plural, Some((*name).to_owned()), Some(sub))
        }
        _ => return Err(Failure::no_such_path()),
    };
    let (group, version, plural) = (group.to_owned(), version.to_owned(), (*plural).to_owned());
    Ok(Address { door, group, version, plural, namespace, name, subresource })
}

// === impl Address ===

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Address { door, group, version, plural, namespace, name, subresource } = self;
        write!(f, "{}/{group}/{version}/{plural}", door.prefix())?;
        write!(f, " {namespace:?} {name:?} {subresource:?}")
    }
}

impl Address {
    /// `pods/log`: what is asked about, in the words of an authorizer.
    pub fn resource(&self) -> String {
        match self.subresource {
            Some(sub) => format!("{}/{}", self.plural, sub.as_str()),
            None => self.plural.clone(),
        }
    }

    /// Where it is: a namespace is in itself, as Kubernetes has it.
    pub fn own_namespace(&self) -> Option<&str> {
        match self.group.is_empty() && self.plural == "namespaces" {
            true => self.name.as_deref(),
            false => self.namespace.as_deref(),
        }
    }

    /// What `catalog` says is there.
    pub fn resolve(&self, catalog: &Catalog) -> Result<Place, Failure> {
        let found = catalog.find(&self.group, &self.version, &self.plural);
        let resource = found.ok_or_else(Failure::no_such_path)?.clone();
        let Address { door, namespace, name, subresource, .. } = self.clone();
        let place = Place { door, resource, namespace, name, subresource };
        let named_well = match (&place.namespace, place.resource.is_namespaced()) {
            (Some(_), true) | (None, false) => true,
            // Of all namespaces there is only a collection.
            (None, true) => place.name.is_none(),
            (Some(_), false) => false,
        };
        let served = place.face() != Face::Absent
            && place.subresource.is_none_or(|sub| place.resource.has(sub));
        match named_well && served {
            true => Ok(place),
            false => Err(Failure::no_such_path()),
        }
    }
}

// === impl Place ===

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.name.as_deref().unwrap_or_default();
        f.write_str(&self.door.prefix())?;
        f.write_str(&self.resource.path(self.namespace.as_deref(), name))
    }
}

impl Place {
    pub fn face(&self) -> Face {
        self.door.face(&self.resource)
    }

    /// The collection's keys, or those of one namespace.
    pub fn prefix(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{}{namespace}/", self.resource.prefix()),
            None => self.resource.prefix(),
        }
    }

    pub fn key(&self, name: &str) -> String {
        self.resource.key(self.namespace.as_deref(), name)
    }
}

// === impl Door ===

impl Door {
    pub fn face(&self, resource: &Resource) -> Face {
        match self {
            Door::Federation => resource.federation,
            Door::Unit(_) | Door::Cluster => resource.unit,
        }
    }

    /// What its paths start with.
    pub fn prefix(&self) -> String {
        match self {
            Door::Federation | Door::Cluster => String::new(),
            Door::Unit(unit) => format!("/units/{unit}"),
        }
    }

    /// The keyspace its objects are kept in.
    pub fn keyspace(&self) -> String {
        match self {
            Door::Federation => "federation".to_owned(),
            Door::Cluster => "default".to_owned(),
            Door::Unit(unit) => format!("{UNIT_KEYSPACE_PREFIX}{unit}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, expected: &str) {
        let resolved = |target| match target {
            Target::Resource(address) => address.resolve(Catalog::builtin()).map(Ok),
            other => Ok(Err(other)),
        };
        let shown = match Target::parse(path, &Door::Federation).and_then(resolved) {
            Ok(Ok(place)) => format!(
                "{} {} {} {} {}",
                place.door.keyspace(),
                place.resource.plural,
                place.namespace.as_deref().unwrap_or("-"),
                place.name.as_deref().unwrap_or("-"),
                place.subresource.map_or("-", Subresource::as_str),
            ),
            Ok(Err(other)) => format!("{other:?}"),
            Err(failure) => failure.code().as_u16().to_string(),
        };
        assert_eq!(shown, expected, "{path}");
    }

    #[test]
    fn paths_name_a_door_a_kind_and_an_object() {
        check("/readyz/etcd", "Health(\"readyz\", Some(\"etcd\"))");
        check("/api/v1/componentstatuses", "Unkept(Federation, Components(None))");
        check("/api/v1/namespaces", "federation namespaces - - -");
        check("/api/v1/namespaces/a", "federation namespaces - a -");
        check("/api/v1/namespaces/a/status", "federation namespaces - a status");
        check("/api/v1/namespaces/a/pods", "federation pods a - -");
        check("/units/rz01/api/v1/namespaces/a/pods/p/log", "unit-rz01 pods a p log");
        check("/units/rz01/api/v1/pods/", "unit-rz01 pods - - -");
        check("/apis/polis.dev/v1alpha1/units/rz01/status", "federation units - rz01 status");
        check(
            "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n",
            "federation leases kube-node-lease n -",
        );
    }

    #[test]
    fn paths_that_are_not_served_are_not_found() {
        for path in [
            "",
            "/nothing",
            "/livez/ping/more",
            "/api/v1/bindings",
            "//api",
            "/api/v1/../secrets",
            "/api/v1/%2e%2e/pods",
            "/api/v1/namespaces/a%2Fb/pods",
            "/api/v1/namespaces/a%00/pods",
            "/api/v1/pods/p",
            "/api/v1/namespaces/a/nodes",
            "/api/v1/namespaces/a/pods/p/nothing",
            "/api/v1/namespaces/a/configmaps/p/exec",
            "/api/v1/nodes/n/log",
            "/units/rz01/apis/polis.dev/v1alpha1/units",
            "/units/RZ01/api",
            "/units/this-name-is-longer-than-a-keyspace-may-be-with-its-prefix-on/api",
            "/units/rz01/units/rz02/api",
        ] {
            check(path, "404");
        }
    }
}
