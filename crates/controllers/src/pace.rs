//! When the last failover was, on our own clock: counted from when we first saw
//! its record. What was recorded before we started is as old as the record is
//! by the wall clock, so that a controller that has just started does not
//! outrun what the others wait for; should the wall clocks differ, the interval
//! is wrong by as much, once.

use std::collections::BTreeSet;

use client::{Snapshot, k8s_openapi::jiff::Timestamp};
use planner::{center::JUDGED_TOGETHER_MS, failover::Last};
use resources::{Failover, FailoverPhase};
use rt::Millis;
use topology::CenterName;

#[derive(Default)]
pub struct Pace {
    /// Names of the records that were seen; none until they were listed.
    known: Option<BTreeSet<String>>,
    last: Option<Noted>,
}

struct Noted {
    at: Millis,
    /// How old it was by then.
    age_ms: u64,
    centers: BTreeSet<CenterName>,
}

// === impl Pace ===

impl Pace {
    /// `wall` is the time of day at `now`.
    pub fn observe(&mut self, records: &Snapshot<Failover>, now: Millis, wall: Timestamp) {
        if !records.synced {
            return;
        }
        let done = records.iter().filter(|record| record.status.phase == FailoverPhase::Done);
        let done: Vec<_> = done.collect();
        let names = done.iter().map(|record| record.name().to_owned()).collect();
        let centers = |record: &Failover| record.spec.centers.iter().cloned().collect();
        match self.known.replace(names) {
            Some(known) => {
                for record in done.iter().filter(|record| !known.contains(record.name())) {
                    self.note(&centers(record), now);
                }
            }
            None => {
                let aged = done.iter().filter_map(|record| Some((age_ms(record, wall)?, record)));
                if let Some((age_ms, record)) = aged.min_by_key(|(age_ms, _)| *age_ms) {
                    self.last = Some(Noted { at: now, age_ms, centers: centers(record) });
                }
            }
        }
    }

    /// These were moved just now, or are known to have been.
    pub fn note(&mut self, centers: &BTreeSet<CenterName>, now: Millis) {
        match &mut self.last {
            // The same failover, told of in parts or by two.
            Some(last) if last.ago_ms(now) < JUDGED_TOGETHER_MS => {
                last.centers.extend(centers.iter().cloned());
            }
            last => *last = Some(Noted { at: now, age_ms: 0, centers: centers.clone() }),
        }
    }

    pub fn last(&self, now: Millis) -> Option<Last> {
        let last = self.last.as_ref()?;
        Some(Last { ago_ms: last.ago_ms(now), centers: last.centers.clone() })
    }
}

// === impl Noted ===

impl Noted {
    fn ago_ms(&self, now: Millis) -> u64 {
        self.age_ms + now.since(self.at)
    }
}

/// None when it does not say since when it is there. One from the future, by
/// our clock, is new.
fn age_ms(record: &Failover, wall: Timestamp) -> Option<u64> {
    let created: Timestamp = record.metadata.creation_timestamp.as_ref()?.parse().ok()?;
    Some(u64::try_from(wall.as_millisecond() - created.as_millisecond()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use client::Key;
    use resources::{Evidence, FailoverSpec, FailoverStatus, Metadata};

    use super::*;

    /// Records of `center`, each made at its second of the day and done.
    fn records(made: &[(&str, i64)]) -> Snapshot<Failover> {
        let record = |(center, second): &(&str, i64)| {
            let name = format!("failover-{center}-{second}");
            let at = Timestamp::from_second(*second).expect("a time").to_string();
            let metadata =
                Metadata { creation_timestamp: Some(at), ..Metadata::named(name.clone()) };
            let centers = vec![center.parse().expect("a name")];
            let spec = FailoverSpec { centers, evidence: Evidence::Center, approved: false };
            let status = FailoverStatus { phase: FailoverPhase::Done, ..FailoverStatus::default() };
            let record = Failover { status, ..Failover::new(metadata, spec) };
            (Key::cluster(&name), Arc::new(record))
        };
        Snapshot { objects: made.iter().map(record).collect(), synced: true, live: true }
    }

    fn said(pace: &Pace, now: u64) -> Option<(u64, String)> {
        let Last { ago_ms, centers } = pace.last(Millis(now))?;
        let centers: Vec<_> = centers.iter().map(CenterName::as_str).collect();
        Some((ago_ms, centers.join(" ")))
    }

    #[test]
    fn what_was_done_before_we_started_is_as_old_as_its_newest_record() {
        let wall = Timestamp::from_second(1_000).expect("a time");
        let mut pace = Pace::default();
        pace.observe(&records(&[("east-1", 400), ("west-1", 970)]), Millis(50), wall);
        assert_eq!(said(&pace, 1_050), Some((31_000, "west-1".into())));
        let mut pace = Pace::default();
        pace.observe(&records(&[("west-1", 1_003)]), Millis(50), wall);
        assert_eq!(said(&pace, 50), Some((0, "west-1".into())), "clocks differ");
        let mut pace = Pace::default();
        pace.observe(&records(&[]), Millis(50), wall);
        assert_eq!(said(&pace, 50), None);
    }

    #[test]
    fn what_appears_while_we_watch_is_counted_from_then() {
        let wall = Timestamp::from_second(1_000).expect("a time");
        let mut pace = Pace::default();
        pace.observe(&records(&[("east-1", 400)]), Millis(0), wall);
        let both = records(&[("east-1", 400), ("west-1", 900)]);
        pace.observe(&both, Millis(5_000), wall);
        pace.observe(&both, Millis(6_000), wall);
        assert_eq!(said(&pace, 7_000), Some((2_000, "west-1".into())));
        pace.note(&BTreeSet::from(["east-2".parse().expect("a name")]), Millis(8_000));
        assert_eq!(said(&pace, 8_000), Some((3_000, "east-2 west-1".into())));
    }
}
