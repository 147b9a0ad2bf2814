//! Who asks, by tokens, and what roles let them do, on a plain cluster.

mod support;

use std::path::PathBuf;

use api::{
    Caller, Settings,
    settings::{AuthorizationMode, ServiceAccounts},
};
use serde_json::{Value, json};
use support::Server;

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const SECRETS: &str = "/api/v1/namespaces/kube-system/secrets";
const WHOAMI: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
const TOKEN: &str = "/api/v1/namespaces/default/serviceaccounts/till/token";

/// A folder with a key and a token file, gone when dropped.
struct World {
    dir: PathBuf,
    server: Server,
}

impl World {
    fn start(name: &str) -> World {
        let dir = std::env::temp_dir().join(format!("polis-auth-{name}-{}", std::process::id()));
        let root = identity::Authority::root("accounts").expect("root");
        let leaf = identity::Leaf {
            common_name: "accounts".into(),
            lifetime: std::time::Duration::from_secs(60),
            ..identity::Leaf::default()
        };
        let files = identity::Files::in_dir(&dir, "sa");
        root.issue(&leaf).expect("issue").save(&files).expect("save");
        let token_file = dir.join("tokens.csv");
        std::fs::write(&token_file, "ann-token,ann,7,\"dev\"\n").expect("written");
        let mut settings = Settings {
            authorization: vec![AuthorizationMode::Node, AuthorizationMode::Rbac],
            ..Settings::default()
        };
        settings.authentication.token_file = Some(token_file);
        settings.authentication.bootstrap_tokens = true;
        settings.authentication.service_accounts = Some(ServiceAccounts {
            issuers: vec!["https://issuer".into()],
            key_files: vec![files.key.clone()],
            signing_key_file: files.key,
            audiences: vec!["api".into()],
        });
        World { server: Server::of_cluster(&settings), dir }
    }

    async fn create(&self, path: &str, object: Value) {
        self.server.post(path, object).await.expect_code(201);
    }

    /// Waits until `token` gets this answer: roles are read from a mirror, a
    /// moment behind.
    async fn until(&self, token: &str, method: &str, path: &str, body: Value, code: u16) -> Value {
        let asked = async {
            loop {
                let answer = self.server.send_with(token, method, path, body.clone()).await;
                if answer.code.as_u16() == code {
                    return answer.json();
                }
                tokio::task::yield_now().await;
            }
        };
        let deadline = std::time::Duration::from_secs(120);
        tokio::time::timeout(deadline, asked).await.expect("the answer in time")
    }

    async fn token(&self, spec: Value) -> String {
        let answer = self.server.post(TOKEN, json!({"spec": spec})).await.expect_code(201);
        answer.json()["status"]["token"].as_str().expect("a token").to_owned()
    }

    async fn whoami(&self, token: &str) -> Value {
        let answer = self.server.send_with(token, "POST", WHOAMI, json!({})).await;
        answer.json()["status"]["userInfo"].clone()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn role(name: &str, verbs: &[&str], resources: &[&str]) -> Value {
    json!({
        "metadata": {"name": name},
        "rules": [{"verbs": verbs, "apiGroups": [""], "resources": resources}],
    })
}

fn binding(name: &str, kind: &str, role: &str, user: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user}],
    })
}

/// Everybody may ask about themselves; the server's own loop writes this, which
/// does not run here.
fn basics() -> [(&'static str, Value); 2] {
    let rules = json!([
        {"verbs": ["create"], "apiGroups": ["authentication.k8s.io"], "resources": ["selfsubjectreviews"]},
        {"verbs": ["create"], "apiGroups": ["authorization.k8s.io"],
         "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"]},
    ]);
    let group = json!([{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "system:authenticated"}]);
    let mut bound = binding("basic", "ClusterRole", "basic", "x");
    bound["subjects"] = group;
    [
        ("clusterroles", json!({"metadata": {"name": "basic"}, "rules": rules})),
        ("clusterrolebindings", bound),
    ]
}

