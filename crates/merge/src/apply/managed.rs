//! Who owns what of one object: `metadata.managedFields`.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{Deltas, Manager, Operation, Versions, Write, stripped};
use crate::{
    fields::Fields,
    typed::{Delta, reconcile},
};

/// Managers that only update; the oldest beyond that are told no longer apart.
const UPDATERS_MAX: usize = 10;

/// Who all of those become.
const ANCIENT: &str = "ancient-changes";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Managed(Vec<Entry>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    manager: Manager,
    /// Of the fields; an applier may have applied an older one.
    api_version: String,
    time: Option<String>,
    fields: Fields,
}

/// The entries without the times at which they were written.
#[must_use]
pub fn without_times(entries: &Value) -> Value {
    let mut entries = entries.clone();
    for entry in entries.as_array_mut().into_iter().flatten() {
        if let Some(entry) = entry.as_object_mut() {
            entry.remove("time");
        }
    }
    entries
}

// === impl Managed ===

impl Managed {
    /// What an object says.
    pub fn of(object: Option<&Value>) -> Result<Managed, String> {
        match object.and_then(|object| object.pointer("/metadata/managedFields")) {
            Some(entries) => Managed::decode(entries),
            None => Ok(Managed::default()),
        }
    }

    pub fn decode(entries: &Value) -> Result<Managed, String> {
        let mut managed = Managed::default();
        for (index, entry) in entries.as_array().into_iter().flatten().enumerate() {
            let entry = Entry::decode(entry, index)?;
            match managed.0.iter_mut().find(|one| one.manager == entry.manager) {
                Some(same) => *same = entry,
                None => managed.0.push(entry),
            }
        }
        Ok(managed)
    }

    /// Writes it into an object; nobody's fields are not written.
    pub(super) fn put(mut self, object: &mut Value) {
        self.0.sort_by(|a, b| a.order().cmp(&b.order()));
        let Some(metadata) = metadata(object) else { return };
        match self.0.is_empty() {
            true => metadata.remove("managedFields"),
            false => {
                let entries = self.0.into_iter().map(Entry::encode).collect();
                metadata.insert("managedFields".into(), Value::Array(entries))
            }
        };
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Manager, &Fields)> {
        self.0.iter().map(|entry| (&entry.manager, &entry.fields))
    }

    /// With the version of the fields.
    pub(super) fn versioned(&self) -> impl Iterator<Item = (&Manager, &str, &Fields)> {
        self.0.iter().map(|entry| (&entry.manager, entry.api_version.as_str(), &entry.fields))
    }

    pub(super) fn fields(&self, manager: &Manager) -> Option<&Fields> {
        self.0.iter().find(|entry| entry.manager == *manager).map(|entry| &entry.fields)
    }

    /// Everything that anyone owns.
    pub(super) fn all(&self) -> Fields {
        self.0.iter().fold(Fields::default(), |all, entry| all.union(&entry.fields))
    }

    /// The versions of the fields, each once.
    pub(super) fn versions(&self) -> BTreeSet<String> {
        self.0.iter().map(|entry| entry.api_version.clone()).collect()
    }

    /// Which version the manager's fields are of.
    pub(super) fn version(&self, manager: &Manager) -> Option<&str> {
        let found = self.0.iter().find(|entry| entry.manager == *manager);
        found.map(|entry| entry.api_version.as_str())
    }

    pub(super) fn forget_version(&mut self, version: &str) {
        self.0.retain(|entry| entry.api_version != version);
    }

    /// Only those whose fields are of `version`.
    pub(super) fn of_version(&self, version: &str) -> Managed {
        Managed(self.0.iter().filter(|entry| entry.api_version == version).cloned().collect())
    }

    pub(super) fn reconcile(&mut self, write: &Write<'_>, versions: &dyn Versions) {
        for entry in &mut self.0 {
            let other = versions.schema(&entry.api_version);
            let schema = match entry.api_version == write.api_version {
                true => write.schema,
                false => other.unwrap_or(write.schema),
            };
            entry.fields = reconcile(std::mem::take(&mut entry.fields), schema);
        }
    }

    /// `manager` owns exactly `fields` now. Returns what it owned before.
    pub(super) fn replace(
        &mut self,
        manager: &Manager,
        api_version: &str,
        fields: Fields,
    ) -> Option<Fields> {
        match self.0.iter_mut().find(|entry| entry.manager == *manager) {
            Some(entry) => {
                api_version.clone_into(&mut entry.api_version);
                Some(std::mem::replace(&mut entry.fields, fields))
            }
            None => {
                let (manager, api_version) = (manager.clone(), api_version.to_owned());
                self.0.push(Entry { manager, api_version, time: None, fields });
                None
            }
        }
    }

    /// Who writes comes to own `fields`, besides what it owns.
    pub(super) fn add(&mut self, write: &Write<'_>, fields: Fields) {
        if fields.is_empty() {
            return;
        }
        let manager = Manager::of(write, Operation::Update);
        let fields = match self.fields(&manager) {
            Some(owned) => owned.union(&fields),
            None => fields,
        };
        self.replace(&manager, write.api_version, fields);
        self.stamp(&manager, write.time);
        self.cap();
    }

