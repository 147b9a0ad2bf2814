//! The border: what is refused, what bounds hold, how an edge starts and ends.

mod common;

use std::{sync::Arc, time::Duration};

use common::*;
use proxy::{Edge, Limits, Source, View};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

#[tokio::test]
async fn what_is_refused_reaches_no_ledger() {
    let ledger = Ledger::start(|_| ok("")).await;
    let world = World::new(serving("rz01", 1), &[("rz01", ledger.address)]);
    let edge = edge(&world);
    let large = "x".repeat((64 << 10) + 1);
    let check = async |text: &str, body: &str, status: u16, code: errors::Code| {
        let answer = send(edge.address, text, body).await;
        assert_eq!((answer.status, answer.code()), (status, code.to_string()), "{text}");
        assert!(answer.header("x-request-id").is_some(), "{text}");
    };
    check("POST /v1/payments", "{}", 400, errors::NO_ROUTE_KEY).await;
    check("POST /v1/payments polis-uid=1x3", "{}", 400, errors::BAD_USER_ID).await;
    check("GET /v1/accounts/100 polis-uid=200", "", 400, errors::KEYS_DISAGREE).await;
    check("GET /v1/payments/100", "", 400, errors::BAD_PAYMENT_ID).await;
    for forged in ["polis-shard=42;unit=rz01;epoch=1;hop=1", "Polis-Fence=x", "POLIS-Other=1"] {
        check(&format!("{PAY} {forged}"), "{}", 400, errors::FORGED_HEADER).await;
    }
    for deadline in ["0", "-1", "soon", "99999999999999999999999"] {
        let text = format!("{PAY} polis-deadline-ms={deadline}");
        check(&text, "{}", 400, errors::BAD_DEADLINE).await;
    }
    check("GET /internal/v1/fence polis-uid=100", "", 404, errors::UNKNOWN_PATH).await;
    check("DELETE /v1/accounts/100", "", 405, errors::METHOD_NOT_ALLOWED).await;
    check(PAY, &large, 413, errors::BODY_TOO_LARGE).await;
    assert!(ledger.seen().is_empty());
    assert_eq!(send(edge.address, PAY, &large[1..]).await.status, 201);
    edge.stop().await;
}

/// Sends raw bytes and reads what comes back until the connection closes.
async fn raw(address: std::net::SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.expect("connect");
    // Who is refused early may be cut off while it still writes; what it was
    // told is there to be read all the same.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = within(stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into()
}

#[tokio::test]
async fn slow_and_endless_clients_are_cut_off() {
    let ledger = Ledger::start(|_| ok("")).await;
    let world = World::new(serving("rz01", 1), &[("rz01", ledger.address)]);
    let short = Duration::from_millis(100);
    let edge = run(config(&world, Limits { head_timeout: short, ..limits() }));
    for (bytes, what) in [
        (&b"POST /v1/pay"[..], "a head that stops"),
        (&b"P"[..], "what could become any protocol"),
        (&b""[..], "nothing at all"),
        (&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], "an HTTP/2 greeting and no more"),
    ] {
        assert!(!raw(edge.address, bytes).await.contains("HTTP/1"), "{what}");
    }
    edge.stop().await;
    // From here on heads are whole, however late a busy machine sends them.
    let head =
        "POST /v1/payments HTTP/1.1\r\nhost: a\r\nconnection: close\r\npolis-uid: 2088000420\r\n";
    let edge = run(config(&world, Limits { body_timeout: short, ..limits() }));
    let slow = raw(edge.address, format!("{head}content-length: 9\r\n\r\n{{").as_bytes()).await;
    assert!(slow.starts_with("HTTP/1.1 408") && slow.contains("PLS0408"), "{slow}");
    edge.stop().await;
    let edge = run(config(&world, limits()));
    let chunk = format!("{head}transfer-encoding: chunked\r\n\r\n20000\r\n{}", "x".repeat(0x20000));
    let endless = raw(edge.address, chunk.as_bytes()).await;
    assert!(endless.starts_with("HTTP/1.1 413") && endless.contains("PLS0407"), "{endless}");
    let long =
        raw(edge.address, format!("{head}x: {}\r\n\r\n", "y".repeat(64 << 10)).as_bytes()).await;
    assert!(long.is_empty() || long.starts_with("HTTP/1.1 431"), "{long}");
    // Two lengths would let two readers see two different requests.
    let smuggled =
        format!("{head}content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n");
    let smuggled = raw(edge.address, smuggled.as_bytes()).await;
    assert!(!smuggled.contains(" 201 ") || ledger.seen()[0].body.is_empty(), "{smuggled}");
    edge.stop().await;
}

