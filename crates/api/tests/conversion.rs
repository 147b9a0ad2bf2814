//! Versions of a custom kind that differ: a webhook converts.

#[path = "support/hook.rs"]
mod hook;
mod support;

use hook::Hook;
use serde_json::{Value, json};
use support::{Answer, Server};

const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const DEFINITION: &str =
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/crontabs.stable.example.com";
const V1: &str = "/apis/stable.example.com/v1/namespaces/default/crontabs";
const V2: &str = "/apis/stable.example.com/v2/namespaces/default/crontabs";

/// What v2 calls `schedule` is `cronSpec` in v1.
fn converted(object: &Value, wanted: &str) -> Value {
    let mut object = object.clone();
    let (from, to) = match wanted {
        "stable.example.com/v2" => ("cronSpec", "schedule"),
        _ => ("schedule", "cronSpec"),
    };
    if let Some(told) = object["spec"].as_object_mut().and_then(|spec| spec.remove(from)) {
        object["spec"][to] = told;
    }
    object["apiVersion"] = wanted.into();
    object
}

fn answer(review: &Value) -> Value {
    let request = &review["request"];
    let wanted = request["desiredAPIVersion"].as_str().expect("a version");
    let objects = request["objects"].as_array().expect("a list");
    let objects: Vec<Value> = objects.iter().map(|object| converted(object, wanted)).collect();
    json!({"kind": "ConversionReview", "apiVersion": review["apiVersion"], "response": {
        "result": {"status": "Success"}, "convertedObjects": objects}})
}

fn version(name: &str, field: &str, storage: bool) -> Value {
    json!({
        "name": name, "served": true, "storage": storage,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {
            "spec": {"type": "object", "required": [field], "properties": {
                field: {"type": "string"}, "replicas": {"type": "integer"}}}}}},
        "subresources": {"scale": {"specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas"}},
        "additionalPrinterColumns": [
            {"name": "When", "type": "string", "jsonPath": format!(".spec.{field}")}],
    })
}

fn definition(client: Value) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "crontabs.stable.example.com"},
        "spec": {
            "group": "stable.example.com", "scope": "Namespaced",
            "names": {"plural": "crontabs", "kind": "CronTab"},
            "versions": [version("v1", "cronSpec", true), version("v2", "schedule", false)],
            "conversion": {"strategy": "Webhook", "webhook": {
                "clientConfig": client, "conversionReviewVersions": ["v1"]}},
        },
    })
}

fn at_url(hook: &Hook) -> Value {
    json!({"url": format!("https://{}/convert", hook.address), "caBundle": hook.bundle})
}

fn cron_tab(name: &str, when: &str) -> Value {
    json!({"apiVersion": "stable.example.com/v1", "kind": "CronTab",
        "metadata": {"name": name, "labels": {"app": name}}, "spec": {"cronSpec": when}})
}

/// With the definition served.
async fn with_definition(definition: Value) -> Server {
    let server = Server::start();
    server.post(CRDS, definition).await.expect_code(201);
    until(&server, V1, |answer| answer.code == 200).await;
    server
}

