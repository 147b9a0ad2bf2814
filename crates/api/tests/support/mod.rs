//! A server without a socket: requests in, JSON out.
#![allow(dead_code, clippy::unwrap_used)]

pub mod memory;

use std::time::Duration;

use api::{Caller, Handler, Keyspaces};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use rt::{Drain, Trigger};
use serde_json::{Value, json};

/// Longer than any answer takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(120);

pub struct Server {
    pub handler: Handler,
    pub keyspaces: Keyspaces,
    drain: Drain,
    _trigger: Trigger,
}

pub struct Answer {
    pub code: StatusCode,
    pub headers: http::HeaderMap,
    pub text: String,
}

pub struct Frames {
    body: std::pin::Pin<Box<dyn http_body::Body<Data = Bytes, Error = std::convert::Infallible>>>,
    rest: Vec<u8>,
}

impl Server {
    pub fn start() -> Server {
        Server::over(memory::keyspaces())
    }

    pub fn over(keyspaces: Keyspaces) -> Server {
        let handler = Handler::new(keyspaces.clone(), None, rt::Pages::default());
        let (trigger, drain) = rt::drain::channel();
        Server { handler, keyspaces, drain, _trigger: trigger }
    }

    /// With the five units of the reference layout.
    pub async fn with_units() -> Server {
        let server = Server::start();
        for n in 1..=5 {
            server.post(UNITS, unit(&format!("rz0{n}"))).await.expect_code(201);
        }
        server
    }

    /// One plain cluster, as the operator set it.
    pub fn of_cluster(settings: &api::Settings) -> Server {
        let keyspaces = memory::keyspaces();
        let pages = rt::Pages::default();
        let handler = Handler::with(api::Door::Cluster, keyspaces.clone(), None, pages, settings);
        let (trigger, drain) = rt::drain::channel();
        let handler = handler.expect("the settings are whole");
        Server { handler, keyspaces, drain, _trigger: trigger }
    }

    /// With a bearer token.
    pub async fn send_with(&self, token: &str, method: &str, path: &str, body: Value) -> Answer {
        let header = ("authorization", &*format!("Bearer {token}"));
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send_as(&Caller::anonymous(), method, path, &[header], body).await
    }

    /// Another replica over the same store.
    pub fn replica(&self) -> Server {
        let handler = Handler::new(self.keyspaces.clone(), None, rt::Pages::default());
        let (trigger, drain) = rt::drain::channel();
        Server { handler, keyspaces: self.keyspaces.clone(), drain, _trigger: trigger }
    }

    pub async fn send_as(
        &self,
        caller: &Caller,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let response = self.raw(caller, method, path, headers, body.into()).await;
        let (parts, body) = response.into_parts();
        let bytes = tokio::time::timeout(DEADLINE, body.collect()).await;
        let bytes = bytes.expect("an answer in time").expect("a body").to_bytes();
        let text = String::from_utf8(bytes.to_vec()).expect("text");
        Answer { code: parts.status, headers: parts.headers, text }
    }

