//! The audit log of a plain cluster: what a policy asks for is in the file, line
//! by line, and nothing else.

#[path = "support/hook.rs"]
mod hook;
mod support;

use std::path::{Path, PathBuf};

use api::{
    Caller, Door, Handler, Settings,
    settings::{Audit, AuditLog, AuditMode, AuthorizationMode},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hook::Hook;
use serde_json::{Value, json};
use support::{CONFIG_MAPS, Server, config_map, memory};

const SECRETS: &str = "/api/v1/namespaces/default/secrets";
const DENIED: &str = "/api/v1/namespaces/default/pods";

const POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  nonResourceURLs: ['/healthz*', /version]
- level: Metadata
  resources: [{resources: [secrets, serviceaccounts/token]}]
- level: RequestResponse
  omitManagedFields: true
  resources: [{resources: [configmaps]}]
  verbs: [create, update, patch, delete]
- level: Request
  resources: [{group: coordination.k8s.io}]
  omitStages: [ResponseStarted]
- level: Metadata
  users: [noisy]
  omitStages: [ResponseComplete]
- level: Metadata
";

/// A server with an audit log in a folder that goes with it.
struct World {
    dir: PathBuf,
    server: Server,
}

impl World {
    fn settings(name: &str, policy: &str, mode: AuditMode) -> (PathBuf, Settings) {
        let dir = std::env::temp_dir().join(format!("polis-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).expect("a folder");
        let policy_file = dir.join("policy.yaml");
        std::fs::write(&policy_file, policy).expect("written");
        let log = AuditLog { mode, ..AuditLog::new(dir.join("audit.log")) };
        let mut settings = Settings {
            authorization: vec![AuthorizationMode::Rbac],
            audit: Some(Audit { policy_file, log }),
            ..Settings::default()
        };
        settings.authentication.anonymous = false;
        (dir, settings)
    }

    fn start(name: &str, policy: &str) -> World {
        let (dir, settings) = World::settings(name, policy, AuditMode::Blocking);
        World { server: Server::of_cluster(&settings), dir }
    }

    /// Every event until now; requests wait for theirs.
    fn events(&self) -> Vec<Value> {
        lines(&self.dir.join("audit.log"))
    }

    /// The events with this name.
    fn of(&self, id: &str) -> Vec<Value> {
        let events = self.events().into_iter();
        events.filter(|event| event["auditID"] == id).collect()
    }

    async fn send(&self, id: &str, method: &str, path: &str, body: &str) -> support::Answer {
        self.send_as(&support::admin(), id, method, path, body).await
    }

    async fn send_as(
        &self,
        caller: &Caller,
        id: &str,
        method: &str,
        path: &str,
        body: &str,
    ) -> support::Answer {
        let headers = [("audit-id", id), ("user-agent", "test"), ("x-forwarded-for", "10.0.0.1")];
        self.server.send_as(caller, method, path, &headers, body.to_owned()).await
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).expect("the audit log");
    text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

/// The only event of a request, without what differs from run to run.
#[track_caller]
fn only(events: &[Value]) -> Value {
    let [event] = events else { panic!("not one event: {events:#?}") };
    let mut event = event.clone();
    for time in ["requestReceivedTimestamp", "stageTimestamp"] {
        let text = event[time].as_str().expect("a time");
        assert!(text.len() == 27 && text.ends_with('Z'), "{text}");
        event.as_object_mut().expect("an object").remove(time);
    }
    event
}

#[tokio::test]
async fn metadata_says_who_asked_what_and_not_what_was_in_it() {
    let world = World::start("audit-metadata", POLICY);
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"},
        "stringData": {"password": "hidden"},
    });
    let answer = world.send("s", "POST", SECRETS, &secret.to_string()).await.expect_code(201);
    assert_eq!(answer.headers["audit-id"], "s");
    assert_eq!(answer.headers["cache-control"], "no-cache, private");
    let expected = json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata",
        "auditID": "s", "stage": "ResponseComplete",
        "requestURI": SECRETS, "verb": "create",
        "user": {"username": "admin", "groups": ["system:masters", "system:authenticated"]},
        "sourceIPs": ["10.0.0.1"], "userAgent": "test",
        "objectRef": {
            "resource": "secrets", "namespace": "default", "name": "a", "apiVersion": "v1",
        },
        "responseStatus": {"metadata": {}, "code": 201},
        "annotations": {
            "authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": "",
        },
    });
    assert_eq!(only(&world.of("s")), expected);
    let text = std::fs::read_to_string(world.dir.join("audit.log")).expect("the audit log");
    assert!(!text.contains("hidden") && !text.contains("aGlkZGVu"), "{text}");
}

