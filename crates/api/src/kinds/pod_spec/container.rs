//! Containers: of all three sorts.

use std::{collections::HashSet, fmt::Arguments};

use serde_json::Value;

use super::{Scope, probe, resources, volume};
use crate::{
    kinds::check::{Check, at, int, is_true, len, list, port_name, some, text},
    names,
};

const NOT_INIT: &str = "may not be set for init containers without restartPolicy=Always";
const NOT_EPHEMERAL: &str = "cannot be set for an Ephemeral Container";

/// What containers look at but do not have when they are added for debugging.
const FORBIDDEN_TO_EPHEMERAL: [&str; 7] = [
    "ports",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
    "resizePolicy",
    "resources",
];

/// What a container can learn about its pod from its environment.
const FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

const RESOURCE_FIELDS: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

pub(super) fn validate_all(
    check: &mut Check,
    path: Arguments<'_>,
    spec: &Value,
    scope: &Scope<'_>,
) {
    if len(spec, "containers") == 0 {
        check.required(format_args!("{path}.containers"), "");
    }
    let mut names = HashSet::new();
    let mut ports = HashSet::new();
    for (index, container) in list(spec, "containers") {
        let path = format_args!("{path}.containers[{index}]");
        validate(check, path, container, scope);
        unique_name(check, path, container, &mut names);
        host_ports(check, path, container, &mut ports);
        probe::validate_all(check, path, container, scope.grace_s);
        if some(container, "restartPolicy").is_some() && len(container, "restartPolicyRules") == 0 {
            // Allowed since there are rules for restarts of one container.
            let policies = ["Always", "Never", "OnFailure"];
            let path = format_args!("{path}.restartPolicy");
            check.any_of(path, text(container, "restartPolicy"), &policies);
        }
    }
    for (index, container) in list(spec, "initContainers") {
        let path = format_args!("{path}.initContainers[{index}]");
        validate(check, path, container, scope);
        unique_name(check, path, container, &mut names);
        host_ports(check, path, container, &mut HashSet::new());
        if text(container, "restartPolicy") == "Always" {
            probe::validate_all(check, path, container, scope.grace_s);
        } else {
            for field in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
                if some(container, field).is_some() {
                    check.forbidden(format_args!("{path}.{field}"), NOT_INIT);
                }
            }
        }
    }
    let others = names.clone();
    for (index, container) in list(spec, "ephemeralContainers") {
        let path = format_args!("{path}.ephemeralContainers[{index}]");
        validate(check, path, container, scope);
        unique_name(check, path, container, &mut names);
        let target = text(container, "targetContainerName");
        if !target.is_empty() && !others.contains(target) {
            check.not_found(format_args!("{path}.targetContainerName"), target);
        }
        for field in FORBIDDEN_TO_EPHEMERAL.into_iter().filter(|it| len(container, it) > 0) {
            check.forbidden(format_args!("{path}.{field}"), NOT_EPHEMERAL);
        }
    }
}

fn unique_name<'a>(
    check: &mut Check,
    path: Arguments<'_>,
    container: &'a Value,
    names: &mut HashSet<&'a str>,
) {
    let name = text(container, "name");
    if !names.insert(name) && !name.is_empty() {
        check.duplicate(format_args!("{path}.name"), name);
    }
}

fn host_ports(
    check: &mut Check,
    path: Arguments<'_>,
    container: &Value,
    taken: &mut HashSet<String>,
) {
    for (index, port) in list(container, "ports") {
        let Some(host) = int(port, "hostPort").filter(|host| *host != 0) else { continue };
        let name = format!("{}/{}/{host}", text(port, "protocol"), text(port, "hostIP"));
        if taken.contains(&name) {
            check.duplicate(format_args!("{path}.ports[{index}].hostPort"), name);
        } else {
            taken.insert(name);
        }
    }
}

fn validate(check: &mut Check, path: Arguments<'_>, container: &Value, scope: &Scope<'_>) {
    check.named(format_args!("{path}.name"), text(container, "name"), names::label);
    let image = text(container, "image");
    if scope.needs_image && image.is_empty() {
        check.required(format_args!("{path}.image"), "");
    }
    if image != image.trim() {
        let detail = "must not have leading or trailing whitespace";
        check.invalid(format_args!("{path}.image"), image, detail);
    }
    let policies = ["File", "FallbackToLogsOnError"];
    let policy = text(container, "terminationMessagePolicy");
    check.any_of(format_args!("{path}.terminationMessagePolicy"), policy, &policies);
    let pull = text(container, "imagePullPolicy");
    let pulls = ["Always", "IfNotPresent", "Never"];
    check.any_of(format_args!("{path}.imagePullPolicy"), pull, &pulls);
    validate_ports(check, path, container);
    validate_env(check, path, container);
    volume::validate_mounts(check, path, container, &scope.volumes);
    resources::validate(
        check,
        format_args!("{path}.resources"),
        at(container, "resources"),
        &scope.claims,
    );
    validate_security(
        check,
        format_args!("{path}.securityContext"),
        at(container, "securityContext"),
    );
}

fn validate_ports(check: &mut Check, path: Arguments<'_>, container: &Value) {
    let mut names = HashSet::new();
    for (index, port) in list(container, "ports") {
        let path = format_args!("{path}.ports[{index}]");
        let name = text(port, "name");
        check.optional(format_args!("{path}.name"), name, port_name);
        if !name.is_empty() && !names.insert(name) {
            check.duplicate(format_args!("{path}.name"), name);
        }
        match int(port, "containerPort") {
            None | Some(0) => check.required(format_args!("{path}.containerPort"), ""),
            Some(number) => check.port(format_args!("{path}.containerPort"), number),
        }
        if let Some(number) = int(port, "hostPort").filter(|number| *number != 0) {
            check.port(format_args!("{path}.hostPort"), number);
        }
        let protocols = ["SCTP", "TCP", "UDP"];
        check.any_of(format_args!("{path}.protocol"), text(port, "protocol"), &protocols);
    }
}