/// Asks until the catalog has followed.
async fn until(server: &Server, path: &str, done: impl Fn(&Answer) -> bool) -> Answer {
    loop {
        let answer = server.get(path).await;
        if done(&answer) {
            return answer;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn every_verb_speaks_the_version_that_is_asked_for() {
    let hook = Hook::start("verbs", answer).await;
    let server = with_definition(definition(at_url(&hook))).await;
    let created = server.post(V1, cron_tab("a", "* 1")).await.expect_code(201).json();
    assert_eq!(hook.asked(), Vec::<Value>::new(), "it is the stored version");

    let (one, two) = (format!("{V1}/a"), format!("{V2}/a"));
    let shown = server.get(&two).await.expect_code(200).json();
    assert_eq!(shown["apiVersion"], "stable.example.com/v2");
    assert_eq!(shown["spec"], json!({"schedule": "* 1"}));
    assert_eq!(shown["metadata"], created["metadata"], "the webhook has no say in it");
    let list = server.get(V2).await.expect_code(200).json();
    assert_eq!(list["items"], json!([shown]));
    let table = server.table(V2).await.expect_code(200).json();
    assert_eq!(table["rows"][0]["cells"], json!(["a", "* 1"]));
    let selected = server.get(&format!("{V2}?labelSelector=app%3Db")).await.expect_code(200);
    assert_eq!(selected.names(), Vec::<String>::new());

    let mut wanted = shown;
    wanted["spec"] = json!({"schedule": "* 2", "replicas": 1});
    let updated = server.put(&two, wanted).await.expect_code(200).json();
    assert_eq!(updated["spec"], json!({"schedule": "* 2", "replicas": 1}));
    assert_eq!(updated["metadata"]["generation"], 2);
    let patched = server.patch(&two, "merge", json!({"spec": {"schedule": "* 3"}})).await;
    assert_eq!(patched.expect_code(200).json()["spec"]["schedule"], "* 3");
    let scale = json!({"spec": {"replicas": 5}});
    let scaled = server.patch(&format!("{two}/scale"), "merge", scale).await;
    assert_eq!(scaled.expect_code(200).json()["spec"]["replicas"], 5);
    let kept = server.get(&one).await.expect_code(200).json();
    assert_eq!(kept["spec"], json!({"cronSpec": "* 3", "replicas": 5}));

    let wrong = server.patch(&two, "merge", json!({"spec": {"schedule": null}})).await;
    assert_eq!(
        wrong.refusal(),
        "422 Invalid: CronTab.stable.example.com \"a\" is invalid: spec.schedule: Required value"
    );
    let gone = server.delete(&two, json!({})).await.expect_code(200).json();
    assert_eq!(gone["status"], "Success");
    server.get(&one).await.expect_code(404);
    assert_eq!(hook.connections(), 1, "one connection does for questions one after the other");
}

#[tokio::test]
async fn a_watch_tells_changes_in_its_version_and_in_order() {
    let hook = Hook::start("watch", answer).await;
    let server = with_definition(definition(at_url(&hook))).await;
    server.post(V1, cron_tab("a", "* 1")).await.expect_code(201);
    let mut frames = server.watch(&format!("{V2}?watch=true")).await;
    let mut labelled = server.watch(&format!("{V2}?watch=true&labelSelector=app%3Da")).await;
    server.patch(&format!("{V1}/a"), "merge", json!({"spec": {"cronSpec": "* 2"}})).await;
    server.patch(&format!("{V2}/a"), "merge", json!({"metadata": {"labels": null}})).await;
    server.delete(&format!("{V1}/a"), json!({})).await.expect_code(200);
    for (event, when) in
        [("ADDED", "* 1"), ("MODIFIED", "* 2"), ("MODIFIED", "* 2"), ("DELETED", "* 2")]
    {
        let frame = frames.next().await.expect("the watch goes on");
        assert_eq!(
            (&frame["type"], &frame["object"]["spec"]),
            (&json!(event), &json!({"schedule": when}))
        );
        assert_eq!(frame["object"]["apiVersion"], "stable.example.com/v2");
    }
    for event in ["ADDED a", "MODIFIED a", "DELETED a"] {
        assert_eq!(labelled.event().await, event);
    }
}

#[tokio::test]
async fn a_list_costs_a_question_for_each_page() {
    let hook = Hook::start("pages", answer).await;
    let server = with_definition(definition(at_url(&hook))).await;
    for n in 0..1000 {
        server.post(V1, cron_tab(&format!("n{n:04}"), "*")).await.expect_code(201);
    }
    let mut path = format!("{V2}?limit=400");
    let mut found = 0;
    loop {
        let page = server.get(&path).await.expect_code(200).json();
        let items = page["items"].as_array().expect("a list");
        assert!(items.iter().all(|item| item["spec"]["schedule"] == "*"));
        found += items.len();
        let Some(token) = page["metadata"]["continue"].as_str() else { break };
        path = format!("{V2}?limit=400&continue={token}");
    }
    assert_eq!(found, 1000);
    let asked: Vec<usize> =
        hook.asked().iter().map(|one| one["objects"].as_array().map_or(0, Vec::len)).collect();
    assert_eq!(asked, [400, 400, 200]);
    let all = server.get(V2).await.expect_code(200).names();
    assert_eq!((all.len(), hook.asked().len()), (1000, 5), "500 at a time");
}

#[tokio::test]
async fn objects_move_to_a_new_storage_version_when_they_are_written() {
    let hook = Hook::start("storage", answer).await;
    let server = with_definition(definition(at_url(&hook))).await;
    for name in ["a", "b"] {
        server.post(V1, cron_tab(name, "* 1")).await.expect_code(201);
    }
    let switch = json!([
        {"op": "replace", "path": "/spec/versions/0/storage", "value": false},
        {"op": "replace", "path": "/spec/versions/1/storage", "value": true}]);
    let switched = server.patch(DEFINITION, "json", switch).await.expect_code(200).json();
    assert_eq!(switched["status"]["storedVersions"], json!(["v1", "v2"]));
    // Until the catalog follows, writing in v2 still costs a conversion.
    let before = loop {
        server.post(V2, converted(&cron_tab("c", "* 9"), "stable.example.com/v2")).await;
        let before = hook.asked().len();
        server.delete(&format!("{V2}/c"), json!({})).await.expect_code(200);
        if hook.asked().len() == before {
            break before;
        }
        tokio::task::yield_now().await;
    };
    // Written as it was read, an object gets another form and another version.
    for name in ["a", "b"] {
        let path = format!("{V2}/{name}");
        let object = server.get(&path).await.expect_code(200).json();
        let written = server.put(&path, object.clone()).await.expect_code(200).json();
        assert_ne!(written["metadata"]["resourceVersion"], object["metadata"]["resourceVersion"]);
        let again = server.put(&path, written.clone()).await.expect_code(200).json();
        assert_eq!(again, written, "there is nothing more to do");
    }
    let moved = hook.asked().len();
    assert!(moved > before);
    assert_eq!(server.get(V2).await.expect_code(200).names(), ["a", "b"]);
    assert_eq!(hook.asked().len(), moved, "nothing is to be converted any more");
    assert_eq!(server.get(&format!("{V1}/a")).await.json()["spec"]["cronSpec"], "* 1");

    let drop = json!([
        {"op": "remove", "path": "/spec/versions/0"}]);
    let refused = server.patch(DEFINITION, "json", drop.clone()).await.refusal();
    assert!(refused.contains("status.storedVersions[0]: Invalid value: \"v1\""), "{refused}");
    let status = json!({"status": {"storedVersions": ["v2"]}});
    server.patch(&format!("{DEFINITION}/status"), "merge", status).await.expect_code(200);
    server.patch(DEFINITION, "json", drop).await.expect_code(200);
    until(&server, V1, |answer| answer.code == 404).await;
    assert_eq!(server.get(V2).await.expect_code(200).names(), ["a", "b"]);
}

#[tokio::test]
async fn a_webhook_that_answers_nonsense_is_told_and_changes_nothing() {
    let hook = Hook::start("nonsense", |review| {
        let mut answer = answer(review);
        let response = &mut answer["response"];
        let objects = response["convertedObjects"].as_array_mut().expect("a list");
        let how = objects[0]["spec"]["schedule"].as_str().unwrap_or_default().to_owned();
        match &*how {
            "refuse" => response["result"] = json!({"status": "Failed", "message": "no way"}),
            "lose" => objects.clear(),
            "rename" => objects[0]["metadata"]["name"] = "other".into(),
            "stay" => objects[0]["apiVersion"] = "stable.example.com/v1".into(),
            "strip" => objects[0]["metadata"] = Value::Null,
            _ => {}
        }
        answer
    })
    .await;
    let server = with_definition(definition(at_url(&hook))).await;
    let head = "500 : conversion webhook for stable.example.com/v1, Kind=CronTab";
    for (how, expected) in [
        ("refuse", "failed: no way"),
        ("lose", "returned 0 objects, expected 1"),
        ("rename", "returned invalid object: must have the same name: rename != other"),
        (
            "stay",
            "returned invalid object at index 0: invalid groupVersion (expected \
             stable.example.com/v2, received stable.example.com/v1)",
        ),
    ] {
        server.post(V1, cron_tab(how, how)).await.expect_code(201);
        let refusal = server.get(&format!("{V2}/{how}")).await.refusal();
        assert_eq!(refusal, format!("{head} {expected}"));
    }
    let changed = server.patch(&format!("{V2}/refuse"), "merge", json!({"spec": {}})).await;
    assert_eq!(changed.code, 500, "it cannot be read, so it cannot be changed");
    assert_eq!(server.get(&format!("{V1}/refuse")).await.json()["spec"]["cronSpec"], "refuse");
    server.get(V2).await.expect_code(500);
    let mut frames = server.watch(&format!("{V2}?watch=true&resourceVersion=1")).await;
    let frame = frames.next().await.expect("a last word");
    assert_eq!((&frame["type"], &frame["object"]["code"]), (&json!("ERROR"), &json!(500)));
    assert_eq!(frames.next().await, None);
}

#[tokio::test]
async fn a_webhook_that_is_gone_is_named_and_its_stored_version_still_served() {
    let hook = Hook::start("gone", answer).await;
    // Bound, so that nobody else listens there either.
    let gone = tokio::net::TcpSocket::new_v4().expect("a socket");
    gone.bind(([127, 0, 0, 1], 0).into()).expect("a port");
    let url = format!("https://{}/convert", gone.local_addr().expect("an address"));
    let server = with_definition(definition(json!({"url": url, "caBundle": hook.bundle}))).await;
    server.post(V1, cron_tab("a", "*")).await.expect_code(201);
    let refusal = server.get(&format!("{V2}/a")).await.refusal();
    let head = format!(
        "500 : conversion webhook for stable.example.com/v1, Kind=CronTab failed: Post \
         \"{url}?timeout=30s\": dial tcp"
    );
    assert!(refusal.starts_with(&head), "{refusal}");
    server.get(&format!("{V1}/a")).await.expect_code(200);
    let body = converted(&cron_tab("b", "*"), "stable.example.com/v2");
    server.post(V2, body).await.expect_code(500);
    server.get(&format!("{V1}/b")).await.expect_code(404);
}

#[tokio::test]
async fn a_service_is_asked_at_a_ready_endpoint() {
    let hook = Hook::start("service", answer).await;
    let client = json!({"caBundle": hook.bundle,
        "service": {"namespace": "default", "name": "hook", "path": "/convert"}});
    let server = with_definition(definition(client)).await;
    server.post(V1, cron_tab("a", "*")).await.expect_code(201);
    let path = format!("{V2}/a");
    let refusal = server.get(&path).await.refusal();
    assert!(refusal.ends_with("failed: service \"hook\" not found"), "{refusal}");
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "hook"},
        "spec": {"clusterIP": "None", "ports": [{"name": "https", "port": 443}]}});
    server.post("/api/v1/namespaces/default/services", service).await.expect_code(201);
    let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": "hook-1", "labels": {"kubernetes.io/service-name": "hook"}},
        "addressType": "IPv4", "ports": [{"name": "https", "port": hook.address.port()}],
        "endpoints": [
            {"addresses": ["127.0.0.9"], "conditions": {"ready": false}},
            {"addresses": ["127.0.0.1"], "conditions": {"ready": true}}]});
    let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
    server.post(slices, slice).await.expect_code(201);
    let shown = until(&server, &path, |answer| answer.code == 200).await.json();
    assert_eq!(shown["spec"]["schedule"], "*");
}

