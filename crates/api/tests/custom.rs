//! Custom kinds: from a definition to its objects and back to nothing.

mod support;

use serde_json::{Value, json};
use support::Server;

const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const CRON_TABS: &str = "/apis/stable.example.com/v1/namespaces/default/crontabs";

fn definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "crontabs.stable.example.com"},
        "spec": {
            "group": "stable.example.com", "scope": "Namespaced",
            "names": {"plural": "crontabs", "kind": "CronTab", "shortNames": ["ct"]},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "required": ["cronSpec"], "properties": {
                        "cronSpec": {"type": "string", "pattern": "^[0-9*/ ]+$"},
                        "replicas": {"type": "integer", "default": 1, "maximum": 10},
                    }},
                    "status": {"type": "object", "properties": {
                        "replicas": {"type": "integer"}}},
                }}},
                "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas",
                    "statusReplicasPath": ".status.replicas"}},
                "additionalPrinterColumns": [
                    {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas"}],
                "selectableFields": [{"jsonPath": ".spec.cronSpec"}],
            }],
        },
    })
}

fn cron_tab(name: &str, cron: &str) -> Value {
    json!({"apiVersion": "stable.example.com/v1", "kind": "CronTab",
        "metadata": {"name": name}, "spec": {"cronSpec": cron}})
}

/// Waits until the definition has the condition.
async fn established(server: &Server, name: &str) {
    let mut frames =
        server.watch(&format!("{CRDS}?watch=true&fieldSelector=metadata.name%3D{name}")).await;
    loop {
        let frame = frames.next().await.expect("the watch goes on");
        let conditions = frame["object"]["status"]["conditions"].as_array().cloned();
        let mut conditions = conditions.unwrap_or_default().into_iter();
        if conditions.any(|one| one["type"] == "Established" && one["status"] == "True") {
            return;
        }
    }
}

async fn with_definition(definition: Value) -> Server {
    let server = Server::start();
    server.post(CRDS, definition).await.expect_code(201);
    established(&server, "crontabs.stable.example.com").await;
    served(&server).await;
    server
}

/// Waits until its objects are served, a moment after the definition says that
/// it is established; the list of them.
async fn served(server: &Server) -> Value {
    let asked = async {
        loop {
            let answer = server.get(CRON_TABS).await;
            if answer.code == 200 {
                return answer.json();
            }
            tokio::task::yield_now().await;
        }
    };
    let deadline = std::time::Duration::from_secs(120);
    tokio::time::timeout(deadline, asked).await.expect("it is served in time")
}

