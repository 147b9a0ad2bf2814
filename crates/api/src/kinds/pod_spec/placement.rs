//! Where a pod may run: selectors, affinity, tolerations, spreading.

use std::{collections::HashSet, fmt::Arguments};

use serde_json::Value;

use crate::{
    kinds::check::{Check, at, int, ip, len, list, some, text, texts},
    names,
};

pub const TAINT_EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

pub(super) fn validate(check: &mut Check, path: Arguments<'_>, spec: &Value) {
    check.labels(format_args!("{path}.nodeSelector"), at(spec, "nodeSelector"));
    validate_tolerations(check, format_args!("{path}.tolerations"), spec);
    let affinity = at(spec, "affinity");
    node_affinity(
        check,
        format_args!("{path}.affinity.nodeAffinity"),
        at(affinity, "nodeAffinity"),
    );
    for field in ["podAffinity", "podAntiAffinity"] {
        pod_affinity(check, format_args!("{path}.affinity.{field}"), at(affinity, field));
    }
    for (index, alias) in list(spec, "hostAliases") {
        let path = format_args!("{path}.hostAliases[{index}]");
        check.named(format_args!("{path}.ip"), text(alias, "ip"), ip);
        for (index, name) in texts(alias, "hostnames") {
            check.named(format_args!("{path}.hostnames[{index}]"), name, names::subdomain);
        }
    }
    let mut seen = HashSet::new();
    for (index, constraint) in list(spec, "topologySpreadConstraints") {
        let path = format_args!("{path}.topologySpreadConstraints[{index}]");
        let (key, when) = (text(constraint, "topologyKey"), text(constraint, "whenUnsatisfiable"));
        let skew = int(constraint, "maxSkew").unwrap_or(0);
        if skew <= 0 {
            let detail = "must be greater than zero";
            check.invalid(format_args!("{path}.maxSkew"), skew, detail);
        }
        if key.is_empty() {
            check.required(format_args!("{path}.topologyKey"), "can not be empty");
        }
        let supported = ["DoNotSchedule", "ScheduleAnyway"];
        check.one_of(format_args!("{path}.whenUnsatisfiable"), when, &supported);
        if !seen.insert((key, when)) {
            let pair = format!("{{{key}, {when}}}");
            check.duplicate(format_args!("{path}.{{topologyKey, whenUnsatisfiable}}"), pair);
        }
        if let Some(least) = int(constraint, "minDomains") {
            let path = format_args!("{path}.minDomains");
            if least <= 0 {
                check.invalid(path, least, "must be greater than zero");
            } else if when != "DoNotSchedule" {
                let detail = format!(
                    "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {when}"
                );
                check.invalid(path, least, detail);
            }
        }
        check.selector(format_args!("{path}.labelSelector"), at(constraint, "labelSelector"));
    }
}

fn validate_tolerations(check: &mut Check, path: Arguments<'_>, spec: &Value) {
    for (index, toleration) in list(spec, "tolerations") {
        let path = format_args!("{path}[{index}]");
        let (key, operator) = (text(toleration, "key"), text(toleration, "operator"));
        check.optional(format_args!("{path}.key"), key, names::label_key);
        if key.is_empty() && operator != "Exists" {
            let detail = "operator must be Exists when `key` is empty, which means \"match all \
                          values and all keys\"";
            check.invalid(format_args!("{path}.operator"), operator, detail);
        }
        let effect = text(toleration, "effect");
        if some(toleration, "tolerationSeconds").is_some() && effect != "NoExecute" {
            let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            check.invalid(format_args!("{path}.effect"), effect, detail);
        }
        let value = text(toleration, "value");
        match operator {
            "" | "Equal" => {
                check.optional(format_args!("{path}.operator"), value, names::label_value)
            }
            "Exists" if !value.is_empty() => {
                let detail = "value must be empty when `operator` is 'Exists'";
                check.invalid(format_args!("{path}.operator"), value, detail);
            }
            "Lt" | "Gt" if value.parse::<i64>().is_err() => {
                let detail = "must be a valid integer when `operator` is 'Lt' or 'Gt'";
                check.invalid(format_args!("{path}.value"), value, detail);
            }
            "Exists" | "Lt" | "Gt" => {}
            _ => {
                let supported = ["Equal", "Exists"];
                check.any_of(format_args!("{path}.operator"), operator, &supported);
            }
        }
        check.any_of(format_args!("{path}.effect"), effect, &TAINT_EFFECTS);
    }
}

