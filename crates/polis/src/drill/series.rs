//! A history second by second and unit by unit, and who wrote what. Pure.

use std::collections::BTreeMap;

use load::{Outcome, Record};
use serde::{Deserialize, Serialize};
use topology::Shard;

const SECOND_US: u64 = 1_000_000;

/// Contradictions listed; a single one is one too many.
const LISTED_MAX: usize = 20;

/// What fell due in one second on the shards whose home is one unit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Second {
    pub second: u64,
    /// Where the shards are at home, wherever they were served.
    pub unit: String,
    pub due: u64,
    /// Acknowledged within a second of being due.
    pub in_time: u64,
    /// Acknowledged later than that.
    pub late: u64,
    /// Refused, unknown or not sent.
    pub unanswered: u64,
    /// Tries that settled nothing.
    pub failed_tries: u64,
    pub p50_us: u64,
    pub p99_us: u64,
}

/// By second and home; `home` says whose a shard is.
pub fn seconds(records: &[Record], home: impl Fn(Shard) -> String) -> Vec<Second> {
    let mut cells: BTreeMap<(u64, String), (Second, Vec<u64>)> = BTreeMap::new();
    let first_lines = records.iter().filter(|record| !is_resolution(record));
    for record in first_lines {
        let (second, unit) = (record.due_us / SECOND_US, home(record.shard));
        let empty = || (Second { second, unit: unit.clone(), ..Second::default() }, Vec::new());
        let (cell, latencies) = cells.entry((second, unit.clone())).or_insert_with(empty);
        cell.due += 1;
        cell.failed_tries += record.failed.len() as u64;
        if record.outcome != Outcome::Acked {
            cell.unanswered += 1;
            continue;
        }
        latencies.push(record.latency_us());
        if record.latency_us() <= SECOND_US {
            cell.in_time += 1;
        } else {
            cell.late += 1;
        }
    }
    let filled = |(mut cell, mut latencies): (Second, Vec<u64>)| {
        latencies.sort_unstable();
        cell.p50_us = percentile(&latencies, 50).unwrap_or(0);
        cell.p99_us = percentile(&latencies, 99).unwrap_or(0);
        cell
    };
    cells.into_values().map(filled).collect()
}

/// Of sorted values, the one that `percent` of a hundred do not exceed.
pub fn percentile(sorted: &[u64], percent: usize) -> Option<u64> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

/// Acknowledgements that two units gave for one shard in one epoch, or under
/// an epoch that was over: begun after a later one had been acknowledged.
pub fn two_writers(records: &[Record]) -> Vec<String> {
    let mut writers: BTreeMap<(Shard, u64), &str> = BTreeMap::new();
    let mut newest: BTreeMap<Shard, (u64, u64)> = BTreeMap::new();
    let mut found = Vec::new();
    let acked = records.iter().filter(|record| record.outcome == Outcome::Acked);
    // In the order of their ends, as they stand in the history.
    for record in acked {
        let (Some(unit), Some(epoch)) = (&record.unit, record.epoch) else { continue };
        let (shard, id) = (record.shard, &record.id);
        let writer = *writers.entry((shard, epoch)).or_insert(unit);
        if writer != unit {
            found.push(format!("shard {shard} epoch {epoch}: {writer} and {unit} ({id})"));
        }
        let (latest, since_us) = newest.get(&shard).copied().unwrap_or((epoch, record.end_us));
        if epoch > latest || !newest.contains_key(&shard) {
            newest.insert(shard, (epoch, record.end_us));
        } else if epoch < latest && record.failed.is_empty() && record.due_us > since_us {
            found.push(format!("shard {shard}: {id} in epoch {epoch} after epoch {latest}"));
        }
    }
    found.truncate(LISTED_MAX);
    found
}

fn is_resolution(record: &Record) -> bool {
    matches!(record.outcome, Outcome::ResolvedCommitted | Outcome::ResolvedCancelled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acked(due_us: u64, end_us: u64, unit: &str, epoch: u64) -> Record {
        Record {
            id: format!("2088000000001.r-{due_us}"),
            shard: Shard::new(7).expect("a shard"),
            amount: 1,
            due_us,
            end_us,
            outcome: Outcome::Acked,
            status: Some(201),
            code: None,
            edge: Some(0),
            unit: Some(unit.into()),
            epoch: Some(epoch),
            failed: Vec::new(),
        }
    }

    #[test]
    fn a_second_counts_what_fell_due_in_it() {
        let records = [
            acked(10, 2_010, "rz01", 1),
            acked(900_000, 2_900_000, "rz03", 2),
            acked(1_100_000, 1_101_000, "rz03", 2),
        ];
        let found = seconds(&records, |_| "rz01".into());
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].due, found[0].in_time, found[0].late), (2, 1, 1));
        assert_eq!(found[0].p99_us, 2_000_000);
        assert_eq!((found[1].second, found[1].in_time), (1, 1));
    }

    #[test]
    fn two_units_in_one_epoch_and_a_writer_that_was_over_are_found() {
        let moved = [acked(0, 10, "rz01", 1), acked(20, 30, "rz03", 2), acked(40, 50, "rz03", 2)];
        assert_eq!(two_writers(&moved), Vec::<String>::new());
        let twice = [acked(0, 10, "rz01", 1), acked(20, 30, "rz03", 1)];
        assert_eq!(two_writers(&twice).len(), 1);
        let late = [acked(0, 10, "rz03", 2), acked(20, 30, "rz01", 1)];
        assert_eq!(two_writers(&late).len(), 1);
        // An answer that was on its way when the epoch ended is none.
        let under_way = [acked(20, 30, "rz03", 2), acked(25, 35, "rz01", 1)];
        assert_eq!(two_writers(&under_way), Vec::<String>::new());
    }

    #[test]
    fn percentiles_are_values_that_were_seen() {
        assert_eq!(percentile(&[], 50), None);
        assert_eq!(percentile(&[7], 95), Some(7));
        let ten: Vec<_> = (1..=10).collect();
        assert_eq!((percentile(&ten, 50), percentile(&ten, 95)), (Some(5), Some(10)));
    }
}
