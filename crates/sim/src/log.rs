//! The replicas' log: one in memory, at the far end of the wire.

use async_trait::async_trait;
use engine::{
    Batch, Board, Engine, Epoch, Error, Loaded, Memory, Metrics, Outcome, Raised, Replica,
    ReplicaId, Seq, Shared, Storage, Tail,
};
use futures::FutureExt as _;
use keyspace::{Place, Values};
use kv::{KeyspaceName, Revision};

use crate::{
    convert,
    recorder::Recorder,
    wire::{Trouble, Wire},
};

/// What one replica sees of it.
pub struct Log {
    pub memory: Memory,
    pub wire: Wire,
    pub from: usize,
    pub recorder: Recorder,
    pub bug: Option<Bug>,
}

/// Mistakes that a simulation worth its name finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// The answer to a commit is lost, and taken for a yes.
    LostIsCommitted,
    /// The answer to a commit is lost, and taken for a no.
    LostIsRefused,
    /// Whoever has been deposed may go on writing.
    NoFence,
    /// The answer of another replica is lost, and taken for a request that never
    /// arrived there.
    SentAgain,
    /// Some clocks run slower than they may, as if leases had no margin: a
    /// leader answers from memory after its lease is over.
    SlowClocks,
    /// Some run faster than they may: leases end before their time.
    FastClocks,
    /// Nobody remembers how far the database had come.
    Forgetful,
    /// And who does is not asked.
    Deaf,
}

// === impl Bug ===

impl Bug {
    pub const ALL: [(&str, Bug); 8] = [
        ("lost-is-committed", Bug::LostIsCommitted),
        ("lost-is-refused", Bug::LostIsRefused),
        ("no-fence", Bug::NoFence),
        ("sent-again", Bug::SentAgain),
        ("slow-clocks", Bug::SlowClocks),
        ("fast-clocks", Bug::FastClocks),
        ("forgetful", Bug::Forgetful),
        ("deaf", Bug::Deaf),
    ];
}

// === impl Log ===

impl Log {
    /// Nothing in memory waits, so that one poll does it all.
    async fn ask<T, F>(&self, work: impl FnOnce(Memory) -> F + Send + 'static) -> Result<T, Trouble>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let memory = self.memory.clone();
        let work = move || work(memory).now_or_never().expect("memory does not wait");
        self.wire.call(self.from, work).await
    }

    async fn read<T, F>(&self, work: impl FnOnce(Memory) -> F + Send + 'static) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        self.ask(work).await.unwrap_or_else(|trouble| Err(broken(trouble)))
    }
}

fn broken(trouble: Trouble) -> Error {
    Error::Read(Storage(format!("the connection: {trouble:?}")))
}

/// Appends, and tells the history what was committed.
async fn append(
    memory: Memory,
    keyspace: KeyspaceName,
    mut batch: Batch,
    recorder: Recorder,
    bug: Option<Bug>,
) -> Result<Outcome, Error> {
    if bug == Some(Bug::NoFence) {
        let loaded = memory.load(&keyspace).await?;
        (batch.epoch, batch.seq) = (loaded.epoch, loaded.seq.next());
    }
    let records = batch.records.clone();
    let outcome = memory.append(&keyspace, batch).await?;
    if outcome == Outcome::Committed {
        let at = recorder.stamp();
        let revisions = records.iter().filter_map(|record| convert::record(record, at));
        revisions.for_each(|revision| recorder.committed(revision));
    }
    Ok(outcome)
}

#[async_trait]
impl Engine for Log {
    fn cluster_id(&self) -> u64 {
        self.memory.cluster_id()
    }

    async fn keyspaces(&self) -> Result<Vec<KeyspaceName>, Error> {
        self.read(|memory| async move { memory.keyspaces().await }).await
    }

    async fn raise(
        &self,
        keyspace: &KeyspaceName,
        seen: Epoch,
        by: ReplicaId,
    ) -> Result<Raised, Error> {
        let keyspace = keyspace.clone();
        let raise = move |memory: Memory| async move { memory.raise(&keyspace, seen, by).await };
        match self.ask(raise).await {
            Ok(raised) => raised,
            Err(Trouble::Lost) => Ok(Raised::Unknown),
            Err(trouble @ Trouble::Refused) => Err(broken(trouble)),
        }
    }

    async fn load(&self, keyspace: &KeyspaceName) -> Result<Loaded, Error> {
        let keyspace = keyspace.clone();
        self.read(|memory| async move { memory.load(&keyspace).await }).await
    }

    async fn append(&self, keyspace: &KeyspaceName, batch: Batch) -> Result<Outcome, Error> {
        let (keyspace, recorder, bug) = (keyspace.clone(), self.recorder.clone(), self.bug);
        let answer = self.ask(move |memory| append(memory, keyspace, batch, recorder, bug)).await;
        match (answer, self.bug) {
            (Ok(outcome), _) => outcome,
            (Err(Trouble::Lost), Some(Bug::LostIsCommitted)) => Ok(Outcome::Committed),
            (Err(Trouble::Lost), Some(Bug::LostIsRefused)) => Err(broken(Trouble::Lost)),
            (Err(Trouble::Lost), _) => Ok(Outcome::Unknown),
            (Err(trouble), _) => Err(broken(trouble)),
        }
    }

    async fn compact(
        &self,
        keyspace: &KeyspaceName,
        epoch: Epoch,
        revision: Revision,
    ) -> Result<Outcome, Error> {
        let keyspace = keyspace.clone();
        let compact =
            move |memory: Memory| async move { memory.compact(&keyspace, epoch, revision).await };
        self.ask(compact).await.unwrap_or(Ok(Outcome::Unknown))
    }

    async fn reclaim(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn fetch(&self, keyspace: &KeyspaceName, places: &[Place]) -> Result<Values, Error> {
        let (keyspace, places) = (keyspace.clone(), places.to_vec());
        self.read(|memory| async move { memory.fetch(&keyspace, &places).await }).await
    }

    fn metrics(&self) -> Metrics {
        self.memory.metrics()
    }

    fn shared(&self) -> Option<&dyn Shared> {
        Some(self)
    }
}

#[async_trait]
impl Shared for Log {
    async fn beat(&self, me: &Replica) -> Result<Board, Error> {
        let me = me.clone();
        self.read(|memory| async move { memory.beat(&me).await }).await
    }

    async fn look(&self) -> Result<Board, Error> {
        self.read(|memory| async move { memory.look().await }).await
    }

    async fn tail(
        &self,
        keyspace: &KeyspaceName,
        after: Seq,
        bytes_max: usize,
    ) -> Result<Tail, Error> {
        let keyspace = keyspace.clone();
        self.read(move |memory| async move { memory.tail(&keyspace, after, bytes_max).await }).await
    }

    async fn release(&self, keyspace: &KeyspaceName, epoch: Epoch) -> Result<Outcome, Error> {
        let keyspace = keyspace.clone();
        self.read(move |memory| async move { memory.release(&keyspace, epoch).await }).await
    }

    async fn retire(&self, replica: ReplicaId) -> Result<(), Error> {
        self.read(move |memory| async move { memory.retire(replica).await }).await
    }
}