#[tokio::test]
async fn a_role_lets_its_subjects_do_what_it_says_and_no_more() {
    let world = World::start("roles");
    let pods = "/api/v1/namespaces/default/pods";
    let refused = world.server.send_with("ann-token", "GET", pods, Value::Null).await;
    assert_eq!(
        refused.refusal(),
        "403 Forbidden: pods is forbidden: User \"ann\" cannot list resource \"pods\" in API \
         group \"\" in the namespace \"default\""
    );
    let roles = format!("{RBAC}/namespaces/default/roles");
    let bindings = format!("{RBAC}/namespaces/default/rolebindings");
    world.create(&roles, role("reader", &["get", "list"], &["pods"])).await;
    world.create(&bindings, binding("ann", "Role", "reader", "ann")).await;
    world.until("ann-token", "GET", pods, Value::Null, 200).await;
    for (method, path) in [
        ("GET", "/api/v1/pods"),
        ("GET", "/api/v1/namespaces/kube-system/pods"),
        ("GET", "/api/v1/namespaces/default/secrets"),
        ("DELETE", "/api/v1/namespaces/default/pods/p"),
        ("GET", "/nothing"),
        ("GET", "/metrics"),
    ] {
        world.server.send_with("ann-token", method, path, Value::Null).await.expect_code(403);
    }
    // What is not there is told to those who may look.
    let missing = format!("{pods}/p");
    world.server.send_with("ann-token", "GET", &missing, Value::Null).await.expect_code(404);
    world.server.delete(&format!("{bindings}/ann"), json!({})).await.expect_code(200);
    world.until("ann-token", "GET", pods, Value::Null, 403).await;
}

/// As Kubernetes has it: a list by name is as good as a read, and a namespace is in
/// itself.
#[tokio::test]
async fn names_and_namespaces_count_where_they_are_not_in_the_path() {
    let world = World::start("names");
    let roles = format!("{RBAC}/namespaces/default/roles");
    let bindings = format!("{RBAC}/namespaces/default/rolebindings");
    let one = json!({
        "metadata": {"name": "one"},
        "rules": [
            {"verbs": ["list", "watch"], "apiGroups": [""], "resources": ["configmaps"],
             "resourceNames": ["a"]},
            {"verbs": ["get"], "apiGroups": [""], "resources": ["namespaces"]},
        ],
    });
    world.create(&roles, one).await;
    world.create(&bindings, binding("ann", "Role", "one", "ann")).await;
    let maps = "/api/v1/namespaces/default/configmaps";
    let named = |name: &str| format!("{maps}?fieldSelector=metadata.name%3D{name}");
    world.until("ann-token", "GET", &named("a"), Value::Null, 200).await;
    for path in [
        maps,
        &named("b"),
        &format!("{maps}?fieldSelector=metadata.name!%3Da"),
        &format!("{maps}?fieldSelector=metadata.namespace%3Da"),
        "/api/v1/namespaces/kube-system",
        "/api/v1/namespaces",
    ] {
        world.server.send_with("ann-token", "GET", path, Value::Null).await.expect_code(403);
    }
    let own = "/api/v1/namespaces/default";
    world.server.send_with("ann-token", "GET", own, Value::Null).await.expect_code(200);
}

