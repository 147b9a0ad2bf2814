//! The proof after a run: every acknowledged payment is there once, every
//! refused one is not, and the books balance.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::Method;
use serde::{Deserialize, Serialize};
use topology::{BUCKETS, Bucket, BucketRange, DEFAULT_SHARDS, SHARDS_MAX, Shard};

use crate::{
    EdgeUrl, Error, Outcome, Record,
    edge::{Answer, Edges},
    export::{Present, export},
    payment::PAUSE,
};

/// Lists of shards read at once: a unit gives four at a time.
const EXPORTS: usize = 4;
/// Audits under way at once: each walks all of a shard.
const AUDITS: usize = 2;
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Refused, cancelled or never sent, and there all the same.
    pub refused_present: u64,
    pub unknown_resolved: u64,
    pub unresolved: u64,
    pub invariants: BTreeMap<u8, Invariant>,
    /// The first lost ids and violations, for a person.
    pub findings: Vec<String>,
    /// What the shards hold of the run: with the history, all that the counts
    /// follow from.
    #[serde(skip)]
    pub listed: Vec<Present>,
}

/// Buckets that nothing was heard of yet.
struct Uncovered(BTreeSet<Bucket>);

#[derive(Deserialize)]
struct Audited {
    buckets: BucketRange,
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
    let edges = Arc::new(Edges::new(edges.to_vec()));
    let mut listed = Vec::new();
    if let Some(keys) = records.first().and_then(keys_of) {
        let exports = everywhere(EXPORTS, |shard| present(edges.clone(), shard, keys.to_owned()));
        // A part that was cut off meanwhile may be listed with its shard and alone.
        let mut by_id = BTreeMap::<String, Present>::new();
        for present in exports.await?.into_iter().flatten() {
            let known = by_id.entry(present.id.clone()).or_insert_with(|| present.clone());
            known.times = known.times.max(present.times);
        }
        listed.extend(by_id.into_values());
    }
    let mut check = compare(records, listed);
    check.audit(&edges).await?;
    Ok(check)
}

/// What was told about the payments of one run against what is there. Pure: a
/// history and a list that were kept give the same counts again.
#[must_use]
pub fn compare(records: &[Record], listed: Vec<Present>) -> Check {
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
        listed: Vec::new(),
    };
    // A later line says what an unknown payment was resolved to.
    let told = records.iter().map(|record| (record.id.as_str(), record)).collect();
    let present = listed.iter().map(|present| (present.id.as_str(), present)).collect();
    check.compare(told, present);
    check.listed = listed;
    let presence = check.lost == 0 && check.refused_present == 0 && check.unresolved == 0;
    let verdict = |ok| if ok { Invariant::Ok } else { Invariant::Violated };
    check.invariants.insert(PRESENCE, verdict(presence));
    check
}

/// What all keys of the run start with: a key is `RUN-N`.
fn keys_of(record: &Record) -> Option<&str> {
    let (_, key) = record.id.split_once('.')?;
    key.rfind('-').map(|dash| &key[..=dash])
}

/// Asks about every bucket: about the hundred shards that are always there, then
/// about those that came by splitting, for as long as buckets are missing. So the
/// answers themselves prove that nothing was left out, whatever is split meanwhile.
async fn everywhere<T, F>(at_once: usize, ask: impl Fn(Shard) -> F) -> Result<Vec<T>, Error>
where
    F: Future<Output = Result<Option<(BucketRange, T)>, Error>>,
{
    let mut uncovered = Uncovered::everything();
    let mut found = Vec::new();
    let mut answers = stream::iter(Shard::all()).map(&ask).buffer_unordered(at_once);
    while let Some(answer) = answers.next().await {
        found.extend(answer?.map(|(buckets, answer)| uncovered.without(buckets, answer)));
    }
    drop(answers);
    for shard in (DEFAULT_SHARDS..SHARDS_MAX).filter_map(Shard::new) {
        if uncovered.0.is_empty() {
            break;
        }
        found.extend(ask(shard).await?.map(|(buckets, answer)| uncovered.without(buckets, answer)));
    }
    match uncovered.0.first() {
        None => Ok(found),
        Some(bucket) => {
            let reason = format!("no shard says that it has bucket {bucket}");
            Err(Error::Audit { shard: bucket.shard().to_string(), reason })
        }
    }
}

async fn present(
    edges: Arc<Edges>,
    shard: Shard,
    keys: String,
) -> Result<Option<(BucketRange, Vec<Present>)>, Error> {
    let present = export(&edges, shard, &keys).await;
    present.map_err(|reason| Error::Audit { shard: shard.to_string(), reason })
}

// === impl Uncovered ===

impl Uncovered {
    fn everything() -> Uncovered {
        Uncovered((0..BUCKETS).filter_map(Bucket::new).collect())
    }

    fn without<T>(&mut self, buckets: BucketRange, answer: T) -> T {
        for bucket in buckets.iter() {
            self.0.remove(&bucket);
        }
        answer
    }
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

    fn compare(&mut self, told: BTreeMap<&str, &Record>, mut present: BTreeMap<&str, &Present>) {
        for (id, record) in told {
            let found = present.remove(id);
            let committed = found.filter(|found| found.committed);
            let there = committed.is_some_and(|found| found.amount == record.amount);
            if found.is_some_and(|found| found.times > 1) {
                self.doubled += 1;
                self.finding(format_args!("listed more than once: {id}"));
            }
            match record.outcome {
                Outcome::Acked => self.acked += 1,
                Outcome::ResolvedCommitted | Outcome::ResolvedCancelled => {
                    self.unknown_resolved += 1;
                }
                Outcome::Unknown => self.unresolved += 1,
                Outcome::Refused | Outcome::NotSent => {}
            }
            match record.outcome {
                Outcome::Acked if there => self.present += 1,
                // What was resolved to "committed" is promised as well.
                Outcome::Acked | Outcome::ResolvedCommitted if !there => {
                    self.lost += 1;
                    self.finding(format_args!("lost: {id}"));
                }
                Outcome::Refused | Outcome::ResolvedCancelled | Outcome::NotSent
                    if committed.is_some() =>
                {
                    self.refused_present += 1;
                    self.finding(format_args!("refused, yet there: {id}"));
                }
                _ => {}
            }
        }
        for (id, _) in present.into_iter().filter(|(_, found)| found.committed) {
            self.refused_present += 1;
            self.finding(format_args!("never sent, yet there: {id}"));
        }
    }

    async fn audit(&mut self, edges: &Arc<Edges>) -> Result<(), Error> {
        for number in AUDITED {
            self.invariants.insert(number, Invariant::Ok);
        }
        for audited in everywhere(AUDITS, |shard| audit(edges.clone(), shard)).await? {
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

async fn audit(edges: Arc<Edges>, shard: Shard) -> Result<Option<(BucketRange, Audited)>, Error> {
    let failed = |reason| Error::Audit { shard: shard.to_string(), reason };
    let path = format!("/v1/shards/{shard}/audit");
    let answer = ask(&edges, &path, AUDIT_LIMIT).await.map_err(failed)?;
    if answer.status == 404 && shard.hundred().is_none() {
        return Ok(None);
    }
    let audited: Audited =
        serde_json::from_slice(&answer.body).map_err(|error| failed(error.to_string()))?;
    Ok(Some((audited.buckets, audited)))
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
