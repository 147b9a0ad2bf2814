//! A request's way along its route: faults and limits, a cluster, then tries
//! until there is an answer, and the answer back.
//!
//! What may be tried again: what the endpoint cannot have seen (no connection,
//! or a connection that turned out closed), and of the rest only what is
//! idempotent by its method, its route or an `idempotency-key`, within the
//! cluster's budget and while the body is kept. An answer that is lost behind
//! a request that is neither is told as such: the outcome is unknown.

mod failed;
mod outbound;

use std::{borrow::Cow, net::SocketAddr, rc::Rc, task::Poll, time::Duration};

use tokio::time::Instant;

use bytes::Bytes;
use hop::{Body, Broken, Cut, End, Io, Own, Pump, Reply, Request, Sink};
use http::{HeaderMap, StatusCode, header, request};
use tokio::time::timeout_at;

use failed::{Failed, client_broke};
use outbound::{Outbound, mirror};

use crate::{
    config::model::{RateBy, Retry},
    exchange::{Client, Deadline},
    key::JSON_BYTES_MAX,
    refusal::Refusal,
    route::{Route, To},
    rules,
    upstream::{Busy, ConnectError, Lease, Local, LocalEndpoint, UnderWay},
    worker::{Plan, Worker},
};

/// What a client that left is counted as; the field has it from nginx.
pub(crate) const CLIENT_GONE: u16 = 499;
/// Longest single wait of a request without a deadline.
const FOREVER: Duration = Duration::from_secs(24 * 60 * 60);

pub(crate) struct Walk<'w> {
    worker: &'w Rc<Worker>,
    plan: &'w Rc<Plan>,
    client: &'w Client,
    began: Instant,
    deadline: Deadline,
    endpoint: Option<SocketAddr>,
    tries: u32,
    request_is_read: bool,
}

/// How it ended, once something was sent to the client.
pub(crate) struct Walked {
    pub(crate) status: u16,
    pub(crate) tunnel: Option<(Io, Busy)>,
}

// === impl Walk ===

