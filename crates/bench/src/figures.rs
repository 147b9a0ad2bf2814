//! The figures of a run, for programs.

use serde::Serialize;

use crate::{Op, database::Raw, drive::Tally};

#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// The version of the one under our store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    pub runs: Vec<Run>,
}

/// One operation with so many clients.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    pub op: Op,
    pub clients: usize,
    /// `higher` or `lower`: which `ratio` is the better one.
    pub better: &'static str,
    pub polis: Figures,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<Figures>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ceiling: Option<Ceiling>,
    /// Ours by the peer's: of rates, or of bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Figures {
    /// Answers, or events delivered.
    #[serde(skip_serializing_if = "is_zero")]
    pub per_s: f64,
    #[serde(skip_serializing_if = "is_zero")]
    pub p50_us: f64,
    #[serde(skip_serializing_if = "is_zero")]
    pub p99_us: f64,
    /// CPU time of the server for each of them, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_us: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resident_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_s: Option<f64>,
    /// From its start until it says that it is ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_s: Option<f64>,
    /// Watches that the server ended, and that went on from where they were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watches_ended: Option<u64>,
}

/// The lower one of what the disk or the database, and the wire allow.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Ceiling {
    pub per_s: f64,
    /// Records written in groups of one for each client, with one sync each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_per_s: Option<f64>,
    /// Rows committed by the raw loop over one connection: a row of fences
    /// updated and a row inserted for each client, in one transaction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sql_per_s: Option<f64>,
    /// The same with one row for all clients' records, as our log has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sql_one_row_per_s: Option<f64>,
    /// Calls answered by a handler that does nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rpc_per_s: Option<f64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &f64) -> bool {
    *number == 0.0
}

// === impl Figures ===

impl Figures {
    /// Of several rounds together.
    pub(crate) fn of(rounds: &[(Tally, Option<std::time::Duration>)]) -> Figures {
        let Some(((first, _), others)) = rounds.split_first() else { return Figures::default() };
        let mut all = Tally::new(first.window());
        rounds.iter().for_each(|(tally, _)| all.add(tally));
        let per_s = rounds.iter().map(|(tally, _)| tally.per_second()).sum::<f64>();
        let cpu: Option<std::time::Duration> = rounds.iter().map(|(_, cpu)| *cpu).sum();
        let each = |cpu: std::time::Duration| cpu.as_secs_f64() * 1e6 / all.count().max(1) as f64;
        Figures {
            per_s: per_s / (1 + others.len()) as f64,
            p50_us: all.quantile_us(0.5),
            p99_us: all.quantile_us(0.99),
            cpu_us: cpu.map(each),
            ..Figures::default()
        }
    }
}

// === impl Ceiling ===

impl Ceiling {
    /// Over a log on the disk.
    pub(crate) fn new(disk_per_s: Option<f64>, rpc_per_s: Option<f64>) -> Option<Ceiling> {
        let per_s = disk_per_s.into_iter().chain(rpc_per_s).reduce(f64::min)?;
        Some(Ceiling { per_s, disk_per_s, rpc_per_s, ..Ceiling::default() })
    }

    /// Over a database: the better one of its two loops.
    pub(crate) fn of_database(raw: Raw, rpc_per_s: Option<f64>) -> Ceiling {
        let best = raw.row_each.max(raw.row_for_all);
        Ceiling {
            per_s: rpc_per_s.map_or(best, |rpc| rpc.min(best)),
            disk_per_s: None,
            sql_per_s: Some(raw.row_each),
            sql_one_row_per_s: Some(raw.row_for_all),
            rpc_per_s,
        }
    }
}
