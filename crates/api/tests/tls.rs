//! The server on a socket: who a certificate stands for, logs through an
//! agent, and the end.

mod support;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use api::{Api, Config};
use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use identity::{
    Authority, ClientAuth, Credentials, Expected, Files, Leaf, Peer, ServerCheck, SpiffeId,
    client_config, plain_name, server_config,
};
use rt::drain::Drained;
use serde_json::{Value, json};
use support::memory;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest as _};

const HOUR: Duration = Duration::from_secs(3600);

struct Estate {
    root: Authority,
    dir: PathBuf,
}

impl Estate {
    fn new(name: &str) -> Estate {
        let dir = std::env::temp_dir().join(format!("polis-api-{name}-{}", std::process::id()));
        Estate { root: Authority::root("root").expect("root"), dir }
    }

    fn credentials(&self, name: &str, leaf: &Leaf) -> Credentials {
        let files = Files::in_dir(&self.dir, name);
        self.root.issue(leaf).expect("issue").save(&files).expect("save");
        Credentials::load(&files).expect("load")
    }

    fn process(&self, namespace: &str, account: &str) -> Credentials {
        let spiffe = SpiffeId {
            trust_domain: "polis.local".into(),
            unit: "rz01".into(),
            namespace: namespace.into(),
            service_account: account.into(),
        };
        let leaf = Leaf {
            spiffe: Some(spiffe),
            common_name: account.into(),
            // Whoever may issue for a workload must not make it a master.
            organizations: vec!["system:masters".into()],
            lifetime: HOUR,
            ..Leaf::default()
        };
        self.credentials(account, &leaf)
    }

    fn person(&self, name: &str, group: &str) -> Credentials {
        let leaf = Leaf {
            common_name: name.into(),
            organizations: vec![group.into()],
            lifetime: HOUR,
            ..Leaf::default()
        };
        self.credentials(name, &leaf)
    }
}

impl Drop for Estate {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

struct Client {
    address: SocketAddr,
    tls: Arc<rustls::ClientConfig>,
}

/// Shows no certificate.
#[derive(Debug)]
struct Nobody;

impl rustls::client::ResolvesClientCert for Nobody {
    fn resolve(
        &self,
        _: &[&[u8]],
        _: &[rustls::SignatureScheme],
    ) -> Option<Arc<rustls::sign::CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

impl Client {
    fn new(address: SocketAddr, credentials: &Credentials) -> Client {
        let check =
            ServerCheck::Spiffe(Expected::service("polis.local", "polis-system", "apiserver"));
        let tls = client_config(credentials, check, &[b"http/1.1"]).expect("client");
        Client { address, tls }
    }

    fn anonymous(address: SocketAddr, credentials: &Credentials) -> Client {
        let mut client = Client::new(address, credentials);
        let mut tls = (*client.tls).clone();
        tls.client_auth_cert_resolver = Arc::new(Nobody);
        client.tls = Arc::new(tls);
        client
    }

    async fn send(&self, method: &str, path: &str, body: Value) -> (StatusCode, String) {
        let stream = TcpStream::connect(self.address).await.expect("connect");
        let tls = TlsConnector::from(self.tls.clone());
        let stream = tls.connect(plain_name(), stream).await.expect("handshake");
        let (mut send, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("http");
        tokio::spawn(connection);
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = Request::builder().method(method).uri(path).header("host", "api");
        let request = request.body(Full::new(Bytes::from(body))).expect("a request");
        let response = send.send_request(request).await.expect("an answer");
        let code = response.status();
        let bytes = response.into_body().collect().await.expect("a body").to_bytes();
        (code, String::from_utf8_lossy(&bytes).into_owned())
    }
}

async fn start(estate: &Estate) -> (SocketAddr, rt::Trigger) {
    let own = estate.process("polis-system", "apiserver");
    let agent = ServerCheck::Spiffe(Expected::service("polis.local", "polis-system", "agent"));
    let config = Config {
        root: api::Door::Federation,
        listen: "127.0.0.1:0".parse().expect("an address"),
        tls: server_config(&own, ClientAuth::Optional, &[b"h2", b"http/1.1"]).expect("server"),
        clients: None,
        keyspaces: memory::keyspaces(),
        agent_tls: Some(client_config(&own, agent, &[b"http/1.1"]).expect("client")),
        pages: rt::Pages::default(),
        settings: api::Settings::default(),
    };
    let api = Api::build(config).await.expect("listens");
    let address = api.local_addr();
    let (trigger, drain) = rt::drain::channel();
    tokio::spawn(api.run(drain));
    (address, trigger)
}

/// An agent with one log, for the API server only.
async fn start_agent(estate: &Estate) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    let credentials = estate.process("polis-system", "agent");
    let tls = server_config(&credentials, ClientAuth::Required, &[b"http/1.1"]).expect("server");
    let tls = TlsAcceptor::from(tls);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("accept");
            let stream = tls.accept(stream).await.expect("handshake");
            let peer = Peer::of_server_connection(stream.get_ref().1).expect("a certificate");
            assert!(peer.expect("a peer").is_service("polis-system", "apiserver"));
            let service = service_fn(async |request: Request<Incoming>| {
                let text = format!("log of {}\n", request.uri());
                let known = request.uri().path() == "/containerLogs/default/p/main";
                let response = http::Response::builder().status(if known { 200 } else { 404 });
                response.body(Full::new(Bytes::from(text)))
            });
            let http = hyper::server::conn::http1::Builder::new();
            tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
        }
    });
    port
}

