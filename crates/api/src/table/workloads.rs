//! Columns of what runs pods.

use serde_json::Value;

use super::{AGE, Column, NAME, Row, integer, lists, text, truth, wide};
use crate::{object, table::duration};

pub const DEPLOYMENT: &[Column] = &[
    NAME,
    text("Ready", |row| ready(row, "/status/readyReplicas")),
    text("Up-to-date", |row| row.number("/status/updatedReplicas").into()),
    text("Available", |row| row.number("/status/availableReplicas").into()),
    AGE,
    wide("Containers", |row| lists::containers(row, "/spec/template/spec")),
    wide("Images", |row| lists::images(row, "/spec/template/spec")),
    wide("Selector", |row| lists::selector(row, "/spec/selector")),
];

pub const STATEFUL_SET: &[Column] = &[
    NAME,
    text("Ready", |row| ready(row, "/status/readyReplicas")),
    AGE,
    wide("Containers", |row| lists::containers(row, "/spec/template/spec")),
    wide("Images", |row| lists::images(row, "/spec/template/spec")),
];

pub const REPLICA_SET: &[Column] = &[
    NAME,
    integer("Desired", |row| row.number("/spec/replicas").into()),
    integer("Current", |row| row.number("/status/replicas").into()),
    integer("Ready", |row| row.number("/status/readyReplicas").into()),
    AGE,
    wide("Containers", |row| lists::containers(row, "/spec/template/spec")),
    wide("Images", |row| lists::images(row, "/spec/template/spec")),
    wide("Selector", |row| lists::selector(row, "/spec/selector")),
];

pub const REPLICATION_CONTROLLER: &[Column] = &[
    NAME,
    integer("Desired", |row| row.number("/spec/replicas").into()),
    integer("Current", |row| row.number("/status/replicas").into()),
    integer("Ready", |row| row.number("/status/readyReplicas").into()),
    AGE,
    wide("Containers", |row| lists::containers(row, "/spec/template/spec")),
    wide("Images", |row| lists::images(row, "/spec/template/spec")),
    wide("Selector", |row| lists::labels(row, "/spec/selector")),
];

pub const DAEMON_SET: &[Column] = &[
    NAME,
    integer("Desired", |row| row.number("/status/desiredNumberScheduled").into()),
    integer("Current", |row| row.number("/status/currentNumberScheduled").into()),
    integer("Ready", |row| row.number("/status/numberReady").into()),
    integer("Up-to-date", |row| row.number("/status/updatedNumberScheduled").into()),
    integer("Available", |row| row.number("/status/numberAvailable").into()),
    text("Node Selector", |row| lists::labels(row, "/spec/template/spec/nodeSelector")),
    AGE,
    wide("Containers", |row| lists::containers(row, "/spec/template/spec")),
    wide("Images", |row| lists::images(row, "/spec/template/spec")),
    wide("Selector", |row| lists::selector(row, "/spec/selector")),
];

pub const JOB: &[Column] = &[
    NAME,
    text("Status", |row| job_status(row).into()),
    text("Completions", |row| job_completions(row).into()),
    text("Duration", |row| job_duration(row).into()),
    AGE,
    wide("Containers", |row| lists::containers(row, "/spec/template/spec")),
    wide("Images", |row| lists::images(row, "/spec/template/spec")),
    wide("Selector", |row| lists::selector(row, "/spec/selector")),
];

pub const CRON_JOB: &[Column] = &[
    NAME,
    text("Schedule", |row| row.text("/spec/schedule").into()),
    text("Timezone", |row| row.text_or_none("/spec/timeZone")),
    truth("Suspend", |row| lists::truth(row, "/spec/suspend", "<unset>")),
    integer("Active", |row| row.list("/status/active").len().into()),
    text("Last Schedule", |row| match row.text("/status/lastScheduleTime") {
        "" => "<none>".into(),
        _ => row.since("/status/lastScheduleTime").into(),
    }),
    AGE,
    wide("Containers", |row| lists::containers(row, "/spec/jobTemplate/spec/template/spec")),
    wide("Images", |row| lists::images(row, "/spec/jobTemplate/spec/template/spec")),
    wide("Selector", |row| lists::selector(row, "/spec/jobTemplate/spec/selector")),
];

pub const CONTROLLER_REVISION: &[Column] = &[
    NAME,
    text("Controller", |row| {
        let owners = row.list("/metadata/ownerReferences");
        let Some(owner) = owners.iter().find(|owner| owner["controller"] == true) else {
            return "<none>".into();
        };
        let kind = owner["kind"].as_str().unwrap_or_default().to_lowercase();
        let (group, _) =
            owner["apiVersion"].as_str().unwrap_or_default().split_once('/').unwrap_or_default();
        let name = owner["name"].as_str().unwrap_or_default();
        let dot = if group.is_empty() { "" } else { "." };
        format!("{kind}{dot}{group}/{name}").into()
    }),
    text("Revision", |row| row.number("/revision").into()),
    AGE,
];

