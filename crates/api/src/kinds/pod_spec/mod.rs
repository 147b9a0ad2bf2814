//! What pods are made of: the part that a Pod and every template of one share.

mod container;
mod defaults;
mod placement;
mod probe;
mod resources;
mod volume;

use std::{collections::HashSet, fmt::Arguments};

use serde_json::Value;

pub use self::{
    defaults::{default_pod, default_spec},
    resources::{qos_class, quantities, quantity},
    volume::claim_spec,
};
use super::check::{Check, at, int, ip, is_true, len, list, map, some, text, texts};
use crate::names;

/// Bounds of the resolver, which libc sets.
const NAMESERVERS_MAX: usize = 3;
const SEARCHES_MAX: usize = 32;

/// Where a spec is found; some things are only allowed here or there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    Pod,
    Template,
}

/// What containers may refer to.
struct Scope<'a> {
    volumes: HashSet<&'a str>,
    claims: HashSet<&'a str>,
    grace_s: Option<i64>,
    needs_image: bool,
}

pub fn validate(
    check: &mut Check,
    path: Arguments<'_>,
    spec: &Value,
    whose: Whose,
    needs_image: bool,
) {
    let names_in = |field| list(spec, field).map(|(_, it)| text(it, "name")).collect();
    let scope = Scope {
        volumes: names_in("volumes"),
        claims: names_in("resourceClaims"),
        grace_s: int(spec, "terminationGracePeriodSeconds"),
        needs_image,
    };
    volume::validate_all(check, path, spec);
    container::validate_all(check, path, spec, &scope);
    validate_policies(check, path, spec);
    validate_dns(check, path, spec);
    placement::validate(check, path, spec);
    validate_security(check, path, spec);
    if is_true(spec, "hostNetwork") {
        for (index, container) in list(spec, "containers") {
            for (port_index, port) in list(container, "ports") {
                let host = int(port, "hostPort").unwrap_or(0);
                if (whose == Whose::Pod || host != 0) && Some(host) != int(port, "containerPort") {
                    let path =
                        format_args!("{path}.containers[{index}].ports[{port_index}].hostPort");
                    let detail = "must match `containerPort` when `hostNetwork` is true";
                    check.invalid(path, host, detail);
                }
            }
        }
    }
    if let Some(resources) = some(spec, "resources") {
        resources::validate(check, format_args!("{path}.resources"), resources, &scope.claims);
    }
    if whose == Whose::Template && len(spec, "ephemeralContainers") > 0 {
        let detail = "ephemeral containers not allowed in pod template";
        check.forbidden(format_args!("{path}.ephemeralContainers"), detail);
    }
}

fn validate_policies(check: &mut Check, path: Arguments<'_>, spec: &Value) {
    let policies = ["Always", "OnFailure", "Never"];
    check.one_of(format_args!("{path}.restartPolicy"), text(spec, "restartPolicy"), &policies);
    check.not_negative(path, spec, "terminationGracePeriodSeconds");
    if let Some(deadline) = int(spec, "activeDeadlineSeconds") {
        let path = format_args!("{path}.activeDeadlineSeconds");
        check.in_range(path, deadline, 1, i64::from(i32::MAX));
    }
    for (field, rule) in [
        ("serviceAccountName", names::subdomain as fn(&str) -> Option<String>),
        ("nodeName", names::subdomain),
        ("priorityClassName", names::subdomain),
        ("runtimeClassName", names::subdomain),
        ("hostname", names::label),
        ("subdomain", names::label),
    ] {
        check.optional(format_args!("{path}.{field}"), text(spec, field), rule);
    }
    let preemption = text(spec, "preemptionPolicy");
    let supported = ["PreemptLowerPriority", "Never"];
    check.any_of(format_args!("{path}.preemptionPolicy"), preemption, &supported);
    if let Some(os) = some(spec, "os") {
        check.one_of(format_args!("{path}.os.name"), text(os, "name"), &["linux", "windows"]);
    }
    for (index, gate) in list(spec, "readinessGates") {
        let path = format_args!("{path}.readinessGates[{index}].conditionType");
        check.named_key(path, text(gate, "conditionType"));
    }
    let mut gates = HashSet::new();
    for (index, gate) in list(spec, "schedulingGates") {
        let (name, path) = (text(gate, "name"), format_args!("{path}.schedulingGates[{index}]"));
        check.named_key(path, name);
        if !gates.insert(name) {
            check.duplicate(path, name);
        }
    }
}

