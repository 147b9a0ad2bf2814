//! How a definition converts objects between its versions.

use std::collections::HashSet;

use resources::FieldError;
use serde_json::Value;

use crate::custom::dns::label_1035;

pub(super) fn check(told: &Value, errors: &mut Vec<FieldError>) {
    let at = "spec.conversion";
    if told.is_null() {
        return;
    }
    let webhook = &told["webhook"];
    let config = &webhook["clientConfig"];
    let versions = webhook["conversionReviewVersions"].as_array();
    match told["strategy"].as_str().unwrap_or_default() {
        "" => errors.push(FieldError::required(format!("{at}.strategy"), "")),
        "None" => {
            if !config.is_null() {
                let detail = "should not be set when strategy is not set to Webhook";
                errors.push(FieldError::forbidden(format!("{at}.webhookClientConfig"), detail));
            }
            if versions.is_some_and(|versions| !versions.is_empty()) {
                let detail = "should not be set when strategy is not set to Webhook";
                let at = format!("{at}.conversionReviewVersions");
                errors.push(FieldError::forbidden(at, detail));
            }
        }
        "Webhook" => {
            webhook_client(config, &format!("{at}.webhookClientConfig"), errors);
            review_versions(versions, &format!("{at}.conversionReviewVersions"), errors);
        }
        odd => {
            let at = format!("{at}.strategy");
            errors.push(FieldError::unsupported(at, &odd.into(), ["None", "Webhook"]));
        }
    }
}

fn webhook_client(config: &Value, at: &str, errors: &mut Vec<FieldError>) {
    if config.is_null() {
        let detail = "required when strategy is set to Webhook";
        errors.push(FieldError::required(at, detail));
        return;
    }
    let (url, service) = (&config["url"], &config["service"]);
    if url.is_null() == service.is_null() {
        errors.push(FieldError::required(at, "exactly one of url or service is required"));
        return;
    }
    if let Some(url) = url.as_str() {
        if !url.starts_with("https://") {
            let scheme = url.split("://").next().filter(|scheme| *scheme != url);
            let detail = format!(
                "'https' is the only allowed URL scheme; desired format: https://host[/path]: {}",
                scheme.unwrap_or_default()
            );
            errors.push(FieldError::invalid(format!("{at}.url"), url, detail));
        } else if url.contains(['#', '?', '@']) {
            let detail = "fragments, query parameters and user information are not permitted in \
                          the URL; desired format: https://host[/path]";
            errors.push(FieldError::invalid(format!("{at}.url"), url, detail));
        }
        return;
    }
    for name in ["name", "namespace"] {
        if service[name].as_str().unwrap_or_default().is_empty() {
            let detail = format!("service {name} is required");
            errors.push(FieldError::required(format!("{at}.service.{name}"), detail));
        }
    }
    if let Some(port) = service["port"].as_i64().filter(|port| !(1..=65535).contains(port)) {
        let detail = "port is not valid: must be between 1 and 65535, inclusive";
        errors.push(FieldError::invalid(format!("{at}.service.port"), port, detail));
    }
}

fn review_versions(versions: Option<&Vec<Value>>, at: &str, errors: &mut Vec<FieldError>) {
    let Some(versions) = versions.filter(|versions| !versions.is_empty()) else {
        errors.push(FieldError::required(at, ""));
        return;
    };
    let mut seen = HashSet::new();
    for (index, version) in versions.iter().enumerate() {
        let (at, version) = (format!("{at}[{index}]"), version.as_str().unwrap_or_default());
        if !seen.insert(version) {
            errors.push(FieldError::invalid(at, version, "duplicate version"));
        } else if let Some(why) = label_1035(version) {
            errors.push(FieldError::invalid(at, version, why));
        }
    }
    if !seen.contains("v1") && !seen.contains("v1beta1") {
        let shown = Value::Array(versions.clone());
        let detail = "must include at least one of v1, v1beta1";
        errors.push(FieldError::invalid_json(at, &shown, detail));
    }
}
