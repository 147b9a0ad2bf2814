//! Columns of Kubernetes' kinds, as kubectl's users know them.

use serde_json::Value;

use super::{AGE, Column, NAME, Row, integer, text, wide};
use crate::object;

pub const NAMESPACE: &[Column] =
    &[NAME, text("Status", |row| row.text_or_none("/status/phase")), AGE];

pub const CONFIG_MAP: &[Column] =
    &[NAME, integer("Data", |row| (row.keys("/data") + row.keys("/binaryData")).into()), AGE];

pub const LEASE: &[Column] =
    &[NAME, text("Holder", |row| row.text("/spec/holderIdentity").into()), AGE];

pub const EVENT: &[Column] = &[
    text("Last Seen", |row| {
        let series = row.text("/series/lastObservedTime");
        let pointer = match (series, row.text("/lastTimestamp")) {
            ("", "") => "/eventTime",
            ("", _) => "/lastTimestamp",
            _ => "/series/lastObservedTime",
        };
        row.since(pointer).into()
    }),
    text("Type", |row| row.text("/type").into()),
    text("Reason", |row| row.text("/reason").into()),
    text("Object", |row| {
        let kind = row.text("/involvedObject/kind").to_lowercase();
        format!("{kind}/{}", row.text("/involvedObject/name")).into()
    }),
    wide("Source", |row| row.text("/source/component").into()),
    text("Message", |row| row.text("/message").trim().into()),
    wide("Count", |row| row.number("/count").max(1).to_string().into()),
    Column { wide: true, ..NAME },
];

pub const NODE: &[Column] = &[
    NAME,
    text("Status", node_status),
    text("Roles", node_roles),
    AGE,
    text("Version", |row| row.text("/status/nodeInfo/kubeletVersion").into()),
    wide("Internal-IP", |row| node_address(row, "InternalIP")),
    wide("External-IP", |row| node_address(row, "ExternalIP")),
    wide("OS-Image", |row| row.text("/status/nodeInfo/osImage").into()),
    wide("Kernel-Version", |row| row.text("/status/nodeInfo/kernelVersion").into()),
    wide("Container-Runtime", |row| row.text("/status/nodeInfo/containerRuntimeVersion").into()),
];

pub const POD: &[Column] = &[
    NAME,
    text("Ready", |row| {
        let statuses = row.list("/status/containerStatuses");
        let ready = statuses.iter().filter(|status| status["ready"] == true).count();
        format!("{ready}/{}", row.list("/spec/containers").len()).into()
    }),
    text("Status", |row| pod_status(row).into()),
    text("Restarts", pod_restarts),
    AGE,
    wide("IP", |row| row.text_or_none("/status/podIP")),
    wide("Node", |row| row.text_or_none("/spec/nodeName")),
    wide("Nominated Node", |row| row.text_or_none("/status/nominatedNodeName")),
    wide("Readiness Gates", |row| {
        let gates = row.list("/spec/readinessGates");
        if gates.is_empty() {
            return "<none>".into();
        }
        let met = |gate: &&Value| {
            let is = |one: &Value| one["type"] == gate["conditionType"] && one["status"] == "True";
            row.list("/status/conditions").iter().any(is)
        };
        format!("{}/{}", gates.iter().filter(met).count(), gates.len()).into()
    }),
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

fn node_address(row: &Row<'_>, kind: &str) -> Value {
    let found = row.list("/status/addresses").iter().find(|address| address["type"] == kind);
    found.and_then(|address| address["address"].as_str()).unwrap_or("<none>").into()
}

/// The one word for a pod: what its worst container waits for or died of,
/// else its phase.
fn pod_status(row: &Row<'_>) -> String {
    if object::is_deleting(row.object) {
        return match row.text("/status/reason") {
            "NodeLost" => "Unknown".into(),
            _ => "Terminating".into(),
        };
    }
    let initialising = row.list("/status/initContainerStatuses").iter().find_map(|status| {
        let state = &status["state"];
        let done = state["terminated"]["exitCode"] == 0;
        let why = reason(state).filter(|why| *why != "PodInitializing");
        (!done).then(|| why.map_or_else(|| "Init".to_owned(), |why| format!("Init:{why}")))
    });
    if let Some(initialising) = initialising {
        return initialising;
    }
    let statuses = row.list("/status/containerStatuses");
    let waiting = statuses.iter().find_map(|status| reason(&status["state"]));
    let fallback = match (row.text("/status/reason"), row.text("/status/phase")) {
        ("", "") => "Unknown",
        ("", phase) => phase,
        (reason, _) => reason,
    };
    let running = statuses.iter().any(|status| status["state"].get("running").is_some());
    match waiting {
        Some("Completed") if running => "Running".into(),
        Some(why) => why.into(),
        None => fallback.into(),
    }
}

/// Why a container does not run.
fn reason(state: &Value) -> Option<&str> {
    let waiting = state["waiting"]["reason"].as_str();
    let terminated = state["terminated"].as_object().map(|terminated| {
        match terminated.get("reason").and_then(Value::as_str) {
            Some(reason) if !reason.is_empty() => reason,
            _ => "Error",
        }
    });
    waiting.or(terminated)
}

fn pod_restarts(row: &Row<'_>) -> Value {
    let statuses = row.list("/status/containerStatuses");
    let restarts: i64 = statuses.iter().filter_map(|status| status["restartCount"].as_i64()).sum();
    let last = statuses
        .iter()
        .filter_map(|status| status["lastState"]["terminated"]["finishedAt"].as_str())
        .filter_map(object::parse_timestamp)
        .max();
    match last {
        Some(at) if restarts > 0 => {
            format!("{restarts} ({} ago)", super::duration::human(row.now - at)).into()
        }
        _ => restarts.to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pods_status_is_the_word_that_matters_most() {
        let check = |pod: Value, expected: &str| {
            let row = Row { object: &pod, now: object::now() };
            assert_eq!(pod_status(&row), expected, "{pod}");
        };
        let container = |state: Value| json!({"status": {"phase": "Running", "containerStatuses": [{"state": state}]}});
        check(json!({"status": {"phase": "Pending"}}), "Pending");
        check(container(json!({"running": {}})), "Running");
        check(container(json!({"waiting": {"reason": "CrashLoopBackOff"}})), "CrashLoopBackOff");
        check(container(json!({"terminated": {"exitCode": 1}})), "Error");
        check(
            json!({"metadata": {"deletionTimestamp": "x"}, "status": {"phase": "Running"}}),
            "Terminating",
        );
        check(json!({}), "Unknown");
    }
}
