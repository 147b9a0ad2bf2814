//! Priority levels as an operator meets them: made with kubectl, shown in what
//! is answered over the wire, and felt by nobody but whom they are meant for.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use e2e::{ApiServer, wait_for};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, pem::PemObject},
};
use serde_json::json;

const LIMIT: Duration = Duration::from_secs(180);

const LISTED: &str = "/api/v1/namespaces/default/configmaps";

/// Connections that list without a pause.
const NOISY: usize = 600;

/// One connection of a caller who shows a token.
struct Client {
    stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
    token: &'static str,
}

#[derive(Clone)]
struct Gate {
    tls: Arc<ClientConfig>,
    address: SocketAddr,
}

struct Answer {
    code: u16,
    head: String,
}

// === impl Gate ===

impl Gate {
    fn of(server: &ApiServer) -> Gate {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_file(server.path("data/pki/ca.crt"));
        roots.add(authority.expect("a certificate")).expect("an authority");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Gate { tls: Arc::new(tls), address: server.address }
    }

    /// Of hundreds that shake hands at once some take longer than the server
    /// waits: they try again, like any client.
    fn connect(&self, token: &'static str) -> Client {
        let stream = wait_for("a connection", LIMIT, || {
            let name = self.address.ip().to_string().try_into().expect("a name");
            let mut tls = ClientConnection::new(self.tls.clone(), name).expect("a client");
            let mut stream = TcpStream::connect(self.address).ok()?;
            stream.set_read_timeout(Some(LIMIT)).expect("set a timeout");
            tls.complete_io(&mut stream).ok()?;
            Some(StreamOwned::new(tls, stream))
        });
        Client { stream: BufReader::new(stream), token }
    }
}

// === impl Client ===

impl Client {
    fn get(&mut self, path: &str) -> Answer {
        let token = self.token;
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: api\r\nauthorization: Bearer {token}\r\n\r\n");
        self.stream.get_mut().write_all(request.as_bytes()).expect("asked");
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let read = self.stream.read_line(&mut head).expect("an answer");
            assert!(read > 0, "it ends with its head: {head}");
        }
        let head = head.to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.expect("a length").trim().parse().expect("a number");
        self.stream.read_exact(&mut vec![0; length]).expect("a body");
        let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        Answer { code: code.expect("a code"), head }
    }
}

// === impl Answer ===

impl Answer {
    /// The uids of its FlowSchema and its level.
    fn marks(&self) -> [String; 2] {
        ["x-kubernetes-pf-flowschema-uid: ", "x-kubernetes-pf-prioritylevel-uid: "].map(|name| {
            let found = self.head.lines().find_map(|line| line.strip_prefix(name));
            found.unwrap_or_default().to_owned()
        })
    }
}

fn start(name: &str) -> ApiServer {
    let tokens = std::env::temp_dir().join(format!("polis-e2e-{name}-{}", std::process::id()));
    fs::write(&tokens, "noisy,noisy,1\nquiet,quiet,2\nnoxu,noxu,3\n").expect("written");
    let file = tokens.display().to_string();
    let options = ["--token-auth-file", &file, "--authorization-mode", "AlwaysAllow"];
    ApiServer::start(name, &options)
}

fn uid(server: &ApiServer, object: &str) -> String {
    server.done(&["get", object, "-o", "jsonpath={.metadata.uid}"])
}

