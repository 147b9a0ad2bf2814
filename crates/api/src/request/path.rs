//! Paths: which door, which kind, which object.
//!
//! `/` is the federation, `/units/NAME` a unit's own cluster; below either the
//! paths are Kubernetes'. Parsing knows the catalog but no stored object:
//! whether a unit or an object exists is found out later.

use topology::UnitName;

use crate::{
    catalog,
    failure::Failure,
    kinds::unit,
    request::query,
    resource::{Face, Resource},
};

/// Longest path we look at; names and groups are bounded by far less.
const PATH_BYTES_MAX: usize = 4096;

/// What the names of units' keyspaces start with.
pub const UNIT_KEYSPACE_PREFIX: &str = "unit-";

/// Which cluster a request is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Door {
    Federation,
    Unit(UnitName),
}

#[derive(Debug)]
pub enum Target {
    Health(&'static str),
    Version,
    Metrics,
    /// `/api`, `/apis`, `/apis/GROUP`, `/apis/GROUP/VERSION`.
    Discovery(Door, Discovery),
    /// The index, or the document of one group and version.
    OpenApiV3(Door, Option<(String, String)>),
    OpenApiV2(Door),
    /// A question about the caller, by its kind's plural.
    Review(Door, Review),
    Resource(Place),
}

#[derive(Debug, PartialEq, Eq)]
pub enum Discovery {
    Core,
    Groups,
    Group(String),
    Version { group: String, version: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Review {
    Access,
    Rules,
    Whoami,
}

/// A collection or an object of one kind.
#[derive(Clone)]
pub struct Place {
    pub door: Door,
    pub resource: &'static Resource,
    pub namespace: Option<String>,
    pub name: Option<String>,
    pub subresource: Option<Subresource>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subresource {
    Status,
    Log,
    Finalize,
}

// === impl Target ===

impl Target {
    pub fn parse(path: &str) -> Result<Target, Failure> {
        if path.len() > PATH_BYTES_MAX {
            return Err(Failure::bad_request(format!(
                "path is longer than {PATH_BYTES_MAX} bytes"
            )));
        }
        let segments = split(path).ok_or_else(Failure::no_such_path)?;
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match segments.as_slice() {
            ["units", unit, rest @ ..] if !rest.is_empty() => {
                let parsed = unit.parse::<UnitName>().ok().filter(unit::has_keyspace);
                let unit = parsed.ok_or_else(|| {
                    Failure::not_found(catalog::units(), &unit.chars().take(64).collect::<String>())
                })?;
                below(Door::Unit(unit), rest)
            }
            rest => below(Door::Federation, rest),
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
        ["livez", ..] => Target::Health("livez"),
        ["readyz", ..] => Target::Health("readyz"),
        ["healthz", ..] => Target::Health("healthz"),
        ["version"] => Target::Version,
        ["metrics"] if door == Door::Federation => Target::Metrics,
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
        ["apis", "authorization.k8s.io", "v1", "selfsubjectaccessreviews"] => {
            Target::Review(door, Review::Access)
        }
        ["apis", "authorization.k8s.io", "v1", "selfsubjectrulesreviews"] => {
            Target::Review(door, Review::Rules)
        }
        ["apis", "authentication.k8s.io", "v1", "selfsubjectreviews"] => {
            Target::Review(door, Review::Whoami)
        }
        ["api", version, rest @ ..] => Target::Resource(place(door, "", version, rest)?),
        ["apis", group, version, rest @ ..] => Target::Resource(place(door, group, version, rest)?),
        _ => return Err(Failure::no_such_path()),
    })
}

fn place(door: Door, group: &str, version: &str, rest: &[&str]) -> Result<Place, Failure> {
    let own = |segment: &str| Subresource::parse(segment).is_some();
    let (namespace, rest) = match rest {
        // `/namespaces/NAME` and its subresources are about the namespace.
        ["namespaces", namespace, resource, rest @ ..]
            if !(rest.is_empty() && group.is_empty() && own(resource)) =>
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
    let resource = catalog::find(group, version, plural).ok_or_else(Failure::no_such_path)?;
    let place = Place { door, resource, namespace, name, subresource };
    let named_well = match (&place.namespace, resource.is_namespaced()) {
        (Some(_), true) | (None, false) => true,
        // Of all namespaces there is only a collection.
        (None, true) => place.name.is_none(),
        (Some(_), false) => false,
    };
    let served =
        place.face() != Face::Absent && place.subresource.is_none_or(|s| s.is_of(resource));
    match named_well && served {
        true => Ok(place),
        false => Err(Failure::no_such_path()),
    }
}

// === impl Subresource ===

impl Subresource {
    fn parse(segment: &str) -> Option<Subresource> {
        match segment {
            "status" => Some(Subresource::Status),
            "log" => Some(Subresource::Log),
            "finalize" => Some(Subresource::Finalize),
            _ => None,
        }
    }

    fn is_of(self, resource: &Resource) -> bool {
        match self {
            Subresource::Status => resource.status,
            Subresource::Log => resource.logs,
            Subresource::Finalize => resource.kind == "Namespace",
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Subresource::Status => "status",
            Subresource::Log => "log",
            Subresource::Finalize => "finalize",
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
        self.door.face(self.resource)
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
            Door::Unit(_) => resource.unit,
        }
    }

    /// What its paths start with.
    pub fn prefix(&self) -> String {
        match self {
            Door::Federation => String::new(),
            Door::Unit(unit) => format!("/units/{unit}"),
        }
    }

    /// The keyspace its objects are kept in.
    pub fn keyspace(&self) -> String {
        match self {
            Door::Federation => "federation".to_owned(),
            Door::Unit(unit) => format!("{UNIT_KEYSPACE_PREFIX}{unit}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, expected: &str) {
        let shown = match Target::parse(path) {
            Ok(Target::Resource(place)) => format!(
                "{} {} {} {} {}",
                place.door.keyspace(),
                place.resource.plural,
                place.namespace.as_deref().unwrap_or("-"),
                place.name.as_deref().unwrap_or("-"),
                place.subresource.map_or("-", Subresource::as_str),
            ),
            Ok(other) => format!("{other:?}"),
            Err(failure) => failure.code().as_u16().to_string(),
        };
        assert_eq!(shown, expected, "{path}");
    }

    #[test]
    fn paths_name_a_door_a_kind_and_an_object() {
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
            "//api",
            "/api/v1/../secrets",
            "/api/v1/%2e%2e/pods",
            "/api/v1/namespaces/a%2Fb/pods",
            "/api/v1/namespaces/a%00/pods",
            "/api/v1/pods/p",
            "/api/v1/namespaces/a/nodes",
            "/api/v1/namespaces/a/pods/p/exec",
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
