//! Sees every commit as the store carries it out, and knows who asked for it.
//!
//! Restated here without the rules that are tested: an intent takes the next
//! epoch; a fence stands where an intent said, and only rises; a unit writes
//! only what its fence holds; Serving follows a fence that was raised to exactly
//! this epoch. Each is checked at every commit.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use kv::{Op, Txn, TxnResponse};
use ledger::Fence;
use resources::{Failover, ShardMapObject};
use topology::{Bucket, Epoch, Shard, ShardMap, ShardState, UnitName};

use crate::layout::{Process, SEATS};

/// Cheap to clone; clones have seen the same.
#[derive(Clone, Default)]
pub struct Witness(Arc<Mutex<Seen>>);

#[derive(Clone, Default)]
pub struct Seen {
    pub map: ShardMap,
    /// Whom an intent named for each epoch, and who raised the fence then.
    intents: BTreeMap<(Shard, Epoch), UnitName>,
    raised: BTreeSet<(Shard, Epoch, UnitName)>,
    pub fences: BTreeMap<Bucket, Fence>,
    /// What failovers were recorded, by name.
    pub failovers: BTreeMap<String, Failover>,
    /// What happened to the map, and when.
    pub told: Vec<(u64, String)>,
    pub violations: Vec<String>,
    pub commits: u64,
    pub intended: u64,
    pub served: u64,
    /// Writes that a fence refused.
    pub refused: u64,
    /// Shards that came by splitting.
    pub parts: u64,
}

const MAP_KEY: &str = "/shardmaps/main";
const FAILOVERS: &str = "/failovers/";

// === impl Witness ===

impl Witness {
    pub fn see(&self, now_ms: u64, from: Process, keyspace: &str, txn: &Txn, done: &TxnResponse) {
        let mut seen = self.0.lock().expect("one thread");
        if !done.succeeded {
            seen.refused += u64::from(keyspace.starts_with("ledger-"));
            return;
        }
        for op in &txn.success {
            let Op::Put(put) = op else { continue };
            let Ok(key) = std::str::from_utf8(&put.key) else { continue };
            if keyspace.starts_with("ledger-") {
                seen.books(now_ms, from, key, &put.value);
            } else if key.ends_with(MAP_KEY) {
                seen.map(now_ms, from, &put.value);
            } else if key.contains(FAILOVERS)
                && let Ok(failover) = serde_json::from_slice::<Failover>(&put.value)
            {
                seen.told.push((now_ms, format!("failover {}", line(&failover))));
                seen.failovers.insert(failover.name().to_owned(), failover);
            }
        }
    }

    pub fn violated(&self, what: String) {
        self.0.lock().expect("one thread").violations.push(what);
    }

    #[must_use]
    pub fn seen(&self) -> Seen {
        self.0.lock().expect("one thread").clone()
    }

    #[must_use]
    pub fn is_content(&self) -> bool {
        self.0.lock().expect("one thread").violations.is_empty()
    }

    /// The unit whose fence stands, for a look at its books.
    #[must_use]
    pub fn holder(&self, shard: Shard) -> Option<Fence> {
        let seen = self.0.lock().expect("one thread");
        let first = seen.map.layout.buckets(shard)?.first();
        seen.fences.get(&first).cloned()
    }
}

fn line(failover: &Failover) -> String {
    let centers: Vec<_> = failover.spec.centers.iter().map(|center| center.as_str()).collect();
    let (evidence, phase) = (failover.spec.evidence, failover.status.phase);
    format!("{} of {centers:?}: {evidence:?}, {phase:?}", failover.name())
}

// === impl Seen ===

impl Seen {
    fn violated(&mut self, now_ms: u64, what: &str) {
        self.violations.push(format!("{now_ms} {what}"));
    }

    fn books(&mut self, now_ms: u64, from: Process, key: &str, value: &[u8]) {
        let mut parts = key.split('/').skip(1);
        let (Some(table), Some(bucket)) = (parts.next(), parts.next()) else { return };
        let Ok(bucket) = bucket.parse::<Bucket>() else { return };
        let Process::Ledger(at) = from else {
            return self.violated(now_ms, &format!("books: {from:?} wrote {key}"));
        };
        let unit = SEATS[at].unit();
        let stands = self.fences.get(&bucket).cloned();
        if table != "fence" {
            self.commits += 1;
            if stands.as_ref().is_none_or(|fence| fence.unit != unit) {
                let what = format!("one writer: {unit} wrote {key} though {stands:?} stands");
                self.violated(now_ms, &what);
            }
            return;
        }
        let fence = match Fence::decode(value) {
            Ok(fence) => fence,
            Err(error) => return self.violated(now_ms, &format!("books: {key}: {error}")),
        };
        let shard = self.map.layout.shard_of(bucket);
        if fence.unit != unit {
            self.violated(now_ms, &format!("fence: {unit} raised {shard} for {}", fence.unit));
        }
        if stands.as_ref().is_some_and(|before| before.epoch >= fence.epoch) {
            self.violated(now_ms, &format!("fence: {key} went from {stands:?} to {fence:?}"));
        }
        if self.intents.get(&(shard, fence.epoch)) != Some(&fence.unit) {
            let what = format!("fence: {shard} was raised to {fence:?}, which nobody intended");
            self.violated(now_ms, &what);
        }
        self.raised.insert((shard, fence.epoch, fence.unit.clone()));
        self.fences.insert(bucket, fence);
    }

