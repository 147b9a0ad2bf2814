//! Schemas as OpenAPI documents say them.
//!
//! One walk serves both versions. Version 3 says all that we know; version 2
//! has no unions, no null and, as Kubernetes publishes it, no defaults, and
//! what old clients cannot cope with is left out: fields of values that may be
//! null or have unknown fields, and lists whose items are not said.
//!
//! Built-in types are referred to by their full names and gathered as they
//! are, so that a document carries exactly what its paths need.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::{Checks, Field, Form, ListKind, Object, Schema, Shape, TypeId, builtin};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    V2,
    V3,
}

/// The named schemas of one document.
pub struct Components {
    version: Version,
    /// Of a custom kind, which says everything in place.
    custom: bool,
    wanted: Vec<TypeId>,
    seen: BTreeSet<TypeId>,
    made: BTreeMap<String, Value>,
}

const TIME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Time";
const MICRO_TIME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime";
const DURATION: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Duration";
const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
const INT_OR_TEXT: &str = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";

// === impl Version ===

impl Version {
    fn prefix(self) -> &'static str {
        match self {
            Version::V2 => "#/definitions/",
            Version::V3 => "#/components/schemas/",
        }
    }

    /// `{"$ref": …}`.
    #[must_use]
    pub fn reference(self, name: &str) -> Value {
        json!({ "$ref": format!("{}{name}", self.prefix()) })
    }
}

// === impl Components ===

impl Components {
    #[must_use]
    pub fn new(version: Version) -> Components {
        let (wanted, seen, made) = (Vec::new(), BTreeSet::new(), BTreeMap::new());
        Components { version, custom: false, wanted, seen, made }
    }

    /// A reference to a built-in type, which becomes part of the document.
    pub fn refer(&mut self, id: TypeId) -> Value {
        if self.seen.insert(id) {
            self.wanted.push(id);
        }
        self.version.reference(&builtin::describe(id).openapi())
    }

    /// Puts the schema of a custom kind under `name`; `more` are further
    /// members (`x-kubernetes-group-version-kind`).
    pub fn add_custom(&mut self, name: &str, schema: &Schema, more: Map<String, Value>) {
        let root_open = matches!(&schema.shape, Shape::Object(object) if object.open);
        let mut value = if self.version == Version::V2 && root_open {
            // Whatever is named more closely, old clients take for all there is.
            members(json!({ "type": "object" }))
        } else {
            self.custom = true;
            let mut value = self.schema(schema);
            self.custom = false;
            self.root(&mut value);
            value
        };
        value.extend(more);
        self.made.insert(name.to_owned(), Value::Object(value));
    }

    /// What every object has. A schema that names nothing stays as it is: to
    /// name these three would forbid all others.
    fn root(&mut self, value: &mut Map<String, Value>) {
        let metadata = builtin::find("meta.v1.ObjectMeta").map(|id| self.refer(id));
        let Some(Value::Object(properties)) = value.get_mut("properties") else { return };
        let text = |about: &str| json!({ "type": "string", "description": about });
        let about = "APIVersion defines the group and version in which this object is written.";
        properties.insert("apiVersion".into(), text(about));
        properties.insert("kind".into(), text("Kind says what this object is."));
        if let Some(metadata) = metadata {
            let about = json!({ "description": "Standard object's metadata: name, labels and what the server adds." });
            let with = match self.version {
                Version::V2 => [members(metadata), members(about)].map(|one| one.into_iter()),
                Version::V3 => [members(json!({ "allOf": [metadata] })), members(about)]
                    .map(|one| one.into_iter()),
            };
            let with: Map<String, Value> = with.into_iter().flatten().collect();
            properties.insert("metadata".into(), with.into());
        }
    }

    /// Puts a schema that is already written under `name`.
    pub fn add_value(&mut self, name: &str, value: Value) {
        self.made.insert(name.to_owned(), value);
    }

    /// All of them, those that others refer to too. `more` says what a
    /// built-in type has beside its schema.
    #[must_use]
    pub fn finish(mut self, more: impl Fn(TypeId) -> Map<String, Value>) -> Map<String, Value> {
        while let Some(id) = self.wanted.pop() {
            let mut value = self.schema(builtin::get(id));
            value.extend(more(id));
            self.made.insert(builtin::describe(id).openapi(), Value::Object(value));
        }
        self.made.into_iter().collect()
    }

