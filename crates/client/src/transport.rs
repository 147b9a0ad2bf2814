//! One logical connection to several API replicas: requests go to the one that
//! answered last, and to the next when it fails.
//!
//! Only what certainly changed nothing is sent twice: a request that could not
//! connect, or a read. A write whose connection broke is the caller's to judge.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, Uri, uri::Authority};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::Client as HttpClient,
    rt::{TokioExecutor, TokioTimer},
};
use kube::client::Body;
use tower_service::Service;

use crate::{Config, ConfigError, connector::Connector};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A replica that was stopped (not killed) keeps its sockets open; only pings
/// tell. With the timeout, a silent replica is left within 8 seconds.
const PING_INTERVAL: Duration = Duration::from_secs(5);
const PING_TIMEOUT: Duration = Duration::from_secs(3);

/// What one slow watch may buffer, and all of them on a connection.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;

#[derive(Clone)]
pub struct Transport {
    http: HttpClient<Connector, Full<Bytes>>,
    replicas: Arc<Replicas>,
}

struct Replicas {
    authorities: Vec<Authority>,
    current: AtomicUsize,
}

// === impl Transport ===

impl Transport {
    pub fn new(config: &Config) -> Result<Transport, ConfigError> {
        let parse = |address: &String| {
            let authority = address.parse::<Authority>().ok();
            authority
                .filter(|authority| authority.port_u16().is_some())
                .ok_or_else(|| ConfigError::Address(address.clone()))
        };
        let authorities: Vec<_> = config.addresses.iter().map(parse).collect::<Result<_, _>>()?;
        if authorities.is_empty() {
            return Err(ConfigError::NoAddress);
        }
        let http = HttpClient::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .http2_keep_alive_interval(PING_INTERVAL)
            .http2_keep_alive_timeout(PING_TIMEOUT)
            .http2_initial_stream_window_size(STREAM_WINDOW_BYTES)
            .http2_initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .build(Connector::new(&config.tls));
        let replicas = Arc::new(Replicas { authorities, current: AtomicUsize::new(0) });
        Ok(Transport { http, replicas })
    }

    async fn send(self, request: Request<Body>) -> Result<Response<Incoming>, BoxError> {
        let (parts, body) = request.into_parts();
        let body = body.collect_bytes().await?;
        let mut failures = 0;
        loop {
            let (index, authority) = self.replicas.current();
            let mut request = Request::new(Full::new(body.clone()));
            *request.method_mut() = parts.method.clone();
            *request.headers_mut() = parts.headers.clone();
            *request.uri_mut() = absolute(authority, &parts.uri)?;
            let error = match self.http.request(request).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            self.replicas.failed(index);
            failures += 1;
            let harmless = error.is_connect() || parts.method == Method::GET;
            if !harmless || failures > self.replicas.authorities.len() {
                return Err(error.into());
            }
            tracing::debug!(%authority, error = %error, "API replica failed, asking the next");
        }
    }
}

impl Service<Request<Body>> for Transport {
    type Response = Response<Incoming>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Incoming>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.clone().send(request))
    }
}

fn absolute(authority: &Authority, uri: &Uri) -> Result<Uri, http::Error> {
    let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    Uri::builder().scheme("https").authority(authority.clone()).path_and_query(path).build()
}

// === impl Replicas ===

impl Replicas {
    fn current(&self) -> (usize, &Authority) {
        let index = self.current.load(Ordering::Relaxed);
        (index, &self.authorities[index])
    }

    /// Moves on, unless another request did so already.
    fn failed(&self, index: usize) {
        let next = (index + 1) % self.authorities.len();
        let _ = self.current.compare_exchange(index, next, Ordering::Relaxed, Ordering::Relaxed);
    }
}
