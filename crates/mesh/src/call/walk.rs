//! A call's way: its route, faults and limits, a cluster, then tries until
//! there is an answer.
//!
//! What may be tried again: what was not written, and of the rest only what
//! its route says is idempotent. A call whose connection broke is answered as
//! lost: the outcome is unknown.

use std::{net::SocketAddr, rc::Rc, time::Duration};

use bytes::Bytes;
use http::StatusCode;
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    client::Caller,
    frame::{Frame, Wire},
};
use crate::{
    access_log::Line,
    config::{
        Spoken,
        model::{RateBy, Retry},
    },
    refusal::Refusal,
    route::Route,
    rules,
    upstream::{Busy, ConnectError, Local, LocalEndpoint, Lost, channel},
    worker::{Plan, Worker},
};

/// A call without any timeout still ends.
const FOREVER: Duration = Duration::from_secs(60 * 60);
/// A copy is waited for so long.
const MIRROR_PATIENCE: Duration = Duration::from_secs(15);

struct Walk<'w> {
    worker: &'w Worker,
    plan: &'w Plan,
    caller: &'w Caller,
    began: Instant,
    /// How long the caller waits.
    said: Option<Duration>,
    endpoint: Option<SocketAddr>,
    tries: u32,
    request: Request,
}

/// The frame, before it is sent and as it was sent.
struct Request {
    wire: Wire,
    two_way: bool,
    frame: Option<Frame>,
    sent: Bytes,
}

/// How a try ended without an answer.
enum Failed {
    Unreached(ConnectError),
    Lost(Lost),
    TimedOut { sent: bool },
}

/// Answers one call of a client of `listener`.
pub(super) async fn relay(
    worker: &Rc<Worker>,
    listener: &str,
    caller: &Caller,
    frame: Frame,
    two_way: bool,
) {
    let began = Instant::now();
    let plan = worker.plan();
    let wire = frame.lane().wire();
    let Some(at) = plan.listener(listener) else {
        if let Some(answer) = frame.refuse(&Refusal::no_route()) {
            caller.put(answer);
        }
        return;
    };
    let routes = &plan.shared.listeners[at].routes;
    let spoken = match wire {
        Wire::Bolt => Spoken::Bolt,
        Wire::Dubbo => Spoken::Dubbo,
    };
    let (found, key, said, line) = {
        let mut view = frame.view();
        let found =
            routes.iter().position(|route| route.matches_call(spoken, &mut view, &caller.client));
        let rule = found.and_then(|found| routes[found].key.as_ref());
        let key = rule.and_then(|rule| rule.of_call(&mut view)).map(std::borrow::Cow::into_owned);
        let line = worker.access_log().map(|_| Line::of_call(&mut view, &caller.client));
        (found, key, view.timeout(), line)
    };
    let metrics = plan.metrics(at, found);
    metrics.began();
    let id = frame.id();
    let request = Request { wire, two_way, frame: Some(frame), sent: Bytes::new() };
    let (plan, endpoint) = (&plan, None);
    let mut walk = Walk { worker, plan, caller, began, said, endpoint, tries: 0, request };
    let walked = match found.map(|found| &routes[found]) {
        None => Err(Refusal::no_route()),
        Some(route) => walk.run(route, key.as_deref()).await,
    };
    let status = match walked {
        Ok(None) => StatusCode::OK,
        Ok(Some(mut answer)) => {
            answer.set_id(id);
            let status = answer.status();
            caller.put(answer);
            status
        }
        Err(refusal) => {
            if two_way && !caller.is_gone() {
                let mut frame = walk.request.take();
                frame.set_id(id);
                if let Some(answer) = frame.refuse(&refusal) {
                    caller.put(answer);
                }
            }
            refusal.status
        }
    };
    let took = began.elapsed();
    metrics.ended(status.as_u16(), took);
    if let Some((line, log)) = line.zip(worker.access_log()) {
        let route = found.map(|found| routes[found].name.as_str());
        log.write(line.finish(route, walk.endpoint, status.as_u16(), walk.tries, took));
    }
}

// === impl Request ===

impl Request {
    /// The frame, which is not kept while it is with the endpoint.
    fn take(&mut self) -> Frame {
        self.frame.take().unwrap_or_else(|| self.wire.again(&self.sent))
    }
}

// === impl Walk ===

