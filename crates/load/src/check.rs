//! The proof after a run: every acknowledged payment is there once, every
//! refused one is not, and the books balance.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::Method;
use rt::Clock;
use serde::{Deserialize, Serialize};
use topology::Shard;

use crate::{
    EdgeUrl, Error, Outcome, Record,
    edge::{Answer, Edges},
    payment::PAUSE,
};

/// Look-ups under way at once.
const CONCURRENCY: usize = 64;
/// Audits under way at once: each walks all of a shard.
const AUDITS: usize = 2;
/// Of one look-up; the estate is well again when it is checked.
const LOOK_UP_LIMIT: Duration = Duration::from_secs(10);
const AUDIT_LIMIT: Duration = Duration::from_secs(60);
const TRIES_MAX: usize = 20;
/// Ids listed; the counts go on.
const LISTED_MAX: usize = 20;

/// The eleven invariants of every drill, and those that have a meaning here.
const INVARIANTS: std::ops::RangeInclusive<u8> = 1..=11;
/// Each shard's audit tells of these.
const AUDITED: [u8; 6] = [1, 2, 3, 4, 6, 9];
/// Acknowledged is present, refused is absent, unknown is resolved.
const PRESENCE: u8 = 7;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Invariant {
    #[serde(rename = "ok")]
    Ok,
    #[serde(rename = "violated")]
    Violated,
    /// It has no meaning for what is served today.
    #[serde(rename = "n/a")]
    NotApplicable,
}

#[derive(Clone, Debug, Serialize)]
pub struct Check {
    pub acked: u64,
    /// Acknowledged and found, with the same amount.
    pub present: u64,
    pub lost: u64,
    /// Applied more than once, by the audits.
    pub doubled: u64,
    /// Refused, and there all the same.
    pub refused_present: u64,
    pub unknown_resolved: u64,
    pub unresolved: u64,
    pub invariants: BTreeMap<u8, Invariant>,
    /// The first lost ids and violations, for a person.
    pub findings: Vec<String>,
}

#[derive(Deserialize)]
struct Found {
    #[serde(default)]
    status: String,
    #[serde(default)]
    amount: u64,
}

#[derive(Deserialize)]
struct Audited {
    violation_count: u64,
    violations: Vec<Violation>,
}

#[derive(Deserialize)]
struct Violation {
    invariant: u8,
    bucket: String,
    what: String,
}

/// Checks `records` of one run against what the edges give now.
///
/// # Errors
/// When an answer cannot be had: nothing is concluded from silence.
pub async fn check(edges: &[EdgeUrl], records: &[Record]) -> Result<Check, Error> {
    let edges = Arc::new(Edges::new(edges.to_vec(), Clock::real()));
    let of = |outcome| records.iter().filter(move |record| record.outcome == outcome);
    let mut check = Check {
        acked: 0,
        present: 0,
        lost: 0,
        doubled: 0,
        refused_present: 0,
        unknown_resolved: 0,
        unresolved: 0,
        invariants: INVARIANTS.map(|number| (number, Invariant::NotApplicable)).collect(),
        findings: Vec::new(),
    };
    // An unknown payment that was resolved to "committed" counts as promised.
    let promised: Vec<_> = of(Outcome::Acked).chain(of(Outcome::ResolvedCommitted)).collect();
    check.acked = of(Outcome::Acked).count() as u64;
    let resolved = of(Outcome::ResolvedCommitted).chain(of(Outcome::ResolvedCancelled)).count();
    check.unknown_resolved = resolved as u64;
    check.unresolved = (of(Outcome::Unknown).count() - resolved) as u64;
    let mut looked = look_up(&edges, promised);
    while let Some(answer) = looked.next().await {
        let (record, found) = answer?;
        let there = found
            .as_ref()
            .is_some_and(|found| found.status == "Committed" && found.amount == record.amount);
        match (there, record.outcome) {
            (true, Outcome::Acked) => check.present += 1,
            (true, _) => {}
            (false, _) => {
                check.lost += 1;
                check.finding(format_args!("lost: {}", record.id));
            }
        }
    }
    drop(looked);
    let refused: Vec<_> = of(Outcome::Refused).chain(of(Outcome::ResolvedCancelled)).collect();
    let mut looked = look_up(&edges, refused);
    while let Some(answer) = looked.next().await {
        let (record, found) = answer?;
        if found.is_some_and(|found| found.status == "Committed") {
            check.refused_present += 1;
            check.finding(format_args!("refused, yet there: {}", record.id));
        }
    }
    drop(looked);
    let presence = check.lost == 0 && check.refused_present == 0 && check.unresolved == 0;
    let verdict = |ok| if ok { Invariant::Ok } else { Invariant::Violated };
    check.invariants.insert(PRESENCE, verdict(presence));
    check.audit(&edges).await?;
    Ok(check)
}

