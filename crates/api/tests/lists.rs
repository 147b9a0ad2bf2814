//! Lists: selection, paging, versions, shapes, and the pages about the server.

mod support;

use api::Caller;
use kv::Revision;
use serde_json::json;
use support::{CONFIG_MAPS, PODS, Server, UNITS, config_map, pod, process, unit};

async fn filled() -> Server {
    let server = Server::start();
    for n in 0..7 {
        let labels = json!({"parity": if n % 2 == 0 { "even" } else { "odd" }});
        server.post(CONFIG_MAPS, config_map(&format!("m{n}"), labels)).await.expect_code(201);
    }
    server
}

#[tokio::test]
async fn lists_select_by_labels_and_fields() {
    let server = filled().await;
    let list = async |query: &str| server.get(&format!("{CONFIG_MAPS}?{query}")).await.names();
    assert_eq!(list("labelSelector=parity%3Dodd").await, ["m1", "m3", "m5"]);
    assert_eq!(list("fieldSelector=metadata.name%3Dm2").await, ["m2"]);
    assert_eq!(
        list("fieldSelector=metadata.name%21%3Dm2&labelSelector=parity+in+(even)").await,
        ["m0", "m4", "m6"]
    );
    server.get(&format!("{CONFIG_MAPS}?fieldSelector=data.a%3D1")).await.expect_code(400);
    server.get(&format!("{CONFIG_MAPS}?labelSelector=a+b")).await.expect_code(400);
    assert_eq!(server.get("/api/v1/configmaps").await.names().len(), 7);
    assert_eq!(server.get("/api/v1/namespaces/other/configmaps").await.names().len(), 0);
}

#[tokio::test]
async fn pages_show_one_moment_however_long_they_take() {
    let server = filled().await;
    let first = server.get(&format!("{CONFIG_MAPS}?limit=3")).await;
    assert_eq!(first.names(), ["m0", "m1", "m2"]);
    assert_eq!(first.json()["metadata"]["remainingItemCount"], 4);
    let token = first.json()["metadata"]["continue"].as_str().expect("more").to_owned();
    server.delete(&format!("{CONFIG_MAPS}/m4"), json!({})).await.expect_code(200);
    let second = server.get(&format!("{CONFIG_MAPS}?limit=3&continue={token}")).await;
    assert_eq!(second.names(), ["m3", "m4", "m5"], "as it was when the list began");
    assert_eq!(second.version(), first.version());
    let token = second.json()["metadata"]["continue"].as_str().expect("more").to_owned();
    let third = server.get(&format!("{CONFIG_MAPS}?limit=3&continue={token}")).await;
    assert_eq!(third.names(), ["m6"]);
    assert_eq!(third.json()["metadata"].get("continue"), None);

    let kv = (server.keyspaces)("federation");
    let newest = server.get(CONFIG_MAPS).await.version().parse().expect("a number");
    kv.compact(Revision(newest)).await.expect("compacts");
    let late = server.get(&format!("{CONFIG_MAPS}?limit=3&continue={token}")).await;
    assert!(late.refusal().starts_with("410 Expired"), "{}", late.text);
    // It may go on all the same, knowing that the rest is of another time.
    let token = late.json()["metadata"]["continue"].as_str().expect("a token").to_owned();
    let rest = server.get(&format!("{CONFIG_MAPS}?limit=3&continue={token}")).await;
    assert_eq!(rest.names(), ["m6"]);
    server.get(&format!("{CONFIG_MAPS}?continue=zz")).await.expect_code(400);
}

#[tokio::test]
async fn pages_of_a_selection_are_full() {
    let server = filled().await;
    let path = format!("{CONFIG_MAPS}?limit=2&labelSelector=parity%3Deven");
    let first = server.get(&path).await;
    assert_eq!(first.names(), ["m0", "m2"]);
    let token = first.json()["metadata"]["continue"].as_str().expect("more").to_owned();
    assert_eq!(server.get(&format!("{path}&continue={token}")).await.names(), ["m4", "m6"]);
}

#[tokio::test]
async fn lists_can_be_asked_as_of_a_version() {
    let server = filled().await;
    let before = server.get(CONFIG_MAPS).await.version();
    server.delete(&format!("{CONFIG_MAPS}/m0"), json!({})).await.expect_code(200);
    let exact = format!("{CONFIG_MAPS}?resourceVersion={before}&resourceVersionMatch=Exact");
    assert_eq!(server.get(&exact).await.names().len(), 7);
    let fresh = format!("{CONFIG_MAPS}?resourceVersion={before}&resourceVersionMatch=NotOlderThan");
    let fresh = server.get(&fresh).await;
    let number = |text: String| text.parse::<u64>().expect("a number");
    assert!(number(fresh.version()) >= number(before), "{}", fresh.text);
    assert_eq!(server.get(CONFIG_MAPS).await.names().len(), 6);
    let ahead = server.get(&format!("{CONFIG_MAPS}?resourceVersion=999999")).await;
    assert!(ahead.refusal().contains("Too large resource version"), "{}", ahead.text);
    server.get(&format!("{CONFIG_MAPS}?resourceVersionMatch=Exact")).await.expect_code(400);
    server.get(&format!("{CONFIG_MAPS}?resourceVersion=x")).await.expect_code(400);
}

