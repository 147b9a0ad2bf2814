//! Columns of what rules over others: roles, admission, flow, classes, quotas.

use serde_json::Value;

use super::{AGE, CREATED, Column, NAME, Row, integer, lists, text, truth, wide};
use crate::table::duration;

pub const BINDING: &[Column] = &[
    NAME,
    text("Role", |row| {
        format!("{}/{}", row.text("/roleRef/kind"), row.text("/roleRef/name")).into()
    }),
    AGE,
    wide("Users", |row| subjects(row, "User")),
    wide("Groups", |row| subjects(row, "Group")),
    wide("ServiceAccounts", |row| subjects(row, "ServiceAccount")),
];

pub const NAMED: &[Column] = &[NAME, CREATED];

pub const DEFINITION: &[Column] = &[
    NAME,
    text("Scope", |row| row.text("/spec/scope").into()),
    text("Versions", |row| {
        let served = row.list("/spec/versions").iter().filter(|one| one["served"] == true);
        let mut names: Vec<String> = served
            .map(|one| {
                let stored = if one["storage"] == true { "(storage)" } else { "" };
                format!("{}{stored}", one["name"].as_str().unwrap_or_default())
            })
            .collect();
        names.sort_unstable();
        names.join(",").into()
    }),
    CREATED,
    wide("Group", |row| row.text("/spec/group").into()),
    wide("Kind", |row| row.text("/spec/names/kind").into()),
    wide("ShortNames", |row| {
        let names = row.list("/spec/names/shortNames").iter().filter_map(Value::as_str);
        names.collect::<Vec<_>>().join(",").into()
    }),
    Column {
        wide: true,
        ..truth("Established", |row| {
            let is = |one: &Value| one["type"] == "Established" && one["status"] == "True";
            row.list("/status/conditions").iter().any(is).into()
        })
    },
];

pub const SIGNING_REQUEST: &[Column] = &[
    NAME,
    AGE,
    text("SignerName", |row| lists::shown(row, "/spec/signerName", "<none>")),
    text("Requestor", |row| row.text("/spec/username").into()),
    text("RequestedDuration", |row| match row.number("/spec/expirationSeconds") {
        0 => "<none>".into(),
        seconds => duration::human(time::Duration::seconds(seconds)).into(),
    }),
    text("Condition", |row| {
        let conditions = row.list("/status/conditions");
        let has = |kind: &str| conditions.iter().any(|one| one["type"] == kind);
        let mut word = match () {
            () if has("Denied") => "Denied",
            () if has("Approved") => "Approved",
            () => "Pending",
        }
        .to_owned();
        if has("Failed") {
            word.push_str(",Failed");
        }
        if !row.text("/status/certificate").is_empty() {
            word.push_str(",Issued");
        }
        word.into()
    }),
];

pub const WEBHOOKS: &[Column] =
    &[NAME, integer("Webhooks", |row| row.list("/webhooks").len().into()), AGE];

pub const VALIDATING_POLICY: &[Column] = &[
    NAME,
    integer("Validations", |row| row.list("/spec/validations").len().into()),
    text("ParamKind", param_kind),
    AGE,
];

pub const MUTATING_POLICY: &[Column] = &[
    NAME,
    integer("Mutations", |row| row.list("/spec/mutations").len().into()),
    text("ParamKind", param_kind),
    AGE,
];

pub const POLICY_BINDING: &[Column] = &[
    NAME,
    text("PolicyName", |row| row.text("/spec/policyName").into()),
    text("ParamRef", |row| {
        let part = |name: &str| row.text(&format!("/spec/paramRef/{name}"));
        match (part("namespace"), part("name")) {
            ("", "") if row.object.pointer("/spec/paramRef").is_none() => "<unset>".into(),
            ("", name) => name.into(),
            (namespace, name) => format!("{namespace}/{name}").into(),
        }
    }),
    AGE,
];

pub const FLOW_SCHEMA: &[Column] = &[
    NAME,
    text("PriorityLevel", |row| row.text("/spec/priorityLevelConfiguration/name").into()),
    text("MatchingPrecedence", |row| row.number("/spec/matchingPrecedence").into()),
    text("DistinguisherMethod", |row| row.text_or_none("/spec/distinguisherMethod/type")),
    AGE,
    text("MissingPL", |row| {
        let dangling = |one: &&Value| one["type"] == "Dangling";
        let found = row.list("/status/conditions").iter().find(dangling);
        found.and_then(|one| one["status"].as_str()).unwrap_or("?").into()
    }),
];

pub const PRIORITY_LEVEL: &[Column] = &[
    NAME,
    text("Type", |row| row.text("/spec/type").into()),
    text("NominalConcurrencyShares", |row| {
        match row.object.pointer("/spec/exempt/nominalConcurrencyShares") {
            Some(shares) => shares.clone(),
            None => number(row, "/spec/limited/nominalConcurrencyShares"),
        }
    }),
    text("Queues", |row| queuing(row, "queues")),
    text("HandSize", |row| queuing(row, "handSize")),
    text("QueueLengthLimit", |row| queuing(row, "queueLengthLimit")),
    AGE,
];

