//! Leases end no earlier than their holder may believe.
//!
//! The holder counts from before it asked. The grantor's clock may run faster
//! than the recorder's by the drift that the history names. A lease's id must
//! not be used twice in one history.

use std::collections::BTreeMap;

use crate::{
    Violation,
    history::{History, Outcome, Request, Response},
    timeline::{Cause, Timeline},
};

const NS_PER_MS: u64 = 1_000_000;
const PPM: u64 = 1_000_000;

/// What holders were promised: when they asked, and until when it holds.
type Promises = BTreeMap<i64, Vec<(u64, u64)>>;

pub(crate) fn check(history: &History, timeline: &Timeline) -> Vec<Violation> {
    let promises = promises(history);
    let mut violations = Vec::new();
    for (revision, entry) in &timeline.revisions {
        let Cause::Expired { lease } = entry.cause else { continue };
        if let Some(until) = promised(&promises, lease, entry.known_at) {
            let what = format!(
                "lease {lease} ended at revision {revision}, known at {}, and was good until {until}",
                entry.known_at
            );
            violations.push(Violation::new("leases never end early", what));
        }
    }
    for operation in &history.operations {
        let (Request::KeepAlive { lease }, Outcome::Failed(why), Some(end)) =
            (&operation.request, &operation.outcome, operation.end)
        else {
            continue;
        };
        let revoked = history.operations.iter().any(|other| {
            other.request == Request::Revoke { lease: *lease }
                && other.call < end
                && !matches!(other.outcome, Outcome::Failed(_))
        });
        if !revoked
            && why.contains("requested lease not found")
            && let Some(until) = promised(&promises, *lease, end)
        {
            let what = format!("lease {lease} was good until {until}: {operation:?}");
            violations.push(Violation::new("leases never end early", what));
        }
    }
    violations
}

fn promises(history: &History) -> Promises {
    let mut promises = Promises::new();
    for operation in &history.operations {
        let (Request::Grant { lease, .. } | Request::KeepAlive { lease }) = operation.request
        else {
            continue;
        };
        if let Outcome::Ok(Response::Lease { ttl_ms }) = operation.outcome {
            let lasts = ttl_ms * NS_PER_MS;
            let lasts = lasts - lasts / PPM * history.setup.drift_ppm;
            promises.entry(lease).or_default().push((operation.call, operation.call + lasts));
        }
    }
    promises
}

/// A promise that was asked for before `at` and holds beyond it.
fn promised(promises: &Promises, lease: i64, at: u64) -> Option<u64> {
    let promises = promises.get(&lease)?.iter();
    promises.filter(|(call, until)| *call < at && *until > at).map(|(_, until)| *until).max()
}