pub const POD_TEMPLATE: &[Column] = &[
    NAME,
    text("Containers", |row| lists::containers(row, "/template/spec")),
    text("Images", |row| lists::images(row, "/template/spec")),
    text("Pod Labels", |row| lists::labels(row, "/template/metadata/labels")),
];

pub const AUTOSCALER: &[Column] = &[
    NAME,
    text("Reference", |row| {
        let target = "/spec/scaleTargetRef";
        format!("{}/{}", row.text(&format!("{target}/kind")), row.text(&format!("{target}/name")))
            .into()
    }),
    text("Targets", |row| targets(row).into()),
    text("MinPods", |row| match row.object.pointer("/spec/minReplicas") {
        Some(min) => min.to_string().into(),
        None => "<unset>".into(),
    }),
    text("MaxPods", |row| row.number("/spec/maxReplicas").into()),
    text("Replicas", |row| row.number("/status/currentReplicas").into()),
    AGE,
];

pub const DISRUPTION_BUDGET: &[Column] = &[
    NAME,
    text("Min Available", |row| lists::shown(row, "/spec/minAvailable", "N/A")),
    text("Max Unavailable", |row| lists::shown(row, "/spec/maxUnavailable", "N/A")),
    integer("Allowed Disruptions", |row| row.number("/status/disruptionsAllowed").into()),
    AGE,
];

fn ready(row: &Row<'_>, ready: &str) -> Value {
    let wanted = row.object.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
    format!("{}/{wanted}", row.number(ready)).into()
}

fn condition<'a>(row: &Row<'a>, kind: &str) -> bool {
    let conditions = row.list("/status/conditions");
    conditions.iter().any(|one| one["type"] == kind && one["status"] == "True")
}

fn job_status(row: &Row<'_>) -> &'static str {
    match () {
        () if condition(row, "Complete") => "Complete",
        () if condition(row, "Failed") => "Failed",
        () if object::is_deleting(row.object) => "Terminating",
        () if condition(row, "Suspended") => "Suspended",
        () if condition(row, "FailureTarget") => "FailureTarget",
        () if condition(row, "SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    }
}

fn job_completions(row: &Row<'_>) -> String {
    let done = row.number("/status/succeeded");
    let count = |pointer: &str| row.object.pointer(pointer).and_then(Value::as_i64);
    match (count("/spec/completions"), count("/spec/parallelism").unwrap_or(0)) {
        (Some(wanted), _) => format!("{done}/{wanted}"),
        (None, parallel @ 2..) => format!("{done}/1 of {parallel}"),
        (None, _) => format!("{done}/1"),
    }
}

fn job_duration(row: &Row<'_>) -> String {
    let Some(start) = object::parse_timestamp(row.text("/status/startTime")) else {
        return String::new();
    };
    let end = object::parse_timestamp(row.text("/status/completionTime")).unwrap_or(row.now);
    duration::human(end - start)
}

/// At most two metrics: what is, and what is wanted.
fn targets(row: &Row<'_>) -> String {
    const SHOWN: usize = 2;
    // Version 1 knows one, in fields of its own.
    if let Some(wanted) = row.object.pointer("/spec/targetCPUUtilizationPercentage") {
        let now = row.object.pointer("/status/currentCPUUtilizationPercentage");
        let now = now.map_or_else(|| "<unknown>".to_owned(), |now| format!("{now}%"));
        return format!("cpu: {now}/{wanted}%");
    }
    let (specs, statuses) = (row.list("/spec/metrics"), row.list("/status/currentMetrics"));
    if specs.is_empty() {
        return "<none>".into();
    }
    let one = |(index, spec): (usize, &Value)| {
        let kind = spec["type"].as_str().unwrap_or_default();
        let mut source = kind.to_owned();
        if let Some(first) = source.get_mut(..1) {
            first.make_ascii_lowercase();
        }
        let target = &spec[&source]["target"];
        let now = &statuses.get(index).unwrap_or(&Value::Null)[&source]["current"];
        let amount = |of: &Value| {
            let percent = of["averageUtilization"].as_i64().map(|percent| format!("{percent}%"));
            let plain = |name: &str| of[name].as_str().map(str::to_owned);
            percent.or_else(|| plain("averageValue")).or_else(|| plain("value"))
        };
        let unknown = || "<unknown>".to_owned();
        let (now, wanted) =
            (amount(now).unwrap_or_else(unknown), amount(target).unwrap_or_else(unknown));
        let average =
            target["averageValue"].is_string() && kind != "Resource" && kind != "ContainerResource";
        let average = if average && kind == "External" { " (avg)" } else { "" };
        match spec[&source]["name"].as_str() {
            Some(name) => format!("{name}: {now}/{wanted}{average}"),
            None => format!("{now}/{wanted}{average}"),
        }
    };
    let shown: Vec<String> = specs.iter().enumerate().take(SHOWN).map(one).collect();
    match specs.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} + {more} more...", shown.join(", ")),
    }
}
