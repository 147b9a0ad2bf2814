//! What an object takes, by the names that quotas have for it.

use std::collections::BTreeMap;

use schema::quantity::Quantity;
use serde_json::Value;

use super::{Amounts, Occasion, amounts};
use crate::{
    kinds::check::{at, int, list, some, text},
    resource::Resource,
};

const COUNT_OF_DEVICES: &str = "count/resourceclaims.resource.k8s.io";
const CLASS_OF_DEVICES: &str = ".deviceclass.resource.k8s.io/devices";

/// So many a claim can get: what "all" counts as.
const DEVICES_MAX: u32 = 32;

const CLASS_OF_STORAGE: &str = ".storageclass.storage.k8s.io/";

/// Quotas of these want every container to say what it takes (and no others:
/// Kubernetes regrets it).
const TO_BE_SAID: [&str; 6] =
    ["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];

const OF_PODS: [&str; 11] = [
    "count/pods",
    "pods",
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
];

/// Kinds that are counted under their bare name too.
const BARE: [&str; 4] = ["configmaps", "replicationcontrollers", "resourcequotas", "secrets"];

/// How objects of a kind are counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Counted {
    Pods,
    Services,
    /// Claims of volumes.
    Claims,
    /// Claims of devices.
    Devices,
    /// In pieces: `count/PLURAL.GROUP`, and the bare name some have.
    Pieces(String, Option<&'static str>),
}

// === impl Counted ===

impl Counted {
    pub fn of(resource: &Resource) -> Counted {
        let (group, plural) = (&*resource.group, &*resource.plural);
        match (group, plural) {
            ("", "pods") => Counted::Pods,
            ("", "services") => Counted::Services,
            ("", "persistentvolumeclaims") => Counted::Claims,
            ("resource.k8s.io", "resourceclaims") => Counted::Devices,
            ("", _) => {
                let bare = BARE.iter().find(|name| **name == plural);
                Counted::Pieces(format!("count/{plural}"), bare.copied())
            }
            _ => Counted::Pieces(format!("count/{plural}.{group}"), None),
        }
    }

    /// Whether `name` in a quota is about objects of the kind.
    pub fn covers(&self, name: &str) -> bool {
        match self {
            Counted::Pods => {
                let extended = |name: &str| {
                    name.starts_with("deviceclass.resource.kubernetes.io/")
                        || (name.contains('/') && !name.contains("kubernetes.io/"))
                };
                OF_PODS.contains(&name)
                    || name.starts_with("hugepages-")
                    || name.starts_with("requests.hugepages-")
                    || name.strip_prefix("requests.").is_some_and(extended)
            }
            Counted::Services => {
                ["count/services", "services"].contains(&name)
                    || ["services.nodeports", "services.loadbalancers"].contains(&name)
            }
            Counted::Claims => {
                let plain =
                    |name: &str| ["persistentvolumeclaims", "requests.storage"].contains(&name);
                name == "count/persistentvolumeclaims"
                    || plain(name)
                    || name.split_once(CLASS_OF_STORAGE).is_some_and(|(_, name)| plain(name))
            }
            Counted::Devices => name == COUNT_OF_DEVICES || name.ends_with(CLASS_OF_DEVICES),
            Counted::Pieces(count, bare) => name == count || *bare == Some(name),
        }
    }

    /// Whether a write can take more than was taken before.
    pub fn may_grow(&self, occasion: Occasion, new: &Value, old: Option<&Value>) -> bool {
        let brief = |pod: &Value| int(at(pod, "spec"), "activeDeadlineSeconds").is_some();
        match (self, occasion) {
            (_, Occasion::Create) => true,
            (Counted::Pods, Occasion::Resize) => true,
            // Other scopes hold for it from now on.
            (Counted::Pods, _) => old.is_some_and(|old| brief(old) != brief(new)),
            (Counted::Services | Counted::Claims | Counted::Devices, Occasion::Update) => true,
            _ => false,
        }
    }
}

/// All that `object` takes.
pub fn usage(counted: &Counted, object: &Value) -> Amounts {
    let spec = at(object, "spec");
    match counted {
        Counted::Pods => of_pod(spec),
        Counted::Services => of_service(spec),
        Counted::Claims => of_claim(object),
        Counted::Devices => of_devices(spec),
        Counted::Pieces(count, bare) => {
            let names = [Some(count.as_str()), *bare].into_iter().flatten();
            names.map(|name| (name.to_owned(), Quantity::pieces(1))).collect()
        }
    }
}

fn one(names: &[&str]) -> Amounts {
    names.iter().map(|name| ((*name).to_owned(), Quantity::pieces(1))).collect()
}

fn of_pod(spec: &Value) -> Amounts {
    let mut all = named(&together(spec, "requests"), &together(spec, "limits"));
    all.extend(one(&["count/pods", "pods"]));
    all
}

/// Requests and limits under the names of quotas.
fn named(requests: &Amounts, limits: &Amounts) -> Amounts {
    let mut named = Amounts::new();
    for (name, amount) in requests {
        let standard = matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage");
        if standard || name.starts_with("hugepages-") {
            named.insert(name.clone(), *amount);
        }
        named.insert(format!("requests.{name}"), *amount);
    }
    for (name, amount) in limits {
        if matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage") {
            named.insert(format!("limits.{name}"), *amount);
        }
    }
    named
}

