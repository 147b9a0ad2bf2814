//! Every kind that is served, and where.
//!
//! A [`Catalog`] is what one cluster serves at one time: the built-in kinds,
//! ours, and its custom ones. It is never changed; a cluster whose custom kinds
//! change gets another.

use std::{
    collections::HashMap,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use resources::{
    CafeDeploymentSpec, CenterSpec, CitySpec, FailoverPolicySpec, FailoverSpec, ShardMapSpec,
    ShardMoveSpec, UnitRentalSpec, UnitSpec,
};

use crate::{
    kinds::{shard_map, shard_move, unit, unit_rental},
    own,
    request::path::Door,
    resource::{Face, NameRule, Resource, Selectable, texts},
    table::ours,
};

fn by(label: &'static str, pointer: &'static str) -> Selectable {
    Selectable { label: label.into(), pointer: pointer.into() }
}

/// The kinds that Kubernetes brings along and that are kept; questions that
/// are answered and forgotten have their own road.
fn builtin() -> Vec<Resource> {
    let kept = schema::builtin::kinds().iter().filter(|kind| kind.is_stored());
    kept.map(Resource::builtin).collect()
}

/// Ours.
fn own() -> Vec<Resource> {
    vec![
        Resource::of::<CitySpec>(&own::CITY, ours::CITY),
        Resource::of::<CenterSpec>(&own::CENTER, ours::CENTER),
        Resource {
            selectable: vec![by("spec.center", "/spec/center"), by("spec.kind", "/spec/kind")],
            rules: unit::rules(),
            ..Resource::of::<UnitSpec>(&own::UNIT, ours::UNIT)
        },
        Resource {
            rules: shard_map::rules(),
            ..Resource::of::<ShardMapSpec>(&own::SHARD_MAP, ours::SHARD_MAP)
        },
        Resource {
            rules: shard_move::rules(),
            ..Resource::of::<ShardMoveSpec>(&own::SHARD_MOVE, ours::SHARD_MOVE)
        },
        Resource {
            selectable: vec![by("spec.center", "/spec/center")],
            rules: unit_rental::rules(),
            ..Resource::of::<UnitRentalSpec>(&own::UNIT_RENTAL, ours::UNIT_RENTAL)
        },
        Resource::of::<FailoverPolicySpec>(&own::FAILOVER_POLICY, ours::FAILOVER_POLICY),
        Resource::of::<FailoverSpec>(&own::FAILOVER, ours::FAILOVER),
        Resource {
            names: NameRule::Subdomain,
            categories: texts(&["polis", "all"]),
            ..Resource::of::<CafeDeploymentSpec>(&own::CAFE_DEPLOYMENT, ours::CAFE_DEPLOYMENT)
        },
    ]
}

/// What is served at one time.
pub struct Catalog {
    /// In the order in which they are shown: core first.
    resources: Vec<Arc<Resource>>,
    by_plural: HashMap<String, Vec<Arc<Resource>>>,
    /// Tells two catalogs of one process apart, for what is derived from them.
    number: u64,
}

static BUILTIN: LazyLock<Arc<Catalog>> = LazyLock::new(|| {
    let resources: Vec<Arc<Resource>> = builtin().into_iter().chain(own()).map(Arc::new).collect();
    Arc::new(Catalog::of(resources))
});

// === impl Catalog ===

impl Catalog {
    /// The kinds that need no definition.
    pub fn builtin() -> &'static Arc<Catalog> {
        &BUILTIN
    }

    /// The built-in kinds and these.
    pub fn with(custom: impl IntoIterator<Item = Arc<Resource>>) -> Catalog {
        let mut resources = BUILTIN.resources.clone();
        resources.extend(custom);
        Catalog::of(resources)
    }

    fn of(resources: Vec<Arc<Resource>>) -> Catalog {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        let mut by_plural: HashMap<String, Vec<Arc<Resource>>> = HashMap::new();
        for resource in &resources {
            by_plural.entry(resource.plural.to_string()).or_default().push(resource.clone());
        }
        Catalog { resources, by_plural, number: NUMBERS.fetch_add(1, Ordering::Relaxed) }
    }

    pub fn number(&self) -> u64 {
        self.number
    }

    pub fn all(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.resources.iter()
    }

    /// What `door` serves.
    pub fn at<'a>(&'a self, door: &'a Door) -> impl Iterator<Item = &'a Arc<Resource>> {
        self.all().filter(move |resource| door.face(resource) != Face::Absent)
    }

    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Resource>> {
        let named = self.by_plural.get(plural)?;
        named.iter().find(|resource| resource.group == group && resource.version == version)
    }

    /// Other versions of a kind, and kinds that have the same objects.
    pub fn equivalents(&self, resource: &Resource) -> Vec<Arc<Resource>> {
        let named = self.by_plural.get(&*resource.plural).map_or(&[][..], Vec::as_slice);
        let same = |other: &&Arc<Resource>| {
            let own = other.group == resource.group && other.version == resource.version;
            !own && other.prefix() == resource.prefix()
        };
        named.iter().filter(same).cloned().collect()
    }

    /// In whichever version.
    pub fn find_any(&self, group: &str, plural: &str) -> Option<&Arc<Resource>> {
        self.by_plural.get(plural)?.iter().find(|resource| resource.group == group)
    }

    /// By kind, as objects say it of themselves.
    pub fn of_kind(&self, group: &str, version: &str, kind: &str) -> Option<&Arc<Resource>> {
        self.all().find(|resource| {
            resource.kind == kind && resource.group == group && resource.version == version
        })
    }
}

pub fn namespaces() -> &'static Arc<Resource> {
    BUILTIN.find("", "v1", "namespaces").expect("the catalog names it")
}

pub fn definitions() -> &'static Arc<Resource> {
    BUILTIN
        .find("apiextensions.k8s.io", "v1", "customresourcedefinitions")
        .expect("the catalog names it")
}

pub fn units() -> &'static Arc<Resource> {
    BUILTIN.find("polis.dev", "v1alpha1", "units").expect("the catalog names it")
}

pub fn nodes() -> &'static Arc<Resource> {
    BUILTIN.find("", "v1", "nodes").expect("the catalog names it")
}

pub fn pods() -> &'static Arc<Resource> {
    BUILTIN.find("", "v1", "pods").expect("the catalog names it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart_and_every_kind_has_columns() {
        let mut seen = std::collections::BTreeSet::new();
        for resource in Catalog::builtin().all() {
            let names = [&resource.plural, &resource.singular].into_iter();
            for name in names.chain(&resource.short_names) {
                let name = (&resource.group, &resource.version, name);
                let odd = resource.plural == resource.singular;
                assert!(seen.insert(name) || odd, "{name:?} is used twice");
            }
            assert!(
                resource.columns.iter().any(|column| column.name == "Name"),
                "{}",
                resource.kind
            );
            let faces = [resource.federation, resource.unit];
            assert!(faces.contains(&Face::Stored), "{}", resource.kind);
        }
    }
}
