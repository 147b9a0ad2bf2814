//! From a history and a timeline to figures. Pure.
//!
//! Total recovery time runs from the fault until every lost shard has
//! succeeded and each of the ten seconds that follow holds at least 99 % of the
//! rate before. A second holds a payment when it was due in that second and
//! acknowledged within a second of being due: what the service owed, not when
//! answers happened to cluster.

use std::collections::BTreeSet;

use load::{Outcome, Record, TryFailure};
use topology::{Shard, ShardSet};

/// How many seconds after recovery must hold.
pub const HOLD_SECONDS: u64 = 10;
/// Of the rate before, in per mille.
const HOLD_PER_MILLE: u64 = 990;
/// Over which the rate before is taken.
const BASELINE_US: u64 = 5_000_000;
const SECOND_US: u64 = 1_000_000;
/// Resolution of the answer.
const STEP_US: u64 = 10_000;

/// What was done to whom, in microseconds of the run.
pub struct Injected<'a> {
    pub at_us: u64,
    pub lost: &'a ShardSet,
    /// Indexes of the edges that were hit.
    pub dead_edges: &'a [usize],
    /// When the hit edges were well again.
    pub healed_us: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// From the fault until it held; none if it did not, in this run.
    pub total_us: Option<u64>,
    /// From the fault until the last lost shard had its first success.
    pub last_shard_us: Option<u64>,
    /// Payments a second before.
    pub rate_before: u64,
}

/// When service was whole again.
pub fn recovery(records: &[Record], injected: &Injected<'_>) -> Recovery {
    let at = injected.at_us;
    let acked = || records.iter().filter(|record| record.outcome == Outcome::Acked);
    let first_success = |shard: Shard| {
        acked()
            .filter(|record| record.shard == shard && record.due_us >= at)
            .map(|record| record.end_us)
            .min()
    };
    // A small part of a shard may have no payer in this run.
    let paid: BTreeSet<Shard> = records.iter().map(|record| record.shard).collect();
    let lost = injected.lost.iter().filter(|shard| paid.contains(shard));
    let last_shard = lost.map(first_success).collect::<Option<Vec<_>>>();
    let last_shard = last_shard.map(|firsts| firsts.into_iter().max().unwrap_or(at));
    let mut held: Vec<_> = acked()
        .filter(|record| record.latency_us() <= SECOND_US)
        .map(|record| record.due_us)
        .collect();
    held.sort_unstable();
    let between = |from: u64, to: u64| {
        held.partition_point(|d| *d < to) - held.partition_point(|d| *d < from)
    };
    let baseline_from = at.saturating_sub(BASELINE_US);
    let baseline = between(baseline_from, at) as u64;
    let rate_before = baseline * SECOND_US / (at - baseline_from).max(1);
    let last_due = records.iter().map(|record| record.due_us).max().unwrap_or(0);
    let holds = |from: u64| {
        (0..HOLD_SECONDS).all(|second| {
            let start = from + second * SECOND_US;
            let good = between(start, start + SECOND_US) as u64;
            good * 1000 >= rate_before * HOLD_PER_MILLE
        })
    };
    let total = last_shard.and_then(|last| {
        let latest = last_due.checked_sub(HOLD_SECONDS * SECOND_US)?;
        let mut from = last;
        while from <= latest {
            if holds(from) {
                return Some(from);
            }
            from += STEP_US;
        }
        None
    });
    Recovery {
        total_us: total.map(|total| total - at),
        last_shard_us: last_shard.map(|last| last - at),
        rate_before,
    }
}

/// Tries that were lost with the connections of an edge that was hit.
pub fn edge_lost(records: &[Record], injected: &Injected<'_>) -> u64 {
    tries(records).filter(|(_, failed)| is_edge_lost(failed, injected)).count() as u64
}