#[test]
fn a_level_that_kubectl_makes_is_shown_in_answers() {
    let server = start("flows-kubectl");
    let group = "flowcontrol.apiserver.k8s.io/v1";
    let objects = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": group, "kind": "PriorityLevelConfiguration", "metadata": {"name": "mine"},
         "spec": {"type": "Limited", "limited": {"nominalConcurrencyShares": 1,
            "limitResponse": {"type": "Reject"}}}},
        {"apiVersion": group, "kind": "FlowSchema", "metadata": {"name": "mine"},
         "spec": {"matchingPrecedence": 1000, "priorityLevelConfiguration": {"name": "mine"},
            "distinguisherMethod": {"type": "ByUser"},
            "rules": [{"subjects": [{"kind": "User", "user": {"name": "noxu"}}],
                "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}]}]}},
    ]});
    let file = server.path("level.json");
    fs::write(&file, objects.to_string()).expect("written");
    server.done(&["apply", "-f", &file.display().to_string()]);
    server.done(&["wait", "flowschema/mine", "--for=condition=Dangling=false", "--timeout=120s"]);
    let gate = Gate::of(&server);
    let marks = |token: &'static str| gate.connect(token).get("/version").marks();
    let mine = ["flowschema/mine", "prioritylevelconfiguration/mine"].map(|o| uid(&server, o));
    assert_eq!(marks("noxu"), mine);
    // Those that every cluster has are made behind the start, and are in force
    // without objects until then.
    let defaults = ["flowschema", "prioritylevelconfiguration"]
        .map(|kind| ["global-default", "catch-all"].map(|name| format!("{kind}/{name}")));
    wait_for("the objects of the defaults", LIMIT, || {
        let mut all = defaults.iter().flatten();
        all.all(|object| server.kubectl(&["get", object]).status.success()).then_some(())
    });
    let other = defaults.each_ref().map(|[global, _]| uid(&server, global));
    wait_for("answers to show them", LIMIT, || (marks("quiet") == other).then_some(()));
    let table = server.done(&["get", "flowschemas", "mine", "catch-all"]);
    assert!(table.contains("mine        mine            1000"), "{table}");
    let line = "apiserver_flowcontrol_nominal_limit_seats{priority_level=\"mine\"} 3";
    wait_for(line, LIMIT, || {
        let metrics = server.done(&["get", "--raw", "/metrics"]);
        metrics.lines().any(|own| own == line).then_some(())
    });
}

#[test]
fn six_hundred_connections_of_one_caller_do_not_keep_another_waiting() {
    let server = start("flows-noisy");
    let maps: Vec<_> = (0..200)
        .map(|n| {
            json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": format!("map-{n}")}, "data": {"text": "x".repeat(600)}})
        })
        .collect();
    let file = server.path("maps.json");
    let list = json!({"apiVersion": "v1", "kind": "List", "items": maps});
    fs::write(&file, list.to_string()).expect("written");
    server.done(&["create", "-f", &file.display().to_string()]);
    let (gate, stop) = (Gate::of(&server), Arc::new(AtomicBool::new(false)));
    let counts: Arc<[AtomicUsize; 2]> = Arc::default();
    let noisy: Vec<_> = (0..NOISY)
        .map(|_| {
            let (gate, stop, counts) = (gate.clone(), stop.clone(), counts.clone());
            thread::spawn(move || {
                let mut client = gate.connect("noisy");
                while !stop.load(Relaxed) {
                    match client.get(LISTED).code {
                        200 => counts[0].fetch_add(1, Relaxed),
                        429 => counts[1].fetch_add(1, Relaxed),
                        other => panic!("{other}"),
                    };
                }
            })
        })
        .collect();
    wait_for("the noisy one to be served and refused", LIMIT, || {
        counts.iter().all(|count| count.load(Relaxed) > 0).then_some(())
    });
    let mut quiet = gate.connect("quiet");
    for turn in 0..100 {
        let path = format!("{LISTED}/map-{turn}");
        assert_eq!(quiet.get(&path).code, 200, "{turn}");
    }
    stop.store(true, Relaxed);
    for thread in noisy {
        thread.join().expect("no connection was lost");
    }
    // Nobody has a seat that is not served.
    wait_for("the level to be idle", LIMIT, || {
        let table =
            server.done(&["get", "--raw", "/debug/api_priority_and_fairness/dump_requests"]);
        table.contains("\nglobal-default, global-default, 0, 0, 0\n").then_some(())
    });
}
