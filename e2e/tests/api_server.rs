//! `polis server --roles api` in kube-apiserver's place: over a store in its own
//! process, over `polis store`, and over a stock etcd; ended well and badly.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use e2e::{ApiServer, Etcd, Store, etcdctl, run, wait_for};
use rustix::process::Signal;
use serde_json::json;

const LIMIT: Duration = Duration::from_secs(180);

/// What an operator does in the first minute, and what must be there afterwards.
fn serves_and_keeps(server: &mut ApiServer) {
    let manifest = server.path("settings.json");
    let file = manifest.display().to_string();
    for (colour, verdict) in [("red", "created"), ("blue", "configured"), ("blue", "unchanged")] {
        let settings = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "data": { "colour": colour },
            "metadata": { "name": "settings", "namespace": "default" },
        });
        fs::write(&manifest, settings.to_string()).expect("write a manifest");
        let applied = server.done(&["apply", "-f", &file]);
        assert!(applied.contains(verdict), "{applied}");
    }
    server.done(&["create", "namespace", "team"]);
    server.done(&["-n", "team", "create", "configmap", "gone"]);
    server.done(&["-n", "team", "delete", "configmap", "gone"]);
    let named = server.done(&["get", "ns", "-o", "name"]);
    assert!(named.contains("namespace/team") && named.contains("namespace/kube-system"), "{named}");

    server.stop();
    server.revive();
    let colour = ["get", "configmap", "settings", "-o", "jsonpath={.data.colour}"];
    assert_eq!(server.done(&colour), "blue");
    let gone = server.refused(&["-n", "team", "get", "configmap", "gone"]);
    assert!(gone.contains("configmaps \"gone\" not found"), "{gone}");
}

#[test]
fn over_a_store_in_its_own_process() {
    let mut server = ApiServer::start("api-own", &[]);
    let mode = fs::metadata(server.kubeconfig()).expect("a kubeconfig").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "nobody else reads it");
    serves_and_keeps(&mut server);
}

#[test]
fn over_a_polis_store_somewhere_else() {
    let store = Store::start("api-store", &[]);
    let mut server = ApiServer::start("api-remote", &["--etcd-servers", &store.url()]);
    serves_and_keeps(&mut server);
}

#[test]
fn over_a_stock_etcd_below_a_prefix_and_with_one_member_that_is_not_there() {
    let etcd = Etcd::start("api-etcd");
    let servers = format!("http://127.0.0.1:1,http://{}", etcd.address);
    let options = ["--etcd-servers", &servers, "--etcd-prefix", "/clusters/one"];
    let mut server = ApiServer::start("api-stock", &options);
    serves_and_keeps(&mut server);
    let endpoint = format!("--endpoints=http://{}", etcd.address);
    let keys = etcdctl(&[&endpoint, "get", "/", "--prefix", "--keys-only"]);
    let keys = String::from_utf8_lossy(&keys.stdout).into_owned();
    let foreign = keys.lines().find(|key| !key.is_empty() && !key.starts_with("/clusters/one/"));
    assert_eq!(foreign, None, "{keys}");
    assert!(keys.contains("/settings"), "{keys}");
}

#[test]
fn an_etcd_is_compacted_by_whoever_counts_one_further() {
    let etcd = Etcd::start("api-compaction");
    let servers = format!("http://{}", etcd.address);
    let options = ["--etcd-servers", &servers, "--etcd-compaction-interval", "200ms"];
    let one = ApiServer::start("api-compaction-one", &options);
    let _two = ApiServer::start("api-compaction-two", &options);
    one.done(&["create", "configmap", "first"]);
    let endpoint = format!("--endpoints={servers}");
    wait_for("revision 2 to be compacted", LIMIT, || {
        let read = etcdctl(&[&endpoint, "get", "--rev=2", "compact_rev_key"]);
        String::from_utf8_lossy(&read.stderr).contains("has been compacted").then_some(())
    });
    assert_eq!(one.done(&["get", "configmap", "first", "-o", "name"]), "configmap/first\n");
}

#[test]
fn an_acknowledged_object_outlives_a_kill() {
    let mut server = ApiServer::start("api-kill", &[]);
    let created = Mutex::new(Vec::new());
    let stopping = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let (server, created, stopping) = (&server, &created, &stopping);
            scope.spawn(move || {
                for number in 0.. {
                    let name = format!("kept-{writer}-{number}");
                    if stopping.load(Ordering::Relaxed) {
                        return;
                    }
                    if server.kubectl(&["create", "configmap", &name]).status.success() {
                        created.lock().expect("no writer panics").push(name);
                    }
                }
            });
        }
        let count = || created.lock().expect("no writer panics").len();
        wait_for("twenty objects", LIMIT, || (count() >= 20).then_some(()));
        server.process.signal(Signal::KILL);
        stopping.store(true, Ordering::Relaxed);
    });
    server.process.wait(LIMIT);
    server.revive();
    let named = server.done(&["get", "configmaps", "-o", "name"]);
    for name in created.into_inner().expect("no writer panics") {
        assert!(named.contains(&format!("configmap/{name}\n")), "{name} was acknowledged");
    }
}

