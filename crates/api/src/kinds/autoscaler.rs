//! Autoscalers: two versions of one kind, and disruption budgets, which speak
//! of the same shares.

use std::fmt::Arguments;

use resources::FieldError;
use serde_json::{Map, Value, json};

use super::{
    check::{Check, NOT_NEGATIVE, at, int, list, some, text},
    pod_spec::quantity,
};
use crate::{
    object::{self, set_default},
    resource::{KeptAs, Rules},
};

pub const V2: Rules = Rules { default: default_v2, validate: validate_v2, ..Rules::NONE };

pub const V1: Rules = Rules { default: default_v1, validate: validate_v1, ..Rules::NONE };

pub const BUDGET: Rules = Rules { validate: validate_budget, ..Rules::NONE };

/// The first version knows one metric only; what it does not know is carried
/// in annotations, as Kubernetes does.
pub const V1_KEPT: KeptAs =
    KeptAs { group: "autoscaling", version: "v2", to: to_v2, from: from_v2 };

/// Kubernetes' target when none is named.
const UTILIZATION: i64 = 80;

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
const CURRENT: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";

/// What its version 1 shows in a field of its own.
fn cpu_metric(percent: &Value) -> Value {
    let target = json!({"type": "Utilization", "averageUtilization": percent});
    json!({"type": "Resource", "resource": {"name": "cpu", "target": target}})
}

/// In this form other metrics are in an annotation.
fn default_v1(object: &mut Value) {
    let annotations = object.pointer("/metadata/annotations");
    if annotations.and_then(|annotations| annotations.get(METRICS)).is_none() {
        let spec = object::child(object, "spec");
        set_default(spec, "targetCPUUtilizationPercentage", UTILIZATION);
    }
}

fn default_v2(object: &mut Value) {
    let spec = object::child(object, "spec");
    if spec.get("metrics").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        spec.insert("metrics".into(), json!([cpu_metric(&UTILIZATION.into())]));
    }
    let Some(behavior) = spec.get_mut("behavior").filter(|it| it.is_object()) else { return };
    let percent = json!({"type": "Percent", "value": 100, "periodSeconds": 15});
    let pods = json!({"type": "Pods", "value": 4, "periodSeconds": 15});
    let up = object::child(behavior, "scaleUp");
    set_default(up, "stabilizationWindowSeconds", 0);
    set_default(up, "selectPolicy", "Max");
    set_default(up, "policies", json!([pods, percent]));
    let down = object::child(behavior, "scaleDown");
    set_default(down, "selectPolicy", "Max");
    set_default(down, "policies", json!([percent]));
}

fn common(check: &mut Check, spec: &Value) {
    let (least, most) = (int(spec, "minReplicas"), int(spec, "maxReplicas").unwrap_or(0));
    if let Some(least) = least.filter(|least| *least < 1) {
        check.invalid(
            format_args!("spec.minReplicas"),
            least,
            "must be greater than or equal to 1",
        );
    }
    if most < 1 {
        check.invalid(format_args!("spec.maxReplicas"), most, "must be greater than 0");
    }
    if least.is_some_and(|least| most < least) {
        let detail = "must be greater than or equal to `minReplicas`";
        check.invalid(format_args!("spec.maxReplicas"), most, detail);
    }
    for field in ["kind", "name"] {
        let target = at(spec, "scaleTargetRef");
        check.present(format_args!("spec.scaleTargetRef.{field}"), text(target, field));
    }
}

fn validate_v1(object: &Value) -> Vec<FieldError> {
    let (mut check, spec) = (Check::default(), at(object, "spec"));
    common(&mut check, spec);
    if let Some(percent) = int(spec, "targetCPUUtilizationPercentage").filter(|it| *it < 1) {
        let path = format_args!("spec.targetCPUUtilizationPercentage");
        check.invalid(path, percent, "must be greater than 0");
    }
    check.into_errors()
}

