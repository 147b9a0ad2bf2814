//! What a request costs the edge in CPU, next to a bare relay of the same
//! parts: `cargo run --release -p polis-proxy --example cost -- [REQUESTS]`.
//!
//! One thread each, named, so that Linux' per-thread accounting
//! (`/proc/self/task/*/schedstat`) tells it apart from the load and the
//! upstream, which share the machine. Compare the two figures with each other;
//! neither is a throughput.

use std::{
    collections::BTreeMap, convert::Infallible, fs, net::SocketAddr, sync::Arc, thread,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http1::SendRequest, service::service_fn};
use hyper_util::rt::TokioIo;
use proxy::{Config, Edge, Limits, Place, Source, Upstream, View};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Builder,
    sync::{Mutex, watch},
};
use topology::{Assignment, Epoch, MapVersion, Shard, ShardMap, ShardState, UnitName};

const CONNECTIONS: usize = 64;
const REQUESTS_DEFAULT: usize = 100_000;
const BODY: &str = r#"{"payer":"2088000420","merchant":"m1","amount":1250,"currency":"CNY"}"#;

fn main() {
    let requests = std::env::args().nth(1).map_or(REQUESTS_DEFAULT, |text| {
        text.parse().expect("the argument is a number of requests")
    });
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    runtime.block_on(async {
        let upstream = upstream().await;
        let (trigger, drain) = rt::drain::channel();
        let edge = Edge::build(config(upstream)).expect("build");
        let edge_address = edge.address();
        let edge = tokio::spawn(edge.run(drain));
        let bare_address = bare(upstream);
        for round in 1..=3 {
            for (name, address) in [("bare-0", bare_address), ("edge-0", edge_address)] {
                load(address, requests / 10).await;
                let before = cpu(name);
                load(address, requests).await;
                let spent = cpu(name) - before;
                let each = spent.as_nanos() as f64 / 1e3 / requests as f64;
                println!("round {round}: {name} {each:.1} us of CPU per request");
            }
        }
        trigger.drain(Duration::from_secs(5)).await;
        edge.await.expect("no panic").expect("a clean end");
    });
}

fn config(upstream: SocketAddr) -> Config {
    let unit: UnitName = "rz01".parse().expect("a name");
    let assignment =
        Assignment { epoch: Epoch(1), state: ShardState::Serving { unit: unit.clone() } };
    let assignments = Shard::all().map(|shard| (shard, assignment.clone())).collect();
    let map = ShardMap { version: MapVersion(1), assignments, ..ShardMap::default() };
    let view = View { map, endpoints: BTreeMap::from([(unit.clone(), vec![upstream])]) };
    let (_, given) = watch::channel(Arc::new(view));
    let any = "127.0.0.1:0".parse().expect("an address");
    Config {
        listen: any,
        admin: any,
        threads: Some(1),
        place: Place {
            city: "east".parse().expect("a name"),
            center: "east-1".parse().expect("a name"),
            unit,
        },
        upstream: Upstream::Plain,
        source: Source::Given(given),
        snapshot: None,
        limits: Limits::default(),
    }
}

/// CPU that the thread called `name` has used.
fn cpu(name: &str) -> Duration {
    let tasks = fs::read_dir("/proc/self/task").expect("Linux' accounting");
    for task in tasks.flatten() {
        let comm = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        if comm.trim() == name {
            let text = fs::read_to_string(task.path().join("schedstat")).expect("schedstat");
            let ns = text.split_whitespace().next().and_then(|ns| ns.parse().ok());
            return Duration::from_nanos(ns.expect("nanoseconds"));
        }
    }
    panic!("no thread {name}");
}

async fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("accept");
            stream.set_nodelay(true).expect("an option");
            tokio::spawn(async move {
                let service = service_fn(|request: Request<Incoming>| async {
                    request.into_body().collect().await?;
                    Ok::<_, hyper::Error>(Response::new(Full::new(Bytes::from_static(
                        br#"{"id":"2088000420.k","status":"Committed"}"#,
                    ))))
                });
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    address
}

/// The least a relay can do with the same library: one upstream connection
/// per user connection, no routing, no checks.
fn bare(upstream: SocketAddr) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    listener.set_nonblocking(true).expect("an option");
    let address = listener.local_addr().expect("an address");
    let work = move || {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async move {
            let listener = TcpListener::from_std(listener).expect("non-blocking");
            loop {
                let (stream, _) = listener.accept().await.expect("accept");
                stream.set_nodelay(true).expect("an option");
                tokio::spawn(async move {
                    let sender = Arc::new(Mutex::new(connect(upstream).await));
                    let service = service_fn(move |request: Request<Incoming>| {
                        let sender = sender.clone();
                        async move {
                            let (head, body) = request.into_parts();
                            let body = Full::new(body.collect().await?.to_bytes());
                            let mut sender = sender.lock().await;
                            sender.ready().await?;
                            sender.send_request(Request::from_parts(head, body)).await
                        }
                    });
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
    };
    thread::Builder::new().name("bare-0".into()).spawn(work).expect("a thread");
    address
}

async fn connect(address: SocketAddr) -> SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(address).await.expect("connect");
    stream.set_nodelay(true).expect("an option");
    let (sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("handshake");
    tokio::spawn(connection);
    sender
}

async fn load(address: SocketAddr, requests: usize) {
    let users = (0..CONNECTIONS).map(|_| async move {
        let mut sender = connect(address).await;
        for _ in 0..requests / CONNECTIONS {
            let request = Request::post("/v1/payments")
                .header("host", "polis.test")
                .header("polis-uid", "2088000420")
                .header("idempotency-key", "k")
                .header("cookie", "zone_op=42")
                .body(Full::new(Bytes::from_static(BODY.as_bytes())))
                .expect("a request");
            sender.ready().await.expect("ready");
            let response = sender.send_request(request).await.expect("an answer");
            assert!(response.status().is_success(), "{}", response.status());
            response.into_body().collect().await.expect("a body");
        }
        Ok::<_, Infallible>(())
    });
    let tasks: Vec<_> = users.map(tokio::spawn).collect();
    for task in tasks {
        task.await.expect("no panic").expect("never fails");
    }
}
