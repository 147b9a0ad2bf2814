//! Flow schemas and priority levels: what [`crate::flows`] can do with them.

use std::fmt::Arguments;

use resources::FieldError;
use serde_json::Value;

use super::check::{Check, at, int, is_true, len, list, some, text, texts};
use crate::{
    flows::{HASH_BITS_MAX, LEVEL_OBJECTS, SCHEMA_OBJECTS, bits, fixed_spec},
    names, object,
    resource::Rules,
};

pub const SCHEMA: Rules = Rules { validate: validate_schema, ..Rules::NONE };
pub const LEVEL: Rules = Rules { validate: validate_level, ..Rules::NONE };

const EXEMPT: &str = "exempt";
const PRECEDENCE_MAX: i64 = 10_000;
const QUEUES_MAX: i64 = 10_000_000;

const VERBS: [&str; 9] =
    ["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];

/// Of subjects: their kinds, and the fields that tell who.
const SUBJECTS: [(&str, &str); 3] =
    [("Group", "group"), ("ServiceAccount", "serviceAccount"), ("User", "user")];

fn validate_schema(schema: &Value) -> Vec<FieldError> {
    let mut check = Check::default();
    let (name, spec) = (object::name(schema), at(schema, "spec"));
    let precedence = int(spec, "matchingPrecedence").unwrap_or(0);
    let wrong = match precedence {
        ..=0 => Some("must be a positive value".to_owned()),
        1 if name != EXEMPT => {
            Some("only the schema named 'exempt' may have matchingPrecedence 1".to_owned())
        }
        PRECEDENCE_MAX.. if precedence > PRECEDENCE_MAX => {
            Some(format!("must not be greater than {PRECEDENCE_MAX}"))
        }
        _ => None,
    };
    if let Some(why) = wrong {
        check.invalid(format_args!("spec.matchingPrecedence"), precedence, why);
    }
    if let Some(method) = some(spec, "distinguisherMethod") {
        let path = format_args!("spec.distinguisherMethod.type");
        check.one_of(path, text(method, "type"), &["ByNamespace", "ByUser"]);
    }
    let path = format_args!("spec.priorityLevelConfiguration.name");
    match text(at(spec, "priorityLevelConfiguration"), "name") {
        "" => check.required(path, "must reference a priority level"),
        level => check.optional(path, level, names::subdomain),
    }
    for (index, rule) in list(spec, "rules") {
        policy(&mut check, format_args!("spec.rules[{index}]"), rule);
    }
    if fixed_spec(&SCHEMA_OBJECTS, name).is_some_and(|fixed| fixed != spec) {
        let detail = format!("spec of '{name}' must equal the fixed value");
        check.invalid(format_args!("spec"), spec.clone(), detail);
    }
    check.into_errors()
}

fn policy(check: &mut Check, path: Arguments<'_>, rule: &Value) {
    if len(rule, "subjects") == 0 {
        let detail = "subjects must contain at least one value";
        check.required(format_args!("{path}.subjects"), detail);
    }
    for (index, one) in list(rule, "subjects") {
        subject(check, format_args!("{path}.subjects[{index}]"), one);
    }
    if len(rule, "resourceRules") == 0 && len(rule, "nonResourceRules") == 0 {
        let detail = "at least one of resourceRules and nonResourceRules has to be non-empty";
        check.required(path, detail);
    }
    for (index, rule) in list(rule, "resourceRules") {
        let path = format_args!("{path}.resourceRules[{index}]").to_string();
        verbs(check, &path, rule);
        let needed = "resource rules must supply at least one";
        some_or_all(check, &path, rule, "apiGroups", &format!("{needed} api group"), "api groups");
        some_or_all(check, &path, rule, "resources", &format!("{needed} resource"), "resources");
        namespaces(check, &path, rule);
    }
    for (index, rule) in list(rule, "nonResourceRules") {
        let path = format_args!("{path}.nonResourceRules[{index}]").to_string();
        verbs(check, &path, rule);
        let needed = "nonResourceURLs must contain at least one value";
        some_or_all(check, &path, rule, "nonResourceURLs", needed, "non-resource URLs");
    }
}

fn subject(check: &mut Check, path: Arguments<'_>, subject: &Value) {
    let kind = text(subject, "kind");
    let kinds = SUBJECTS.map(|(kind, _)| kind);
    check.one_of(format_args!("{path}.kind"), kind, &kinds);
    if !kinds.contains(&kind) {
        return;
    }
    for (other, field) in SUBJECTS {
        match (other == kind, some(subject, field)) {
            (true, None) => {
                let detail = format!("{field} is required when subject kind is '{other}'");
                check.required(format_args!("{path}.{field}"), &detail);
            }
            (true, Some(who)) => {
                check.present(format_args!("{path}.{field}.name"), text(who, "name"));
                if other == "ServiceAccount" {
                    let path = format_args!("{path}.{field}.namespace");
                    match text(who, "namespace") {
                        "" => check.required(path, "must specify namespace for service account"),
                        namespace => check.optional(path, namespace, names::label),
                    }
                }
            }
            (false, Some(_)) => {
                let detail = format!("{field} is forbidden when subject kind is not '{other}'");
                check.forbidden(format_args!("{path}.{field}"), detail);
            }
            (false, None) => {}
        }
    }
}

fn verbs(check: &mut Check, path: &str, rule: &Value) {
    some_or_all(check, path, rule, "verbs", "verbs must contain at least one value", "verbs");
    let odd = texts(rule, "verbs").find(|(_, verb)| *verb != "*" && !VERBS.contains(verb));
    if let Some((_, verb)) = odd {
        check.any_of(format_args!("{path}.verbs"), verb, &VERBS);
    }
}

/// At least one, and `*` only by itself.
fn some_or_all(check: &mut Check, path: &str, rule: &Value, field: &str, needed: &str, what: &str) {
    let count = len(rule, field);
    if count == 0 {
        check.required(format_args!("{path}.{field}"), needed);
    } else if count > 1 && texts(rule, field).any(|(_, text)| text == "*") {
        let detail = format!("if '*' is present, must not specify other {what}");
        check.invalid(format_args!("{path}.{field}"), at(rule, field).clone(), detail);
    }
}

fn namespaces(check: &mut Check, path: &str, rule: &Value) {
    let needed = "resource rules that are not cluster scoped must supply at least one namespace";
    if len(rule, "namespaces") > 0 || !is_true(rule, "clusterScope") {
        some_or_all(check, path, rule, "namespaces", needed, "namespaces");
    }
    for (index, namespace) in texts(rule, "namespaces").filter(|(_, name)| *name != "*") {
        if let Some(why) = names::label(namespace) {
            let detail = format!("each member of this list must be '*' or a DNS-1123 label; {why}");
            check.invalid(format_args!("{path}.namespaces[{index}]"), namespace, detail);
        }
    }
}

fn validate_level(level: &Value) -> Vec<FieldError> {
    let mut check = Check::default();
    let (name, spec) = (object::name(level), at(level, "spec"));
    let kind = text(spec, "type");
    if (name == EXEMPT) != (kind == "Exempt") {
        let detail = "must be 'Exempt' if and only if `name` is 'exempt'";
        check.invalid(format_args!("spec.type"), kind, detail);
    }
    check.one_of(format_args!("spec.type"), kind, &["Exempt", "Limited"]);
    let (limited, exempt) = (some(spec, "limited"), some(spec, "exempt"));
    match kind {
        "Exempt" => {
            if limited.is_some() {
                let detail = "must be nil if the type is not Limited";
                check.forbidden(format_args!("spec.limited"), detail);
            }
            shares(&mut check, "spec.exempt", exempt.unwrap_or(&Value::Null));
        }
        "Limited" => {
            if exempt.is_some() {
                let detail = "must be nil if the type is Limited";
                check.forbidden(format_args!("spec.exempt"), detail);
            }
            match limited {
                None => {
                    let detail = "must not be empty when type is Limited";
                    check.required(format_args!("spec.limited"), detail);
                }
                Some(limited) => limits(&mut check, limited),
            }
        }
        _ => {}
    }
    if let Some(fixed) = fixed_spec(&LEVEL_OBJECTS, name) {
        let same = match name {
            EXEMPT => at(fixed, "type") == at(spec, "type") && limited.is_none(),
            _ => fixed == spec,
        };
        if !same {
            let but = if name == EXEMPT { " except the 'spec.exempt' field" } else { "" };
            let detail = format!("spec of '{name}'{but} must equal the fixed value");
            check.invalid(format_args!("spec"), spec.clone(), detail);
        }
    }
    check.into_errors()
}

fn shares(check: &mut Check, path: &str, part: &Value) {
    if let Some(shares) = int(part, "nominalConcurrencyShares").filter(|shares| *shares < 0) {
        let path = format_args!("{path}.nominalConcurrencyShares");
        check.invalid(path, shares, "must be a non-negative integer");
    }
    if let Some(percent) = int(part, "lendablePercent") {
        check.in_range(format_args!("{path}.lendablePercent"), percent, 0, 100);
    }
}

fn limits(check: &mut Check, limited: &Value) {
    shares(check, "spec.limited", limited);
    let borrowing = int(limited, "borrowingLimitPercent").filter(|percent| *percent < 0);
    if let Some(percent) = borrowing {
        let path = format_args!("spec.limited.borrowingLimitPercent");
        check.invalid(path, percent, "if specified, must be a non-negative integer");
    }
    let response = at(limited, "limitResponse");
    let kind = text(response, "type");
    check.one_of(format_args!("spec.limited.limitResponse.type"), kind, &["Queue", "Reject"]);
    let path = format_args!("spec.limited.limitResponse.queuing");
    match (kind, some(response, "queuing")) {
        ("Reject", Some(_)) => {
            check.forbidden(path, "must be nil if limited.limitResponse.type is not Limited");
        }
        ("Queue", None) => {
            check.required(path, "must not be empty if limited.limitResponse.type is Limited");
        }
        ("Queue", Some(shape)) => queuing(check, shape),
        _ => {}
    }
}

fn queuing(check: &mut Check, queuing: &Value) {
    let path = "spec.limited.limitResponse.queuing";
    let number = |field: &str| int(queuing, field).unwrap_or(0);
    let (queues, hand, length) = (number("queues"), number("handSize"), number("queueLengthLimit"));
    for (field, value) in [("queueLengthLimit", length), ("queues", queues), ("handSize", hand)] {
        if value <= 0 {
            check.invalid(format_args!("{path}.{field}"), value, "must be positive");
        }
    }
    if queues > QUEUES_MAX {
        let detail = format!("must not be greater than {QUEUES_MAX}");
        check.invalid(format_args!("{path}.queues"), queues, detail);
    }
    let (Ok(deck), Ok(cards)) = (usize::try_from(queues), usize::try_from(hand)) else { return };
    let wrong = if hand > queues {
        format!("should not be greater than queues ({queues})")
    } else if bits(deck, cards) > HASH_BITS_MAX {
        format!(
            "required entropy bits of deckSize {queues} and handSize {hand} should not be greater \
             than {HASH_BITS_MAX}"
        )
    } else {
        return;
    };
    if hand > 0 {
        check.invalid(format_args!("{path}.handSize"), hand, wrong);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(errors: &[FieldError], expected: &[&str]) {
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(errors, expected);
    }

    fn schema(spec: &Value) -> Value {
        json!({"metadata": {"name": "a"}, "spec": spec})
    }

    #[test]
    fn a_schema_names_subjects_and_what_they_ask() {
        let spec = json!({
            "matchingPrecedence": 10_001,
            "priorityLevelConfiguration": {"name": ""},
            "distinguisherMethod": {"type": "ByWeather"},
            "rules": [
                {"subjects": [{"kind": "User", "group": {"name": "a"}}]},
                {"subjects": [{"kind": "ServiceAccount",
                    "serviceAccount": {"namespace": "", "name": "*"}}],
                 "resourceRules": [{"verbs": ["get", "*"], "apiGroups": ["*"],
                    "resources": ["pods"]}],
                 "nonResourceRules": [{"verbs": ["post"], "nonResourceURLs": ["*"]}]},
            ],
        });
        check(
            &validate_schema(&schema(&spec)),
            &[
                "spec.matchingPrecedence: Invalid value: 10001: must not be greater than 10000",
                "spec.distinguisherMethod.type: Unsupported value: \"ByWeather\": supported values: \"ByNamespace\", \"ByUser\"",
                "spec.priorityLevelConfiguration.name: Required value: must reference a priority level",
                "spec.rules[0].subjects[0].group: Forbidden: group is forbidden when subject kind is not 'Group'",
                "spec.rules[0].subjects[0].user: Required value: user is required when subject kind is 'User'",
                "spec.rules[0]: Required value: at least one of resourceRules and nonResourceRules has to be non-empty",
                "spec.rules[1].subjects[0].serviceAccount.namespace: Required value: must specify namespace for service account",
                "spec.rules[1].resourceRules[0].verbs: Invalid value: [\"get\",\"*\"]: if '*' is present, must not specify other verbs",
                "spec.rules[1].resourceRules[0].namespaces: Required value: resource rules that are not cluster scoped must supply at least one namespace",
                "spec.rules[1].nonResourceRules[0].verbs: Unsupported value: \"post\": supported values: \"create\", \"delete\", \"deletecollection\", \"get\", \"list\", \"patch\", \"proxy\", \"update\", \"watch\"",
            ],
        );
        let first = json!({"matchingPrecedence": 1, "priorityLevelConfiguration": {"name": "a"}});
        check(
            &validate_schema(&schema(&first)),
            &[
                "spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have matchingPrecedence 1",
            ],
        );
    }

    #[test]
    fn a_level_can_be_dealt_and_what_is_mandatory_stays() {
        let limited = |queuing: Value| {
            json!({"metadata": {"name": "a"}, "spec": {"type": "Limited", "limited": {
                "lendablePercent": 101, "borrowingLimitPercent": -1,
                "limitResponse": {"type": "Queue", "queuing": queuing}}}})
        };
        check(
            &validate_level(&limited(json!({"queues": 128, "handSize": 9, "queueLengthLimit": 0}))),
            &[
                "spec.limited.lendablePercent: Invalid value: 101: must be between 0 and 100, inclusive",
                "spec.limited.borrowingLimitPercent: Invalid value: -1: if specified, must be a non-negative integer",
                "spec.limited.limitResponse.queuing.queueLengthLimit: Invalid value: 0: must be positive",
                "spec.limited.limitResponse.queuing.handSize: Invalid value: 9: required entropy bits of deckSize 128 and handSize 9 should not be greater than 60",
            ],
        );
        let mut mandatory = LEVEL_OBJECTS.clone();
        for level in &mut mandatory {
            let part = if object::name(level) == EXEMPT { "exempt" } else { "limited" };
            level["spec"][part]["lendablePercent"] = 7.into();
            let errors = validate_level(level);
            let fixed = object::name(level) == "catch-all";
            assert_eq!(errors.len(), usize::from(fixed), "{level} {errors:?}");
        }
        let exempt = json!({"metadata": {"name": "mine"}, "spec": {"type": "Exempt"}});
        check(
            &validate_level(&exempt),
            &[
                "spec.type: Invalid value: \"Exempt\": must be 'Exempt' if and only if `name` is 'exempt'",
            ],
        );
    }
}
