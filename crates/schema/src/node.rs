//! One node of a schema: a value's type, and what is known about it.

use std::sync::Arc;

use serde_json::Value;

use crate::{clause::Junctors, pattern::Pattern};

/// The type of a value. Cheap to share, never changed once made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Schema {
    /// For people; may be empty.
    pub about: Arc<str>,
    pub shape: Shape,
    /// `null` is a value of its own instead of an absent field.
    pub nullable: bool,
    pub default: Option<Value>,
    /// Rules beyond the type.
    pub checks: Option<Box<Checks>>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub enum Shape {
    /// Anything at all; kept as it is (`RawExtension`, `JSON`, a structural
    /// schema without type that preserves unknown fields).
    #[default]
    Any,
    Text(Form),
    /// Bits: 32 or 64.
    Integer(u8),
    Number,
    Boolean,
    /// `x-kubernetes-int-or-string`.
    IntOrText,
    Object(Object),
    List(List),
    /// A built-in type, looked up by [`crate::builtin::get`]; types refer to
    /// each other, some to themselves.
    Named(TypeId),
}

/// A built-in type's place in the table of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TypeId(pub u32);

/// What a string holds. On the wire of protobuf some are messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    #[default]
    Plain,
    /// Base64 in JSON.
    Bytes,
    /// RFC 3339 to the second (`metav1.Time`).
    Time,
    /// RFC 3339 to the microsecond (`metav1.MicroTime`).
    MicroTime,
    /// `500m`, `1Gi` (`resource.Quantity`); a number is taken too.
    Quantity,
    /// Go's `1h30m` (`metav1.Duration`).
    Duration,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object {
    /// In the order in which they are shown.
    pub fields: Vec<Field>,
    /// Of all other keys, for maps.
    pub additional: Option<Arc<Schema>>,
    /// Unknown fields are kept (`x-kubernetes-preserve-unknown-fields`).
    pub open: bool,
    /// Owned and replaced as one value (`x-kubernetes-map-type: atomic`).
    pub atomic: bool,
    /// A whole object with kind and metadata of its own
    /// (`x-kubernetes-embedded-resource`).
    pub embedded: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Field {
    pub name: Arc<str>,
    /// Of protobuf; 0 for what has no such form (custom kinds; `kind` and
    /// `apiVersion`, which travel in the envelope).
    pub number: u32,
    /// The numbers of the messages around it that JSON does not show, outermost
    /// first: a volume's `secret` is field 6 of `volumeSource`, field 2 of the
    /// volume. Nearly always empty.
    pub within: Vec<u32>,
    pub required: bool,
    pub presence: Presence,
    pub schema: Arc<Schema>,
    /// How strategic merge patch treats it; `None` replaces.
    pub patch: Option<PatchRule>,
}

/// What an empty value (`""`, 0, false, `[]`, `{}`) of a field means. Custom
/// kinds keep what was written; built-in ones are shown as Kubernetes' own
/// servers would encode them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Presence {
    /// A value like any other: it is kept, and absence is something else.
    #[default]
    Kept,
    /// The same as absence: it is left out.
    Sparse,
    /// The same as absence, and always written (`resources: {}`,
    /// `restartCount: 0`).
    Always,
}

/// `patchStrategy` and `patchMergeKey`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PatchRule {
    /// Lists are merged: by `key`, or as sets when there is none.
    pub merge: bool,
    /// Objects keep only the fields that the patch retains.
    pub retain_keys: bool,
    pub key: Option<Arc<str>>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct List {
    pub items: Arc<Schema>,
    pub kind: ListKind,
}

/// `x-kubernetes-list-type`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ListKind {
    #[default]
    Atomic,
    Set,
    /// The names of the fields that tell items apart, in order.
    Map(Vec<Arc<str>>),
}

/// Rules beyond the type, as OpenAPI v3 and Kubernetes word them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checks {
    /// `enum`; empty for none.
    pub values: Vec<Value>,
    /// A regular expression (RE2's syntax), unanchored.
    pub pattern: Option<Pattern>,
    /// `format`, where it is none of [`Form`].
    pub format: Option<Arc<str>>,
    pub minimum: Option<serde_json::Number>,
    pub maximum: Option<serde_json::Number>,
    pub exclusive_minimum: bool,
    pub exclusive_maximum: bool,
    pub multiple_of: Option<serde_json::Number>,
    pub min_length: Option<u64>,
    pub max_length: Option<u64>,
    pub min_items: Option<u64>,
    pub max_items: Option<u64>,
    pub unique_items: bool,
    pub min_properties: Option<u64>,
    pub max_properties: Option<u64>,
    /// `allOf`, `anyOf`, `oneOf`, `not`: value validations only; structural
    /// schemas allow no types inside.
    pub junctors: Option<Box<Junctors>>,
    /// `x-kubernetes-validations`, as they were written.
    pub rules: Vec<Value>,
}

// === impl Schema ===

impl Schema {
    #[must_use]
    pub fn of(shape: Shape) -> Schema {
        Schema { shape, ..Schema::default() }
    }

    /// The type itself, where this only names one.
    #[must_use]
    pub fn resolved(&self) -> &Schema {
        match self.shape {
            Shape::Named(id) => crate::builtin::get(id),
            _ => self,
        }
    }
}

// === impl Object ===

impl Object {
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| &*field.name == name)
    }

    /// What the value under `name` must be; `None` when there is no such field.
    #[must_use]
    pub fn schema_of(&self, name: &str) -> Option<&Arc<Schema>> {
        self.field(name).map(|field| &field.schema).or(self.additional.as_ref())
    }
}
