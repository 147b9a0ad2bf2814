//! The edge follows the API: map, units and pods by watch, and a direct read
//! of the map when a fence is ahead of the watch.

mod common;

use std::{
    convert::Infallible,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use common::*;
use futures::{StreamExt, stream};
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use identity::{Authority, ClientAuth, Credentials, Expected, Files, Leaf, ServerCheck, SpiffeId};
use proxy::{Config, Source};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch};
use tokio_rustls::TlsAcceptor;

const MAPS: &str = "/apis/polis.dev/v1alpha1/shardmaps";
const MAP: &str = "/apis/polis.dev/v1alpha1/shardmaps/main";
const UNITS: &str = "/apis/polis.dev/v1alpha1/units";

/// Collections by path, and single objects by theirs. Every change of a
/// collection is sent to its watchers as modifications of all its objects.
struct Api {
    address: SocketAddr,
    collections: watch::Sender<Vec<(String, Vec<Value>)>>,
    direct_map: watch::Sender<Option<Value>>,
    direct_reads: Arc<AtomicUsize>,
    credentials: Credentials,
    folder: PathBuf,
}

fn pods_path(unit: &str) -> String {
    format!("/units/{unit}/api/v1/namespaces/payments/pods")
}

fn map_object(version: u64, unit: &str, epoch: u64) -> Value {
    json!({
        "apiVersion": "polis.dev/v1alpha1", "kind": "ShardMap",
        "metadata": {"name": "main", "resourceVersion": version.to_string()},
        "spec": {"homes": []},
        "status": {"version": version, "ranges": [
            {"shards": "00-99", "epoch": epoch, "state": "Serving", "unit": unit},
        ]},
    })
}

fn unit_object(name: &str) -> Value {
    json!({
        "apiVersion": "polis.dev/v1alpha1", "kind": "Unit",
        "metadata": {"name": name, "resourceVersion": "1"},
        "spec": {"kind": "RZone", "center": "east-1", "ports": {"first": 1, "last": 9}},
    })
}

fn pod(port: u16, ready: bool) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "ledger-0", "namespace": "payments",
            "resourceVersion": "1", "labels": {"app": "ledger"},
        },
        "spec": {"containers": [
            {"name": "ledger", "ports": [{"name": "https", "containerPort": port}]},
        ]},
        "status": {
            "podIP": "127.0.0.1",
            "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}],
        },
    })
}

// === impl Api ===

