//! Webhooks: a real HTTPS server that is asked, changes and refuses.

#[path = "support/hook.rs"]
mod hook;
mod support;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hook::Hook;
use serde_json::{Value, json};
use support::{CONFIG_MAPS, Server, config_map};
use tokio::net::TcpSocket;

/// `answer` makes the response of a request, but for its uid.
async fn start(name: &str, answer: impl Fn(&Value) -> Value + Send + Sync + 'static) -> Hook {
    let review = move |review: &Value| {
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "response": answer(&review["request"])})
    };
    Hook::start(name, review).await
}

/// A configuration of one webhook, with `also` over it.
fn configuration(hook: &Hook, kind: &str, also: Value) -> Value {
    let mut webhook = json!({
        "name": "hook.example.com",
        "clientConfig": {
            "url": format!("https://{}/ask", hook.address),
            "caBundle": hook.bundle,
        },
        "rules": [{
            "operations": ["CREATE", "UPDATE", "DELETE"],
            "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"],
        }],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    });
    for (key, value) in also.as_object().expect("an object") {
        webhook[key] = value.clone();
    }
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": "test"},
        "webhooks": [webhook],
    })
}

const MUTATING: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
const VALIDATING: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";

/// Creates the configuration, and waits until it is followed.
async fn configure(server: &Server, path: &str, configuration: Value) {
    let version = server.post(path, configuration).await.expect_code(201).version();
    let at = format!("{path}?resourceVersion={version}&resourceVersionMatch=NotOlderThan");
    server.get(&at).await.expect_code(200);
}

#[tokio::test]
async fn a_webhook_changes_what_is_written_and_is_told_all_about_it() {
    let server = Server::start();
    let patch = json!([{"op": "add", "path": "/data/added", "value": "yes"}]).to_string();
    let hook = start("mutate", move |_| {
        json!({"allowed": true, "patchType": "JSONPatch", "patch": STANDARD.encode(&patch), "warnings": ["mind the gap"]})
    })
    .await;
    let only = json!({"objectSelector": {"matchLabels": {"hooked": "yes"}}});
    configure(&server, MUTATING, configuration(&hook, "MutatingWebhookConfiguration", only)).await;
    server.post(CONFIG_MAPS, config_map("plain", json!({}))).await.expect_code(201);
    assert_eq!(hook.asked(), Vec::<Value>::new(), "not selected");
    let created = server.post(CONFIG_MAPS, config_map("a", json!({"hooked": "yes"}))).await;
    let created = created.expect_code(201);
    assert_eq!(created.json()["data"]["added"], "yes");
    assert!(created.headers["warning"].to_str().expect("text").contains("mind the gap"));
    let asked = &hook.asked()[0];
    assert_eq!(asked["operation"], "CREATE");
    assert_eq!(asked["userInfo"]["username"], "admin");
    assert_eq!(asked["object"]["metadata"]["name"], "a");
    assert_eq!(asked["oldObject"], Value::Null);
    assert_eq!(asked["resource"]["resource"], "configmaps");
    let patched = json!({"data": {"added": null, "b": "2"}});
    let path = format!("{CONFIG_MAPS}/a");
    let updated = server.patch(&path, "merge", patched).await.expect_code(200).json();
    assert_eq!(updated["data"], json!({"a": "1", "added": "yes", "b": "2"}));
    assert_eq!(hook.asked()[1]["oldObject"]["data"]["added"], "yes");
}

#[tokio::test]
async fn a_refusal_is_told_in_the_webhooks_words_and_nothing_is_written() {
    let server = Server::start();
    let hook = start("validate", |request| match request["operation"].as_str() {
        Some("CREATE") if request["object"]["data"]["a"] != "1" => json!({"allowed": true}),
        _ => json!({"allowed": false, "status": {"message": "not today", "code": 418}}),
    })
    .await;
    configure(
        &server,
        VALIDATING,
        configuration(&hook, "ValidatingWebhookConfiguration", json!({})),
    )
    .await;
    let refused = server.post(CONFIG_MAPS, config_map("a", json!({}))).await;
    assert_eq!(refused.code, 418);
    let message = refused.json()["message"].as_str().expect("a message").to_owned();
    assert_eq!(message, "admission webhook \"hook.example.com\" denied the request: not today");
    server.get(&format!("{CONFIG_MAPS}/a")).await.expect_code(404);
    let mut other = config_map("b", json!({}));
    other["data"]["a"] = json!("2");
    server.post(CONFIG_MAPS, other).await.expect_code(201);
    let path = format!("{CONFIG_MAPS}/b");
    assert_eq!(server.delete(&path, json!({})).await.code, 418);
    assert_eq!(server.patch(&path, "merge", json!({"data": {"x": "y"}})).await.code, 418);
    assert_eq!(server.get(&path).await.json()["data"], json!({"a": "2"}));
}

