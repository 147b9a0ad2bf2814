//! Claims, volumes and the classes they come from.

use resources::FieldError;
use serde_json::{Value, json};

use super::{
    check::{Check, at, len, list, same, some, text, texts},
    pod_spec::{claim_spec, quantities, quantity},
};
use crate::{
    names,
    object::{self, timestamp},
    resource::Rules,
};

pub const CLAIM: Rules = Rules {
    create: pending,
    validate: validate_claim,
    validate_update: update_claim,
    ..Rules::NONE
};

pub const VOLUME: Rules = Rules {
    create: pending_since,
    validate: validate_volume,
    validate_update: update_volume,
    ..Rules::NONE
};

pub const CLASS: Rules =
    Rules { validate: validate_class, validate_update: update_class, ..Rules::NONE };

/// Fields of a volume that do not say where it is.
const NO_SOURCES: [&str; 9] = [
    "capacity",
    "accessModes",
    "claimRef",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "mountOptions",
    "volumeMode",
    "nodeAffinity",
    "volumeAttributesClassName",
];

const MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

fn pending(object: &mut Value) {
    object["status"] = json!({"phase": "Pending"});
}

fn pending_since(object: &mut Value) {
    pending(object);
    object["status"]["lastPhaseTransitionTime"] = timestamp(object::now()).into();
}

fn validate_claim(claim: &Value) -> Vec<FieldError> {
    let mut check = Check::default();
    claim_spec(&mut check, format_args!("spec"), at(claim, "spec"));
    check.into_errors()
}

/// A claim is a promise; only its size and its class of service move.
fn update_claim(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut check = Check::default();
    let bound = text(at(old, "status"), "phase") == "Bound";
    let (new, previous) = (at(new, "spec"), at(old, "spec"));
    let frame = |spec: &Value| {
        let mut spec = spec.clone();
        let Some(map) = spec.as_object_mut() else { return spec };
        if text(previous, "volumeName").is_empty() {
            map.remove("volumeName");
        }
        if some(previous, "storageClassName").is_none() {
            map.remove("storageClassName");
        }
        if bound {
            map.remove("volumeAttributesClassName");
            map.remove("resources");
        }
        spec
    };
    if !same(&frame(new), &frame(previous)) {
        check.forbidden(
            format_args!("spec"),
            "spec is immutable after creation except resources.requests and \
             volumeAttributesClassName for bound claims",
        );
    }
    let size = |of: &Value| of.pointer("/resources/requests/storage").and_then(quantity);
    let capacity = old.pointer("/status/capacity/storage").and_then(quantity);
    if let (Some(now), Some(before)) = (size(new), size(previous))
        && now < before
        && capacity.is_none_or(|capacity| now <= capacity)
    {
        let path = format_args!("spec.resources.requests.storage");
        check.forbidden(path, "field can not be less than status.capacity");
    }
    check.into_errors()
}

fn sources(spec: &Value) -> impl Iterator<Item = (&String, &Value)> {
    let fields = spec.as_object().into_iter().flatten();
    fields.filter(|(key, value)| !NO_SOURCES.contains(&key.as_str()) && !value.is_null())
}

fn validate_volume(volume: &Value) -> Vec<FieldError> {
    let (mut check, spec) = (Check::default(), at(volume, "spec"));
    if len(spec, "accessModes") == 0 {
        check.required(format_args!("spec.accessModes"), "");
    }
    for (_, mode) in texts(spec, "accessModes") {
        check.any_of(format_args!("spec.accessModes"), mode, &MODES);
    }
    let capacity = at(spec, "capacity");
    match capacity.get("storage").map(quantity) {
        None if len(spec, "capacity") == 0 => check.required(format_args!("spec.capacity"), ""),
        Some(Some(amount)) if amount.nanos() > 0 => {}
        Some(Some(_)) => {
            let value = at(capacity, "storage").clone();
            check.invalid(
                format_args!("spec.capacity[storage]"),
                value,
                "must be greater than zero",
            );
        }
        _ => {
            let error = FieldError::unsupported("spec.capacity", capacity, ["storage"]);
            check.add(error);
        }
    }
    quantities(&mut check, format_args!("spec.capacity"), capacity);
    let policies = ["Delete", "Recycle", "Retain"];
    let policy = text(spec, "persistentVolumeReclaimPolicy");
    check.any_of(format_args!("spec.persistentVolumeReclaimPolicy"), policy, &policies);
    let mut all = sources(spec);
    if all.next().is_none() {
        check.required(format_args!("spec"), "must specify a volume type");
    }
    for (more, _) in all {
        let detail = "may not specify more than 1 volume type";
        check.forbidden(format_args!("spec.{more}"), detail);
    }
    if let Some(local) = some(spec, "local") {
        check.present(format_args!("spec.local.path"), text(local, "path"));
        if some(spec, "nodeAffinity").is_none() {
            let detail = "Local volume requires node affinity";
            check.required(format_args!("spec.nodeAffinity"), detail);
        }
    }
    if let Some(csi) = some(spec, "csi") {
        check.present(format_args!("spec.csi.driver"), text(csi, "driver"));
        check.present(format_args!("spec.csi.volumeHandle"), text(csi, "volumeHandle"));
    }
    if let Some(host) = some(spec, "hostPath") {
        check.present(format_args!("spec.hostPath.path"), text(host, "path"));
    }
    let class = text(spec, "storageClassName");
    check.optional(format_args!("spec.storageClassName"), class, names::subdomain);
    check.into_errors()
}

