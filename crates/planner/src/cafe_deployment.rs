//! Which pods a CafeDeployment needs in each unit.
//!
//! Names are deterministic (`ledger-rz01-0`), so that two leaders who overlap
//! for a moment ask for the same pods and the API keeps one of each. A pod of
//! an older template is deleted first and made anew when it is gone; one at a
//! time over all units, and only while every other pod is ready.

use std::collections::{BTreeMap, BTreeSet};

use resources::{CafeDeployment, PortRange, UnitStatus};
use serde_json::{Value, json};
use topology::{CenterName, CityName, UnitName};

use crate::template::{self, Variables};

/// Labels and annotation by which we know our pods.
pub const NAME_LABEL: &str = "apps.polis.dev/cafedeployment";
pub const UNIT_LABEL: &str = "polis.dev/unit";
pub const HASH_LABEL: &str = "apps.polis.dev/template-hash";

/// A unit, its node, and what runs there.
#[derive(Clone, Debug)]
pub struct Seen {
    pub center: CenterName,
    pub city: CityName,
    pub ports: PortRange,
    /// Host ports held by pods of anyone in this unit.
    pub ports_taken: BTreeSet<u16>,
    /// Its center is not lost. The pods of a lost one hold nobody up.
    pub alive: bool,
    /// Pods of this deployment.
    pub pods: Vec<SeenPod>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenPod {
    pub name: String,
    pub hash: String,
    pub ready: bool,
    pub deleting: bool,
}

/// What to do in one unit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UnitPlan {
    pub create: Vec<Value>,
    /// Names of pods.
    pub delete: Vec<String>,
    pub status: UnitStatus,
    /// Pods that are wanted and cannot be made: the unit's ports are used up.
    pub without_port: u32,
}

/// Plans every unit that is named in the deployment or has pods of it.
/// `wanted` none means that the deployment is gone.
#[must_use]
pub fn plan(
    wanted: Option<&CafeDeployment>,
    seen: &BTreeMap<UnitName, Seen>,
) -> BTreeMap<UnitName, UnitPlan> {
    let hash = wanted.map(|deployment| template::hash(&deployment.spec.template));
    let mut plans = BTreeMap::new();
    for (unit, seen) in seen {
        let replicas = wanted.map_or(0, |deployment| deployment.spec.replicas_in(unit));
        let mut plan = UnitPlan {
            status: status(seen, hash.as_deref()),
            delete: surplus(wanted, unit, replicas, seen),
            ..UnitPlan::default()
        };
        if let Some((deployment, hash)) = wanted.zip(hash.as_deref()) {
            create(&mut plan, deployment, hash, (unit, replicas), seen);
        }
        plans.insert(unit.clone(), plan);
    }
    replace_one(&mut plans, seen, hash.as_deref());
    plans
}

/// `ledger-rz01-0`
#[must_use]
pub fn pod_name(deployment: &str, unit: &UnitName, index: u32) -> String {
    format!("{deployment}-{unit}-{index}")
}

fn status(seen: &Seen, hash: Option<&str>) -> UnitStatus {
    let count = |filter: &dyn Fn(&&SeenPod) -> bool| {
        let pods = seen.pods.iter().filter(|pod| !pod.deleting).filter(filter);
        u32::try_from(pods.count()).unwrap_or(u32::MAX)
    };
    UnitStatus {
        replicas: count(&|_| true),
        ready_replicas: if seen.alive { count(&|pod| pod.ready) } else { 0 },
        updated_replicas: count(&|pod| Some(pod.hash.as_str()) == hash),
    }
}

/// Pods whose name is not wanted (any more).
fn surplus(
    wanted: Option<&CafeDeployment>,
    unit: &UnitName,
    replicas: u32,
    seen: &Seen,
) -> Vec<String> {
    let names: BTreeSet<_> = wanted
        .iter()
        .flat_map(|deployment| (0..replicas).map(|index| pod_name(deployment.name(), unit, index)))
        .collect();
    let unwanted = seen.pods.iter().filter(|pod| !pod.deleting && !names.contains(&pod.name));
    unwanted.map(|pod| pod.name.clone()).collect()
}

fn create(
    plan: &mut UnitPlan,
    deployment: &CafeDeployment,
    hash: &str,
    (unit, replicas): (&UnitName, u32),
    seen: &Seen,
) {
    let PortRange { first, last } = seen.ports;
    let mut free = (first..=last).filter(|port| !seen.ports_taken.contains(port));
    let needed = template::ports_needed(&deployment.spec.template);
    for index in 0..replicas {
        let name = pod_name(deployment.name(), unit, index);
        if seen.pods.iter().any(|pod| pod.name == name) {
            continue;
        }
        let ports: Vec<_> = free.by_ref().take(needed).collect();
        if ports.len() < needed {
            plan.without_port += 1;
            continue;
        }
        plan.create.push(pod(deployment, hash, unit, seen, &name, &ports));
    }
}