/// Who approves does so for a signer, and signs nothing.
#[tokio::test]
async fn a_certificate_s_request_is_approved_by_who_may_for_its_signer() {
    let world = World::start("signing");
    let requests = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let request = json!({
        "metadata": {"name": "r"},
        "spec": {"signerName": "example.com/one", "usages": ["client auth"], "request": "eA=="},
    });
    let made = world.server.post(requests, request).await.expect_code(201).json();
    let clusterwide = json!({
        "metadata": {"name": "approver"},
        "rules": [{"verbs": ["get", "update"], "apiGroups": ["certificates.k8s.io"],
                   "resources": ["certificatesigningrequests",
                                 "certificatesigningrequests/approval",
                                 "certificatesigningrequests/status"]}],
    });
    world.create(&format!("{RBAC}/clusterroles"), clusterwide).await;
    let bindings = format!("{RBAC}/clusterrolebindings");
    world.create(&bindings, binding("ann", "ClusterRole", "approver", "ann")).await;
    let mut approved = made.clone();
    approved["spec"]["signerName"] = "example.com/other".into();
    approved["status"] = json!({
        "certificate": "eA==",
        "conditions": [{"type": "Approved", "status": "True", "reason": "R", "message": "m"}],
    });
    let approval = format!("{requests}/r/approval");
    let not_for_it = "user not permitted to approve requests with signerName \"example.com/one\"";
    world.until("ann-token", "GET", &format!("{requests}/r"), Value::Null, 200).await;
    let refused = world.server.send_with("ann-token", "PUT", &approval, approved.clone()).await;
    let refused = refused.expect_code(403).refusal();
    assert!(refused.contains(not_for_it), "{refused}");
    let signer = json!({
        "metadata": {"name": "signer"},
        "rules": [{"verbs": ["approve"], "apiGroups": ["certificates.k8s.io"],
                   "resources": ["signers"], "resourceNames": ["example.com/*"]}],
    });
    world.create(&format!("{RBAC}/clusterroles"), signer).await;
    world.create(&bindings, binding("signer", "ClusterRole", "signer", "ann")).await;
    world.until("ann-token", "PUT", &approval, approved.clone(), 200).await;
    let now = world.server.get(&format!("{requests}/r")).await.json();
    assert_eq!(now["spec"], made["spec"]);
    assert_eq!(now["status"].as_object().map(|status| status.len()), Some(1), "{now}");
    let decided = &now["status"]["conditions"][0];
    assert_eq!(decided["type"], "Approved");
    assert!(decided["lastTransitionTime"].is_string());
    // A status says nothing of the decision, and a certificate takes `sign`.
    let status = format!("{requests}/r/status");
    approved["metadata"]["resourceVersion"] = now["metadata"]["resourceVersion"].clone();
    let refused = world.server.send_with("ann-token", "PUT", &status, approved.clone()).await;
    assert!(refused.expect_code(403).refusal().contains("not permitted to sign"));
    approved["status"]["conditions"] = json!([]);
    let signed = world.server.put(&status, approved).await.expect_code(200).json();
    assert_eq!(signed["status"]["certificate"], "eA==");
    assert_eq!(signed["status"]["conditions"][0]["type"], "Approved");
}

#[tokio::test]
async fn a_token_that_is_not_known_is_refused_and_never_passed_over() {
    let world = World::start("unknown");
    let long = "a".repeat(20_000);
    for token in ["ann-tokeX", "a.b.c", "abcdef.0123456789abcdef", &long] {
        let answer = world.server.send_with(token, "GET", "/version", Value::Null).await;
        assert_eq!(answer.refusal(), "401 Unauthorized: Unauthorized");
    }
    // Whoever shows nothing is anonymous, and so is a header of another kind.
    let anonymous = Caller::anonymous();
    let basic = [("authorization", "Basic YTpi")];
    for headers in [&[][..], &basic] {
        let answer = world.server.send_as(&anonymous, "GET", "/api/v1/pods", headers, "").await;
        assert!(answer.refusal().contains("User \"system:anonymous\""), "{}", answer.text);
    }
}

