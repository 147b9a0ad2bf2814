//! The subresource `scale`: a count of replicas that looks the same for every
//! kind that has one (`autoscaling/v1`, `Scale`).

use resources::FieldError;
use schema::{Schema, builtin};
use serde_json::{Value, json};

use crate::{
    failure::Failure,
    object,
    resource::{Resource, Text},
};

/// Where a kind keeps what a scale shows, as JSON pointers.
#[derive(Clone, Debug)]
pub struct Paths {
    pub wanted: Text,
    pub seen: Text,
    /// A LabelSelector, a map of labels, or a selector as text.
    pub selector: Option<Text>,
}

/// What a scale looks like.
pub fn schema() -> &'static Schema {
    builtin::get(builtin::find("autoscaling.v1.Scale").expect("a source describes it"))
}

// === impl Paths ===

impl Paths {
    /// Of the built-in kinds that have one.
    pub const BUILTIN: Paths = Paths {
        wanted: Text::Borrowed("/spec/replicas"),
        seen: Text::Borrowed("/status/replicas"),
        selector: Some(Text::Borrowed("/spec/selector")),
    };

    pub fn show(&self, object: &Value) -> Value {
        let mut metadata = json!({});
        for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
            if let Some(value) = object["metadata"].get(field) {
                metadata[field] = value.clone();
            }
        }
        let count = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
        let mut status = json!({ "replicas": count(&self.seen) });
        let selector = self.selector.as_ref().and_then(|pointer| object.pointer(pointer));
        if let Some(text) = selector.map(selector_text).filter(|text| !text.is_empty()) {
            status["selector"] = text.into();
        }
        let wanted = count(&self.wanted);
        let spec = if wanted == 0 { json!({}) } else { json!({ "replicas": wanted }) };
        json!({
            "kind": "Scale",
            "apiVersion": "autoscaling/v1",
            "metadata": metadata,
            "spec": spec,
            "status": status,
        })
    }

    /// What applying `scale` applies to the object that it is of.
    pub fn part(&self, resource: &Resource, scale: &Value) -> Result<Value, Failure> {
        let spoken = (object::text(scale, "/apiVersion"), object::text(scale, "/kind"));
        if spoken != ("autoscaling/v1", "Scale") {
            let message = format!("invalid object type: {}, Kind={}", spoken.0, spoken.1);
            return Err(Failure::bad_request(message));
        }
        let mut part = json!({ "metadata": scale["metadata"] });
        object::set_kind(&mut part, resource);
        if let Some(replicas) = scale.pointer("/spec/replicas") {
            set(&mut part, &self.wanted, replicas.clone());
        }
        Ok(part)
    }

    /// `object` with the count of `scale`, and with its version when it names
    /// one.
    pub fn apply(
        &self,
        resource: &Resource,
        object: &Value,
        scale: &Value,
    ) -> Result<Value, Failure> {
        let name = object::name(object);
        let spoken = (object::text(scale, "/kind"), object::text(scale, "/apiVersion"));
        if !matches!(spoken.0, "" | "Scale") || !matches!(spoken.1, "" | "autoscaling/v1") {
            return Err(Failure::bad_request(format!(
                "expected an autoscaling/v1 Scale, got {} {}",
                spoken.1, spoken.0
            )));
        }
        let replicas = match scale.pointer("/spec/replicas") {
            None | Some(Value::Null) => 0,
            Some(value) => value.as_i64().unwrap_or(-1),
        };
        if replicas < 0 || replicas > i64::from(i32::MAX) {
            let detail = "must be greater than or equal to 0";
            let error = FieldError::invalid("spec.replicas", replicas, detail);
            return Err(Failure::invalid(resource, name, &[error]));
        }
        let mut object = object.clone();
        set(&mut object, &self.wanted, replicas.into());
        let metadata = object::metadata(&mut object);
        match scale.pointer("/metadata/resourceVersion") {
            Some(version) => metadata.insert("resourceVersion".into(), version.clone()),
            None => metadata.remove("resourceVersion"),
        };
        Ok(object)
    }
}

/// Sets the value at `pointer`, with the objects on the way.
fn set(object: &mut Value, pointer: &str, value: Value) {
    let (parents, last) = pointer.rsplit_once('/').unwrap_or(("", pointer));
    let mut at = object;
    for name in parents.split('/').filter(|name| !name.is_empty()) {
        object::child(at, name);
        at = &mut at[name];
    }
    if !at.is_object() {
        *at = json!({});
    }
    at[last] = value;
}

/// A selector as one text: `a=b,c in (d,e),!f`.
pub fn selector_text(selector: &Value) -> String {
    if let Some(text) = selector.as_str() {
        return text.to_owned();
    }
    let labelled = selector.get("matchLabels").or_else(|| selector.get("matchExpressions"));
    let labels = if labelled.is_some() { &selector["matchLabels"] } else { selector };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut parts: Vec<String> = labels
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", text(value)))
        .collect();
    for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
        let key = text(&expression["key"]);
        let values: Vec<String> =
            expression["values"].as_array().into_iter().flatten().map(text).collect();
        let values = values.join(",");
        parts.push(match text(&expression["operator"]).as_str() {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key,
            _ => format!("!{key}"),
        });
    }
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;

    #[test]
    fn a_scale_shows_counts_and_selector_and_sets_only_the_count() {
        let deployment = json!({
            "metadata": {"name": "d", "namespace": "n", "uid": "u", "resourceVersion": "7", "labels": {}},
            "spec": {"replicas": 3, "selector": {"matchLabels": {"a": "b"}, "matchExpressions": [
                {"key": "c", "operator": "In", "values": ["d", "e"]}, {"key": "f", "operator": "DoesNotExist"}]}},
            "status": {"replicas": 2},
        });
        let scale = Paths::BUILTIN.show(&deployment);
        assert_eq!(scale["spec"]["replicas"], 3);
        assert_eq!(scale["status"], json!({"replicas": 2, "selector": "a=b,c in (d,e),!f"}));
        assert_eq!(scale["metadata"].get("labels"), None);
        let resource = Catalog::builtin().find("apps", "v1", "deployments").expect("served");
        let set = |scale: Value| Paths::BUILTIN.apply(resource, &deployment, &scale);
        let changed = set(json!({"spec": {"replicas": 9}})).expect("valid");
        assert_eq!(changed["spec"]["replicas"], 9);
        assert_eq!(changed["spec"]["selector"], deployment["spec"]["selector"]);
        assert!(set(json!({"spec": {"replicas": -1}})).is_err());
        assert!(set(json!({"kind": "Pod"})).is_err());
    }
}
