//! An engine that forgets everything when dropped, and can be told to refuse,
//! lose or hold batches. For tests of whoever writes to an engine.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;
use keyspace::{Base, Change, Fold, Handle, Place, Record, Values};
use kv::{KeyspaceName, Revision, Value};
use tokio::sync::watch;

use crate::{
    Batch, Board, Engine, Epoch, Error, Head, Loaded, Metrics, Outcome, Raised, Replica, ReplicaId,
    Seq, Shared, Tail, Tailed, metrics::Counters,
};

/// What happens to the next batch instead of being committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Answered `Unknown`, and it is in the log.
    UnknownApplied,
    /// Answered `Unknown`, and it is not.
    UnknownLost,
    /// Somebody else raised the epoch first.
    Deposed,
}

/// Cheap to clone; clones share the data, as two processes share a database.
#[derive(Clone, Debug)]
pub struct Memory {
    shared: Arc<Inner>,
}

/// While this lives, appends wait.
#[derive(Debug)]
pub struct Held {
    shared: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    lines: Mutex<BTreeMap<KeyspaceName, Line>>,
    replicas: Mutex<BTreeMap<ReplicaId, Replica>>,
    faults: Mutex<HashMap<KeyspaceName, VecDeque<Fault>>>,
    holds: watch::Sender<usize>,
    counters: Counters,
}

#[derive(Debug, Default)]
struct Line {
    epoch: Epoch,
    leader: Option<ReplicaId>,
    seq: Seq,
    base: Base,
    /// The last batch that is in the base.
    folded: Seq,
    batches: VecDeque<Stored>,
}

#[derive(Debug)]
struct Stored {
    /// Where the keyspace stood after it.
    revision: Revision,
    records: Vec<Record>,
}

// === impl Memory ===

impl Default for Memory {
    fn default() -> Memory {
        Memory {
            shared: Arc::new(Inner {
                lines: Mutex::default(),
                replicas: Mutex::default(),
                faults: Mutex::default(),
                holds: watch::Sender::new(0),
                counters: Counters::default(),
            }),
        }
    }
}

impl Memory {
    #[must_use]
    pub fn new() -> Memory {
        Memory::default()
    }

    /// Queues a fault for the keyspace's next batch that has none yet.
    pub fn inject(&self, keyspace: &KeyspaceName, fault: Fault) {
        let mut faults = self.shared.faults.lock().expect("no holder panics");
        faults.entry(keyspace.clone()).or_default().push_back(fault);
    }

    /// Makes every append wait until the returned value is dropped, so that a
    /// test can look at what is visible before anything is durable.
    #[must_use]
    pub fn hold(&self) -> Held {
        self.shared.holds.send_modify(|holds| *holds += 1);
        Held { shared: self.shared.clone() }
    }

    fn lines(&self) -> MutexGuard<'_, BTreeMap<KeyspaceName, Line>> {
        self.shared.lines.lock().expect("no holder panics")
    }

    fn replicas(&self) -> MutexGuard<'_, BTreeMap<ReplicaId, Replica>> {
        self.shared.replicas.lock().expect("no holder panics")
    }

    fn next_fault(&self, keyspace: &KeyspaceName) -> Option<Fault> {
        let mut faults = self.shared.faults.lock().expect("no holder panics");
        faults.get_mut(keyspace)?.pop_front()
    }
}

#[async_trait]
impl Engine for Memory {
    fn cluster_id(&self) -> u64 {
        // Nothing outlives the process, so nothing can be mixed up.
        1
    }

    async fn keyspaces(&self) -> Result<Vec<KeyspaceName>, Error> {
        Ok(self.lines().keys().cloned().collect())
    }

    async fn raise(
        &self,
        keyspace: &KeyspaceName,
        seen: Epoch,
        by: ReplicaId,
    ) -> Result<Raised, Error> {
        let mut lines = self.lines();
        let line = lines.entry(keyspace.clone()).or_default();
        if line.epoch != seen {
            return Ok(Raised::Lost(line.epoch));
        }
        line.epoch = seen.next();
        line.leader = Some(by);
        Ok(Raised::Won(line.epoch))
    }

    async fn load(&self, keyspace: &KeyspaceName) -> Result<Loaded, Error> {
        let lines = self.lines();
        let Some(line) = lines.get(keyspace) else {
            return Ok(Loaded::default());
        };
        Ok(Loaded {
            epoch: line.epoch,
            seq: line.seq,
            base: line.base.clone(),
            log: line.batches.iter().flat_map(|batch| batch.records.iter().cloned()).collect(),
        })
    }

    async fn append(&self, keyspace: &KeyspaceName, batch: Batch) -> Result<Outcome, Error> {
        let mut holds = self.shared.holds.subscribe();
        holds.wait_for(|holds| *holds == 0).await.map_err(|_| Error::Stopped)?;
        let fault = self.next_fault(keyspace);
        let mut lines = self.lines();
        let Some(line) = lines.get_mut(keyspace) else {
            return Ok(Outcome::Deposed);
        };
        if fault == Some(Fault::Deposed) {
            line.epoch = line.epoch.next();
            line.leader = None;
        }
        if batch.epoch != line.epoch || batch.seq != line.seq.next() {
            return Ok(Outcome::Deposed);
        }
        if fault == Some(Fault::UnknownLost) {
            return Ok(Outcome::Unknown);
        }
        line.push(batch);
        self.shared.counters.synced(1, std::time::Duration::ZERO);
        Ok(match fault {
            Some(Fault::UnknownApplied) => Outcome::Unknown,
            _ => Outcome::Committed,
        })
    }

