//! Tables: what `kubectl get` prints.

mod builtin;
mod control;
mod core;
pub mod duration;
mod event;
mod lists;
mod network;
pub mod ours;
mod pod;
mod storage;
mod workloads;

pub use builtin::columns;

use std::sync::Arc;

use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::{custom, object, resource::Resource};

pub struct Column {
    pub name: &'static str,
    pub kind: ColumnKind,
    /// Only in wide output.
    pub wide: bool,
    pub cell: fn(&Row<'_>) -> Value,
}

#[derive(Clone, Copy)]
pub enum ColumnKind {
    Name,
    Text,
    Integer,
    Truth,
    Date,
}

/// An object about to be shown.
pub struct Row<'a> {
    pub object: &'a Value,
    pub now: OffsetDateTime,
}

/// How much of each object goes with its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Include {
    None,
    Metadata,
    Object,
}

/// Where an object of a merged view says which unit it is of.
pub const UNIT_ANNOTATION: &str = "polis.dev/unit";

const UNIT_COLUMN: &Column =
    &Column { name: "Unit", kind: ColumnKind::Text, wide: false, cell: unit };

/// Writes objects of one kind as rows.
pub struct Table {
    resource: Arc<Resource>,
    include: Include,
    columns: Vec<&'static Column>,
    version: &'static str,
}

// === impl Table ===

impl Table {
    pub fn new(resource: Arc<Resource>, merged: bool, include: Include) -> Table {
        let mut columns: Vec<_> = resource.columns.iter().collect();
        if merged {
            columns.insert(1, UNIT_COLUMN);
        }
        Table { resource, include, columns, version: "meta.k8s.io/v1" }
    }

    /// In the older version, which differs in its name alone.
    #[must_use]
    pub fn beta(self, beta: bool) -> Table {
        Table { version: if beta { "meta.k8s.io/v1beta1" } else { self.version }, ..self }
    }

    pub fn resource(&self) -> &Arc<Resource> {
        &self.resource
    }

    /// `metadata` is the list's: resourceVersion, continue.
    pub fn show(&self, metadata: Value, objects: Vec<Value>, headers: bool) -> Value {
        self.write(self.include, metadata, objects, headers)
    }

    /// A watch's bookmark: the row of an object that has nothing but `metadata`.
    /// The one that ends the start of a watch is known by that object alone.
    pub fn bookmark(&self, metadata: Value, initial_end: bool) -> Value {
        let include = match self.include {
            Include::None if initial_end => Include::Metadata,
            include => include,
        };
        let list = json!({ "resourceVersion": metadata["resourceVersion"] });
        self.write(include, list, vec![json!({ "metadata": metadata })], false)
    }

    fn write(
        &self,
        include: Include,
        metadata: Value,
        objects: Vec<Value>,
        headers: bool,
    ) -> Value {
        let now = object::now();
        let rows: Vec<Value> =
            objects.into_iter().map(|object| self.row(include, object, now)).collect();
        let columns: Value = match headers {
            true => self
                .columns
                .iter()
                .map(|column| column.definition())
                .chain(self.told().map(|column| column.definition()))
                .collect(),
            false => Value::Null,
        };
        json!({
            "kind": "Table",
            "apiVersion": self.version,
            "metadata": metadata,
            "columnDefinitions": columns,
            "rows": rows,
        })
    }

    /// Columns that the kind's definition adds.
    fn told(&self) -> impl Iterator<Item = &custom::Column> {
        self.resource.custom().into_iter().flat_map(|custom| &custom.columns)
    }

    fn row(&self, include: Include, object: Value, now: OffsetDateTime) -> Value {
        let row = Row { object: &object, now };
        let own = self.columns.iter().map(|column| (column.cell)(&row));
        let cells: Vec<Value> =
            own.chain(self.told().map(|column| column.cell(&object, now))).collect();
        match include {
            Include::None => json!({ "cells": cells }),
            Include::Metadata => {
                let mut object = partial(object);
                object["apiVersion"] = self.version.into();
                json!({ "cells": cells, "object": object })
            }
            Include::Object => {
                let mut object = object;
                object::set_kind(&mut object, &self.resource);
                json!({ "cells": cells, "object": object })
            }
        }
    }
}

