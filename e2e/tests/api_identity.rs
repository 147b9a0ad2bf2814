//! Who vouches for whom: an identity provider whose keys change, a proxy that
//! says who asks, nodes that see what is theirs, and certificates that are
//! replaced while somebody is served. All with the real kubectl.

mod identities;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
    time::Duration,
};

use e2e::{ApiServer, Running, Scratch, request, wait_for};
use identities::{Authority, Key, Provider};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(120);

const AN_HOUR_S: i64 = 3600;

/// Least time between two looks at a provider's keys.
const KEYS_EVERY_S: i64 = 10;

/// kubectl with nothing but these.
fn bare(server: &ApiServer, authority: &Path, args: &[&str]) -> Output {
    let address = format!("--server=https://{}", server.address);
    let authority = format!("--certificate-authority={}", authority.display());
    let mut kubectl = server.kubectl_command();
    kubectl.args(["--kubeconfig=/dev/null", &address, &authority]).args(args);
    kubectl.output().expect("run kubectl")
}

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

fn shown(certificate: &[PathBuf; 2]) -> [String; 2] {
    let [certificate, key] = certificate;
    [
        format!("--client-certificate={}", certificate.display()),
        format!("--client-key={}", key.display()),
    ]
}

fn now_s() -> i64 {
    time::OffsetDateTime::now_utc().unix_timestamp()
}

fn claims(provider: &Provider, name: &str) -> Value {
    let now = now_s();
    json!({
        "iss": provider.issuer, "aud": "kubernetes", "sub": "1-2-3", "iat": now,
        "exp": now + AN_HOUR_S, "email": format!("{name}@bank.example"),
        "email_verified": true, "groups": ["dev"],
    })
}

/// A kubeconfig whose user runs a program that hands out what is in `token`.
fn with_plugin(server: &ApiServer, folder: &Scratch) -> String {
    let token = folder.join("token");
    let script = format!(
        "printf '{{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1\",\
         \"status\":{{\"token\":\"%s\"}}}}' \"$(cat {})\"",
        token.display()
    );
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "it",
        "clusters": [{ "name": "it", "cluster": {
            "server": format!("https://{}", server.address),
            "certificate-authority": server.path("data/pki/ca.crt"),
        } }],
        "contexts": [{ "name": "it", "context": { "cluster": "it", "user": "it" } }],
        "users": [{ "name": "it", "user": { "exec": {
            "apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never",
            "command": "sh", "args": ["-c", script],
        } } }],
    });
    let path = folder.join("kubeconfig");
    fs::write(&path, config.to_string()).expect("write the kubeconfig");
    format!("--kubeconfig={}", path.display())
}

