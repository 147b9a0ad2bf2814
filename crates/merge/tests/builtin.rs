//! Owners of Kubernetes' own kinds, as its server writes them.

use merge::apply::{Share, Write, track};
use schema::{Schema, builtin};
use serde_json::{Value, json};

fn created(group: &str, version: &str, kind: &str, share: Share, object: &Value) -> Value {
    let schema: &Schema = builtin::get(builtin::kind(group, version, kind).expect("a kind").id);
    let api_version = match group {
        "" => version.to_owned(),
        group => format!("{group}/{version}"),
    };
    let (manager, time, subresource) = ("kubectl-create", "2026-01-01T00:00:00Z", "");
    let write =
        Write { schema, api_version: &api_version, kind, subresource, share, manager, time };
    let mut object = object.clone();
    track(None, &mut object, &write);
    object["metadata"]["managedFields"].take()
}

#[test]
fn a_new_config_map_is_its_creators() {
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "a", "namespace": "b", "uid": "u", "labels": {"l": "1"},
                     "creationTimestamp": "2026-01-01T00:00:00Z"},
        "data": {"k": "v"},
    });
    assert_eq!(
        created("", "v1", "ConfigMap", Share::Whole, &object),
        json!([{
            "apiVersion": "v1", "fieldsType": "FieldsV1", "manager": "kubectl-create",
            "operation": "Update", "time": "2026-01-01T00:00:00Z",
            "fieldsV1": {
                "f:data": {".": {}, "f:k": {}},
                "f:metadata": {"f:labels": {".": {}, "f:l": {}}},
            },
        }])
    );
}

#[test]
fn structs_that_are_always_there_are_nobodys() {
    let object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {
            "replicas": 1, "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{
                    "name": "web", "image": "nginx", "resources": {},
                    "ports": [{"containerPort": 80, "protocol": "TCP"}],
                }]},
            },
        },
        "status": {},
    });
    let entries = created("apps", "v1", "Deployment", Share::AllButStatus, &object);
    assert_eq!(
        entries[0]["fieldsV1"],
        json!({"f:spec": {
            "f:replicas": {},
            "f:selector": {},
            "f:strategy": {"f:rollingUpdate": {".": {}, "f:maxSurge": {}}, "f:type": {}},
            "f:template": {
                "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
                "f:spec": {"f:containers": {"k:{\"name\":\"web\"}": {
                    ".": {}, "f:image": {}, "f:name": {}, "f:resources": {},
                    "f:ports": {".": {}, "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {
                        ".": {}, "f:containerPort": {}, "f:protocol": {},
                    }},
                }}},
            },
        }})
    );
}
