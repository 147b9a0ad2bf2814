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
