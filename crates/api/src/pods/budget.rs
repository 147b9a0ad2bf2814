//! Budgets of disruption: how many of a set of pods may go at once. Pure.

use http::StatusCode;
use serde_json::{Value, json};

use super::binding::set_condition;
use crate::{
    failure::Failure,
    object::{self, timestamp},
    request::path::Place,
    scale,
    selector::LabelSelector,
};

/// Evictions that whoever keeps the budget has not noticed yet.
const DISRUPTED_MAX: usize = 2000;

/// Told to a client whose budget is being computed anew.
const RETRY_S: u32 = 10;

/// A budget that counts a pod.
#[derive(Clone)]
pub(super) struct Guard {
    pub name: String,
    pub place: Place,
    budget: Value,
}

// === impl Guard ===

impl Guard {
    /// `None` if it selects others. An empty selector selects none.
    pub(super) fn of(budget: Value, pod: &Value, place: &Place) -> Option<Guard> {
        let selector =
            LabelSelector::parse(&scale::selector_text(&budget["spec"]["selector"])).ok()?;
        let counts = !selector.is_empty() && selector.matches(pod);
        let (name, place) = (object::name(&budget).to_owned(), place.clone());
        counts.then_some(Guard { name, place, budget })
    }

    /// Whether it lets a pod go that is not ready, which it does not count.
    pub(super) fn spares_unready(&self) -> bool {
        let policy = object::text(&self.budget, "/spec/unhealthyPodEvictionPolicy");
        let (healthy, desired) = (self.number("currentHealthy"), self.number("desiredHealthy"));
        policy == "AlwaysAllow" || (healthy >= desired && desired > 0)
    }

    fn number(&self, field: &str) -> i64 {
        self.budget["status"][field].as_i64().unwrap_or(0)
    }
}

/// The budget with one disruption less.
pub(super) fn spend(budget: &Value, pod: &str) -> Result<Value, Failure> {
    let name = object::name(budget);
    let number = |field: &str| budget["status"][field].as_i64().unwrap_or(0);
    let generation = budget["metadata"]["generation"].as_i64().unwrap_or(0);
    if number("observedGeneration") < generation {
        return Err(violated(&still_processed(name)).retry_after(RETRY_S));
    }
    let allowed = number("disruptionsAllowed");
    let disrupted = budget["status"]["disruptedPods"].as_object().map_or(0, |pods| pods.len());
    if allowed < 0 || disrupted > DISRUPTED_MAX {
        let why = match allowed < 0 {
            true => "pdb disruptions allowed is negative",
            false => {
                "DisruptedPods map too big - too many evictions not confirmed by PDB controller"
            }
        };
        let message = format!("poddisruptionbudget.policy {name:?} is forbidden: {why}");
        return Err(Failure::forbidden(message));
    }
    if allowed == 0 {
        let conditions = budget["status"]["conditions"].as_array();
        let failed = conditions.into_iter().flatten().find(|condition| {
            condition["type"] == "DisruptionAllowed" && condition["reason"] == "SyncFailed"
        });
        let why = match failed {
            Some(condition) => format!(
                "The disruption budget {name} does not allow evicting pods currently because it \
                 failed sync: {}",
                object::text(condition, "/message")
            ),
            None => format!(
                "The disruption budget {name} needs {} healthy pods and has {} currently",
                number("desiredHealthy"),
                number("currentHealthy")
            ),
        };
        return Err(violated(&why));
    }
    let mut budget = budget.clone();
    object::metadata(&mut budget).remove("resourceVersion");
    let status = object::child(&mut budget, "status");
    status.insert("disruptionsAllowed".into(), (allowed - 1).into());
    let disrupted = status.entry("disruptedPods").or_insert_with(|| json!({}));
    disrupted[pod] = timestamp(object::now()).into();
    if allowed == 1 {
        let condition = json!({
            "type": "DisruptionAllowed",
            "status": "False",
            "reason": "InsufficientPods",
            "message": "",
            "observedGeneration": generation,
        });
        set_condition(&mut budget, condition);
    }
    Ok(budget)
}

/// Others were faster; the client may try again.
pub(super) fn busy(guard: &Guard) -> Failure {
    violated(&still_processed(&guard.name)).retry_after(RETRY_S)
}

fn still_processed(name: &str) -> String {
    format!("The disruption budget {name} is still being processed by the server.")
}

fn violated(why: &str) -> Failure {
    let message = "Cannot evict pod as it would violate the pod's disruption budget.";
    Failure::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message)
        .caused_by(vec![json!({ "reason": "DisruptionBudget", "message": why })])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(status: Value) -> Value {
        json!({
            "metadata": { "name": "b", "generation": 2, "resourceVersion": "7" },
            "spec": { "selector": { "matchLabels": { "app": "web" } } },
            "status": status,
        })
    }

    #[test]
    fn a_budget_is_spent_one_by_one_and_then_refuses() {
        let once = budget(json!({ "observedGeneration": 2, "disruptionsAllowed": 1,
                                  "desiredHealthy": 2, "currentHealthy": 3 }));
        let spent = spend(&once, "p").expect("one is left");
        assert_eq!(spent["status"]["disruptionsAllowed"], 0);
        assert!(spent["status"]["disruptedPods"]["p"].is_string());
        assert_eq!(spent["status"]["conditions"][0]["status"], "False");
        let failure = spend(&spent, "q").expect_err("none is left");
        assert_eq!(failure.code(), StatusCode::TOO_MANY_REQUESTS);
        let cause = &failure.to_value()["details"]["causes"][0];
        assert_eq!(cause["reason"], "DisruptionBudget");
        assert_eq!(
            cause["message"],
            "The disruption budget b needs 2 healthy pods and has 3 currently"
        );
    }

    #[test]
    fn a_budget_that_nobody_has_computed_yet_says_when_to_ask_again() {
        let failure = spend(&budget(json!({ "observedGeneration": 1 })), "p").expect_err("old");
        assert_eq!(failure.retry_after_s(), Some(10));
        assert_eq!(
            failure.message(),
            "Cannot evict pod as it would violate the pod's disruption budget."
        );
        let negative = json!({ "observedGeneration": 2, "disruptionsAllowed": -1 });
        assert!(spend(&budget(negative), "p").expect_err("odd").message().contains("is negative"));
    }
}
