//! Columns of the federation's kinds.

use serde_json::Value;
use topology::{ShardMap, ShardSet, ShardState};

use super::{AGE, Column, NAME, Row, integer, text, wide};

pub const CITY: &[Column] = &[NAME, text("Drills", |row| row.text_or_none("/spec/drills")), AGE];

pub const CENTER: &[Column] = &[
    NAME,
    text("City", |row| row.text("/spec/city").into()),
    text("Phase", |row| match row.text("/status/phase") {
        "" => "Unknown".into(),
        phase => phase.into(),
    }),
    text("API", |row| row.text("/spec/apiAddress").into()),
    text("Edge", |row| row.text("/spec/edgeAddress").into()),
    AGE,
];

pub const UNIT: &[Column] = &[
    NAME,
    text("Kind", |row| row.text("/spec/kind").into()),
    text("Center", |row| row.text("/spec/center").into()),
    text("Standbys", |row| join(row.list("/spec/standbys"))),
    text("Ready", |row| match row.object.pointer("/status/ready") {
        Some(Value::Bool(true)) => "True".into(),
        Some(Value::Bool(false)) => "False".into(),
        _ => "Unknown".into(),
    }),
    wide("Ports", |row| {
        format!("{}-{}", row.number("/spec/ports/first"), row.number("/spec/ports/last")).into()
    }),
    AGE,
];

pub const SHARD_MAP: &[Column] = &[
    NAME,
    integer("Version", |row| row.number("/status/version").into()),
    text("Serving", |row| {
        let count = Count::of(row);
        format!("{}/{}", count.serving, count.homed).into()
    }),
    integer("Moving", |row| Count::of(row).moving.into()),
    integer("Away", |row| Count::of(row).away.into()),
    AGE,
];

pub const SHARD_MOVE: &[Column] = &[
    NAME,
    text("Phase", |row| match row.text("/status/phase") {
        "" => "Pending".into(),
        phase => phase.into(),
    }),
    text("Moves", |row| match (row.text("/spec/shards"), row.text("/spec/unit")) {
        ("", unit) => match row.number("/spec/percent") {
            0 => format!("all of {unit}").into(),
            percent => format!("{percent}% of {unit}").into(),
        },
        (shards, _) => match row.text("/spec/buckets") {
            "" => shards.into(),
            buckets => format!("{buckets} of {shards}").into(),
        },
    }),
    text("To", |row| match row.text("/spec/to") {
        "" if !row.text("/spec/buckets").is_empty() => "stays".into(),
        "" => "others".into(),
        to => to.into(),
    }),
    text("Done", |row| {
        format!("{}/{}", row.number("/status/moved"), row.number("/status/total")).into()
    }),
    wide("Message", |row| row.text_or_none("/status/message")),
    AGE,
];

pub const UNIT_RENTAL: &[Column] = &[
    NAME,
    text("Center", |row| row.text("/spec/center").into()),
    text("Phase", |row| match row.text("/status/phase") {
        "" => "Pending".into(),
        phase => phase.into(),
    }),
    integer("Shards", |row| {
        let shares = row.list("/status/shares").iter();
        let sets = shares.filter_map(|share| share["shards"].as_str()?.parse::<ShardSet>().ok());
        sets.map(|shards| shards.len()).sum::<usize>().into()
    }),
    text("Until", |row| row.text_or_none("/spec/until")),
    wide("Message", |row| row.text_or_none("/status/message")),
    AGE,
];

pub const FAILOVER_POLICY: &[Column] = &[
    NAME,
    text("City", |row| rule(row.text("/spec/city"))),
    text("Center", |row| rule(row.text("/spec/center"))),
    text("Paused", |row| rule(row.text("/spec/paused/rule"))),
    AGE,
];

pub const FAILOVER: &[Column] = &[
    NAME,
    text("Phase", |row| match row.text("/status/phase") {
        "" => "Waiting".into(),
        phase => phase.into(),
    }),
    text("Evidence", |row| row.text("/spec/evidence").into()),
    text("Centers", |row| join(row.list("/spec/centers"))),
    text("Approved", |row| match row.object.pointer("/spec/approved") {
        Some(Value::Bool(true)) => "True".into(),
        _ => "False".into(),
    }),
    wide("Message", |row| row.text_or_none("/status/message")),
    AGE,
];

fn rule(text: &str) -> Value {
    if text.is_empty() { "Automatic".into() } else { text.into() }
}

pub const CAFE_DEPLOYMENT: &[Column] = &[
    NAME,
    integer("Replicas", |row| wanted_replicas(row).into()),
    integer("Ready", |row| row.number("/status/readyReplicas").into()),
    integer("Updated", |row| row.number("/status/updatedReplicas").into()),
    integer("Units", |row| row.keys("/spec/topology/unitReplicas").into()),
    AGE,
];

fn join(list: &[Value]) -> Value {
    match list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",") {
        none if none.is_empty() => "<none>".into(),
        some => some.into(),
    }
}

fn wanted_replicas(row: &Row<'_>) -> u64 {
    let by_unit = row.object.pointer("/spec/topology/unitReplicas").and_then(Value::as_object);
    by_unit.into_iter().flatten().filter_map(|(_, count)| count.as_u64()).sum()
}

/// Shards of a map, counted.
#[derive(Default)]
struct Count {
    homed: usize,
    serving: usize,
    moving: usize,
    /// Served, or about to be, by another unit than their home.
    away: usize,
}

// === impl Count ===

impl Count {
    fn of(row: &Row<'_>) -> Count {
        let part = |name: &str| row.object.get(name).cloned().unwrap_or_default();
        let Ok(spec) = serde_json::from_value::<resources::ShardMapSpec>(part("spec")) else {
            return Count::default();
        };
        let map: ShardMap = serde_json::from_value(part("status")).unwrap_or_default();
        let mut count = Count {
            homed: spec.homes.iter().map(|home| home.shards.len()).sum(),
            ..Count::default()
        };
        for (shard, assignment) in &map.assignments {
            match &assignment.state {
                ShardState::Serving { .. } => count.serving += 1,
                ShardState::Moving { .. } => count.moving += 1,
            }
            let home = spec.home_of(*shard);
            count.away += usize::from(home.is_some_and(|home| home != assignment.state.target()));
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_shard_map_is_shown_in_numbers() {
        let object = json!({
            "spec": {"homes": [{"shards": "00-19", "unit": "rz01"}, {"shards": "20-39", "unit": "rz02"}]},
            "status": {"version": 7, "ranges": [
                {"shards": "00-18", "epoch": 1, "state": "Serving", "unit": "rz01"},
                {"shards": "19", "epoch": 2, "state": "Moving", "to": "rz03"},
                {"shards": "20-29", "epoch": 2, "state": "Serving", "unit": "rz04"},
            ]},
        });
        let row = Row { object: &object, now: crate::object::now() };
        let shown: Vec<_> = SHARD_MAP[1..5].iter().map(|column| (column.cell)(&row)).collect();
        assert_eq!(json!(shown), json!([7, "29/40", 1, 11]));
    }
}