fn validate_dns(check: &mut Check, path: Arguments<'_>, spec: &Value) {
    let policy = text(spec, "dnsPolicy");
    let policies = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    check.one_of(format_args!("{path}.dnsPolicy"), policy, &policies);
    let config = at(spec, "dnsConfig");
    let path = format_args!("{path}.dnsConfig");
    if policy == "None" {
        if config.is_null() {
            return check.required(path, "must provide `dnsConfig` when `dnsPolicy` is None");
        }
        if len(config, "nameservers") == 0 {
            let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            return check.required(format_args!("{path}.nameservers"), detail);
        }
    }
    for (field, most, what) in [
        ("nameservers", NAMESERVERS_MAX, "nameservers"),
        ("searches", SEARCHES_MAX, "search paths"),
    ] {
        if len(config, field) > most {
            let detail = format!("must not have more than {most} {what}");
            check.invalid(format_args!("{path}.{field}"), at(config, field).clone(), detail);
        }
    }
    for (index, server) in texts(config, "nameservers") {
        check.named(format_args!("{path}.nameservers[{index}]"), server, ip);
    }
    for (index, search) in texts(config, "searches").filter(|(_, search)| *search != ".") {
        let plain = search.strip_suffix('.').unwrap_or(search).replace('_', "-");
        check.optional(
            format_args!("{path}.searches[{index}]"),
            plain.trim_matches('-'),
            names::subdomain,
        );
    }
    for (index, option) in list(config, "options") {
        if text(option, "name").is_empty() {
            check.required(format_args!("{path}.options[{index}]"), "must not be empty");
        }
    }
}

fn validate_security(check: &mut Check, path: Arguments<'_>, spec: &Value) {
    let context = at(spec, "securityContext");
    let context_path = format_args!("{path}.securityContext");
    for field in ["runAsUser", "runAsGroup", "fsGroup"] {
        if let Some(id) = int(context, field) {
            check.in_range(format_args!("{context_path}.{field}"), id, 0, i64::from(i32::MAX));
        }
    }
    for (index, group) in list(context, "supplementalGroups") {
        let id = group.as_i64().unwrap_or(0);
        let path = format_args!("{context_path}.supplementalGroups[{index}]");
        check.in_range(path, id, 0, i64::from(i32::MAX));
    }
    let changes = ["Always", "OnRootMismatch"];
    let change = text(context, "fsGroupChangePolicy");
    check.any_of(format_args!("{context_path}.fsGroupChangePolicy"), change, &changes);
    container::seccomp(check, context_path, context);
    if is_true(spec, "shareProcessNamespace") && is_true(spec, "hostPID") {
        let detail = "ShareProcessNamespace and HostPID cannot both be enabled";
        check.invalid(format_args!("{path}.shareProcessNamespace"), true, detail);
    }
    if spec.get("hostUsers") == Some(&Value::Bool(false)) {
        for (field, shown) in
            [("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")]
        {
            if is_true(spec, field) {
                let detail = "when `pod.Spec.HostUsers` is false";
                check.forbidden(format_args!("{path}.{shown}"), detail);
            }
        }
    }
}

/// The labels, annotations and spec of a template.
pub fn validate_template(check: &mut Check, path: Arguments<'_>, template: &Value) {
    let metadata = at(template, "metadata");
    check.labels(format_args!("{path}.labels"), at(metadata, "labels"));
    for key in map(metadata, "annotations").into_iter().flat_map(serde_json::Map::keys) {
        check.named_key(format_args!("{path}.annotations"), &key.to_lowercase());
    }
    let spec = at(template, "spec");
    validate(check, format_args!("{path}.spec"), spec, Whose::Template, needs_image(spec));
}

/// Our own runtime class runs a program of a package, which is no image.
pub fn needs_image(spec: &Value) -> bool {
    text(spec, "runtimeClassName") != "package"
}

#[cfg(test)]
mod tests;