#[tokio::test]
async fn who_does_not_answer_counts_as_the_configuration_says() {
    let server = Server::start();
    let hook = start("silent", |_| json!({"allowed": true})).await;
    // Bound, so that nobody else listens there either.
    let gone = TcpSocket::new_v4().expect("a socket");
    gone.bind(([127, 0, 0, 1], 0).into()).expect("a port");
    let address = gone.local_addr().expect("an address");
    let client = json!({"url": format!("https://{address}/"), "caBundle": hook.bundle});
    let mut configuration = configuration(
        &hook,
        "ValidatingWebhookConfiguration",
        json!({"clientConfig": client, "timeoutSeconds": 2}),
    );
    configure(&server, VALIDATING, configuration.clone()).await;
    let failed = server.post(CONFIG_MAPS, config_map("a", json!({}))).await;
    assert_eq!(failed.code, 500);
    assert!(failed.text.contains("failed calling webhook"), "{}", failed.text);
    configuration["webhooks"][0]["failurePolicy"] = json!("Ignore");
    let path = format!("{VALIDATING}/test");
    let patch = json!({"webhooks": configuration["webhooks"]});
    let version = server.patch(&path, "merge", patch).await.expect_code(200).version();
    let at = format!("{VALIDATING}?resourceVersion={version}&resourceVersionMatch=NotOlderThan");
    server.get(&at).await.expect_code(200);
    server.post(CONFIG_MAPS, config_map("a", json!({}))).await.expect_code(201);
}

#[tokio::test]
async fn conditions_are_judged_before_anybody_is_asked() {
    let server = Server::start();
    let hook = start("conditions", |_| json!({"allowed": false})).await;
    let conditions = json!({"matchConditions": [
        {"name": "not-spared", "expression": "object.metadata.name != 'spared'"},
    ]});
    let configuration = configuration(&hook, "ValidatingWebhookConfiguration", conditions);
    configure(&server, VALIDATING, configuration).await;
    server.post(CONFIG_MAPS, config_map("spared", json!({}))).await.expect_code(201);
    server.post(CONFIG_MAPS, config_map("other", json!({}))).await.expect_code(403);
    assert_eq!(hook.asked().len(), 1);
}

const AUTOSCALERS: &str = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";

#[tokio::test]
async fn a_webhook_is_shown_the_version_that_its_rules_name() {
    let server = Server::start();
    let patch =
        json!([{"op": "replace", "path": "/spec/targetCPUUtilizationPercentage", "value": 7}]);
    let hook = start("equivalent", move |_| {
        json!({"allowed": true, "patchType": "JSONPatch", "patch": STANDARD.encode(patch.to_string())})
    })
    .await;
    let rules = json!([{"operations": ["CREATE"], "apiGroups": ["autoscaling"],
        "apiVersions": ["v1"], "resources": ["horizontalpodautoscalers"]}]);
    let conditions = json!([{"name": "old", "expression":
        "object.spec.targetCPUUtilizationPercentage == 50"}]);
    let also = json!({"rules": rules, "matchConditions": conditions});
    let mut told = configuration(&hook, "MutatingWebhookConfiguration", also);
    configure(&server, MUTATING, told.clone()).await;
    let scaler = |name: &str| {
        json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name}, "spec": {"maxReplicas": 3,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "a"},
            "metrics": [{"type": "Resource", "resource": {"name": "cpu",
                "target": {"type": "Utilization", "averageUtilization": 50}}}]}})
    };
    let made = server.post(AUTOSCALERS, scaler("a")).await.expect_code(201).json();
    let target = "/spec/metrics/0/resource/target/averageUtilization";
    assert_eq!(made.pointer(target), Some(&json!(7)), "as it wanted, in the version that was sent");
    let asked = &hook.asked()[0];
    assert_eq!(asked["kind"]["version"], "v1");
    assert_eq!(asked["requestKind"]["version"], "v2");
    assert_eq!(asked["resource"]["version"], "v1");
    assert_eq!(asked["object"]["apiVersion"], "autoscaling/v1");

    told["webhooks"][0]["matchPolicy"] = "Exact".into();
    let patch = json!({"webhooks": told["webhooks"]});
    let patched = server.patch(&format!("{MUTATING}/test"), "merge", patch).await.expect_code(200);
    let version = patched.version();
    let at = format!("{MUTATING}?resourceVersion={version}&resourceVersionMatch=NotOlderThan");
    server.get(&at).await.expect_code(200);
    let made = server.post(AUTOSCALERS, scaler("b")).await.expect_code(201).json();
    assert_eq!(made.pointer(target), Some(&json!(50)));
    assert_eq!(hook.asked().len(), 1);
}