    /// A type that is a string on the wire and has a name of its own.
    fn leaf(&mut self, name: &str) -> Map<String, Value> {
        if !self.made.contains_key(name) {
            self.made.insert(name.to_owned(), leaf(self.version, name));
        }
        members(self.version.reference(name))
    }

    fn schema(&mut self, schema: &Schema) -> Map<String, Value> {
        let blurred = self.version == Version::V2 && schema.nullable;
        let mut out = match &schema.shape {
            Shape::Named(id) => members(self.refer(*id)),
            Shape::Text(form) => self.text(*form),
            Shape::IntOrText if self.custom => {
                members(json!({ "x-kubernetes-int-or-string": true }))
            }
            Shape::IntOrText => self.leaf(INT_OR_TEXT),
            Shape::Any if self.custom => {
                members(json!({ "x-kubernetes-preserve-unknown-fields": true }))
            }
            Shape::Any => members(json!({ "type": "object" })),
            Shape::Integer(32) => members(json!({ "type": "integer", "format": "int32" })),
            Shape::Integer(_) if self.custom => members(json!({ "type": "integer" })),
            Shape::Integer(_) => members(json!({ "type": "integer", "format": "int64" })),
            Shape::Number if self.custom => members(json!({ "type": "number" })),
            Shape::Number => members(json!({ "type": "number", "format": "double" })),
            Shape::Boolean => members(json!({ "type": "boolean" })),
            Shape::Object(object) => self.object(object, blurred),
            Shape::List(list) => {
                let mut out = members(json!({ "type": "array" }));
                if !blurred {
                    let items = self.schema(&list.items);
                    out.insert("items".into(), self.within(items));
                }
                self.list_kind(&list.kind, &mut out);
                out
            }
        };
        if blurred {
            out.remove("type");
        }
        // Siblings of a reference mean nothing in version 3.
        if self.version == Version::V3 && out.contains_key("$ref") && says_more(schema) {
            out = members(json!({ "allOf": [out] }));
        }
        if !schema.about.is_empty() {
            out.insert("description".into(), (*schema.about).into());
        }
        if self.version == Version::V3 {
            if let Some(default) = &schema.default {
                out.insert("default".into(), default.clone());
            }
            if schema.nullable {
                out.insert("nullable".into(), true.into());
            }
        }
        if let Some(checks) = &schema.checks {
            self.checks(checks, &mut out);
        }
        out
    }

    fn text(&mut self, form: Form) -> Map<String, Value> {
        let format = |format: &str| members(json!({ "type": "string", "format": format }));
        match form {
            Form::Plain => members(json!({ "type": "string" })),
            Form::Bytes => format("byte"),
            Form::Time | Form::MicroTime if self.custom => format("date-time"),
            Form::Time => self.leaf(TIME),
            Form::MicroTime => self.leaf(MICRO_TIME),
            Form::Duration if self.custom => format("duration"),
            Form::Duration => self.leaf(DURATION),
            Form::Quantity if self.custom => members(json!({ "type": "string" })),
            Form::Quantity => self.leaf(QUANTITY),
        }
    }

    fn object(&mut self, object: &Object, blurred: bool) -> Map<String, Value> {
        let mut out = members(json!({ "type": "object" }));
        let v2 = self.version == Version::V2;
        if v2 && object.open {
            out.remove("type");
        }
        if !(blurred || v2 && object.open) {
            let required = |field: &&Field| field.required && !(v2 && field.schema.nullable);
            let required: Vec<Value> =
                object.fields.iter().filter(required).map(|field| (*field.name).into()).collect();
            if !required.is_empty() {
                out.insert("required".into(), required.into());
            }
            let properties: Map<String, Value> =
                object.fields.iter().map(|field| self.property(field)).collect();
            if !properties.is_empty() {
                out.insert("properties".into(), properties.into());
            }
        }
        if let Some(values) = &object.additional {
            let values = self.schema(values);
            out.insert("additionalProperties".into(), self.within(values));
        }
        if object.atomic {
            out.insert("x-kubernetes-map-type".into(), "atomic".into());
        }
        if object.open && self.custom {
            out.insert("x-kubernetes-preserve-unknown-fields".into(), true.into());
        }
        if object.embedded {
            out.insert("x-kubernetes-embedded-resource".into(), true.into());
        }
        out
    }