pub const PRIORITY_CLASS: &[Column] = &[
    NAME,
    integer("Value", |row| row.number("/value").into()),
    truth("Global-Default", |row| row.is("/globalDefault").unwrap_or(false).into()),
    AGE,
    text("PreemptionPolicy", |row| lists::shown(row, "/preemptionPolicy", "PreemptLowerPriority")),
];

pub const RUNTIME_CLASS: &[Column] =
    &[NAME, text("Handler", |row| row.text("/handler").into()), AGE];

pub const SECRET: &[Column] = &[
    NAME,
    text("Type", |row| row.text("/type").into()),
    text("Data", |row| row.keys("/data").into()),
    AGE,
];

pub const QUOTA: &[Column] = &[
    NAME,
    text("Request", |row| quota(row, false).into()),
    text("Limit", |row| quota(row, true).into()),
    AGE,
];

pub const COMPONENT_STATUS: &[Column] = &[
    NAME,
    text("Status", |row| match healthy(row)["status"].as_str() {
        Some("True") => "Healthy".into(),
        Some(_) => "Unhealthy".into(),
        None => "Unknown".into(),
    }),
    text("Message", |row| healthy(row)["message"].as_str().unwrap_or_default().into()),
    text("Error", |row| healthy(row)["error"].as_str().unwrap_or_default().into()),
];

pub const API_SERVICE: &[Column] = &[
    NAME,
    text("Service", |row| {
        let part = |name: &str| row.text(&format!("/spec/service/{name}"));
        match (part("namespace"), part("name")) {
            (_, "") => "Local".into(),
            (namespace, name) => format!("{namespace}/{name}").into(),
        }
    }),
    text("Available", |row| {
        let available = |one: &&Value| one["type"] == "Available";
        match row.list("/status/conditions").iter().find(available) {
            None => "Unknown".into(),
            Some(one) if one["status"] == "True" => "True".into(),
            Some(one) => {
                let status = one["status"].as_str().unwrap_or_default();
                format!("{status} ({})", one["reason"].as_str().unwrap_or_default()).into()
            }
        }
    }),
    AGE,
];

pub const RESOURCE_CLAIM: &[Column] = &[
    NAME,
    text("State", |row| {
        let mut words = Vec::new();
        if crate::object::is_deleting(row.object) {
            words.push("deleted");
        }
        match row.object.pointer("/status/allocation").is_some() {
            true => words.push("allocated"),
            false if words.is_empty() => words.push("pending"),
            false => {}
        }
        if !row.list("/status/reservedFor").is_empty() {
            words.push("reserved");
        }
        words.join(",").into()
    }),
    AGE,
];

pub const RESOURCE_SLICE: &[Column] = &[
    NAME,
    text("Node", |row| lists::shown(row, "/spec/nodeName", "<unset>")),
    text("Driver", |row| row.text("/spec/driver").into()),
    text("Pool", |row| row.text("/spec/pool/name").into()),
    AGE,
];

fn subjects(row: &Row<'_>, kind: &str) -> Value {
    let subjects = row.list("/subjects").iter().filter(|one| one["kind"] == kind);
    let name = |one: &Value| {
        let name = one["name"].as_str().unwrap_or_default();
        match one["namespace"].as_str() {
            Some(namespace) if kind == "ServiceAccount" => format!("{namespace}/{name}"),
            _ => name.to_owned(),
        }
    };
    subjects.map(name).collect::<Vec<_>>().join(", ").into()
}

fn param_kind(row: &Row<'_>) -> Value {
    let part = |name: &str| row.text(&format!("/spec/paramKind/{name}"));
    match (part("apiVersion"), part("kind")) {
        (_, "") => "<unset>".into(),
        (version, kind) => format!("{version}/{kind}").into(),
    }
}

fn queuing(row: &Row<'_>, name: &str) -> Value {
    number(row, &format!("/spec/limited/limitResponse/queuing/{name}"))
}

fn number(row: &Row<'_>, pointer: &str) -> Value {
    let found = row.object.pointer(pointer).filter(|found| found.is_number());
    found.cloned().unwrap_or_else(|| "<none>".into())
}

fn healthy<'a>(row: &Row<'a>) -> &'a Value {
    let conditions = row.object.get("conditions").and_then(Value::as_array);
    let mut conditions = conditions.into_iter().flatten();
    conditions.find(|one| one["type"] == "Healthy").unwrap_or(&Value::Null)
}

/// `cpu: 1/2, memory: …` of what is used and may be.
fn quota(row: &Row<'_>, limits: bool) -> String {
    let hard = row.object.pointer("/status/hard").and_then(Value::as_object);
    let mut parts: Vec<String> = hard
        .into_iter()
        .flatten()
        .filter(|(name, _)| name.starts_with("limits.") == limits)
        .map(|(name, hard)| {
            let used = &row.object["status"]["used"][name];
            let text = |value: &Value| value.as_str().unwrap_or("0").to_owned();
            format!("{name}: {}/{}", text(used), text(hard))
        })
        .collect();
    parts.sort_unstable();
    parts.join(", ")
}
