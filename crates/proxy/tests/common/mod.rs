//! A real edge on loopback before scripted ledgers, with a map made by hand.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{body::Incoming, client::conn::http1::SendRequest, service::service_fn};
use hyper_util::rt::TokioIo;
use proxy::{Config, Edge, Limits, Place, Source, Upstream, View};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};
use topology::{Assignment, Epoch, MapVersion, Shard, ShardMap, ShardState, UnitName};

/// Long enough for a loaded machine, short enough to fail a test run.
const PATIENCE: Duration = Duration::from_secs(60);

pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("this should not take so long")
}

// === Ledger ===

/// A request as a ledger saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub headers: HeaderMap,
    pub body: String,
}

/// What a ledger does with it.
pub enum Act {
    Answer(u16, Vec<(&'static str, String)>, String),
    /// Pieces as they come.
    Stream(mpsc::UnboundedReceiver<Bytes>),
    /// Answers when told to.
    After(oneshot::Receiver<()>, &'static str),
    /// Accepts and never answers, as when paused.
    Silent,
    /// Breaks the connection without an answer.
    Break,
}

type Script = Arc<dyn Fn(&Seen) -> Act + Send + Sync>;

pub struct Ledger {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

pub fn ok(body: &str) -> Act {
    Act::Answer(201, Vec::new(), body.into())
}

pub fn fenced(shard: u16, unit: &str, epoch: u64) -> Act {
    let fence = format!("{shard:02}; unit={unit}; epoch={epoch}; hop=1");
    Act::Answer(421, vec![("polis-fence", fence)], "{}".into())
}

impl Ledger {
    pub async fn start(script: impl Fn(&Seen) -> Act + Send + Sync + 'static) -> Ledger {
        Ledger::start_on(TcpListener::bind("127.0.0.1:0").await.expect("bind"), script)
    }

    pub fn start_on(
        listener: TcpListener,
        script: impl Fn(&Seen) -> Act + Send + Sync + 'static,
    ) -> Ledger {
        let address = listener.local_addr().expect("an address");
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let script: Script = Arc::new(script);
        let kept = seen.clone();
        let task = tokio::spawn(async move {
            // Connections end with the ledger, as with a process.
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.expect("accept");
                let (script, seen) = (script.clone(), kept.clone());
                connections.spawn(async move {
                    let service =
                        service_fn(move |request| act(script.clone(), seen.clone(), request));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Ledger { address, seen, task }
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no panic").clone()
    }

    /// Waits until this many requests have arrived.
    pub async fn has_seen(&self, count: usize) -> Vec<Seen> {
        until(|| async { (self.seen().len() >= count).then(|| self.seen()) }).await
    }

    /// As if killed: connections break, the port refuses.
    pub async fn kill(self) -> SocketAddr {
        self.task.abort();
        let _ = self.task.await;
        self.address
    }
}

async fn act(
    script: Script,
    kept: Arc<Mutex<Vec<Seen>>>,
    request: Request<Incoming>,
) -> Result<Response<BoxBody<Bytes, Infallible>>, &'static str> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| "the request broke off")?.to_bytes();
    let seen = Seen {
        method: head.method.to_string(),
        path: head.uri.to_string(),
        headers: head.headers,
        body: String::from_utf8_lossy(&body).into(),
    };
    let what = script(&seen);
    kept.lock().expect("no panic").push(seen);
    match what {
        Act::Answer(status, headers, body) => {
            let mut response = Response::new(Full::new(Bytes::from(body)).boxed());
            *response.status_mut() = StatusCode::from_u16(status).expect("a status");
            for (name, value) in headers {
                response.headers_mut().insert(name, value.parse().expect("a value"));
            }
            Ok(response)
        }
        Act::Stream(pieces) => {
            let frames = stream::unfold(pieces, |mut pieces| async move {
                let piece = pieces.recv().await?;
                Some((Ok(Frame::data(piece)), pieces))
            });
            Ok(Response::new(BodyExt::boxed(StreamBody::new(frames))))
        }
        Act::After(told, body) => {
            told.await.map_err(|_| "never told")?;
            Ok(Response::new(Full::new(Bytes::from_static(body.as_bytes())).boxed()))
        }
        Act::Silent => std::future::pending().await,
        Act::Break => Err("broken on purpose"),
    }
}

// === World ===

pub fn shard(number: u16) -> Shard {
    Shard::new(number).expect("a shard")
}

pub fn unit(name: &str) -> UnitName {
    name.parse().expect("a name")
}

pub fn serving(name: &str, epoch: u64) -> Assignment {
    Assignment { epoch: Epoch(epoch), state: ShardState::Serving { unit: unit(name) } }
}

pub fn moving(from: Option<&str>, to: &str, epoch: u64) -> Assignment {
    let state = ShardState::Moving { from: from.map(unit), to: unit(to) };
    Assignment { epoch: Epoch(epoch), state }
}

/// The view that tests change; every change is one map version.
pub struct World {
    views: watch::Sender<Arc<View>>,
}

impl World {
    pub fn new(assignment: Assignment, endpoints: &[(&str, SocketAddr)]) -> World {
        let endpoints = endpoints.iter().map(|(name, address)| (unit(name), vec![*address]));
        let assignments = Shard::all().map(|shard| (shard, assignment.clone())).collect();
        let map = ShardMap { version: MapVersion(1), assignments, ..ShardMap::default() };
        let (views, _) = watch::channel(Arc::new(View { map, endpoints: endpoints.collect() }));
        World { views }
    }

    pub fn change(&self, change: impl FnOnce(&mut View)) {
        let mut view = (**self.views.borrow()).clone();
        change(&mut view);
        view.map.version.0 += 1;
        self.views.send_replace(Arc::new(view));
    }

    pub fn assign(&self, number: u16, assignment: Assignment) {
        self.change(|view| {
            view.map.assignments.insert(shard(number), assignment);
        });
    }

    pub fn source(&self) -> watch::Receiver<Arc<View>> {
        self.views.subscribe()
    }
}

// === Running edge ===

pub struct Running {
    pub address: SocketAddr,
    pub admin: SocketAddr,
    pub drain: rt::Trigger,
    pub task: JoinHandle<Result<(), proxy::Error>>,
}

/// Small enough that a test reaches every bound in no time; and nobody is late
/// who is not meant to be, however slow the machine is.
pub fn limits() -> Limits {
    Limits {
        deadline_default: Duration::from_secs(30),
        retry_first: Duration::from_millis(5),
        retry_max: Duration::from_millis(10),
        ..Limits::default()
    }
}

pub fn config(world: &World, limits: Limits) -> Config {
    let any = "127.0.0.1:0".parse().expect("an address");
    Config {
        listen: any,
        admin: any,
        threads: Some(1),
        place: Place {
            city: "east".parse().expect("a name"),
            center: "east-1".parse().expect("a name"),
            unit: unit("rz01"),
        },
        upstream: Upstream::Plain,
        source: Source::Given(world.source()),
        snapshot: None,
        limits,
    }
}

pub fn run(config: Config) -> Running {
    let edge = Edge::build(config).expect("build");
    let (address, admin) = (edge.address(), edge.admin_address());
    let (trigger, drain) = rt::drain::channel();
    let task = tokio::spawn(edge.run(drain));
    Running { address, admin, drain: trigger, task }
}

pub fn edge(world: &World) -> Running {
    run(config(world, limits()))
}

impl Running {
    /// The value of a metric, labels included in `name`.
    pub async fn metric(&self, name: &str) -> u64 {
        let page = get(self.admin, "/metrics").await.body;
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0, |value| value.parse().expect("a number"))
    }

    pub async fn metric_is(&self, name: &str, expected: u64) {
        until(|| async { (self.metric(name).await == expected).then_some(()) }).await;
    }

    pub async fn stop(self) {
        let Running { drain, task, .. } = self;
        drop(drain);
        within(task).await.expect("no panic").expect("a clean end");
    }
}

/// Asks again until there is an answer.
pub async fn until<T, F: Future<Output = Option<T>>>(mut ask: impl FnMut() -> F) -> T {
    within(async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
}

// === User ===

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("text"))
    }

    /// The code of an error body.
    pub fn code(&self) -> String {
        let body: serde_json::Value = serde_json::from_str(&self.body).expect("an error body");
        assert!(!body["error"]["remedy"].as_str().expect("a remedy").is_empty());
        body["error"]["code"].as_str().expect("a code").to_owned()
    }
}

pub async fn connect(address: SocketAddr) -> SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(address).await.expect("connect");
    let (sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("handshake");
    tokio::spawn(connection);
    sender
}

/// `POST /path name=value …` with a body.
pub fn request(text: &str, body: &str) -> Request<Full<Bytes>> {
    let mut parts = text.split_whitespace();
    let mut request = Request::builder()
        .method(parts.next().expect("a method"))
        .uri(parts.next().expect("a path"))
        .header("host", "polis.test");
    for header in parts {
        let (name, value) = header.split_once('=').expect("name=value");
        request = request.header(name, value);
    }
    request.body(Full::new(Bytes::from(body.to_owned()))).expect("a request")
}

pub async fn send(address: SocketAddr, text: &str, body: &str) -> Answer {
    let mut sender = connect(address).await;
    let response = within(sender.send_request(request(text, body))).await.expect("an answer");
    read(response).await
}

pub async fn read(response: Response<Incoming>) -> Answer {
    let (head, body) = response.into_parts();
    let body = within(body.collect()).await.expect("a whole body").to_bytes();
    let body = String::from_utf8_lossy(&body).into();
    Answer { status: head.status.as_u16(), headers: head.headers, body }
}

pub async fn get(address: SocketAddr, path: &str) -> Answer {
    send(address, &format!("GET {path}"), "").await
}

/// A payment of a user of shard 42, safe to repeat.
pub const PAY: &str = "POST /v1/payments polis-uid=2088000420 idempotency-key=k1";
/// The same without a key.
pub const PAY_ONCE: &str = "POST /v1/payments polis-uid=2088000420";