#[test]
fn people_of_an_identity_provider_are_known_and_its_keys_may_change() {
    let folder = Scratch::new("identity-provider");
    let authority = Authority::new("the bank's web");
    let ca = folder.join("web.crt");
    fs::write(&ca, authority.pem()).expect("write PEM");
    let provider = Provider::start(&authority, &folder.join("."));
    let first = Key::rsa("2026-10");
    provider.publish(&[&first]);
    let began_s = now_s();
    let server = ApiServer::start(
        "identity-oidc",
        &[
            "--oidc-issuer-url",
            &provider.issuer,
            "--oidc-client-id=kubernetes",
            "--oidc-ca-file",
            &ca.display().to_string(),
            "--oidc-username-claim=email",
            "--oidc-username-prefix=oidc:",
            "--oidc-groups-claim=groups",
            "--oidc-groups-prefix=oidc:",
            "--oidc-signing-algs=RS256,ES256",
        ],
    );
    server.wait_for_roles();
    server.done(&["create", "rolebinding", "dev", "--clusterrole=view", "--group=oidc:dev"]);
    let kubeconfig = with_plugin(&server, &folder);
    let with = |token: &str, args: &[&str]| {
        fs::write(folder.join("token"), token).expect("write the token");
        server.kubectl_command().arg(&kubeconfig).args(args).output().expect("run kubectl")
    };
    let whoami = |token: &str| said(&with(token, &["auth", "whoami"]));
    // A provider that was slow to answer is asked again, a little later.
    let ann = wait_for("ann to be known", LIMIT, || {
        let said = whoami(&first.sign(&claims(&provider, "ann")));
        Some(said).filter(|said| said.contains("oidc:ann@bank.example"))
    });
    assert!(ann.contains("oidc:dev"), "{ann}");
    wait_for("the role to be seen", LIMIT, || {
        let listed = with(&first.sign(&claims(&provider, "ann")), &["get", "pods"]);
        listed.status.success().then_some(())
    });
    let refused = said(&with(&first.sign(&claims(&provider, "ann")), &["get", "secrets"]));
    assert!(refused.contains("User \"oidc:ann@bank.example\" cannot list"), "{refused}");

    let mut wrong = claims(&provider, "ann");
    wrong["exp"] = 1.into();
    assert!(whoami(&first.sign(&wrong)).contains("Unauthorized"), "it has expired");
    let mut wrong = claims(&provider, "ann");
    wrong["email_verified"] = false.into();
    assert!(whoami(&first.sign(&wrong)).contains("Unauthorized"), "nobody verified it");
    let stranger = Key::rsa("2026-10");
    let forged = stranger.sign(&claims(&provider, "root"));
    assert!(whoami(&forged).contains("Unauthorized"), "another key of that name");

    // Both keys for a while, then the new one only; it is of another kind.
    let second = Key::curve("2026-11");
    provider.publish(&[&first, &second]);
    wait_for("the new key to be known", LIMIT, || {
        whoami(&second.sign(&claims(&provider, "bob"))).contains("oidc:bob").then_some(())
    });
    assert!(whoami(&first.sign(&claims(&provider, "cid"))).contains("oidc:cid"));
    provider.publish(&[&second]);
    wait_for("the old key to be forgotten", LIMIT, || {
        // Asked again only for a key that is not known.
        let third = Key::curve("2026-12").sign(&claims(&provider, "eve"));
        assert!(whoami(&third).contains("Unauthorized"));
        let old = whoami(&first.sign(&claims(&provider, "dan")));
        old.contains("Unauthorized").then_some(())
    });
    assert!(whoami(&second.sign(&claims(&provider, "bob"))).contains("oidc:bob"));
    // However long all of this took; and one that the clock's steps may hide.
    let most = (now_s() - began_s) / KEYS_EVERY_S + 2;
    let asked = i64::try_from(provider.asked()).expect("not that many");
    assert!(asked <= most, "made-up keys are no requests: {asked}, not {most}");
}

#[test]
fn a_proxy_with_its_certificate_says_who_asks() {
    let folder = Scratch::new("identity-proxy");
    let authority = Authority::new("front proxies");
    let ca = folder.join("front.crt");
    fs::write(&ca, authority.pem()).expect("write PEM");
    let server = ApiServer::start(
        "identity-front",
        &[
            "--requestheader-client-ca-file",
            &ca.display().to_string(),
            "--requestheader-allowed-names=front",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        ],
    );
    server.wait_for_roles();
    let ca = server.path("data/pki/ca.crt");
    let ask = |name: &str, headers: &[&str]| {
        let own = shown(&authority.issue(&folder.join("."), name, None));
        let mut proxy = server.kubectl_command();
        proxy.args(["--kubeconfig=/dev/null", "proxy", "--port=0"]);
        proxy.arg(format!("--server=https://{}", server.address));
        proxy.arg(format!("--certificate-authority={}", ca.display())).args(&own);
        let mut proxy = Running::spawn(&mut proxy);
        let serves = "Starting to serve on 127.0.0.1:";
        proxy.wait_for_line(serves, LIMIT);
        let printed = proxy.printed();
        let port = printed.lines().find_map(|line| line.strip_prefix(serves)?.trim().parse().ok());
        let port = port.expect("it says where");
        let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
        let headers = [headers, &["content-type: application/json"]].concat();
        request(port, "POST", path, &headers, b"{}")
    };
    let headers = ["X-Remote-User: ann", "X-Remote-Group: dev", "X-Remote-Extra-Scopes: a"];
    let answer = ask("front", &headers);
    assert_eq!(answer.status, 201, "{}", answer.body);
    let user = answer.json()["status"]["userInfo"].clone();
    assert_eq!((&user["username"], &user["extra"]["scopes"]), (&json!("ann"), &json!(["a"])));
    assert!(user["groups"].as_array().expect("groups").contains(&json!("dev")), "{user}");
    // Of the same authority, but with another name: a client like any other,
    // whom nobody vouches for.
    let answer = ask("other", &headers);
    assert_eq!(answer.status, 401, "{}", answer.body);
}

