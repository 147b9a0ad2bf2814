//! Classes that pods refer to by name: priorities and runtimes.

use resources::FieldError;
use serde_json::Value;

use super::{
    check::{Check, at, int, text},
    pod_spec::quantities,
};
use crate::{names, object, resource::Rules};

pub const PRIORITY: Rules =
    Rules { validate: validate_priority, validate_update: update_priority, ..Rules::NONE };

pub const RUNTIME: Rules =
    Rules { validate: validate_runtime, validate_update: update_runtime, ..Rules::NONE };

/// Above are the priorities of what keeps the cluster itself running.
const PRIORITY_MAX: i64 = 1_000_000_000;

/// The two classes that Kubernetes makes for itself.
const SYSTEM: [(&str, i64); 2] =
    [("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)];

fn validate_priority(class: &Value) -> Vec<FieldError> {
    let mut check = Check::default();
    let (name, value) = (object::name(class), int(class, "value").unwrap_or(0));
    if name.starts_with("system-") {
        if !SYSTEM.contains(&(name, value)) {
            let detail = "priority class names with 'system-' prefix are reserved for system use \
                          only. error: only system priority classes can use it";
            check.forbidden(format_args!("metadata.name"), detail);
        }
    } else if value > PRIORITY_MAX {
        let detail = format!("maximum allowed value of a user defined priority is {PRIORITY_MAX}");
        check.forbidden(format_args!("value"), detail);
    }
    let policies = ["PreemptLowerPriority", "Never"];
    check.any_of(format_args!("preemptionPolicy"), text(class, "preemptionPolicy"), &policies);
    check.into_errors()
}

fn update_priority(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut check = Check::default();
    if int(new, "value").unwrap_or(0) != int(old, "value").unwrap_or(0) {
        check.forbidden(format_args!("value"), "may not be changed in an update.");
    }
    let field = "preemptionPolicy";
    check.unchanged(format_args!("{field}"), at(new, field), at(old, field));
    check.into_errors()
}

fn validate_runtime(class: &Value) -> Vec<FieldError> {
    let mut check = Check::default();
    check.named(format_args!("handler"), text(class, "handler"), names::label);
    let fixed = at(at(class, "overhead"), "podFixed");
    quantities(&mut check, format_args!("overhead.podFixed"), fixed);
    let scheduling = at(class, "scheduling");
    check.labels(format_args!("scheduling.nodeSelector"), at(scheduling, "nodeSelector"));
    check.into_errors()
}

fn update_runtime(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut check = Check::default();
    check.unchanged(format_args!("handler"), at(new, "handler"), at(old, "handler"));
    check.into_errors()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_highest_priorities_are_the_systems_own() {
        let of = |name: &str, value: i64| json!({"metadata": {"name": name}, "value": value});
        assert!(validate_priority(&of("a", PRIORITY_MAX)).is_empty());
        assert!(validate_priority(&of(SYSTEM[0].0, SYSTEM[0].1)).is_empty());
        assert_eq!(validate_priority(&of("system-a", 1)).len(), 1);
        assert_eq!(
            validate_priority(&of("a", PRIORITY_MAX + 1))[0].to_string(),
            "value: Forbidden: maximum allowed value of a user defined priority is 1000000000"
        );
        assert_eq!(update_priority(&of("a", 1), &of("a", 2)).len(), 1);
    }

    #[test]
    fn a_runtime_keeps_its_handler() {
        let (a, b) = (json!({"handler": "a"}), json!({"handler": "b"}));
        assert!(validate_runtime(&a).is_empty() && update_runtime(&a, &a).is_empty());
        assert_eq!((validate_runtime(&json!({})).len(), update_runtime(&a, &b).len()), (1, 1));
    }
}
