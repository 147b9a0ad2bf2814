//! For operators: health, metrics, the map as this edge sees it. HTTP/1.1
//! without TLS on an address of its own, on a thread of its own: it answers
//! while traffic drowns.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    time::{sleep, timeout},
};
use topology::{MapVersion, ShardState};

use crate::{
    config::{Limits, Place},
    metrics::{self, ThreadMetrics},
    refusal::{Refusal, quote},
    source::Origin,
    table::{Route, Table, View, Wait},
};

/// A scraper, a prober and a few people.
const CONNECTIONS_MAX: usize = 64;
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Longer than a move waits for anybody.
const VERSION_WAIT: Duration = Duration::from_secs(1);
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// What the pages show.
pub(crate) struct Admin {
    pub(crate) place: Place,
    pub(crate) limits: Limits,
    pub(crate) views: watch::Receiver<(Origin, Arc<View>)>,
    /// Changes whenever a thread has taken over a view.
    pub(crate) installs: watch::Receiver<()>,
    pub(crate) threads: Vec<Arc<ThreadMetrics>>,
    pub(crate) draining: rt::drain::Drain,
}

/// Answers for as long as it is polled.
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
                let admin = admin.clone();
                async move { Ok::<_, Infallible>(admin.respond(&request).await) }
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
    async fn respond<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let (method, uri) = (request.method(), request.uri());
        if *method == Method::GET && uri.path() == "/map/version" {
            return self.map_version(wanted_version(uri.query())).await;
        }
        self.answer(method, uri.path())
    }

    /// The version that every thread routes by, as soon as it is `wanted`.
    /// Whoever moves shards waits here before the old owner is drained.
    async fn map_version(&self, wanted: MapVersion) -> Response<Full<Bytes>> {
        let mut installs = self.installs.clone();
        let wait = async {
            loop {
                installs.mark_unchanged();
                let there = metrics::oldest_table(&self.threads) >= wanted;
                if there || installs.changed().await.is_err() {
                    return;
                }
            }
        };
        // At its end they are told what there is.
        let _ = timeout(VERSION_WAIT, wait).await;
        page(&json!({ "version": metrics::oldest_table(&self.threads) }))
    }

    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if *method != Method::GET && *method != Method::HEAD {
            let status = StatusCode::METHOD_NOT_ALLOWED;
            let refusal =
                Refusal::new(status, errors::METHOD_NOT_ALLOWED, "only GET is known here");
            return Refusal { allow: Some("GET, HEAD"), ..refusal }.into_response();
        }
        let (_, view) = self.views.borrow().clone();
        match path {
            "/livez" => text(StatusCode::OK, "text/plain", "ok\n".into()),
            "/readyz" => self.readyz(&view),
            "/metrics" => {
                let page = metrics::render(&self.place, view.map.version, &self.threads);
                text(StatusCode::OK, "text/plain; version=0.0.4", page)
            }
            "/map" => page(&self.map(&view)),
            "/config" => page(&self.config()),
            _ => {
                let message = format!(
                    "{} is none of /livez, /readyz, /metrics, /map, /map/version, /config",
                    quote(path)
                );
                Refusal::new(StatusCode::NOT_FOUND, errors::UNKNOWN_PATH, message).into_response()
            }
        }
    }

    fn readyz(&self, view: &View) -> Response<Full<Bytes>> {
        let unready =
            |why: &str| text(StatusCode::SERVICE_UNAVAILABLE, "text/plain", format!("{why}\n"));
        if self.draining.is_draining() {
            return unready("draining");
        }
        if !Table::build(view).is_useful() {
            return unready("no shard map yet");
        }
        text(StatusCode::OK, "text/plain", "ok\n".into())
    }

    fn map(&self, view: &View) -> serde_json::Value {
        let origin = match self.views.borrow().0 {
            Origin::Nothing => "nothing",
            Origin::Snapshot => "snapshot",
            Origin::Live => "live",
        };
        let table = Table::build(view);
        let shards = table.layout().shards().map(|shard| {
            let assignment = view.map.get(shard);
            let (state, from) = match assignment.map(|assignment| &assignment.state) {
                None => ("Unassigned", None),
                Some(ShardState::Serving { .. }) => ("Serving", None),
                Some(ShardState::Moving { from, .. }) => ("Moving", from.as_ref()),
            };
            let route = match table.route(shard) {
                Route::Serve(target) => json!({"endpoints": target.endpoints}),
                Route::Wait(Wait::Unassigned) => json!({"wait": "unassigned"}),
                Route::Wait(Wait::Moving { .. }) => json!({"wait": "moving"}),
                Route::Wait(Wait::NoEndpoint { .. }) => json!({"wait": "no endpoint"}),
            };
            json!({
                "shard": shard.to_string(),
                "buckets": table.layout().buckets(shard),
                "state": state,
                "unit": assignment.map(|assignment| assignment.state.target()),
                "from": from,
                "epoch": assignment.map(|assignment| assignment.epoch),
                "route": route,
            })
        });
        json!({
            "origin": origin,
            "version": view.map.version,
            "endpoints": view.endpoints,
            "shards": shards.collect::<Vec<_>>(),
        })
    }

    fn config(&self) -> serde_json::Value {
        let Place { city, center, unit } = &self.place;
        json!({
            "city": city, "center": center, "unit": unit,
            "threads": self.threads.len(),
            "limits": format!("{:?}", self.limits),
        })
    }
}

/// Of `atLeast=7`; whoever wants none is answered at once.
fn wanted_version(query: Option<&str>) -> MapVersion {
    let mut pairs = query.unwrap_or_default().split('&');
    let wanted = pairs.find_map(|pair| pair.strip_prefix("atLeast=")?.parse().ok());
    MapVersion(wanted.unwrap_or_default())
}

fn page(value: &serde_json::Value) -> Response<Full<Bytes>> {
    text(StatusCode::OK, "application/json", format!("{value:#}\n"))
}

fn text(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
