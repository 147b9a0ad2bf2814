//! An object on its way to a client: as the store keeps it, for as long as
//! nobody needs to look inside.
//!
//! Stored bytes are the object's JSON with its kind and its metadata first and
//! the version left open, so that an answer is those bytes with the version
//! filled in, and nothing is parsed or written anew. Bytes of another form
//! (other versions of the kind, older releases) take the long way.

use std::{borrow::Cow, collections::HashMap, io::Write as _};

use bytes::Bytes;
use kv::KeyValue;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::decode;
use crate::{
    failure::Failure,
    object,
    resource::Resource,
    selector::{FieldSelector, LabelSelector},
};

#[derive(Clone, Debug)]
pub enum Item {
    /// As the store has it.
    Kept(KeyValue),
    /// As the store would have it if it kept the version that was asked for:
    /// converted, and complete.
    Shown(KeyValue),
    /// Made here: complete, its version included.
    Made(Value),
}

/// The part of an object that label selectors look at.
#[derive(Deserialize)]
struct Labelled<'a> {
    #[serde(borrow, default)]
    metadata: Labels<'a>,
}

#[derive(Default, Deserialize)]
struct Labels<'a> {
    #[serde(borrow, default)]
    labels: Option<HashMap<Cow<'a, str>, Cow<'a, str>>>,
}

/// An object of the API as bytes to be stored.
pub fn encode(resource: &Resource, object: &Value) -> Vec<u8> {
    let kept = resource.kept_as.map(|kept| {
        let mut object = object.clone();
        (kept.to)(&mut object);
        object
    });
    write_kept(resource.head(), kept.as_ref().unwrap_or(object))
}

/// A converted object as bytes, in its own version.
pub(super) fn encode_shown(resource: &Resource, object: &Value) -> Vec<u8> {
    write_kept(&resource.head_of(&resource.api_version()), object)
}

fn write_kept(head: &str, object: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    out.extend_from_slice(head.as_bytes());
    out.push(b'"');
    let empty = Map::new();
    let metadata = object["metadata"].as_object().unwrap_or(&empty);
    let own = |key: &str| matches!(key, "resourceVersion" | "selfLink");
    write_fields(&mut out, metadata.iter().filter(|(key, _)| !own(key)));
    out.push(b'}');
    let first = |key: &str| matches!(key, "kind" | "apiVersion" | "metadata");
    let fields = object.as_object().unwrap_or(&empty);
    write_fields(&mut out, fields.iter().filter(|(key, _)| !first(key)));
    out.push(b'}');
    out
}

/// Fills the version into what [`write_kept`] left open: nothing before that
/// place can look like it.
fn fill_version(bytes: &[u8], version: u64, out: &mut Vec<u8>) -> bool {
    const OPEN: &[u8] = b"\"resourceVersion\":\"";
    let Some(at) = memchr::memmem::find(bytes, OPEN) else { return false };
    let (head, rest) = bytes.split_at(at + OPEN.len());
    out.extend_from_slice(head);
    let _ = write!(out, "{version}");
    out.extend_from_slice(rest);
    true
}

/// `,"key":value` for each.
fn write_fields<'a>(out: &mut Vec<u8>, fields: impl Iterator<Item = (&'a String, &'a Value)>) {
    for (key, value) in fields {
        out.push(b',');
        serde_json::to_writer(&mut *out, key).expect("text has a JSON form");
        out.push(b':');
        serde_json::to_writer(&mut *out, value).expect("JSON values have a text form");
    }
}

// === impl Item ===

