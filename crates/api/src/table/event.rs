//! Columns of events. Those of their own group name things otherwise, and are
//! shown alike.

use serde_json::Value;

use super::{Column, ColumnKind, NAME, Row, text, wide};

/// Where a group has what is shown.
struct Places {
    about: &'static str,
    message: &'static str,
    source: &'static str,
    reporter: &'static str,
    first: &'static str,
    last: &'static str,
    count: &'static str,
}

const CORE: Places = Places {
    about: "/involvedObject",
    message: "/message",
    source: "/source",
    reporter: "/reportingComponent",
    first: "/firstTimestamp",
    last: "/lastTimestamp",
    count: "/count",
};

const NEWER: Places = Places {
    about: "/regarding",
    message: "/note",
    source: "/deprecatedSource",
    reporter: "/reportingController",
    first: "/deprecatedFirstTimestamp",
    last: "/deprecatedLastTimestamp",
    count: "/deprecatedCount",
};

pub const EVENT: &[Column] = &[
    text("Last Seen", |row| last_seen(row, &CORE)),
    text("Type", |row| row.text("/type").into()),
    text("Reason", |row| row.text("/reason").into()),
    text("Object", |row| about(row, &CORE)),
    wide("Subobject", |row| row.text("/involvedObject/fieldPath").into()),
    wide("Source", |row| source(row, &CORE)),
    text("Message", |row| row.text(CORE.message).trim().into()),
    wide("First Seen", |row| first_seen(row, &CORE)),
    wide("Count", |row| count(row, &CORE)),
    LAST_NAME,
];

pub const EVENTS_EVENT: &[Column] = &[
    text("Last Seen", |row| last_seen(row, &NEWER)),
    text("Type", |row| row.text("/type").into()),
    text("Reason", |row| row.text("/reason").into()),
    text("Object", |row| about(row, &NEWER)),
    wide("Subobject", |row| row.text("/regarding/fieldPath").into()),
    wide("Source", |row| source(row, &NEWER)),
    text("Message", |row| row.text(NEWER.message).trim().into()),
    wide("First Seen", |row| first_seen(row, &NEWER)),
    wide("Count", |row| count(row, &NEWER)),
    LAST_NAME,
];

/// Of an event it says least.
const LAST_NAME: Column = Column { wide: true, kind: ColumnKind::Text, ..NAME };

fn first_seen(row: &Row<'_>, at: &Places) -> Value {
    row.since(if row.text(at.first).is_empty() { "/eventTime" } else { at.first }).into()
}

fn last_seen(row: &Row<'_>, at: &Places) -> Value {
    let series = "/series/lastObservedTime";
    match [series, at.last].into_iter().find(|pointer| !row.text(pointer).is_empty()) {
        Some(pointer) => row.since(pointer).into(),
        None => first_seen(row, at),
    }
}

fn about(row: &Row<'_>, at: &Places) -> Value {
    let part = |name: &str| row.text(&format!("{}/{name}", at.about));
    let kind = part("kind").to_lowercase();
    match part("name") {
        "" => kind.into(),
        name => format!("{kind}/{name}").into(),
    }
}

fn source(row: &Row<'_>, at: &Places) -> Value {
    let first = |old: &str, new: &str| match row.text(&format!("{}/{old}", at.source)) {
        "" => row.text(new).to_owned(),
        old => old.to_owned(),
    };
    let (component, host) = (first("component", at.reporter), first("host", "/reportingInstance"));
    if host.is_empty() { component.into() } else { format!("{component}, {host}").into() }
}

fn count(row: &Row<'_>, at: &Places) -> Value {
    match row.object.get("series").is_some_and(Value::is_object) {
        true => row.number("/series/count").into(),
        false => row.number(at.count).max(1).into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::object;

    #[test]
    fn both_groups_show_the_same_of_one_event() {
        let cells = |columns: &[Column], event: &Value| -> Vec<Value> {
            let row = Row { object: event, now: object::now() };
            columns.iter().map(|column| (column.cell)(&row)).collect()
        };
        let core = json!({
            "metadata": {"name": "e"}, "type": "Normal", "reason": "Pulled", "count": 3,
            "involvedObject": {"kind": "Pod", "name": "p", "fieldPath": "spec.containers{c}"},
            "message": " done\n", "source": {"component": "kubelet", "host": "n1"},
        });
        let mut newer = core.clone();
        (crate::kinds::event::NEWER_KEPT.from)(&mut newer);
        let shown = cells(EVENT, &core);
        assert_eq!(shown, cells(EVENTS_EVENT, &newer));
        let expected = json!([
            "<unknown>",
            "Normal",
            "Pulled",
            "pod/p",
            "spec.containers{c}",
            "kubelet, n1",
            "done",
            "<unknown>",
            3,
            "e"
        ]);
        assert_eq!(Value::from(shown), expected);
        let bare = json!({"metadata": {"name": "e"}, "reportingComponent": "a/b",
            "reportingInstance": "i", "series": {"count": 7}});
        let shown = cells(EVENT, &bare);
        assert_eq!((&shown[5], &shown[8]), (&json!("a/b, i"), &json!(7)));
    }
}
