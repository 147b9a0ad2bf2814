//! Bounds for a namespace: on each object, and on all together.

use resources::FieldError;
use serde_json::{Map, Value, json};

use super::{
    check::{Check, at, list, map, some, text},
    pod_spec::{quantities, quantity},
};
use crate::{object, resource::Rules};

pub const LIMITS: Rules = Rules { default, validate: validate_limits, ..Rules::NONE };

pub const QUOTA: Rules =
    Rules { validate: validate_quota, validate_update: update_quota, ..Rules::NONE };

/// The parts of a limit from the least to the most: each is at most the next.
const ORDER: [(&str, &str); 5] = [
    ("min", "defaultRequest"),
    ("min", "default"),
    ("min", "max"),
    ("defaultRequest", "default"),
    ("default", "max"),
];

/// What is counted in pieces.
const COUNTED: [&str; 9] = [
    "pods",
    "services",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];

fn default(limits: &mut Value) {
    let items = limits.pointer_mut("/spec/limits").and_then(Value::as_array_mut);
    for item in items.into_iter().flatten().filter(|it| it["type"] == "Container") {
        let fill = |item: &mut Value, from: &str, to: &str| {
            let source = map(item, from).cloned().unwrap_or_default();
            if source.is_empty() {
                return;
            }
            let target = object::child(item, to);
            for (name, amount) in source {
                target.entry(name).or_insert(amount);
            }
        };
        fill(item, "max", "default");
        fill(item, "default", "defaultRequest");
        fill(item, "min", "defaultRequest");
    }
}

fn validate_limits(limits: &Value) -> Vec<FieldError> {
    let mut check = Check::default();
    let mut seen = Vec::new();
    for (index, item) in list(at(limits, "spec"), "limits") {
        let path = format_args!("spec.limits[{index}]");
        let kind = text(item, "type");
        check.present(format_args!("{path}.type"), kind);
        if seen.contains(&kind) {
            check.duplicate(format_args!("{path}.type"), kind);
        }
        seen.push(kind);
        for part in ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"] {
            quantities(&mut check, format_args!("{path}.{part}"), at(item, part));
        }
        if kind == "Pod" {
            for part in ["default", "defaultRequest"] {
                if map(item, part).is_some_and(|it| !it.is_empty()) {
                    let detail = "may not be specified when `type` is 'Pod'";
                    check.forbidden(format_args!("{path}.{part}"), detail);
                }
            }
        }
        for (lower, upper) in ORDER {
            for (name, least) in map(item, lower).into_iter().flatten() {
                let most = some(at(item, upper), name);
                let (Some(a), Some(b)) = (quantity(least), most.and_then(quantity)) else {
                    continue;
                };
                if a > b {
                    let words = |part: &str| match part {
                        "defaultRequest" => "default request".to_owned(),
                        part => part.to_owned(),
                    };
                    let detail = format!(
                        "{} value {a} is greater than {} value {b}",
                        words(lower),
                        words(upper)
                    );
                    check.invalid(format_args!("{path}.{lower}[{name}]"), a.to_string(), detail);
                }
            }
        }
    }
    check.into_errors()
}

fn validate_quota(quota: &Value) -> Vec<FieldError> {
    let (mut check, spec) = (Check::default(), at(quota, "spec"));
    let hard = at(spec, "hard");
    quantities(&mut check, format_args!("spec.hard"), hard);
    for (name, amount) in map(spec, "hard").into_iter().flatten() {
        let path = format_args!("spec.hard[{name}]");
        if let Some(why) = crate::names::label_key(name) {
            check.invalid(path, name.as_str(), why);
        }
        let counted = name.starts_with("count/") || COUNTED.contains(&name.as_str());
        if counted && quantity(amount).is_some_and(|amount| !amount.is_whole()) {
            check.invalid(path, amount.clone(), "must be an integer");
        }
    }
    check.into_errors()
}

fn update_quota(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut check = Check::default();
    let scopes = |quota: &Value| {
        let mut scopes: Vec<_> = list(at(quota, "spec"), "scopes").map(|it| it.1.clone()).collect();
        scopes.sort_by_key(ToString::to_string);
        Value::from(scopes)
    };
    check.unchanged(format_args!("spec.scopes"), &scopes(new), &scopes(old));
    let empty = json!(Map::new());
    let selector = |quota| some(at(quota, "spec"), "scopeSelector").unwrap_or(&empty);
    check.unchanged(format_args!("spec.scopeSelector"), selector(new), selector(old));
    check.into_errors()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_without_a_default_is_its_own() {
        let mut limits = json!({"spec": {"limits": [{"type": "Container", "max": {"cpu": "2"},
            "min": {"memory": "1Mi"}}]}});
        default(&mut limits);
        let item = &limits["spec"]["limits"][0];
        assert_eq!(item["default"], json!({"cpu": "2"}));
        assert_eq!(item["defaultRequest"], json!({"cpu": "2", "memory": "1Mi"}));
        assert!(validate_limits(&limits).is_empty());
        limits["spec"]["limits"][0]["min"]["cpu"] = "3".into();
        assert_eq!(
            validate_limits(&limits)[0].to_string(),
            "spec.limits[0].min[cpu]: Invalid value: \"3\": min value 3 is greater than default \
             request value 2"
        );
    }

    #[test]
    fn a_quota_counts_whole_things() {
        let quota = |hard: Value| validate_quota(&json!({"spec": {"hard": hard}}));
        assert!(quota(json!({"pods": "10", "requests.cpu": "500m"})).is_empty());
        assert_eq!(quota(json!({"pods": "500m"})).len(), 1);
        assert_eq!(quota(json!({"cpu": "-1"})).len(), 1);
    }
}