/// What a pod takes at most at one time: all containers, or one that runs before
/// them, each beside those that were started before it and stay.
fn together(spec: &Value, part: &str) -> Amounts {
    let of = |container: &Value| amounts(at(at(container, "resources"), part));
    let mut all = Amounts::new();
    for (_, container) in list(spec, "containers") {
        add(&mut all, &of(container));
    }
    let (mut staying, mut before) = (Amounts::new(), Amounts::new());
    for (_, container) in list(spec, "initContainers") {
        let mut now = of(container);
        if text(container, "restartPolicy") == "Always" {
            add(&mut all, &now);
            add(&mut staying, &now);
            now = staying.clone();
        } else {
            add(&mut now, &staying);
        }
        raise(&mut before, &now);
    }
    raise(&mut all, &before);
    all.extend(amounts(at(at(spec, "resources"), part)));
    let overhead = amounts(at(spec, "overhead"));
    match part {
        "requests" => add(&mut all, &overhead),
        // What has no limit gets none by this.
        _ => overhead.into_iter().for_each(|(name, amount)| {
            all.entry(name).and_modify(|limit| *limit = *limit + amount);
        }),
    }
    all
}

fn add(to: &mut Amounts, amounts: &Amounts) {
    for (name, amount) in amounts {
        let sum = to.get(name).map_or(*amount, |before| *before + *amount);
        to.insert(name.clone(), sum);
    }
}

fn raise(to: &mut Amounts, least: &Amounts) {
    for (name, amount) in least {
        if to.get(name).is_none_or(|present| present < amount) {
            to.insert(name.clone(), *amount);
        }
    }
}

fn of_service(spec: &Value) -> Amounts {
    let ports = |counted: &dyn Fn(&Value) -> bool| {
        let count = list(spec, "ports").filter(|(_, port)| counted(port)).count();
        Quantity::pieces(u32::try_from(count).unwrap_or(u32::MAX))
    };
    let mut all = one(&["count/services", "services"]);
    let kind = text(spec, "type");
    if kind == "LoadBalancer" {
        all.extend(one(&["services.loadbalancers"]));
    }
    // Those that will be given out count too.
    let given = some(spec, "allocateLoadBalancerNodePorts") != Some(&Value::Bool(false));
    let nodes = match kind {
        "NodePort" => ports(&|_| true),
        "LoadBalancer" if given => ports(&|_| true),
        "LoadBalancer" => ports(&|port| int(port, "nodePort").is_some_and(|port| port != 0)),
        _ => return all,
    };
    all.insert("services.nodeports".to_owned(), nodes);
    all
}

fn of_claim(claim: &Value) -> Amounts {
    let (spec, status) = (at(claim, "spec"), at(claim, "status"));
    let mut all = one(&["count/persistentvolumeclaims", "persistentvolumeclaims"]);
    let wanted = amounts(at(at(spec, "resources"), "requests")).remove("storage");
    let given = amounts(at(status, "allocatedResources")).remove("storage");
    if let Some(wanted) = wanted {
        let most = given.filter(|given| *given > wanted).unwrap_or(wanted);
        all.insert("requests.storage".to_owned(), most);
    }
    let old_name =
        at(claim, "metadata").pointer("/annotations/volume.beta.kubernetes.io~1storage-class");
    let class = old_name.and_then(Value::as_str).unwrap_or_else(|| text(spec, "storageClassName"));
    if !class.is_empty() {
        let mut of_class = Amounts::new();
        for name in ["persistentvolumeclaims", "requests.storage"] {
            if let Some(amount) = all.get(name) {
                of_class.insert(format!("{class}{CLASS_OF_STORAGE}{name}"), *amount);
            }
        }
        all.extend(of_class);
    }
    all
}