impl Walk<'_> {
    /// The answer; none to a call that expects none.
    async fn run(&mut self, route: &Route, key: Option<&str>) -> Result<Option<Frame>, Refusal> {
        let nearest = [route.timeout, self.said].into_iter().flatten().min();
        let until = self.began + nearest.unwrap_or(FOREVER);
        if route.fault.is_some() {
            Box::pin(self.inject(route, until)).await?;
        }
        self.limit(route, key)?;
        let at = route.to.cluster(key, || self.worker.draw());
        let Some(at) = at else { return Err(no_way(route, key)) };
        let cluster = &self.plan.clusters[at];
        let Some(_busy) = cluster.shared.admit() else {
            let message =
                format!("cluster {} has as many requests as allowed", cluster.shared.name);
            return Err(unavailable(errors::MESH_OVERFLOW, message));
        };
        if let Some(frame) = &mut self.request.frame {
            for (name, value) in &route.stamps {
                frame.stamp(name, value).map_err(|why| {
                    let message = format!("cannot stamp the call: {why}");
                    Refusal::new(StatusCode::BAD_REQUEST, errors::MESH_MALFORMED, message)
                })?;
            }
            if let Some((at, percent)) = route.mirror
                && self.worker.chance(percent)
            {
                let frame_bytes_max = self.plan.shared.config.limits.frame_bytes;
                let destination = self.caller.client.destination;
                mirror(self.plan.clusters[at].clone(), frame.clone(), frame_bytes_max, destination);
            }
        }
        self.try_on(route, cluster, key, until).await
    }

    /// Tries until there is an answer.
    async fn try_on(
        &mut self,
        route: &Route,
        cluster: &Rc<Local>,
        key: Option<&str>,
        until: Instant,
    ) -> Result<Option<Frame>, Refusal> {
        let mut tried: Option<Rc<LocalEndpoint>> = None;
        let mut retrying: Option<Busy> = None;
        loop {
            let now = Instant::now();
            let endpoint = cluster
                .pick(self.caller.client.destination, key, tried.as_deref(), now)
                .ok_or_else(|| {
                    let message = format!("cluster {} has no endpoint here", cluster.shared.name);
                    unavailable(errors::MESH_UNREACHABLE, message)
                })?;
            self.endpoint = Some(endpoint.shared.address);
            self.tries += 1;
            let under_way = endpoint.begin(now);
            let try_timeout = route.retry.as_ref().and_then(|retry| retry.try_timeout);
            let try_until = try_timeout.map_or(until, |time| until.min(now + time.0));
            let failed = match self.attempt(cluster, &endpoint, try_until).await {
                Ok(answer) => {
                    let now = Instant::now();
                    under_way.answered(now);
                    let bad = answer.as_ref().is_some_and(|a| a.status().is_server_error());
                    cluster.shared.observe(&endpoint.shared, bad, now);
                    return Ok(answer);
                }
                Err(failed) => failed,
            };
            let now = Instant::now();
            if !matches!(failed, Failed::Unreached(ConnectError::NoRoom)) {
                cluster.shared.observe(&endpoint.shared, true, now);
            }
            let default = Retry { attempts: u32::from(failed.unseen()), ..Retry::default() };
            let retry = route.retry.as_ref().unwrap_or(&default);
            let again = now < until && (failed.unseen() || route.idempotent);
            if again && self.tries <= retry.attempts {
                drop(retrying.take());
                // What no endpoint has seen adds nothing to what they carry.
                if !failed.unseen() {
                    retrying = cluster.shared.admit_retry(retry.budget_percent, retry.budget_min);
                }
                if failed.unseen() || retrying.is_some() {
                    self.worker.metrics.retries.add(1);
                    tried = Some(endpoint);
                    continue;
                }
            }
            return Err(failed.refusal(route.idempotent));
        }
    }

    /// One try.
    async fn attempt(
        &mut self,
        cluster: &Rc<Local>,
        endpoint: &Rc<LocalEndpoint>,
        until: Instant,
    ) -> Result<Option<Frame>, Failed> {
        let mut frame = self.request.take();
        let frame_bytes_max = self.plan.shared.config.limits.frame_bytes;
        let lane = frame.lane();
        let opened = match channel::ready(endpoint, lane) {
            Some(channel) => Ok(Ok(channel)),
            None => {
                let open = channel::open(cluster, endpoint, lane, frame_bytes_max);
                // Boxed, as what is rare here is large, and every call has a task.
                Box::pin(timeout_at(until, open)).await
            }
        };
        let failed = match opened {
            Ok(Ok(channel)) => {
                frame.set_timeout(until.saturating_duration_since(Instant::now()));
                match channel.send(frame, self.request.two_way) {
                    Ok((ticket, sent)) => {
                        self.request.sent = sent;
                        let Some(ticket) = ticket else { return Ok(None) };
                        let answered = timeout_at(until, ticket.answer()).await;
                        return match answered {
                            Ok(answer) => answer.map(Some).map_err(Failed::Lost),
                            Err(_) => Err(Failed::TimedOut { sent: true }),
                        };
                    }
                    Err(frame) => {
                        self.request.frame = Some(*frame);
                        return Err(Failed::Lost(Lost { unsent: true }));
                    }
                }
            }
            Ok(Err(error)) => Failed::Unreached(error),
            Err(_) => Failed::TimedOut { sent: false },
        };
        self.request.frame = Some(frame);
        Err(failed)
    }

    async fn inject(&self, route: &Route, until: Instant) -> Result<(), Refusal> {
        let Some(fault) = &route.fault else { return Ok(()) };
        if let Some((time, percent)) = fault.delay
            && self.worker.chance(percent)
        {
            let over = tokio::time::sleep(time);
            timeout_at(until, over).await.map_err(|_| Refusal::deadline(false))?;
        }
        match fault.abort {
            Some((status, percent)) if self.worker.chance(percent) => {
                let message = "a fault was injected here on purpose";
                Err(Refusal::new(status, errors::MESH_FAULT, message))
            }
            _ => Ok(()),
        }
    }

    fn limit(&self, route: &Route, key: Option<&str>) -> Result<(), Refusal> {
        let Some(limit) = &route.rate_limit else { return Ok(()) };
        let since = rules::since_began(self.began);
        let admitted = match limit.by {
            RateBy::Route => limit.admit(None, since),
            RateBy::Key => limit.admit(Some(key.unwrap_or_default()), since),
            RateBy::Client => {
                limit.admit(Some(&self.caller.client.address.ip().to_string()), since)
            }
        };
        admitted.map_err(|_| {
            let message = format!("route {} takes no more requests now", route.name);
            Refusal::new(StatusCode::TOO_MANY_REQUESTS, errors::MESH_RATE_LIMIT, message)
        })
    }
}