fn pod(
    deployment: &CafeDeployment,
    hash: &str,
    unit: &UnitName,
    seen: &Seen,
    name: &str,
    ports: &[u16],
) -> Value {
    let template = &deployment.spec.template;
    let namespace = deployment.metadata.namespace.as_deref().unwrap_or("default");
    let variables = Variables::from([
        ("POLIS_UNIT", unit.to_string()),
        ("POLIS_CENTER", seen.center.to_string()),
        ("POLIS_CITY", seen.city.to_string()),
        ("POLIS_NAMESPACE", namespace.to_owned()),
        ("POLIS_POD", name.to_owned()),
    ]);
    let mut spec = template::fill(template, &variables, ports);
    spec["nodeName"] = seen.center.as_str().into();
    spec["hostNetwork"] = true.into();
    let object =
        |pointer: &str| template.pointer(pointer).filter(|value| value.is_object()).cloned();
    let mut labels = object("/metadata/labels").unwrap_or_else(|| json!({}));
    labels[NAME_LABEL] = deployment.name().into();
    labels[UNIT_LABEL] = unit.as_str().into();
    labels[HASH_LABEL] = hash.into();
    let mut metadata = json!({ "name": name, "namespace": namespace, "labels": labels });
    if let Some(annotations) = object("/metadata/annotations") {
        metadata["annotations"] = annotations;
    }
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec })
}

