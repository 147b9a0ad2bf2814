//! Priority levels and flow schemas: who is served, who waits, who is refused.

mod support;

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
};

use api::{Caller, Settings, settings::AuthorizationMode};
use bytes::Bytes;
use futures::stream;
use http_body::Frame;
use http_body_util::StreamBody;
use serde_json::{Value, json};
use support::{Answer, CONFIG_MAPS, Server, config_map};
use tokio::sync::oneshot;

const SCHEMAS: &str = "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas";
const LEVELS: &str = "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations";

/// A plain cluster in which everybody may do everything.
fn server(settings: Settings) -> Server {
    let authorization = vec![AuthorizationMode::AlwaysAllow];
    Server::of_cluster(&Settings { authorization, ..settings })
}

fn level(name: &str, shares: u64, response: &Value) -> Value {
    json!({
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1",
        "kind": "PriorityLevelConfiguration",
        "metadata": {"name": name},
        "spec": {"type": "Limited", "limited": {
            "nominalConcurrencyShares": shares,
            "limitResponse": response,
        }},
    })
}

/// Everything that `user` asks is of `level`.
fn schema(name: &str, level: &str, user: &str) -> Value {
    json!({
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1",
        "kind": "FlowSchema",
        "metadata": {"name": name},
        "spec": {
            "priorityLevelConfiguration": {"name": level},
            "matchingPrecedence": 1000,
            "distinguisherMethod": {"type": "ByUser"},
            "rules": [{
                "subjects": [{"kind": "User", "user": {"name": user}}],
                "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"],
                    "clusterScope": true, "namespaces": ["*"]}],
                "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            }],
        },
    })
}

/// Waits until the schema says this of its level.
async fn until_dangling(server: &Server, name: &str, expected: &str) {
    let path = format!("{SCHEMAS}?watch=1&fieldSelector=metadata.name%3D{name}");
    let mut frames = server.watch(&path).await;
    loop {
        let frame = frames.next().await.expect("it is told");
        let conditions = frame["object"]["status"]["conditions"].as_array().cloned();
        let mut own = conditions.into_iter().flatten().filter(|one| one["type"] == "Dangling");
        if own.any(|one| one["status"] == expected) {
            return;
        }
    }
}

/// The uids of schema and level that an answer names.
fn marks(answer: &Answer) -> [String; 2] {
    ["x-kubernetes-pf-flowschema-uid", "x-kubernetes-pf-prioritylevel-uid"].map(|name| {
        let value = answer.headers.get(name);
        value.map_or_else(String::new, |value| value.to_str().expect("text").to_owned())
    })
}

fn uid(answer: &Answer) -> String {
    answer.json()["metadata"]["uid"].as_str().expect("a uid").to_owned()
}

/// A body that is held up until it is let go.
fn held(text: String) -> (impl http_body::Body<Data = Bytes, Error = std::io::Error>, Let) {
    let (go, gone) = oneshot::channel();
    let stream = stream::once(Box::pin(async move {
        let _ = gone.await;
        Ok(Frame::data(Bytes::from(text)))
    }));
    (StreamBody::new(stream), Let(go))
}

struct Let(oneshot::Sender<()>);

impl Let {
    fn go(self) {
        let _ = self.0.send(());
    }
}

#[tokio::test]
async fn every_cluster_has_the_defaults_and_what_is_mandatory_comes_back() {
    let server = server(Settings::default());
    server.get("/version").await.expect_code(200);
    for name in ["exempt", "catch-all", "global-default", "system-nodes", "probes"] {
        until_dangling(&server, name, "False").await;
    }
    assert_eq!(server.get(SCHEMAS).await.names().len(), 11);
    let levels = server.get(LEVELS).await.names();
    assert_eq!(
        levels,
        [
            "catch-all",
            "exempt",
            "global-default",
            "leader-election",
            "node-high",
            "system",
            "workload-high",
            "workload-low",
        ]
    );
    let schema = server.get(&format!("{SCHEMAS}/catch-all")).await.json();
    assert_eq!(schema["metadata"]["generation"], 1);
    assert_eq!(schema["metadata"]["annotations"]["apf.kubernetes.io/autoupdate-spec"], "true");

    let mut changed = schema.clone();
    changed["spec"]["matchingPrecedence"] = 9.into();
    let refused = server.put(&format!("{SCHEMAS}/catch-all"), changed).await.expect_code(422);
    let why = "must equal the fixed value";
    assert!(refused.refusal().contains(why), "{}", refused.text);

    let before = schema["metadata"]["uid"].clone();
    let mut frames = server.watch(&format!("{SCHEMAS}?watch=1&resourceVersion=0")).await;
    server.delete(&format!("{SCHEMAS}/catch-all"), json!({})).await.expect_code(200);
    loop {
        let frame = frames.next().await.expect("it is told");
        let metadata = &frame["object"]["metadata"];
        if metadata["name"] == "catch-all" && metadata["uid"] != before {
            return;
        }
    }
}

