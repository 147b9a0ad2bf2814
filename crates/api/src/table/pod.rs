//! Columns of pods, and the one word that says how a pod is.

use serde_json::Value;
use time::OffsetDateTime;

use super::{AGE, Column, NAME, Row, duration, text, wide};
use crate::object;

pub const POD: &[Column] = &[
    NAME,
    text("Ready", |row| {
        let State { ready, total, .. } = state(row);
        format!("{ready}/{total}").into()
    }),
    text("Status", |row| state(row).word.into()),
    text("Restarts", |row| {
        let State { restarts, last, .. } = state(row);
        match last {
            Some(at) if restarts > 0 => {
                format!("{restarts} ({} ago)", duration::human(row.now - at)).into()
            }
            _ => restarts.to_string().into(),
        }
    }),
    AGE,
    wide("IP", |row| match row.text("/status/podIPs/0/ip") {
        "" => row.text_or_none("/status/podIP"),
        ip => ip.into(),
    }),
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

struct State {
    word: String,
    ready: usize,
    total: usize,
    restarts: i64,
    /// When a container last ended and was started again.
    last: Option<OffsetDateTime>,
}

/// The worst container's reason, else the pod's, else its phase. Containers of
/// the beginning that run on beside the others (`restartPolicy: Always`) count
/// as others do.
fn state(row: &Row<'_>) -> State {
    let beginning = row.list("/spec/initContainers");
    let lasting = |status: &Value| {
        let same = |one: &&Value| one["name"] == status["name"];
        beginning.iter().find(same).is_some_and(|one| one["restartPolicy"] == "Always")
    };
    let lasting_total = beginning.iter().filter(|one| one["restartPolicy"] == "Always").count();
    let total = row.list("/spec/containers").len() + lasting_total;
    let mut word = match (row.text("/status/reason"), row.text("/status/phase")) {
        ("", "") => "Unknown".to_owned(),
        ("", phase) => phase.to_owned(),
        (reason, _) => reason.to_owned(),
    };
    if condition(row, "PodScheduled", "reason", "SchedulingGated") {
        word = "SchedulingGated".into();
    }
    let statuses = row.list("/status/initContainerStatuses");
    let (mut ready, mut restarts, mut last) = (0, 0, None);
    let (mut lasting_restarts, mut lasting_last) = (0, None);
    let mut initialising = false;
    for (index, status) in statuses.iter().enumerate() {
        restarts += status["restartCount"].as_i64().unwrap_or(0);
        last = last.max(ended(status));
        if lasting(status) {
            lasting_restarts += status["restartCount"].as_i64().unwrap_or(0);
            lasting_last = lasting_last.max(ended(status));
        }
        let (terminated, waiting) = (&status["state"]["terminated"], &status["state"]["waiting"]);
        if terminated.is_object() && terminated["exitCode"].as_i64().unwrap_or(0) == 0 {
            continue;
        }
        if lasting(status) && status["started"] == true {
            ready += usize::from(status["ready"] == true);
            continue;
        }
        word = match (terminated.is_object(), waiting["reason"].as_str()) {
            (true, _) => format!("Init:{}", death(terminated)),
            (false, Some(why)) if !why.is_empty() && why != "PodInitializing" => {
                format!("Init:{why}")
            }
            _ => format!("Init:{index}/{}", beginning.len()),
        };
        initialising = true;
        break;
    }
    if !initialising || condition(row, "Initialized", "status", "True") {
        (restarts, last) = (lasting_restarts, lasting_last);
        let mut running = false;
        for status in row.list("/status/containerStatuses").iter().rev() {
            restarts += status["restartCount"].as_i64().unwrap_or(0);
            last = last.max(ended(status));
            let (terminated, waiting) =
                (&status["state"]["terminated"], &status["state"]["waiting"]);
            match waiting["reason"].as_str() {
                Some(why) if !why.is_empty() => word = why.to_owned(),
                _ if terminated.is_object() => word = death(terminated),
                _ if status["ready"] == true && status["state"]["running"].is_object() => {
                    running = true;
                    ready += 1;
                }
                _ => {}
            }
        }
        if word == "Completed" && running {
            let ready = condition(row, "Ready", "status", "True");
            word = if ready { "Running" } else { "NotReady" }.into();
        }
    }
    if object::is_deleting(row.object) {
        if row.text("/status/reason") == "NodeLost" {
            word = "Unknown".into();
        } else if !matches!(row.text("/status/phase"), "Succeeded" | "Failed") {
            word = "Terminating".into();
        }
    }
    State { word, ready, total, restarts, last }
}

fn condition(row: &Row<'_>, kind: &str, field: &str, wanted: &str) -> bool {
    let conditions = row.list("/status/conditions");
    conditions.iter().any(|one| one["type"] == kind && one[field] == wanted)
}

/// What a container died of.
fn death(terminated: &Value) -> String {
    match (terminated["reason"].as_str(), terminated["signal"].as_i64()) {
        (Some(reason), _) if !reason.is_empty() => reason.to_owned(),
        (_, Some(signal)) if signal != 0 => format!("Signal:{signal}"),
        _ => format!("ExitCode:{}", terminated["exitCode"].as_i64().unwrap_or(0)),
    }
}

fn ended(status: &Value) -> Option<OffsetDateTime> {
    status["lastState"]["terminated"]["finishedAt"].as_str().and_then(object::parse_timestamp)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(pod: &Value, ready: &str, word: &str, restarts: i64) {
        let row = Row { object: pod, now: object::now() };
        let state = state(&row);
        assert_eq!(state.word, word, "{pod}");
        assert_eq!(format!("{}/{}", state.ready, state.total), ready, "{pod}");
        assert_eq!(state.restarts, restarts, "{pod}");
    }

    #[test]
    fn a_pods_status_is_the_word_that_matters_most() {
        let container = |state: Value| {
            let status = json!({"state": state, "ready": true, "restartCount": 1});
            json!({
                "spec": {"containers": [{}]},
                "status": {"phase": "Running", "containerStatuses": [status]},
            })
        };
        check(&json!({"status": {"phase": "Pending"}}), "0/0", "Pending", 0);
        check(&container(json!({"running": {}})), "1/1", "Running", 1);
        let back_off = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        check(&container(back_off), "0/1", "CrashLoopBackOff", 1);
        check(&container(json!({"terminated": {"exitCode": 3}})), "0/1", "ExitCode:3", 1);
        check(&container(json!({"terminated": {"reason": "Completed"}})), "0/1", "Completed", 1);
        let mut going = container(json!({"running": {}}));
        going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        check(&going, "1/1", "Terminating", 1);
        check(&json!({}), "0/0", "Unknown", 0);
        let gated = json!([{"type": "PodScheduled", "reason": "SchedulingGated"}]);
        check(
            &json!({"status": {"phase": "Pending", "conditions": gated}}),
            "0/0",
            "SchedulingGated",
            0,
        );
    }

    #[test]
    fn what_begins_is_counted() {
        let pod = |status: Value| {
            json!({
                "spec": {
                    "initContainers": [{"name": "a"}, {"name": "b", "restartPolicy": "Always"}],
                    "containers": [{}],
                },
                "status": {"phase": "Pending", "initContainerStatuses": status},
            })
        };
        let done = json!({"name": "a", "state": {"terminated": {"exitCode": 0}}});
        check(&pod(json!([{"name": "a", "state": {"running": {}}}])), "0/2", "Init:0/2", 0);
        check(&pod(json!([done, {"name": "b", "state": {"waiting": {}}}])), "0/2", "Init:1/2", 0);
        let failed = json!({"name": "a", "state": {"terminated": {"exitCode": 1}}});
        check(&pod(json!([failed])), "0/2", "Init:ExitCode:1", 0);
        let beside = json!({"name": "b", "started": true, "ready": true, "restartCount": 2, "state": {"running": {}}});
        check(&pod(json!([done, beside])), "1/2", "Pending", 2);
    }
}