#[tokio::test]
async fn owners_of_fields_are_known_by_the_names_of_their_version() {
    let hook = Hook::start("owners", answer).await;
    let server = with_definition(definition(at_url(&hook))).await;
    let apply = async |manager: &str, version: &str, spec: Value| {
        let path = format!("/apis/stable.example.com/{version}/namespaces/default/crontabs");
        let path = format!("{path}/a?fieldManager={manager}");
        let object = json!({"apiVersion": format!("stable.example.com/{version}"),
            "kind": "CronTab", "metadata": {"name": "a"}, "spec": spec});
        server.patch(&path, "application/apply-patch+yaml", object).await
    };
    apply("x", "v1", json!({"cronSpec": "* 1"})).await.expect_code(201);
    let refused = apply("y", "v2", json!({"schedule": "* 2"})).await.refusal();
    assert!(refused.contains("conflict with \"x\": .spec.cronSpec"), "{refused}");
    // Who changes it owns it, and nobody else does any more.
    let patch = json!({"spec": {"schedule": "* 3"}});
    server.patch(&format!("{V2}/a?fieldManager=z"), "merge", patch).await.expect_code(200);
    let kept = server.get(&format!("{V1}/a")).await.json();
    let owners = kept["metadata"]["managedFields"].as_array().expect("a list");
    let of = |manager: &str| {
        let found = owners.iter().find(|one| one["manager"] == manager);
        found.map_or(Value::Null, |one| one["fieldsV1"]["f:spec"].clone())
    };
    assert_eq!(of("x"), Value::Null);
    assert_eq!(of("z"), json!({"f:schedule": {}}));
}