#[tokio::test]
async fn nobody_grants_what_they_do_not_hold() {
    let world = World::start("escalation");
    let (roles, bindings) = (format!("{RBAC}/clusterroles"), format!("{RBAC}/clusterrolebindings"));
    let manage = json!({
        "metadata": {"name": "manager"},
        "rules": [
            {"verbs": ["create", "update", "get"], "apiGroups": ["rbac.authorization.k8s.io"],
             "resources": ["clusterroles", "clusterrolebindings"]},
            {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]},
        ],
    });
    world.create(&roles, manage).await;
    world.create(&roles, role("all", &["*"], &["*"])).await;
    world.create(&bindings, binding("ann", "ClusterRole", "manager", "ann")).await;
    let own = role("own", &["get"], &["pods"]);
    world.until("ann-token", "POST", &roles, own, 201).await;
    let send = async |path: &str, object: Value| {
        world.server.send_with("ann-token", "POST", path, object).await
    };
    let more = send(&roles, role("more", &["get", "list"], &["pods"])).await;
    assert_eq!(
        more.refusal(),
        "403 Forbidden: clusterroles.rbac.authorization.k8s.io \"more\" is forbidden: user \"ann\" \
         (groups=[\"dev\" \"system:authenticated\"]) is attempting to grant RBAC permissions not \
         currently held:\n{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"list\"]}"
    );
    let bound = send(&bindings, binding("b", "ClusterRole", "all", "ann")).await.expect_code(403);
    assert!(bound.refusal().contains("Verbs:[\"*\"]"), "{}", bound.text);
    send(&bindings, binding("b", "ClusterRole", "own", "bob")).await.expect_code(201);
    send(&bindings, binding("c", "ClusterRole", "nothing", "bob")).await.expect_code(404);
    let made =
        json!({"metadata": {"name": "made"}, "aggregationRule": {"clusterRoleSelectors": []}});
    let made = send(&roles, made).await.expect_code(403);
    assert!(made.refusal().ends_with("to use an aggregationRule"), "{}", made.text);
    // A label makes a role part of those that others hold.
    let all = world.server.get(&format!("{roles}/all")).await.json();
    let mut labelled = all.clone();
    labelled["metadata"]["labels"] = json!({"rbac.authorization.k8s.io/aggregate-to-edit": "true"});
    let path = format!("{roles}/all");
    let refused = world.server.send_with("ann-token", "PUT", &path, labelled).await;
    assert!(refused.expect_code(403).refusal().contains("not currently held"));
    let mut kept = all;
    kept["metadata"]["finalizers"] = json!(["example.com/f"]);
    world.server.send_with("ann-token", "PUT", &path, kept).await.expect_code(200);
    // With the verb for it, it may.
    world
        .create(
            &roles,
            json!({
                "metadata": {"name": "binder"},
                "rules": [{"verbs": ["bind"], "apiGroups": ["rbac.authorization.k8s.io"],
                           "resources": ["clusterroles"], "resourceNames": ["all"]}],
            }),
        )
        .await;
    world.create(&bindings, binding("binder", "ClusterRole", "binder", "ann")).await;
    let all = binding("d", "ClusterRole", "all", "bob");
    world.until("ann-token", "POST", &bindings, all, 201).await;
}

