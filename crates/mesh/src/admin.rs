//! For operators, on a thread of its own: it answers while traffic drowns.
//!
//! `/ready` `/metrics` `/clusters` `/config` and `POST /drain`.

use std::{
    convert::Infallible,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::time::Instant;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, mpsc, watch},
    time::sleep,
};

use crate::{access_log::AccessLog, metrics::Registry, plan::Plan, worker::Draining};

/// A scraper, a prober and a few people.
const CONNECTIONS_MAX: usize = 64;
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

pub(crate) struct Admin {
    pub(crate) plan: watch::Receiver<Arc<Plan>>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) log: Option<AccessLog>,
    pub(crate) draining: watch::Receiver<Draining>,
    /// Asks for the drain.
    pub(crate) drain: mpsc::Sender<()>,
}

pub(crate) async fn serve(admin: Arc<Admin>, listener: TcpListener) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let permit = room.clone().acquire_owned().await.expect("the semaphore is never closed");
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept an operator's connection");
                sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let admin = admin.clone();
        rt::spawn(rt::TaskKind::Connection, "admin", async move {
            let _permit = permit;
            let service = service_fn(|request: Request<Incoming>| {
                let answer = admin.respond(request.method(), request.uri().path());
                async move { Ok::<_, Infallible>(answer) }
            });
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = served {
                tracing::debug!(%error, "an operator's connection ended early");
            }
        });
    }
}

// === impl Admin ===

impl Admin {
    fn respond(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        let plan = self.plan.borrow().clone();
        match (method, path) {
            (&Method::GET | &Method::HEAD, "/ready") if *self.draining.borrow() != Draining::No => {
                text(StatusCode::SERVICE_UNAVAILABLE, "draining\n")
            }
            (&Method::GET | &Method::HEAD, "/ready" | "/live") => text(StatusCode::OK, "ok\n"),
            (&Method::GET, "/metrics") => text(
                StatusCode::OK,
                self.registry.render(&plan, self.log.as_ref().map_or(0, AccessLog::dropped)),
            ),
            (&Method::GET, "/config") => json(&plan.config),
            (&Method::GET, "/clusters") => json(&clusters(&plan)),
            (&Method::POST, "/drain") => {
                let _ = self.drain.try_send(());
                text(StatusCode::ACCEPTED, "draining\n")
            }
            (_, "/ready" | "/live" | "/metrics" | "/config" | "/clusters" | "/drain") => text(
                StatusCode::METHOD_NOT_ALLOWED,
                "GET /ready /live /metrics /config /clusters, POST /drain\n",
            ),
            _ => text(
                StatusCode::NOT_FOUND,
                "GET /ready /live /metrics /config /clusters, POST /drain\n",
            ),
        }
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn json(value: &impl serde::Serialize) -> Response<Full<Bytes>> {
    let body = serde_json::to_vec_pretty(value).unwrap_or_default();
    let mut response = text(StatusCode::OK, body);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn clusters(plan: &Plan) -> serde_json::Value {
    let now = Instant::now();
    let clusters = plan.clusters.iter().map(|cluster| {
        let endpoints = cluster.endpoints.iter().map(|endpoint| {
            json!({
                "address": endpoint.address.to_string(),
                "city": endpoint.city,
                "center": endpoint.center,
                "healthy": !endpoint.state.unhealthy.load(Relaxed),
                "ejected": endpoint.is_ejected(now),
                "requests": endpoint.state.requests.load(Relaxed),
                "failures": endpoint.state.failures.load(Relaxed),
            })
        });
        json!({
            "name": cluster.name,
            "requests_in_flight": cluster.load.requests.load(Relaxed),
            "connections": cluster.load.connections.load(Relaxed),
            "overflows": cluster.load.overflows.load(Relaxed),
            "connect_failures": cluster.load.connect_failures.load(Relaxed),
            "endpoints": endpoints.collect::<Vec<_>>(),
        })
    });
    json!({ "clusters": clusters.collect::<Vec<_>>() })
}
