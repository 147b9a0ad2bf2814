//! What a drill leaves behind: JSON of a documented shape, and a table.
//! The page is in `html`, what makes it hard to change afterwards in `chain`.

use std::{
    collections::BTreeMap,
    io::{IsTerminal, Write},
};

use load::Invariant;
use serde::{Deserialize, Serialize};

use super::{
    machine::{self, Stall},
    order::Spec,
    series::Second,
    summary::{self, Goals, Summary},
};
use crate::{layout::Layout, output};

/// Of this shape; a reader refuses a later one.
pub const FORMAT: u32 = 2;

/// Earlier drills of the same faults that a report compares itself with.
pub const EARLIER_MAX: usize = 10;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    pub format: u32,
    pub polis: String,
    pub rate: u32,
    pub network: String,
    pub topology: Vec<Place>,
    pub drills: Vec<Drill>,
    pub median_rto_ms: Option<u64>,
    pub p95_rto_ms: Option<u64>,
    pub worst_rto_ms: Option<u64>,
    pub by_fault: Vec<Summary>,
    /// Of a report that was gathered: what should have been seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goals: Option<Goals>,
    /// Before this one, of the same faults, the latest first.
    pub earlier: Vec<Earlier>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Place {
    pub city: String,
    pub center: String,
    pub unit: String,
    pub shards: String,
}

/// What an earlier report said of the same faults.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Earlier {
    pub report: String,
    pub drills: usize,
    pub passed: usize,
    pub median_rto_ms: Option<u64>,
    pub p95_rto_ms: Option<u64>,
    pub worst_rto_ms: Option<u64>,
}

/// Names of files beside the report.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Kept {
    /// How every payment ended.
    pub history: String,
    /// What the shards hold of the run.
    pub present: String,
}

/// What was done to whom, on the run's clock.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Injection {
    pub at_unix_ms: u64,
    pub at_us: u64,
    /// When the healing was ordered.
    pub ordered_us: u64,
    /// When what was hit was up again.
    pub healed_us: u64,
    pub lost: String,
    pub dead_edges: Vec<usize>,
}

/// A change of the shard map, when the drill's watch saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub at_us: u64,
    pub shards: String,
    /// `Serving` or `Moving`.
    pub state: String,
    pub unit: String,
    /// The lowest and the highest of these shards' epochs.
    pub epochs: [u64; 2],
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Drill {
    /// `kill city east`.
    pub fault: String,
    pub spec: Spec,
    pub hypothesis: String,
    /// The fault was healed before its time.
    pub aborted: bool,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abort: Option<String>,
    pub injected: Injection,
    pub rto_ms: Rto,
    /// What the unluckiest payment took that fell due while it lasted. Recovery
    /// is about those that fall due later; this is about those on their way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slowest_ms: Option<u64>,
    pub acked: u64,
    pub present: u64,
    pub lost: u64,
    pub doubled: u64,
    pub unknown_resolved: u64,
    pub unresolved: u64,
    /// Tries lost with the connections of edges that were hit.
    pub edge_lost: u64,
    pub unaffected_errors: u64,
    /// Errors on shards that were hit: no definite answer within ten seconds.
    pub affected_errors: u64,
    pub rate_before: u64,
    pub p99_before_ms: f64,
    /// From healing until every shard was home and served.
    pub return_ms: Option<u64>,
    pub invariants: BTreeMap<u8, Invariant>,
    /// Acknowledgements that contradict "one writer a shard and epoch".
    pub two_writers: Vec<String>,
    pub files: Kept,
    pub map: Vec<Change>,
    pub seconds: Vec<Second>,
    pub findings: Vec<String>,
    /// When the machine itself stood still; told, and no excuse: nothing is
    /// judged by it.
    #[serde(default)]
    pub machine: Vec<Stall>,
}

/// Phases follow one another: they add up to the total, but for the time after
/// the last shard's first success until the rate held (`hold`).
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Rto {
    pub total: Option<u64>,
    /// Until some center suspected what was hit.
    pub detect: Option<u64>,
    /// From there until the map said where the shards go.
    pub decide: Option<u64>,
    /// From there until every fence was raised and the map said so.
    pub fence: Option<u64>,
    /// From there until every lost shard had a success.
    pub reroute: Option<u64>,
    /// From there until the rate held.
    pub hold: Option<u64>,
}

// === impl Drill ===

impl Drill {
    /// Nothing lost or doubled, no invariant broken, service back.
    #[must_use]
    pub fn passed(&self) -> bool {
        !self.aborted
            && self.rto_ms.total.is_some()
            && self.lost == 0
            && self.doubled == 0
            && self.unresolved == 0
            && self.unaffected_errors == 0
            && self.two_writers.is_empty()
            && !self.invariants.values().any(|invariant| *invariant == Invariant::Violated)
    }
}