#[tokio::test]
async fn a_user_who_stops_reading_frees_the_ledgers_connection() {
    let (pieces, stream) = tokio::sync::mpsc::unbounded_channel();
    for _ in 0..64 {
        pieces.send(vec![b'x'; 256 << 10].into()).expect("room");
    }
    let stream = std::sync::Mutex::new(Some(stream));
    let ledger = Ledger::start(move |_| {
        Act::Stream(stream.lock().expect("no panic").take().expect("asked once"))
    })
    .await;
    let world = World::new(serving("rz01", 1), &[("rz01", ledger.address)]);
    let stall_timeout = Duration::from_millis(200);
    let edge = run(config(&world, Limits { stall_timeout, ..limits() }));
    let mut user = TcpStream::connect(edge.address).await.expect("connect");
    let head = "GET /v1/shards/42/payments HTTP/1.1\r\nhost: a\r\n\r\n";
    user.write_all(head.as_bytes()).await.expect("write");
    ledger.has_seen(1).await;
    edge.metric_is("polis_edge_connections", 0).await;
    edge.metric_is("polis_edge_upstream_connections", 0).await;
    drop(user);
    edge.stop().await;
}

#[tokio::test]
async fn one_connection_too_many_is_closed_at_once() {
    let ledger = Ledger::start(|_| ok("")).await;
    let world = World::new(serving("rz01", 1), &[("rz01", ledger.address)]);
    let edge = run(config(&world, Limits { connections_max: 1, ..limits() }));
    let mut first = connect(edge.address).await;
    assert_eq!(first.send_request(request(PAY, "{}")).await.expect("an answer").status(), 201);
    assert_eq!(raw(edge.address, b"").await, "");
    edge.metric_is("polis_edge_connections_refused_total", 1).await;
    drop(first);
    edge.stop().await;
}

#[tokio::test]
async fn http2_users_are_served_like_the_others() {
    let ledger = Ledger::start(|_| ok("h2")).await;
    let world = World::new(serving("rz01", 1), &[("rz01", ledger.address)]);
    let edge = edge(&world);
    let stream = TcpStream::connect(edge.address).await.expect("connect");
    let (mut sender, connection) = hyper::client::conn::http2::handshake(
        hyper_util::rt::TokioExecutor::new(),
        hyper_util::rt::TokioIo::new(stream),
    )
    .await
    .expect("handshake");
    let connection = tokio::spawn(connection);
    let mut request = request(PAY, "{}");
    request.headers_mut().remove("host");
    *request.uri_mut() = "http://polis.test/v1/payments?x=1".parse().expect("a uri");
    let answer = read(within(sender.send_request(request)).await.expect("an answer")).await;
    assert_eq!((answer.status, answer.body.as_str()), (201, "h2"));
    assert_eq!(ledger.seen()[0].headers["host"], "polis.test");
    assert_eq!(ledger.seen()[0].path, "/v1/payments?x=1");
    drop(sender);
    edge.stop().await;
    let _ = within(connection).await;
}