#[tokio::test]
async fn a_schema_that_is_made_decides_whose_requests_are_of_which_level() {
    let server = server(Settings::default());
    let queue = json!({"type": "Queue", "queuing": {"queues": 8, "handSize": 2}});
    let schema_uid =
        uid(&server.post(SCHEMAS, schema("mine", "mine", "noxu")).await.expect_code(201));
    until_dangling(&server, "mine", "True").await;
    let noxu = Caller::user("noxu", []);
    let ask = async |caller: &Caller| server.send_as(caller, "GET", "/version", &[], "").await;
    let other = marks(&ask(&Caller::user("foo", [])).await);
    assert!(other.iter().all(|uid| !uid.is_empty()), "{other:?}");
    assert_eq!(marks(&ask(&noxu).await), other);

    let level_uid = uid(&server.post(LEVELS, level("mine", 1, &queue)).await.expect_code(201));
    until_dangling(&server, "mine", "False").await;
    assert_eq!(marks(&ask(&noxu).await), [schema_uid, level_uid]);
    assert_eq!(marks(&ask(&Caller::user("foo", [])).await), other);
    let metrics = server.get("/metrics").await.text;
    let line = "apiserver_flowcontrol_nominal_limit_seats{priority_level=\"mine\"} 3";
    assert!(metrics.lines().any(|own| own == line), "{metrics}");
    let path = "/debug/api_priority_and_fairness/dump_priority_levels";
    let table = server.get(path).await.expect_code(200).text;
    assert!(table.contains("\nmine, 0, true, false, 0, 0, 1, 0, 0, 0\n"), "{table}");

    // Who is refused is told by whose level, too: here for another reason.
    let missing = server.send_as(&noxu, "GET", "/api/v1/nodes/none", &[], "").await;
    assert_eq!(missing.code, 404);
    assert!(marks(&missing).iter().all(|uid| !uid.is_empty()));
    server.delete(&format!("{LEVELS}/mine"), json!({})).await.expect_code(200);
    until_dangling(&server, "mine", "True").await;
    assert_eq!(marks(&ask(&noxu).await), other);
}

#[tokio::test]
async fn a_level_that_is_full_and_has_no_queues_refuses_and_masters_are_never_refused() {
    let server = server(Settings::default());
    server.post(LEVELS, level("one", 1, &json!({"type": "Reject"}))).await.expect_code(201);
    server.post(SCHEMAS, schema("one", "one", "noisy")).await.expect_code(201);
    until_dangling(&server, "one", "False").await;
    let noisy = Caller::user("noisy", []);
    // 600 seats by 1 of 246 shares: three.
    let names = ["a", "b", "c"];
    let bodies = names.map(|name| held(config_map(name, json!({})).to_string()));
    let mut lets = Vec::new();
    let mut sent = Vec::new();
    for (body, go) in bodies {
        lets.push(go);
        sent.push(Box::pin(server.send_slowly(&noisy, CONFIG_MAPS, body)));
    }
    for one in &mut sent {
        assert!(futures::poll!(one).is_pending());
    }
    let full = server.send_as(&noisy, "GET", CONFIG_MAPS, &[], "").await;
    assert_eq!(full.refusal(), "429 TooManyRequests: Too many requests, please try again later.");
    assert_eq!(full.headers["retry-after"], "1");
    assert!(marks(&full).iter().all(|uid| !uid.is_empty()));
    server.send_as(&Caller::user("quiet", []), "GET", CONFIG_MAPS, &[], "").await.expect_code(200);
    server.get(CONFIG_MAPS).await.expect_code(200);
    for (go, sent) in lets.into_iter().zip(sent) {
        go.go();
        sent.await.expect_code(201);
    }
    server.send_as(&noisy, "GET", CONFIG_MAPS, &[], "").await.expect_code(200);
    let metrics = server.get("/metrics").await.text;
    let line = "apiserver_flowcontrol_rejected_requests_total{priority_level=\"one\",\
                flow_schema=\"one\",reason=\"concurrency-limit\"} 1";
    assert!(metrics.lines().any(|own| own == line), "{metrics}");
}

