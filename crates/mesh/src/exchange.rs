//! One request, from its head to the end of its answer.

use std::{net::SocketAddr, rc::Rc, time::Duration};

use tokio::time::Instant;

use hop::{After, Io, Reply, Request};
use http::{HeaderName, HeaderValue, header, request};

use crate::{
    access_log::Line,
    refusal::Refusal,
    tls::{FORWARDED_CLIENT_CERT, Peer},
    trace,
    upstream::Busy,
    walk::{CLIENT_GONE, Walk, Walked},
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
    /// Who it has proven to be, where it was asked.
    pub(crate) peer: Option<Rc<Peer>>,
    /// Whom it meant, if the connection was intercepted.
    pub(crate) destination: Option<SocketAddr>,
}

/// A tunnel's other side, and its place among those of its cluster.
pub(crate) type Tunnel = (Box<Io>, Busy);

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
) -> After<Tunnel> {
    let began = Instant::now();
    if reply.go_on().await.is_err() {
        return After::Close;
    }
    let head = &mut request.head;
    let grpc = head.headers.get(header::CONTENT_TYPE).is_some_and(is_grpc);
    let found = crate::route::find(&plan.shared.listeners[listener].routes, head, client);
    let metrics = plan.metrics(listener, found.map(|(at, _)| at));
    metrics.began();
    let trace = prepare(worker, head, client);
    let line = worker.access_log().map(|_| Line::of(head, client, &trace));
    let mut walk = Walk::new(worker, plan, client, began);
    let walked = match (plain(&request.head), found) {
        (Err(refusal), _) => Err(refusal),
        (Ok(()), None) => Err(Refusal::no_route()),
        (Ok(()), Some((_, route))) => walk.run(route, request, &mut reply).await,
    };
    let (status, after) = match walked {
        Ok(Walked { status, tunnel: Some((io, busy)) }) => {
            (status, After::Tunnel((Box::new(io), busy)))
        }
        Ok(Walked { status, tunnel: None }) => {
            let keep = status != CLIENT_GONE && reply.keeps();
            (status, if keep { After::Keep } else { After::Close })
        }
        Err(refusal) => {
            let sent = reply.own(refusal.answer(grpc), walk.request_is_read());
            let keep = sent.is_ok() && reply.keeps();
            (refusal.status.as_u16(), if keep { After::Keep } else { After::Close })
        }
    };
    let took = began.elapsed();
    metrics.ended(status, took);
    if let Some((line, log)) = line.zip(worker.access_log()) {
        let route = found.map(|(_, route)| route.name.as_str());
        log.write(line.finish(route, walk.endpoint(), status, walk.tries(), took));
    }
    after
}

/// Refuses what is no request to a service, and paths that the service could
/// take for others than the routes did.
fn plain(head: &request::Parts) -> Result<(), Refusal> {
    if head.method == http::Method::CONNECT {
        let status = http::StatusCode::METHOD_NOT_ALLOWED;
        return Err(Refusal::new(status, errors::MESH_METHOD, "CONNECT is not for this proxy"));
    }
    if has_dot_segment(head.uri.path()) {
        let message = "the path has a segment `.` or `..`";
        return Err(Refusal::new(http::StatusCode::BAD_REQUEST, errors::MESH_MALFORMED, message));
    }
    Ok(())
}

/// Plain or percent-encoded, and also before parameters: `/a/..;x/b`.
fn has_dot_segment(path: &str) -> bool {
    if !path.contains("/.") && !path.contains("/%2") && !path.contains('\\') {
        return false;
    }
    path.split(['/', '\\']).any(|segment| {
        let name = segment.split(';').next().unwrap_or_default();
        matches!(name.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..")
    })
}

pub(crate) fn is_grpc(value: &HeaderValue) -> bool {
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
    let before = headers.get_all(&FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
    let chain = before.fold(String::new(), |chain, value| chain + value + ", ") + &ip.to_string();
    headers
        .insert(FORWARDED_FOR, HeaderValue::from_str(&chain).expect("visible text and an address"));
    let proto = if client.secure { "https" } else { "http" };
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(proto));
    match client.peer.as_ref().and_then(|peer| peer.forwarded.as_ref()) {
        None => drop(headers.remove(FORWARDED_CLIENT_CERT)),
        Some(value) => drop(headers.insert(FORWARDED_CLIENT_CERT, value.clone())),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_leads_elsewhere_is_known() {
        for path in
            ["/a/../b", "/a/..", "/./a", "/a/%2e%2E/b", "/a/.%2e", "/a/..;x=y/b", "/a\\..\\b"]
        {
            assert!(has_dot_segment(path), "{path}");
        }
        for path in ["/", "/a/b.c", "/a/..b", "/.well-known/x", "/a/...", "/a%2fb", "/a;..", "*"] {
            assert!(!has_dot_segment(path), "{path}");
        }
    }

    #[test]
    fn the_nearest_deadline_counts_and_what_is_none_is_refused() {
        let began = Instant::now();
        let check = |name: &str, value: &str, expected: Option<u64>| {
            let request = http::Request::builder().header(name, value).body(()).expect("a request");
            let seen = Deadline::of(&request.into_parts().0, began, Some(Duration::from_secs(15)));
            let seen = seen.ok().and_then(|deadline| deadline.at);
            assert_eq!(
                seen.map(|at| at - began),
                expected.map(Duration::from_millis),
                "{name}: {value}"
            );
        };
        check("accept", "x", Some(15_000));
        check("grpc-timeout", "5S", Some(5_000));
        check("grpc-timeout", "1M", Some(15_000));
        check("grpc-timeout", "200m", Some(200));
        check("polis-deadline-ms", "70", Some(70));
        for (name, value) in [
            ("grpc-timeout", "5"),
            ("grpc-timeout", "123456789S"),
            ("grpc-timeout", "5x"),
            ("polis-deadline-ms", "0"),
            ("polis-deadline-ms", "-1"),
            ("polis-deadline-ms", "soon"),
        ] {
            check(name, value, None);
        }
    }
}
