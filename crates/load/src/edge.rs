//! The edges as the load sees them: keep-alive connections, and which edge to
//! leave alone for a while.

use std::{
    fmt,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rt::TaskKind;
use tokio::time::timeout;

use crate::{Error, TryFailure};

/// Answers to payments are a few hundred bytes, audits a few KiB.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// Idle connections kept to each edge, and for how long: shorter than edges
/// keep them, so that no payment is sent on one that is being closed.
const IDLE_MAX: usize = 256;
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);
/// Edges are asked all the time with a request that is no payment, as the load
/// balancer before them would, and passed over while they do not answer: one
/// that has gone silent costs only the payments that were on their way to it.
const PROBE_EVERY: Duration = Duration::from_millis(200);
const PROBE_LIMIT: Duration = Duration::from_millis(400);

/// `http://HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgeUrl(String);

pub(crate) struct Edges {
    urls: Vec<EdgeUrl>,
    /// By edge: whether it answered last, to a payment or to a probe.
    up: Arc<[AtomicBool]>,
    client: Client<HttpConnector, Full<Bytes>>,
}

pub(crate) struct Answer {
    pub status: u16,
    pub body: Bytes,
}

// === impl EdgeUrl ===

impl FromStr for EdgeUrl {
    type Err = Error;
    fn from_str(text: &str) -> Result<EdgeUrl, Error> {
        let trimmed = text.trim_end_matches('/');
        let uri: Option<http::Uri> = trimmed.parse().ok();
        let plain = uri.is_some_and(|uri| {
            uri.scheme_str() == Some("http") && uri.port().is_some() && uri.path().len() <= 1
        });
        if plain { Ok(EdgeUrl(trimmed.into())) } else { Err(Error::Edge(text.into())) }
    }
}

impl fmt::Display for EdgeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// === impl Edges ===

impl Edges {
    pub(crate) fn new(urls: Vec<EdgeUrl>) -> Edges {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(IDLE_MAX)
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build(connector);
        let up = urls.iter().map(|_| AtomicBool::new(true)).collect();
        let edges = Edges { urls, up, client };
        (0..edges.len()).for_each(|edge| edges.probe(edge));
        edges
    }

    /// The edge for try number `attempt` of something whose own edge is
    /// `first`: the next in turn that is up.
    pub(crate) fn choose(&self, first: usize, attempt: usize) -> usize {
        let count = self.urls.len();
        let mut turn = (0..count).map(|step| (first + attempt + step) % count);
        let usable = |edge: &usize| self.up[*edge].load(Ordering::Relaxed);
        turn.find(usable).unwrap_or((first + attempt) % count)
    }

    /// One request. A failure of transport makes the edge be passed over.
    pub(crate) async fn send(
        &self,
        edge: usize,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
        limit: Duration,
    ) -> Result<Answer, TryFailure> {
        let request = self.request(edge, method, path, headers, body);
        let exchange = async {
            let response = self.client.request(request).await.map_err(|error| {
                if error.is_connect() { TryFailure::NotConnected } else { TryFailure::Broken }
            })?;
            let status = response.status().as_u16();
            let body = body_of(response).await.ok_or(TryFailure::Broken)?;
            Ok(Answer { status, body })
        };
        let outcome = timeout(limit, exchange).await.unwrap_or(Err(TryFailure::TimedOut));
        if outcome.is_err() {
            self.up[edge].store(false, Ordering::Relaxed);
        }
        outcome
    }

    /// Asks until nobody sends any more. Any answer is a sign of life.
    fn probe(&self, edge: usize) {
        let (up, client) = (Arc::downgrade(&self.up), self.client.clone());
        let url = format!("{}/", self.urls[edge]);
        rt::spawn(TaskKind::Connection, "probe", async move {
            loop {
                tokio::time::sleep(PROBE_EVERY).await;
                let request = Request::get(&url).body(Full::new(Bytes::new()));
                let request = request.expect("the address of an edge was checked");
                let answer = timeout(PROBE_LIMIT, client.request(request)).await;
                let Some(up) = up.upgrade() else { return };
                up[edge].store(matches!(answer, Ok(Ok(_))), Ordering::Relaxed);
            }
        });
    }

    /// One request whose answer is read piece by piece.
    pub(crate) async fn open(
        &self,
        edge: usize,
        method: Method,
        path: &str,
    ) -> Result<Response<Incoming>, String> {
        let request = self.request(edge, method, path, &[], Bytes::new());
        self.client.request(request).await.map_err(|error| error.to_string())
    }

    fn request(
        &self,
        edge: usize,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Request<Full<Bytes>> {
        let mut request =
            Request::builder().method(method).uri(format!("{}{path}", self.urls[edge]));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Full::new(body)).expect("methods, paths and headers of ours are valid")
    }

    pub(crate) fn len(&self) -> usize {
        self.urls.len()
    }
}

/// A whole answer; none when it breaks off or is longer than any of ours.
pub(crate) async fn body_of(response: Response<Incoming>) -> Option<Bytes> {
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await.ok()?;
    Some(body.to_bytes())
}
