//! What a definition makes of one of its versions.

use std::{
    cmp::Reverse,
    sync::{Arc, OnceLock},
};

use resources::{FieldError, Scope};
use schema::{Schema, structural};
use serde_json::Value;

use super::{
    column::Column,
    conversion::Conversion,
    definition::{Definition, METADATA, Version},
    rules::Rules as Expressions,
};
use crate::{
    failure::Failure,
    object,
    resource::{Face, NameRule, Origin, Resource, Rules, Selectable, Text},
    scale,
    subresource::Subresource,
    table,
};

/// Everything about the objects of one version that the generic server does
/// not know of every kind.
pub struct Custom {
    schema: Arc<Schema>,
    rules: Expressions,
    pub columns: Vec<Column>,
    scale: Option<scale::Paths>,
    api_version: String,
    /// What stored objects of this version start with; whatever starts otherwise
    /// is looked into.
    own_start: String,
    /// How its objects get from version to version, and which one is kept.
    pub conversion: Arc<Conversion>,
    /// Its definition goes: nothing new is made.
    pub terminating: bool,
    /// Told to whoever uses a deprecated version.
    pub warning: Option<String>,
}

// === impl Custom ===

impl Custom {
    fn of(
        definition: Definition<'_>,
        version: Version<'_>,
        conversion: &Arc<Conversion>,
    ) -> Custom {
        let api_version = format!("{}/{}", definition.group(), version.name());
        let schema = conversion.schema(&api_version);
        let warning = version.flag("deprecated").then(|| {
            let told = version.0.get("deprecationWarning").and_then(Value::as_str);
            told.map_or_else(
                || {
                    let kind = object::text(definition.0, "/spec/names/kind");
                    format!("{}/{} {kind} is deprecated", definition.group(), version.name())
                },
                str::to_owned,
            )
        });
        Custom {
            rules: Expressions::of(&schema),
            schema,
            columns: Column::of(version),
            scale: version.subresource("scale").and_then(scale_paths),
            own_start: own_start(conversion.kind(), &api_version),
            api_version,
            conversion: conversion.clone(),
            terminating: object::is_deleting(definition.0),
            warning,
        }
    }

    pub fn api_version(&self) -> &str {
        &self.api_version
    }

    /// Whether stored bytes are of this version for certain.
    pub fn is_own(&self, stored: &[u8]) -> bool {
        stored.starts_with(self.own_start.as_bytes())
    }

    /// Whether a stored object is of another version.
    pub fn is_other(&self, object: &Value) -> bool {
        object::text(object, "/apiVersion") != self.api_version
    }

    /// An object as it was stored, by whatever schema was there then, as this
    /// version shows it. Of other versions it gets only what needs no converting.
    pub fn read(&self, object: &mut Value) -> Result<(), Failure> {
        if self.conversion.asks() && self.is_other(object) {
            return Err(Failure::internal("an object was read without being converted"));
        }
        let _ = self.schema.look(object);
        self.schema.fill(object);
        Ok(())
    }

    /// What is wrong with an object; `old` is what it replaces.
    pub fn check(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut errors = self.schema.check(object, old);
        if let Some(scale) = &self.scale {
            errors.extend(count(object, &scale.wanted));
            errors.extend(count(object, &scale.seen));
        }
        if self.rules.is_empty() {
            return errors;
        }
        // Rules rely on types and sizes.
        if errors.iter().any(blocks) {
            let detail = "some validation rules were not checked because the object was invalid; \
                          correct the existing errors to complete validation";
            errors.push(FieldError::invalid_json("<nil>", &Value::Null, detail));
        } else {
            errors.extend(self.rules.check(object, old));
        }
        errors
    }
}

