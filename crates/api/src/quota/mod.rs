//! What the objects of a namespace may take together (`ResourceQuota`).
//!
//! Pure: given an object that is to be written and the quotas of its namespace,
//! [`book`] says what the quotas' use becomes, or why the object may not be.
//! What is freed is not booked here: a controller counts anew from time to time
//! and whenever something went.

mod scope;
mod usage;

use std::collections::BTreeMap;

use schema::quantity::Quantity;
use serde_json::{Map, Value};

use self::usage::Counted;
use crate::{
    kinds::{
        check::{at, map},
        pod_spec::quantity,
    },
    object,
    resource::Resource,
};

/// Amounts by the names that quotas have for them.
pub type Amounts = BTreeMap<String, Quantity>;

/// How an object comes to take more than it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    Create,
    Update,
    /// Of a pod that runs.
    Resize,
}

/// What quotas name, but only as far as they name it: no amount is zero.
struct Wish {
    counted: Counted,
    amounts: Amounts,
}

/// The quotas that change, by their place in `quotas`, as they become.
///
/// # Errors
/// Why the object may not be written, in kube-apiserver's words.
pub fn book(
    resource: &Resource,
    occasion: Occasion,
    new: &Value,
    old: Option<&Value>,
    quotas: &[Value],
) -> Result<Vec<(usize, Value)>, String> {
    let counted = Counted::of(resource);
    if !counted.may_grow(occasion, new, old) {
        return Ok(Vec::new());
    }
    let whole = Wish { amounts: usage::usage(&counted, new), counted };
    let mut booked = Vec::new();
    for (index, quota) in quotas.iter().enumerate() {
        let hard = amounts(at(at(quota, "status"), "hard"));
        let named: Vec<&str> =
            hard.keys().map(String::as_str).filter(|name| whole.counted.covers(name)).collect();
        if named.is_empty() || !scope::concerns(&whole.counted, quota, new) {
            continue;
        }
        whole.check(quota, &named, new)?;
        let wish = match old.filter(|old| scope::concerns(&whole.counted, quota, old)) {
            Some(old) => less(&whole.amounts, &usage::usage(&whole.counted, old)),
            None => whole.amounts.clone(),
        };
        if let Some(quota) = take(quota, &hard, wish)? {
            booked.push((index, quota));
        }
    }
    Ok(booked)
}

/// The quota with `wish` taken from it; none when it is not touched.
fn take(quota: &Value, hard: &Amounts, wish: Amounts) -> Result<Option<Value>, String> {
    let used = amounts(at(at(quota, "status"), "used"));
    let wish: Amounts = wish
        .into_iter()
        .filter(|(name, amount)| amount.nanos() > 0 && hard.contains_key(name))
        .collect();
    if wish.is_empty() {
        return Ok(None);
    }
    let before = |name: &str| used.get(name).copied().unwrap_or(Quantity::pieces(0));
    let after: Amounts =
        wish.iter().map(|(name, amount)| (name.clone(), before(name) + *amount)).collect();
    let exceeded: Vec<&String> =
        after.iter().filter(|(name, after)| hard[*name] < **after).map(|(name, _)| name).collect();
    if !exceeded.is_empty() {
        let shown = |of: &dyn Fn(&str) -> Quantity| {
            let parts: Vec<String> =
                exceeded.iter().map(|name| format!("{name}={}", of(name))).collect();
            parts.join(",")
        };
        return Err(format!(
            "exceeded quota: {}, requested: {}, used: {}, limited: {}",
            object::name(quota),
            shown(&|name| wish[name]),
            shown(&before),
            shown(&|name| hard[name]),
        ));
    }
    let mut quota = quota.clone();
    let mut status = std::mem::take(object::child(&mut quota, "status"));
    let mut written = status.remove("used").unwrap_or_else(|| Map::new().into());
    if let Some(written) = written.as_object_mut() {
        written
            .extend(after.iter().map(|(name, amount)| (name.clone(), amount.to_string().into())));
    }
    status.insert("used".to_owned(), written);
    *object::child(&mut quota, "status") = status;
    Ok(Some(quota))
}

fn less(whole: &Amounts, before: &Amounts) -> Amounts {
    let rest = |(name, amount): (&String, &Quantity)| {
        let rest = before.get(name).map_or(*amount, |before| *amount - *before);
        (name.clone(), rest)
    };
    whole.iter().map(rest).collect()
}

/// A map of amounts as it stands in an object.
fn amounts(of: &Value) -> Amounts {
    let amounts = of.as_object().into_iter().flatten();
    amounts.filter_map(|(name, amount)| Some((name.clone(), quantity(amount)?))).collect()
}

// === impl Wish ===