fn env_name(name: &str) -> Option<String> {
    let inner = |it: char| (' '..='~').contains(&it) && it != '=';
    let wrong = "a valid environment variable name must consist only of printable ASCII characters \
                 other than '='";
    (!name.chars().all(inner)).then(|| wrong.to_owned())
}

fn validate_env(check: &mut Check, path: Arguments<'_>, container: &Value) {
    for (index, variable) in list(container, "env") {
        let path = format_args!("{path}.env[{index}]");
        check.named(format_args!("{path}.name"), text(variable, "name"), env_name);
        let Some(from) = some(variable, "valueFrom") else { continue };
        let path = format_args!("{path}.valueFrom");
        let sources =
            ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"];
        match sources.iter().filter(|it| some(from, it).is_some()).count() {
            0 => {
                let detail = "must specify one of: `fieldRef`, `resourceFieldRef`, \
                              `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`";
                check.invalid(path, "", detail);
            }
            _ if !text(variable, "value").is_empty() => {
                check.invalid(path, "", "may not be specified when `value` is not empty");
            }
            1 => {}
            _ => check.invalid(path, "", "may not have more than one field specified at a time"),
        }
        if let Some(field) = some(from, "fieldRef") {
            validate_field(check, format_args!("{path}.fieldRef"), field, &FIELDS);
        }
        if let Some(field) = some(from, "resourceFieldRef") {
            let resource = text(field, "resource");
            let path = format_args!("{path}.resourceFieldRef.resource");
            let huge = resource.split_once('.').is_some_and(|it| it.1.starts_with("hugepages-"));
            match resource {
                "" => check.required(path, ""),
                _ if huge => {}
                _ => check.any_of(path, resource, &RESOURCE_FIELDS),
            }
        }
        for source in ["configMapKeyRef", "secretKeyRef"] {
            let Some(of) = some(from, source) else { continue };
            check.present(format_args!("{path}.{source}.name"), text(of, "name"));
            let key = text(of, "key");
            check.named(format_args!("{path}.{source}.key"), key, crate::kinds::check::config_key);
        }
    }
    for (index, from) in list(container, "envFrom") {
        let path = format_args!("{path}.envFrom[{index}]");
        check.optional(format_args!("{path}.prefix"), text(from, "prefix"), env_name);
        let sources = ["configMapRef", "secretRef"];
        match sources.iter().filter(|it| some(from, it).is_some()).count() {
            0 => check.invalid(path, "", "must specify one of: `configMapRef` or `secretRef`"),
            1 => {}
            _ => check.invalid(path, "", "may not have more than one field specified at a time"),
        }
        for source in sources {
            if let Some(of) = some(from, source) {
                check.present(format_args!("{path}.{source}.name"), text(of, "name"));
            }
        }
    }
}

/// A field of the pod itself, as environment and files can show it.
pub(super) fn validate_field(
    check: &mut Check,
    path: Arguments<'_>,
    field: &Value,
    supported: &[&str],
) {
    let name = text(field, "fieldPath");
    match name.split_once('[') {
        _ if name.is_empty() => check.required(format_args!("{path}.fieldPath"), ""),
        Some(("metadata.labels" | "metadata.annotations", key)) => {
            check.named_key(path, key.trim_end_matches(']').trim_matches(['\'', '"']));
        }
        Some((of, _)) => check.invalid(path, of, "does not support subscript"),
        None => check.any_of(format_args!("{path}.fieldPath"), name, supported),
    }
}

fn validate_security(check: &mut Check, path: Arguments<'_>, context: &Value) {
    for field in ["runAsUser", "runAsGroup"] {
        if let Some(id) = int(context, field) {
            check.in_range(format_args!("{path}.{field}"), id, 0, i64::from(i32::MAX));
        }
    }
    seccomp(check, path, context);
    if context.get("allowPrivilegeEscalation") != Some(&Value::Bool(false)) {
        return;
    }
    let escalation = || false;
    if is_true(context, "privileged") {
        let detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
        check.invalid(path, context.clone(), detail);
    }
    let added = at(context, "capabilities");
    if crate::kinds::check::texts(added, "add").any(|(_, it)| it == "CAP_SYS_ADMIN") {
        let detail = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` \
                      CAP_SYS_ADMIN";
        check.invalid(path, escalation(), detail);
    }
}

pub(super) fn seccomp(check: &mut Check, path: Arguments<'_>, context: &Value) {
    let Some(profile) = some(context, "seccompProfile") else { return };
    let path = format_args!("{path}.seccompProfile");
    let kinds = ["Localhost", "RuntimeDefault", "Unconfined"];
    check.one_of(format_args!("{path}.type"), text(profile, "type"), &kinds);
    let local = some(profile, "localhostProfile").is_some();
    if text(profile, "type") == "Localhost" && !local {
        let detail = "must be set when seccomp type is Localhost";
        check.required(format_args!("{path}.localhostProfile"), detail);
    } else if text(profile, "type") != "Localhost" && local {
        let detail = "can only be set when seccomp type is Localhost";
        check.invalid(
            format_args!("{path}.localhostProfile"),
            text(profile, "localhostProfile"),
            detail,
        );
    }
}
