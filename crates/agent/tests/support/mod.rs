//! A small API server for tests: objects by path, merge patches, watches,
//! graceful deletion of Pods. It speaks TLS and HTTP/2, as the real one does.

pub mod world;

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::broadcast, task::JoinSet};
use tokio_rustls::TlsAcceptor;

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

#[derive(Clone)]
pub struct Api {
    pub address: SocketAddr,
    state: Arc<State>,
    serving: Arc<tokio::task::AbortHandle>,
}

struct State {
    objects: Mutex<Objects>,
    changes: broadcast::Sender<(String, Value)>,
    /// One request at a time reads and writes.
    turn: Mutex<()>,
}

#[derive(Default)]
struct Objects {
    version: u64,
    by_path: BTreeMap<String, Value>,
}

impl Api {
    pub async fn start(tls: Arc<rustls::ServerConfig>) -> Api {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address");
        let state = Arc::new(State {
            objects: Mutex::default(),
            changes: broadcast::channel(1024).0,
            turn: Mutex::default(),
        });
        let serving = tokio::spawn(serve(listener, tls, state.clone())).abort_handle().into();
        Api { address, state, serving }
    }

    /// As if the process were killed.
    pub fn kill(&self) {
        self.serving.abort();
    }

    pub fn get(&self, path: &str) -> Option<Value> {
        self.state.objects.lock().expect("lock").by_path.get(path).cloned()
    }

    pub fn under(&self, prefix: &str) -> Vec<Value> {
        let objects = self.state.objects.lock().expect("lock");
        let under = objects.by_path.iter().filter(|(path, _)| path.starts_with(prefix));
        under.map(|(_, object)| object.clone()).collect()
    }

    pub fn put(&self, path: &str, object: Value) {
        self.state.put(path, object);
    }

    pub fn remove(&self, path: &str) {
        self.state.remove(path);
    }

    /// Waits until the object at `path` is as wanted; shows it otherwise.
    pub async fn wait(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.wait_for(path, |object| object.is_some_and(&wanted)).await.expect("it was there")
    }

    pub async fn wait_gone(&self, path: &str) {
        self.wait_for(path, |object| object.is_none()).await;
    }

    async fn wait_for(&self, path: &str, wanted: impl Fn(Option<&Value>) -> bool) -> Option<Value> {
        let mut changes = self.state.changes.subscribe();
        let found = async {
            loop {
                let object = self.get(path);
                if wanted(object.as_ref()) {
                    return object;
                }
                let _ = changes.recv().await;
            }
        };
        match tokio::time::timeout(world::PATIENCE, found).await {
            Ok(object) => object,
            Err(_) => panic!("{path} is not as wanted: {:#?}", self.get(path)),
        }
    }
}