/// As [`Resource::head_of`] begins.
fn own_start(kind: &str, version: &str) -> String {
    format!(r#"{{"kind":"{kind}","apiVersion":"{version}","metadata":"#)
}

fn blocks(error: &FieldError) -> bool {
    matches!(
        error.cause(),
        "FieldValueNotSupported"
            | "FieldValueRequired"
            | "FieldValueTooLong"
            | "FieldValueTooMany"
            | "FieldValueTypeInvalid"
    )
}

/// `.spec.replicas` as a pointer, `/spec/replicas`.
fn scale_paths(told: &Value) -> Option<scale::Paths> {
    let pointer = |name: &str| {
        let path = told.get(name).and_then(Value::as_str).filter(|path| !path.is_empty())?;
        Some(path.replace('.', "/").into())
    };
    Some(scale::Paths {
        wanted: pointer("specReplicasPath")?,
        seen: pointer("statusReplicasPath")?,
        selector: pointer("labelSelectorPath"),
    })
}

/// What is wrong with a count of replicas.
fn count(object: &Value, pointer: &str) -> Option<FieldError> {
    let count = object.pointer(pointer).filter(|count| !count.is_null())?.as_i64()?;
    let path = pointer.replace('/', ".");
    if count < 0 {
        return Some(FieldError::invalid(path, count, "should be a non-negative integer"));
    }
    (count > i64::from(i32::MAX)).then(|| {
        FieldError::invalid(path, count, format!("should be less than or equal to {}", i32::MAX))
    })
}

/// The kinds that a definition makes: its served versions, the one that
/// Kubernetes prefers first.
pub fn resources(crd: &Value) -> Vec<Arc<Resource>> {
    let definition = Definition(crd);
    let mut served: Vec<Version<'_>> =
        definition.versions().filter(|version| version.flag("served")).collect();
    served.sort_by_cached_key(|version| preference(version.name()));
    let conversion = conversion(definition);
    served.into_iter().map(|version| Arc::new(resource(definition, version, &conversion))).collect()
}

/// The kind in the version that its objects are kept in.
pub fn stored(crd: &Value) -> Option<Arc<Resource>> {
    let definition = Definition(crd);
    Some(Arc::new(resource(definition, definition.storage()?, &conversion(definition))))
}

fn conversion(definition: Definition<'_>) -> Arc<Conversion> {
    let schemas = definition.versions().map(|version| {
        let open_api = version.open_api().unwrap_or(&Value::Null);
        let schema = structural::read(open_api, &METADATA);
        (format!("{}/{}", definition.group(), version.name()), Arc::new(schema))
    });
    Arc::new(Conversion::of(definition, schemas.collect()))
}

fn resource(
    definition: Definition<'_>,
    version: Version<'_>,
    conversion: &Arc<Conversion>,
) -> Resource {
    let names = definition.0.pointer("/status/acceptedNames").unwrap_or(&Value::Null);
    let text = |name: &str| Text::from(names[name].as_str().unwrap_or_default().to_owned());
    let texts = |name: &str| -> Vec<Text> {
        let list = names[name].as_array().into_iter().flatten().filter_map(Value::as_str);
        list.map(|text| Text::from(text.to_owned())).collect()
    };
    let custom = Arc::new(Custom::of(definition, version, conversion));
    let mut subresources = Vec::new();
    if version.subresource("status").is_some() {
        subresources.push(Subresource::Status);
    }
    if custom.scale.is_some() {
        subresources.push(Subresource::Scale);
    }
    Resource {
        group: definition.group().to_owned().into(),
        version: version.name().to_owned().into(),
        kind: text("kind"),
        list_kind: text("listKind"),
        plural: definition.plural().to_owned().into(),
        singular: text("singular"),
        short_names: texts("shortNames"),
        categories: texts("categories"),
        scope: if definition.is_namespaced() { Scope::Namespaced } else { Scope::Cluster },
        federation: Face::Stored,
        unit: Face::Stored,
        subresources,
        generation: true,
        names: NameRule::Subdomain,
        selectable: selectable(version),
        columns: &[table::NAME],
        schema: custom.schema.clone(),
        scale: custom.scale.clone(),
        origin: Origin::Custom(custom),
        kept_as: None,
        rules: Rules::NONE,
        ttl_s: None,
        // Whatever was stored is shown by the schema of today.
        looks_inside: true,
        head: OnceLock::new(),
    }
}

fn selectable(version: Version<'_>) -> Vec<Selectable> {
    let open_api = version.open_api().unwrap_or(&Value::Null);
    let paths = version.list("selectableFields").filter_map(|(_, told)| {
        let path = told["jsonPath"].as_str()?;
        let found = structural::field_path(path, open_api, false).ok()?;
        let escaped = found.names.iter().map(|name| name.replace('~', "~0").replace('/', "~1"));
        let pointer: String = escaped.map(|name| format!("/{name}")).collect();
        let label = path.trim_start_matches('.').to_owned();
        Some(Selectable { label: label.into(), pointer: pointer.into() })
    });
    paths.collect()
}

/// Sorts `v2` before `v1` before `v1beta2` before `v1alpha1` before `foo`.
fn preference(name: &str) -> (u8, Reverse<u64>, Reverse<u64>, String) {
    let parsed = name.strip_prefix('v').and_then(|rest| {
        let (major, rest) = digits(rest)?;
        if rest.is_empty() {
            return Some((0, major, 0));
        }
        let (rank, rest) = match rest.strip_prefix("beta") {
            Some(rest) => (1, rest),
            None => (2, rest.strip_prefix("alpha")?),
        };
        let (minor, rest) = digits(rest)?;
        rest.is_empty().then_some((rank, major, minor))
    });
    let (rank, major, minor) = parsed.unwrap_or((3, 0, 0));
    (rank, Reverse(major), Reverse(minor), name.to_owned())
}

fn digits(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_preferred_as_kubernetes_does() {
        let mut names = ["v1alpha1", "foo", "v1", "v10", "v2beta1", "v1beta2", "v1beta1", "v2"];
        names.sort_by_cached_key(|name| preference(name));
        let expected = ["v10", "v2", "v1", "v2beta1", "v1beta2", "v1beta1", "v1alpha1", "foo"];
        assert_eq!(names, expected);
    }
}
