//! One payment: tries under one key until an answer settles it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::Method;
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;
use topology::{Shard, UserId};

use crate::{
    Config, Outcome, Record, RunId, Try, TryFailure,
    account::CURRENCY,
    edge::{Answer, Edges},
};

/// Between two tries of one payment.
pub(crate) const PAUSE: Duration = Duration::from_millis(50);

pub(crate) struct Payment {
    pub number: u64,
    pub user: UserId,
    /// When the run began.
    pub shard: Shard,
    pub due: Instant,
    /// When the run began; the history counts from there.
    pub start: Instant,
}

/// The parts of an answer that the history keeps.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Settled {
    status: String,
    unit: Option<String>,
    epoch: Option<u64>,
    error: Option<ErrorBody>,
}

#[derive(Deserialize)]
struct ErrorBody {
    code: String,
}

/// What an answer says about the payment it was asked for.
enum Verdict {
    /// It stands.
    Yes,
    /// This request did not make it and never will.
    No,
    /// Nothing: try again.
    Open,
}

// === impl Payment ===

impl Payment {
    /// Runs it to its end. Never fails: not knowing is an outcome.
    pub(crate) async fn run(self, edges: Arc<Edges>, run: RunId, give_up: Duration) -> Record {
        let mut record = self.record(&run);
        let body = json!({
            "payer": self.user, "merchant": self.merchant(), "amount": record.amount,
            "currency": CURRENCY,
        });
        let body = Bytes::from(body.to_string());
        let key = self.key(&run);
        let give_up = self.due + give_up;
        let first = usize::try_from(self.number).unwrap_or(0);
        for attempt in 0.. {
            let left = give_up.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let limit = left.min(Config::TRY_TIMEOUT);
            // An edge that lives answers before we turn away from it.
            let deadline = limit.saturating_sub(Config::ANSWER_MARGIN).max(Config::ANSWER_MARGIN);
            let deadline_ms = deadline.as_millis().to_string();
            let headers = [
                ("polis-uid", self.user.as_str()),
                ("idempotency-key", key.as_str()),
                ("polis-deadline-ms", deadline_ms.as_str()),
                ("content-type", "application/json"),
            ];
            let edge = edges.choose(first, attempt);
            let sent =
                edges.send(edge, Method::POST, "/v1/payments", &headers, body.clone(), limit);
            let failure = match sent.await {
                Ok(answer) => match verdict(&answer) {
                    // A "no" says nothing about an earlier copy that may still arrive.
                    Verdict::No if record.failed.iter().any(may_arrive) => {
                        TryFailure::Status(answer.status)
                    }
                    Verdict::Yes => {
                        settle(&mut record, edge, &answer);
                        return self.end(record, Outcome::Acked);
                    }
                    Verdict::No => {
                        settle(&mut record, edge, &answer);
                        return self.end(record, Outcome::Refused);
                    }
                    Verdict::Open => TryFailure::Status(answer.status),
                },
                Err(failure) => failure,
            };
            record.failed.push(Try { edge, failure, at_us: self.micros() });
            // Another edge may know better at once; the same one, hardly.
            if attempt + 1 >= edges.len() || matches!(failure, TryFailure::Status(_)) {
                tokio::time::sleep(PAUSE).await;
            }
        }
        self.end(record, Outcome::Unknown)
    }

    /// What is recorded when too many are under way.
    pub(crate) fn not_sent(self, run: &RunId) -> Record {
        let record = self.record(run);
        self.end(record, Outcome::NotSent)
    }

    fn record(&self, run: &RunId) -> Record {
        let due = self.due.saturating_duration_since(self.start);
        Record {
            id: format!("{}.{}", self.user, self.key(run)),
            shard: self.shard,
            // Small and varied, so that sums tell one payment from another.
            amount: 1 + self.number % 997,
            due_us: micros(due),
            end_us: 0,
            outcome: Outcome::Unknown,
            status: None,
            code: None,
            edge: None,
            unit: None,
            epoch: None,
            failed: Vec::new(),
        }
    }

    fn key(&self, run: &RunId) -> String {
        format!("{run}-{}", self.number)
    }

    fn merchant(&self) -> String {
        format!("m-{}", self.number % 7)
    }

    fn micros(&self) -> u64 {
        micros(Instant::now().saturating_duration_since(self.start))
    }

    fn end(&self, record: Record, outcome: Outcome) -> Record {
        Record { outcome, end_us: self.micros(), ..record }
    }
}

fn verdict(answer: &Answer) -> Verdict {
    match answer.status {
        200 | 201 if parse(answer).status == "Committed" => Verdict::Yes,
        status if is_refusal(status) => Verdict::No,
        _ => Verdict::Open,
    }
}

/// After a timeout, a misdirection, "too early" or "too many", another try may
/// do better; any other 4xx stays what it is.
pub(crate) fn is_refusal(status: u16) -> bool {
    (400..500).contains(&status) && !matches!(status, 408 | 421 | 425 | 429)
}

/// Whether the request of this try may still be carried out. A connection that
/// was refused carried nothing, and 421 is the fence's word that nothing was
/// applied; everything else leaves it open.
fn may_arrive(failed: &Try) -> bool {
    !matches!(failed.failure, TryFailure::NotConnected | TryFailure::Status(421))
}

/// Keeps what the settling answer says.
fn settle(record: &mut Record, edge: usize, answer: &Answer) {
    let parsed = parse(answer);
    record.edge = Some(edge);
    record.status = Some(answer.status);
    record.code = parsed.error.map(|error| error.code);
    record.unit = parsed.unit;
    record.epoch = parsed.epoch;
}

fn parse(answer: &Answer) -> Settled {
    serde_json::from_slice(&answer.body).unwrap_or_default()
}

/// Asks for the final word on a payment that got no definite answer, for `limit`.
pub(crate) async fn resolve(
    edges: &Edges,
    unknown: &Record,
    start: Instant,
    limit: Duration,
) -> Record {
    let path = format!("/v1/payments/{}:resolve", unknown.id);
    let mut record = unknown.clone();
    record.failed.clear();
    let until = Instant::now() + limit;
    for attempt in 0.. {
        let edge = edges.choose(0, attempt);
        let limit = Config::TRY_TIMEOUT;
        let sent = edges.send(edge, Method::POST, &path, &[], Bytes::new(), limit).await;
        if let Ok(answer) = sent
            && answer.status == 200
        {
            settle(&mut record, edge, &answer);
            record.outcome = match parse(&answer).status.as_str() {
                "Committed" => Outcome::ResolvedCommitted,
                "Cancelled" => Outcome::ResolvedCancelled,
                _ => Outcome::Unknown,
            };
            break;
        }
        if Instant::now() + PAUSE >= until {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    record.end_us = micros(Instant::now().saturating_duration_since(start));
    record
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
