//! Volumes of a pod, and where containers see them.

use std::{collections::HashSet, fmt::Arguments};

use serde_json::{Map, Value};

use super::{container, resources};
use crate::{
    kinds::check::{Check, at, int, len, list, map, some, text, texts},
    names,
};

/// What files of the downward API can show.
const FIELDS: [&str; 5] = [
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
];

const HOST_PATHS: [&str; 7] = [
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
];

pub const ACCESS_MODES: [&str; 4] =
    ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

/// Fields that a source cannot do without.
const NEEDED: [(&str, &[&str]); 9] = [
    ("hostPath", &["path"]),
    ("nfs", &["server", "path"]),
    ("configMap", &["name"]),
    ("secret", &["secretName"]),
    ("persistentVolumeClaim", &["claimName"]),
    ("csi", &["driver"]),
    ("iscsi", &["targetPortal", "iqn"]),
    ("azureFile", &["secretName", "shareName"]),
    ("gcePersistentDisk", &["pdName"]),
];

pub(super) fn validate_all(check: &mut Check, path: Arguments<'_>, spec: &Value) {
    let mut seen = HashSet::new();
    for (index, volume) in list(spec, "volumes") {
        let path = format_args!("{path}.volumes[{index}]");
        let name = text(volume, "name");
        check.named(format_args!("{path}.name"), name, names::label);
        if !name.is_empty() && !seen.insert(name) {
            check.duplicate(format_args!("{path}.name"), name);
        }
        let sources = volume.as_object().into_iter().flatten();
        let mut sources = sources.filter(|(key, value)| *key != "name" && !value.is_null());
        match sources.next() {
            None => check.required(path, "must specify a volume type"),
            Some((source, value)) => validate_source(check, path, source, value),
        }
        for (more, _) in sources {
            let detail = "may not specify more than 1 volume type";
            check.forbidden(format_args!("{path}.{more}"), detail);
        }
    }
}

fn validate_source(check: &mut Check, path: Arguments<'_>, source: &str, of: &Value) {
    let path = format_args!("{path}.{source}");
    for (_, fields) in NEEDED.into_iter().filter(|it| it.0 == source) {
        for field in fields {
            check.present(format_args!("{path}.{field}"), text(of, field));
        }
    }
    match source {
        "hostPath" => {
            back_steps(check, format_args!("{path}.path"), text(of, "path"));
            check.any_of(format_args!("{path}.type"), text(of, "type"), &HOST_PATHS);
        }
        "nfs" if !text(of, "path").starts_with('/') && !text(of, "path").is_empty() => {
            let detail = "must be an absolute path";
            check.invalid(format_args!("{path}.path"), text(of, "path"), detail);
        }
        "emptyDir" => {
            if let Some(limit) = some(of, "sizeLimit")
                && resources::quantity(limit).is_none_or(|limit| limit.is_negative())
            {
                let detail = "SizeLimit field must be a valid resource quantity";
                check.forbidden(format_args!("{path}.sizeLimit"), detail);
            }
        }
        "configMap" | "secret" => {
            mode(check, format_args!("{path}.defaultMode"), int(of, "defaultMode"));
            items(check, path, of);
        }
        "downwardAPI" => {
            mode(check, format_args!("{path}.defaultMode"), int(of, "defaultMode"));
            files(check, path, of);
        }
        "projected" => projected(check, path, of),
        "ephemeral" => match some(of, "volumeClaimTemplate") {
            None => check.required(format_args!("{path}.volumeClaimTemplate"), ""),
            Some(template) => {
                let path = format_args!("{path}.volumeClaimTemplate.spec");
                claim_spec(check, path, at(template, "spec"));
            }
        },
        "image" => {
            check.present(format_args!("{path}.reference"), text(of, "reference"));
            let pulls = ["Always", "IfNotPresent", "Never"];
            check.any_of(format_args!("{path}.pullPolicy"), text(of, "pullPolicy"), &pulls);
        }
        _ => {}
    }
}

fn projected(check: &mut Check, path: Arguments<'_>, of: &Value) {
    mode(check, format_args!("{path}.defaultMode"), int(of, "defaultMode"));
    for (index, source) in list(of, "sources") {
        let path = format_args!("{path}.sources[{index}]");
        if source.as_object().is_some_and(|it| it.values().filter(|it| !it.is_null()).count() > 1) {
            check.forbidden(path, "may not specify more than 1 volume type per source");
        }
        for (field, value) in source.as_object().into_iter().flatten() {
            let path = format_args!("{path}.{field}");
            match field.as_str() {
                "configMap" | "secret" => {
                    check.present(format_args!("{path}.name"), text(value, "name"));
                    items(check, path, value);
                }
                "downwardAPI" => files(check, path, value),
                "serviceAccountToken" => {
                    let seconds = int(value, "expirationSeconds").unwrap_or(3600);
                    let expiry = format_args!("{path}.expirationSeconds");
                    if seconds < 600 {
                        let detail = "may not specify a duration less than 10 minutes";
                        check.invalid(expiry, seconds, detail);
                    } else if seconds > 1 << 32 {
                        let detail = "may not specify a duration larger than 2^32 seconds";
                        check.invalid(expiry, seconds, detail);
                    }
                    let file = text(value, "path");
                    check.present(format_args!("{path}.path"), file);
                    local_path(check, format_args!("{path}.path"), file);
                }
                _ => {}
            }
        }
    }
}

fn items(check: &mut Check, path: Arguments<'_>, of: &Value) {
    for (index, item) in list(of, "items") {
        let path = format_args!("{path}.items[{index}]");
        check.present(format_args!("{path}.key"), text(item, "key"));
        let file = text(item, "path");
        check.present(format_args!("{path}.path"), file);
        local_path(check, format_args!("{path}.path"), file);
        mode(check, format_args!("{path}.mode"), int(item, "mode"));
    }
}