#[tokio::test]
async fn a_defined_kind_is_served_like_any_other() {
    let server = with_definition(definition()).await;
    let created = server.post(CRON_TABS, cron_tab("a", "* * 1")).await.expect_code(201).json();
    assert_eq!(created["spec"]["replicas"], 1, "defaults are filled in");
    assert_eq!(created["metadata"]["generation"], 1);
    let path = format!("{CRON_TABS}/a");
    assert_eq!(server.get(&path).await.expect_code(200).json(), created);

    let table = server.table(CRON_TABS).await.expect_code(200).json();
    assert_eq!(table["columnDefinitions"][1]["name"], "Replicas");
    assert_eq!(table["rows"][0]["cells"], json!(["a", 1]));

    let selected = format!("{CRON_TABS}?fieldSelector=spec.cronSpec%3D*%20*%201");
    let selected = server.get(&selected).await.expect_code(200).json();
    assert_eq!(selected["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(selected["kind"], "CronTabList");

    let scale = json!({"spec": {"replicas": 3}});
    let scaled = server.patch(&format!("{path}/scale"), "merge", scale).await.expect_code(200);
    assert_eq!(scaled.json()["spec"]["replicas"], 3);
    let mut status = server.get(&path).await.json();
    assert_eq!(status["spec"]["replicas"], 3);
    status["status"] = json!({"replicas": 3, "extra": 1});
    let status = server.put(&format!("{path}/status"), status).await.expect_code(200).json();
    assert_eq!(status["status"], json!({"replicas": 3}));
}

/// What it is called is nobody's but its group's.
#[tokio::test]
async fn a_defined_kind_of_a_core_name_is_another_kind() {
    let mut definition = definition();
    definition["metadata"]["name"] = "namespaces.stable.example.com".into();
    definition["spec"]["names"] = json!({"plural": "namespaces", "kind": "Namespace"});
    definition["spec"]["scope"] = "Cluster".into();
    let server = Server::start();
    server.post(CRDS, definition).await.expect_code(201);
    established(&server, "namespaces.stable.example.com").await;
    let maps = "/api/v1/namespaces/default/configmaps";
    server.post(maps, support::config_map("kept", json!({}))).await.expect_code(201);
    let path = "/apis/stable.example.com/v1/namespaces";
    let mut object = cron_tab("default", "* * * * *");
    object["kind"] = "Namespace".into();
    while server.post(path, object.clone()).await.json()["kind"] != "Namespace" {
        tokio::task::yield_now().await;
    }
    server.delete(&format!("{path}/default"), json!({})).await.expect_code(200);
    server.get(&format!("{path}/default")).await.expect_code(404);
    server.get(&format!("{maps}/kept")).await.expect_code(200);
}

#[tokio::test]
async fn objects_are_judged_by_the_schema_of_their_definition() {
    let server = with_definition(definition()).await;
    assert_eq!(
        server.post(CRON_TABS, cron_tab("a", "daily")).await.refusal(),
        "422 Invalid: CronTab.stable.example.com \"a\" is invalid: spec.cronSpec: Invalid value: \
         \"daily\": spec.cronSpec in body should match '^[0-9*/ ]+$'"
    );
    let mut odd = cron_tab("a", "*");
    odd["spec"]["replicas"] = "3".into();
    odd["spec"]["colour"] = "red".into();
    let strict = format!("{CRON_TABS}?fieldValidation=Strict");
    assert_eq!(
        server.post(&strict, odd.clone()).await.refusal(),
        "400 BadRequest: strict decoding error: unknown field \"spec.colour\""
    );
    assert_eq!(
        server.post(CRON_TABS, odd).await.refusal(),
        "422 Invalid: CronTab.stable.example.com \"a\" is invalid: spec.replicas: Invalid value: \
         \"string\": spec.replicas in body must be of type integer: \"string\""
    );
}

#[tokio::test]
async fn what_an_update_leaves_alone_survives_a_stricter_schema() {
    let server = with_definition(definition()).await;
    server.post(CRON_TABS, cron_tab("a", "* 7")).await.expect_code(201);
    let path = format!("{CRDS}/crontabs.stable.example.com");
    let rules = json!([{"op": "replace", "value": "^[*]+$", "path":
        "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/cronSpec/pattern"}]);
    server.patch(&path, "json", rules).await.expect_code(200);
    // The catalog follows the definition; until then the old schema rules.
    while server.post(CRON_TABS, cron_tab("b", "* 7")).await.code != 422 {
        server.delete(&format!("{CRON_TABS}/b"), json!({})).await;
        tokio::task::yield_now().await;
    }
    let patch = json!({"spec": {"replicas": 2}});
    let object = format!("{CRON_TABS}/a");
    server.patch(&object, "merge", patch).await.expect_code(200);
    let patch = json!({"spec": {"cronSpec": "* 8"}});
    server.patch(&object, "merge", patch).await.expect_code(422);
}

#[tokio::test]
async fn a_definition_that_goes_takes_its_objects_along() {
    let server = with_definition(definition()).await;
    server.post(CRON_TABS, cron_tab("a", "*")).await.expect_code(201);
    let mut kept = cron_tab("b", "*");
    kept["metadata"]["finalizers"] = json!(["example.com/wait"]);
    server.post(CRON_TABS, kept).await.expect_code(201);
    let path = format!("{CRDS}/crontabs.stable.example.com");
    let mut frames = server.watch(&format!("{CRDS}?watch=true")).await;
    let going = server.delete(&path, json!({})).await.expect_code(200).json();
    assert!(going["metadata"]["deletionTimestamp"].is_string(), "{going}");
    let open = json!([{"op": "remove", "path": "/metadata/finalizers"}]);
    server.patch(&format!("{CRON_TABS}/b"), "json", open).await;
    loop {
        let frame = frames.next().await.expect("the watch goes on");
        if frame["type"] == "DELETED" {
            break;
        }
        // The object that waits may be marked only after the first try.
        let open = json!([{"op": "remove", "path": "/metadata/finalizers"}]);
        server.patch(&format!("{CRON_TABS}/b"), "json", open).await;
    }
    // A definition of the same name starts with nothing.
    server.post(CRDS, definition()).await.expect_code(201);
    established(&server, "crontabs.stable.example.com").await;
    assert_eq!(served(&server).await["items"], json!([]));
}

#[tokio::test]
async fn a_definition_is_judged_before_it_is_kept() {
    let server = Server::start();
    let mut odd = definition();
    let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/cronSpec";
    *odd.pointer_mut(spec).expect("it is there") = json!({"pattern": "^a$"});
    odd["spec"]["versions"][0]["selectableFields"].take();
    assert_eq!(
        server.post(CRDS, odd).await.refusal(),
        "422 Invalid: CustomResourceDefinition.apiextensions.k8s.io \
         \"crontabs.stable.example.com\" is invalid: \
         spec.validation.openAPIV3Schema.properties[spec].properties[cronSpec].type: Required \
         value: must not be empty for specified object fields"
    );
}

#[tokio::test]
async fn several_versions_show_the_same_objects() {
    let mut definition = definition();
    let mut second = definition["spec"]["versions"][0].clone();
    second["name"] = "v2".into();
    second["storage"] = false.into();
    definition["spec"]["versions"].as_array_mut().expect("a list").push(second);
    let server = with_definition(definition).await;
    server.post(CRON_TABS, cron_tab("a", "*")).await.expect_code(201);
    let path = "/apis/stable.example.com/v2/namespaces/default/crontabs/a";
    let shown = server.get(path).await.expect_code(200).json();
    assert_eq!(shown["apiVersion"], "stable.example.com/v2");
    assert_eq!(shown["spec"]["cronSpec"], "*");
}

#[tokio::test]
async fn a_deprecated_version_says_so_with_every_answer() {
    let mut definition = definition();
    definition["spec"]["versions"][0]["deprecated"] = true.into();
    let server = with_definition(definition).await;
    let answer = server.get(CRON_TABS).await.expect_code(200);
    assert_eq!(answer.headers["warning"], "299 - \"stable.example.com/v1 CronTab is deprecated\"");
}

#[tokio::test]
async fn rules_of_a_definition_are_compiled_and_kept() {
    let mut definition = definition();
    let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";
    let spec = definition.pointer_mut(spec).expect("it is there");
    spec["x-kubernetes-validations"] = json!([
        {"rule": "self.replicas != 7", "message": "7 is not a number of replicas"},
        {"rule": "self.replicas >= oldSelf.replicas", "message": "never fewer"}]);
    let mut odd = definition.clone();
    let server = with_definition(definition).await;
    let mut tab = cron_tab("a", "*");
    tab["spec"]["replicas"] = 7.into();
    assert_eq!(
        server.post(CRON_TABS, tab).await.refusal(),
        "422 Invalid: CronTab.stable.example.com \"a\" is invalid: spec: Invalid value: 7 is not a \
         number of replicas"
    );
    let mut tab = cron_tab("a", "*");
    tab["spec"]["replicas"] = 3.into();
    server.post(CRON_TABS, tab).await.expect_code(201);
    let path = format!("{CRON_TABS}/a");
    let fewer = json!({"spec": {"replicas": 2}});
    assert_eq!(
        server.patch(&path, "merge", fewer).await.refusal(),
        "422 Invalid: CronTab.stable.example.com \"a\" is invalid: spec: Invalid value: never fewer"
    );
    let rule = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/x-kubernetes-validations/0";
    *odd.pointer_mut(rule).expect("it is there") = json!({"rule": "self.colour == 'red'"});
    odd["metadata"]["name"] = "bs.stable.example.com".into();
    odd["spec"]["names"] = json!({"plural": "bs", "kind": "B"});
    let refusal = server.post(CRDS, odd).await.refusal();
    assert!(refusal.contains("undefined field 'colour'"), "{refusal}");
}
