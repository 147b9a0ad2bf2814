//! A request's way in and its answer's way out: key, deadline, body, then an
//! [`Exchange`], then the last touches.

use std::{convert::Infallible, future::poll_fn, net::IpAddr, rc::Rc};

use bytes::Bytes;
use hop::{After, Cut, Own, Reply, Request, Source};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header, request};
use tokio::time::Instant;

use crate::{
    attempt::Answer, body, exchange::Exchange, headers, key, refusal::Refusal, worker::Worker,
};

/// Counts a request as in flight for as long as it lives.
struct InFlight<'a>(&'a Worker);

/// Answers one request.
pub(crate) async fn relay(
    worker: &Rc<Worker>,
    request: Request<'_>,
    mut reply: Reply<'_>,
    peer: IpAddr,
) -> After<Infallible> {
    let arrived = Instant::now();
    let Request { mut head, mut body, .. } = request;
    let request_id = headers::keep_request_id(&mut head.headers, || worker.fresh_id());
    let key = match key::extract(&head.method, head.uri.path(), &head.headers) {
        Ok(key) => key,
        Err(refusal) => {
            worker.metrics.unrouted.add(1);
            let mut own = refusal.into_own();
            own.headers.insert(headers::REQUEST_ID, request_id);
            return say(worker, &mut reply, own, &mut body).await;
        }
    };
    let in_flight = InFlight::enter(worker);
    let answer = match take(worker, &head.headers, &mut body, &mut reply, arrived).await {
        Err(refusal) => Err(refusal),
        Ok((body, deadline)) => {
            prepare(&mut head, peer);
            let exchange = Exchange::new(worker.clone(), key.clone(), head, body, deadline).run();
            tokio::select! {
                biased;
                answer = exchange => answer,
                // Nobody waits any more, here or in the hold queue.
                () = poll_fn(|cx| reply.poll_gone(cx)) => return After::Close,
            }
        }
    };
    drop(in_flight);
    let mut answer = answer.map_err(Refusal::into_own);
    let (status, headers) = match &mut answer {
        Ok(Answer { parts, .. }) => (parts.status, &mut parts.headers),
        Err(own) => (own.status, &mut own.headers),
    };
    let elapsed = arrived.elapsed();
    let table = worker.table();
    let shard = table.shard_of(&key.aim);
    worker.metrics.answered(table.hundred_of(&key.aim), status, elapsed);
    tracing::debug!(?request_id, %shard, status = status.as_u16(), ?elapsed, "answered");
    if let Some(zone) = key.cookie(table.layout()) {
        headers::set_zone_cookie(headers, zone);
    }
    headers.insert(headers::REQUEST_ID, request_id);
    match answer {
        Ok(answer) => pass_on(worker, &mut reply, answer).await,
        Err(own) => say(worker, &mut reply, own, &mut body).await,
    }
}

/// Takes in what is asked, unless it is too much, too slow or one too many.
async fn take(
    worker: &Worker,
    headers: &HeaderMap,
    body: &mut Source<'_>,
    reply: &mut Reply<'_>,
    arrived: Instant,
) -> Result<(Bytes, Instant), Refusal> {
    let limits = &worker.limits;
    let deadline = deadline(worker, headers, arrived)?;
    if worker.metrics.requests_in_flight.get() > limits.requests_max as u64 {
        let message = "too many requests in flight at this edge";
        let status = StatusCode::SERVICE_UNAVAILABLE;
        return Err(Refusal::new(status, errors::EDGE_OVERLOADED, message));
    }
    body::check_said(headers, limits.body_bytes_max)?;
    // Who is gone already is found out where the body is read.
    let _ = reply.go_on().await;
    let until = deadline.min(arrived + limits.body_timeout);
    Ok((body::collect(body, limits.body_bytes_max, until).await?, deadline))
}

/// Says the edge's own words. Whose body is here keeps the connection.
async fn say(
    worker: &Worker,
    reply: &mut Reply<'_>,
    own: Own,
    body: &mut Source<'_>,
) -> After<Infallible> {
    let whole = body::skip(body, worker.limits.body_bytes_max).await;
    let said = reply.own(own, whole);
    if said.is_ok() && reply.keeps() { After::Keep } else { After::Close }
}

/// Passes the owner's answer on to the user.
async fn pass_on(worker: &Worker, reply: &mut Reply<'_>, answer: Answer) -> After<Infallible> {
    let Answer { parts, tail } = answer;
    let Ok(mut sink) = reply.head(parts, tail.said(), true) else { return After::Close };
    let stall = worker.limits.stall_timeout;
    let moved = tail.move_to(&mut sink, stall, |cx| reply.poll_gone(cx)).await;
    match moved {
        Ok(()) if reply.keeps() => After::Keep,
        Ok(()) | Err(Cut::Sink) => After::Close,
        Err(Cut::Source(error)) => {
            tracing::debug!(%error, "an answer broke off");
            reply.broke_off(&mut sink);
            After::Close
        }
    }
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
fn prepare(head: &mut request::Parts, peer: IpAddr) {
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