/// Of alternatives the one that takes most counts.
fn of_devices(spec: &Value) -> Amounts {
    let mut all = one(&[COUNT_OF_DEVICES]);
    for (_, request) in list(at(spec, "devices"), "requests") {
        let mut most = Amounts::new();
        let exactly = some(request, "exactly");
        for choice in exactly.into_iter().chain(list(request, "firstAvailable").map(|it| it.1)) {
            let count = match text(choice, "allocationMode") {
                "All" => DEVICES_MAX,
                _ => int(choice, "count").and_then(|it| u32::try_from(it).ok()).unwrap_or(0),
            };
            let name = format!("{}{CLASS_OF_DEVICES}", text(choice, "deviceClassName"));
            raise(&mut most, &Amounts::from([(name, Quantity::pieces(count))]));
        }
        add(&mut all, &most);
    }
    all
}

/// What containers should say and do not, of what a quota names.
pub fn missing(counted: &Counted, named_by_quota: &[&str], object: &Value) -> Option<String> {
    let spec = at(object, "spec");
    let whole = ["requests", "limits"].iter().any(|part| {
        at(at(spec, "resources"), part).as_object().is_some_and(|amounts| !amounts.is_empty())
    });
    if *counted != Counted::Pods || whole {
        return None;
    }
    let mut missing: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (_, container) in list(spec, "containers").chain(list(spec, "initContainers")) {
        let of = |part| amounts(at(at(container, "resources"), part));
        let said = named(&of("requests"), &of("limits"));
        for name in named_by_quota.iter().filter(|name| TO_BE_SAID.contains(name)) {
            if !said.contains_key(*name) {
                missing.entry(name).or_default().push(text(container, "name"));
            }
        }
    }
    let shown: Vec<String> = missing
        .into_iter()
        .map(|(name, mut containers)| {
            containers.sort_unstable();
            containers.dedup();
            format!("{name} for: {}", containers.join(","))
        })
        .collect();
    (!shown.is_empty()).then(|| shown.join("; "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_takes_the_most_of_what_runs_at_one_time() {
        let container = |cpu: &str, stays: bool| {
            let policy = if stays { json!("Always") } else { Value::Null };
            json!({"restartPolicy": policy, "resources": {"requests": {"cpu": cpu}}})
        };
        let spec = json!({
            "initContainers": [container("1", false), container("200m", true), container("2", false)],
            "containers": [container("500m", false), container("500m", false)],
            "overhead": {"cpu": "100m"},
        });
        assert_eq!(of_pod(&spec)["requests.cpu"].to_string(), "2300m");
        let spec = json!({"initContainers": [container("200m", true)],
            "containers": [container("1", false)]});
        assert_eq!(of_pod(&spec)["cpu"].to_string(), "1200m");
    }

    #[test]
    fn a_claim_is_counted_for_its_class_too() {
        let claim = json!({"metadata": {}, "spec": {"storageClassName": "gold",
            "resources": {"requests": {"storage": "1Gi"}}}});
        let all = of_claim(&claim);
        assert_eq!(all["requests.storage"].to_string(), "1Gi");
        assert_eq!(all["gold.storageclass.storage.k8s.io/requests.storage"].to_string(), "1Gi");
        assert_eq!(all["gold.storageclass.storage.k8s.io/persistentvolumeclaims"].to_string(), "1");
        for name in all.keys() {
            assert!(Counted::Claims.covers(name), "{name}");
        }
    }

    #[test]
    fn of_devices_the_largest_alternative_counts() {
        let exact = |class: &str, count: u32| json!({"deviceClassName": class, "count": count});
        let requests = json!([{"exactly": exact("gold", 1)},
            {"firstAvailable": [exact("gold", 2), exact("gold", 3)]},
            {"exactly": {"deviceClassName": "tin", "allocationMode": "All"}}]);
        let all = of_devices(&json!({"devices": {"requests": requests}}));
        assert_eq!(all["gold.deviceclass.resource.k8s.io/devices"].to_string(), "4");
        assert_eq!(all["tin.deviceclass.resource.k8s.io/devices"].to_string(), "32");
        assert!(all.keys().all(|name| Counted::Devices.covers(name)));
    }

    #[test]
    fn ports_of_nodes_are_counted_before_they_are_given_out() {
        let nodes = |spec: Value| {
            let all = of_service(&spec);
            all.get("services.nodeports").map(ToString::to_string).unwrap_or_default()
        };
        let ports = json!([{"port": 1}, {"port": 2, "nodePort": 30000}]);
        assert_eq!(nodes(json!({"type": "ClusterIP", "ports": ports})), "");
        assert_eq!(nodes(json!({"type": "NodePort", "ports": ports})), "2");
        assert_eq!(nodes(json!({"type": "LoadBalancer", "ports": ports})), "2");
        let kept = json!({"type": "LoadBalancer", "ports": ports,
            "allocateLoadBalancerNodePorts": false});
        assert_eq!(nodes(kept), "1");
    }
}
