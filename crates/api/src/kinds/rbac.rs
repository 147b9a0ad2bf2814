//! Roles and their bindings: form only. Whether a caller may grant what they
//! say is for authorization.

use resources::FieldError;
use serde_json::{Map, Value};

use super::check::{Check, at, len, list, text};
use crate::{names, object, resource::Rules};

pub const ROLE: Rules = Rules { validate: |role| validate_role(role, true), ..Rules::NONE };

pub const CLUSTER_ROLE: Rules =
    Rules { validate: |role| validate_role(role, false), ..Rules::NONE };

pub const BINDING: Rules = Rules {
    default,
    validate: |binding| validate_binding(binding, &["Role", "ClusterRole"]),
    validate_update,
    ..Rules::NONE
};

pub const CLUSTER_BINDING: Rules = Rules {
    default,
    validate: |binding| validate_binding(binding, &["ClusterRole"]),
    validate_update,
    ..Rules::NONE
};

const GROUP: &str = "rbac.authorization.k8s.io";

fn default(binding: &mut Value) {
    let role = object::child(binding, "roleRef");
    if role.get("apiGroup").and_then(Value::as_str).unwrap_or_default().is_empty() {
        role.insert("apiGroup".into(), GROUP.into());
    }
    let subjects = binding.get_mut("subjects").and_then(Value::as_array_mut);
    for subject in subjects.into_iter().flatten().filter_map(Value::as_object_mut) {
        let own = |subject: &Map<String, Value>, field: &str| {
            subject.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let person = matches!(&*own(subject, "kind"), "User" | "Group");
        if person && own(subject, "apiGroup").is_empty() {
            subject.insert("apiGroup".into(), GROUP.into());
        }
    }
}

fn validate_role(role: &Value, namespaced: bool) -> Vec<FieldError> {
    let mut check = Check::default();
    for (index, rule) in list(role, "rules") {
        let path = format_args!("rules[{index}]");
        if len(rule, "verbs") == 0 {
            check.required(format_args!("{path}.verbs"), "verbs must contain at least one value");
        }
        let (groups, resources) = (len(rule, "apiGroups"), len(rule, "resources"));
        if len(rule, "nonResourceURLs") > 0 {
            let path = format_args!("{path}.nonResourceURLs");
            let urls = at(rule, "nonResourceURLs");
            if namespaced {
                let detail = "namespaced rules cannot apply to non-resource URLs";
                check.invalid(path, urls.clone(), detail);
            }
            if groups + resources + len(rule, "resourceNames") > 0 {
                let detail = "rules cannot apply to both regular resources and non-resource URLs";
                check.invalid(path, urls.clone(), detail);
            }
            continue;
        }
        if groups == 0 {
            let detail = "resource rules must supply at least one api group";
            check.required(format_args!("{path}.apiGroups"), detail);
        }
        if resources == 0 {
            let detail = "resource rules must supply at least one resource";
            check.required(format_args!("{path}.resources"), detail);
        }
    }
    for (index, selector) in list(at(role, "aggregationRule"), "clusterRoleSelectors") {
        check.selector(format_args!("aggregationRule.clusterRoleSelectors[{index}]"), selector);
    }
    check.into_errors()
}

fn segment(name: &str) -> Option<String> {
    match name {
        "." => Some("may not be '.'".to_owned()),
        ".." => Some("may not be '..'".to_owned()),
        _ => name.find(['/', '%']).map(|at| format!("may not contain '{}'", &name[at..=at])),
    }
}

fn validate_binding(binding: &Value, kinds: &[&str]) -> Vec<FieldError> {
    let mut check = Check::default();
    let role = at(binding, "roleRef");
    let group = text(role, "apiGroup");
    if group != GROUP {
        let error = FieldError::unsupported("roleRef.apiGroup", &group.into(), [GROUP]);
        check.add(error);
    }
    let kind = text(role, "kind");
    if !kinds.contains(&kind) {
        let kinds = kinds.iter().copied();
        check.add(FieldError::unsupported("roleRef.kind", &kind.into(), kinds));
    }
    check.named(format_args!("roleRef.name"), text(role, "name"), segment);
    let namespaced = kinds.len() > 1;
    for (index, subject) in list(binding, "subjects") {
        let path = format_args!("subjects[{index}]");
        let (kind, group, name) =
            (text(subject, "kind"), text(subject, "apiGroup"), text(subject, "name"));
        check.present(format_args!("{path}.name"), name);
        let of_group = |wanted: &'static str| {
            let path = format!("{path}.apiGroup");
            (group != wanted).then(|| FieldError::unsupported(path, &group.into(), [wanted]))
        };
        match kind {
            "ServiceAccount" => {
                check.optional(format_args!("{path}.name"), name, names::subdomain);
                of_group("").into_iter().for_each(|error| check.add(error));
                if !namespaced {
                    check.present(format_args!("{path}.namespace"), text(subject, "namespace"));
                }
            }
            "User" | "Group" => of_group(GROUP).into_iter().for_each(|error| check.add(error)),
            _ => {
                let known = ["ServiceAccount", "User", "Group"];
                check.add(FieldError::unsupported(format!("{path}.kind"), &kind.into(), known));
            }
        }
    }
    check.into_errors()
}

fn validate_update(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut check = Check::default();
    if at(new, "roleRef") != at(old, "roleRef") {
        check.invalid(format_args!("roleRef"), at(new, "roleRef").clone(), "cannot change roleRef");
    }
    check.into_errors()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rules_say_what_on_what() {
        let check = |rule: Value, fault: &str| {
            let errors = (ROLE.validate)(&json!({"rules": [rule]}));
            assert_eq!(errors.first().map(ToString::to_string).unwrap_or_default(), fault);
        };
        check(json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}), "");
        check(
            json!({"apiGroups": [""], "resources": ["pods"]}),
            "rules[0].verbs: Required value: verbs must contain at least one value",
        );
        check(
            json!({"nonResourceURLs": ["/x"], "verbs": ["get"]}),
            "rules[0].nonResourceURLs: Invalid value: [\"/x\"]: namespaced rules cannot apply to \
             non-resource URLs",
        );
    }

    #[test]
    fn a_binding_stays_with_its_role() {
        let mut binding = json!({
            "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": "system:node"},
            "subjects": [{"kind": "User", "name": "a"},
                {"kind": "ServiceAccount", "name": "b", "namespace": "c"}],
        });
        default(&mut binding);
        assert_eq!(binding["subjects"][0]["apiGroup"], GROUP);
        assert!((CLUSTER_BINDING.validate)(&binding).is_empty());
        let mut other = binding.clone();
        other["roleRef"]["kind"] = "Role".into();
        assert!((BINDING.validate)(&other).is_empty());
        assert_eq!(
            (CLUSTER_BINDING.validate)(&other)[0].to_string(),
            "roleRef.kind: Unsupported value: \"Role\": supported values: \"ClusterRole\""
        );
        assert!(
            validate_update(&other, &binding)[0].to_string().ends_with("cannot change roleRef")
        );
    }
}