#[tokio::test]
async fn a_service_account_gets_tokens_that_fall_with_what_they_are_bound_to() {
    let world = World::start("accounts");
    for (plural, object) in basics() {
        world.create(&format!("{RBAC}/{plural}"), object).await;
    }
    let missing = world.server.post(TOKEN, json!({"spec": {}})).await;
    assert_eq!(missing.refusal(), "404 NotFound: serviceaccounts \"till\" not found");
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    world.create(accounts, json!({"metadata": {"name": "till"}})).await;
    let short = world.server.post(TOKEN, json!({"spec": {"expirationSeconds": 60}})).await;
    assert!(short.refusal().contains("less than 10 minutes"), "{}", short.text);
    let token = world.token(json!({"expirationSeconds": 600})).await;
    world.until(&token, "POST", WHOAMI, json!({}), 201).await;
    let info = world.whoami(&token).await;
    assert_eq!(info["username"], "system:serviceaccount:default:till");
    assert_eq!(info["groups"][1], "system:serviceaccounts:default");
    let id = &info["extra"]["authentication.kubernetes.io/credential-id"][0];
    assert!(id.as_str().is_some_and(|id| id.starts_with("JTI=")), "{info}");

    let mut pod = support::pod("till-1", "east-1");
    pod["spec"]["serviceAccountName"] = "till".into();
    world.create("/api/v1/namespaces/default/pods", pod).await;
    let bound =
        |name: &str| json!({"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": name}});
    let of_pod = world.token(bound("till-1")).await;
    assert_eq!(
        world.whoami(&of_pod).await["extra"]["authentication.kubernetes.io/pod-name"][0],
        "till-1"
    );
    let none = world.server.post(TOKEN, json!({"spec": bound("till-2")})).await;
    assert_eq!(none.refusal(), "404 NotFound: pods \"till-2\" not found");

    let review = |token: &str, audiences: Value| {
        let question = json!({"spec": {"token": token, "audiences": audiences}});
        world.server.post("/apis/authentication.k8s.io/v1/tokenreviews", question)
    };
    let vault = world.token(json!({"audiences": ["vault"]})).await;
    world.server.send_with(&vault, "GET", "/version", Value::Null).await.expect_code(401);
    let seen = review(&vault, json!(["vault", "x"])).await.expect_code(201).json();
    assert_eq!(seen["status"]["authenticated"], true, "{seen}");
    assert_eq!(seen["status"]["audiences"], json!(["vault"]));
    let seen = review(&vault, Value::Null).await.json();
    assert_ne!(seen["status"]["authenticated"], true, "not for this server");

    let another = world.token(json!({})).await;
    world.server.delete(&format!("{accounts}/till"), json!({})).await.expect_code(200);
    let refused = world.server.send_with(&another, "GET", "/version", Value::Null).await;
    assert_eq!(refused.refusal(), "401 Unauthorized: Unauthorized");
}

#[tokio::test]
async fn keys_and_issuer_are_published_for_those_who_verify() {
    let world = World::start("issuer");
    let shown = world.server.get("/.well-known/openid-configuration").await.expect_code(200).json();
    assert_eq!(shown["issuer"], "https://issuer");
    assert_eq!(shown["jwks_uri"], "https://issuer/openid/v1/jwks");
    let keys = world.server.get("/openid/v1/jwks").await.expect_code(200).json();
    assert_eq!(keys["keys"][0]["alg"], "ES256");
    world
        .server
        .send_with("ann-token", "GET", "/openid/v1/jwks", Value::Null)
        .await
        .expect_code(403);
}

#[tokio::test]
async fn a_bootstrap_token_is_a_secret_of_the_system() {
    let world = World::start("bootstrap");
    for (plural, object) in basics() {
        world.create(&format!("{RBAC}/{plural}"), object).await;
    }
    let secret = json!({
        "metadata": {"name": "bootstrap-token-abcdef"},
        "type": "bootstrap.kubernetes.io/token",
        "stringData": {
            "token-id": "abcdef",
            "token-secret": "0123456789abcdef",
            "usage-bootstrap-authentication": "true",
        },
        "data": {
            "token-id": "YWJjZGVm",
            "token-secret": "MDEyMzQ1Njc4OWFiY2RlZg==",
            "usage-bootstrap-authentication": "dHJ1ZQ==",
        },
    });
    world.create(SECRETS, secret).await;
    let token = "abcdef.0123456789abcdef";
    world.until(token, "POST", WHOAMI, json!({}), 201).await;
    assert_eq!(world.whoami(token).await["username"], "system:bootstrap:abcdef");
    let wrong = world.server.send_with("abcdef.0123456789abcdee", "POST", WHOAMI, json!({})).await;
    wrong.expect_code(401);
}