    async fn compact(
        &self,
        keyspace: &KeyspaceName,
        epoch: Epoch,
        revision: Revision,
    ) -> Result<Outcome, Error> {
        let mut lines = self.lines();
        let Some(line) = lines.get_mut(keyspace).filter(|line| line.epoch == epoch) else {
            return Ok(Outcome::Deposed);
        };
        line.fold_before(revision);
        Ok(Outcome::Committed)
    }

    async fn reclaim(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn fetch(&self, keyspace: &KeyspaceName, places: &[Place]) -> Result<Values, Error> {
        let lines = self.lines();
        let line = lines.get(keyspace);
        let mut values = Values::default();
        for place in places {
            let value = line.and_then(|line| line.find(place));
            values.insert(place.clone(), value.ok_or_else(|| Error::Gone(place.clone()))?);
        }
        Ok(values)
    }

    async fn install(
        &self,
        keyspace: &KeyspaceName,
        epoch: Epoch,
        piece: Fold,
    ) -> Result<Outcome, Error> {
        let mut lines = self.lines();
        let line = lines.get_mut(keyspace).filter(|line| line.epoch == epoch);
        let Some(line) = line.filter(|line| line.seq == Seq::default()) else {
            return Ok(Outcome::Deposed);
        };
        line.base.apply(piece);
        Ok(Outcome::Committed)
    }

    fn metrics(&self) -> Metrics {
        self.shared.counters.read(0)
    }

    fn shared(&self) -> Option<&dyn Shared> {
        Some(self)
    }
}

#[async_trait]
impl Shared for Memory {
    async fn beat(&self, me: &Replica) -> Result<Board, Error> {
        self.replicas().insert(me.id, me.clone());
        self.look().await
    }

    async fn look(&self) -> Result<Board, Error> {
        let head = |(name, line): (&KeyspaceName, &Line)| Head {
            keyspace: name.clone(),
            epoch: line.epoch,
            leader: line.leader,
            seq: line.seq,
            revision: line.revision(),
        };
        let heads = self.lines().iter().map(head).collect();
        let replicas = self.replicas().values().cloned().collect();
        Ok(Board { cluster_id: self.cluster_id(), replicas, heads })
    }

    async fn tail(
        &self,
        keyspace: &KeyspaceName,
        after: Seq,
        bytes_max: usize,
    ) -> Result<Tail, Error> {
        let lines = self.lines();
        let Some(line) = lines.get(keyspace) else {
            return Ok(Tail::Batches(Vec::new()));
        };
        if after < line.folded {
            return Ok(Tail::Folded);
        }
        let skip = usize::try_from(after.0 - line.folded.0).unwrap_or(usize::MAX);
        let mut bytes = 0;
        let mut seq = after;
        let mut batches = Vec::new();
        for stored in line.batches.iter().skip(skip) {
            if bytes >= bytes_max {
                break;
            }
            seq = seq.next();
            let mut encoded = Vec::new();
            stored.records.iter().for_each(|record| record.encode(&mut encoded));
            bytes += encoded.len();
            batches.push(Tailed { seq, records: stored.records.clone() });
        }
        Ok(Tail::Batches(batches))
    }

    async fn release(&self, keyspace: &KeyspaceName, epoch: Epoch) -> Result<Outcome, Error> {
        let mut lines = self.lines();
        let Some(line) = lines.get_mut(keyspace).filter(|line| line.epoch == epoch) else {
            return Ok(Outcome::Deposed);
        };
        line.leader = None;
        Ok(Outcome::Committed)
    }

    async fn retire(&self, replica: ReplicaId) -> Result<(), Error> {
        self.replicas().remove(&replica);
        Ok(())
    }
}

// === impl Line ===

impl Line {
    fn push(&mut self, batch: Batch) {
        let last = batch.records.iter().filter_map(Record::revision).next_back();
        let revision = last.unwrap_or(self.revision());
        self.seq = batch.seq;
        self.batches.push_back(Stored { revision, records: batch.records });
    }

    fn revision(&self) -> Revision {
        self.batches.back().map_or(self.base.revision, |batch| batch.revision)
    }

    fn fold_before(&mut self, revision: Revision) {
        let mut fold = Fold { compacted: revision, ..Fold::default() };
        while self.batches.front().is_some_and(|batch| batch.revision < revision) {
            let batch = self.batches.pop_front().expect("just looked at");
            self.folded = self.folded.next();
            batch.records.into_iter().for_each(|record| fold.add(record));
        }
        if let Some(batch) = self.batches.front() {
            fold.add_removals(&batch.records, revision);
        }
        self.base.apply(fold);
    }

    fn find(&self, place: &Place) -> Option<Value> {
        let in_log = self.batches.iter().flat_map(|batch| &batch.records).find_map(|record| {
            let Record::Txn { revision, changes } = record else {
                return None;
            };
            (*revision == place.written).then(|| put_of(changes, place)).flatten()
        });
        in_log.or_else(|| {
            let row = self.base.rows.iter().find(|row| row.key == place.key)?;
            let Handle::Inline(value) = &row.value else {
                return None;
            };
            (row.mod_revision == place.written).then(|| value.clone())
        })
    }
}

/// The value that these changes put at `place`.
pub(crate) fn put_of(changes: &[Change], place: &Place) -> Option<Value> {
    changes.iter().find_map(|change| match change {
        Change::Put { key, value, .. } if *key == place.key => Some(value.clone()),
        Change::Put { .. } | Change::Delete { .. } => None,
    })
}

// === impl Held ===

impl Drop for Held {
    fn drop(&mut self) {
        self.shared.holds.send_modify(|holds| *holds -= 1);
    }
}
