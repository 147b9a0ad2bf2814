//! A custom kind as kube-rs sees it, spelled out where others derive it.

use std::borrow::Cow;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Resource,
    core::{NamespaceResourceScope, ObjectMeta},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

const GROUP: &str = "library.example.com";

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Shelf {
    pub api_version: String,
    pub kind: String,
    pub metadata: ObjectMeta,
    pub spec: Spec,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Spec {
    pub colour: String,
    /// Has a default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boards: Option<u32>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    pub painted: String,
    pub observed_generation: i64,
}

// === impl Shelf ===

impl Shelf {
    pub fn new(name: &str, colour: &str) -> Shelf {
        let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        Shelf {
            api_version: Self::api_version(&()).into_owned(),
            kind: Self::kind(&()).into_owned(),
            metadata,
            spec: Spec { colour: colour.to_owned(), boards: None },
            status: None,
        }
    }

    /// What was wanted last is what was done last.
    pub fn is_painted(&self) -> bool {
        self.status.as_ref().is_some_and(|status| {
            status.painted == self.spec.colour
                && Some(status.observed_generation) == self.metadata.generation
        })
    }

    pub fn definition() -> CustomResourceDefinition {
        let text = json!({ "type": "string" });
        let schema = json!({
            "type": "object",
            "required": ["spec"],
            "properties": {
                "spec": {
                    "type": "object",
                    "required": ["colour"],
                    "properties": {
                        "colour": { "type": "string", "minLength": 1 },
                        "boards": { "type": "integer", "default": 3, "minimum": 1 },
                    },
                    "x-kubernetes-validations": [
                        { "rule": "self.colour != 'none'", "message": "a shelf has a colour" },
                    ],
                },
                "status": {
                    "type": "object",
                    "properties": {
                        "painted": text,
                        "observedGeneration": { "type": "integer", "format": "int64" },
                    },
                },
            },
        });
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": { "name": format!("shelves.{GROUP}") },
            "spec": {
                "group": GROUP,
                "scope": "Namespaced",
                "names": { "kind": "Shelf", "plural": "shelves", "singular": "shelf" },
                "versions": [{
                    "name": "v1",
                    "served": true,
                    "storage": true,
                    "schema": { "openAPIV3Schema": schema },
                    "subresources": { "status": {} },
                }],
            },
        });
        serde_json::from_value(definition).expect("a definition")
    }
}

impl Resource for Shelf {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "Shelf".into()
    }

    fn group((): &()) -> Cow<'_, str> {
        GROUP.into()
    }

    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        "shelves".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