/// Replaces outdated pods: those that are not ready anyway all at once, of the
/// ready ones one, and only when nothing else is under way or unwell.
fn replace_one(
    plans: &mut BTreeMap<UnitName, UnitPlan>,
    seen: &BTreeMap<UnitName, Seen>,
    hash: Option<&str>,
) {
    let Some(hash) = hash else { return };
    let mut calm = true;
    let mut candidates = Vec::new();
    for (unit, unit_seen) in seen.iter().filter(|(_, seen)| seen.alive) {
        let plan = plans.get_mut(unit).expect("every seen unit was planned");
        let staying = unit_seen.pods.iter().filter(|pod| !plan.delete.contains(&pod.name));
        let outdated: Vec<_> =
            staying.filter(|pod| !pod.deleting && pod.hash != hash).cloned().collect();
        for pod in outdated {
            if pod.ready {
                candidates.push((unit, pod.name));
            } else {
                plan.delete.push(pod.name);
            }
        }
        let unwell = unit_seen.pods.iter().any(|pod| pod.deleting || !pod.ready);
        calm &= plan.create.is_empty() && plan.delete.is_empty() && !unwell;
    }
    if let (true, Some((unit, name))) = (calm, candidates.into_iter().next()) {
        let plan = plans.get_mut(unit).expect("every seen unit was planned");
        plan.delete.push(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use resources::{CafeDeploymentSpec, Metadata};

    fn unit(name: &str) -> UnitName {
        name.parse().expect("a name")
    }

    fn deployment(args: &str, replicas: &[(&str, u32)]) -> CafeDeployment {
        let replicas: BTreeMap<_, _> = replicas.iter().copied().collect();
        let spec: CafeDeploymentSpec = serde_json::from_value(json!({
            "topology": { "unitReplicas": replicas },
            "template": {
                "metadata": { "labels": { "app": "ledger" } },
                "spec": { "containers": [{ "name": "l", "args": [args], "ports": [{ "name": "https" }] }] },
            },
        }))
        .expect("a spec");
        CafeDeployment::new(Metadata::namespaced("payments", "ledger"), spec)
    }

    /// `0 new ready`, `1 old unready`, `2 new ready deleting`, a unit a line.
    fn seen(deployment: &CafeDeployment, units: &[(&str, &[&str])]) -> BTreeMap<UnitName, Seen> {
        let current = template::hash(&deployment.spec.template);
        let pod = |name: &UnitName, text: &&str| {
            let words: Vec<_> = text.split_whitespace().collect();
            let hash = if words[1] == "new" { current.clone() } else { "old".into() };
            let name = format!("ledger-{name}-{}", words[0]);
            SeenPod { name, hash, ready: words[2] == "ready", deleting: words.len() > 3 }
        };
        units
            .iter()
            .map(|(name, pods)| {
                let name = unit(name);
                let pods: Vec<_> = pods.iter().map(|text| pod(&name, text)).collect();
                let ports_taken = (7000..).take(pods.len()).collect();
                let seen = Seen {
                    center: "east-1".parse().expect("a name"),
                    city: "east".parse().expect("a name"),
                    ports: PortRange { first: 7000, last: 7002 },
                    ports_taken,
                    alive: true,
                    pods,
                };
                (name, seen)
            })
            .collect()
    }

    fn text(plans: &BTreeMap<UnitName, UnitPlan>) -> String {
        let plan = |plan: &UnitPlan| {
            let created = plan.create.iter().map(|pod| {
                let name = pod["metadata"]["name"].as_str().expect("a name");
                format!("+{name}:{}", pod["spec"]["containers"][0]["ports"][0]["hostPort"])
            });
            let deleted = plan.delete.iter().map(|name| format!("-{name}"));
            created.chain(deleted).collect::<Vec<_>>()
        };
        plans.values().flat_map(plan).collect::<Vec<_>>().join(" ")
    }

    fn check(deployment: &CafeDeployment, units: &[(&str, &[&str])], expected: &str) {
        let plans = plan(Some(deployment), &seen(deployment, units));
        assert_eq!(text(&plans), expected, "{units:?}");
    }

    #[test]
    fn missing_pods_are_made_with_the_lowest_free_ports() {
        let two = deployment("a", &[("rz01", 2), ("rz02", 1)]);
        check(
            &two,
            &[("rz01", &[]), ("rz02", &[])],
            "+ledger-rz01-0:7000 +ledger-rz01-1:7001 +ledger-rz02-0:7000",
        );
        check(&two, &[("rz01", &["1 new ready"])], "+ledger-rz01-0:7001");
        check(&two, &[("rz01", &["0 new ready", "1 new ready deleting"])], "");
    }

    #[test]
    fn a_unit_whose_ports_are_used_up_says_so() {
        let many = deployment("a", &[("rz01", 5)]);
        let plans = plan(Some(&many), &seen(&many, &[("rz01", &[])]));
        assert_eq!(plans[&unit("rz01")].without_port, 2);
        assert_eq!(plans[&unit("rz01")].create.len(), 3);
    }

    #[test]
    fn pods_that_are_not_wanted_any_more_are_deleted() {
        let one = deployment("a", &[("rz01", 1)]);
        check(&one, &[("rz01", &["0 new ready", "1 new ready"])], "-ledger-rz01-1");
        check(&one, &[("rz03", &["0 new ready"])], "-ledger-rz03-0");
        let gone = plan(None, &seen(&one, &[("rz01", &["0 new ready", "1 old ready deleting"])]));
        assert_eq!(text(&gone), "-ledger-rz01-0");
    }

    #[test]
    fn outdated_pods_are_replaced_one_at_a_time_over_all_units() {
        let two = deployment("a", &[("rz01", 1), ("rz02", 1)]);
        let (old, new) = (&["0 old ready"][..], &["0 new ready"][..]);
        check(&two, &[("rz01", old), ("rz02", old)], "-ledger-rz01-0");
        check(&two, &[("rz01", &["0 old ready deleting"]), ("rz02", old)], "");
        check(&two, &[("rz01", &[]), ("rz02", old)], "+ledger-rz01-0:7000");
        check(&two, &[("rz01", &["0 new unready"]), ("rz02", old)], "");
        check(&two, &[("rz01", new), ("rz02", old)], "-ledger-rz02-0");
        check(&two, &[("rz01", &["0 old unready"]), ("rz02", old)], "-ledger-rz01-0");

        let mut lost = seen(&two, &[("rz01", &["0 old unready"]), ("rz02", old)]);
        lost.get_mut(&unit("rz01")).expect("seen").alive = false;
        assert_eq!(text(&plan(Some(&two), &lost)), "-ledger-rz02-0");
    }

    #[test]
    fn a_pod_is_bound_to_the_center_and_carries_our_labels() {
        let one = deployment("--unit=$(POLIS_UNIT)", &[("rz01", 1)]);
        let plans = plan(Some(&one), &seen(&one, &[("rz01", &[])]));
        let pod = &plans[&unit("rz01")].create[0];
        assert_eq!(pod["spec"]["nodeName"], "east-1");
        assert_eq!(pod["spec"]["containers"][0]["args"][0], "--unit=rz01");
        assert_eq!(pod["metadata"]["labels"]["app"], "ledger");
        assert_eq!(pod["metadata"]["labels"][NAME_LABEL], "ledger");
        assert_eq!(pod["metadata"]["namespace"], "payments");
    }
}