impl Wish {
    /// Whether the object says what it takes of what is `named`, and the quota
    /// what it has given.
    fn check(&self, quota: &Value, named: &[&str], new: &Value) -> Result<(), String> {
        let name = object::name(quota);
        if let Some(missing) = usage::missing(&self.counted, named, new) {
            return Err(format!("failed quota: {name}: must specify {missing}"));
        }
        let used = map(at(quota, "status"), "used");
        if named.iter().any(|name| used.is_none_or(|used| !used.contains_key(*name))) {
            let named = named.join(",");
            return Err(format!("status unknown for quota: {name}, resources: {named}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::catalog::Catalog;

    fn quota(hard: Value, used: Value, spec: Value) -> Value {
        json!({"metadata": {"name": "q"}, "spec": spec, "status": {"hard": hard, "used": used}})
    }

    fn pod(requests: Value) -> Value {
        let container = json!({"name": "c", "resources": {"requests": requests}});
        json!({"metadata": {"name": "p"}, "spec": {"containers": [container]}})
    }

    fn creating(plural: &str, group: &str, new: &Value, quota: &Value) -> Result<Value, String> {
        let resource = Catalog::builtin().find(group, "v1", plural).expect("it is served");
        let booked = book(resource, Occasion::Create, new, None, std::slice::from_ref(quota))?;
        Ok(booked
            .into_iter()
            .next()
            .map_or(Value::Null, |(_, quota)| quota["status"]["used"].clone()))
    }

    #[test]
    fn what_is_created_is_booked_as_far_as_the_quota_names_it() {
        let hard = json!({"pods": "2", "requests.cpu": "1", "count/pods": "5", "services": "1"});
        let used = json!({"pods": "1", "requests.cpu": "300m", "count/pods": "1", "services": "0"});
        let given = quota(hard, used, json!({}));
        let taken = creating("pods", "", &pod(json!({"cpu": "500m", "memory": "1Gi"})), &given);
        assert_eq!(
            taken,
            Ok(json!({"pods": "2", "requests.cpu": "800m", "count/pods": "2", "services": "0"}))
        );
        assert_eq!(
            creating("pods", "", &pod(json!({"cpu": "800m"})), &given),
            Err("exceeded quota: q, requested: requests.cpu=800m, used: requests.cpu=300m, \
                 limited: requests.cpu=1"
                .to_owned())
        );
        assert_eq!(
            creating("pods", "", &pod(json!({"memory": "1Gi"})), &given),
            Err("failed quota: q: must specify requests.cpu for: c".to_owned())
        );
    }

    #[test]
    fn a_quota_that_was_never_counted_gives_nothing() {
        let given = quota(json!({"configmaps": "1"}), json!({}), json!({}));
        let object = json!({"metadata": {"name": "c"}});
        assert_eq!(
            creating("configmaps", "", &object, &given),
            Err("status unknown for quota: q, resources: configmaps".to_owned())
        );
        let unseen = json!({"metadata": {"name": "q"}, "spec": {"hard": {"configmaps": "0"}}});
        assert_eq!(creating("configmaps", "", &object, &unseen), Ok(Value::Null));
    }

    #[test]
    fn any_kind_is_counted_by_its_name_and_group() {
        let name = "count/deployments.apps";
        let given = quota(json!({name: "1"}), json!({name: "0"}), json!({}));
        let object = json!({"metadata": {"name": "d"}});
        assert_eq!(creating("deployments", "apps", &object, &given), Ok(json!({name: "1"})));
        assert_eq!(creating("daemonsets", "apps", &object, &given), Ok(Value::Null));
    }

    #[test]
    fn an_update_takes_what_it_adds() {
        let services = Catalog::builtin().find("", "v1", "services").expect("it is served");
        let service = |kind: &str| json!({"metadata": {"name": "s"}, "spec": {"type": kind, "ports": [{}, {}]}});
        let update = |from: &str, to: &str, hard: &str| {
            let given = quota(
                json!({"services": "1", "services.nodeports": hard}),
                json!({"services": "1", "services.nodeports": "0"}),
                json!({}),
            );
            let (from, to) = (service(from), service(to));
            book(services, Occasion::Update, &to, Some(&from), &[given])
        };
        let booked = update("ClusterIP", "NodePort", "2").expect("there is room");
        assert_eq!(booked[0].1["status"]["used"]["services.nodeports"], "2");
        assert_eq!(booked[0].1["status"]["used"]["services"], "1");
        assert!(update("ClusterIP", "NodePort", "1").is_err());
        assert_eq!(update("NodePort", "ClusterIP", "0"), Ok(Vec::new()));
    }

    #[test]
    fn scopes_choose_the_pods() {
        let check = |spec: Value, pod: &Value, concerned: bool| {
            let given = quota(json!({"pods": "1"}), json!({"pods": "1"}), spec.clone());
            assert_eq!(creating("pods", "", pod, &given).is_err(), concerned, "{spec} {pod}");
        };
        let (idle, busy) = (pod(json!({})), pod(json!({"cpu": "1"})));
        check(json!({"scopes": ["BestEffort"]}), &idle, true);
        check(json!({"scopes": ["BestEffort"]}), &busy, false);
        check(json!({"scopes": ["NotBestEffort"]}), &busy, true);
        let mut brief = idle.clone();
        brief["spec"]["activeDeadlineSeconds"] = 5.into();
        check(json!({"scopes": ["Terminating"]}), &brief, true);
        check(json!({"scopes": ["NotTerminating"]}), &brief, false);
        check(json!({"scopes": ["Terminating", "NotBestEffort"]}), &brief, false);
        let select = |operator: &str, values: Value| {
            json!({"scopeSelector": {"matchExpressions": [
                {"scopeName": "PriorityClass", "operator": operator, "values": values}]}})
        };
        let mut first = idle.clone();
        first["spec"]["priorityClassName"] = "first".into();
        check(select("In", json!(["first", "second"])), &first, true);
        check(select("NotIn", json!(["first"])), &first, false);
        check(select("NotIn", json!(["first"])), &idle, true);
        check(select("Exists", json!([])), &first, true);
        check(select("Exists", json!([])), &idle, false);
        let mut near = idle.clone();
        check(json!({"scopes": ["CrossNamespacePodAffinity"]}), &near, false);
        near["spec"]["affinity"] = json!({"podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [{"namespaces": ["x"]}]}});
        check(json!({"scopes": ["CrossNamespacePodAffinity"]}), &near, true);
    }
}
