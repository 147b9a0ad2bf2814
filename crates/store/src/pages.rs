//! What the store says over plain HTTP: health, version, metrics.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use kv::KeyspaceName;

use crate::{
    grpc::{ETCD_CLUSTER_VERSION, ETCD_VERSION},
    keyspaces::Keyspaces,
    metrics::Metrics,
};

/// A store that does not answer itself for this long is not healthy: several
/// times the slowest sync that a healthy disk shows.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(crate) async fn page(
    method: &Method,
    path: &str,
    keyspaces: &Keyspaces,
    metrics: &Metrics,
) -> Response<Full<Bytes>> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n".into());
    }
    match path {
        "/health" => {
            let health = health(keyspaces).await;
            let body = serde_json::json!({
                "health": if health.is_ok() { "true" } else { "false" },
                "reason": health.as_ref().err().cloned().unwrap_or_default(),
            });
            text(status_of(&health), JSON, body.to_string())
        }
        // As long as this answers, a restart would not help.
        "/livez" => text(StatusCode::OK, TEXT, "ok\n".into()),
        "/readyz" => {
            let health = health(keyspaces).await;
            let body = health.as_ref().err().cloned().unwrap_or_else(|| "ok".into());
            text(status_of(&health), TEXT, body + "\n")
        }
        "/version" => {
            let body = serde_json::json!({
                "etcdserver": ETCD_VERSION,
                "etcdcluster": ETCD_CLUSTER_VERSION,
                "polis": env!("CARGO_PKG_VERSION"),
            });
            text(StatusCode::OK, JSON, body.to_string())
        }
        "/metrics" => text(StatusCode::OK, PROMETHEUS, metrics.page(keyspaces)),
        _ => text(StatusCode::NOT_FOUND, TEXT, "404 page not found\n".into()),
    }
}

/// Asks the default keyspace's actor something small.
async fn health(keyspaces: &Keyspaces) -> Result<(), String> {
    if keyspaces.quota().is_full() {
        return Err("ALARM NOSPACE".into());
    }
    let handle = keyspaces.get(&KeyspaceName::default()).map_err(|error| error.to_string())?;
    match tokio::time::timeout(HEALTH_TIMEOUT, handle.ping()).await {
        Ok(Ok(())) if keyspaces.leader(&handle).is_none() => Err("RAFT NO LEADER".into()),
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the store does not answer in time".into()),
    }
}

fn status_of<T, E>(health: &Result<T, E>) -> StatusCode {
    if health.is_ok() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

fn text(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    response
}
