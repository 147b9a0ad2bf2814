//! What clients read about the API: OpenAPI in both versions, discovery.

mod support;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use support::{Server, admin};

fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("$ref").and_then(Value::as_str));
            members.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[tokio::test]
async fn every_document_of_the_index_is_whole() {
    let server = Server::start();
    let index = server.get("/openapi/v3").await.expect_code(200).json();
    let paths = index["paths"].as_object().expect("paths");
    for path in ["api/v1", "apis/apps/v1", "apis/autoscaling/v2", "apis/polis.dev/v1alpha1"] {
        assert!(paths.contains_key(path), "{path}");
    }
    let mut ids = BTreeSet::new();
    for (name, place) in paths {
        let url = place["serverRelativeURL"].as_str().expect("a URL");
        let answer = server.get(url).await.expect_code(200);
        assert!(answer.headers["cache-control"].to_str().expect("text").contains("immutable"));
        let document = answer.json();
        let mut wanted = BTreeSet::new();
        references(&document, &mut wanted);
        for reference in wanted {
            let pointer = reference.trim_start_matches('#');
            assert!(document.pointer(pointer).is_some(), "{name}: {reference}");
        }
        for (path, item) in document["paths"].as_object().expect("paths") {
            for operation in item.as_object().expect("operations").values() {
                if let Some(id) = operation["operationId"].as_str() {
                    assert!(ids.insert(id.to_owned()), "{path}: {id} is there twice");
                }
            }
        }
    }
    for id in [
        "listCoreV1PodForAllNamespaces",
        "createAppsV1NamespacedDeployment",
        "readCoreV1NamespacedServiceStatus",
        "deleteRbacAuthorizationV1CollectionClusterRole",
        "replaceAppsV1NamespacedDeploymentScale",
    ] {
        assert!(ids.contains(id), "{id}");
    }
}

#[tokio::test]
async fn who_has_a_document_is_told_so() {
    let server = Server::start();
    let path = "/openapi/v3/apis/apps/v1";
    let first = server.get(path).await.expect_code(200);
    let etag = first.headers["etag"].to_str().expect("text").to_owned();
    let again = [("if-none-match", etag.as_str())];
    server.send_as(&admin(), "GET", path, &again, "").await.expect_code(304);
    let moved = server.get(&format!("{path}?hash=0")).await.expect_code(301);
    let place = moved.headers["location"].to_str().expect("text");
    assert_eq!(place, format!("{path}?hash={}", etag.trim_matches('"')));
    server.get("/openapi/v3/apis/nothing/v1").await.expect_code(404);
    let zip = [("accept-encoding", "gzip")];
    let response = server.raw(&admin(), "GET", path, &zip, "".into()).await;
    assert_eq!(response.headers()["content-encoding"], "gzip");

    let aggregated =
        ("accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
    let first = server.send_as(&admin(), "GET", "/apis", &[aggregated], "").await;
    let etag = first.expect_code(200).headers["etag"].to_str().expect("text").to_owned();
    let again = [aggregated, ("if-none-match", etag.as_str())];
    server.send_as(&admin(), "GET", "/apis", &again, "").await.expect_code(304);
    let beta =
        ("accept", "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList");
    let list = server.send_as(&admin(), "GET", "/api", &[beta], "").await.json();
    assert_eq!(list["apiVersion"], "apidiscovery.k8s.io/v2beta1");
}

#[tokio::test]
async fn the_document_of_everything_comes_in_two_forms() {
    let server = Server::start();
    let v2 = server.get("/openapi/v2").await.expect_code(200).json();
    assert_eq!(v2["swagger"], "2.0");
    let mut wanted = BTreeSet::new();
    references(&v2, &mut wanted);
    for reference in wanted {
        assert!(v2.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
    }
    let pod = &v2["definitions"]["io.k8s.api.core.v1.Pod"];
    let kind = json!([{"group": "", "version": "v1", "kind": "Pod"}]);
    assert_eq!(pod["x-kubernetes-group-version-kind"], kind);
    let accept = [("accept", "application/com.github.proto-openapi.spec.v2@v1.0+protobuf")];
    let response = server.raw(&admin(), "GET", "/openapi/v2", &accept, "".into()).await;
    let media_type = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
    assert_eq!(response.headers()["content-type"], media_type);
}

#[tokio::test]
async fn custom_kinds_are_published_while_they_are_served() {
    let server = Server::start();
    let properties = json!({"spec": {"type": "object", "properties": {
        "size": {"type": "integer", "minimum": 1, "description": "How large."},
        "port": {"x-kubernetes-int-or-string": true},
    }}});
    let version = json!({
        "name": "v1", "served": true, "storage": true,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": properties}},
    });
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "tills.shop.dev"},
        "spec": {
            "group": "shop.dev", "scope": "Namespaced", "versions": [version],
            "names": {"plural": "tills", "singular": "till", "kind": "Till", "listKind": "TillList"},
        },
    });
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    server.post(path, definition).await.expect_code(201);
    let mut document = server.get("/openapi/v3/apis/shop.dev/v1").await;
    // Served once the server has seen it.
    while document.code != 200 {
        tokio::task::yield_now().await;
        document = server.get("/openapi/v3/apis/shop.dev/v1").await;
    }
    let document = document.json();
    let till = &document["components"]["schemas"]["dev.shop.v1.Till"];
    let size = &till["properties"]["spec"]["properties"]["size"];
    assert_eq!(size, &json!({"type": "integer", "minimum": 1, "description": "How large."}));
    assert!(till["properties"]["metadata"].is_object(), "{till}");
    let v2 = server.get("/openapi/v2").await.json();
    assert!(v2["definitions"]["dev.shop.v1.Till"].is_object());
}
