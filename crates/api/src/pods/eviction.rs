//! Evicting a pod: a deletion that asks its budget first. Pure.

use serde_json::{Value, json};

use super::{binding::set_condition, budget::Guard};
use crate::{
    failure::Failure,
    object,
    request::options::{DeleteOptions, Preconditions},
};

/// Looks at a pod that changes all the time.
pub(super) const ATTEMPTS_MAX: usize = 8;

/// What a client asked for.
pub(super) struct Eviction {
    pub options: DeleteOptions,
}

/// How a pod may go.
pub(super) enum Way {
    /// No budget counts it.
    Free,
    /// It is not ready, so that its budget loses nothing; only as it is now.
    Unready(Guard),
    /// At its budget's cost.
    Spend(Guard),
}

// === impl Eviction ===

impl Eviction {
    pub(super) fn parse(name: &str, said: &Value, dry_run: bool) -> Result<Eviction, Failure> {
        if object::name(said) != name {
            let message = "name in URL does not match name in Eviction object";
            return Err(Failure::bad_request(message));
        }
        let mut options: DeleteOptions = match &said["deleteOptions"] {
            Value::Null => DeleteOptions::default(),
            given => serde_json::from_value(given.clone())
                .map_err(|error| Failure::bad_request(format!("deleteOptions: {error}")))?,
        };
        if dry_run && options.dry_run.is_empty() {
            options.dry_run.push("All".into());
        }
        Ok(Eviction { options })
    }

    /// Whether the client said itself which version it means.
    pub(super) fn is_pinned(&self) -> bool {
        self.options.preconditions.resource_version.is_some()
    }

    /// How to delete `pod`: as long as it is what the way was chosen by.
    pub(super) fn pins(&self, way: &Way, pod: &Value) -> DeleteOptions {
        let over = is_over(pod) || object::is_deleting(pod);
        let pin = match way {
            Way::Free => object::text(pod, "/status/phase") == "Pending" && !over,
            Way::Unready(_) => true,
            Way::Spend(_) => false,
        };
        let mut options = self.options.clone();
        let Preconditions { resource_version, .. } = &mut options.preconditions;
        if pin && resource_version.is_none() {
            *resource_version = Some(object::text(pod, "/metadata/resourceVersion").to_owned());
        }
        options
    }
}

/// Its end disrupts nothing: it is over, going, or has not begun.
pub(super) fn is_free(pod: &Value) -> bool {
    is_over(pod) || object::is_deleting(pod) || object::text(pod, "/status/phase") == "Pending"
}

fn is_over(pod: &Value) -> bool {
    matches!(object::text(pod, "/status/phase"), "Succeeded" | "Failed")
}

pub(super) fn way(pod: &Value, guards: &[Guard]) -> Result<Way, Failure> {
    match guards {
        [] => Ok(Way::Free),
        [guard] if !is_ready(pod) && guard.spares_unready() => Ok(Way::Unready(guard.clone())),
        [guard] => Ok(Way::Spend(guard.clone())),
        _ => Err(Failure::internal(
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does \
             not support.",
        )),
    }
}

/// The pod, with the reason of its end.
pub(super) fn mark(pod: &Value) -> Value {
    let mut pod = pod.clone();
    object::metadata(&mut pod).remove("resourceVersion");
    let condition = json!({
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting",
    });
    set_condition(&mut pod, condition);
    pod
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        catalog,
        request::path::{Door, Place},
    };

    fn pod(phase: &str, ready: &str) -> Value {
        json!({
            "metadata": { "name": "p", "resourceVersion": "9", "labels": { "app": "web" } },
            "status": { "phase": phase, "conditions": [{ "type": "Ready", "status": ready }] },
        })
    }

    fn guards(pod: &Value, budgets: &[Value]) -> Vec<Guard> {
        let resource = catalog::namespaces().clone();
        let (namespace, name, subresource) = (Some("a".into()), None, None);
        let place = Place { door: Door::Cluster, resource, namespace, name, subresource };
        budgets.iter().filter_map(|budget| Guard::of(budget.clone(), pod, &place)).collect()
    }

    fn budget(selector: Value, status: Value) -> Value {
        json!({ "metadata": { "name": "b" }, "spec": { "selector": selector }, "status": status })
    }

    #[test]
    fn a_budget_decides_about_pods_that_it_counts() {
        let web = json!({ "matchLabels": { "app": "web" } });
        let healthy = json!({ "currentHealthy": 2, "desiredHealthy": 2 });
        let short = json!({ "currentHealthy": 1, "desiredHealthy": 2 });
        let way_of = |pod: &Value, budgets: &[Value]| match way(pod, &guards(pod, budgets)) {
            Ok(Way::Free) => "free",
            Ok(Way::Unready(_)) => "unready",
            Ok(Way::Spend(_)) => "spend",
            Err(_) => "refused",
        };
        let (ready, unready) = (pod("Running", "True"), pod("Running", "False"));
        let counted = [budget(web.clone(), healthy.clone())];
        assert_eq!(way_of(&ready, &counted), "spend");
        assert_eq!(way_of(&unready, &counted), "unready");
        assert_eq!(way_of(&unready, &[budget(web.clone(), short)]), "spend");
        for other in [json!({}), json!(null), json!({ "matchLabels": { "app": "db" } })] {
            assert_eq!(way_of(&ready, &[budget(other, healthy.clone())]), "free");
        }
        let two = [budget(web.clone(), healthy.clone()), budget(web, healthy)];
        assert_eq!(way_of(&ready, &two), "refused");
        assert!(is_free(&pod("Pending", "False")) && is_free(&pod("Failed", "False")));
        assert!(!is_free(&ready));
    }

    #[test]
    fn an_eviction_names_its_pod_and_pins_what_it_was_judged_by() {
        assert!(Eviction::parse("p", &json!({ "metadata": { "name": "q" } }), false).is_err());
        let said =
            json!({ "metadata": { "name": "p" }, "deleteOptions": { "gracePeriodSeconds": 3 } });
        let eviction = Eviction::parse("p", &said, true).expect("an eviction");
        assert!(eviction.options.is_dry_run() && !eviction.is_pinned());
        let pinned = |pod: &Value| eviction.pins(&Way::Free, pod).preconditions.resource_version;
        assert_eq!(pinned(&pod("Pending", "False")).as_deref(), Some("9"));
        assert_eq!(pinned(&pod("Failed", "False")), None);
        assert_eq!(eviction.pins(&Way::Free, &pod("Failed", "")).grace_period_seconds, Some(3));
    }
}