impl Api {
    async fn start(name: &str) -> Api {
        let folder =
            std::env::temp_dir().join(format!("polis-proxy-{name}-{}", std::process::id()));
        let credentials = credentials(&folder);
        let config = identity::server_config(&credentials, ClientAuth::Required, &[b"h2"])
            .expect("server config");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("an address");
        let (collections, _) = watch::channel(Vec::new());
        let (direct_map, _) = watch::channel(None);
        let direct_reads = Arc::new(AtomicUsize::new(0));
        let state = (collections.clone(), direct_map.clone(), direct_reads.clone());
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("accept");
                let (acceptor, state) = (TlsAcceptor::from(config.clone()), state.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(move |request| {
                        let response = answer(&state, &request);
                        async { Ok::<_, Infallible>(response) }
                    });
                    let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Api { address, collections, direct_map, direct_reads, credentials, folder }
    }

    fn set(&self, path: impl Into<String>, objects: Vec<Value>) {
        let path = path.into();
        self.collections.send_modify(|collections| {
            collections.retain(|(known, _)| *known != path);
            collections.push((path, objects));
        });
    }

    fn edge_config(&self, snapshot: &Path) -> Config {
        let check = ServerCheck::Spiffe(Expected::service("polis.test", "polis-system", "api"));
        let tls =
            identity::client_config(&self.credentials, check, &[b"h2"]).expect("client config");
        let world = World::new(serving("rz01", 1), &[]);
        let mut config = config(&world, limits());
        config.source = Source::Api(client::Config::new(vec![self.address.to_string()], tls));
        config.snapshot = Some(snapshot.into());
        config
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn credentials(folder: &Path) -> Credentials {
    let spiffe = SpiffeId {
        trust_domain: "polis.test".into(),
        unit: "rz01".into(),
        namespace: "polis-system".into(),
        service_account: "api".into(),
    };
    let leaf = Leaf {
        spiffe: Some(spiffe),
        common_name: "api".into(),
        lifetime: Duration::from_secs(3600),
        ..Leaf::default()
    };
    let files = Files::in_dir(folder, "api");
    let root = Authority::root("root").expect("root");
    root.issue(&leaf).expect("issue").save(&files).expect("save");
    Credentials::load(&files).expect("load")
}

type State =
    (watch::Sender<Vec<(String, Vec<Value>)>>, watch::Sender<Option<Value>>, Arc<AtomicUsize>);

fn answer(
    state: &State,
    request: &Request<Incoming>,
) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
    let (collections, direct_map, direct_reads) = state;
    let path = request.uri().path().to_owned();
    if path == MAP {
        direct_reads.fetch_add(1, Ordering::SeqCst);
        let mut maps = direct_map.subscribe();
        // While there is none, the reader waits.
        let object = stream::once(async move {
            let map = maps.wait_for(Option::is_some).await.expect("the test goes on").clone();
            Ok(Frame::data(Bytes::from(map.expect("waited for").to_string())))
        });
        return Response::new(BodyExt::boxed_unsync(StreamBody::new(object)));
    }
    let of_path = move |collections: &Vec<(String, Vec<Value>)>| {
        collections.iter().find(|(known, _)| *known == path).map(|(_, objects)| objects.clone())
    };
    if !request.uri().query().unwrap_or_default().contains("watch=1") {
        let items = of_path(&collections.borrow()).unwrap_or_default();
        let list = json!({"metadata": {"resourceVersion": "1"}, "items": items});
        return json_response(StatusCode::OK, &list);
    }
    let mut changes = collections.subscribe();
    changes.mark_changed();
    let events = stream::unfold(changes, move |mut changes| {
        let of_path = of_path.clone();
        async move {
            changes.changed().await.ok()?;
            let objects = of_path(&changes.borrow_and_update()).unwrap_or_default();
            let lines: String = objects
                .iter()
                .map(|object| format!("{}\n", json!({"type": "MODIFIED", "object": object})))
                .collect();
            Some((Bytes::from(lines), changes))
        }
    });
    let frames = events.map(|lines| Ok(Frame::data(lines)));
    Response::new(BodyExt::boxed_unsync(StreamBody::new(frames)))
}

fn json_response(status: StatusCode, value: &Value) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
    let mut response = Response::new(Full::new(Bytes::from(value.to_string())).boxed_unsync());
    *response.status_mut() = status;
    response
}

#[tokio::test]
async fn the_edge_follows_units_pods_and_the_map_and_keeps_what_it_saw() {
    let first = Ledger::start(|_| ok("first")).await;
    let second = Ledger::start(|_| ok("second")).await;
    let api = Api::start("follow").await;
    let snapshot = api.folder.join("map.json");
    let edge = run(api.edge_config(&snapshot));
    let address = edge.address;
    let waiting = tokio::spawn(async move { send(address, PAY, "{}").await });
    edge.metric_is("polis_edge_hold_requests", 1).await;
    api.set(MAPS, vec![map_object(1, "rz01", 1)]);
    api.set(UNITS, vec![unit_object("rz01"), unit_object("rz02")]);
    api.set(pods_path("rz01"), vec![pod(first.address.port(), false)]);
    edge.metric_is("polis_edge_table_version", 1).await;
    api.set(pods_path("rz01"), vec![pod(first.address.port(), true)]);
    assert_eq!(within(waiting).await.expect("no panic").body, "first");

    api.set(pods_path("rz02"), vec![pod(second.address.port(), true)]);
    // Whoever moves the shard is told once every thread routes by it.
    let admin = edge.admin;
    let asked = tokio::spawn(async move { get(admin, "/map/version?atLeast=2").await.body });
    api.set(MAPS, vec![map_object(2, "rz02", 2)]);
    let told: Value = serde_json::from_str(&within(asked).await.expect("no panic")).expect("json");
    assert_eq!(told["version"], 2);
    edge.metric_is("polis_edge_table_version", 2).await;
    assert_eq!(send(edge.address, PAY, "{}").await.body, "second");

    // An older map from a replica that lags changes nothing.
    api.set(MAPS, vec![map_object(1, "rz01", 1)]);
    api.set(pods_path("rz01"), vec![pod(first.address.port(), false)]);
    until(|| async {
        let map: Value = serde_json::from_str(&get(edge.admin, "/map").await.body).expect("json");
        map["endpoints"]["rz01"].as_array().is_some_and(Vec::is_empty).then_some(())
    })
    .await;
    assert_eq!(send(edge.address, PAY, "{}").await.body, "second");
    edge.stop().await;
    let kept: Value =
        serde_json::from_slice(&std::fs::read(&snapshot).expect("a snapshot")).expect("json");
    assert_eq!(kept["map"]["version"], 2);
}

#[tokio::test]
async fn a_fence_that_is_ahead_of_the_watch_makes_the_edge_read_the_map() {
    let old = Ledger::start(|_| fenced(42, "rz02", 2)).await;
    let new = Ledger::start(|_| ok("new")).await;
    let api = Api::start("refresh").await;
    api.set(MAPS, vec![map_object(1, "rz01", 1)]);
    api.set(UNITS, vec![unit_object("rz01"), unit_object("rz02")]);
    api.set(pods_path("rz01"), vec![pod(old.address.port(), true)]);
    api.set(pods_path("rz02"), vec![pod(new.address.port(), true)]);
    // The watch never says so; only a read does.
    api.direct_map.send_replace(Some(map_object(2, "rz02", 2)));
    let edge = run(api.edge_config(&api.folder.join("map.json")));
    let sends = (0..20).map(|_| send(edge.address, PAY_ONCE, "{}"));
    for answer in futures::future::join_all(sends).await {
        assert_eq!(answer.body, "new");
    }
    let reads = api.direct_reads.load(Ordering::SeqCst);
    // One is enough for all; those who are told late ask for another.
    assert!((1..=10).contains(&reads), "many refusals are few reads, not {reads}");
    edge.stop().await;
}

#[tokio::test]
async fn a_read_that_hangs_does_not_keep_back_what_the_watch_brings() {
    let old = Ledger::start(|_| fenced(42, "rz02", 2)).await;
    let new = Ledger::start(|_| ok("new")).await;
    let api = Api::start("hang").await;
    api.set(MAPS, vec![map_object(1, "rz01", 1)]);
    api.set(UNITS, vec![unit_object("rz01"), unit_object("rz02")]);
    api.set(pods_path("rz01"), vec![pod(old.address.port(), true)]);
    api.set(pods_path("rz02"), vec![pod(new.address.port(), true)]);
    let edge = run(api.edge_config(&api.folder.join("map.json")));
    edge.metric_is("polis_edge_table_version", 1).await;
    let address = edge.address;
    // Shorter than the client's patience with the read.
    let text = format!("{PAY_ONCE} polis-deadline-ms=8000");
    let answer = tokio::spawn(async move { send(address, &text, "{}").await });
    until(|| async { (api.direct_reads.load(Ordering::SeqCst) == 1).then_some(()) }).await;
    api.set(MAPS, vec![map_object(2, "rz02", 2)]);
    assert_eq!(within(answer).await.expect("no panic").body, "new");
    assert_eq!(api.direct_reads.load(Ordering::SeqCst), 1);
    edge.stop().await;
}

#[tokio::test]
async fn a_map_that_was_read_is_used_at_once_and_only_the_next_read_waits() {
    const GAP: Duration = Duration::from_millis(50);
    let fence = Arc::new(AtomicU64::new(1));
    let known = fence.clone();
    let ledger = Ledger::start(move |seen| {
        let epoch = known.load(Ordering::SeqCst);
        let current = format!("42; unit=rz01; epoch={epoch}; hop=1");
        if seen.headers["polis-shard"] == current { ok("mine") } else { fenced(42, "rz01", epoch) }
    })
    .await;
    let api = Api::start("at-once").await;
    api.set(MAPS, vec![map_object(1, "rz01", 1)]);
    api.set(UNITS, vec![unit_object("rz01")]);
    api.set(pods_path("rz01"), vec![pod(ledger.address.port(), true)]);
    let edge = run(api.edge_config(&api.folder.join("map.json")));
    assert_eq!(send(edge.address, PAY_ONCE, "{}").await.body, "mine");
    // The machine may be slow sometimes, a gap is long every time: at last one
    // is faster than that.
    within(async {
        for epoch in 2_u64.. {
            // The gap after the last read is over.
            tokio::time::sleep(2 * GAP).await;
            api.direct_map.send_replace(Some(map_object(epoch, "rz01", epoch)));
            fence.store(epoch, Ordering::SeqCst);
            let since = tokio::time::Instant::now();
            assert_eq!(send(edge.address, PAY_ONCE, "{}").await.body, "mine");
            if since.elapsed() < GAP {
                break;
            }
        }
    })
    .await;
    edge.stop().await;
}
