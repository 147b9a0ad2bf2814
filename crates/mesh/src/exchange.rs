//! One request, from its head to the end of its answer.

use std::{net::SocketAddr, rc::Rc, time::Duration};

use tokio::time::Instant;

use http::{HeaderName, HeaderValue, header, request};

use crate::{
    access_log::Line,
    flow::Source,
    io::Io,
    refusal::Refusal,
    reply::Reply,
    trace,
    upstream::Busy,
    walk::{Walk, Walked},
    worker::{Plan, Worker},
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
/// How long the client will wait, in milliseconds; passed on as what is left.
const DEADLINE: HeaderName = HeaderName::from_static("polis-deadline-ms");
/// Longest request id that is kept; longer ones are replaced.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
    pub(crate) secure: bool,
}

pub(crate) struct Request<'a> {
    pub(crate) head: request::Parts,
    pub(crate) body: Source<'a>,
    /// The protocol to go over to.
    pub(crate) upgrade: Option<HeaderValue>,
}

/// What becomes of the client's connection.
pub(crate) enum Ended {
    Keep,
    Close,
    /// The connection is a tunnel to this one from here on.
    Tunnel(Box<Io>, Busy),
}

/// What a request says of its deadline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Deadline {
    pub(crate) at: Option<Instant>,
    pub(crate) grpc: bool,
    pub(crate) polis: bool,
}

/// Answers one request of `listener`, the place of its listener in the plan.
pub(crate) async fn relay(
    worker: &Rc<Worker>,
    plan: &Rc<Plan>,
    listener: usize,
    client: &Client,
    mut request: Request<'_>,
    mut reply: Reply<'_>,
) -> Ended {
    let began = Instant::now();
    let head = &mut request.head;
    let grpc = head.headers.get(header::CONTENT_TYPE).is_some_and(is_grpc);
    let found = crate::route::find(&plan.shared.listeners[listener].routes, head);
    let metrics = plan.metrics(listener, found.map(|(at, _)| at));
    metrics.began();
    let trace = prepare(worker, head, client);
    let line = worker.access_log().map(|_| Line::of(head, client, &trace));
    let mut walk = Walk::new(worker, plan, client, began);
    let walked = match found {
        None => Err(Refusal::no_route()),
        Some((_, route)) => walk.run(route, request, &mut reply).await,
    };
    let (status, ended) = match walked {
        Ok(Walked { status, tunnel: Some((io, busy)) }) => {
            (status, Ended::Tunnel(Box::new(io), busy))
        }
        Ok(Walked { status, tunnel: None }) => {
            (status, if reply.keeps() { Ended::Keep } else { Ended::Close })
        }
        Err(refusal) => {
            let sent = reply.refuse(&refusal, grpc, walk.request_is_read());
            let keep = sent.is_ok() && reply.keeps();
            (refusal.status.as_u16(), if keep { Ended::Keep } else { Ended::Close })
        }
    };
    let took = began.elapsed();
    metrics.ended(status, took);
    if let Some((line, log)) = line.zip(worker.access_log()) {
        let route = found.map(|(_, route)| route.name.as_str());
        log.write(line.finish(route, walk.endpoint(), status, walk.tries(), took));
    }
    ended
}

fn is_grpc(value: &HeaderValue) -> bool {
    value.as_bytes().starts_with(b"application/grpc")
}

/// What every request carries on: who asked, under which id, in which trace.
fn prepare(worker: &Worker, head: &mut request::Parts, client: &Client) -> [u8; 32] {
    let headers = &mut head.headers;
    if !headers.contains_key(header::HOST)
        && let Some(authority) = head.uri.authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        headers.insert(header::HOST, host);
    }
    let sound = |value: &HeaderValue| {
        (1..=REQUEST_ID_BYTES_MAX).contains(&value.len())
            && value.as_bytes().iter().all(u8::is_ascii_graphic)
    };
    if !headers.get(&REQUEST_ID).is_some_and(sound) {
        let id = format!("{:016x}{:016x}", worker.draw(), worker.draw());
        headers.insert(REQUEST_ID, HeaderValue::from_str(&id).expect("hex digits"));
    }
    let ip = client.address.ip().to_canonical();
    let chain = match headers.get(&FORWARDED_FOR).and_then(|value| value.to_str().ok()) {
        Some(before) => format!("{before}, {ip}"),
        None => ip.to_string(),
    };
    headers
        .insert(FORWARDED_FOR, HeaderValue::from_str(&chain).expect("visible text and an address"));
    let proto = if client.secure { "https" } else { "http" };
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(proto));
    trace::pass_on(headers, &mut || worker.draw())
}

// === impl Deadline ===

impl Deadline {
    /// The nearest of what the client says and the route allows.
    pub(crate) fn of(
        head: &request::Parts,
        began: Instant,
        timeout: Option<Duration>,
    ) -> Result<Deadline, Refusal> {
        let grpc = head.headers.get(&GRPC_TIMEOUT).map(|value| grpc_timeout(value.as_bytes()));
        let polis = head.headers.get(&DEADLINE).map(|value| {
            let ms = value.to_str().ok().and_then(|text| text.trim().parse::<u32>().ok());
            ms.filter(|ms| *ms > 0).map(|ms| Duration::from_millis(u64::from(ms)))
        });
        for said in [grpc, polis] {
            if said == Some(None) {
                let message = "the deadline is not a positive whole number";
                let status = http::StatusCode::BAD_REQUEST;
                return Err(Refusal::new(status, errors::BAD_DEADLINE, message));
            }
        }
        let nearest = [timeout, grpc.flatten(), polis.flatten()].into_iter().flatten().min();
        let at = nearest.map(|time| began + time);
        Ok(Deadline { at, grpc: grpc.is_some(), polis: polis.is_some() })
    }

    /// Says in a try's headers what is left.
    pub(crate) fn pass_on(&self, headers: &mut http::HeaderMap, now: Instant) {
        let Some(at) = self.at else { return };
        let ms =
            u64::try_from(at.saturating_duration_since(now).as_millis()).unwrap_or(u64::MAX).max(1);
        if self.polis {
            headers.insert(DEADLINE, HeaderValue::from(ms));
        }
        if self.grpc {
            let value = format!("{}m", ms.min(99_999_999));
            headers.insert(GRPC_TIMEOUT, HeaderValue::from_str(&value).expect("digits"));
        }
    }
}

/// gRPC over HTTP/2: up to eight digits and a unit.
fn grpc_timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0u64, |number, digit| number * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => Duration::from_secs(number * 3_600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}