#[tokio::test]
async fn one_speaks_for_another_when_one_may() {
    let world = World::start("impersonation");
    for (plural, object) in basics() {
        world.create(&format!("{RBAC}/{plural}"), object).await;
    }
    let roles = format!("{RBAC}/clusterroles");
    let bindings = format!("{RBAC}/clusterrolebindings");
    world
        .create(
            &roles,
            json!({
                "metadata": {"name": "speaker"},
                "rules": [{"verbs": ["impersonate"], "apiGroups": [""], "resources": ["users"],
                           "resourceNames": ["bob"]}],
            }),
        )
        .await;
    world.create(&bindings, binding("speaker", "ClusterRole", "speaker", "ann")).await;
    world.until("ann-token", "POST", WHOAMI, json!({}), 201).await;
    let speak = async |headers: &[(&str, &str)]| {
        let own = ("authorization", "Bearer ann-token");
        let headers = [&[own], headers].concat();
        world.server.send_as(&Caller::anonymous(), "POST", WHOAMI, &headers, "{}").await
    };
    let bob = loop {
        // The binding is seen a moment later.
        let answer = speak(&[("impersonate-user", "bob")]).await;
        if answer.code != 403 {
            break answer.expect_code(201).json();
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(bob["status"]["userInfo"]["username"], "bob");
    assert_eq!(bob["status"]["userInfo"]["groups"], json!(["system:authenticated"]));
    let masters = [("impersonate-user", "bob"), ("impersonate-group", "system:masters")];
    let refused = speak(&masters).await;
    assert_eq!(
        refused.refusal(),
        "403 Forbidden: groups \"system:masters\" is forbidden: User \"ann\" cannot impersonate \
         resource \"groups\" in API group \"\" at the cluster scope"
    );
    speak(&[("impersonate-user", "root")]).await.expect_code(403);
    speak(&[("impersonate-group", "dev")]).await.expect_code(400);
}

#[tokio::test]
async fn reviews_answer_for_others_and_list_rules() {
    let world = World::start("reviews");
    let roles = format!("{RBAC}/clusterroles");
    let bindings = format!("{RBAC}/clusterrolebindings");
    world.create(&roles, role("reader", &["get"], &["pods"])).await;
    world.create(&bindings, binding("ann", "ClusterRole", "reader", "ann")).await;
    world.until("ann-token", "GET", "/api/v1/namespaces/default/pods/p", Value::Null, 404).await;
    let group = "/apis/authorization.k8s.io/v1";
    let ask = async |path: &str, spec: Value| {
        world.server.post(&format!("{group}/{path}"), json!({"spec": spec})).await
    };
    let pods = json!({"verb": "get", "resource": "pods", "namespace": "default",
                      "labelSelector": {"rawSelector": "a=b"}});
    let of_ann = json!({"user": "ann", "resourceAttributes": pods});
    let status = ask("subjectaccessreviews", of_ann.clone()).await.expect_code(201).json();
    assert_eq!(
        status["status"],
        json!({
            "allowed": true,
            "reason": "RBAC: allowed by ClusterRoleBinding \"ann\" of ClusterRole \"reader\" to User \"ann\"",
        })
    );
    let local = "namespaces/default/localsubjectaccessreviews";
    assert_eq!(ask(local, of_ann.clone()).await.json()["status"]["allowed"], true);
    let other = "namespaces/kube-system/localsubjectaccessreviews";
    ask(other, of_ann).await.expect_code(400);
    let paths =
        json!({"user": "ann", "nonResourceAttributes": {"verb": "get", "path": "/metrics"}});
    assert_eq!(ask("subjectaccessreviews", paths).await.json()["status"]["allowed"], false);
    ask("subjectaccessreviews", json!({"user": "ann"})).await.expect_code(422);
    let nobody = json!({"resourceAttributes": {"verb": "get", "resource": "pods"}});
    ask("subjectaccessreviews", nobody.clone()).await.expect_code(422);
    ask("selfsubjectaccessreviews", nobody).await.expect_code(201);
    let rules = ask("selfsubjectrulesreviews", json!({"namespace": "default"})).await;
    assert_eq!(
        rules.expect_code(201).json()["status"]["resourceRules"],
        json!([]),
        "a master needs none"
    );
}
