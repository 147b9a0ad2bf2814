//! One request's tries and waits, until an answer or the deadline.
//!
//! One loop. Each turn routes by the table of the moment and either tries the
//! owner or waits in the hold queue; how a try ended decides what may follow:
//!
//! - an answer goes to the user;
//! - 421 is the fence's definite "not applied": any request may be replayed;
//! - a connection that never came, or broke before the request was on it,
//!   applied nothing either;
//! - a lost answer leaves the outcome unknown: only what is idempotent by
//!   contract is sent again, everything else becomes a 502 that says so.

use std::{cell::Cell, pin::pin, rc::Rc, task::Poll};

use bytes::Bytes;
use hop::{Outgoing, Sink};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, request};
use rt::backoff::Backoff;
use tokio::time::{Instant, sleep_until};
use topology::{Bucket, Epoch, Shard, Stamp};

use crate::{
    attempt::{Answer, Failed, Tail, ask},
    headers,
    hold::Ticket,
    key::{Aim, Key, Zone},
    pool::EndpointId,
    refusal::Refusal,
    table::{Route, Target},
    worker::{Worker, is_newer},
};

/// What a waiting request costs besides its body.
const HELD_BYTES_OVERHEAD: usize = 1_024;

/// Requests that broke off before they were sent are tried again at once this
/// often, since keep-alive connections do end under us; after that they wait.
const IMMEDIATE_RETRIES_MAX: u32 = 2;

/// A request on its way through the edge.
pub(crate) struct Exchange {
    worker: Rc<Worker>,
    key: Key,
    /// Its shard by the table that it was routed by last.
    shard: Shard,
    /// The owner has said which bucket the body is of.
    told: Option<Bucket>,
    ticket: Ticket,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
    deadline: Instant,
    backoff: Backoff,
    immediate_retries: u32,
    /// This epoch of the shard has been seen to fail.
    newer_than: Option<Epoch>,
    /// A try may have been executed without our seeing its answer.
    maybe_applied: bool,
}

/// How one try ended.
enum Tried {
    Answered(Answer),
    /// Nothing was sent.
    Unreachable,
    Unsent,
    /// Sent, and the connection broke.
    Lost,
    /// The shard went elsewhere meanwhile.
    Superseded {
        sent: bool,
    },
    DeadlinePassed {
        sent: bool,
    },
}

// === impl Exchange ===

impl Exchange {
    /// `head` is what every try sends, apart from the stamp and the deadline.
    pub(crate) fn new(
        worker: Rc<Worker>,
        key: Key,
        head: request::Parts,
        body: Bytes,
        deadline: Instant,
    ) -> Exchange {
        Exchange {
            ticket: worker.ticket(),
            backoff: worker.backoff(),
            shard: worker.table().shard_of(&key.aim),
            told: None,
            worker,
            key,
            method: head.method,
            uri: head.uri,
            headers: head.headers,
            body,
            deadline,
            immediate_retries: 0,
            newer_than: None,
            maybe_applied: false,
        }
    }

    pub(crate) async fn run(mut self) -> Result<Answer, Refusal> {
        loop {
            self.find_shard()?;
            let target = match self.worker.route(self.shard) {
                Route::Serve(target) if is_newer(target.epoch, self.newer_than) => target,
                Route::Serve(_) | Route::Wait(_) => {
                    self.wait().await?;
                    continue;
                }
            };
            let Some(endpoint) = self.worker.pick(&target) else {
                for address in &target.endpoints {
                    let id = EndpointId { unit: target.unit.clone(), address: *address };
                    self.worker.probe(&id);
                }
                self.wait().await?;
                continue;
            };
            // Who came first tries first, and what it is told holds for all.
            if self.worker.is_behind(&target, self.ticket) {
                self.newer_than = Some(target.epoch);
                self.wait().await?;
                continue;
            }
            let started = Instant::now();
            match self.attempt(&target, &endpoint).await {
                Tried::Answered(answer)
                    if answer.parts.status == StatusCode::MISDIRECTED_REQUEST =>
                {
                    self.misdirected(&target, answer);
                }
                Tried::Answered(answer) => {
                    self.worker.served(self.shard);
                    let unit = self.worker.unit_metrics(&target.unit);
                    unit.answered(answer.parts.status, started.elapsed());
                    return Ok(self.dress(answer));
                }
                // The endpoint is marked as failing now: the next turn waits.
                Tried::Unreachable => {}
                Tried::Unsent => self.again(target.epoch),
                Tried::Lost => {
                    self.worker.metrics.lost.add(1);
                    self.worker.unit_metrics(&target.unit).unanswered();
                    self.sent_in_vain()?;
                    self.again(target.epoch);
                }
                Tried::Superseded { sent } => {
                    self.worker.metrics.superseded.add(1);
                    if sent {
                        self.sent_in_vain()?;
                    }
                }
                Tried::DeadlinePassed { sent } => {
                    self.maybe_applied |= sent && !self.key.read;
                    return Err(self.expired(sent));
                }
            }
            self.worker.metrics.replays.add(1);
        }
    }

