//! What is sent to an endpoint, once or again; and a copy of it to another.

use std::{net::SocketAddr, rc::Rc, time::Duration};

use bytes::Bytes;
use hop::{Body, Bounds, Outgoing, Pump, Sink, Source};
use http::{HeaderMap, Method, Uri, header, request};
use tokio::time::Instant;

use crate::{exchange::is_grpc, route::Route, upstream::Local};

/// What every try sends.
pub(super) struct Outbound {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    pub(super) upgrade: Option<Bytes>,
}

// === impl Outbound ===

impl Outbound {
    pub(super) fn new(head: request::Parts, route: &Route, upgrade: Option<Bytes>) -> Outbound {
        let request::Parts { method, mut uri, mut headers, .. } = head;
        if let Some((prefix, with)) = &route.rewrite_prefix {
            let path = uri.path_and_query().map_or("/", |path| path.as_str());
            let rest = path.strip_prefix(prefix.as_str()).unwrap_or(path);
            let joins = with.ends_with('/') || rest.starts_with(['/', '?']);
            let slash = if joins || (rest.is_empty() && !with.is_empty()) { "" } else { "/" };
            let rest = if with.ends_with('/') { rest.trim_start_matches('/') } else { rest };
            if let Ok(rewritten) = format!("{with}{slash}{rest}").parse() {
                uri = rewritten;
            }
        }
        route.request_headers.apply(&mut headers);
        Outbound { method, uri, headers, upgrade }
    }

    pub(super) fn is_grpc(&self) -> bool {
        self.headers.get(header::CONTENT_TYPE).is_some_and(is_grpc)
    }

    pub(super) fn outgoing(&self, length: Option<u64>) -> Outgoing<'_> {
        Outgoing {
            method: &self.method,
            uri: &self.uri,
            headers: &self.headers,
            length,
            upgrade: self.upgrade.as_deref(),
        }
    }
}

impl Clone for Outbound {
    fn clone(&self) -> Outbound {
        Outbound {
            method: self.method.clone(),
            uri: self.uri.clone(),
            headers: self.headers.clone(),
            upgrade: None,
        }
    }
}

/// Sends a copy and reads its answer to nobody.
pub(super) fn mirror(
    cluster: Rc<Local>,
    outbound: Outbound,
    body: Bytes,
    bounds: Bounds,
    destination: Option<SocketAddr>,
) {
    const PATIENCE: Duration = Duration::from_secs(15);
    let send = async move {
        let busy = cluster.shared.admit()?;
        let endpoint = cluster.pick(destination, None, None, Instant::now())?;
        let lease = cluster.lease(&endpoint, false).await.ok()?;
        let (mut sink, mut waiting) =
            lease.send(outbound.outgoing(Some(body.len() as u64))).ok()?;
        let mut body = Body::once(Source::Whole(body));
        let mut up = Pump::new(body.is_end());
        let answer = std::future::poll_fn(|cx| {
            if !up.is_done() {
                let _ = up.poll(&mut body, &mut sink, cx);
            }
            lease.poll_answer(&mut waiting, bounds, cx)
        });
        let answer = answer.await.ok()?;
        let (keep, mut rest) = (answer.keep, Body::once(lease.source(answer.rest)));
        let mut down = Pump::new(rest.is_end());
        let read = std::future::poll_fn(|cx| down.poll(&mut rest, &mut Sink::Nowhere, cx)).await;
        drop((sink, rest));
        if read.is_ok() && keep && up.is_done() {
            lease.finish(&endpoint, Instant::now());
        }
        drop(busy);
        Some(())
    };
    tokio::task::spawn_local(async move {
        let _ = tokio::time::timeout(PATIENCE, send).await;
    });
}