#[tokio::test]
async fn what_is_done_to_a_pod_is_judged_by_what_is_said() {
    let server = Server::of_cluster(&api::Settings::default());
    let hook = start("connect", |request| {
        let words = request["object"]["command"].as_array().cloned().unwrap_or_default();
        let allowed = words.first().is_none_or(|word| word != "sh");
        json!({"allowed": allowed, "status": {"message": "no shells"}})
    })
    .await;
    let rules = json!([{"operations": ["CONNECT", "CREATE", "UPDATE"], "apiGroups": [""],
        "apiVersions": ["v1"], "resources": ["pods/*", "replicationcontrollers/scale"]}]);
    let told = configuration(&hook, "ValidatingWebhookConfiguration", json!({"rules": rules}));
    configure(&server, VALIDATING, told).await;
    let pods = "/api/v1/namespaces/default/pods";
    server.post(pods, support::pod("a", "")).await.expect_code(201);

    let shell =
        server.post(&format!("{pods}/a/exec?command=sh&command=-c&stdin=1"), json!({})).await;
    assert_eq!(
        shell.refusal(),
        "403 Forbidden: admission webhook \"hook.example.com\" denied the request: no shells"
    );
    let other = server.post(&format!("{pods}/a/exec?command=ls"), json!({})).await;
    assert_eq!(other.refusal(), "400 BadRequest: Upgrade request required");
    let ports = server.post(&format!("{pods}/a/portforward?ports=80"), json!({})).await;
    assert_eq!(ports.code, 400);
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction",
        "metadata": {"name": "a", "namespace": "default"}});
    server.post(&format!("{pods}/a/eviction"), eviction).await.expect_code(201);

    let controllers = "/api/v1/namespaces/default/replicationcontrollers";
    let controller = json!({"apiVersion": "v1", "kind": "ReplicationController",
        "metadata": {"name": "a"}, "spec": {"replicas": 1, "selector": {"app": "a"},
            "template": {"metadata": {"labels": {"app": "a"}},
                "spec": {"containers": [{"name": "main", "image": "a"}]}}}});
    server.post(controllers, controller).await.expect_code(201);
    let scale = json!({"spec": {"replicas": 3}});
    server.patch(&format!("{controllers}/a/scale"), "merge", scale).await.expect_code(200);

    let told: Vec<String> = hook
        .asked()
        .iter()
        .map(|one| {
            let text = |pointer: &str| one.pointer(pointer).and_then(Value::as_str).unwrap_or("-");
            let caller = text("/userInfo/username");
            format!("{} {} {caller}", text("/operation"), text("/object/kind"))
        })
        .collect();
    let expected = [
        "CREATE Pod admin",
        "CONNECT PodExecOptions admin",
        "CONNECT PodExecOptions admin",
        "CONNECT PodPortForwardOptions admin",
        "CREATE Eviction admin",
        "UPDATE Scale admin",
    ];
    assert_eq!(told, expected);
    let scaled = &hook.asked()[5];
    assert_eq!(scaled["kind"], json!({"group": "autoscaling", "version": "v1", "kind": "Scale"}));
    assert_eq!(
        (&scaled["object"]["spec"]["replicas"], &scaled["oldObject"]["spec"]["replicas"]),
        (&json!(3), &json!(1))
    );
}

