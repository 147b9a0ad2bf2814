//! A request's way in and its answer's way out: key, deadline, body, then an
//! [`Exchange`], then the last touches.

use std::{net::IpAddr, rc::Rc};

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, header};
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::{
    body::{self, ReplyBody},
    exchange::Exchange,
    headers, key,
    refusal::Refusal,
    worker::Worker,
};

/// Counts a request as in flight for as long as it lives.
struct InFlight<'a>(&'a Worker);

/// Answers one request.
pub(crate) async fn relay(
    worker: Rc<Worker>,
    request: Request<Incoming>,
    peer: IpAddr,
) -> Response<ReplyBody> {
    let arrived = Instant::now();
    let (mut head, body) = request.into_parts();
    let request_id = headers::keep_request_id(&mut head.headers, || worker.fresh_id());
    let key = match key::extract(&head.method, head.uri.path(), &head.headers) {
        Ok(key) => key,
        Err(refusal) => {
            worker.metrics.unrouted.add(1);
            let mut response = refusal.into_response();
            response.headers_mut().insert(headers::REQUEST_ID, request_id);
            return response;
        }
    };
    let _in_flight = InFlight::enter(&worker);
    let answer = async {
        let deadline = deadline(&worker, &head.headers, arrived)?;
        if worker.metrics.requests_in_flight.get() > worker.limits.requests_max as u64 {
            let message = "too many requests in flight at this edge";
            let status = StatusCode::SERVICE_UNAVAILABLE;
            return Err(Refusal::new(status, errors::EDGE_OVERLOADED, message));
        }
        let until = deadline.min(arrived + worker.limits.body_timeout);
        let body = body::collect(body, &head.headers, worker.limits.body_bytes_max, until).await?;
        prepare(&mut head, peer);
        Exchange::new(worker.clone(), key.clone(), head, body, deadline).run().await
    };
    let mut response = answer.await.unwrap_or_else(Refusal::into_response);
    let (status, elapsed) = (response.status(), arrived.elapsed());
    let table = worker.table();
    let shard = table.shard_of(&key.aim);
    worker.metrics.answered(table.hundred_of(&key.aim), status, elapsed);
    tracing::debug!(?request_id, %shard, status = status.as_u16(), ?elapsed, "answered");
    if let Some(zone) = key.cookie(table.layout()) {
        headers::set_zone_cookie(response.headers_mut(), zone);
    }
    response.headers_mut().insert(headers::REQUEST_ID, request_id);
    response
}

/// How long this request may take, from its head's arrival.
fn deadline(worker: &Worker, headers: &HeaderMap, arrived: Instant) -> Result<Instant, Refusal> {
    let Some(value) = headers.get(&headers::DEADLINE) else {
        return Ok(arrived + worker.limits.deadline_default);
    };
    let ms = value.to_str().ok().and_then(|text| text.trim().parse::<u64>().ok());
    let Some(ms) = ms.filter(|ms| *ms > 0) else {
        let message = "polis-deadline-ms is not a positive whole number";
        return Err(Refusal::bad_request(errors::BAD_DEADLINE, message));
    };
    let wanted = std::time::Duration::from_millis(ms);
    Ok(arrived + wanted.min(worker.limits.deadline_max))
}

/// Turns the user's head into the one that every try sends.
fn prepare(head: &mut http::request::Parts, peer: IpAddr) {
    headers::strip_hop_by_hop(&mut head.headers);
    // The body is sent whole, so its length is known anew.
    head.headers.remove(header::CONTENT_LENGTH);
    head.headers.remove(header::EXPECT);
    if !head.headers.contains_key(header::HOST) {
        let host = head.uri.authority().map_or("", http::uri::Authority::as_str);
        let host = HeaderValue::from_str(host).expect("an authority is printable ASCII");
        head.headers.insert(header::HOST, host);
    }
    let peer = HeaderValue::from_str(&peer.to_string()).expect("an address is printable ASCII");
    // What a user claims about earlier hops is not passed on as if we knew it.
    head.headers.insert(headers::FORWARDED_FOR, peer);
    let path = head.uri.path_and_query().cloned();
    head.uri = path.map_or_else(Uri::default, Uri::from);
}

// === impl InFlight ===

impl InFlight<'_> {
    fn enter(worker: &Worker) -> InFlight<'_> {
        worker.metrics.requests_in_flight.add(1);
        InFlight(worker)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.metrics.requests_in_flight.sub(1);
    }
}