    /// Whose the request is by the table of now: a split may have changed it.
    fn find_shard(&mut self) -> Result<(), Refusal> {
        let table = self.worker.table();
        let shard = table.shard_of(&self.key.aim);
        if table.knows_no(&self.key.aim) {
            let message = format!("there is no shard {shard}");
            return Err(Refusal::new(StatusCode::NOT_FOUND, errors::UNKNOWN_PATH, message));
        }
        if shard != self.shard {
            self.worker.hold.borrow_mut().gone(self.shard, self.ticket);
            self.shard = shard;
        }
        Ok(())
    }

    /// Sends the request once and waits for the head of the answer.
    async fn attempt(&mut self, target: &Target, endpoint: &EndpointId) -> Tried {
        let Exchange { worker, key, method, uri, headers, body, deadline, .. } = self;
        let sent = Cell::new(false);
        headers.insert(headers::STAMP, target.stamp.clone());
        let exchange = pin!(async {
            let Ok(checkout) = worker.pool.checkout(endpoint).await else {
                return Tried::Unreachable;
            };
            sent.set(true);
            let left = deadline.saturating_duration_since(Instant::now()).as_millis();
            let left = u64::try_from(left).unwrap_or(u64::MAX).max(1);
            headers.insert(headers::DEADLINE, HeaderValue::from(left));
            let length = Some(body.len() as u64);
            let request = Outgoing { method, uri, headers, length, upgrade: None };
            match ask(checkout, request, body.clone()).await {
                Ok(answer) => Tried::Answered(answer),
                Err(Failed::Unsent) => Tried::Unsent,
                Err(Failed::Lost) => Tried::Lost,
            }
        });
        let superseded = pin!(async {
            worker.superseded(target, endpoint.address).await;
            // What must not be sent twice is waited for, whoever owns the shard now.
            if sent.get() && !key.replayable {
                std::future::pending::<()>().await;
            }
        });
        tokio::select! {
            biased;
            tried = exchange => tried,
            () = superseded => Tried::Superseded { sent: sent.get() },
            () = sleep_until(*deadline) => Tried::DeadlinePassed { sent: sent.get() },
        }
    }

    /// The answer as the user gets it.
    fn dress(&self, mut answer: Answer) -> Answer {
        let headers = &mut answer.parts.headers;
        headers::strip_hop_by_hop(headers);
        if let Some(bucket) = self.told.filter(|_| self.key.user.is_none()) {
            let zone = Zone::of(bucket, self.worker.table().layout());
            headers::set_zone_cookie(headers, zone);
        }
        answer
    }

    /// The fence refused: nothing was applied. Our table is old, or the owner
    /// is just letting go or taking over; either way the next table knows more.
    fn misdirected(&mut self, target: &Target, answer: Answer) {
        self.worker.metrics.misdirected.add(1);
        let bucket = answer.parts.headers.get(&headers::BUCKET);
        let bucket: Option<Bucket> =
            bucket.and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
        // Once: the body does not change, so whoever says something else later is
        // no better informed.
        if let Some(bucket) = bucket.filter(|_| self.told.is_none()) {
            self.told = Some(bucket);
            self.key.aim = Aim::Bucket(bucket);
            self.read_to_its_end(answer.tail);
            return;
        }
        let fence = answer.parts.headers.get(&headers::FENCE);
        let fence: Option<Stamp> =
            fence.and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
        // A table with the fence's own epoch is good enough to try.
        let before_fence = fence.map_or(0, |fence| fence.epoch.0.saturating_sub(1));
        self.newer_than = Some(target.epoch.max(Epoch(before_fence)));
        self.worker.refresh.ask();
        self.read_to_its_end(answer.tail);
    }

