//! The audit log of `polis server --roles api`, written by what kubectl does.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

use e2e::{ApiServer, Scratch, run, wait_for};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(120);

const POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitManagedFields: true
rules:
- level: None
  users: ['system:apiserver']
- level: None
  nonResourceURLs: ['*']
- level: Metadata
  resources: [{resources: [secrets]}]
- level: RequestResponse
  omitStages: [RequestReceived]
  namespaces: [default]
  resources: [{resources: [configmaps]}]
- level: Request
  namespaces: [default]
  resources: [{resources: [pods, 'pods/exec']}]
";

struct Log {
    folder: Scratch,
    options: Vec<String>,
}

impl Log {
    fn new(name: &str, policy: &str, more: &[&str]) -> Log {
        let folder = Scratch::new(name);
        fs::write(folder.join("policy.yaml"), policy).expect("write the policy");
        let path = |name| folder.join(name).display().to_string();
        let (policy, log) = (path("policy.yaml"), path("logs/audit.log"));
        let mut options =
            vec!["--audit-policy-file".into(), policy, "--audit-log-path".into(), log];
        options.extend(more.iter().map(ToString::to_string));
        Log { folder, options }
    }

    fn start(&self, name: &str) -> ApiServer {
        let options: Vec<&str> = self.options.iter().map(String::as_str).collect();
        ApiServer::start(name, &options)
    }

    /// `LEVEL STAGE VERB RESOURCE[/SUB] NAME CODE`, in order.
    fn told(&self) -> Vec<String> {
        let events = events(&self.folder.join("logs/audit.log"));
        events.iter().map(told).collect()
    }
}

fn events(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).expect("the audit log");
    text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

fn told(event: &Value) -> String {
    let text = |pointer: &str| {
        event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let sub = match text("/objectRef/subresource").as_str() {
        "" => String::new(),
        sub => format!("/{sub}"),
    };
    let code = event.pointer("/responseStatus/code").and_then(Value::as_u64).unwrap_or(0);
    format!(
        "{} {} {} {}{sub} {} {code}",
        text("/level"),
        text("/stage"),
        text("/verb"),
        text("/objectRef/resource"),
        text("/objectRef/name"),
    )
}

#[test]
fn what_kubectl_does_is_in_the_log_as_the_policy_asks() {
    let log = Log::new("audit-kubectl", POLICY, &["--audit-log-mode", "blocking-strict"]);
    let mut server = log.start("audit-kubectl-server");
    server.done(&["create", "configmap", "rates", "--from-literal=a=1"]);
    server.done(&["create", "secret", "generic", "key", "--from-literal=k=hidden"]);
    server.done(&["get", "configmap", "rates"]);
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "box", "namespace": "default" },
        "spec": { "containers": [{ "name": "main", "image": "x" }] },
    });
    let manifest = server.path("pod.json");
    fs::write(&manifest, pod.to_string()).expect("write a manifest");
    server.done(&["create", "-f", &manifest.display().to_string()]);
    let _ = server.refused(&["exec", "box", "--", "id"]);
    server.done(&["delete", "configmap", "rates", "--wait=false"]);
    server.stop();

    let told = log.told();
    for expected in [
        "RequestResponse ResponseComplete create configmaps rates 201",
        "Metadata RequestReceived create secrets  0",
        "Metadata ResponseComplete create secrets key 201",
        "RequestResponse ResponseComplete get configmaps rates 200",
        "Request ResponseComplete create pods box 201",
        "RequestResponse ResponseComplete delete configmaps rates 200",
    ] {
        let count = told.iter().filter(|line| *line == expected).count();
        assert_eq!(count, 1, "{expected}: {told:#?}");
    }
    let of = |stage: &str| {
        let exec = told.iter().filter(|line| line.contains("pods/exec box"));
        exec.filter(|line| line.contains(stage)).count()
    };
    let stages = ["RequestReceived", "ResponseStarted", "ResponseComplete"].map(of);
    assert!(stages[0] > 0 && stages == [stages[0]; 3], "{told:#?}");
    assert!(!told.iter().any(|line| line.contains("RequestReceived get configmaps")));

    let path = log.folder.join("logs/audit.log");
    let mode = fs::metadata(&path).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "nobody else reads it");
    let all = events(&path);
    let find = |what: &str| all.iter().find(|event| self::told(event) == what).expect(what);
    let created = find("RequestResponse ResponseComplete create configmaps rates 201");
    assert_eq!(created["requestObject"]["data"], json!({ "a": "1" }));
    assert_eq!(created["responseObject"]["metadata"]["name"], "rates");
    assert!(created["responseObject"]["metadata"].get("managedFields").is_none());
    assert_eq!(created["user"]["username"], "polis-admin");
    assert_eq!(created["sourceIPs"], json!(["127.0.0.1"]));
    assert!(created["userAgent"].as_str().is_some_and(|agent| agent.starts_with("kubectl")));
    assert_eq!(created["annotations"]["authorization.k8s.io/decision"], "allow");
    let secret = find("Metadata ResponseComplete create secrets key 201");
    assert!(secret.get("requestObject").is_none() && secret.get("responseObject").is_none());
}