impl<'w> Walk<'w> {
    pub(crate) fn new(
        worker: &'w Rc<Worker>,
        plan: &'w Rc<Plan>,
        client: &'w Client,
        began: Instant,
    ) -> Walk<'w> {
        Walk {
            worker,
            plan,
            client,
            began,
            deadline: Deadline::default(),
            endpoint: None,
            tries: 0,
            request_is_read: false,
        }
    }

    pub(crate) fn request_is_read(&self) -> bool {
        self.request_is_read
    }

    pub(crate) fn endpoint(&self) -> Option<SocketAddr> {
        self.endpoint
    }

    pub(crate) fn tries(&self) -> u32 {
        self.tries
    }

    pub(crate) async fn run(
        &mut self,
        route: &Route,
        request: Request<'_>,
        reply: &mut Reply<'_>,
    ) -> Result<Walked, Refusal> {
        let Request { head, body, upgrade } = request;
        self.request_is_read = body.is_end();
        self.deadline = Deadline::of(&head, self.began, route.timeout)?;
        self.inject(route).await?;
        match &route.to {
            To::Respond { status, body } => {
                return self.own(reply, *status, HeaderMap::new(), body.clone(), route);
            }
            To::Redirect { status, to } => {
                let mut headers = HeaderMap::new();
                let to =
                    to.replace("{path}", head.uri.path_and_query().map_or("/", |p| p.as_str()));
                let location = http::HeaderValue::from_str(&to).map_err(|_| Refusal::no_route())?;
                headers.insert(header::LOCATION, location);
                return self.own(reply, *status, headers, Bytes::new(), route);
            }
            _ => {}
        }
        let idempotent = route.idempotent
            || head.method.is_idempotent()
            || head.headers.contains_key("idempotency-key");
        let looks = route.key.as_ref().is_some_and(|key| key.looks_into_body());
        let mirrors = route.mirror.is_some_and(|(_, percent)| self.worker.chance(percent));
        let mut body = if looks || mirrors || (route.retry.is_some() && idempotent) {
            Body::again(body)
        } else {
            Body::once(body)
        };
        let key = self.key(route, &head, &mut body).await?.map(Cow::into_owned);
        self.limit(route, key.as_deref())?;
        let cluster = self.cluster(route, key.as_deref())?;
        let Some(_busy) = cluster.shared.admit() else {
            let message =
                format!("cluster {} has as many requests as allowed", cluster.shared.name);
            return Err(Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                errors::MESH_OVERFLOW,
                message,
            ));
        };
        let outbound = Outbound::new(
            head,
            route,
            upgrade.map(|value| Bytes::copy_from_slice(value.as_bytes())),
        );
        if mirrors
            && let Some((at, _)) = route.mirror
            && let Some(whole) = self.whole(&mut body).await?
        {
            mirror(
                self.plan.clusters[at].clone(),
                outbound.clone(),
                whole,
                self.worker.bounds(),
                self.client.destination,
            );
        }
        self.try_on(route, &cluster, outbound, body, key.as_deref(), idempotent, reply).await
    }

    /// Tries until there is an answer.
    #[allow(clippy::too_many_arguments)]
    async fn try_on(
        &mut self,
        route: &Route,
        cluster: &Rc<Local>,
        mut outbound: Outbound,
        mut body: Body<'_>,
        key: Option<&str>,
        idempotent: bool,
        reply: &mut Reply<'_>,
    ) -> Result<Walked, Refusal> {
        let until = self.deadline.at.unwrap_or_else(|| self.began + FOREVER);
        let mut tried: Option<Rc<LocalEndpoint>> = None;
        let mut retrying: Option<Busy> = None;
        // A connection that idled may have been closed under us: not a try.
        let mut fresh_only = false;
        loop {
            let now = Instant::now();
            let endpoint = cluster
                .pick(self.client.destination, key, tried.as_deref(), now)
                .ok_or_else(|| {
                    let message = format!("cluster {} has no endpoint here", cluster.shared.name);
                    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, errors::MESH_UNREACHABLE, message)
                })?;
            self.endpoint = Some(endpoint.shared.address);
            self.tries += 1;
            let under_way = endpoint.begin(now);
            let try_timeout = route.retry.as_ref().and_then(|retry| retry.try_timeout);
            let try_until = try_timeout.map_or(until, |time| until.min(now + time.0));
            self.deadline.pass_on(&mut outbound.headers, now);
            let leased = match timeout_at(try_until, cluster.lease(&endpoint, fresh_only)).await {
                Ok(Ok(lease)) => Ok(lease),
                Ok(Err(error)) => Err(Failed::Unreached(error)),
                Err(_) => Err(Failed::TimedOut { sent: false }),
            };
            let failed = match leased {
                Err(failed) => failed,
                Ok(lease) => {
                    let reused = lease.is_reused() && !fresh_only;
                    match self
                        .attempt(
                            route,
                            cluster,
                            &endpoint,
                            lease,
                            &outbound,
                            &mut body,
                            reply,
                            &under_way,
                            try_until,
                            idempotent.then_some(&mut retrying),
                        )
                        .await
                    {
                        Ok(walked) => return Ok(walked),
                        Err(Failed::Answered) => {
                            self.worker.metrics.retries.add(1);
                            tried = Some(endpoint);
                            continue;
                        }
                        Err(Failed::Lost(_) | Failed::Unsent)
                            if reused && idempotent && body.rewind() =>
                        {
                            fresh_only = true;
                            // It has not failed: it had gone before.
                            self.tries -= 1;
                            continue;
                        }
                        Err(failed) => failed,
                    }
                }
            };
            self.request_is_read = body.is_taken();
            let now = Instant::now();
            let endpoint_s_fault = !matches!(
                failed,
                Failed::ClientGone
                    | Failed::ClientBroke(_)
                    | Failed::Unreached(ConnectError::NoRoom)
            );
            if endpoint_s_fault {
                cluster.shared.observe(&endpoint.shared, true, now);
            }
            let unseen = matches!(
                failed,
                Failed::Unreached(_) | Failed::Unsent | Failed::TimedOut { sent: false }
            );
            let again = endpoint_s_fault && now < until && (unseen || idempotent);
            let default = Retry { attempts: u32::from(unseen), ..Retry::default() };
            let retry = route.retry.as_ref().unwrap_or(&default);
            let rewound = body.rewind() || (unseen && !body.was_given());
            if again && self.tries <= retry.attempts && rewound {
                drop(retrying.take());
                // What nobody has seen burdens nobody: the budget is for the rest.
                if !unseen {
                    retrying = cluster.shared.admit_retry(retry.budget_percent, retry.budget_min);
                }
                if unseen || retrying.is_some() {
                    self.worker.metrics.retries.add(1);
                    tried = Some(endpoint);
                    continue;
                }
            }
            return match failed.refusal(idempotent) {
                Some(refusal) => Err(refusal),
                None => Ok(Walked { status: CLIENT_GONE, tunnel: None }),
            };
        }
    }

    /// One try: the request out, the answer's head in, then all of both.
    #[allow(clippy::too_many_arguments)]
    async fn attempt(
        &mut self,
        route: &Route,
        cluster: &Rc<Local>,
        endpoint: &Rc<LocalEndpoint>,
        lease: Lease,
        outbound: &Outbound,
        body: &mut Body<'_>,
        reply: &mut Reply<'_>,
        under_way: &UnderWay,
        until: Instant,
        retrying: Option<&mut Option<Busy>>,
    ) -> Result<Walked, Failed> {
        let bounds = self.worker.bounds();
        let length = body.said();
        let (mut sink, mut waiting) =
            lease.send(outbound.outgoing(length)).map_err(|_| Failed::Unsent)?;
        let mut up = Pump::new(length == Some(0));
        // A call of gRPC may be a stream in which the client has nothing to say.
        if !outbound.is_grpc() {
            up = up.patiently(End::Source, self.stall());
        }
        let mut up_broke = false;
        let answered = std::future::poll_fn(|cx| {
            if !up.is_done() && !up_broke {
                match up.poll(body, &mut sink, cx) {
                    Poll::Ready(Err(Cut::Source(broken))) => {
                        return Poll::Ready(Err(Failed::ClientBroke(broken)));
                    }
                    // It may have answered before it stopped to listen.
                    Poll::Ready(Err(Cut::Sink)) => up_broke = true,
                    _ => {}
                }
            }
            match lease.poll_answer(&mut waiting, bounds, cx) {
                Poll::Ready(answer) => return Poll::Ready(answer.map_err(Failed::of)),
                Poll::Pending => {}
            }
            // Who goes over to another protocol may have ended its side already.
            if up.is_done() && outbound.upgrade.is_none() && reply.poll_gone(cx).is_ready() {
                return Poll::Ready(Err(Failed::ClientGone));
            }
            Poll::Pending
        });
        let answer = match timeout_at(until, answered).await {
            Ok(answer) => answer?,
            Err(_) => return Err(Failed::TimedOut { sent: true }),
        };
        let now = Instant::now();
        under_way.answered(now);
        let status = answer.parts.status;
        cluster.shared.observe(&endpoint.shared, status.is_server_error(), now);
        if let Some(retry) = &route.retry
            && let Some(retrying) = retrying
            && retry.on.iter().any(|on| *on.get_ref() == status.as_u16())
            && self.tries <= retry.attempts
            && self.deadline.at.is_none_or(|at| now < at)
            && body.rewind_is_possible()
        {
            drop(retrying.take());
            *retrying = cluster.shared.admit_retry(retry.budget_percent, retry.budget_min);
            if retrying.is_some() && body.rewind() {
                return Err(Failed::Answered);
            }
            // Nobody may try it again: the service's own answer is the best there is.
        }
        let mut parts = answer.parts;
        route.response_headers.apply(&mut parts.headers);
        if status == StatusCode::SWITCHING_PROTOCOLS {
            let switched = outbound.upgrade.is_some() && reply.switch(parts);
            drop(sink);
            if !switched {
                return Err(Failed::Lost(Broken::Answered(status)));
            }
            let tunnel = lease.into_io();
            return Ok(Walked { status: status.as_u16(), tunnel });
        }
        let mut down_body = Body::once(lease.source(answer.rest));
        let down_length = down_body.said();
        self.request_is_read = body.is_taken();
        let Ok(mut down_sink) = reply.head(parts, down_length, body.is_taken()) else {
            return Ok(Walked { status: CLIENT_GONE, tunnel: None });
        };
        let mut down = Pump::new(down_length == Some(0)).patiently(End::Sink, self.stall());
        let until = self.deadline.at.unwrap_or_else(|| now + FOREVER);
        let moved = std::future::poll_fn(|cx| {
            if !up.is_done() && !up_broke {
                match up.poll(body, &mut sink, cx) {
                    Poll::Ready(Err(Cut::Source(_))) => return Poll::Ready(Err(Cut::Sink)),
                    Poll::Ready(Err(Cut::Sink)) => up_broke = true,
                    _ => {}
                }
            }
            down.poll(&mut down_body, &mut down_sink, cx)
        });
        let moved = timeout_at(until, moved).await;
        let code = match moved {
            Ok(Ok(())) => status.as_u16(),
            Ok(Err(Cut::Sink)) => CLIENT_GONE,
            Ok(Err(Cut::Source(broken))) => {
                tracing::debug!(endpoint = %endpoint.shared.address, error = %broken, "an answer broke off");
                cluster.shared.observe(&endpoint.shared, true, Instant::now());
                StatusCode::BAD_GATEWAY.as_u16()
            }
            Err(_) => StatusCode::GATEWAY_TIMEOUT.as_u16(),
        };
        if code != status.as_u16() {
            reply.broke_off(&mut down_sink);
        } else if !body.is_taken() {
            // It was answered before it was sent: nobody reads the rest.
            reply.broke_off(&mut Sink::Nowhere);
        }
        let whole = code == status.as_u16() && answer.keep && up.is_done();
        drop((sink, down_body));
        if whole {
            lease.finish(endpoint, Instant::now());
        }
        Ok(Walked { status: code, tunnel: None })
    }

    async fn inject(&self, route: &Route) -> Result<(), Refusal> {
        let Some(fault) = &route.fault else { return Ok(()) };
        if let Some((time, percent)) = fault.delay
            && self.worker.chance(percent)
        {
            let over = tokio::time::sleep(time);
            let until = self.deadline.at.unwrap_or_else(|| self.began + FOREVER);
            timeout_at(until, over).await.map_err(|_| Refusal::deadline(false))?;
        }
        match fault.abort {
            Some((status, percent)) if self.worker.chance(percent) => Err(Refusal::new(
                status,
                errors::MESH_FAULT,
                "a fault was injected here on purpose",
            )),
            _ => Ok(()),
        }
    }

    async fn key<'h>(
        &self,
        route: &Route,
        head: &'h request::Parts,
        body: &mut Body<'_>,
    ) -> Result<Option<Cow<'h, str>>, Refusal> {
        let Some(rule) = &route.key else { return Ok(None) };
        if let Some(found) = rule.of_head(head) {
            return Ok(Some(found));
        }
        if !rule.looks_into_body()
            || body.said().is_some_and(|length| length > JSON_BYTES_MAX as u64)
        {
            return Ok(None);
        }
        let whole = self.whole(body).await?;
        Ok(whole.and_then(|whole| rule.of_body(&whole)).map(Cow::Owned))
    }

    /// All of a body that is small enough to be kept, within what a client is
    /// given for its next piece.
    async fn whole(&self, body: &mut Body<'_>) -> Result<Option<Bytes>, Refusal> {
        let stall = Some(self.stall()).filter(|stall| !stall.is_zero()).unwrap_or(FOREVER);
        let until = Instant::now() + stall;
        let until = self.deadline.at.map_or(until, |at| at.min(until));
        match timeout_at(until, body.whole()).await {
            Ok(whole) => whole.map_err(|broken| client_broke(&broken)),
            Err(_) => Err(client_broke(&Broken::TooSlow)),
        }
    }

    fn stall(&self) -> Duration {
        self.plan.shared.config.limits.stall_timeout.0
    }

    fn limit(&self, route: &Route, key: Option<&str>) -> Result<(), Refusal> {
        let Some(limit) = &route.rate_limit else { return Ok(()) };
        let since = rules::since_began(self.began);
        let admitted = match limit.by {
            RateBy::Route => limit.admit(None, since),
            RateBy::Key => limit.admit(Some(key.unwrap_or_default()), since),
            RateBy::Client => limit.admit(Some(&self.client.address.ip().to_string()), since),
        };
        admitted.map_err(|wait| {
            let message = format!("route {} takes no more requests now", route.name);
            let refusal =
                Refusal::new(StatusCode::TOO_MANY_REQUESTS, errors::MESH_RATE_LIMIT, message);
            Refusal { retry_after_s: Some(wait.as_secs() + 1), ..refusal }
        })
    }

    fn cluster(&self, route: &Route, key: Option<&str>) -> Result<Rc<Local>, Refusal> {
        let at = route.to.cluster(key, || self.worker.draw());
        at.map(|at| self.plan.clusters[at].clone()).ok_or_else(|| {
            let message = match key {
                None => format!("route {} needs a key and found none", route.name),
                Some(_) => format!("route {} knows no way for this key", route.name),
            };
            Refusal::new(StatusCode::BAD_REQUEST, errors::MESH_NO_KEY, message)
        })
    }

    fn own(
        &mut self,
        reply: &mut Reply<'_>,
        status: StatusCode,
        mut headers: HeaderMap,
        body: Bytes,
        route: &Route,
    ) -> Result<Walked, Refusal> {
        route.response_headers.apply(&mut headers);
        let sent = reply.own(Own { status, headers, body }, self.request_is_read);
        let status = sent.map_or(CLIENT_GONE, |()| status.as_u16());
        Ok(Walked { status, tunnel: None })
    }
}