/// Errors of payments on shards that were not hit: no definite answer in ten
/// seconds, or an answer of an edge that was not hit that settled nothing.
pub fn unaffected_errors(records: &[Record], injected: &Injected<'_>) -> u64 {
    let unaffected = |record: &&Record| !injected.lost.contains(record.shard);
    let open = records
        .iter()
        .filter(unaffected)
        .filter(|record| matches!(record.outcome, Outcome::Unknown | Outcome::NotSent))
        .count();
    let failed = tries(records)
        .filter(|(record, _)| unaffected(record))
        .filter(|(_, failed)| !is_edge_lost(failed, injected))
        .count();
    (open + failed) as u64
}

fn tries(records: &[Record]) -> impl Iterator<Item = (&Record, &load::Try)> {
    let resolved = |record: &&Record| {
        !matches!(record.outcome, Outcome::ResolvedCommitted | Outcome::ResolvedCancelled)
    };
    records
        .iter()
        .filter(resolved)
        .flat_map(|record| record.failed.iter().map(move |failed| (record, failed)))
}

fn is_edge_lost(failed: &load::Try, injected: &Injected<'_>) -> bool {
    let transport = !matches!(failed.failure, TryFailure::Status(_));
    let while_down = (injected.at_us..=injected.healed_us).contains(&failed.at_us);
    transport && while_down && injected.dead_edges.contains(&failed.edge)
}

#[cfg(test)]
mod tests {
    use load::Try;

    use super::*;

    /// One payment every 10 ms for 30 s, shards 0 to 9 in turn.
    fn steady() -> Vec<Record> {
        (0..3000_u64)
            .map(|n| Record {
                id: format!("2088000000001.r-{n}"),
                shard: Shard::new((n % 10) as u16).expect("a shard"),
                amount: 1,
                due_us: n * 10_000,
                end_us: n * 10_000 + 2_000,
                outcome: Outcome::Acked,
                status: Some(201),
                code: None,
                edge: Some(0),
                unit: None,
                epoch: None,
                failed: Vec::new(),
            })
            .collect()
    }

    fn injected(lost: &ShardSet) -> Injected<'_> {
        Injected { at_us: 8_000_000, lost, dead_edges: &[1], healed_us: 12_000_000 }
    }

    #[test]
    fn recovery_ends_when_the_last_lost_shard_succeeds_and_the_rate_holds() {
        let lost: ShardSet = "00-03".parse().expect("shards");
        let mut records = steady();
        let hit = injected(&lost);
        for record in &mut records {
            if lost.contains(record.shard) && (8_000_000..9_500_000).contains(&record.due_us) {
                record.end_us = 9_500_000 + u64::from(record.shard.number()) * 1000;
            }
        }
        let found = recovery(&records, &hit);
        assert_eq!(found.rate_before, 100);
        assert_eq!(found.last_shard_us, Some(1_503_000));
        assert_eq!(found.total_us, Some(1_503_000));
        // A slump later on means that it was not over yet.
        for record in &mut records {
            if (11_000_000..11_050_000).contains(&record.due_us) {
                record.end_us = record.due_us + 3_000_000;
            }
        }
        assert!(recovery(&records, &hit).total_us > Some(3_000_000));
    }

    #[test]
    fn a_shard_that_never_succeeds_leaves_the_total_open() {
        let lost: ShardSet = "03".parse().expect("shards");
        let mut records = steady();
        records.retain(|record| record.shard.number() != 3 || record.due_us < 8_000_000);
        assert_eq!(recovery(&records, &injected(&lost)).total_us, None);
    }

    #[test]
    fn what_a_dead_edge_took_with_it_is_no_error_and_the_rest_is() {
        let lost: ShardSet = "00".parse().expect("shards");
        let mut records = steady();
        let failed = |edge, failure, at_us| Try { edge, failure, at_us };
        records[801].failed.push(failed(1, TryFailure::Broken, 8_100_000));
        records[802].failed.push(failed(1, TryFailure::Broken, 13_000_000));
        records[803].failed.push(failed(0, TryFailure::Status(503), 8_100_000));
        records[810].failed.push(failed(0, TryFailure::Status(503), 8_100_000));
        let hit = injected(&lost);
        assert_eq!(edge_lost(&records, &hit), 1);
        assert_eq!(unaffected_errors(&records, &hit), 2, "shard 00 itself was hit");
    }
}