#[test]
fn files_end_at_their_size_and_the_oldest_go() {
    let policy = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: RequestResponse\n";
    let more = ["--audit-log-maxsize", "1", "--audit-log-maxbackup", "2"];
    let log = Log::new("audit-rotation", policy, &more);
    let mut server = log.start("audit-rotation-server");
    let large = server.path("large");
    fs::write(&large, "x".repeat(400_000)).expect("write a file");
    let from = format!("--from-file={}", large.display());
    let named = || {
        let entries = fs::read_dir(log.folder.join("logs")).expect("the folder");
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    };
    let mut oldest = None;
    for number in 0..8 {
        server.done(&["create", "configmap", &format!("large-{number}"), &from]);
        oldest = oldest.or_else(|| named().into_iter().find(|name| name != "audit.log"));
    }
    let oldest = oldest.expect("another file was begun");
    assert!(oldest.starts_with("audit-2") && oldest.ends_with(".log"), "{oldest}");
    wait_for("the oldest to go", LIMIT, || (!named().contains(&oldest)).then_some(()));
    // It writes of itself too: nothing is half written or half dropped after its end.
    server.stop();
    let names = named();
    assert!(names.len() <= 3, "{names:?}");
    for name in names {
        let path = log.folder.join("logs").join(name);
        let bytes = fs::metadata(&path).expect("a file").len();
        assert!(bytes <= 1024 * 1024, "{path:?} has {bytes}");
        assert!(!events(&path).is_empty());
    }
}

#[test]
fn a_wrong_policy_is_refused_at_the_start_and_by_the_check() {
    let folder = Scratch::new("audit-wrong");
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).expect("write a file");
        path.display().to_string()
    };
    let head = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n";
    let data = folder.join("data").display().to_string();
    let log = folder.join("audit.log").display().to_string();
    for (rules, expected) in [
        ("- level: metadata\n", "rules[0].level: Unsupported value: \"metadata\""),
        ("- level: None\n  verb: [get]\n", "line 5"),
        ("- {level: None, nonResourceURLs: [x]}\n", "rules[0].nonResourceURLs[0]"),
    ] {
        let policy = write("policy.yaml", &format!("{head}{rules}"));
        let flags = ["--audit-policy-file", &policy, "--audit-log-path", &log];
        let server = ["server", "--roles", "api", "--data", &data, "--secure-port", "0"];
        let file = write(
            "server.toml",
            &format!("audit-policy-file = {policy:?}\naudit-log-path = {log:?}\n"),
        );
        for args in [&[&server[..], &flags].concat()[..], &["config", "check", &file]] {
            let refused = run(args);
            let said = String::from_utf8_lossy(&refused.stderr).into_owned();
            assert!(!refused.status.success() && said.contains(expected), "{args:?}: {said}");
        }
    }
    assert!(!folder.join("data").exists(), "a server that never started left its folder");
}