    fn map(&mut self, now_ms: u64, from: Process, value: &[u8]) {
        let next = match serde_json::from_slice::<ShardMapObject>(value) {
            Ok(object) => object.status,
            Err(error) => return self.violated(now_ms, &format!("map: {error}")),
        };
        if next == self.map {
            return;
        }
        let before = std::mem::replace(&mut self.map, next.clone());
        if next.version.0 != before.version.0 + 1 {
            let what = format!("map: version {} follows {}", next.version, before.version);
            self.violated(now_ms, &what);
        }
        self.split(now_ms, from, &before, &next);
        for (shard, after) in &next.assignments {
            let was = before.get(*shard);
            // Judged as a split.
            if was.is_none() && before.layout.buckets(*shard).is_none() {
                continue;
            }
            if was == Some(after) {
                continue;
            }
            let epoch = after.epoch;
            let before_epoch = was.map_or(Epoch(0), |was| was.epoch);
            match &after.state {
                ShardState::Moving { from: source, to } => {
                    self.intended += 1;
                    let source = source.as_ref().map_or("", UnitName::as_str);
                    self.told.push((now_ms, format!("{shard} {source}>{to}@{epoch} by {from:?}")));
                    if epoch != before_epoch.next() {
                        let what = format!("epochs rise: {shard} from {before_epoch} to {epoch}");
                        self.violated(now_ms, &what);
                    }
                    if let Some(other) = self.intents.insert((*shard, epoch), to.clone())
                        && other != *to
                    {
                        let what = format!("one writer: {shard}@{epoch} is {other}'s and {to}'s");
                        self.violated(now_ms, &what);
                    }
                }
                ShardState::Serving { unit } => {
                    self.served += 1;
                    self.told.push((now_ms, format!("{shard} at {unit}@{epoch} by {from:?}")));
                    if epoch != before_epoch {
                        let what = format!("serving: {shard}@{epoch} was not intended");
                        self.violated(now_ms, &what);
                    }
                    if !self.raised.contains(&(*shard, epoch, unit.clone())) {
                        let what = format!("serving: {unit} serves {shard}@{epoch} unfenced");
                        self.violated(now_ms, &what);
                    }
                }
            }
        }
        for shard in before.assignments.keys() {
            if next.get(*shard).is_none() {
                self.violated(now_ms, &format!("map: {shard} is gone"));
            }
        }
    }

    /// A split changes nobody's right to write: every bucket has the owner and the
    /// epoch that it had, and nobody who waits is left behind.
    fn split(&mut self, now_ms: u64, from: Process, before: &ShardMap, next: &ShardMap) {
        if next.layout == before.layout {
            return;
        }
        let all = (0..).map_while(Bucket::new);
        for bucket in all {
            let (was, now) = (before.layout.shard_of(bucket), next.layout.shard_of(bucket));
            if was != now && before.get(was) != next.get(now) {
                let what = format!("split: {bucket} of {was} changed hands as one of {now}");
                return self.violated(now_ms, &what);
            }
        }
        let parts = next.layout.shards().filter(|shard| before.layout.buckets(*shard).is_none());
        for part in parts {
            let buckets = next.layout.buckets(part).expect("it is one of them");
            let whole = before.layout.shard_of(buckets.first());
            self.parts += 1;
            self.told.push((now_ms, format!("{whole} split: {buckets} are {part} by {from:?}")));
            if before.get(whole).is_some_and(|was| matches!(was.state, ShardState::Moving { .. })) {
                self.violated(now_ms, &format!("split: {whole} was on its way"));
            }
            // What was intended and raised for the whole was for these buckets too.
            let intents = self.intents.range((whole, Epoch(0))..=(whole, Epoch(u64::MAX)));
            let intents: Vec<_> =
                intents.map(|((_, at), unit)| ((part, *at), unit.clone())).collect();
            self.intents.extend(intents);
            let raised = self.raised.iter().filter(|(shard, ..)| *shard == whole);
            let raised: Vec<_> = raised.map(|(_, at, unit)| (part, *at, unit.clone())).collect();
            self.raised.extend(raised);
        }
    }
}