fn validate_v2(object: &Value) -> Vec<FieldError> {
    let (mut check, spec) = (Check::default(), at(object, "spec"));
    common(&mut check, spec);
    for (index, it) in list(spec, "metrics") {
        metric(&mut check, format_args!("spec.metrics[{index}]"), it);
    }
    for side in ["scaleUp", "scaleDown"] {
        let Some(rules) = some(at(spec, "behavior"), side) else { continue };
        scaling(&mut check, format_args!("spec.behavior.{side}"), rules);
    }
    check.into_errors()
}

fn metric(check: &mut Check, path: Arguments<'_>, it: &Value) {
    let sources = [
        ("ContainerResource", "containerResource"),
        ("External", "external"),
        ("Object", "object"),
        ("Pods", "pods"),
        ("Resource", "resource"),
    ];
    let kind = text(it, "type");
    if kind.is_empty() {
        check.required(format_args!("{path}.type"), "must specify a metric source type");
    }
    check.any_of(format_args!("{path}.type"), kind, &sources.map(|it| it.0));
    for (name, field) in sources {
        let path = format_args!("{path}.{field}");
        let Some(source) = some(it, field) else {
            if name == kind {
                check.required(path, "must populate information for the given metric source");
            }
            continue;
        };
        if name != kind {
            check.forbidden(path, "must populate the given metric source only");
            continue;
        }
        match name {
            "Resource" | "ContainerResource" => {
                if text(source, "name").is_empty() {
                    check.required(format_args!("{path}.name"), "must specify a resource name");
                }
            }
            _ => {
                let metric = text(at(source, "metric"), "name");
                if metric.is_empty() {
                    let detail = "must specify a metric name";
                    check.required(format_args!("{path}.metric.name"), detail);
                }
            }
        }
        target(check, format_args!("{path}.target"), at(source, "target"));
    }
}

fn target(check: &mut Check, path: Arguments<'_>, it: &Value) {
    if text(it, "type").is_empty() {
        check.required(format_args!("{path}.type"), "must specify a metric target type");
    }
    let kinds = ["AverageValue", "Utilization", "Value"];
    check.any_of(format_args!("{path}.type"), text(it, "type"), &kinds);
    for field in ["value", "averageValue"] {
        let amount = some(it, field).and_then(quantity);
        if amount.is_some_and(|amount| amount.nanos() <= 0) {
            check.invalid(
                format_args!("{path}.{field}"),
                at(it, field).clone(),
                "must be positive",
            );
        }
    }
    if let Some(percent) = int(it, "averageUtilization").filter(|percent| *percent < 1) {
        check.invalid(format_args!("{path}.averageUtilization"), percent, "must be greater than 0");
    }
    let both = some(it, "averageUtilization").is_some() && some(it, "averageValue").is_some();
    if both {
        let detail = "may not set both a target raw value and a target utilization";
        check.forbidden(format_args!("{path}.averageValue"), detail);
    }
}

fn scaling(check: &mut Check, path: Arguments<'_>, rules: &Value) {
    const WINDOW_S_MAX: i64 = 3600;
    const PERIOD_S_MAX: i64 = 1800;
    if let Some(window) = int(rules, "stabilizationWindowSeconds") {
        let path = format_args!("{path}.stabilizationWindowSeconds");
        if window < 0 {
            check.invalid(path, window, "must be greater than or equal to zero");
        } else if window > WINDOW_S_MAX {
            check.invalid(path, window, format!("must be less than or equal to {WINDOW_S_MAX}"));
        }
    }
    let policies = ["Disabled", "Max", "Min"];
    check.any_of(format_args!("{path}.selectPolicy"), text(rules, "selectPolicy"), &policies);
    if list(rules, "policies").next().is_none() {
        check.required(format_args!("{path}.policies"), "must specify at least one Policy");
    }
    for (index, policy) in list(rules, "policies") {
        let path = format_args!("{path}.policies[{index}]");
        check.one_of(format_args!("{path}.type"), text(policy, "type"), &["Percent", "Pods"]);
        for field in ["value", "periodSeconds"] {
            let number = int(policy, field).unwrap_or(0);
            if number <= 0 {
                check.invalid(format_args!("{path}.{field}"), number, "must be greater than zero");
            } else if field == "periodSeconds" && number > PERIOD_S_MAX {
                let detail = format!("must be less than or equal to {PERIOD_S_MAX}");
                check.invalid(format_args!("{path}.{field}"), number, detail);
            }
        }
    }
}