fn files(check: &mut Check, path: Arguments<'_>, of: &Value) {
    for (index, item) in list(of, "items") {
        // Kubernetes' own path has no `items` there.
        let path = format_args!("{path}[{index}]");
        let file = text(item, "path");
        check.present(format_args!("{path}.path"), file);
        local_path(check, format_args!("{path}.path"), file);
        mode(check, format_args!("{path}.mode"), int(item, "mode"));
        match (some(item, "fieldRef"), some(item, "resourceFieldRef")) {
            (Some(field), None) => {
                container::validate_field(check, format_args!("{path}.fieldRef"), field, &FIELDS);
            }
            (None, Some(field)) => {
                let path = format_args!("{path}.resourceFieldRef");
                check.present(format_args!("{path}.containerName"), text(field, "containerName"));
            }
            (Some(_), Some(_)) => {
                let detail = "fieldRef and resourceFieldRef can not be specified simultaneously";
                check.invalid(path, "resource", detail);
            }
            (None, None) => {
                check.required(path, "one of fieldRef and resourceFieldRef is required");
            }
        }
    }
}

fn mode(check: &mut Check, path: Arguments<'_>, mode: Option<i64>) {
    if let Some(mode) = mode
        && !(0..=0o777).contains(&mode)
    {
        let detail = "must be a number between 0 and 0777 (octal), both inclusive";
        check.invalid(path, mode, detail);
    }
}

fn back_steps(check: &mut Check, path: Arguments<'_>, file: &str) {
    if file.split('/').any(|part| part == "..") {
        check.invalid(path, file, "must not contain '..'");
    }
}

fn local_path(check: &mut Check, path: Arguments<'_>, file: &str) {
    if file.starts_with('/') {
        check.invalid(path, file, "must be a relative path");
    }
    back_steps(check, path, file);
    if file.starts_with("..") && !file.starts_with("../") && file != ".." {
        check.invalid(path, file, "must not start with '..'");
    }
}

pub(super) fn validate_mounts(
    check: &mut Check,
    path: Arguments<'_>,
    container: &Value,
    volumes: &HashSet<&str>,
) {
    let mut seen = HashSet::new();
    for (index, mount) in list(container, "volumeMounts") {
        let path = format_args!("{path}.volumeMounts[{index}]");
        let (name, place) = (text(mount, "name"), text(mount, "mountPath"));
        check.present(format_args!("{path}.name"), name);
        if !name.is_empty() && !volumes.contains(name) {
            check.not_found(format_args!("{path}.name"), name);
        }
        check.present(format_args!("{path}.mountPath"), place);
        if !seen.insert(place) {
            check.invalid(format_args!("{path}.mountPath"), place, "must be unique");
        }
        local_path(check, format_args!("{path}.subPath"), text(mount, "subPath"));
        let expression = text(mount, "subPathExpr");
        if !expression.is_empty() && !text(mount, "subPath").is_empty() {
            let detail = "subPathExpr and subPath are mutually exclusive";
            check.invalid(format_args!("{path}.subPathExpr"), expression, detail);
        }
        let supported = ["Bidirectional", "HostToContainer", "None"];
        let propagation = text(mount, "mountPropagation");
        check.any_of(format_args!("{path}.mountPropagation"), propagation, &supported);
    }
    let mut devices = HashSet::new();
    for (index, device) in list(container, "volumeDevices") {
        let path = format_args!("{path}.volumeDevices[{index}]");
        let (name, place) = (text(device, "name"), text(device, "devicePath"));
        check.present(format_args!("{path}.name"), name);
        if !name.is_empty() && !volumes.contains(name) {
            check.not_found(format_args!("{path}.name"), name);
        }
        check.present(format_args!("{path}.devicePath"), place);
        if !devices.insert(place) || seen.contains(place) {
            check.invalid(format_args!("{path}.devicePath"), place, "must be unique");
        }
    }
}

/// `core/v1.PersistentVolumeClaimSpec`.
pub fn claim_spec(check: &mut Check, path: Arguments<'_>, spec: &Value) {
    if len(spec, "accessModes") == 0 {
        check.required(format_args!("{path}.accessModes"), "at least 1 access mode is required");
    }
    for (_, mode) in texts(spec, "accessModes") {
        check.any_of(format_args!("{path}.accessModes"), mode, &ACCESS_MODES);
    }
    if len(spec, "accessModes") > 1
        && texts(spec, "accessModes").any(|it| it.1 == "ReadWriteOncePod")
    {
        let detail = "may not use ReadWriteOncePod with other access modes";
        check.forbidden(format_args!("{path}.accessModes"), detail);
    }
    check.selector(format_args!("{path}.selector"), at(spec, "selector"));
    let empty = Map::new();
    let requests = map(at(spec, "resources"), "requests").unwrap_or(&empty);
    let storage_path = format_args!("{path}.resources[storage]");
    match requests.get("storage") {
        None => check.required(storage_path, ""),
        Some(storage) => match resources::quantity(storage) {
            Some(amount) if amount.nanos() > 0 => {}
            Some(_) => check.invalid(storage_path, storage.clone(), "must be greater than zero"),
            None => resources::quantities(
                check,
                format_args!("{path}.resources.requests"),
                at(at(spec, "resources"), "requests"),
            ),
        },
    }
    let class = format_args!("{path}.storageClassName");
    check.optional(class, text(spec, "storageClassName"), names::subdomain);
    let modes = ["Block", "Filesystem"];
    check.any_of(format_args!("{path}.volumeMode"), text(spec, "volumeMode"), &modes);
}
