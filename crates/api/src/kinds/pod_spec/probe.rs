//! Probes, and what runs at a container's start and end.

use std::fmt::Arguments;

use serde_json::Value;

use crate::kinds::check::{Check, at, int, len, list, some, text};

const HANDLERS: [&str; 5] = ["exec", "httpGet", "tcpSocket", "grpc", "sleep"];

pub(super) fn validate_all(
    check: &mut Check,
    path: Arguments<'_>,
    container: &Value,
    grace_s: Option<i64>,
) {
    for field in ["postStart", "preStop"] {
        if let Some(handler) = some(at(container, "lifecycle"), field) {
            validate_handler(check, format_args!("{path}.lifecycle.{field}"), handler, grace_s);
        }
    }
    for field in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(probe) = some(container, field) else { continue };
        let path = format_args!("{path}.{field}");
        validate_handler(check, path, probe, grace_s);
        for number in [
            "initialDelaySeconds",
            "timeoutSeconds",
            "periodSeconds",
            "successThreshold",
            "failureThreshold",
        ] {
            check.not_negative(path, probe, number);
        }
        let grace = int(probe, "terminationGracePeriodSeconds");
        let grace_path = format_args!("{path}.terminationGracePeriodSeconds");
        if field == "readinessProbe" {
            if let Some(grace) = grace {
                let detail = "must not be set for readinessProbes";
                check.invalid(grace_path, grace, detail);
            }
            continue;
        }
        if let Some(grace) = grace.filter(|grace| *grace <= 0) {
            check.invalid(grace_path, grace, "must be greater than 0");
        }
        let threshold = int(probe, "successThreshold").unwrap_or(1);
        if threshold != 1 {
            let path = format_args!("{path}.successThreshold");
            check.invalid(path, threshold, "must be 1");
        }
    }
}

fn validate_handler(check: &mut Check, path: Arguments<'_>, handler: &Value, grace_s: Option<i64>) {
    let mut set = HANDLERS.into_iter().filter(|it| some(handler, it).is_some());
    let Some(first) = set.next() else {
        return check.required(path, "must specify a handler type");
    };
    for more in set {
        check.forbidden(format_args!("{path}.{more}"), "may not specify more than 1 handler type");
    }
    let it = at(handler, first);
    let path = format_args!("{path}.{first}");
    match first {
        "exec" => {
            if len(it, "command") == 0 {
                check.required(format_args!("{path}.command"), "");
            }
        }
        "httpGet" => {
            check.port_or_name(format_args!("{path}.port"), at(it, "port"));
            let scheme = text(it, "scheme");
            check.any_of(format_args!("{path}.scheme"), scheme, &["HTTP", "HTTPS"]);
            for (_, header) in list(it, "httpHeaders") {
                let name = text(header, "name");
                let inner = |it: u8| it.is_ascii_alphanumeric() || it == b'-';
                if name.is_empty() || !name.bytes().all(inner) {
                    let detail = "a valid HTTP header must consist of alphanumeric characters or \
                                  '-' (e.g. 'X-Header-Name', regex used for validation is \
                                  '[-A-Za-z0-9]+')";
                    check.invalid(format_args!("{path}.httpHeaders"), name, detail);
                }
            }
        }
        "sleep" => {
            let seconds = int(it, "seconds").unwrap_or(0);
            if let Some(grace) = grace_s
                && !(0..=grace).contains(&seconds)
            {
                let detail = format!(
                    "must be non-negative and less than terminationGracePeriodSeconds ({grace})"
                );
                check.invalid(path, seconds, detail);
            }
        }
        _ => check.port_or_name(format_args!("{path}.port"), at(it, "port")),
    }
}