impl Item {
    pub fn name(&self) -> Cow<'_, str> {
        match self {
            Item::Kept(kv) | Item::Shown(kv) => {
                let start = memchr::memrchr(b'/', &kv.key).map_or(0, |at| at + 1);
                String::from_utf8_lossy(&kv.key[start..])
            }
            Item::Made(object) => object::name(object).into(),
        }
    }

    /// Where it is kept; empty for what was made here.
    pub fn key(&self) -> Bytes {
        match self {
            Item::Kept(kv) | Item::Shown(kv) => kv.key.clone(),
            Item::Made(_) => Bytes::new(),
        }
    }

    /// The revision it was written at.
    pub fn version(&self) -> Option<u64> {
        match self {
            Item::Kept(kv) | Item::Shown(kv) => Some(kv.mod_revision.0),
            Item::Made(object) => object::text(object, "/metadata/resourceVersion").parse().ok(),
        }
    }

    /// The object, taken apart.
    pub fn object(&self, resource: &Resource) -> Result<Value, Failure> {
        match self {
            Item::Kept(kv) => decode(resource, kv),
            Item::Shown(kv) => parse(kv),
            Item::Made(object) => Ok(object.clone()),
        }
    }

    pub fn into_object(self, resource: &Resource) -> Result<Value, Failure> {
        match self {
            Item::Kept(kv) => decode(resource, &kv),
            Item::Shown(kv) => parse(&kv),
            Item::Made(object) => Ok(object),
        }
    }

    /// Appends the object's JSON.
    pub fn write(&self, resource: &Resource, out: &mut Vec<u8>) -> Result<(), Failure> {
        match self {
            Item::Kept(kv) | Item::Shown(kv) => self.write_at(resource, kv.mod_revision.0, out),
            Item::Made(object) => write_object(object, out),
        }
    }

    /// Appends the object's JSON as lists have it: one of built-in objects says
    /// of what kind they are once, for all.
    pub fn write_in_list(&self, resource: &Resource, out: &mut Vec<u8>) -> Result<(), Failure> {
        if !resource.is_builtin() {
            return self.write(resource, out);
        }
        if let Item::Kept(kv) = self
            && !resource.looks_inside
            && let Some(rest) = kv.value.strip_prefix(resource.head().as_bytes())
        {
            let _ = write!(out, r#"{{"metadata":{{"resourceVersion":"{}"#, kv.mod_revision.0);
            out.extend_from_slice(rest);
            return Ok(());
        }
        let mut object = self.object(resource)?;
        if let Some(object) = object.as_object_mut() {
            object.remove("kind");
            object.remove("apiVersion");
        }
        write_object(&object, out)
    }

    /// Appends the object's JSON with another version than its own.
    pub fn write_at(
        &self,
        resource: &Resource,
        version: u64,
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        if let Item::Kept(kv) = self
            && !resource.looks_inside
            && let Some(rest) = kv.value.strip_prefix(resource.head().as_bytes())
        {
            out.extend_from_slice(resource.head().as_bytes());
            let _ = write!(out, "{version}");
            out.extend_from_slice(rest);
            return Ok(());
        }
        if let Item::Shown(kv) = self
            && fill_version(&kv.value, version, out)
        {
            return Ok(());
        }
        let mut object = self.object(resource)?;
        object::set_version(&mut object, version);
        write_object(&object, out)
    }

    pub fn matches(
        &self,
        resource: &Resource,
        labels: &LabelSelector,
        fields: &FieldSelector,
    ) -> Result<bool, Failure> {
        if labels.is_empty() && fields.is_empty() {
            return Ok(true);
        }
        match self {
            Item::Kept(kv) | Item::Shown(kv)
                if fields.is_empty()
                    && let Ok(head) = serde_json::from_slice::<Labelled<'_>>(&kv.value) =>
            {
                let own = head.metadata.labels.unwrap_or_default();
                Ok(labels.holds(|key| own.get(key).map(|value| &**value)))
            }
            Item::Kept(_) | Item::Shown(_) => {
                let object = self.object(resource)?;
                Ok(labels.matches(&object) && fields.matches(&object))
            }
            Item::Made(object) => Ok(labels.matches(object) && fields.matches(object)),
        }
    }

    /// About how many bytes it takes to write.
    pub fn len(&self) -> usize {
        match self {
            Item::Kept(kv) | Item::Shown(kv) => kv.value.len() + 16,
            Item::Made(_) => 1024,
        }
    }
}

/// What [`encode_shown`] wrote.
fn parse(kv: &KeyValue) -> Result<Value, Failure> {
    let mut object = serde_json::from_slice(&kv.value).map_err(|_| Failure::corrupt(&kv.key))?;
    object::set_version(&mut object, kv.mod_revision);
    Ok(object)
}

fn write_object(object: &Value, out: &mut Vec<u8>) -> Result<(), Failure> {
    serde_json::to_writer(out, object).map_err(|_| Failure::internal("an object without a form"))
}

#[cfg(test)]
mod tests {
    use kv::Revision;
    use serde_json::json;

    use super::*;
    use crate::catalog::Catalog;

    #[test]
    fn what_is_stored_is_shown_with_its_version_whether_or_not_it_is_looked_into() {
        let resource = Catalog::builtin().find("", "v1", "configmaps").expect("served");
        let object = json!({
            "kind": "ConfigMap", "apiVersion": "v1",
            "metadata": {"name": "a", "resourceVersion": "3", "labels": {"x": "\"q\""}},
            "data": {"k": "{\"resourceVersion\":\"\"}"},
        });
        let kept = Item::Kept(KeyValue {
            key: "/registry/core/configmaps/default/a".into(),
            value: encode(resource, &object).into(),
            create_revision: Revision(7),
            mod_revision: Revision(9),
            version: 1,
            lease: None,
        });
        let mut out = Vec::new();
        kept.write(resource, &mut out).expect("it can be written");
        let shown: Value = serde_json::from_slice(&out).expect("JSON");
        assert_eq!(shown["metadata"]["resourceVersion"], "9");
        assert_eq!(shown, kept.object(resource).expect("it can be read"));
        assert_eq!(shown["data"], object["data"]);
        let labels = LabelSelector::parse("x").expect("a selector");
        assert!(kept.matches(resource, &labels, &FieldSelector::default()).expect("read"));
    }
}