#[test]
fn what_is_sealed_is_not_to_be_read_in_the_etcd() {
    let etcd = Etcd::start("api-sealed");
    let servers = format!("http://{}", etcd.address);
    let folder = e2e::Scratch::new("api-sealing");
    let file = folder.join("encryption.yaml");
    let rules = "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n\
                 - resources: [configmaps]\n  providers:\n  - aescbc:\n      keys:\n      \
                 - name: key1\n        secret: MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=\n  \
                 - identity: {}\n";
    fs::write(&file, rules).expect("write the configuration");
    let file = file.display().to_string();
    let options = ["--etcd-servers", &servers, "--encryption-provider-config", &file];
    let mut server = ApiServer::start("api-sealed-server", &options);
    serves_and_keeps(&mut server);
    let endpoint = format!("--endpoints={servers}");
    let kept = etcdctl(&[&endpoint, "get", "/registry/core/configmaps/default/settings"]);
    let kept = String::from_utf8_lossy(&kept.stdout).into_owned();
    assert!(kept.contains("k8s:enc:aescbc:v1:key1:") && !kept.contains("blue"), "{kept}");
}

#[test]
fn readiness_fails_first_and_who_is_there_is_still_served() {
    let mut server = ApiServer::start("api-leave", &["--shutdown-delay-duration", "1h"]);
    wait_for("/readyz to be well", LIMIT, || {
        let answer = server.kubectl(&["get", "--raw", "/readyz"]);
        (answer.status.success() && answer.stdout == b"ok").then_some(())
    });
    server.process.signal(Signal::TERM);
    // It has heard the first word: another one before that would be the same.
    server.process.wait_for_line("leaving", LIMIT);
    wait_for("/readyz to fail", LIMIT, || {
        let answer = server.kubectl(&["get", "--raw", "/readyz"]);
        (!answer.status.success()).then_some(())
    });
    assert_eq!(server.done(&["get", "--raw", "/livez"]), "ok");
    server.done(&["create", "configmap", "late"]);
    // Told again, it does not wait any longer.
    server.stop();
}

#[test]
fn certificates_of_others_are_served_with_and_believed() {
    let folder = e2e::Scratch::new("api-certificates");
    let key = rcgen::KeyPair::generate().expect("a key");
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let params = rcgen::CertificateParams::new(names).expect("names");
    let cert = params.self_signed(&key).expect("a certificate");
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).expect("write PEM");
        path.display().to_string()
    };
    let (cert, key) = (write("tls.crt", &cert.pem()), write("tls.key", &key.serialize_pem()));
    let options = ["--tls-cert-file", &cert, "--tls-private-key-file", &key];
    let server = ApiServer::start("api-own-tls", &options);
    // The kubeconfig knows the certificate, and its administrator is of our own authority.
    assert!(server.done(&["get", "ns"]).contains("kube-system"));

    let options = [&options[..], &["--client-ca-file", &cert]].concat();
    let server = ApiServer::start("api-own-ca", &options);
    assert!(!server.kubeconfig().exists(), "we sign nobody whom we do not believe");
}

#[test]
fn a_file_says_what_flags_say_and_flags_win() {
    let folder = e2e::Scratch::new("api-file");
    let write = |text: &str| {
        let path = folder.join("server.toml");
        fs::write(&path, text).expect("write the file");
        path.display().to_string()
    };
    let file = write("shutdown-delay-duration = \"1s\"\nauthorization-mode = [\"RBAC\"]\n");
    let valid = run(&["config", "check", &file]);
    assert!(valid.status.success(), "{}", String::from_utf8_lossy(&valid.stderr));
    let server = ApiServer::start("api-file-server", &["--config", &file]);
    assert!(server.done(&["get", "ns"]).contains("default"));

    for (text, expected) in [
        ("roles = [\"api\"]\nsecure-port = \"x\"\n", "line 2"),
        ("\nsecure-prot = 1\n", "unknown field `secure-prot`"),
        ("authorization-mode = [\"Webhook\"]\n", "Webhook is not served"),
    ] {
        let refused = run(&["config", "check", &write(text)]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains(expected), "{text}: {said}");
    }
}

#[test]
fn flags_that_cannot_be_kept_are_refused_with_what_to_do() {
    let folder = e2e::Scratch::new("api-flags");
    let data = folder.join("data").display().to_string();
    let server = |args: &[&str]| {
        let args: Vec<&str> = ["server", "--roles", "api"].iter().chain(args).copied().collect();
        let output = run(&args);
        assert!(!output.status.success(), "{args:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    for (args, expected) in [
        (&[][..], "nowhere to keep objects"),
        (&["--data", &data, "--authorization-mode", "ABAC"], "ABAC is not served"),
        (&["--data", &data, "--authorization-mode", "None"], "is not a valid mode"),
        (&["--data", &data, "--encryption-provider-config", "/nowhere"], "read /nowhere"),
        (&["--data", &data, "--audit-policy-file", "x"], "needs --audit-log-path"),
        (&["--data", &data, "--audit-log-path", "x"], "needs --audit-policy-file"),
        (&["--data", &data, "--audit-webhook-config-file", "x"], "by webhook is not served"),
        (&["--data", &data, "--audit-log-mode", "fast"], "allowed modes are"),
        (&["--data", &data, "--insecure-port", "8080"], "only TLS is served"),
        (&["--data", &data, "--storage-backend", "etcd2"], "only etcd3 is served"),
        (&["--data", &data, "--enable-admission-plugins", "Foo"], "is unknown"),
        (&["--data", &data, "--tls-cert-file", "x"], "--tls-private-key-file"),
        (&["--data", &data, "--client-ca-file", "/nowhere"], "/nowhere"),
        (&["--data", &data, "--etcd-servers", "https://127.0.0.1:1"], "--etcd-cafile"),
        (&["--data", &data, "--bind-address", "203.0.113.1"], "PLS0203"),
        (&["--data", &data, "--center", "east-1", "--secure-port", "1"], "no --center"),
        (&["--data", &data, "--no-such-flag"], "unexpected argument"),
    ] {
        let said = server(args);
        assert!(said.contains(expected), "{args:?}: {said}");
    }
}