#[tokio::test]
async fn bodies_are_kept_where_they_are_asked_for() {
    let world = World::start("audit-bodies", POLICY);
    let sent = format!("{:#}", config_map("a", json!({"x": "1"})));
    world.send("create", "POST", CONFIG_MAPS, &sent).await.expect_code(201);
    let event = only(&world.of("create"));
    assert_eq!(event["level"], "RequestResponse");
    assert_eq!(event["requestObject"], config_map("a", json!({"x": "1"})));
    let answered = &event["responseObject"];
    assert_eq!((&answered["kind"], &answered["data"]["a"]), (&json!("ConfigMap"), &json!("1")));
    assert!(answered["metadata"]["uid"].is_string(), "{answered}");
    assert!(answered["metadata"]["managedFields"].is_null(), "{answered}");

    let path = format!("{CONFIG_MAPS}/a");
    let stale = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "a", "resourceVersion": "1", "uid": "other"},
    });
    world.send("put", "PUT", &path, &stale.to_string()).await.expect_code(409);
    let event = only(&world.of("put"));
    assert_eq!(event["objectRef"]["resourceVersion"], "1");
    assert_eq!(event["objectRef"]["uid"], "other");
    let status = &event["responseStatus"];
    assert_eq!((&status["code"], &status["reason"]), (&json!(409), &json!("Conflict")));
    assert_eq!(event["responseObject"]["reason"], "Conflict");

    world.send("delete", "DELETE", &path, "").await.expect_code(200);
    let event = only(&world.of("delete"));
    assert_eq!(event["verb"], "delete");
    assert_eq!(event["responseStatus"]["status"], "Success");
    assert!(event.get("requestObject").is_none());

    // A read of the same kind is only metadata.
    world.send("get", "GET", &path, "").await.expect_code(404);
    let event = only(&world.of("get"));
    assert_eq!((&event["level"], &event["verb"]), (&json!("Metadata"), &json!("get")));
    assert_eq!(event["responseStatus"]["reason"], "NotFound");
    assert!(event.get("responseObject").is_none());
}

#[tokio::test]
async fn what_is_not_asked_for_is_not_written() {
    let world = World::start("audit-none", POLICY);
    for path in ["/healthz", "/healthz?verbose", "/version"] {
        world.send("quiet", "GET", path, "").await.expect_code(200);
    }
    assert!(world.of("quiet").is_empty());
    world.send("livez", "GET", "/livez", "").await.expect_code(200);
    assert_eq!(only(&world.of("livez"))["verb"], "get");
    let noisy = Caller::user("noisy", ["system:masters".to_owned()]);
    world.send_as(&noisy, "noisy", "GET", CONFIG_MAPS, "").await.expect_code(200);
    assert!(world.of("noisy").is_empty(), "every stage is left out");
    let page = world.send("page", "GET", "/metrics", "").await.expect_code(200);
    let level = "apiserver_audit_level_total{level=\"None\"} 3\n";
    assert!(page.text.contains(level), "{}", page.text);
    assert!(page.text.contains("apiserver_audit_error_total{plugin=\"log\"} 0\n"));
}

#[tokio::test]
async fn refusals_say_by_whom_and_why() {
    let world = World::start("audit-refusals", POLICY);
    let ann = Caller::user("ann", []).with_uid("7");
    world.send_as(&ann, "forbidden", "GET", DENIED, "").await.expect_code(403);
    let event = only(&world.of("forbidden"));
    assert_eq!(event["annotations"]["authorization.k8s.io/decision"], "forbid");
    assert_eq!(
        event["user"],
        json!({
            "username": "ann", "uid": "7", "groups": ["system:authenticated"],
        })
    );
    assert_eq!(event["responseStatus"]["code"], 403);

    world.send_as(&Caller::anonymous(), "nobody", "GET", DENIED, "").await.expect_code(401);
    let event = only(&world.of("nobody"));
    assert_eq!((&event["stage"], &event["user"]), (&json!("ResponseStarted"), &json!({})));
    let expected = json!({
        "metadata": {}, "code": 401,
        "message": "Authentication failed, no credentials provided",
    });
    assert_eq!(event["responseStatus"], expected);

    let headers = [("audit-id", "as"), ("impersonate-user", "ann")];
    world.server.send_as(&support::admin(), "GET", DENIED, &headers, "").await.expect_code(403);
    let event = only(&world.of("as"));
    assert_eq!(event["user"]["username"], "admin");
    assert_eq!(event["impersonatedUser"]["username"], "ann");
    assert_eq!(event["annotations"]["authorization.k8s.io/decision"], "forbid");
}