#[tokio::test]
async fn an_edge_without_the_api_serves_from_its_snapshot() {
    let ledger = Ledger::start(|_| ok("served")).await;
    let folder = std::env::temp_dir().join(format!("polis-proxy-border-{}", std::process::id()));
    let path = folder.join("map.json");
    let world = World::new(serving("rz01", 3), &[("rz01", ledger.address)]);
    let with_snapshot = |world: &World| {
        let mut config = config(world, limits());
        config.snapshot = Some(path.clone());
        config
    };
    let edge = run(with_snapshot(&world));
    until(|| async { path.exists().then_some(()) }).await;
    edge.stop().await;

    let nothing = World::new(serving("rz01", 1), &[]);
    nothing.change(|view| *view = View::default());
    let mut config = with_snapshot(&nothing);
    let (_views, given) = tokio::sync::watch::channel(Arc::new(View::default()));
    config.source = Source::Given(given);
    let edge = run(config);
    assert_eq!(send(edge.address, PAY, "{}").await.body, "served");
    let map: serde_json::Value =
        serde_json::from_str(&get(edge.admin, "/map").await.body).expect("json");
    assert_eq!((&map["origin"], &map["version"]), (&"snapshot".into(), &1.into()));
    assert_eq!(map["shards"][42]["unit"], "rz01");
    assert_eq!(get(edge.admin, "/readyz").await.status, 200);
    edge.stop().await;
    std::fs::remove_dir_all(&folder).expect("clean up");
}

#[tokio::test]
async fn an_edge_that_knows_no_map_is_alive_and_not_ready() {
    let world = World::new(serving("rz01", 1), &[]);
    let mut config = config(&world, limits());
    let (_views, given) = tokio::sync::watch::channel(Arc::new(View::default()));
    config.source = Source::Given(given);
    let edge = run(config);
    assert_eq!(get(edge.admin, "/livez").await.status, 200);
    assert_eq!(get(edge.admin, "/readyz").await.status, 503);
    assert_eq!(get(edge.admin, "/other").await.code(), errors::UNKNOWN_PATH.to_string());
    let answer = send(edge.address, &format!("{PAY} polis-deadline-ms=20"), "{}").await;
    assert_eq!(answer.code(), errors::SHARD_UNAVAILABLE.to_string());
    edge.stop().await;
}

#[tokio::test]
async fn a_taken_port_is_a_clear_error_though_threads_share_theirs() {
    let world = World::new(serving("rz01", 1), &[]);
    let mut first = config(&world, limits());
    first.threads = Some(2);
    let first = run(first);
    let mut second = config(&world, limits());
    second.listen = first.address;
    let error = Edge::build(second).err().expect("taken").to_string();
    assert!(error.contains("PLS0420") && error.contains(&first.address.to_string()), "{error}");
    first.stop().await;
}

#[tokio::test]
async fn a_drain_finishes_what_was_begun_and_takes_no_more() {
    let world = World::new(moving(None, "rz01", 1), &[]);
    let ledger = Ledger::start(|_| ok("finished")).await;
    let edge = run(config(&world, Limits { drain_timeout: Duration::from_secs(60), ..limits() }));
    let address = edge.address;
    let waiting = tokio::spawn(async move { send(address, PAY, "{}").await });
    edge.metric_is("polis_edge_hold_requests", 1).await;
    let Running { drain, task, admin, .. } = edge;
    drop(drain);
    until(|| async { TcpStream::connect(address).await.is_err().then_some(()) }).await;
    assert_eq!(get(admin, "/readyz").await.status, 503);
    world.change(|view| {
        view.endpoints.insert(unit("rz01"), vec![ledger.address]);
        view.map.assignments.insert(shard(42), serving("rz01", 1));
    });
    let answer = within(waiting).await.expect("no panic");
    assert_eq!((answer.body.as_str(), answer.header("connection")), ("finished", Some("close")));
    within(task).await.expect("no panic").expect("a clean end");
}

#[tokio::test]
async fn a_drain_cuts_off_what_does_not_end() {
    let world = World::new(moving(None, "rz01", 1), &[]);
    let drain_timeout = Duration::from_millis(50);
    let edge = run(config(&world, Limits { drain_timeout, ..limits() }));
    let mut user = connect(edge.address).await;
    let waiting = tokio::spawn(async move { user.send_request(request(PAY, "{}")).await });
    edge.metric_is("polis_edge_hold_requests", 1).await;
    edge.stop().await;
    assert!(within(waiting).await.expect("no panic").is_err());
}
