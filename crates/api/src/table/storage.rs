//! Columns of volumes and what brings them.

use serde_json::Value;

use super::{AGE, Column, NAME, Row, lists, text, truth, wide};
use crate::object;

pub const PERSISTENT_VOLUME: &[Column] = &[
    NAME,
    text("Capacity", |row| row.text("/spec/capacity/storage").into()),
    text("Access Modes", |row| access_modes(row, "/spec/accessModes").into()),
    text("Reclaim Policy", |row| row.text("/spec/persistentVolumeReclaimPolicy").into()),
    text("Status", phase),
    text("Claim", |row| {
        let part = |name: &str| row.text(&format!("/spec/claimRef/{name}"));
        match (part("namespace"), part("name")) {
            (_, "") => "".into(),
            (namespace, name) => format!("{namespace}/{name}").into(),
        }
    }),
    text("StorageClass", class),
    text("VolumeAttributesClass", attributes_class),
    text("Reason", |row| row.text("/status/reason").into()),
    AGE,
    wide("VolumeMode", |row| lists::shown(row, "/spec/volumeMode", "<unset>")),
];

pub const CLAIM: &[Column] = &[
    NAME,
    text("Status", phase),
    text("Volume", |row| row.text("/spec/volumeName").into()),
    text("Capacity", |row| match row.text("/spec/volumeName") {
        "" => "".into(),
        _ => row.text("/status/capacity/storage").into(),
    }),
    text("Access Modes", |row| match row.text("/spec/volumeName") {
        "" => "".into(),
        _ => access_modes(row, "/status/accessModes").into(),
    }),
    text("StorageClass", class),
    text("VolumeAttributesClass", attributes_class),
    AGE,
    wide("VolumeMode", |row| lists::shown(row, "/spec/volumeMode", "<unset>")),
];

const DEFAULT_CLASS: &str = "/metadata/annotations/storageclass.kubernetes.io~1is-default-class";

pub const STORAGE_CLASS: &[Column] = &[
    Column {
        cell: |row| {
            let name = row.text("/metadata/name");
            match row.text(DEFAULT_CLASS) {
                "true" => format!("{name} (default)").into(),
                _ => name.into(),
            }
        },
        ..NAME
    },
    text("Provisioner", |row| row.text("/provisioner").into()),
    text("ReclaimPolicy", |row| lists::shown(row, "/reclaimPolicy", "Delete")),
    text("VolumeBindingMode", |row| lists::shown(row, "/volumeBindingMode", "Immediate")),
    text("AllowVolumeExpansion", |row| lists::shown(row, "/allowVolumeExpansion", "false")),
    AGE,
];

pub const ATTRIBUTES_CLASS: &[Column] =
    &[NAME, text("DriverName", |row| row.text("/driverName").into()), AGE];

pub const ATTACHMENT: &[Column] = &[
    NAME,
    text("Attacher", |row| row.text("/spec/attacher").into()),
    text("PV", |row| row.text("/spec/source/persistentVolumeName").into()),
    text("Node", |row| row.text("/spec/nodeName").into()),
    text("Attached", |row| lists::shown(row, "/status/attached", "false")),
    AGE,
];

pub const CSI_DRIVER: &[Column] = &[
    NAME,
    truth("AttachRequired", |row| row.is("/spec/attachRequired").unwrap_or(true).into()),
    truth("PodInfoOnMount", |row| row.is("/spec/podInfoOnMount").unwrap_or(false).into()),
    truth("StorageCapacity", |row| row.is("/spec/storageCapacity").unwrap_or(false).into()),
    text("TokenRequests", |row| {
        let audience = |one: &Value| one["audience"].as_str().unwrap_or_default().to_owned();
        let all: Vec<String> = row.list("/spec/tokenRequests").iter().map(audience).collect();
        if all.is_empty() { "<unset>".into() } else { all.join(",").into() }
    }),
    truth("RequiresRepublish", |row| row.is("/spec/requiresRepublish").unwrap_or(false).into()),
    text("Modes", |row| lists::joined(row, "/spec/volumeLifecycleModes")),
    AGE,
];

pub const CSI_NODE: &[Column] =
    &[NAME, super::integer("Drivers", |row| row.list("/spec/drivers").len().into()), AGE];

pub const CSI_CAPACITY: &[Column] = &[
    NAME,
    text("StorageClassName", |row| row.text("/storageClassName").into()),
    text("Capacity", |row| lists::shown(row, "/capacity", "<unset>")),
];

fn phase(row: &Row<'_>) -> Value {
    match object::is_deleting(row.object) {
        true => "Terminating".into(),
        false => row.text("/status/phase").into(),
    }
}

/// By annotation before there was a field for it.
fn class(row: &Row<'_>) -> Value {
    match row.text("/metadata/annotations/volume.beta.kubernetes.io~1storage-class") {
        "" => row.text("/spec/storageClassName").into(),
        class => class.into(),
    }
}

fn attributes_class(row: &Row<'_>) -> Value {
    lists::shown(row, "/spec/volumeAttributesClassName", "<unset>")
}

fn access_modes(row: &Row<'_>, pointer: &str) -> String {
    let short = [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ];
    let modes = row.list(pointer);
    let has = |(long, _): &&(&str, &str)| modes.iter().any(|mode| mode == long);
    let shown: Vec<&str> = short.iter().filter(has).map(|(_, short)| *short).collect();
    shown.join(",")
}
