//! Kinds with a rule or two each.

use resources::FieldError;
use serde_json::Value;

use super::{
    check::{Check, IMMUTABLE, at, config_key, int, is_true, len, same, some, text},
    secret::{DATA_BYTES_MAX, immutable},
};
use crate::{
    caller::Caller,
    names,
    object::{self, set_default},
};

/// Kubernetes signs nothing for a shorter time.
const SIGNED_S_MIN: i64 = 600;

/// The old field for one network goes with the new one for several, and what
/// nobody reserves can be used.
pub fn default_node(node: &mut Value) {
    if let Some(spec) = node.get_mut("spec").and_then(Value::as_object_mut)
        && let Some(network) = spec.get("podCIDR").filter(|it| it.as_str() != Some("")).cloned()
    {
        set_default(spec, "podCIDRs", vec![network]);
    }
    if let Some(status) = node.get_mut("status").and_then(Value::as_object_mut)
        && let Some(capacity) = status.get("capacity").cloned()
    {
        set_default(status, "allocatable", capacity);
    }
}

pub fn validate_node(node: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for pointer in ["/spec", "/status"] {
        if node.pointer(pointer).is_some_and(|part| !part.is_object()) {
            errors.push(FieldError::invalid(&pointer[1..], "", "must be an object"));
        }
    }
    errors
}

pub fn validate_lease(lease: &Value) -> Vec<FieldError> {
    let (mut check, spec) = (Check::default(), at(lease, "spec"));
    if let Some(seconds) = int(spec, "leaseDurationSeconds").filter(|seconds| *seconds <= 0) {
        check.invalid(format_args!("spec.leaseDurationSeconds"), seconds, "must be greater than 0");
    }
    check.not_negative(format_args!("spec"), spec, "leaseTransitions");
    check.into_errors()
}

pub fn validate_config_map(map: &Value) -> Vec<FieldError> {
    let mut check = Check::default();
    let mut bytes = 0;
    for field in ["data", "binaryData"] {
        for (key, value) in map[field].as_object().into_iter().flatten() {
            bytes += value.as_str().map_or(0, str::len) as u64;
            if let Some(why) = config_key(key) {
                check.invalid(format_args!("{field}[{key}]"), key.as_str(), why);
            }
            if field == "binaryData" && map["data"].get(key).is_some() {
                check.invalid(
                    format_args!("data[{key}]"),
                    key.as_str(),
                    format!("duplicate of key present in {field}"),
                );
            }
        }
    }
    if bytes > DATA_BYTES_MAX {
        check.add(FieldError::too_long("", DATA_BYTES_MAX));
    }
    check.into_errors()
}

pub fn validate_config_map_update(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut check = Check::default();
    immutable(&mut check, new, old, &["data", "binaryData"]);
    check.into_errors()
}

/// A request for a certificate is never changed: what was approved is signed.
/// Whom a certificate would speak for is nobody's to say but the server's:
/// controllers approve and sign by it.
pub fn signing_asked_by(request: &mut Value, caller: &Caller) {
    let spec = object::child(request, "spec");
    for field in ["username", "uid", "groups", "extra"] {
        spec.remove(field);
    }
    spec.insert("username".into(), caller.name.as_str().into());
    if !caller.uid.is_empty() {
        spec.insert("uid".into(), caller.uid.as_str().into());
    }
    spec.insert("groups".into(), caller.groups.clone().into());
    if !caller.extra.is_empty() {
        let extra = caller.extra.iter().map(|(key, values)| (key.clone(), values.clone().into()));
        spec.insert("extra".into(), Value::Object(extra.collect()));
    }
}

pub fn validate_signing(request: &Value) -> Vec<FieldError> {
    let (mut check, spec) = (Check::default(), at(request, "spec"));
    check.present(format_args!("spec.request"), text(spec, "request"));
    if len(spec, "usages") == 0 {
        check.required(format_args!("spec.usages"), "");
    }
    let signer = text(spec, "signerName");
    check.named(format_args!("spec.signerName"), signer, |name| match name.split_once('/') {
        None => Some(
            "must be a fully qualified domain and path of the form 'example.com/signer-name'"
                .to_owned(),
        ),
        Some((domain, _)) => names::subdomain(domain),
    });
    if let Some(seconds) = int(spec, "expirationSeconds").filter(|seconds| *seconds < SIGNED_S_MIN)
    {
        let detail =
            format!("may not specify a duration less than {SIGNED_S_MIN} seconds (10 minutes)");
        check.invalid(format_args!("spec.expirationSeconds"), seconds, detail);
    }
    check.into_errors()
}

pub fn validate_signing_update(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut check = Check::default();
    if !same(at(new, "spec"), at(old, "spec")) {
        check.invalid(format_args!("spec"), at(new, "spec").clone(), IMMUTABLE);
    }
    check.into_errors()
}

/// An APIService is named after what it serves.
pub fn validate_api_service(service: &Value) -> Vec<FieldError> {
    let (mut check, spec) = (Check::default(), at(service, "spec"));
    let (version, group) = (text(spec, "version"), text(spec, "group"));
    let (name, wanted) = (object::name(service), format!("{version}.{group}"));
    if name != wanted {
        let detail = format!("must be `spec.version+\".\"+spec.group`: {wanted:?}");
        check.invalid(format_args!("metadata.name"), name, detail);
    }
    check.named(format_args!("spec.group"), group, names::subdomain);
    check.named(format_args!("spec.version"), version, names::label_1035);
    let priorities = [("groupPriorityMinimum", 20_000), ("versionPriority", 1000)];
    for (field, most) in priorities {
        let number = int(spec, field).unwrap_or(0);
        if !(1..=most).contains(&number) {
            let detail = format!("must be positive and less than {most}");
            check.invalid(format_args!("spec.{field}"), number, detail);
        }
    }
    if let Some(of) = some(spec, "service") {
        check.present(format_args!("spec.service.namespace"), text(of, "namespace"));
        check.present(format_args!("spec.service.name"), text(of, "name"));
        let unsafe_ = is_true(spec, "insecureSkipTLSVerify");
        if unsafe_ && !text(spec, "caBundle").is_empty() {
            let detail = "may not be true if caBundle is present";
            check.invalid(format_args!("spec.insecureSkipTLSVerify"), true, detail);
        }
    }
    check.into_errors()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_certificate_is_asked_for_by_whoever_asks() {
        let caller = Caller::user("anna", ["builders".to_owned()]);
        let mut request = json!({"spec": {"request": "eA==", "username": "system:node:n1",
            "uid": "7", "groups": ["system:nodes"], "extra": {"a": ["b"]}}});
        signing_asked_by(&mut request, &caller);
        let expected = json!({"request": "eA==", "username": "anna",
            "groups": ["builders", "system:authenticated"]});
        assert_eq!(request["spec"], expected);
    }

    #[test]
    fn what_a_node_has_it_can_give() {
        let mut node =
            json!({"spec": {"podCIDR": "10.0.0.0/24"}, "status": {"capacity": {"cpu": "4"}}});
        default_node(&mut node);
        assert_eq!(node["spec"]["podCIDRs"], json!(["10.0.0.0/24"]));
        assert_eq!(node["status"]["allocatable"], json!({"cpu": "4"}));
        let once = node.clone();
        default_node(&mut node);
        assert_eq!(node, once);
    }
}