    /// So that the connection is kept.
    fn read_to_its_end(&self, tail: Tail) {
        let patience = self.worker.limits.connect_timeout;
        tokio::task::spawn_local(async move {
            let _ = tail.move_to(&mut Sink::Nowhere, patience, |_| Poll::Pending).await;
        });
    }

    /// Nothing came of a try: at once again while that may help, else first
    /// in line with the others.
    fn again(&mut self, epoch: Epoch) {
        self.immediate_retries += 1;
        if self.immediate_retries > IMMEDIATE_RETRIES_MAX {
            self.newer_than = Some(epoch);
        }
    }

    /// A try was sent and not answered. Whoever may not be repeated ends here.
    fn sent_in_vain(&mut self) -> Result<(), Refusal> {
        self.maybe_applied |= !self.key.read;
        if self.key.replayable {
            return Ok(());
        }
        let message = "the connection to the owner was lost before it answered";
        Err(Refusal::new(StatusCode::BAD_GATEWAY, errors::OUTCOME_UNKNOWN, message))
    }

    /// Stands in line until there is reason to try again, or the deadline.
    async fn wait(&mut self) -> Result<(), Refusal> {
        let since = Instant::now();
        if since >= self.deadline {
            return Err(self.expired(false));
        }
        let bytes = self.body.len() + HELD_BYTES_OVERHEAD;
        let worker = self.worker.clone();
        let entered =
            worker.hold.borrow_mut().enter(self.shard, self.ticket, self.newer_than, bytes);
        let Ok(mut woken) = entered else {
            worker.metrics.hold_refused.add(1);
            return Err(self.no_room());
        };
        let _place = InLine { worker: &worker, shard: self.shard, ticket: self.ticket, since };
        worker.gauge_hold();
        loop {
            // Who was refused by an owner that can be reached asks it again
            // after a while; everyone else waits for news.
            let wake_at = match self.newer_than {
                None => self.deadline,
                Some(_) => self.deadline.min(Instant::now() + self.backoff.step()),
            };
            tokio::select! {
                biased;
                _ = &mut woken => break,
                () = sleep_until(wake_at) => {}
            }
            if Instant::now() >= self.deadline {
                return Err(self.expired(false));
            }
            // The first in line tries for all; its success wakes the others.
            if worker.hold.borrow_mut().go_first(self.shard, self.ticket) {
                break;
            }
        }
        self.newer_than = None;
        Ok(())
    }

    fn no_room(&self) -> Refusal {
        if self.maybe_applied {
            return self.unknown();
        }
        let message = format!("too many requests wait for shard {}", self.shard);
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, errors::HOLD_QUEUE_FULL, message)
    }

    /// The deadline has passed, with a try on its way (`sent`) or not.
    fn expired(&self, sent: bool) -> Refusal {
        let shard = self.shard;
        if self.maybe_applied {
            return self.unknown();
        }
        if sent {
            let message = format!("the owner of shard {shard} did not answer within the deadline");
            return Refusal::new(StatusCode::GATEWAY_TIMEOUT, errors::OWNER_SILENT, message);
        }
        let message = format!("shard {shard} was not served within the deadline");
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, errors::SHARD_UNAVAILABLE, message)
    }

    fn unknown(&self) -> Refusal {
        let message = format!(
            "a try reached an owner of shard {} and no answer came within the deadline",
            self.shard
        );
        Refusal::new(StatusCode::GATEWAY_TIMEOUT, errors::OUTCOME_UNKNOWN, message)
    }
}

/// A place in the hold queue, left when dropped: also when the user leaves.
struct InLine<'a> {
    worker: &'a Worker,
    shard: Shard,
    ticket: Ticket,
    since: Instant,
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.worker.hold.borrow_mut().gone(self.shard, self.ticket);
    }
}

// === impl InLine ===

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        self.worker.hold.borrow_mut().leave(self.shard, self.ticket);
        self.worker.metrics.held(self.since.elapsed());
        self.worker.gauge_hold();
    }
}
