//! Which traffic may reach pods.

use std::fmt::Arguments;

use resources::FieldError;
use serde_json::{Value, json};

use super::check::{Check, at, cidr, int, len, list, port_name, some, text, texts};
use crate::{object, resource::Rules};

pub const RULES: Rules = Rules { default, validate, ..Rules::NONE };

/// A policy is about what comes in, and about what goes out if it says so.
fn default(policy: &mut Value) {
    let spec = object::child(policy, "spec");
    if spec.get("policyTypes").and_then(Value::as_array).is_some_and(|types| !types.is_empty()) {
        return;
    }
    let egress = spec.get("egress").and_then(Value::as_array).is_some_and(|it| !it.is_empty());
    let types = if egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) };
    spec.insert("policyTypes".into(), types);
}

fn validate(policy: &Value) -> Vec<FieldError> {
    let (mut check, spec) = (Check::default(), at(policy, "spec"));
    check.selector(format_args!("spec.podSelector"), at(spec, "podSelector"));
    for (rules, peers) in [("ingress", "from"), ("egress", "to")] {
        for (index, rule) in list(spec, rules) {
            let path = format_args!("spec.{rules}[{index}]");
            for (index, it) in list(rule, "ports") {
                port(&mut check, format_args!("{path}.ports[{index}]"), it);
            }
            for (index, it) in list(rule, peers) {
                peer(&mut check, format_args!("{path}.{peers}[{index}]"), it);
            }
        }
    }
    if len(spec, "policyTypes") > 2 {
        let detail = "may not specify more than two policyTypes";
        check.invalid(format_args!("spec.policyTypes"), at(spec, "policyTypes").clone(), detail);
        return check.into_errors();
    }
    for (index, kind) in texts(spec, "policyTypes") {
        check.one_of(format_args!("spec.policyTypes[{index}]"), kind, &["Ingress", "Egress"]);
    }
    check.into_errors()
}

fn port(check: &mut Check, path: Arguments<'_>, it: &Value) {
    let protocols = ["TCP", "UDP", "SCTP"];
    check.any_of(format_args!("{path}.protocol"), text(it, "protocol"), &protocols);
    let end = int(it, "endPort");
    let end_path = format_args!("{path}.endPort");
    let path = format_args!("{path}.port");
    match (some(it, "port"), end) {
        (Some(Value::String(name)), end) => {
            if let Some(end) = end {
                check.invalid(end_path, end, "may not be specified when `port` is non-numeric");
            }
            if let Some(why) = port_name(name) {
                check.invalid(path, name.as_str(), why);
            }
        }
        (Some(number), end) => {
            let number = number.as_i64().unwrap_or(0);
            check.port(path, number);
            if let Some(end) = end {
                if end < number {
                    check.invalid(end_path, end, "must be greater than or equal to `port`");
                }
                check.port(end_path, end);
            }
        }
        (None, Some(end)) => {
            check.invalid(end_path, end, "may not be specified when `port` is not specified");
        }
        (None, None) => {}
    }
}

fn peer(check: &mut Check, path: Arguments<'_>, it: &Value) {
    check.selector(format_args!("{path}.podSelector"), at(it, "podSelector"));
    check.selector(format_args!("{path}.namespaceSelector"), at(it, "namespaceSelector"));
    let selects = some(it, "podSelector").is_some() || some(it, "namespaceSelector").is_some();
    let Some(block) = some(it, "ipBlock") else {
        if !selects {
            check.required(path, "must specify a peer");
        }
        return;
    };
    if selects {
        check.forbidden(path, "may not specify both ipBlock and another peer");
    }
    let whole = text(block, "cidr");
    check.named(format_args!("{path}.ipBlock.cidr"), whole, cidr);
    for (index, part) in texts(block, "except") {
        let path = format_args!("{path}.ipBlock.except[{index}]");
        check.named(path, part, cidr);
        if cidr(part).is_none() && cidr(whole).is_none() && !is_inside(part, whole) {
            check.invalid(path, part, "must be a strict subset of `cidr`");
        }
    }
}

/// Whether `part` is a range within `whole` and smaller.
fn is_inside(part: &str, whole: &str) -> bool {
    let bits = |range: &str| -> Option<(u128, u32, u32)> {
        let (ip, length) = range.split_once('/')?;
        let length: u32 = length.parse().ok()?;
        Some(match ip.parse().ok()? {
            std::net::IpAddr::V4(ip) => (u128::from(ip.to_bits()), 32, length),
            std::net::IpAddr::V6(ip) => (ip.to_bits(), 128, length),
        })
    };
    let (Some((part, width, part_length)), Some((whole, whole_width, length))) =
        (bits(part), bits(whole))
    else {
        return false;
    };
    let network = |address: u128| address.checked_shr(width - length.min(width)).unwrap_or(0);
    width == whole_width && part_length > length && network(part) == network(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rule: Value, fault: &str) {
        let mut policy = json!({"spec": {"podSelector": {}, "ingress": [rule]}});
        default(&mut policy);
        assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress"]));
        let errors = validate(&policy);
        assert_eq!(errors.first().map(ToString::to_string).unwrap_or_default(), fault);
    }

    #[test]
    fn policies_are_checked() {
        check(json!({"ports": [{"port": 80, "endPort": 90}], "from": [{"podSelector": {}}]}), "");
        check(
            json!({"ports": [{"port": 80, "endPort": 70}]}),
            "spec.ingress[0].ports[0].endPort: Invalid value: 70: must be greater than or equal to \
             `port`",
        );
        check(
            json!({"from": [{}]}),
            "spec.ingress[0].from[0]: Required value: must specify a peer",
        );
        let block = |except: &str| json!({"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": [except]}}]});
        check(block("10.1.0.0/16"), "");
        check(
            block("11.0.0.0/16"),
            "spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: \"11.0.0.0/16\": must be a \
             strict subset of `cidr`",
        );
    }
}