#[tokio::test]
async fn a_units_objects_are_its_own() {
    let server = Server::with_units().await;
    server.post(PODS, pod("p", "n1")).await.expect_code(201);
    assert_eq!(server.get(PODS).await.names(), ["p"]);
    assert_eq!(server.get("/units/rz02/api/v1/pods").await.names().len(), 0);
    assert_eq!(
        server.get(&format!("{PODS}?fieldSelector=spec.nodeName%3Dn1")).await.names(),
        ["p"]
    );
    assert_eq!(
        server.get("/units/rz09/api/v1/pods").await.refusal(),
        "404 NotFound: units.polis.dev \"rz09\" not found"
    );
    let namespaces = server.get("/units/rz02/api/v1/namespaces").await.names();
    assert_eq!(
        namespaces,
        ["default", "kube-node-lease", "kube-public", "kube-system", "polis-system"]
    );
}

#[tokio::test]
async fn namespaces_that_every_cluster_has_are_nobody_s_to_delete() {
    let server = Server::start();
    for name in ["default", "kube-public", "kube-system"] {
        let refused = server.delete(&format!("/api/v1/namespaces/{name}"), json!({})).await;
        assert_eq!(
            refused.refusal(),
            format!(
                "403 Forbidden: namespaces {name:?} is forbidden: this namespace may not be deleted"
            )
        );
    }
    server.delete("/api/v1/namespaces", json!({})).await.expect_code(405);
}

#[tokio::test]
async fn tables_have_the_columns_an_operator_wants() {
    let server = Server::with_units().await;
    server.post(PODS, pod("p", "n1")).await.expect_code(201);
    let table = server.table(PODS).await.expect_code(200).json();
    let names: Vec<_> = table["columnDefinitions"]
        .as_array()
        .expect("columns")
        .iter()
        .filter(|column| column["priority"] == 0)
        .map(|column| column["name"].as_str().expect("a name").to_owned())
        .collect();
    assert_eq!(names, ["Name", "Ready", "Status", "Restarts", "Age"]);
    let row = &table["rows"][0];
    assert_eq!(row["cells"][1], "0/1");
    assert_eq!(row["object"]["kind"], "PartialObjectMetadata");
    assert_eq!(row["object"]["metadata"]["namespace"], "default");
    let one = server.table(&format!("{UNITS}/rz01")).await.json();
    assert_eq!(one["rows"][0]["cells"][1], "RZone");
    let accept = [("accept", "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1")];
    let partial = server.send_as(&support::admin(), "GET", UNITS, &accept, "").await.json();
    assert_eq!(partial["kind"], "PartialObjectMetadataList");
    assert_eq!(partial["items"][0].get("spec"), None);
    let accept = [("accept", "application/cbor")];
    server.send_as(&support::admin(), "GET", UNITS, &accept, "").await.expect_code(406);
}

