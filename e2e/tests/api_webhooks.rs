//! The stock kubectl against kinds that a webhook converts, and commands that one
//! refuses: a real HTTPS server, here.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use e2e::{ApiServer, wait_for};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(120);

/// Objects that are listed in a version they are not kept in.
const MANY: usize = 200;

/// A webhook that answers reviews by `answer`, until it is broken.
struct Webhook {
    address: SocketAddr,
    bundle: String,
    broken: Arc<AtomicBool>,
}

// === impl Webhook ===

impl Webhook {
    fn start(answer: fn(&Value) -> Value) -> Webhook {
        let key = rcgen::KeyPair::generate().expect("a key");
        let names = vec!["127.0.0.1".to_owned()];
        let params = rcgen::CertificateParams::new(names).expect("names");
        let certificate = params.self_signed(&key).expect("a certificate");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).expect("a key"),
            )
            .expect("TLS");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
        let address = listener.local_addr().expect("an address");
        let broken = Arc::new(AtomicBool::new(false));
        let (tls, is_broken) = (Arc::new(tls), broken.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (tls, broken) = (tls.clone(), is_broken.clone());
                // A client that leaves ends its own thread.
                thread::spawn(move || serve(stream, tls, answer, &broken));
            }
        });
        Webhook { address, bundle: base64(certificate.pem().as_bytes()), broken }
    }

    fn client(&self) -> Value {
        json!({"url": format!("https://{}/review", self.address), "caBundle": self.bundle})
    }
}

/// Of plain HTTP/1.1 what a webhook needs: requests with a length.
fn serve(
    stream: TcpStream,
    tls: Arc<ServerConfig>,
    answer: fn(&Value) -> Value,
    broken: &AtomicBool,
) -> Option<()> {
    let connection = ServerConnection::new(tls).ok()?;
    let mut stream = BufReader::new(StreamOwned::new(connection, stream));
    loop {
        let mut len = 0;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim().to_lowercase();
            if let Some(said) = line.strip_prefix("content-length:") {
                len = said.trim().parse().ok()?;
            } else if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; len];
        stream.read_exact(&mut body).ok()?;
        let review: Value = serde_json::from_slice(&body).ok()?;
        let mut answer = answer(&review);
        answer["response"]["uid"] = review["request"]["uid"].clone();
        if broken.load(Ordering::SeqCst) {
            answer["response"]["result"] = json!({"status": "Failed", "message": "out of order"});
        }
        let answer = answer.to_string();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            answer.len()
        );
        stream.get_mut().write_all((head + &answer).as_bytes()).ok()?;
        stream.get_mut().flush().ok()?;
    }
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut three = [0; 3];
        three[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        for place in 0..4 {
            let sextet = (bits >> (18 - 6 * place)) & 63;
            let letter = char::from(ALPHABET[sextet as usize]);
            text.push(if place <= chunk.len() { letter } else { '=' });
        }
    }
    text
}

/// What v2 calls `schedule` is `cronSpec` in v1.
fn convert(review: &Value) -> Value {
    let wanted = &review["request"]["desiredAPIVersion"];
    let (from, to) = match wanted.as_str() {
        Some("stable.example.com/v2") => ("cronSpec", "schedule"),
        _ => ("schedule", "cronSpec"),
    };
    let mut objects = review["request"]["objects"].clone();
    for object in objects.as_array_mut().expect("a list") {
        object["apiVersion"] = wanted.clone();
        if let Some(told) = object["spec"].as_object_mut().and_then(|spec| spec.remove(from)) {
            object["spec"][to] = told;
        }
    }
    json!({"kind": "ConversionReview", "apiVersion": "apiextensions.k8s.io/v1", "response": {
        "result": {"status": "Success"}, "convertedObjects": objects}})
}

/// Refuses `sh`, and nothing else.
fn no_shells(review: &Value) -> Value {
    let options = &review["request"]["object"];
    let shell = options["kind"] == "PodExecOptions" && options["command"][0] == "sh";
    json!({
        "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
        "response": {"allowed": !shell, "status": {"message": "no shells here"}},
    })
}

fn version(name: &str, field: &str, storage: bool) -> Value {
    json!({
        "name": name, "served": true, "storage": storage,
        "additionalPrinterColumns": [
            {"name": "When", "type": "string", "jsonPath": format!(".spec.{field}")}],
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {
            "spec": {"type": "object", "required": [field], "properties": {
                field: {"type": "string"}, "replicas": {"type": "integer"}}}}}},
    })
}

fn definition(client: &Value) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "crontabs.stable.example.com"},
        "spec": {
            "group": "stable.example.com", "scope": "Namespaced",
            "names": {"plural": "crontabs", "singular": "crontab", "kind": "CronTab"},
            "versions": [version("v1", "cronSpec", true), version("v2", "schedule", false)],
            "conversion": {"strategy": "Webhook", "webhook": {
                "clientConfig": client, "conversionReviewVersions": ["v1"]}},
        },
    })
}

