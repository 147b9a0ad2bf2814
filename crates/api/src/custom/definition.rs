//! A CustomResourceDefinition, read from its object.

use std::sync::{Arc, LazyLock};

use schema::{Schema, Shape, builtin};
use serde_json::{Value, json};

use crate::object;

/// Keeps a definition while its objects go.
pub const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

/// The metadata of every object.
pub static METADATA: LazyLock<Arc<Schema>> = LazyLock::new(|| {
    let id = builtin::find("meta.v1.ObjectMeta").expect("the sources describe it");
    Arc::new(Schema::of(Shape::Named(id)))
});

/// The definition's object, with names for its parts. Everything is read as
/// far as it makes sense: what is stored was checked once, by whatever rules.
#[derive(Clone, Copy)]
pub struct Definition<'a>(pub &'a Value);

/// One version of the kind.
#[derive(Clone, Copy)]
pub struct Version<'a>(pub &'a Value);

// === impl Definition ===

impl<'a> Definition<'a> {
    pub fn name(self) -> &'a str {
        object::name(self.0)
    }

    pub fn group(self) -> &'a str {
        object::text(self.0, "/spec/group")
    }

    pub fn plural(self) -> &'a str {
        object::text(self.0, "/spec/names/plural")
    }

    pub fn is_namespaced(self) -> bool {
        object::text(self.0, "/spec/scope") == "Namespaced"
    }

    pub fn versions(self) -> impl Iterator<Item = Version<'a>> {
        let versions = self.0.pointer("/spec/versions").and_then(Value::as_array);
        versions.into_iter().flatten().map(Version)
    }

    /// The version in which objects are kept.
    pub fn storage(self) -> Option<Version<'a>> {
        self.versions().find(|version| version.flag("storage"))
    }

    pub fn condition(self, kind: &str) -> Option<&'a Value> {
        let conditions = self.0.pointer("/status/conditions").and_then(Value::as_array)?;
        conditions.iter().find(|condition| condition["type"] == kind)
    }

    pub fn is(self, condition: &str) -> bool {
        self.condition(condition).is_some_and(|condition| condition["status"] == "True")
    }

    /// All versions say the same of `part`; Kubernetes then names it at the
    /// top.
    pub fn is_shared(self, part: &str) -> bool {
        let mut parts = self.versions().map(|version| version.0.get(part));
        let Some(Some(first)) = parts.next() else { return false };
        parts.all(|part| part == Some(first))
    }
}

// === impl Version ===

impl<'a> Version<'a> {
    pub fn name(self) -> &'a str {
        self.0["name"].as_str().unwrap_or_default()
    }

    pub fn flag(self, name: &str) -> bool {
        self.0[name].as_bool().unwrap_or_default()
    }

    pub fn open_api(self) -> Option<&'a Value> {
        self.0.pointer("/schema/openAPIV3Schema").filter(|schema| !schema.is_null())
    }

    pub fn subresource(self, name: &str) -> Option<&'a Value> {
        self.0.get("subresources")?.get(name).filter(|told| !told.is_null())
    }

    pub fn list(self, name: &str) -> impl Iterator<Item = (usize, &'a Value)> {
        self.0.get(name).and_then(Value::as_array).into_iter().flatten().enumerate()
    }
}

/// Fills in what a definition leaves out.
pub fn default(crd: &mut Value) {
    let kind = object::text(crd, "/spec/names/kind").to_owned();
    let Some(spec) = crd.get_mut("spec").and_then(Value::as_object_mut) else { return };
    if let Some(names) = spec.get_mut("names").and_then(Value::as_object_mut)
        && !kind.is_empty()
    {
        object::set_default(names, "singular", kind.to_lowercase());
        object::set_default(names, "listKind", format!("{kind}List"));
    }
    let conversion = spec.entry("conversion").or_insert_with(|| json!({"strategy": "None"}));
    if let Some(service) =
        conversion.pointer_mut("/webhook/clientConfig/service").and_then(Value::as_object_mut)
    {
        object::set_default(service, "port", 443);
    }
    record_storage(crd);
}

/// Objects may be kept in every version that ever was the stored one.
fn record_storage(crd: &mut Value) {
    let Some(storage) = Definition(crd).storage().map(|version| version.name().to_owned()) else {
        return;
    };
    let stored = object::child(crd, "status").entry("storedVersions").or_insert(Value::Null);
    if stored.is_null() {
        *stored = json!([]);
    }
    if let Some(list) = stored.as_array_mut()
        && !list.iter().any(|version| *version == storage)
    {
        list.push(storage.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_filled_in_and_the_stored_version_is_remembered() {
        let mut crd = json!({"metadata": {"name": "as.b.c"}, "spec": {
            "group": "b.c", "names": {"plural": "as", "kind": "A"}, "scope": "Namespaced",
            "versions": [{"name": "v1", "served": true, "storage": false},
                {"name": "v2", "served": true, "storage": true}]},
            "status": {"storedVersions": ["v1"]}});
        default(&mut crd);
        let once = crd.clone();
        default(&mut crd);
        assert_eq!(crd, once);
        assert_eq!(crd["spec"]["names"]["singular"], "a");
        assert_eq!(crd["spec"]["names"]["listKind"], "AList");
        assert_eq!(crd["spec"]["conversion"]["strategy"], "None");
        assert_eq!(crd["status"]["storedVersions"], json!(["v1", "v2"]));
    }
}
