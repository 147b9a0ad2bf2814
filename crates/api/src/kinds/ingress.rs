//! Ingresses and their classes: routes from outside.

use std::fmt::Arguments;

use resources::FieldError;
use serde_json::Value;

use super::check::{Check, at, int, len, list, port_name, some, text, texts, wildcard_subdomain};
use crate::{names, resource::Rules};

pub const INGRESS: Rules = Rules { validate, ..Rules::NONE };

pub const CLASS: Rules =
    Rules { validate: validate_class, validate_update: update_class, ..Rules::NONE };

const PATH_TYPES: [&str; 3] = ["Exact", "ImplementationSpecific", "Prefix"];
const CONTROLLER_LEN_MAX: u64 = 250;

fn validate(ingress: &Value) -> Vec<FieldError> {
    let (mut check, spec) = (Check::default(), at(ingress, "spec"));
    let default = some(spec, "defaultBackend");
    if len(spec, "rules") == 0 && default.is_none() {
        let detail = "either `defaultBackend` or `rules` must be specified";
        check.invalid(format_args!("spec"), at(spec, "rules").clone(), detail);
    }
    if let Some(it) = default {
        backend(&mut check, format_args!("spec.defaultBackend"), it);
    }
    for (index, rule) in list(spec, "rules") {
        let path = format_args!("spec.rules[{index}]");
        let host = text(rule, "host");
        if host.parse::<std::net::IpAddr>().is_ok() {
            let detail = "must be a DNS name, not an IP address";
            check.invalid(format_args!("{path}.host"), host, detail);
        }
        check.optional(format_args!("{path}.host"), host, host_name);
        let Some(http) = some(rule, "http") else { continue };
        if len(http, "paths") == 0 {
            check.required(format_args!("{path}.http.paths"), "");
        }
        for (index, it) in list(http, "paths") {
            http_path(&mut check, format_args!("{path}.http.paths[{index}]"), it);
        }
    }
    for (index, tls) in list(spec, "tls") {
        let path = format_args!("spec.tls[{index}]");
        for (index, host) in texts(tls, "hosts") {
            check.named(format_args!("{path}.hosts[{index}]"), host, host_name);
        }
        let secret = text(tls, "secretName");
        check.optional(format_args!("{path}.secretName"), secret, names::subdomain);
    }
    let class = text(spec, "ingressClassName");
    check.optional(format_args!("spec.ingressClassName"), class, names::subdomain);
    check.into_errors()
}

fn host_name(host: &str) -> Option<String> {
    if host.contains('*') && !host.starts_with("*.") {
        return wildcard_subdomain(&format!("*.{host}"));
    }
    wildcard_subdomain(host)
}

fn http_path(check: &mut Check, at_path: Arguments<'_>, it: &Value) {
    let (kind, path) = (text(it, "pathType"), text(it, "path"));
    if kind.is_empty() {
        let detail = "pathType must be specified";
        return check.required(format_args!("{at_path}.pathType"), detail);
    }
    let wrong = format_args!("{at_path}.path");
    if matches!(kind, "Exact" | "Prefix") {
        for odd in ["//", "/./", "/../", "%2f", "%2F"].into_iter().filter(|odd| path.contains(odd))
        {
            check.invalid(wrong, path, format!("must not contain '{odd}'"));
        }
        for odd in ["/..", "/."].into_iter().filter(|odd| path.ends_with(odd)) {
            check.invalid(wrong, path, format!("cannot end with '{odd}'"));
        }
    }
    if !path.starts_with('/') && (kind != "ImplementationSpecific" || !path.is_empty()) {
        check.invalid(wrong, path, "must be an absolute path");
    }
    check.any_of(format_args!("{at_path}.pathType"), kind, &PATH_TYPES);
    backend(check, format_args!("{at_path}.backend"), at(it, "backend"));
}