    /// With a body that comes as it likes.
    pub async fn send_slowly<B>(&self, caller: &Caller, path: &str, body: B) -> Answer
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let request = Request::builder().method("POST").uri(path).body(body).expect("a request");
        let answer = self.handler.handle(request, caller, &self.drain);
        let answer = tokio::time::timeout(DEADLINE, answer).await.expect("an answer in time");
        let (parts, body) = answer.into_parts();
        let bytes = body.collect().await.expect("a body").to_bytes();
        let text = String::from_utf8(bytes.to_vec()).expect("text");
        Answer { code: parts.status, headers: parts.headers, text }
    }

    pub async fn raw(
        &self,
        caller: &Caller,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> http::Response<api::Body> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).expect("a request");
        let answer = self.handler.handle(request, caller, &self.drain);
        tokio::time::timeout(DEADLINE, answer).await.expect("an answer in time")
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send_as(&admin(), "GET", path, &[], "").await
    }

    pub async fn table(&self, path: &str) -> Answer {
        let accept = ("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json");
        self.send_as(&admin(), "GET", path, &[accept], "").await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send_as(&admin(), "POST", path, &[], body.to_string()).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.send_as(&admin(), "PUT", path, &[], body.to_string()).await
    }

    pub async fn delete(&self, path: &str, body: Value) -> Answer {
        self.send_as(&admin(), "DELETE", path, &[], body.to_string()).await
    }

    pub async fn patch(&self, path: &str, kind: &str, body: Value) -> Answer {
        let media_type = match kind {
            "json" => "application/json-patch+json",
            "merge" => "application/merge-patch+json",
            "strategic" => "application/strategic-merge-patch+json",
            other => other,
        };
        let headers = [(header::CONTENT_TYPE.as_str(), media_type)];
        self.send_as(&admin(), "PATCH", path, &headers, body.to_string()).await
    }

    pub async fn watch(&self, path: &str) -> Frames {
        self.watch_with(path, &[]).await
    }

    pub async fn watch_with(&self, path: &str, headers: &[(&str, &str)]) -> Frames {
        let response = self.raw(&admin(), "GET", path, headers, Bytes::new()).await;
        assert_eq!(response.status(), 200, "{path}");
        Frames { body: Box::pin(response.into_body()), rest: Vec::new() }
    }
}

impl Frames {
    /// The next frame; none when the stream has ended.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).expect("a frame is JSON"));
            }
            let frame = tokio::time::timeout(DEADLINE, self.body.frame()).await;
            let frame = frame.expect("a frame in time")?.expect("infallible");
            self.rest.extend_from_slice(&frame.into_data().expect("data"));
        }
    }

    /// `TYPE NAME` of the next frame.
    pub async fn event(&mut self) -> String {
        let frame = self.next().await.expect("a frame");
        let name = frame["object"]["metadata"]["name"].as_str().unwrap_or("-");
        format!("{} {name}", frame["type"].as_str().expect("a type"))
    }
}

impl Answer {
    #[track_caller]
    pub fn expect_code(self, code: u16) -> Answer {
        assert_eq!(self.code, code, "{}", self.text);
        self
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).expect("JSON")
    }

    /// `CODE REASON MESSAGE`
    #[track_caller]
    pub fn refusal(&self) -> String {
        let status = self.json();
        assert_eq!(status["kind"], "Status", "{}", self.text);
        let text = |field: &str| status[field].as_str().unwrap_or_default().to_owned();
        format!("{} {}: {}", self.code.as_u16(), text("reason"), text("message"))
    }

    #[track_caller]
    pub fn version(&self) -> String {
        self.json()["metadata"]["resourceVersion"].as_str().expect("a version").to_owned()
    }

    #[track_caller]
    pub fn names(&self) -> Vec<String> {
        let list = self.json();
        let items = list["items"].as_array().expect("a list").clone();
        items.iter().map(|i| i["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    }
}

pub fn admin() -> Caller {
    Caller::user("admin", ["system:masters".to_owned()])
}

pub fn process(unit: &str, account: &str) -> Caller {
    let id = format!("spiffe://polis.local/unit/{unit}/ns/polis-system/sa/{account}");
    Caller::process(&id.parse().expect("an id"))
}

pub const UNITS: &str = "/apis/polis.dev/v1alpha1/units";
pub const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
pub const PODS: &str = "/units/rz01/api/v1/namespaces/default/pods";

pub fn unit(name: &str) -> Value {
    json!({
        "apiVersion": "polis.dev/v1alpha1",
        "kind": "Unit",
        "metadata": {"name": name},
        "spec": {"kind": "RZone", "center": "east-1", "ports": {"first": 9000, "last": 9099}},
    })
}

pub fn config_map(name: &str, labels: Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "labels": labels},
        "data": {"a": "1"},
    })
}

pub fn pod(name: &str, node: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "ledger"}},
        "spec": {"nodeName": node, "containers": [{"name": "main", "command": ["true"]}]},
    })
}
