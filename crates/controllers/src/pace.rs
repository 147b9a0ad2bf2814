//! When the last failover was, on our own clock: counted from when we first saw
//! its record. What was recorded before we started is of no known age, and
//! holds nothing up.

use std::collections::BTreeSet;

use client::Snapshot;
use planner::{center::JUDGED_TOGETHER_MS, failover::Last};
use resources::{Failover, FailoverPhase};
use rt::Millis;
use topology::CenterName;

#[derive(Default)]
pub struct Pace {
    /// Names of the records that were seen; none until they were listed.
    known: Option<BTreeSet<String>>,
    last: Option<(Millis, BTreeSet<CenterName>)>,
}

// === impl Pace ===

impl Pace {
    pub fn observe(&mut self, records: &Snapshot<Failover>, now: Millis) {
        if !records.synced {
            return;
        }
        let done = records.iter().filter(|record| record.status.phase == FailoverPhase::Done);
        let done: Vec<_> = done.collect();
        let names = done.iter().map(|record| record.name().to_owned()).collect();
        if let Some(known) = self.known.replace(names) {
            for record in done.iter().filter(|record| !known.contains(record.name())) {
                self.note(&record.spec.centers.iter().cloned().collect(), now);
            }
        }
    }

    /// These were moved just now, or are known to have been.
    pub fn note(&mut self, centers: &BTreeSet<CenterName>, now: Millis) {
        match &mut self.last {
            // The same failover, told of in parts or by two.
            Some((at, moved)) if now.since(*at) < JUDGED_TOGETHER_MS => {
                moved.extend(centers.iter().cloned());
            }
            last => *last = Some((now, centers.clone())),
        }
    }

    pub fn last(&self, now: Millis) -> Option<Last> {
        let (at, centers) = self.last.as_ref()?;
        Some(Last { ago_ms: now.since(*at), centers: centers.clone() })
    }
}