// === impl Report ===

impl Report {
    #[must_use]
    pub fn new(rate: u32, layout: &Layout, drills: Vec<Drill>, earlier: Vec<Earlier>) -> Report {
        let [median_rto_ms, p95_rto_ms, worst_rto_ms] = summary::recoveries(drills.iter());
        let place = |plan: &crate::layout::CenterPlan| Place {
            city: plan.city.to_string(),
            center: plan.center.to_string(),
            unit: plan.unit.to_string(),
            shards: plan.shards.to_string(),
        };
        Report {
            format: FORMAT,
            polis: env!("CARGO_PKG_VERSION").into(),
            rate,
            network: if layout.subnet.is_some() { "namespaces" } else { "loopback" }.into(),
            topology: layout.centers.iter().map(place).collect(),
            median_rto_ms,
            p95_rto_ms,
            worst_rto_ms,
            by_fault: summary::by_fault(&drills),
            goals: None,
            drills,
            earlier,
        }
    }

    /// The faults, each once, in order.
    #[must_use]
    pub fn faults(&self) -> Vec<&str> {
        let mut faults: Vec<_> = self.drills.iter().map(|drill| drill.fault.as_str()).collect();
        faults.sort_unstable();
        faults.dedup();
        faults
    }

    #[must_use]
    pub fn meets_goals(&self) -> bool {
        let mut goals = self.goals.iter();
        goals.all(|goals| self.by_fault.iter().all(|summary| goals.are_met_by(summary)))
    }

    #[must_use]
    pub fn passed(&self) -> usize {
        self.drills.iter().filter(|drill| drill.passed()).count()
    }

    pub fn table(&self, out: &mut impl Write) -> anyhow::Result<()> {
        let ms = |value: Option<u64>| value.map_or_else(|| "-".into(), |ms| ms.to_string());
        let row = |drill: &Drill| {
            let rto = &drill.rto_ms;
            let mut row = vec![drill.fault.clone(), ms(rto.total)];
            row.extend([rto.detect, rto.decide, rto.fence, rto.reroute, rto.hold].map(ms));
            row.extend(
                [drill.acked, drill.present, drill.lost, drill.doubled, drill.unknown_resolved]
                    .map(|count| count.to_string()),
            );
            row.extend([drill.edge_lost, drill.unaffected_errors].map(|count| count.to_string()));
            row.push(ms(drill.return_ms));
            row.push(if drill.passed() { "passed".into() } else { "FAILED".into() });
            row
        };
        let header = [
            "FAULT",
            "RTO ms",
            "DETECT",
            "DECIDE",
            "FENCE",
            "REROUTE",
            "HOLD",
            "ACKED",
            "PRESENT",
            "LOST",
            "DOUBLED",
            "RESOLVED",
            "EDGE LOST",
            "UNAFFECTED ERR",
            "RETURN ms",
            "VERDICT",
        ];
        output::table(out, &header, &self.drills.iter().map(row).collect::<Vec<_>>())?;
        let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let [green, red, plain] =
            if colours { ["\x1b[32m", "\x1b[31m", "\x1b[0m"] } else { [""; 3] };
        for drill in &self.drills {
            for finding in &drill.findings {
                writeln!(out, "{red}finding{plain}: {finding}")?;
            }
            if let Some(stall) = machine::worst(&drill.machine) {
                writeln!(out, "the machine itself stood still during {}: {stall}", drill.fault)?;
            }
        }
        if self.by_fault.len() > 1 || self.goals.is_some() {
            let row = |of: &Summary| {
                let mut row = vec![of.fault.clone(), format!("{} of {}", of.passed, of.drills)];
                row.extend([of.lost, of.doubled].map(|count| count.to_string()));
                row.extend([of.median_rto_ms, of.p95_rto_ms, of.worst_rto_ms].map(ms));
                row.extend(self.goals.map(|goals| goals.beside(of)));
                row
            };
            writeln!(out)?;
            let mut header =
                vec!["FAULT", "PASSED", "LOST", "DOUBLED", "P50 ms", "P95 ms", "WORST ms"];
            header.extend(self.goals.map(|_| "GOALS ms"));
            output::table(out, &header, &self.by_fault.iter().map(row).collect::<Vec<_>>())?;
        }
        let passed = self.passed();
        let colour = if passed == self.drills.len() { green } else { red };
        writeln!(
            out,
            "\n{colour}{passed} of {} passed{plain}; recovery: median {} ms, p95 {} ms, worst {} ms",
            self.drills.len(),
            ms(self.median_rto_ms),
            ms(self.p95_rto_ms),
            ms(self.worst_rto_ms)
        )?;
        Ok(())
    }
}
