//! What one kind tells the generic server: its names, where it is served, how
//! it is shown, and its few rules. There is no handler per kind.

use resources::{FieldError, Kind, Scope};
use serde_json::Value;

use crate::{schema::Schema, table::Column};

pub struct Resource {
    /// Empty for the core group.
    pub group: &'static str,
    pub version: &'static str,
    pub kind: &'static str,
    pub plural: &'static str,
    pub singular: &'static str,
    pub short_names: &'static [&'static str],
    pub categories: &'static [&'static str],
    pub scope: Scope,
    /// How it is served at `/`.
    pub federation: Face,
    /// How it is served at `/units/NAME`.
    pub unit: Face,
    /// Written by another hand than the rest, through its own subresource.
    pub status: bool,
    /// Has logs to be read from an agent.
    pub logs: bool,
    /// Whether `metadata.generation` counts changes of intent.
    pub generation: bool,
    pub names: NameRule,
    /// Field selectors beyond `metadata.name` and `metadata.namespace`.
    pub selectable: &'static [Selectable],
    pub columns: &'static [Column],
    pub schema: &'static Schema,
    pub rules: Rules,
    /// Objects go by themselves after this many seconds.
    pub ttl_s: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Face {
    Absent,
    /// Kept in this door's own keyspace.
    Stored,
    /// A read-only view over all units.
    Merged,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRule {
    /// Dots allowed, 253 characters.
    Subdomain,
    /// No dots, 63 characters: it becomes part of other names.
    Label,
}

/// A field that `fieldSelector` may name, and where it is.
pub struct Selectable {
    pub label: &'static str,
    pub pointer: &'static str,
}

/// Pure functions over the object's JSON.
#[derive(Clone, Copy)]
pub struct Rules {
    /// Fills in what was left out; must be idempotent.
    pub default: fn(&mut Value),
    /// Sets what only the server may say of a new object.
    pub create: fn(&mut Value),
    pub validate: fn(&Value) -> Vec<FieldError>,
    /// `(new, old)`: changes that are not allowed.
    pub validate_update: fn(&Value, &Value) -> Vec<FieldError>,
    /// Seconds that a deletion waits for whoever runs the object; none
    /// deletes at once.
    pub grace_s: fn(&Value) -> Option<u64>,
}

// === impl Resource ===

impl Resource {
    /// A kind of ours, stored at the federation.
    pub(crate) const fn of<K: Kind>(
        schema: &'static Schema,
        columns: &'static [Column],
    ) -> Resource {
        Resource {
            group: K::GROUP,
            version: K::VERSION,
            kind: K::KIND,
            plural: K::PLURAL,
            singular: K::SINGULAR,
            short_names: K::SHORT_NAMES,
            categories: &["polis"],
            scope: K::SCOPE,
            federation: Face::Stored,
            unit: Face::Absent,
            status: true,
            logs: false,
            generation: true,
            names: NameRule::Label,
            selectable: &[],
            columns,
            schema,
            rules: crate::kinds::ours::rules::<K>(),
            ttl_s: None,
        }
    }

    /// A kind of Kubernetes' core group, stored at both doors.
    pub(crate) const fn core(
        kind: &'static str,
        plural: &'static str,
        singular: &'static str,
        schema: &'static Schema,
        columns: &'static [Column],
    ) -> Resource {
        Resource {
            group: "",
            version: "v1",
            kind,
            plural,
            singular,
            short_names: &[],
            categories: &[],
            scope: Scope::Namespaced,
            federation: Face::Stored,
            unit: Face::Stored,
            status: false,
            logs: false,
            generation: false,
            names: NameRule::Subdomain,
            selectable: &[],
            columns,
            schema,
            rules: Rules::NONE,
            ttl_s: None,
        }
    }

    pub fn is_namespaced(&self) -> bool {
        self.scope == Scope::Namespaced
    }

    /// `v1`, `polis.dev/v1alpha1`.
    pub fn api_version(&self) -> String {
        match self.group {
            "" => self.version.to_owned(),
            group => format!("{group}/{}", self.version),
        }
    }

    /// `pods`, `units.polis.dev`.
    pub fn qualified(&self) -> String {
        match self.group {
            "" => self.plural.to_owned(),
            group => format!("{}.{group}", self.plural),
        }
    }

    /// Every object's key starts with this.
    pub fn prefix(&self) -> String {
        let group = if self.group.is_empty() { "core" } else { self.group };
        format!("/registry/{group}/{}/", self.plural)
    }

    pub fn key(&self, namespace: Option<&str>, name: &str) -> String {
        match namespace {
            Some(namespace) => format!("{}{namespace}/{name}", self.prefix()),
            None => format!("{}{name}", self.prefix()),
        }
    }

    /// The path of the collection (or, with a name, the object) below a door.
    pub fn path(&self, namespace: Option<&str>, name: &str) -> String {
        let mut path = match self.group {
            "" => format!("/api/{}", self.version),
            group => format!("/apis/{group}/{}", self.version),
        };
        if let Some(namespace) = namespace {
            path.push_str("/namespaces/");
            path.push_str(namespace);
        }
        path.push('/');
        path.push_str(self.plural);
        if !name.is_empty() {
            path.push('/');
            path.push_str(name);
        }
        path
    }
}

// === impl Rules ===

impl Rules {
    pub const NONE: Rules = Rules {
        default: |_| {},
        create: |_| {},
        validate: |_| Vec::new(),
        validate_update: |_, _| Vec::new(),
        grace_s: |_| None,
    };
}