const POLICIES: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
const BINDINGS: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings";

#[tokio::test]
async fn a_policy_refuses_where_it_is_bound_and_warns_where_it_shall() {
    let server = Server::start();
    let rules = json!([{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"],
        "resources": ["configmaps"]}]);
    let policy = json!({
        "metadata": {"name": "short"},
        "spec": {
            "matchConstraints": {"resourceRules": rules},
            "variables": [
                {"name": "count", "expression": "size(object.data)"},
                {"name": "many", "expression": "variables.count > params.data.most.size()"},
            ],
            "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
            "matchConditions": [{"name": "not-free",
                "expression": "!object.metadata.name.startsWith('free')"}],
            "validations": [{"expression": "!variables.many",
                "messageExpression": "'too many: ' + string(variables.count)"}],
        },
    });
    let binding = |name: &str, actions: Value| {
        json!({"metadata": {"name": name}, "spec": {"policyName": "short",
            "validationActions": actions, "paramRef": {"name": "free-params",
            "namespace": "default", "parameterNotFoundAction": "Allow"}}})
    };
    let mut params = config_map("free-params", json!({}));
    params["data"] = json!({"most": "x"});
    configure(&server, CONFIG_MAPS, params).await;
    configure(&server, POLICIES, policy).await;
    let big = |name: &str| {
        let mut object = config_map(name, json!({}));
        object["data"] = json!({"a": "1", "b": "2"});
        object
    };
    server.post(CONFIG_MAPS, big("unbound")).await.expect_code(201);
    configure(&server, BINDINGS, binding("loud", json!(["Warn"]))).await;
    let warned = server.post(CONFIG_MAPS, big("warned")).await.expect_code(201);
    assert_eq!(
        warned.headers["warning"],
        "299 - \"Validation failed for ValidatingAdmissionPolicy 'short' with binding 'loud': too \
         many: 2\""
    );
    configure(&server, BINDINGS, binding("strict", json!(["Deny"]))).await;
    assert_eq!(
        server.post(CONFIG_MAPS, big("refused")).await.refusal(),
        "422 Invalid: configmaps \"refused\" is forbidden: ValidatingAdmissionPolicy 'short' with \
         binding 'strict' denied request: too many: 2"
    );
    server.post(CONFIG_MAPS, config_map("small", json!({}))).await.expect_code(201);
    server.post(CONFIG_MAPS, big("free")).await.expect_code(201);
}

#[tokio::test]
async fn no_more_is_made_than_a_quota_has_left_however_many_try() {
    const QUOTAS: &str = "/api/v1/namespaces/default/resourcequotas";
    let server = Server::start();
    let mut quota = json!({"metadata": {"name": "few"}, "spec": {"hard": {"configmaps": "3"}}});
    quota = server.post(QUOTAS, quota).await.expect_code(201).json();
    quota["status"] = json!({"hard": {"configmaps": "3"}, "used": {"configmaps": "0"}});
    let counted = server.put(&format!("{QUOTAS}/few/status"), quota).await.expect_code(200);
    let version = counted.version();
    let at = format!("{QUOTAS}?resourceVersion={version}&resourceVersionMatch=NotOlderThan");
    server.get(&at).await.expect_code(200);

    let names: Vec<String> = (0..8).map(|n| format!("m{n}")).collect();
    let posts = names.iter().map(|name| server.post(CONFIG_MAPS, config_map(name, json!({}))));
    let answers = futures::future::join_all(posts).await;
    let made = answers.iter().filter(|answer| answer.code == 201).count();
    assert_eq!(made, 3);
    let refused = answers.into_iter().find(|answer| answer.code != 201).expect("five are");
    assert!(
        refused.refusal().ends_with(
            "is forbidden: exceeded quota: few, requested: configmaps=1, used: configmaps=3, \
             limited: configmaps=3"
        ),
        "{}",
        refused.text
    );
    let quota = server.get(&format!("{QUOTAS}/few")).await.expect_code(200).json();
    assert_eq!(quota["status"]["used"]["configmaps"], "3");
    let dry = format!("{CONFIG_MAPS}?dryRun=All");
    server.post(&dry, config_map("dry", json!({}))).await.expect_code(403);
}