#[test]
fn a_node_sees_what_its_pods_name_and_no_more() {
    let server = ApiServer::start("identity-node", &[]);
    server.wait_for_roles();
    let folder = Scratch::new("identity-node-files");
    let pki = |name: &str| server.path(&format!("data/pki/{name}"));
    let authority = Authority::load(&pki("ca.crt"), &pki("ca.key"));
    let own = authority.issue(&folder.join("."), "system:node:n1", Some("system:nodes"));
    let own = shown(&own);
    let node = |args: &[&str]| {
        let own: Vec<&str> = own.iter().map(String::as_str).collect();
        bare(&server, &pki("ca.crt"), &[&own[..], args].concat())
    };
    for name in ["named", "other"] {
        server.done(&["create", "secret", "generic", name, "--from-literal=a=b"]);
    }
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p" },
        "spec": {
            "nodeName": "n1",
            "containers": [{ "name": "a", "image": "a" }],
            "volumes": [{ "name": "s", "secret": { "secretName": "named" } }],
        },
    });
    let file = folder.join("pod.json");
    fs::write(&file, pod.to_string()).expect("write the pod");
    server.done(&["create", "-f", &file.display().to_string()]);
    wait_for("the pod to be seen", LIMIT, || {
        node(&["get", "secret", "named"]).status.success().then_some(())
    });
    let whoami = said(&node(&["auth", "whoami"]));
    assert!(whoami.contains("system:node:n1") && whoami.contains("system:nodes"), "{whoami}");
    for (args, allowed) in [
        (&["get", "secret", "other"][..], false),
        (&["get", "secrets"], false),
        (&["get", "pods"], true),
        (&["get", "nodes"], true),
        (&["delete", "pod", "p", "--wait=false"], true),
        (&["create", "deployment", "a", "--image=a"], false),
    ] {
        let output = node(args);
        assert_eq!(output.status.success(), allowed, "{args:?}: {}", said(&output));
    }
}

#[test]
fn certificates_are_replaced_while_we_serve() {
    let folder = Scratch::new("identity-swap");
    let (before, after) = (Authority::new("before"), Authority::new("after"));
    let (people, newer) = (Authority::new("people"), Authority::new("newer people"));
    let place = |name: &str| folder.join(name);
    let write = |name: &str, text: &str| fs::write(place(name), text).expect("write PEM");
    let serve_with = |authority: &Authority| {
        let (certificate, key) = authority.issued("kube-apiserver", None);
        // Not at once: between the two they do not fit each other.
        write("tls.key", &key);
        write("tls.crt", &certificate);
    };
    serve_with(&before);
    write("before.crt", before.pem());
    write("after.crt", after.pem());
    write("clients.crt", people.pem());
    let option = |name: &str| place(name).display().to_string();
    let mut server = ApiServer::start(
        "identity-swapped",
        &[
            "--tls-cert-file",
            &option("tls.crt"),
            "--tls-private-key-file",
            &option("tls.key"),
            "--client-ca-file",
            &option("clients.crt"),
        ],
    );
    let ann = shown(&people.issue(&folder.join("."), "ann", Some("system:masters")));
    let bob = shown(&newer.issue(&folder.join("."), "bob", Some("system:masters")));
    let get = |authority: &str, own: &[String; 2]| {
        let own: Vec<&str> = own.iter().map(String::as_str).collect();
        let output = bare(&server, &place(authority), &[&own[..], &["get", "namespaces"]].concat());
        (output.status.success(), said(&output))
    };
    let (works, text) = get("before.crt", &ann);
    assert!(works, "{text}");
    let (works, text) = get("before.crt", &bob);
    assert!(!works && text.contains("Unauthorized"), "{text}");

    // A watch that was there before stays.
    let mut watch = server.kubectl_command();
    watch.args(["--kubeconfig=/dev/null", "get", "namespaces", "--watch", "-o", "name"]).args(&ann);
    watch.arg(format!("--server=https://{}", server.address));
    watch.arg(format!("--certificate-authority={}", place("before.crt").display()));
    let mut watch = Running::spawn(&mut watch);
    watch.wait_for_line("namespace/default", LIMIT);

    serve_with(&after);
    write("clients.crt", newer.pem());
    wait_for("the new certificates", LIMIT, || get("after.crt", &bob).0.then_some(()));
    let (works, text) = get("before.crt", &bob);
    assert!(!works && text.contains("unknown authority"), "{text}");
    let (works, text) = get("after.crt", &ann);
    assert!(!works && text.contains("Unauthorized"), "{text}");
    let own: Vec<&str> = bob.iter().map(String::as_str).collect();
    let made = [&own[..], &["create", "namespace", "later"]].concat();
    assert!(bare(&server, &place("after.crt"), &made).status.success());
    watch.wait_for_line("namespace/later", LIMIT);

    // What cannot be used changes nothing.
    write("tls.crt", "no certificate");
    server.process.wait_for_line("replaced certificates cannot be used", LIMIT);
}
