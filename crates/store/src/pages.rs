//! What the store says over plain HTTP: health, version, metrics, and to other
//! replicas what it remembers.

use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use engine::{Epoch, Seq};
use http::{
    HeaderName, HeaderValue, Method, Response, StatusCode, Uri,
    header::{ALLOW, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
};
use http_body_util::Full;
use kv::Revision;

use crate::{
    grpc::{ETCD_CLUSTER_VERSION, ETCD_VERSION},
    health,
    keyspaces::Keyspaces,
    metrics::{self, Metrics},
    replica::{MEMORY_PAGE, Mark, Memory, Replicas},
};

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

type Page = Response<Full<Bytes>>;

pub(crate) async fn page(
    method: &Method,
    uri: &Uri,
    keyspaces: &Keyspaces,
    metrics: &Metrics,
) -> Page {
    if !matches!(*method, Method::GET | Method::HEAD) {
        let page = text(StatusCode::METHOD_NOT_ALLOWED, TEXT, "Method Not Allowed\n".into());
        return with(page, ALLOW, "GET");
    }
    let query = uri.query().unwrap_or_default();
    let excluded: Vec<&str> = values(query, "exclude").collect();
    let path = uri.path();
    if let Some(checks) = health::checks(path) {
        let verdict = health::run(keyspaces, &metrics.health, checks, &excluded).await;
        let verbose = query.split('&').any(|pair| pair.split('=').next() == Some("verbose"));
        let page = match (verdict.healthy, verbose) {
            (true, true) => text(StatusCode::OK, TEXT, verdict.reason + "ok\n"),
            (true, false) => text(StatusCode::OK, TEXT, "ok\n".into()),
            (false, _) => text(StatusCode::SERVICE_UNAVAILABLE, TEXT, verdict.reason + "\n"),
        };
        return with(page, X_CONTENT_TYPE_OPTIONS, "nosniff");
    }
    match path {
        "/health" => {
            let serializable = values(query, "serializable").next() == Some("true");
            let health = health::health(keyspaces, &excluded, serializable).await;
            let (status, figure) = match health {
                Ok(()) => (StatusCode::OK, &metrics.health.health_success),
                Err(_) => (StatusCode::SERVICE_UNAVAILABLE, &metrics.health.health_failures),
            };
            figure.fetch_add(1, Relaxed);
            let body = serde_json::json!({
                "health": if health.is_ok() { "true" } else { "false" },
                "reason": health.err().unwrap_or_default(),
            });
            text(status, JSON, body.to_string())
        }
        "/version" => {
            let body = serde_json::json!({
                "etcdserver": ETCD_VERSION,
                "etcdcluster": ETCD_CLUSTER_VERSION,
                "storage": ETCD_CLUSTER_VERSION,
                "polis": env!("CARGO_PKG_VERSION"),
            });
            text(StatusCode::OK, JSON, body.to_string())
        }
        "/debug/vars" => text(StatusCode::OK, JSON, metrics::vars().to_string()),
        MEMORY_PAGE if keyspaces.replicas().is_some() => {
            text(StatusCode::OK, TEXT, memory(keyspaces).to_string())
        }
        "/metrics" => text(StatusCode::OK, PROMETHEUS, metrics.page(keyspaces)),
        _ => text(StatusCode::NOT_FOUND, TEXT, "404 page not found\n".into()),
    }
}

/// What this replica remembers of the log, and what it has written itself since
/// it last looked. Secrets are none of it: `/metrics` tells the same.
fn memory(keyspaces: &Keyspaces) -> Memory {
    let mut memory = keyspaces.replicas().map(Replicas::memory).unwrap_or_default();
    let cluster_id = memory.cluster_id;
    for handle in keyspaces.started() {
        let standing = handle.standing();
        // Clients see the first revision of a keyspace that was never written,
        // whose log stands at none.
        if standing.revision() > Revision::FIRST {
            let (epoch, revision) = (Epoch(standing.epoch()), standing.revision());
            let mark = Mark { epoch, seq: Seq::default(), revision };
            let marks = [(handle.name().clone(), mark)].into();
            memory.learn(&Memory { cluster_id, marks });
        }
    }
    memory
}

/// Of every `name=value` in a query; what probes send needs no decoding.
fn values<'a>(query: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(move |(key, value)| *key == name && !value.is_empty()).map(|(_, value)| value)
}

fn text(status: StatusCode, content_type: &'static str, body: String) -> Page {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    with(response, CONTENT_TYPE, content_type)
}

fn with(mut page: Page, name: HeaderName, value: &'static str) -> Page {
    page.headers_mut().insert(name, HeaderValue::from_static(value));
    page
}
