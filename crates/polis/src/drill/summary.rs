//! The figures of many drills, fault by fault. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{report::Drill, series::percentile};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    pub fault: String,
    pub drills: usize,
    pub passed: usize,
    pub acked: u64,
    pub lost: u64,
    pub doubled: u64,
    /// Recovery; none where a drill did not recover.
    pub median_rto_ms: Option<u64>,
    pub p95_rto_ms: Option<u64>,
    pub worst_rto_ms: Option<u64>,
}

/// What is promised of each fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Goals {
    pub p50_ms: u64,
    pub worst_ms: u64,
}

// === impl Goals ===

impl Goals {
    #[must_use]
    pub fn are_met_by(self, summary: &Summary) -> bool {
        let within = |seen: Option<u64>, goal| seen.is_some_and(|seen| seen <= goal);
        within(summary.median_rto_ms, self.p50_ms)
            && within(summary.worst_rto_ms, self.worst_ms)
            && summary.lost == 0
            && summary.doubled == 0
    }

    /// For people, in the row of what was seen.
    #[must_use]
    pub fn beside(self, summary: &Summary) -> String {
        let verdict = if self.are_met_by(summary) { "met" } else { "MISSED" };
        format!("p50 {}, worst {}: {verdict}", self.p50_ms, self.worst_ms)
    }
}

/// One line for each fault.
pub fn by_fault(drills: &[Drill]) -> Vec<Summary> {
    let mut faults: BTreeMap<&str, Vec<&Drill>> = BTreeMap::new();
    for drill in drills {
        faults.entry(&drill.fault).or_default().push(drill);
    }
    faults.into_iter().map(|(fault, drills)| summary(fault, &drills)).collect()
}

fn summary(fault: &str, drills: &[&Drill]) -> Summary {
    let [median_rto_ms, p95_rto_ms, worst_rto_ms] = recoveries(drills.iter().copied());
    let sum = |of: fn(&Drill) -> u64| drills.iter().map(|drill| of(drill)).sum();
    Summary {
        fault: fault.into(),
        drills: drills.len(),
        passed: drills.iter().filter(|drill| drill.passed()).count(),
        acked: sum(|drill| drill.acked),
        lost: sum(|drill| drill.lost),
        doubled: sum(|drill| drill.doubled),
        median_rto_ms,
        p95_rto_ms,
        worst_rto_ms,
    }
}

/// The median, the 95th percentile and the worst. One that never came back has
/// no figure, and no other may hide it: then there are none.
pub fn recoveries<'a>(drills: impl Iterator<Item = &'a Drill>) -> [Option<u64>; 3] {
    let totals: Option<Vec<_>> = drills.map(|drill| drill.rto_ms.total).collect();
    let mut totals = totals.unwrap_or_default();
    totals.sort_unstable();
    [50, 95, 100].map(|percent| percentile(&totals, percent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_missed_by_one_slow_one_lost_and_one_that_never_came_back() {
        let goals = Goals { p50_ms: 2000, worst_ms: 5000 };
        let good = Summary {
            fault: "kill city east".into(),
            drills: 25,
            passed: 25,
            acked: 1,
            lost: 0,
            doubled: 0,
            median_rto_ms: Some(2000),
            p95_rto_ms: Some(3000),
            worst_rto_ms: Some(5000),
        };
        assert!(goals.are_met_by(&good));
        for bad in [
            Summary { worst_rto_ms: Some(5001), ..good.clone() },
            Summary { median_rto_ms: None, ..good.clone() },
            Summary { lost: 1, ..good },
        ] {
            assert!(!goals.are_met_by(&bad), "{bad:?}");
        }
    }
}