fn validate_budget(object: &Value) -> Vec<FieldError> {
    let (mut check, spec) = (Check::default(), at(object, "spec"));
    let fields = ["minAvailable", "maxUnavailable"];
    if fields.iter().all(|field| some(spec, field).is_some()) {
        let detail = "minAvailable and maxUnavailable cannot be both set";
        check.invalid(format_args!("spec"), spec.clone(), detail);
    }
    for field in fields {
        share(&mut check, format_args!("spec.{field}"), at(spec, field));
    }
    check.selector(format_args!("spec.selector"), at(spec, "selector"));
    check.into_errors()
}

fn share(check: &mut Check, path: Arguments<'_>, share: &Value) {
    match share {
        Value::Number(number) if number.as_i64().is_some_and(|it| it < 0) => {
            check.invalid(path, share.clone(), NOT_NEGATIVE);
        }
        Value::String(text) => match text.strip_suffix('%').map(str::parse::<u32>) {
            Some(Ok(percent)) if percent <= 100 => {}
            Some(Ok(_)) => check.invalid(path, text.as_str(), "must not be greater than 100%"),
            _ => {
                let detail = "a valid percent string must be a numeric string followed by an \
                              ending '%' (e.g. '1%',  or '93%', regex used for validation is \
                              '[0-9]+%')";
                check.invalid(path, text.as_str(), detail);
            }
        },
        _ => {}
    }
}

// Between the versions

fn annotation(object: &mut Value, key: &str) -> Option<Value> {
    let annotations = object.pointer_mut("/metadata/annotations")?.as_object_mut()?;
    let text = annotations.remove(key)?;
    let empty = annotations.is_empty();
    if empty {
        object::metadata(object).remove("annotations");
    }
    serde_json::from_str(text.as_str()?).ok()
}

fn annotate(object: &mut Value, key: &str, value: &Value) {
    let annotations =
        object::metadata(object).entry("annotations").or_insert_with(|| Map::new().into());
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.insert(key.into(), value.to_string().into());
    }
}

fn to_v2(object: &mut Value) {
    let (metrics, behavior) = (annotation(object, METRICS), annotation(object, BEHAVIOR));
    let (current, conditions) = (annotation(object, CURRENT), annotation(object, CONDITIONS));
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return };
    let mut all = Vec::new();
    if let Some(percent) = spec.remove("targetCPUUtilizationPercentage") {
        all.push(cpu_metric(&percent));
    }
    if let Some(Value::Array(more)) = metrics {
        all.extend(more);
    }
    if !all.is_empty() {
        spec.insert("metrics".into(), all.into());
    }
    if let Some(behavior) = behavior {
        spec.insert("behavior".into(), behavior);
    }
    let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) else { return };
    let mut seen = Vec::new();
    if let Some(percent) = status.remove("currentCPUUtilizationPercentage") {
        let current = json!({"averageUtilization": percent});
        seen.push(json!({"type": "Resource", "resource": {"name": "cpu", "current": current}}));
    }
    if let Some(Value::Array(more)) = current {
        seen.extend(more);
    }
    if !seen.is_empty() {
        status.insert("currentMetrics".into(), seen.into());
    }
    if let Some(conditions) = conditions {
        status.insert("conditions".into(), conditions);
    }
}