    fn property(&mut self, field: &Field) -> (String, Value) {
        let mut out = self.schema(&field.schema);
        if let Some(rule) = &field.patch {
            let strategy = match (rule.merge, rule.retain_keys) {
                (true, true) => "merge,retainKeys",
                (true, false) => "merge",
                (false, _) => "retainKeys",
            };
            if self.version == Version::V3 && out.contains_key("$ref") {
                out = members(json!({ "allOf": [out] }));
            }
            out.insert("x-kubernetes-patch-strategy".into(), strategy.into());
            if let Some(key) = &rule.key {
                out.insert("x-kubernetes-patch-merge-key".into(), (**key).into());
            }
        }
        ((*field.name).to_owned(), out.into())
    }

    /// An item or a map's value: old clients need to be told of which type.
    fn within(&self, mut schema: Map<String, Value>) -> Value {
        if self.version == Version::V2 && schema.is_empty() {
            schema.insert("type".into(), "object".into());
        }
        schema.into()
    }

    fn list_kind(&self, kind: &ListKind, out: &mut Map<String, Value>) {
        let name = match kind {
            // What custom kinds do not say is not said for them.
            ListKind::Atomic if self.custom => return,
            ListKind::Atomic => "atomic",
            ListKind::Set => "set",
            ListKind::Map(keys) => {
                let keys: Vec<Value> = keys.iter().map(|key| (**key).into()).collect();
                out.insert("x-kubernetes-list-map-keys".into(), keys.into());
                "map"
            }
        };
        out.insert("x-kubernetes-list-type".into(), name.into());
    }

    fn checks(&self, checks: &Checks, out: &mut Map<String, Value>) {
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                out.insert(name.into(), value);
            }
        };
        let yes = |set: bool| set.then_some(Value::Bool(true));
        let some = |list: &[Value]| (!list.is_empty()).then(|| list.to_vec().into());
        put("enum", some(&checks.values));
        put("pattern", checks.pattern.as_ref().map(|pattern| pattern.as_str().into()));
        put("format", checks.format.as_deref().map(Value::from));
        put("minimum", checks.minimum.clone().map(Value::Number));
        put("maximum", checks.maximum.clone().map(Value::Number));
        put("exclusiveMinimum", yes(checks.exclusive_minimum));
        put("exclusiveMaximum", yes(checks.exclusive_maximum));
        put("multipleOf", checks.multiple_of.clone().map(Value::Number));
        put("minLength", checks.min_length.map(Value::from));
        put("maxLength", checks.max_length.map(Value::from));
        put("minItems", checks.min_items.map(Value::from));
        put("maxItems", checks.max_items.map(Value::from));
        put("uniqueItems", yes(checks.unique_items));
        put("minProperties", checks.min_properties.map(Value::from));
        put("maxProperties", checks.max_properties.map(Value::from));
        put("x-kubernetes-validations", some(&checks.rules));
        let Some(junctors) = checks.junctors.as_ref().filter(|_| self.version == Version::V3)
        else {
            return;
        };
        // A reference is in an `allOf` of its own already.
        let written = junctors.written.as_object().into_iter().flatten();
        for (name, value) in written {
            out.entry(name).or_insert_with(|| value.clone());
        }
    }
}

/// Whether anything stands beside the type.
fn says_more(schema: &Schema) -> bool {
    let Schema { about, nullable, default, checks, .. } = schema;
    !about.is_empty() || *nullable || default.is_some() || checks.is_some()
}

fn leaf(version: Version, name: &str) -> Value {
    match (name, version) {
        (TIME | MICRO_TIME, _) => json!({ "type": "string", "format": "date-time" }),
        (QUANTITY, Version::V3) => json!({
            "description": "An amount: a number and a suffix, 500m, 1.5Gi.",
            "oneOf": [{ "type": "string" }, { "type": "number" }],
        }),
        (INT_OR_TEXT, Version::V3) => json!({
            "description": "A number, or text: the name of a port, a percentage.",
            "format": "int-or-string",
            "oneOf": [{ "type": "integer" }, { "type": "string" }],
        }),
        (INT_OR_TEXT, Version::V2) => json!({ "type": "string", "format": "int-or-string" }),
        _ => json!({ "type": "string" }),
    }
}

fn members(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}