fn write(server: &ApiServer, name: &str, value: &Value) -> String {
    let file = server.path(name);
    fs::write(&file, value.to_string()).expect("write a manifest");
    file.display().to_string()
}

#[test]
fn kubectl_reads_and_writes_every_version_of_a_converted_kind() {
    let webhook = Webhook::start(convert);
    let server = ApiServer::start("api-conversion", &[]);
    let file = write(&server, "crd.json", &definition(&webhook.client()));
    server.done(&["apply", "-f", &file]);
    let established = ["wait", "--for=condition=Established", "crd/crontabs.stable.example.com"];
    server.done(&[&established[..], &["--timeout=120s"]].concat());

    let (v1, v2) = ("crontabs.v1.stable.example.com", "crontabs.v2.stable.example.com");
    // The kind is served right behind that word, not always before it.
    wait_for("the kind to be served", LIMIT, || {
        server.kubectl(&["get", v2]).status.success().then_some(())
    });
    let tab = |version: &str, field: &str, name: &str| {
        json!({"apiVersion": format!("stable.example.com/{version}"), "kind": "CronTab",
            "metadata": {"name": name, "namespace": "default"}, "spec": {field: "* 1"}})
    };
    let file = write(&server, "a.json", &tab("v1", "cronSpec", "a"));
    server.done(&["apply", "--server-side", "-f", &file]);
    assert_eq!(server.done(&["get", v2, "a", "-o", "jsonpath={.spec.schedule}"]), "* 1");
    let mut newer = tab("v2", "schedule", "a");
    newer["spec"]["schedule"] = "* 2".into();
    newer["spec"]["replicas"] = 3.into();
    let file = write(&server, "a.json", &newer);
    server.done(&["apply", "--server-side", "-f", &file]);
    assert_eq!(
        server.done(&["get", v1, "a", "-o", "jsonpath={.spec}"]),
        r#"{"cronSpec":"* 2","replicas":3}"#
    );
    server.done(&["patch", v2, "a", "--type=merge", "-p", r#"{"spec":{"schedule":"* 3"}}"#]);
    assert!(server.done(&["get", v2, "a"]).contains("* 3"), "the table of v2");

    let items: Vec<Value> =
        (0..MANY).map(|n| tab("v1", "cronSpec", &format!("many-{n:03}"))).collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    server.done(&["create", "-f", &write(&server, "many.json", &list)]);
    let when = server.done(&["get", v2, "-o", "jsonpath={.items[*].spec.schedule}"]);
    assert_eq!(when.matches("* ").count(), MANY + 1);

    let switch = r#"[{"op":"replace","path":"/spec/versions/0/storage","value":false},
        {"op":"replace","path":"/spec/versions/1/storage","value":true}]"#;
    server.done(&["patch", "crd", "crontabs.stable.example.com", "--type=json", "-p", switch]);
    let stored =
        ["get", "crd", "crontabs.stable.example.com", "-o", "jsonpath={.status.storedVersions}"];
    assert_eq!(server.done(&stored), r#"["v1","v2"]"#);
    // Once the new version is the stored one, an object written anew can be read
    // without its webhook.
    wait_for("objects are kept in v2", LIMIT, || {
        webhook.broken.store(false, Ordering::SeqCst);
        let all = server.done(&["get", v2, "a", "-o", "json"]);
        server.done(&[
            "replace",
            "-f",
            &write(&server, "all.json", &serde_json::from_str(&all).expect("JSON")),
        ]);
        webhook.broken.store(true, Ordering::SeqCst);
        server.kubectl(&["get", v2, "a"]).status.success().then_some(())
    });
    let refused = server.refused(&["get", v1, "a"]);
    let expected =
        "conversion webhook for stable.example.com/v2, Kind=CronTab failed: out of order";
    assert!(refused.contains(expected), "{refused}");
    server.done(&["delete", v2, "a", "--wait=false"]);
}

#[test]
fn a_webhook_refuses_shells_in_pods() {
    let webhook = Webhook::start(no_shells);
    let server = ApiServer::start("api-exec-webhook", &[]);
    let configuration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "shells"},
        "webhooks": [{
            "name": "shells.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "timeoutSeconds": 30,
            "clientConfig": webhook.client(),
            "rules": [{"operations": ["CONNECT"], "apiGroups": [""], "apiVersions": ["v1"],
                "resources": ["pods/exec"]}],
        }],
    });
    server.done(&["apply", "-f", &write(&server, "webhook.json", &configuration)]);
    server.done(&["create", "serviceaccount", "other"]);
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "default"},
        "spec": {"containers": [{"name": "main", "image": "a"}]}});
    server.done(&["apply", "-f", &write(&server, "pod.json", &pod)]);
    wait_for("the webhook is asked", LIMIT, || {
        let refused = server.refused(&["exec", "a", "--", "sh"]);
        refused.contains("denied the request: no shells here").then_some(())
    });
    let other = server.refused(&["exec", "a", "--", "ls"]);
    assert!(other.contains("does not have a host assigned"), "{other}");
}