#[tokio::test]
async fn watches_have_a_seat_only_until_they_begin() {
    let server = server(Settings::default());
    server.post(LEVELS, level("one", 1, &json!({"type": "Reject"}))).await.expect_code(201);
    server.post(SCHEMAS, schema("one", "one", "watcher")).await.expect_code(201);
    until_dangling(&server, "one", "False").await;
    let watcher = Caller::user("watcher", []);
    let path = format!("{CONFIG_MAPS}?watch=1");
    let mut watches = Vec::new();
    for _ in 0..20 {
        let watch = server.raw(&watcher, "GET", &path, &[], Bytes::new()).await;
        assert_eq!(watch.status(), 200);
        watches.push(watch);
    }
    server.send_as(&watcher, "GET", CONFIG_MAPS, &[], "").await.expect_code(200);
}

/// Six hundred writes at once of one caller, whose bodies take their time, over
/// and over; a quiet caller of the same level reads meanwhile.
#[tokio::test]
async fn a_quiet_caller_is_served_however_much_a_noisy_one_asks() {
    const NOISY: usize = 600;
    const QUIET: usize = 60;
    const TURNS: usize = 50;
    let server = Arc::new(server(Settings::default()));
    until_dangling_somewhere(&server).await;
    let (stop, served, refused) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicUsize::new(0)),
    );
    let mut tasks = Vec::new();
    for _ in 0..NOISY {
        let (server, stop) = (server.clone(), stop.clone());
        let (served, refused) = (served.clone(), refused.clone());
        tasks.push(tokio::spawn(async move {
            let noisy = Caller::user("noisy", []);
            while !stop.load(Relaxed) {
                // Refused by what it says, once it has been read: nothing is kept.
                let slow = stream::once(Box::pin(async {
                    for _ in 0..TURNS {
                        tokio::task::yield_now().await;
                    }
                    Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(b"{}")))
                }));
                let answer = server.send_slowly(&noisy, CONFIG_MAPS, StreamBody::new(slow)).await;
                match answer.code.as_u16() {
                    429 => refused.fetch_add(1, Relaxed),
                    _ => served.fetch_add(1, Relaxed),
                };
                tokio::task::yield_now().await;
            }
        }));
    }
    let quiet = Caller::user("quiet", []);
    while refused.load(Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    for _ in 0..QUIET {
        server.send_as(&quiet, "GET", CONFIG_MAPS, &[], "").await.expect_code(200);
    }
    stop.store(true, Relaxed);
    for task in tasks {
        task.await.expect("no panic");
    }
    assert!(served.load(Relaxed) > QUIET, "the noisy one has its part, too");
    let idle = server.get("/debug/api_priority_and_fairness/dump_requests").await.text;
    assert!(idle.contains("\nglobal-default, global-default, 0, 0, 0\n"), "{idle}");
}

async fn until_dangling_somewhere(server: &Server) {
    server.get("/version").await.expect_code(200);
    until_dangling(server, "global-default", "False").await;
}

#[tokio::test]
async fn without_levels_each_number_is_a_bound() {
    let mut settings = Settings::default();
    settings.bounds.fair = false;
    settings.bounds.mutating_in_flight_max = 1;
    let server = server(settings);
    let (body, go) = held(config_map("a", json!({})).to_string());
    let ann = Caller::user("ann", []);
    server.get(CONFIG_MAPS).await.expect_code(200);
    let mut first = Box::pin(server.send_slowly(&ann, CONFIG_MAPS, body));
    assert!(futures::poll!(&mut first).is_pending());
    let second = server.post(CONFIG_MAPS, config_map("b", json!({}))).await.expect_code(429);
    assert_eq!(marks(&second), ["", ""]);
    server.get(CONFIG_MAPS).await.expect_code(200);
    go.go();
    first.await.expect_code(201);
    assert!(server.get(SCHEMAS).await.names().is_empty());
}

#[tokio::test]
async fn every_door_of_an_estate_has_its_own_levels() {
    let server = Server::with_units().await;
    server.get("/units/rz01/api/v1/namespaces").await.expect_code(200);
    server.get("/units/rz01/api/v1/namespaces").await.expect_code(200);
    let uid = |path: &str, answer: Answer| {
        let [schema, _] = marks(&answer);
        assert!(!schema.is_empty(), "{path}");
        schema
    };
    let mut uids = std::collections::BTreeSet::new();
    for door in ["", "/units/rz01"] {
        let path = format!("{door}{SCHEMAS}?watch=1&fieldSelector=metadata.name%3Dexempt");
        let mut frames = server.watch(&path).await;
        loop {
            let frame = frames.next().await.expect("it is told");
            if !frame["object"]["status"]["conditions"].is_null() {
                break;
            }
        }
        let path = format!("{door}/api/v1/namespaces");
        uids.insert(uid(&path, server.get(&path).await));
    }
    assert_eq!(uids.len(), 2);
}