#[tokio::test]
async fn a_certificate_says_who_may_do_what() {
    let estate = Estate::new("callers");
    let (address, _trigger) = start(&estate).await;
    let units = support::UNITS;
    let controllers = Client::new(address, &estate.process("polis-system", "controllers"));
    let edge = Client::new(address, &estate.process("polis-system", "edge"));
    let agent = Client::new(address, &estate.process("polis-system", "agent"));
    let ledger = Client::new(address, &estate.process("payments", "ledger"));
    let ann = Client::new(address, &estate.person("ann", "polis:viewers"));
    let bob = Client::new(address, &estate.person("bob", "system:polis"));
    let nobody = Client::anonymous(address, &estate.person("carol", "none"));
    for (client, name, read, write) in [
        (&controllers, "a controller", 200, 201),
        (&edge, "an edge", 200, 403),
        (&agent, "an agent", 200, 403),
        (&ledger, "a workload", 403, 403),
        (&ann, "a viewer", 200, 403),
        (&bob, "a person who says to be a process", 403, 403),
        (&nobody, "no certificate", 403, 403),
    ] {
        assert_eq!(client.send("POST", units, support::unit("rz01")).await.0, write, "{name}");
        assert_eq!(client.send("GET", units, Value::Null).await.0, read, "{name}");
        assert_eq!(client.send("GET", "/readyz", Value::Null).await.0, 200, "{name}");
    }
    let node = json!({"metadata": {"name": "east-1"}});
    for (client, unit, code) in [(&agent, "rz01", 201), (&agent, "rz02", 403), (&edge, "rz01", 403)]
    {
        controllers.send("POST", units, support::unit(unit)).await;
        let nodes = format!("/units/{unit}/api/v1/nodes");
        let (answered, text) = client.send("POST", &nodes, node.clone()).await;
        assert_eq!(answered, code, "{unit} {text}");
        assert_eq!(text.contains("cannot create resource \\\"nodes\\\""), code == 403, "{text}");
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_believed_is_told_so() {
    let (estate, others) = (Estate::new("believed"), Estate::new("strangers"));
    let own = estate.process("polis-system", "apiserver");
    let config = Config {
        root: api::Door::Cluster,
        listen: "127.0.0.1:0".parse().expect("an address"),
        tls: server_config(&own, ClientAuth::Any, &[b"http/1.1"]).expect("server"),
        clients: Some(identity::client_authority(&own.roots).expect("an authority")),
        keyspaces: memory::keyspaces(),
        agent_tls: None,
        pages: rt::Pages::default(),
        settings: api::Settings::default(),
    };
    let api = Api::build(config).await.expect("listens");
    let address = api.local_addr();
    let (_trigger, drain) = rt::drain::channel();
    tokio::spawn(api.run(drain));
    let get = async |client: &Client| client.send("GET", "/api/v1/pods", Value::Null).await;
    let admin = estate.person("admin", "system:masters");
    assert_eq!(get(&Client::new(address, &admin)).await.0, 200);
    // Shows what another authority issued, and believes ours.
    let mut stranger = others.person("mallory", "system:masters");
    stranger.roots.clone_from(&admin.roots);
    let (code, text) = get(&Client::new(address, &stranger)).await;
    assert_eq!(code, 401, "{text}");
    assert!(text.contains("x509: certificate signed by unknown authority"), "{text}");
    let (code, text) = get(&Client::anonymous(address, &admin)).await;
    assert!(code == 403 && text.contains("system:anonymous"), "{code} {text}");
}

#[tokio::test]
async fn logs_come_from_the_pods_agent() {
    let estate = Estate::new("logs");
    let (address, _trigger) = start(&estate).await;
    let port = start_agent(&estate).await;
    let admin = Client::new(address, &estate.person("admin", "system:masters"));
    admin.send("POST", support::UNITS, support::unit("rz01")).await;
    let node = json!({
        "metadata": {"name": "n"},
        "status": {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
        },
    });
    assert_eq!(admin.send("POST", "/units/rz01/api/v1/nodes", node).await.0, 201);
    assert_eq!(admin.send("POST", support::PODS, support::pod("p", "n")).await.0, 201);
    let log = format!("{}/p/log?tailLines=5&container=main&evil=1", support::PODS);
    let pod = admin.send("GET", &format!("{}/p", support::PODS), Value::Null).await.1;
    let pod: Value = serde_json::from_str(&pod).expect("JSON");
    let uid = pod["metadata"]["uid"].as_str().expect("a uid");
    let expected = format!("log of /containerLogs/default/p/main?tailLines=5&uid={uid}\n");
    let found = (StatusCode::OK, expected);
    assert_eq!(admin.send("GET", &log, Value::Null).await, found);
    // At the federation the pod is found in whichever unit.
    let log = "/api/v1/namespaces/default/pods/p/log?tailLines=5";
    assert_eq!(admin.send("GET", log, Value::Null).await, found);
    let other = format!("{}/p/log?container=other", support::PODS);
    assert_eq!(admin.send("GET", &other, Value::Null).await.0, 400);
}

#[tokio::test]
async fn a_watch_over_a_websocket_has_a_message_for_each_event() {
    let estate = Estate::new("socket");
    let (address, trigger) = start(&estate).await;
    let client = Client::new(address, &estate.person("admin", "system:masters"));
    let open = async |accept: &str| {
        let stream = TcpStream::connect(address).await.expect("connect");
        let tls = TlsConnector::from(client.tls.clone());
        let stream = tls.connect(plain_name(), stream).await.expect("handshake");
        let path = "ws://api/api/v1/namespaces?watch=1&fieldSelector=metadata.name%3Dcafe";
        let mut request = path.into_client_request().expect("a request");
        request.headers_mut().insert("accept", accept.parse().expect("a value"));
        request.headers_mut().insert("origin", "https://console".parse().expect("a value"));
        let offered = "base64.binary.k8s.io".parse().expect("a value");
        request.headers_mut().insert("sec-websocket-protocol", offered);
        let opened = tokio_tungstenite::client_async(request, stream).await;
        let (socket, answer) = opened.expect("it is agreed");
        assert_eq!(answer.headers()["sec-websocket-protocol"], "base64.binary.k8s.io");
        socket
    };
    let mut plain = open("application/json").await;
    let mut sealed = open("application/vnd.kubernetes.protobuf;stream=watch").await;
    let namespace = json!({"metadata": {"name": "cafe"}});
    assert_eq!(client.send("POST", "/api/v1/namespaces", namespace).await.0, 201);
    let said = plain.next().await.expect("a message").expect("well formed");
    let event: Value = serde_json::from_str(said.to_text().expect("text")).expect("JSON");
    assert_eq!(
        (&event["type"], &event["object"]["metadata"]["name"]),
        (&json!("ADDED"), &json!("cafe"))
    );
    let said = sealed.next().await.expect("a message").expect("well formed").into_data();
    assert!(said.starts_with(b"\x0a\x05ADDED\x12"), "{said:?}");
    plain.send(Message::Ping(Bytes::new())).await.expect("sent");
    assert!(plain.next().await.expect("a message").expect("well formed").is_pong());
    let ended = tokio::spawn(async move { trigger.drain(Duration::from_secs(10)).await });
    assert!(plain.next().await.expect("a message").expect("well formed").is_close());
    assert!(sealed.next().await.expect("a message").expect("well formed").is_close());
    drop((plain, sealed));
    assert_eq!(ended.await.expect("no panic"), Drained::Clean);
}

#[tokio::test]
async fn a_drain_ends_watches_and_lets_go_of_connections() {
    let estate = Estate::new("drain");
    let (address, trigger) = start(&estate).await;
    let admin = estate.person("admin", "system:masters");
    let client = Client::new(address, &admin);
    let stream = TcpStream::connect(address).await.expect("connect");
    let tls = TlsConnector::from(client.tls.clone());
    let stream = tls.connect(plain_name(), stream).await.expect("handshake");
    let (mut send, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("http");
    tokio::spawn(connection);
    let watch = Request::get("/api/v1/namespaces?watch=1&allowWatchBookmarks=1")
        .header("host", "api")
        .body(Empty::<Bytes>::new())
        .expect("a request");
    let response = send.send_request(watch).await.expect("an answer");
    let collected = tokio::spawn(response.into_body().collect());
    assert_eq!(trigger.drain(Duration::from_secs(10)).await, Drained::Clean);
    let text = collected.await.expect("no panic").expect("a clean end").to_bytes();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(text.lines().last().expect("frames").contains("BOOKMARK"), "{text}");
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
}