fn node_affinity(check: &mut Check, path: Arguments<'_>, affinity: &Value) {
    if let Some(required) = some(affinity, REQUIRED) {
        node_selector(check, format_args!("{path}.{REQUIRED}"), required);
    }
    for (index, term) in list(affinity, PREFERRED) {
        let path = format_args!("{path}.{PREFERRED}[{index}]");
        weight(check, path, term);
        node_term(check, format_args!("{path}.preference"), at(term, "preference"));
    }
}

/// `core/v1.NodeSelector`.
pub fn node_selector(check: &mut Check, path: Arguments<'_>, selector: &Value) {
    if len(selector, "nodeSelectorTerms") == 0 {
        let detail = "must have at least one node selector term";
        check.required(format_args!("{path}.nodeSelectorTerms"), detail);
    }
    for (index, term) in list(selector, "nodeSelectorTerms") {
        node_term(check, format_args!("{path}.nodeSelectorTerms[{index}]"), term);
    }
}

fn node_term(check: &mut Check, path: Arguments<'_>, term: &Value) {
    for (index, it) in list(term, "matchExpressions") {
        let path = format_args!("{path}.matchExpressions[{index}]");
        let operator = text(it, "operator");
        if matches!(operator, "Gt" | "Lt") {
            if len(it, "values") != 1 {
                let detail = "must be specified single value when `operator` is 'Lt' or 'Gt'";
                check.required(format_args!("{path}.values"), detail);
            }
            check.named_key(format_args!("{path}.key"), text(it, "key"));
        } else {
            check.requirement(path, it, &["In", "NotIn"], &["Exists", "DoesNotExist"]);
        }
    }
    for (index, it) in list(term, "matchFields") {
        let path = format_args!("{path}.matchFields[{index}]");
        if len(it, "values") != 1 {
            let detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field \
                          selector";
            check.required(format_args!("{path}.values"), detail);
        }
        if text(it, "key") != "metadata.name" {
            let detail = "not a valid field selector key";
            check.invalid(format_args!("{path}.key"), text(it, "key"), detail);
        }
    }
}

fn weight(check: &mut Check, path: Arguments<'_>, term: &Value) {
    let weight = int(term, "weight").unwrap_or(0);
    if !(1..=100).contains(&weight) {
        let detail = "must be in the range 1-100";
        check.invalid(format_args!("{path}.weight"), weight, detail);
    }
}

fn pod_affinity(check: &mut Check, path: Arguments<'_>, affinity: &Value) {
    for (index, term) in list(affinity, REQUIRED) {
        pod_term(check, format_args!("{path}.{REQUIRED}[{index}]"), term);
    }
    for (index, it) in list(affinity, PREFERRED) {
        let path = format_args!("{path}.{PREFERRED}[{index}]");
        weight(check, path, it);
        pod_term(check, format_args!("{path}.podAffinityTerm"), at(it, "podAffinityTerm"));
    }
}

fn pod_term(check: &mut Check, path: Arguments<'_>, term: &Value) {
    check.selector(format_args!("{path}.labelSelector"), at(term, "labelSelector"));
    check.selector(format_args!("{path}.namespaceSelector"), at(term, "namespaceSelector"));
    for (index, name) in texts(term, "namespaces") {
        check.named(format_args!("{path}.namespaces[{index}]"), name, names::label);
    }
    let key = text(term, "topologyKey");
    if key.is_empty() {
        check.required(format_args!("{path}.topologyKey"), "can not be empty");
    }
    check.optional(format_args!("{path}.topologyKey"), key, names::label_key);
}
