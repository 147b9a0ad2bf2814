//! What a drill leaves behind: JSON of a documented shape, and a table.

use std::{
    collections::BTreeMap,
    io::{IsTerminal, Write},
};

use load::Invariant;
use serde::Serialize;

use crate::output;

#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub polis: &'static str,
    pub rate: u32,
    pub drills: Vec<Drill>,
    pub median_rto_ms: Option<u64>,
    pub worst_rto_ms: Option<u64>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Drill {
    /// `kill city east`.
    pub fault: String,
    pub hypothesis: String,
    /// Recovery took longer than allowed, and the fault was healed at once.
    pub aborted: bool,
    pub rto_ms: Rto,
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
    pub history: String,
    pub findings: Vec<String>,
}

/// Phases follow one another: they add up to the total, but for the time after
/// the last shard's first success until the rate held (`hold`).
#[derive(Clone, Copy, Debug, Default, Serialize)]
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
            && !self.invariants.values().any(|invariant| *invariant == Invariant::Violated)
    }
}

// === impl Report ===

impl Report {
    #[must_use]
    pub fn new(rate: u32, drills: Vec<Drill>) -> Report {
        let mut totals: Vec<_> = drills.iter().filter_map(|drill| drill.rto_ms.total).collect();
        totals.sort_unstable();
        let whole = totals.len() == drills.len();
        Report {
            polis: env!("CARGO_PKG_VERSION"),
            rate,
            median_rto_ms: totals.get(totals.len() / 2).copied().filter(|_| whole),
            worst_rto_ms: totals.last().copied().filter(|_| whole),
            drills,
        }
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
        }
        let passed = self.drills.iter().filter(|drill| drill.passed()).count();
        let colour = if passed == self.drills.len() { green } else { red };
        writeln!(
            out,
            "\n{colour}{passed} of {} passed{plain}; recovery: median {} ms, worst {} ms",
            self.drills.len(),
            ms(self.median_rto_ms),
            ms(self.worst_rto_ms)
        )?;
        Ok(())
    }
}
