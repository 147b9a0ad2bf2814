//! The process on a socket: TLS decides who may pay, a drain lets requests end.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use identity::{Authority, ClientAuth, Credentials, Expected, Files, Leaf, ServerCheck, SpiffeId};
use rt::drain::Drained;
use tokio::net::TcpStream;
use topology::Epoch;

use super::store::{Fate, Store, books};
use crate::{Config, Ledger, Tls, Trust};

/// Certificates of one test, gone with it.
struct Certificates {
    dir: PathBuf,
    authority: Authority,
}

// === impl Certificates ===

impl Certificates {
    fn new(name: &str) -> Certificates {
        let dir = std::env::temp_dir().join(format!("polis-ledger-{name}-{}", std::process::id()));
        Certificates { dir, authority: Authority::root("polis").expect("an authority") }
    }

    fn of(&self, unit: &str, namespace: &str, account: &str) -> Credentials {
        let spiffe = SpiffeId {
            trust_domain: "polis.local".into(),
            unit: unit.into(),
            namespace: namespace.into(),
            service_account: account.into(),
        };
        let leaf = Leaf {
            spiffe: Some(spiffe),
            common_name: account.into(),
            lifetime: Duration::from_secs(3600),
            ..Leaf::default()
        };
        let files = Files::in_dir(&self.dir, account);
        self.authority.issue(&leaf).and_then(|issued| issued.save(&files)).expect("issued");
        Credentials::load(&files).expect("readable")
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

type Sender = http1::SendRequest<Full<Bytes>>;

async fn connect(address: SocketAddr, tls: Option<&Credentials>) -> Sender {
    let stream = TcpStream::connect(address).await.expect("connect");
    match tls {
        None => handshake(stream).await,
        Some(credentials) => {
            let ledger = Expected::service("polis.local", "payments", "ledger").in_unit("rz01");
            let config =
                identity::client_config(credentials, ServerCheck::Spiffe(ledger), &[b"http/1.1"]);
            let connector = tokio_rustls::TlsConnector::from(config.expect("a configuration"));
            let stream = connector.connect(identity::plain_name(), stream).await.expect("TLS");
            handshake(stream).await
        }
    }
}

async fn handshake<S>(stream: S) -> Sender
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
    tokio::spawn(connection);
    sender
}

fn pay(key: &str) -> Request<Full<Bytes>> {
    let body = r#"{"payer":"2088001234","merchant":"tea","amount":1,"currency":"CNY"}"#;
    Request::post("/v1/payments")
        .header("host", "ledger")
        .header("idempotency-key", key)
        .header("polis-shard", "23; unit=rz01; epoch=1; hop=1")
        .body(Full::new(Bytes::from_static(body.as_bytes())))
        .expect("a request")
}

async fn ledger(store: &Store, tls: Tls, trust: Trust) -> Ledger {
    let config = Config {
        unit: "rz01".parse().expect("a name"),
        listen: ([127, 0, 0, 1], 0).into(),
        tls,
        trust,
    };
    let ledger = Ledger::build(config, books::on(store)).await.expect("listening");
    let books = ledger.books();
    books.raise(books::shard(), Epoch(1), books::soon()).await.expect("raised");
    books.execute(books::opening(&books::user(), 100), None, books::soon()).await.expect("opened");
    ledger
}

#[tokio::test]
async fn an_edge_pays_over_mutual_tls_and_others_do_not() {
    let certificates = Certificates::new("tls");
    let own = certificates.of("rz01", "payments", "ledger");
    let server = identity::server_config(&own, ClientAuth::Optional, &[b"h2", b"http/1.1"]);
    let tls = Tls::Mutual(server.expect("a configuration"));
    let ledger = ledger(&Store::new(), tls, Trust::default()).await;
    let address = ledger.local_addr().expect("an address");
    let (trigger, drain) = rt::drain::channel();
    let running = tokio::spawn(ledger.run(drain));

    let edge = certificates.of("rz02", "polis-system", "edge");
    let mut edge = connect(address, Some(&edge)).await;
    let paid = edge.send_request(pay("k1")).await.expect("an answer");
    assert_eq!(paid.status(), StatusCode::CREATED);

    let stranger = certificates.of("rz02", "shop", "edge");
    let mut stranger = connect(address, Some(&stranger)).await;
    let refused = stranger.send_request(pay("k2")).await.expect("an answer");
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);

    assert_eq!(trigger.drain(Duration::from_secs(5)).await, Drained::Clean);
    running.await.expect("the ledger ends");
}

#[tokio::test]
async fn a_drain_lets_the_request_under_way_finish_and_takes_no_new_connection() {
    let store = Store::new();
    let trust = Trust { plaintext: true, ..Trust::default() };
    let ledger = ledger(&store, Tls::Plaintext, trust).await;
    let address = ledger.local_addr().expect("an address");
    let (trigger, drain) = rt::drain::channel();
    let running = tokio::spawn(ledger.run(drain));
    let mut client = connect(address, None).await;
    store.next(&[Fate::Unreachable, Fate::Unreachable, Fate::Answered]);
    let before = store.txns();
    let under_way = tokio::spawn(async move { client.send_request(pay("k1")).await });
    while store.txns() == before {
        tokio::task::yield_now().await;
    }
    assert_eq!(trigger.drain(Duration::from_secs(5)).await, Drained::Clean);
    let paid = under_way.await.expect("no panic").expect("an answer");
    assert_eq!(paid.status(), StatusCode::CREATED);
    assert!(paid.into_body().collect().await.is_ok());
    running.await.expect("the ledger ends");
    // What another test starts just now has all our sockets, too, until it
    // becomes its own program.
    let gone = async { while TcpStream::connect(address).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(60), gone).await.expect("nobody listens any more");
}

#[tokio::test]
async fn a_taken_port_is_an_error_with_a_code() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let config = Config {
        unit: "rz01".parse().expect("a name"),
        listen: taken.local_addr().expect("an address"),
        tls: Tls::Plaintext,
        trust: Trust::default(),
    };
    let error = Ledger::build(config, books::on(&Store::new())).await.err().expect("refused");
    assert_eq!(error.code(), errors::LEDGER_LISTEN);
}