/// Takes the first use of processors out of a list of metrics.
fn take_cpu(metrics: &mut Vec<Value>, pointer: &str) -> Option<Value> {
    let found = metrics.iter().position(|it| {
        it["type"] == "Resource" && it["resource"]["name"] == "cpu" && it.pointer(pointer).is_some()
    })?;
    metrics.remove(found).pointer(pointer).cloned()
}

fn from_v2(object: &mut Value) {
    let mut notes: Vec<(&str, Value)> = Vec::new();
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        if let Some(Value::Array(mut metrics)) = spec.remove("metrics") {
            let pointer = "/resource/target/averageUtilization";
            if let Some(percent) = take_cpu(&mut metrics, pointer) {
                spec.insert("targetCPUUtilizationPercentage".into(), percent);
            }
            notes.push((METRICS, metrics.into()));
        }
        notes.extend(spec.remove("behavior").map(|it| (BEHAVIOR, it)));
    }
    if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) {
        if let Some(Value::Array(mut metrics)) = status.remove("currentMetrics") {
            let pointer = "/resource/current/averageUtilization";
            if let Some(percent) = take_cpu(&mut metrics, pointer) {
                status.insert("currentCPUUtilizationPercentage".into(), percent);
            }
            notes.push((CURRENT, metrics.into()));
        }
        notes.extend(status.remove("conditions").map(|it| (CONDITIONS, it)));
    }
    for (key, value) in notes {
        if value.as_array().is_none_or(|list| !list.is_empty()) {
            annotate(object, key, &value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v2() -> Value {
        let mut object = json!({"metadata": {"name": "a"}, "spec": {
            "maxReplicas": 3, "minReplicas": 1, "behavior": {},
            "scaleTargetRef": {"kind": "Deployment", "name": "d"}}});
        default_v2(&mut object);
        object
    }

    #[test]
    fn without_a_metric_the_processor_counts() {
        let object = v2();
        assert!(validate_v2(&object).is_empty(), "{:?}", validate_v2(&object));
        let target = &object["spec"]["metrics"][0]["resource"]["target"];
        assert_eq!(target["averageUtilization"], UTILIZATION);
        assert_eq!(object["spec"]["behavior"]["scaleDown"]["policies"][0]["value"], 100);
    }

    #[test]
    fn autoscalers_are_checked() {
        let check = |with: Value, fault: &str| {
            let mut object = v2();
            json_patch::merge(&mut object, &json!({ "spec": with }));
            assert_eq!(validate_v2(&object)[0].to_string(), fault);
        };
        check(
            json!({"maxReplicas": 0}),
            "spec.maxReplicas: Invalid value: 0: must be greater than 0",
        );
        check(
            json!({"minReplicas": 4}),
            "spec.maxReplicas: Invalid value: 3: must be greater than or equal to `minReplicas`",
        );
        check(
            json!({"metrics": [{"type": "Pods"}]}),
            "spec.metrics[0].pods: Required value: must populate information for the given metric \
             source",
        );
    }

    #[test]
    fn the_old_version_carries_what_it_does_not_know() {
        let kept = v2();
        let mut old = kept.clone();
        from_v2(&mut old);
        assert_eq!(old["spec"]["targetCPUUtilizationPercentage"], UTILIZATION);
        assert_eq!(old["spec"].get("metrics"), None);
        to_v2(&mut old);
        assert_eq!(old, kept);
    }

    #[test]
    fn a_budget_has_one_side() {
        let check = |spec: Value| validate_budget(&json!({ "spec": spec }));
        assert!(check(json!({"minAvailable": "50%"})).is_empty());
        assert_eq!(check(json!({"minAvailable": 1, "maxUnavailable": 1})).len(), 1);
        assert_eq!(check(json!({"minAvailable": "101%"})).len(), 1);
        assert_eq!(check(json!({"maxUnavailable": -1})).len(), 1);
    }
}
