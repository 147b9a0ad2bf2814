//! Configurations of admission webhooks: form only.

use std::collections::HashSet;

use resources::FieldError;
use serde_json::Value;

use super::check::{Check, at, int, len, list, some, text, texts};
use crate::{names, resource::Rules};

pub const RULES: Rules = Rules { validate, ..Rules::NONE };

/// What reviews this server speaks.
const REVIEWS: [&str; 2] = ["v1", "v1beta1"];

fn validate(configuration: &Value) -> Vec<FieldError> {
    let mut check = Check::default();
    let mut seen = HashSet::new();
    for (index, hook) in list(configuration, "webhooks") {
        let path = format_args!("webhooks[{index}]");
        let name = text(hook, "name");
        check.named(format_args!("{path}.name"), name, |name| {
            let detail = "should be a domain with at least three segments separated by dots";
            names::subdomain(name)
                .or_else(|| (name.split('.').count() < 3).then(|| detail.to_owned()))
        });
        if !seen.insert(name) {
            check.duplicate(format_args!("{path}.name"), name);
        }
        let effects = text(hook, "sideEffects");
        if !matches!(effects, "None" | "NoneOnDryRun") {
            let path = format!("{path}.sideEffects");
            let known = ["None", "NoneOnDryRun"];
            check.add(FieldError::unsupported(path, &effects.into(), known));
        }
        let versions = format_args!("{path}.admissionReviewVersions");
        if len(hook, "admissionReviewVersions") == 0 {
            check.required(versions, "must specify one of v1, v1beta1");
        } else if !texts(hook, "admissionReviewVersions").any(|it| REVIEWS.contains(&it.1)) {
            let detail = "must include at least one of v1, v1beta1";
            check.invalid(versions, at(hook, "admissionReviewVersions").clone(), detail);
        }
        if let Some(seconds) = int(hook, "timeoutSeconds").filter(|it| !(1..=30).contains(it)) {
            let detail = "the timeout value must be between 1 and 30 seconds";
            check.invalid(format_args!("{path}.timeoutSeconds"), seconds, detail);
        }
        let client = at(hook, "clientConfig");
        let path = format_args!("{path}.clientConfig");
        match (some(client, "url"), some(client, "service")) {
            (Some(_), Some(_)) | (None, None) => {
                check.required(path, "exactly one of url or service is required");
            }
            (Some(url), None) => {
                let url = url.as_str().unwrap_or_default();
                if !url.starts_with("https://") {
                    let detail = "'https' is the only allowed URL scheme; desired format: \
                                  https://host[/path]";
                    check.invalid(format_args!("{path}.url"), url, detail);
                }
            }
            (None, Some(service)) => {
                check.present(format_args!("{path}.service.name"), text(service, "name"));
                check.present(format_args!("{path}.service.namespace"), text(service, "namespace"));
                if let Some(port) = int(service, "port") {
                    check.port(format_args!("{path}.service.port"), port);
                }
            }
        }
        let path = format_args!("webhooks[{index}]");
        for (index, rule) in list(hook, "rules") {
            for field in ["operations", "apiGroups", "apiVersions", "resources"] {
                if len(rule, field) == 0 {
                    check.required(format_args!("{path}.rules[{index}].{field}"), "");
                }
            }
        }
        for field in ["namespaceSelector", "objectSelector"] {
            check.selector(format_args!("{path}.{field}"), at(hook, field));
        }
    }
    check.into_errors()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_hook_says_where_and_for_what() {
        let hook = json!({"name": "a.example.com", "sideEffects": "None",
            "admissionReviewVersions": ["v1"], "clientConfig": {"url": "https://h/"},
            "rules": [{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]});
        assert!(validate(&json!({"webhooks": [hook]})).is_empty());
        let errors = validate(&json!({"webhooks": [{"name": "a", "rules": [{}]}]}));
        let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert!(errors[0].contains("at least three segments"), "{errors:?}");
        assert!(errors.iter().any(|it| it.contains("exactly one of url or service")), "{errors:?}");
    }
}
