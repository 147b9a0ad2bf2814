//! Requests and limits.

use std::{collections::HashSet, fmt::Arguments};

use serde_json::Value;

use schema::quantity::Quantity;

use crate::kinds::check::{Check, NOT_NEGATIVE, at, list, map, some, text};

/// What containers can ask for under names of Kubernetes' own.
const STANDARD: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

pub fn quantity(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => Quantity::parse(text),
        Value::Number(number) => Quantity::parse(&number.to_string()),
        _ => None,
    }
}

/// Checks a map of amounts: none negative, all well-formed.
pub fn quantities(check: &mut Check, path: Arguments<'_>, amounts: &Value) {
    for (name, amount) in amounts.as_object().into_iter().flatten() {
        match quantity(amount) {
            None => check.invalid(format_args!("{path}[{name}]"), shown(amount), MALFORMED),
            Some(amount) if amount.is_negative() => {
                check.invalid(format_args!("{path}[{name}]"), amount.to_string(), NOT_NEGATIVE);
            }
            Some(_) => {}
        }
    }
}

const MALFORMED: &str = "quantities must match the regular expression \
                         '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

fn shown(amount: &Value) -> String {
    amount.as_str().map_or_else(|| amount.to_string(), str::to_owned)
}

pub(super) fn validate(
    check: &mut Check,
    path: Arguments<'_>,
    resources: &Value,
    claims: &HashSet<&str>,
) {
    let limits = at(resources, "limits");
    for part in ["limits", "requests"] {
        let path = format_args!("{path}.{part}");
        quantities(check, path, at(resources, part));
        for (name, amount) in map(resources, part).into_iter().flatten() {
            validate_name(check, path, name);
            let whole = is_extended(name) || name.starts_with("hugepages-");
            if whole && quantity(amount).is_some_and(|amount| !amount.is_whole()) {
                check.invalid(format_args!("{path}[{name}]"), shown(amount), "must be an integer");
            }
        }
    }
    for (name, request) in map(resources, "requests").into_iter().flatten() {
        let path = format_args!("{path}.requests");
        let exact = is_extended(name) || name.starts_with("hugepages-");
        match (quantity(request), some(limits, name).and_then(quantity)) {
            (Some(request), Some(limit)) if exact && request != limit => {
                let detail = format!("must be equal to {name} limit of {limit}");
                check.invalid(path, request.to_string(), detail);
            }
            (Some(request), Some(limit)) if request > limit => {
                let detail = format!("must be less than or equal to {name} limit of {limit}");
                check.invalid(path, request.to_string(), detail);
            }
            (Some(_), None) if exact => {
                check.required(
                    format_args!("{path}.limits"),
                    "Limit must be set for non overcommitable resources",
                );
            }
            _ => {}
        }
    }
    let mut seen = HashSet::new();
    for (index, claim) in list(resources, "claims") {
        let (name, path) = (text(claim, "name"), format_args!("{path}.claims[{index}]"));
        if name.is_empty() {
            check.required(format_args!("{path}.name"), "");
        } else if !claims.contains(name) {
            check.not_found(format_args!("{path}.name"), name);
        } else if !seen.insert((name, text(claim, "request"))) {
            check.duplicate(path, name);
        }
    }
}

fn is_extended(name: &str) -> bool {
    name.split_once('/').is_some_and(|(domain, _)| !domain.ends_with("kubernetes.io"))
}

fn validate_name(check: &mut Check, path: Arguments<'_>, name: &str) {
    if let Some(why) = crate::names::label_key(name) {
        check.invalid(path, name, why);
    } else if !name.contains('/') && !STANDARD.contains(&name) && !name.starts_with("hugepages-") {
        let detail = "must be a standard resource type or fully qualified";
        check.invalid(path, name, detail);
        check.invalid(path, name, "must be a standard resource for containers");
    }
}

/// How well a pod is kept when its node runs short.
pub fn qos_class(spec: &Value) -> &'static str {
    let (mut any, mut guaranteed) = (false, true);
    let containers = list(spec, "containers").chain(list(spec, "initContainers"));
    let parts = containers.map(|(_, it)| at(it, "resources")).chain(some(spec, "resources"));
    for resources in parts {
        let amount = |part, name| some(at(resources, part), name).and_then(quantity);
        for name in ["cpu", "memory"] {
            let (request, limit) = (amount("requests", name), amount("limits", name));
            let positive = |amount: Option<Quantity>| amount.is_some_and(|it| it.nanos() > 0);
            any |= positive(request) || positive(limit);
            guaranteed &= positive(limit) && request.is_none_or(|it| Some(it) == limit);
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}