    /// What others changed or removed is theirs no longer.
    pub(super) fn lose(&mut self, to: &Manager, deltas: &Deltas) {
        for entry in self.0.iter_mut().filter(|entry| entry.manager != *to) {
            let delta = deltas.seen_in(&entry.api_version);
            let gone = delta.changed().union(&delta.removed);
            entry.fields = entry.fields.difference(&gone);
        }
        self.0.retain(|entry| !entry.fields.is_empty());
    }

    /// What is gone is not the writer's either.
    pub(super) fn forget(&mut self, manager: &Manager, delta: &Delta) {
        for entry in self.0.iter_mut().filter(|entry| entry.manager == *manager) {
            entry.fields = entry.fields.difference(&delta.removed);
        }
        self.0.retain(|entry| !entry.fields.is_empty());
    }

    pub(super) fn strip(&mut self, manager: &Manager) {
        for entry in self.0.iter_mut().filter(|entry| entry.manager == *manager) {
            entry.fields = entry.fields.difference(stripped());
        }
        self.0.retain(|entry| !entry.fields.is_empty());
    }

    pub(super) fn stamp(&mut self, manager: &Manager, time: &str) {
        for entry in self.0.iter_mut().filter(|entry| entry.manager == *manager) {
            entry.time = Some(time.to_owned());
        }
    }

    /// Merges the oldest updaters, each with those of its version, until there
    /// are few enough.
    fn cap(&mut self) {
        let is_updater = |entry: &Entry| entry.manager.operation == Operation::Update;
        let mut len = self.0.iter().filter(|entry| is_updater(entry)).count();
        if len <= UPDATERS_MAX {
            return;
        }
        self.0.sort_by(|a, b| a.age().cmp(&b.age()));
        let (updaters, mut rest): (Vec<Entry>, Vec<Entry>) =
            std::mem::take(&mut self.0).into_iter().partition(is_updater);
        let mut kept: Vec<Entry> = Vec::with_capacity(UPDATERS_MAX);
        for entry in updaters {
            let same = kept.iter_mut().find(|one| one.api_version == entry.api_version);
            match same.filter(|_| len > UPDATERS_MAX) {
                Some(bucket) => {
                    let version = &entry.api_version;
                    bucket.manager = Manager::new(ANCIENT, Operation::Update, version, "");
                    bucket.fields = bucket.fields.union(&entry.fields);
                    bucket.time = entry.time;
                    len -= 1;
                }
                None => kept.push(entry),
            }
        }
        rest.append(&mut kept);
        self.0 = rest;
    }
}

// === impl Entry ===

impl Entry {
    fn decode(entry: &Value, index: usize) -> Result<Entry, String> {
        let text = |field: &str| entry[field].as_str().unwrap_or_default();
        let operation = match text("operation") {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return Err("operation must be `Apply` or `Update`".into()),
        };
        let api_version = text("apiVersion");
        if api_version.is_empty() {
            return Err("apiVersion must not be empty".into());
        }
        match text("fieldsType") {
            "FieldsV1" => {}
            "" => return Err(format!("missing fieldsType in managed fields entry {index}")),
            other => {
                return Err(format!(
                    "invalid fieldsType {other:?} in managed fields entry {index}"
                ));
            }
        }
        let fields = Fields::from_json(&entry["fieldsV1"]).map_err(|error| {
            format!("error decoding versioned set: error decoding set: {error}")
        })?;
        Ok(Entry {
            manager: Manager::new(text("manager"), operation, api_version, text("subresource")),
            api_version: api_version.to_owned(),
            time: entry["time"].as_str().map(str::to_owned),
            fields,
        })
    }

    fn encode(self) -> Value {
        let mut map = Map::new();
        let mut put = |field: &str, value: Value| map.insert(field.to_owned(), value);
        put("apiVersion", self.api_version.into());
        put("fieldsType", "FieldsV1".into());
        put("fieldsV1", self.fields.to_json());
        put("operation", self.manager.operation.as_str().into());
        if !self.manager.name.is_empty() {
            put("manager", self.manager.name.into());
        }
        if !self.manager.subresource.is_empty() {
            put("subresource", self.manager.subresource.into());
        }
        if let Some(time) = self.time {
            put("time", time.into());
        }
        Value::Object(map)
    }

    /// In which order entries are written.
    fn order(&self) -> impl Ord {
        (
            self.manager.operation,
            self.time.as_deref().unwrap_or_default(),
            &self.manager.name,
            &self.api_version,
            &self.manager.subresource,
        )
    }

    /// The oldest first.
    fn age(&self) -> impl Ord {
        (self.time.as_deref().unwrap_or_default(), &self.manager)
    }
}

/// The metadata of `object`, made when it has none.
pub(super) fn metadata(object: &mut Value) -> Option<&mut Map<String, Value>> {
    let metadata = object.as_object_mut()?.entry("metadata");
    metadata.or_insert_with(|| Value::Object(Map::new())).as_object_mut()
}