#[tokio::test]
async fn a_watch_is_written_down_when_it_begins_and_when_it_ends() {
    let world = World::start("audit-watch", POLICY);
    let path = format!("{CONFIG_MAPS}?watch=1");
    let frames = world.server.watch_with(&path, &[("audit-id", "w")]).await;
    let started = world.of("w");
    assert_eq!(only(&started)["stage"], "ResponseStarted");
    drop(frames);
    // Its event is given to the thread when it is dropped, before this one.
    world.send("after", "GET", CONFIG_MAPS, "").await.expect_code(200);
    let events = world.of("w");
    assert_eq!(events.len(), 2, "{events:#?}");
    assert_eq!(events[1]["stage"], "ResponseComplete");
    assert_eq!(events[1]["responseStatus"], json!({"metadata": {}, "code": 200}));
    assert_eq!(events[1]["verb"], "watch");
}

#[tokio::test]
async fn who_is_strict_does_nothing_that_cannot_be_written_down() {
    let policy = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: Metadata\n";
    for (mode, code) in [(AuditMode::BlockingStrict, 500), (AuditMode::Blocking, 201)] {
        let (dir, mut settings) = World::settings("audit-full", policy, mode);
        let audit = settings.audit.as_mut().expect("it was set");
        audit.log.path = "/dev/full".into();
        let world = World { dir, server: Server::of_cluster(&settings) };
        let sent = config_map("a", json!({})).to_string();
        let answer = world.send("x", "POST", CONFIG_MAPS, &sent).await.expect_code(code);
        if code == 500 {
            assert!(answer.text.contains("failed to store audit event"), "{}", answer.text);
        }
    }
}

#[tokio::test]
async fn a_policy_that_is_wrong_is_refused_with_the_file_and_the_rule() {
    let policy = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: All\n";
    let (dir, settings) = World::settings("audit-wrong", policy, AuditMode::Blocking);
    let pages = rt::Pages::default();
    let built = Handler::with(Door::Cluster, memory::keyspaces(), None, pages, &settings);
    let why = built.err().expect("it is refused").to_string();
    let _ = std::fs::remove_dir_all(dir);
    assert!(why.contains("policy.yaml: rules[0].level: Unsupported value: \"All\""), "{why}");
}

#[tokio::test]
async fn webhooks_say_what_they_did() {
    const HOOKS: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
    let world = World::start("audit-hooks", POLICY);
    let patch = json!([{"op": "add", "path": "/data/added", "value": "yes"}]).to_string();
    let answer = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": {
        "allowed": true, "patchType": "JSONPatch", "patch": STANDARD.encode(&patch),
        "auditAnnotations": {"why": "because"},
    }});
    let hook = Hook::start("audit", move |_| answer.clone()).await;
    let configuration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "test"},
        "webhooks": [{
            "name": "hook.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": {
                "url": format!("https://{}/ask", hook.address), "caBundle": hook.bundle,
            },
            "rules": [{
                "operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"],
                "resources": ["configmaps"],
            }],
        }],
    });
    let version = world.server.post(HOOKS, configuration).await.expect_code(201).version();
    let at = format!("{HOOKS}?resourceVersion={version}&resourceVersionMatch=NotOlderThan");
    world.server.get(&at).await.expect_code(200);
    let sent = config_map("a", json!({})).to_string();
    world.send("hooked", "POST", CONFIG_MAPS, &sent).await.expect_code(201);
    let event = only(&world.of("hooked"));
    let told = &event["annotations"];
    assert_eq!(told["hook.example.com/why"], "because");
    let parse = |key: &str| -> Value {
        let text = told[key].as_str().expect(key);
        serde_json::from_str(text).expect("JSON")
    };
    let mutation = parse("mutation.webhook.admission.k8s.io/round_0_index_0");
    let expected = json!({"configuration": "test", "webhook": "hook.example.com", "mutated": true});
    assert_eq!(mutation, expected);
    let patched = parse("patch.webhook.admission.k8s.io/round_0_index_0");
    assert_eq!(patched["patch"][0]["value"], "yes");
    // What was sent, and not what became of it.
    assert!(event["requestObject"]["data"].get("added").is_none());
    assert_eq!(event["responseObject"]["data"]["added"], "yes");
}
