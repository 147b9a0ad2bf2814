//! The real grpc-java at both ends of `polis proxy run`: every kind of call,
//! its trailers and its deadline, and load while the proxy is replaced. And tonic.

mod proxy_kit;
mod proxy_parts;

use std::{net::SocketAddr, time::Duration};

use e2e::{Java, Scratch, free_base_port, wait_for};
use pb_etcd::etcdserverpb::{
    self as pb, kv_client::KvClient, watch_client::WatchClient, watch_request::RequestUnion,
};
use proxy_kit::{Ca, Leaf};
use proxy_parts::Proxy;

/// Java starts slowly on a busy machine.
const LIMIT: Duration = Duration::from_secs(180);

/// Users go to one of two providers by the end of their id.
struct Place {
    java: Java,
    a: (e2e::Running, u16),
    b: (e2e::Running, u16),
    proxy: Proxy,
    port: u16,
    ca: String,
}

// === impl Place ===

impl Place {
    fn new() -> Place {
        let java = Java::compile("Payments", "grpc");
        let (a, b) = (java.provider("a"), java.provider("b"));
        let (port, scratch) = (free_base_port(), Scratch::new("proxy-grpc"));
        let ca = Ca::new("grpc");
        ca.issue_to(&scratch, "web", &Leaf::default());
        let authority = ca.write(&scratch, "ca").display().to_string();
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let origins = [("A", address(a.1)), ("B", address(b.1))];
        let proxy = Proxy::start_in(scratch, &text(port), &origins);
        Place { java, a, b, proxy, port, ca: authority }
    }
}

fn text(port: u16) -> String {
    let tls = port + 1;
    let route = r#"
[[listener.route]]
name = "payments"
timeout = "60s"
key = { header = "polis-uid", slice = [-1, 0] }
map = "users"
"#;
    format!(
        r#"
[[listener]]
name = "plain"
address = "127.0.0.1:{port}"
{route}
[[listener]]
name = "tls"
address = "127.0.0.1:{tls}"
tls = {{ cert = "{{DIR}}/web.crt", key = "{{DIR}}/web.key" }}
{route}
[[map]]
name = "users"
entries = {{ "1" = "a", "2" = "b" }}
[[cluster]]
name = "a"
protocol = "http2"
endpoints = [{{ address = "{{A}}" }}]
[[cluster]]
name = "b"
protocol = "http2"
endpoints = [{{ address = "{{B}}" }}]
"#
    )
}

#[test]
fn every_kind_of_call_arrives_with_its_trailers_and_its_deadline() {
    let place = Place::new();
    for (round, args) in
        [vec![place.port.to_string()], vec![(place.port + 1).to_string(), place.ca.clone()]]
            .iter()
            .enumerate()
    {
        let mut all = vec!["once"];
        all.extend(args.iter().map(String::as_str));
        let printed = place.java.run(&all);
        for line in [
            "paid: a took 1",
            "paid: b took 2",
            "large: 1000007",
            // Each with the name of who sent it and its number before it.
            "listed: 2000 with 2012890",
            "summed: a 500000",
            "talked: a heard one, a heard two, a heard three, done",
            "refused: FAILED_PRECONDITION true limit 3",
            "unknown: UNIMPLEMENTED",
            "late: DEADLINE_EXCEEDED",
        ] {
            assert!(printed.lines().any(|printed| printed == line), "{line:?} in:\n{printed}");
        }
        let count = |line: &str| place.a.0.printed().lines().filter(|seen| *seen == line).count();
        wait_for("the provider to be told", LIMIT, || {
            (count("late was given up") > round).then_some(())
        });
        assert_eq!(count("late has a deadline"), round + 1);
    }
    assert!(!place.b.0.printed().contains("late"), "that was the other's");
}

#[test]
fn no_call_fails_while_the_proxy_is_replaced() {
    let mut place = Place::new();
    let mut load = place.java.start(&["load", &place.port.to_string(), "8"]);
    let calls = |load: &e2e::Running| {
        let printed = load.printed();
        printed.lines().filter(|line| line.starts_with("after ")).count()
    };
    wait_for("calls", LIMIT, || (calls(&load) > 2).then_some(()));
    for _ in 0..2 {
        let mut old = place.proxy.replace();
        // Its streams are over, and grpc-java has gone over to the other.
        assert!(old.wait(LIMIT).success(), "{}", old.printed());
        let before = calls(&load);
        wait_for("more calls", LIMIT, || (calls(&load) > before + 2).then_some(()));
    }
    load.end_input();
    assert!(load.wait(LIMIT).success());
    assert!(load.printed().contains("calls, 0 failed"), "{}", load.printed());
}

/// tonic, as programs in Rust have it: calls at once on one connection, a stream
/// both ways, and a status.
#[tokio::test(flavor = "multi_thread")]
async fn tonic_is_served_as_by_its_service() {
    let store = e2e::Store::start("behind-proxy-tonic", &[]);
    let proxy = Proxy::start(
        r#"
[[listener]]
name = "web"
address = "127.0.0.1:0"
[[listener.route]]
name = "etcd"
timeout = "0s"
cluster = "etcd"
[[cluster]]
name = "etcd"
protocol = "http2"
endpoints = [{ address = "{STORE}" }]
"#,
        &[("STORE", store.address)],
    );
    let through = format!("http://{}", proxy.address("web"));
    let channel = tonic::transport::Endpoint::from_shared(through).expect("an address");
    let channel = channel.connect().await.expect("it listens");
    let kv = KvClient::new(channel.clone());
    let puts = (0..50u8).map(|n| {
        let mut kv = kv.clone();
        let put = pb::PutRequest {
            key: vec![b'k', n].into(),
            value: vec![n; 50_000].into(),
            ..Default::default()
        };
        async move { kv.put(put).await }
    });
    for put in futures::future::join_all(puts).await {
        put.expect("written");
    }
    let all = pb::RangeRequest { key: "k".into(), range_end: "l".into(), ..Default::default() };
    let found = kv.clone().range(all).await.expect("one message of 2.5 MB").into_inner();
    assert!(
        found.kvs.iter().zip(0..50).all(|(kv, n)| kv.value[..] == [n; 50_000]) && found.count == 50
    );
    let later = pb::RangeRequest { key: "k".into(), revision: 9_999, ..Default::default() };
    let status = kv.clone().range(later).await.expect_err("it is to come");
    assert_eq!(status.code(), tonic::Code::OutOfRange, "{status}");

    let (ask, asked) = tokio::sync::mpsc::channel(4);
    let create = pb::WatchCreateRequest { key: "k".into(), ..Default::default() };
    let create = pb::WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    ask.send(create).await.expect("there is room");
    let asked = tokio_stream::wrappers::ReceiverStream::new(asked);
    let mut watch = WatchClient::new(channel).watch(asked).await.expect("it begins").into_inner();
    assert!(watch.message().await.expect("well").expect("an answer").created);
    let put = pb::PutRequest { key: "k".into(), value: "seen".into(), ..Default::default() };
    kv.clone().put(put).await.expect("written");
    let seen = watch.message().await.expect("well").expect("an event");
    assert_eq!(seen.events[0].kv.as_ref().expect("a pair").value, b"seen"[..]);
}