fn update_volume(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut check = Check::default();
    let (new, old) = (at(new, "spec"), at(old, "spec"));
    let frame = |spec: &Value| -> Value {
        sources(spec).map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    if !same(&frame(new), &frame(old)) {
        let detail = "spec.persistentvolumesource is immutable after creation";
        check.forbidden(format_args!("spec.persistentvolumesource"), detail);
    }
    check.unchanged(format_args!("spec.volumeMode"), at(new, "volumeMode"), at(old, "volumeMode"));
    if some(old, "nodeAffinity").is_some() {
        let affinity = |spec| at(spec, "nodeAffinity");
        check.unchanged(format_args!("spec.nodeAffinity"), affinity(new), affinity(old));
    }
    check.into_errors()
}

fn validate_class(class: &Value) -> Vec<FieldError> {
    let mut check = Check::default();
    check.named(format_args!("provisioner"), text(class, "provisioner"), |name| {
        names::label_key(&name.to_lowercase())
    });
    let policies = ["Delete", "Retain"];
    check.any_of(format_args!("reclaimPolicy"), text(class, "reclaimPolicy"), &policies);
    let modes = ["Immediate", "WaitForFirstConsumer"];
    check.one_of(format_args!("volumeBindingMode"), text(class, "volumeBindingMode"), &modes);
    for (index, term) in list(class, "allowedTopologies") {
        for (inner, it) in list(term, "matchLabelExpressions") {
            let path = format_args!("allowedTopologies[{index}].matchLabelExpressions[{inner}]");
            check.named_key(format_args!("{path}.key"), text(it, "key"));
            if len(it, "values") == 0 {
                check.required(format_args!("{path}.values"), "");
            }
        }
    }
    check.into_errors()
}

fn update_class(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut check = Check::default();
    if !same(at(new, "parameters"), at(old, "parameters")) {
        check.forbidden(format_args!("parameters"), "updates to parameters are forbidden.");
    }
    if text(new, "provisioner") != text(old, "provisioner") {
        check.forbidden(format_args!("provisioner"), "updates to provisioner are forbidden.");
    }
    if text(new, "reclaimPolicy") != text(old, "reclaimPolicy") {
        check.forbidden(format_args!("reclaimPolicy"), "updates to reclaimPolicy are forbidden.");
    }
    let field = "volumeBindingMode";
    check.unchanged(format_args!("{field}"), at(new, field), at(old, field));
    check.into_errors()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim() -> Value {
        json!({"spec": {"accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}}}})
    }

    #[test]
    fn a_claim_says_how_much_and_how() {
        assert!(validate_claim(&claim()).is_empty());
        let errors = validate_claim(&json!({"spec": {}}));
        let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            errors,
            [
                "spec.accessModes: Required value: at least 1 access mode is required",
                "spec.resources[storage]: Required value"
            ]
        );
    }

    #[test]
    fn a_bound_claim_grows() {
        let mut old = claim();
        let mut new = claim();
        new["spec"]["resources"]["requests"]["storage"] = "2Gi".into();
        assert_eq!(update_claim(&new, &old).len(), 1);
        old["status"] = json!({"phase": "Bound", "capacity": {"storage": "1Gi"}});
        assert!(update_claim(&new, &old).is_empty());
        new["spec"]["resources"]["requests"]["storage"] = "1Mi".into();
        assert_eq!(
            update_claim(&new, &old)[0].to_string(),
            "spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"
        );
    }

    #[test]
    fn a_volume_is_in_one_place() {
        let volume = json!({"spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"},
            "hostPath": {"path": "/d"}}});
        assert!(validate_volume(&volume).is_empty() && update_volume(&volume, &volume).is_empty());
        let mut other = volume.clone();
        other["spec"]["nfs"] = json!({"server": "s", "path": "/"});
        assert_eq!((validate_volume(&other).len(), update_volume(&other, &volume).len()), (1, 1));
        other["spec"] = json!({"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}});
        assert_eq!(
            validate_volume(&other)[0].to_string(),
            "spec: Required value: must specify a volume type"
        );
    }

    #[test]
    fn a_class_stays_what_it_is() {
        let class = json!({"provisioner": "a.b/c", "volumeBindingMode": "Immediate",
            "reclaimPolicy": "Delete", "parameters": {"a": "b"}});
        assert!(validate_class(&class).is_empty() && update_class(&class, &class).is_empty());
        let mut other = class.clone();
        other["parameters"]["a"] = "c".into();
        other["provisioner"] = "".into();
        assert_eq!((validate_class(&other).len(), update_class(&other, &class).len()), (1, 2));
    }
}