impl State {
    fn put(&self, path: &str, mut object: Value) -> Value {
        let mut objects = self.objects.lock().expect("lock");
        objects.version += 1;
        object["metadata"]["resourceVersion"] = objects.version.to_string().into();
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = format!("uid-{}", objects.version).into();
        }
        let kind = if objects.by_path.contains_key(path) { "MODIFIED" } else { "ADDED" };
        objects.by_path.insert(path.into(), object.clone());
        let event = json!({ "type": kind, "object": object.clone() });
        let _ = self.changes.send((path.into(), event));
        object
    }

    fn remove(&self, path: &str) {
        let mut objects = self.objects.lock().expect("lock");
        if let Some(mut object) = objects.by_path.remove(path) {
            objects.version += 1;
            object["metadata"]["resourceVersion"] = objects.version.to_string().into();
            let event = json!({ "type": "DELETED", "object": object });
            let _ = self.changes.send((path.into(), event));
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let path = request.uri().path().trim_end_matches("/status").to_owned();
        let query = request.uri().query().unwrap_or_default().to_owned();
        let method = request.method().clone();
        let body = request.into_body().collect().await.map(|body| body.to_bytes());
        // A request that was given up half way changes nothing.
        let Ok(body) = body else { return failure(400, "BadRequest") };
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let _turn = self.turn.lock().expect("lock");
        let existing = self.objects.lock().expect("lock").by_path.get(&path).cloned();
        match (method, existing) {
            (Method::GET, _) if query.contains("watch=1") => self.watch(&path, &query),
            (Method::GET, Some(object)) => whole(200, &object),
            (Method::GET, None) if path.rsplit('/').next().is_some_and(|last| last == "pods") => {
                self.list(&path)
            }
            (Method::POST, _) => {
                let name = body["metadata"]["name"].as_str().expect("a name");
                let path = format!("{path}/{name}");
                if self.objects.lock().expect("lock").by_path.contains_key(&path) {
                    return failure(409, "AlreadyExists");
                }
                whole(201, &self.put(&path, body))
            }
            (_, None) => failure(404, "NotFound"),
            (Method::PATCH, Some(mut object)) => {
                let uid = &body["metadata"]["uid"];
                if !uid.is_null() && *uid != object["metadata"]["uid"] {
                    return failure(409, "Conflict");
                }
                merge(&mut object, &body);
                whole(200, &self.put(&path, object))
            }
            (Method::DELETE, Some(object)) => {
                assert_eq!(body["gracePeriodSeconds"], 0, "the agent deletes for good");
                assert_eq!(body["preconditions"]["uid"], object["metadata"]["uid"]);
                self.remove(&path);
                whole(200, &object)
            }
            (method, _) => panic!("{method} {path}"),
        }
    }

    fn list(&self, path: &str) -> Answer {
        let objects = self.objects.lock().expect("lock");
        let items: Vec<_> =
            objects.by_path.iter().filter(|(key, _)| is_pod_of(key, path)).collect();
        let items: Vec<_> = items.into_iter().map(|(_, object)| object).collect();
        let version = objects.version.to_string();
        whole(200, &json!({ "metadata": { "resourceVersion": version }, "items": items }))
    }

    fn watch(&self, path: &str, query: &str) -> Answer {
        let since = query.split('&').find_map(|pair| pair.strip_prefix("resourceVersion="));
        let since: u64 = since.and_then(|since| since.parse().ok()).expect("a version");
        let changes = self.changes.subscribe();
        // What changed between the list and the watch: told again in full.
        let objects = self.objects.lock().expect("lock");
        let version = |object: &Value| {
            object["metadata"]["resourceVersion"].as_str().and_then(|version| version.parse().ok())
        };
        let missed: Vec<_> = objects
            .by_path
            .iter()
            .filter(|(key, object)| {
                is_pod_of(key, path) && version(object).is_some_and(|version: u64| version > since)
            })
            .map(|(_, object)| json!({ "type": "MODIFIED", "object": object }))
            .collect();
        let path = path.to_owned();
        let live = stream::unfold((changes, path), |(mut changes, path)| async move {
            loop {
                let (key, event) = changes.recv().await.ok()?;
                if is_pod_of(&key, &path) {
                    return Some((event, (changes, path)));
                }
            }
        });
        let frames = stream::iter(missed)
            .chain(live)
            .map(|event| Ok::<_, Infallible>(Frame::data(Bytes::from(format!("{event}\n")))));
        Response::new(StreamBody::new(frames).boxed_unsync())
    }
}

fn is_pod_of(key: &str, path: &str) -> bool {
    let root = path.strip_suffix("/pods").expect("only Pods are listed");
    key.starts_with(root) && key.contains("/pods/")
}

/// RFC 7396.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (name, value) in patch {
        if value.is_null() {
            target.as_object_mut().expect("an object").remove(name);
        } else {
            merge(&mut target[name], value);
        }
    }
}

fn whole(status: u16, value: &Value) -> Answer {
    let body = Full::new(Bytes::from(value.to_string())).boxed_unsync();
    let answer = Response::builder().status(status).header("content-type", "application/json");
    answer.body(body).expect("an answer")
}

fn failure(code: u16, reason: &str) -> Answer {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
        "reason": reason, "message": reason,
    });
    whole(code, &status)
}

async fn serve(listener: TcpListener, tls: Arc<rustls::ServerConfig>, state: Arc<State>) {
    let tls = TlsAcceptor::from(tls);
    // Dropped with this task, so that a killed API takes its connections along.
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("accept");
        let (tls, state) = (tls.clone(), state.clone());
        connections.spawn(async move {
            let Ok(stream) = tls.accept(stream).await else { return };
            let service = service_fn(|request| {
                let state = state.clone();
                async move { Ok::<_, Infallible>(state.answer(request).await) }
            });
            let builder = auto::Builder::new(TokioExecutor::new());
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
