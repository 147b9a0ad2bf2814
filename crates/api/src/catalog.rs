//! Every kind that is served, and where.

use resources::{
    CafeDeploymentSpec, CenterSpec, CitySpec, FailoverPolicySpec, FailoverSpec, Scope,
    ShardMapSpec, ShardMoveSpec, UnitRentalSpec, UnitSpec,
};

use crate::{
    kinds::{event, namespace, pod, shard_map, shard_move, small, unit, unit_rental},
    request::path::Door,
    resource::{Face, NameRule, Resource, Rules, Selectable},
    schema,
    table::{core, ours},
};

/// Kubernetes keeps events for an hour too.
const EVENT_TTL_S: u64 = 3600;

const fn by(label: &'static str, pointer: &'static str) -> Selectable {
    Selectable { label, pointer }
}

static RESOURCES: [Resource; 15] = [
    Resource {
        short_names: &["ns"],
        scope: Scope::Cluster,
        status: true,
        names: NameRule::Label,
        selectable: &[by("status.phase", "/status/phase")],
        rules: Rules { create: namespace::create, ..Rules::NONE },
        ..Resource::core(
            "Namespace",
            "namespaces",
            "namespace",
            &schema::NAMESPACE,
            core::NAMESPACE,
        )
    },
    Resource {
        short_names: &["no"],
        scope: Scope::Cluster,
        federation: Face::Merged,
        status: true,
        selectable: &[by("spec.unschedulable", "/spec/unschedulable")],
        rules: Rules { validate: small::validate_node, ..Rules::NONE },
        ..Resource::core("Node", "nodes", "node", &schema::NODE, core::NODE)
    },
    Resource {
        short_names: &["po"],
        categories: &["all"],
        federation: Face::Merged,
        status: true,
        logs: true,
        generation: true,
        selectable: &[
            by("spec.nodeName", "/spec/nodeName"),
            by("spec.restartPolicy", "/spec/restartPolicy"),
            by("spec.schedulerName", "/spec/schedulerName"),
            by("spec.serviceAccountName", "/spec/serviceAccountName"),
            by("spec.hostNetwork", "/spec/hostNetwork"),
            by("status.phase", "/status/phase"),
            by("status.podIP", "/status/podIP"),
            by("status.nominatedNodeName", "/status/nominatedNodeName"),
        ],
        rules: pod::RULES,
        ..Resource::core("Pod", "pods", "pod", &schema::POD, core::POD)
    },
    Resource {
        short_names: &["cm"],
        rules: Rules {
            validate: small::validate_config_map,
            validate_update: small::validate_config_map_update,
            ..Rules::NONE
        },
        ..Resource::core(
            "ConfigMap",
            "configmaps",
            "configmap",
            &schema::CONFIG_MAP,
            core::CONFIG_MAP,
        )
    },
    Resource {
        short_names: &["ev"],
        selectable: &[
            by("involvedObject.kind", "/involvedObject/kind"),
            by("involvedObject.namespace", "/involvedObject/namespace"),
            by("involvedObject.name", "/involvedObject/name"),
            by("involvedObject.uid", "/involvedObject/uid"),
            by("involvedObject.apiVersion", "/involvedObject/apiVersion"),
            by("involvedObject.resourceVersion", "/involvedObject/resourceVersion"),
            by("involvedObject.fieldPath", "/involvedObject/fieldPath"),
            by("reason", "/reason"),
            by("reportingComponent", "/reportingComponent"),
            by("source", "/source/component"),
            by("type", "/type"),
        ],
        rules: Rules { validate: event::validate, ..Rules::NONE },
        ttl_s: Some(EVENT_TTL_S),
        ..Resource::core("Event", "events", "event", &schema::EVENT, core::EVENT)
    },
    Resource {
        group: "coordination.k8s.io",
        rules: Rules { validate: small::validate_lease, ..Rules::NONE },
        ..Resource::core("Lease", "leases", "lease", &schema::LEASE, core::LEASE)
    },
    Resource::of::<CitySpec>(&schema::CITY, ours::CITY),
    Resource::of::<CenterSpec>(&schema::CENTER, ours::CENTER),
    Resource {
        selectable: &[by("spec.center", "/spec/center"), by("spec.kind", "/spec/kind")],
        rules: unit::rules(),
        ..Resource::of::<UnitSpec>(&schema::UNIT, ours::UNIT)
    },
    Resource {
        rules: shard_map::rules(),
        ..Resource::of::<ShardMapSpec>(&schema::SHARD_MAP, ours::SHARD_MAP)
    },
    Resource {
        rules: shard_move::rules(),
        ..Resource::of::<ShardMoveSpec>(&schema::SHARD_MOVE, ours::SHARD_MOVE)
    },
    Resource {
        selectable: &[by("spec.center", "/spec/center")],
        rules: unit_rental::rules(),
        ..Resource::of::<UnitRentalSpec>(&schema::UNIT_RENTAL, ours::UNIT_RENTAL)
    },
    Resource::of::<FailoverPolicySpec>(&schema::FAILOVER_POLICY, ours::FAILOVER_POLICY),
    Resource::of::<FailoverSpec>(&schema::FAILOVER, ours::FAILOVER),
    Resource {
        names: NameRule::Subdomain,
        categories: &["polis", "all"],
        ..Resource::of::<CafeDeploymentSpec>(&schema::CAFE_DEPLOYMENT, ours::CAFE_DEPLOYMENT)
    },
];

pub fn all() -> impl Iterator<Item = &'static Resource> {
    RESOURCES.iter()
}

/// What `door` serves.
pub fn at(door: &Door) -> impl Iterator<Item = &'static Resource> + use<'_> {
    all().filter(move |resource| door.face(resource) != Face::Absent)
}

pub fn find(group: &str, version: &str, plural: &str) -> Option<&'static Resource> {
    all().find(|resource| {
        resource.plural == plural && resource.group == group && resource.version == version
    })
}

pub fn namespaces() -> &'static Resource {
    find("", "v1", "namespaces").expect("the catalog names it")
}

pub fn units() -> &'static Resource {
    find("polis.dev", "v1alpha1", "units").expect("the catalog names it")
}

pub fn nodes() -> &'static Resource {
    find("", "v1", "nodes").expect("the catalog names it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart_and_every_kind_has_columns() {
        let mut seen = std::collections::BTreeSet::new();
        for resource in all() {
            let names = [resource.plural, resource.singular].into_iter();
            for name in names.chain(resource.short_names.iter().copied()) {
                assert!(seen.insert(name), "{name} is used twice");
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