/// The object's metadata alone.
pub fn partial(mut object: Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": object["metadata"].take(),
    })
}

// === impl Include ===

impl Include {
    pub fn parse(text: Option<&str>) -> Option<Include> {
        match text {
            None | Some("Metadata") => Some(Include::Metadata),
            Some("None") => Some(Include::None),
            Some("Object") => Some(Include::Object),
            Some(_) => None,
        }
    }
}

// === impl Column ===

impl Column {
    fn definition(&self) -> Value {
        let (kind, format) = match self.kind {
            ColumnKind::Name => ("string", "name"),
            ColumnKind::Text => ("string", ""),
            ColumnKind::Integer => ("integer", ""),
            ColumnKind::Truth => ("boolean", ""),
            ColumnKind::Date => ("date", ""),
        };
        json!({
            "name": self.name,
            "type": kind,
            "format": format,
            "description": "",
            "priority": u8::from(self.wide),
        })
    }
}

// === impl Row ===

impl Row<'_> {
    pub fn text(&self, pointer: &str) -> &str {
        object::text(self.object, pointer)
    }

    /// `<none>` stands for nothing, as kubectl's users know it.
    pub fn text_or_none(&self, pointer: &str) -> Value {
        match self.text(pointer) {
            "" => "<none>".into(),
            text => text.into(),
        }
    }

    pub fn list(&self, pointer: &str) -> &[Value] {
        self.object.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    pub fn number(&self, pointer: &str) -> i64 {
        self.object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
    }

    pub fn is(&self, pointer: &str) -> Option<bool> {
        self.object.pointer(pointer).and_then(Value::as_bool)
    }

    pub fn keys(&self, pointer: &str) -> usize {
        self.object.pointer(pointer).and_then(Value::as_object).map_or(0, serde_json::Map::len)
    }

    /// How long ago the timestamp at `pointer` was.
    pub fn since(&self, pointer: &str) -> String {
        match object::parse_timestamp(self.text(pointer)) {
            Some(at) => duration::human(self.now - at),
            None => "<unknown>".into(),
        }
    }
}

// === Columns that every kind has ===

pub const NAME: Column = Column {
    name: "Name",
    kind: ColumnKind::Name,
    wide: false,
    cell: |row| row.text("/metadata/name").into(),
};

pub const AGE: Column = text("Age", |row| row.since("/metadata/creationTimestamp").into());

/// For kinds that are shown with the time itself.
pub const CREATED: Column = Column {
    name: "Created At",
    kind: ColumnKind::Date,
    wide: false,
    cell: |row| row.text("/metadata/creationTimestamp").into(),
};

pub const fn text(name: &'static str, cell: fn(&Row<'_>) -> Value) -> Column {
    Column { name, kind: ColumnKind::Text, wide: false, cell }
}

pub const fn wide(name: &'static str, cell: fn(&Row<'_>) -> Value) -> Column {
    Column { name, kind: ColumnKind::Text, wide: true, cell }
}

pub const fn integer(name: &'static str, cell: fn(&Row<'_>) -> Value) -> Column {
    Column { name, kind: ColumnKind::Integer, wide: false, cell }
}

/// Yes or no; also of cells that say it in a word.
pub const fn truth(name: &'static str, cell: fn(&Row<'_>) -> Value) -> Column {
    Column { name, kind: ColumnKind::Truth, wide: false, cell }
}

fn unit(row: &Row<'_>) -> Value {
    row.object["metadata"]["annotations"][UNIT_ANNOTATION].as_str().unwrap_or_default().into()
}