#[tokio::test]
async fn discovery_names_what_each_door_serves() {
    let server = Server::with_units().await;
    let names = async |path: &str| {
        let list = server.get(path).await.expect_code(200).json();
        let found = list["resources"].as_array().expect("resources").iter();
        found.map(|one| one["name"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
    };
    let root = names("/apis/polis.dev/v1alpha1").await;
    assert!(root.contains(&"shardmaps/status".to_owned()), "{root:?}");
    assert!(names("/units/rz01/api/v1").await.contains(&"pods/log".to_owned()));
    server.get("/units/rz01/apis/polis.dev/v1alpha1").await.expect_code(404);
    server.get("/units/rz09/apis").await.expect_code(404);
    let accept =
        [("accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")];
    let list = server.send_as(&support::admin(), "GET", "/apis", &accept, "").await;
    assert_eq!(list.headers["content-type"], accept[0].1);
    let groups: Vec<_> = list.json()["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|group| group["metadata"]["name"].clone())
        .collect();
    assert!(groups.contains(&json!("polis.dev")) && groups.contains(&json!("apps.polis.dev")));
    let index = server.get("/units/rz01/openapi/v3").await.json();
    let url = index["paths"]["api/v1"]["serverRelativeURL"].as_str().expect("a URL").to_owned();
    let document = server.get(&url).await.expect_code(200).json();
    assert!(document["components"]["schemas"]["io.k8s.api.core.v1.Pod"].is_object());
}

#[tokio::test]
async fn strangers_see_health_and_nothing_else() {
    let server = Server::start();
    let nobody = Caller::anonymous();
    for (path, code) in [
        ("/livez", 200),
        ("/readyz?verbose", 200),
        ("/healthz", 200),
        ("/version", 200),
        ("/metrics", 403),
        ("/api", 403),
        ("/openapi/v3", 403),
        (UNITS, 403),
    ] {
        server.send_as(&nobody, "GET", path, &[], "").await.expect_code(code);
    }
    let viewer = Caller::user("ann", ["polis:viewers".to_owned()]);
    server.send_as(&viewer, "GET", UNITS, &[], "").await.expect_code(200);
    let body = unit("rz01").to_string();
    assert_eq!(
        server.send_as(&viewer, "POST", UNITS, &[], body).await.refusal(),
        "403 Forbidden: units.polis.dev is forbidden: User \"ann\" cannot create resource \
         \"units\" in API group \"polis.dev\" at the cluster scope"
    );
}

#[tokio::test]
async fn an_agent_can_ask_what_it_may_do_and_is_told_by_the_door() {
    let server = Server::with_units().await;
    let agent = process("rz01", "agent");
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let status =
        json!({"verb": "patch", "resource": "pods", "subresource": "status", "namespace": "a"});
    let pod = json!({"verb": "patch", "resource": "pods", "namespace": "a"});
    for (door, what, allowed) in [
        ("/units/rz01", &status, true),
        ("/units/rz02", &status, false),
        ("/units/rz01", &pod, false),
    ] {
        let question = json!({"spec": {"resourceAttributes": what}}).to_string();
        let path = format!("{door}{path}");
        let answer = server.send_as(&agent, "POST", &path, &[], question).await.expect_code(201);
        assert_eq!(answer.json()["status"]["allowed"], allowed, "{door} {what}");
    }
    let rules = "/units/rz01/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    let question = json!({"spec": {"namespace": "default"}}).to_string();
    let rules = server.send_as(&agent, "POST", rules, &[], question).await.expect_code(201).json();
    let rules = rules["status"]["resourceRules"].as_array().expect("rules").clone();
    assert!(
        rules.contains(&json!({"verbs": ["delete"], "apiGroups": [""], "resources": ["pods"]}))
    );
}

#[tokio::test]
async fn health_checks_are_counted_and_their_time_is_not_kept() {
    let server = Server::start();
    for path in ["/livez", "/livez", "/healthz"] {
        assert_eq!(server.get(path).await.expect_code(200).text, "ok");
    }
    assert!(server.get("/livez?verbose").await.expect_code(200).text.contains("[+]ping ok"));
    server.post("/livez", json!({})).await.expect_code(405);
    let metrics = server.get("/metrics").await.text;
    let line = |text: &str| metrics.lines().any(|line| line == text);
    let other = "verb=\"other\",group=\"\",version=\"\",resource=\"\",subresource=\"\",scope=\"\",\
                 component=\"apiserver\"";
    assert!(line(&format!("apiserver_request_total{{{other},code=\"200\"}} 4")), "{metrics}");
    let timed = format!("apiserver_request_duration_seconds_count{{{other}}} 2");
    assert!(line(&timed), "{metrics}");
}

#[tokio::test]
async fn callers_can_ask_what_they_may_do() {
    let server = Server::start();
    let viewer = Caller::user("ann", ["polis:viewers".to_owned()]);
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    for (verb, allowed) in [("get", true), ("delete", false)] {
        let question = json!({"spec": {"resourceAttributes": {"verb": verb, "resource": "units"}}});
        let answer = server.send_as(&viewer, "POST", path, &[], question.to_string()).await;
        assert_eq!(answer.expect_code(201).json()["status"]["allowed"], allowed, "{verb}");
    }
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let answer = server.send_as(&viewer, "POST", path, &[], "{}").await.json();
    assert_eq!(answer["status"]["userInfo"]["username"], "ann");
}

#[tokio::test]
async fn requests_are_counted_under_bounded_names() {
    let server = Server::start();
    server.get(UNITS).await.expect_code(200);
    server.get("/apis/nonsense/v1/things").await.expect_code(404);
    let text = server.get("/metrics").await.expect_code(200).text;
    let line = "apiserver_request_total{verb=\"LIST\",group=\"polis.dev\",version=\"v1alpha1\",\
                resource=\"units\",subresource=\"\",scope=\"cluster\",component=\"apiserver\",code=\"200\"} 1";
    assert!(text.contains(line), "{text}");
    assert!(!text.contains("nonsense"), "{text}");
}

#[tokio::test]
async fn methods_that_make_no_sense_are_refused() {
    let server = Server::with_units().await;
    for (method, path) in [
        ("POST", format!("{UNITS}/rz01")),
        ("PUT", UNITS.to_owned()),
        ("PATCH", UNITS.to_owned()),
        ("POST", "/api/v1/configmaps".to_owned()),
        ("DELETE", "/api/v1/configmaps".to_owned()),
        ("DELETE", format!("{UNITS}/rz01/status")),
        ("POST", "/version".to_owned()),
        ("BREW", format!("{UNITS}/rz01")),
    ] {
        let answer = server.send_as(&support::admin(), method, &path, &[], "{}").await;
        assert_eq!(answer.code, 405, "{method} {path}: {}", answer.text);
    }
}