fn backend(check: &mut Check, path: Arguments<'_>, backend: &Value) {
    match (some(backend, "resource"), some(backend, "service")) {
        (Some(_), Some(_)) => {
            check.invalid(path, "", "cannot set both resource and service backends");
        }
        (None, None) => check.invalid(path, "", "resource or service backend is required"),
        (Some(resource), None) => {
            check.present(format_args!("{path}.resource.kind"), text(resource, "kind"));
            check.present(format_args!("{path}.resource.name"), text(resource, "name"));
        }
        (None, Some(service)) => {
            let name = text(service, "name");
            check.named(format_args!("{path}.service.name"), name, names::label);
            let port = at(service, "port");
            let number = int(port, "number").unwrap_or(0);
            match (text(port, "name"), number) {
                ("", 0) => check.required(path, "port name or number is required"),
                ("", number) => check.port(format_args!("{path}.service.port.number"), number),
                (name, 0) => {
                    check.optional(format_args!("{path}.service.port.name"), name, port_name);
                }
                _ => check.invalid(path, "", "cannot set both port name & port number"),
            }
        }
    }
}

fn validate_class(class: &Value) -> Vec<FieldError> {
    let (mut check, spec) = (Check::default(), at(class, "spec"));
    let (path, controller) = (format_args!("spec.controller"), text(spec, "controller"));
    if controller.len() as u64 > CONTROLLER_LEN_MAX {
        check.add(FieldError::too_long(path.to_string(), CONTROLLER_LEN_MAX));
    }
    check.named(path, controller, |controller| match controller.split_once('/') {
        None => Some("must be a domain-prefixed path (such as \"acme.io/foo\")".to_owned()),
        Some((domain, _)) => names::subdomain(domain),
    });
    if let Some(parameters) = some(spec, "parameters") {
        let path = format_args!("spec.parameters");
        check.present(format_args!("{path}.kind"), text(parameters, "kind"));
        check.present(format_args!("{path}.name"), text(parameters, "name"));
        let (scope, namespace) = (text(parameters, "scope"), text(parameters, "namespace"));
        check.any_of(format_args!("{path}.scope"), scope, &["Cluster", "Namespace"]);
        let path = format_args!("{path}.namespace");
        match scope {
            "Namespace" if namespace.is_empty() => {
                check.required(path, "`parameters.scope` is set to 'Namespace'");
            }
            "Cluster" if !namespace.is_empty() => {
                check.forbidden(path, "`parameters.scope` is set to 'Cluster'");
            }
            _ => {}
        }
    }
    check.into_errors()
}

fn update_class(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut check = Check::default();
    let controller = |class| at(at(class, "spec"), "controller");
    check.unchanged(format_args!("spec.controller"), controller(new), controller(old));
    check.into_errors()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(path: Value, fault: &str) {
        let spec = json!({"rules": [{"host": "*.example.com", "http": {"paths": [path]}}]});
        let errors = validate(&json!({ "spec": spec }));
        assert_eq!(errors.first().map(ToString::to_string).unwrap_or_default(), fault);
    }

    #[test]
    fn routes_lead_somewhere() {
        let service = json!({"service": {"name": "s", "port": {"number": 80}}});
        let at = "spec.rules[0].http.paths[0]";
        check(json!({"path": "/", "pathType": "Prefix", "backend": service}), "");
        check(
            json!({"path": "/", "backend": service}),
            &format!("{at}.pathType: Required value: pathType must be specified"),
        );
        check(
            json!({"path": "a", "pathType": "Exact", "backend": service}),
            &format!("{at}.path: Invalid value: \"a\": must be an absolute path"),
        );
        check(
            json!({"path": "/", "pathType": "Exact", "backend": {}}),
            &format!("{at}.backend: Invalid value: \"\": resource or service backend is required"),
        );
        check(
            json!({"path": "/", "pathType": "Exact", "backend": {"service": {"name": "s"}}}),
            &format!("{at}.backend: Required value: port name or number is required"),
        );
        assert_eq!(
            validate(&json!({"spec": {}}))[0].to_string(),
            "spec: Invalid value: null: either `defaultBackend` or `rules` must be specified"
        );
    }

    #[test]
    fn a_class_names_its_controller_for_good() {
        let class = json!({"spec": {"controller": "example.com/c"}});
        assert!(validate_class(&class).is_empty() && update_class(&class, &class).is_empty());
        let other = json!({"spec": {"controller": "c"}});
        assert_eq!((validate_class(&other).len(), update_class(&other, &class).len()), (1, 1));
    }
}
