//! Columns of Kubernetes' kinds, as kubectl's users know them.

use serde_json::Value;

use super::{AGE, Column, NAME, Row, text, wide};

pub const NAMESPACE: &[Column] =
    &[NAME, text("Status", |row| row.text_or_none("/status/phase")), AGE];

pub const CONFIG_MAP: &[Column] =
    &[NAME, text("Data", |row| (row.keys("/data") + row.keys("/binaryData")).into()), AGE];

pub const LEASE: &[Column] =
    &[NAME, text("Holder", |row| row.text("/spec/holderIdentity").into()), AGE];

pub const NODE: &[Column] = &[
    NAME,
    text("Status", node_status),
    text("Roles", node_roles),
    AGE,
    text("Version", |row| row.text("/status/nodeInfo/kubeletVersion").into()),
    wide("Internal-IP", |row| node_address(row, "InternalIP")),
    wide("External-IP", |row| node_address(row, "ExternalIP")),
    wide("OS-Image", |row| node_info(row, "osImage")),
    wide("Kernel-Version", |row| node_info(row, "kernelVersion")),
    wide("Container-Runtime", |row| node_info(row, "containerRuntimeVersion")),
];

fn node_status(row: &Row<'_>) -> Value {
    let conditions = row.list("/status/conditions");
    let ready = conditions.iter().find(|condition| condition["type"] == "Ready");
    let mut status = match ready.and_then(|ready| ready["status"].as_str()) {
        Some("True") => "Ready".to_owned(),
        Some(_) => "NotReady".to_owned(),
        None => "Unknown".to_owned(),
    };
    if row.object.pointer("/spec/unschedulable") == Some(&Value::Bool(true)) {
        status.push_str(",SchedulingDisabled");
    }
    status.into()
}

fn node_roles(row: &Row<'_>) -> Value {
    let labels = row.object.pointer("/metadata/labels").and_then(Value::as_object);
    let roles: Vec<&str> = labels
        .into_iter()
        .flatten()
        .filter_map(|(key, _)| key.strip_prefix("node-role.kubernetes.io/"))
        .collect();
    if roles.is_empty() { "<none>".into() } else { roles.join(",").into() }
}

fn node_info(row: &Row<'_>, name: &str) -> Value {
    match row.text(&format!("/status/nodeInfo/{name}")) {
        "" => "<unknown>".into(),
        text => text.into(),
    }
}

fn node_address(row: &Row<'_>, kind: &str) -> Value {
    let found = row.list("/status/addresses").iter().find(|address| address["type"] == kind);
    found.and_then(|address| address["address"].as_str()).unwrap_or("<none>").into()
}