// === impl Failed ===

impl Failed {
    /// The endpoint saw nothing of it.
    fn unseen(&self) -> bool {
        match self {
            Failed::Unreached(_) | Failed::TimedOut { sent: false } => true,
            Failed::Lost(lost) => lost.unsent,
            Failed::TimedOut { sent: true } => false,
        }
    }

    fn refusal(&self, idempotent: bool) -> Refusal {
        match self {
            Failed::Unreached(error @ ConnectError::NoRoom) => {
                unavailable(errors::MESH_OVERFLOW, error.to_string())
            }
            Failed::Unreached(error) => unavailable(errors::MESH_UNREACHABLE, error.to_string()),
            Failed::Lost(Lost { unsent: true }) => {
                let message = "the connection to the endpoint closed before the call".to_owned();
                unavailable(errors::MESH_UNREACHABLE, message)
            }
            Failed::Lost(_) => {
                let unknown = if idempotent { "" } else { ", the outcome is unknown" };
                let message = format!("the connection broke: the answer was lost{unknown}");
                Refusal::new(StatusCode::BAD_GATEWAY, errors::MESH_LOST, message)
            }
            Failed::TimedOut { sent } => Refusal::deadline(*sent),
        }
    }
}

fn unavailable(code: errors::Code, message: String) -> Refusal {
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, code, message)
}

fn no_way(route: &Route, key: Option<&str>) -> Refusal {
    let message = match key {
        None => format!("route {} needs a key and found none", route.name),
        Some(_) => format!("route {} knows no way for this key", route.name),
    };
    Refusal::new(StatusCode::BAD_REQUEST, errors::MESH_NO_KEY, message)
}

/// Sends a copy whose answer nobody waits for.
fn mirror(
    cluster: Rc<Local>,
    frame: Frame,
    frame_bytes_max: usize,
    destination: Option<SocketAddr>,
) {
    let send = async move {
        let _busy = cluster.shared.admit()?;
        let endpoint = cluster.pick(destination, None, None, Instant::now())?;
        let lane = frame.lane();
        let channel = channel::open(&cluster, &endpoint, lane, frame_bytes_max).await.ok()?;
        let (ticket, _) = channel.send(frame, true).ok()?;
        ticket?.answer().await.ok()
    };
    tokio::task::spawn_local(async move {
        let _ = timeout(MIRROR_PATIENCE, send).await;
    });
}