// === impl Check ===

impl Check {
    /// Nothing lost, nothing doubled, nothing left open, no invariant violated.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.lost == 0
            && self.doubled == 0
            && self.refused_present == 0
            && self.unresolved == 0
            && !self.invariants.values().any(|invariant| *invariant == Invariant::Violated)
    }

    async fn audit(&mut self, edges: &Arc<Edges>) -> Result<(), Error> {
        for number in AUDITED {
            self.invariants.insert(number, Invariant::Ok);
        }
        let mut audits = stream::iter(Shard::all())
            .map(|shard| audit(edges.clone(), shard))
            .buffer_unordered(AUDITS);
        while let Some(audited) = audits.next().await {
            let audited = audited?;
            if audited.violation_count > 0 && audited.violations.is_empty() {
                self.finding(format_args!("{} violations, not listed", audited.violation_count));
            }
            for Violation { invariant, bucket, what } in audited.violations {
                self.invariants.insert(invariant, Invariant::Violated);
                // A payment applied twice breaks "at most once" or rewrites its record.
                self.doubled += u64::from(matches!(invariant, 4 | 6));
                self.finding(format_args!("invariant {invariant}, bucket {bucket}: {what}"));
            }
        }
        Ok(())
    }

    fn finding(&mut self, what: fmt::Arguments<'_>) {
        if self.findings.len() < LISTED_MAX {
            self.findings.push(what.to_string());
        }
    }
}

/// What is stored under each record's id.
fn look_up<'a>(
    edges: &'a Arc<Edges>,
    records: Vec<&'a Record>,
) -> impl futures::Stream<Item = Result<(&'a Record, Option<Found>), Error>> + Unpin + 'a {
    let one = move |record: &'a Record| async move {
        let path = format!("/v1/payments/{}", record.id);
        let answer = ask(edges, &path, LOOK_UP_LIMIT).await;
        let unread = |reason| Error::Audit { shard: record.shard.to_string(), reason };
        match answer {
            Ok(answer) if answer.status == 404 => Ok((record, None)),
            Ok(answer) => match serde_json::from_slice(&answer.body) {
                Ok(found) => Ok((record, Some(found))),
                Err(error) => Err(unread(format!("{}: {error}", record.id))),
            },
            Err(reason) => Err(unread(reason)),
        }
    };
    Box::pin(stream::iter(records).map(one).buffer_unordered(CONCURRENCY))
}

async fn audit(edges: Arc<Edges>, shard: Shard) -> Result<Audited, Error> {
    let failed = |reason| Error::Audit { shard: shard.to_string(), reason };
    let path = format!("/v1/shards/{shard}/audit");
    let answer = ask(&edges, &path, AUDIT_LIMIT).await.map_err(failed)?;
    serde_json::from_slice(&answer.body).map_err(|error| failed(error.to_string()))
}

/// Asks edge after edge until one gives a definite answer.
async fn ask(edges: &Edges, path: &str, limit: Duration) -> Result<Answer, String> {
    let mut reason = String::new();
    let deadline_ms = limit.as_millis().to_string();
    let headers = [("polis-deadline-ms", deadline_ms.as_str())];
    for attempt in 0..TRIES_MAX {
        let edge = edges.choose(0, attempt);
        match edges.send(edge, Method::GET, path, &headers, Bytes::new(), limit).await {
            Ok(answer) if matches!(answer.status, 200 | 404) => return Ok(answer),
            Ok(answer) => {
                let body = String::from_utf8_lossy(&answer.body);
                reason = format!("{path}: status {}: {body}", answer.status);
            }
            Err(failure) => reason = format!("{path}: {failure:?}"),
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(reason)
}
