//! One keyspace's side of the engine: its values outside of memory, and its
//! log under the epoch that we hold.

use std::{sync::Arc, time::Duration};

use engine::{
    Batch, Board, Engine, Epoch, Head, Outcome, Raised, ReplicaId, Scan, Seq, Shared, Tail,
};
use keyspace::{Keyspace, Place, Record, Values, Watch};
use kv::{Error, KeyspaceName, RangeRequest, RangeResponse, Revision, Txn, WatchBatch};

use crate::quota::Quota;

/// Log that a follower reads at once: a few batches of the largest kind.
const TAIL_BYTES_MAX: usize = 16 * 1024 * 1024;

#[derive(Clone)]
pub(crate) struct Vault {
    engine: Arc<dyn Engine>,
    name: KeyspaceName,
}

// === impl Vault ===

impl Vault {
    pub fn new(engine: Arc<dyn Engine>, name: KeyspaceName) -> Vault {
        Vault { engine, name }
    }

    pub fn name(&self) -> &KeyspaceName {
        &self.name
    }

    /// Raises the epoch, which settles the fate of every batch before it.
    pub async fn claim(&self) -> Result<Raised, engine::Error> {
        let seen = self.engine.scan(&self.name).await?.head.epoch;
        self.raise(seen, ReplicaId::default()).await
    }

    fn shared(&self) -> &dyn Shared {
        self.engine.shared().expect("only a log that is shared is asked for what others did")
    }

    /// How long it takes of late to make a batch durable.
    pub fn pace(&self) -> Duration {
        self.engine.pace()
    }

    pub async fn raise(&self, seen: Epoch, by: ReplicaId) -> Result<Raised, engine::Error> {
        self.engine.raise(&self.name, seen, by).await
    }

    pub async fn scan(&self) -> Result<Scan, engine::Error> {
        self.engine.scan(&self.name).await
    }

    pub async fn tail(&self, after: Seq) -> Result<Tail, engine::Error> {
        self.shared().tail(&self.name, after, TAIL_BYTES_MAX).await
    }

    pub async fn look(&self) -> Result<Board, engine::Error> {
        self.shared().look().await
    }

    /// As it stands at some moment between call and answer.
    pub async fn head(&self) -> Result<Option<Head>, engine::Error> {
        let board = self.look().await?;
        Ok(board.heads.into_iter().find(|head| head.keyspace == self.name))
    }

    pub async fn release(&self, epoch: Epoch) -> Result<Outcome, engine::Error> {
        self.shared().release(&self.name, epoch).await
    }

    /// Owns all that it needs, so that the actor can go on meanwhile.
    pub fn append(
        &self,
        epoch: Epoch,
        seq: Seq,
        records: Vec<Record>,
    ) -> impl Future<Output = Result<Outcome, engine::Error>> + Send + 'static {
        let Vault { engine, name, .. } = self.clone();
        async move { engine.append(&name, Batch { epoch, seq, records }).await }
    }

    /// Folds old log in the background. Late or never does no harm: the next
    /// one covers it. A full store then gives back what that has freed.
    pub fn fold(&self, epoch: Epoch, revision: Revision, quota: Arc<Quota>) {
        let Vault { engine, name, .. } = self.clone();
        rt::spawn(rt::TaskKind::Connection, "fold old log", async move {
            match engine.compact(&name, epoch, revision).await {
                Ok(Outcome::Committed) => quota.make_room().await,
                Ok(refused) => tracing::info!(keyspace = %name, ?refused, "log not folded"),
                Err(error) => tracing::warn!(keyspace = %name, %error, "log not folded"),
            }
        });
    }

    /// Reads as of `visible`, fetching values that left memory.
    pub async fn range(
        &self,
        keyspace: &Keyspace,
        request: &RangeRequest,
        visible: Revision,
    ) -> Result<RangeResponse, Error> {
        let values = self.fetch(keyspace, || keyspace.range_needs(request, visible)).await?;
        keyspace.range(request, visible, &values)
    }

    /// As [`Self::range`], one page.
    pub async fn page(
        &self,
        keyspace: &Keyspace,
        request: &RangeRequest,
        bytes_max: usize,
        visible: Revision,
    ) -> Result<RangeResponse, Error> {
        let values =
            self.fetch(keyspace, || keyspace.page_needs(request, bytes_max, visible)).await?;
        keyspace.page(request, bytes_max, visible, &values)
    }

    /// A watcher's next events.
    pub async fn poll(
        &self,
        keyspace: &Keyspace,
        watch: &mut Watch,
        visible: Revision,
        events_max: usize,
    ) -> Result<Option<WatchBatch>, Error> {
        let values =
            self.fetch(keyspace, || keyspace.poll_needs(watch, visible, events_max)).await?;
        keyspace.poll(watch, visible, events_max, &values)
    }

    /// The values that a transaction touches.
    pub async fn txn_values(&self, keyspace: &Keyspace, txn: &Txn) -> Result<Values, Error> {
        let mut places = Vec::new();
        let mut values = Values::default();
        if !keyspace.has_outside() {
            return Ok(values);
        }
        // What is needed can depend on what was compared, hence the rounds.
        loop {
            let needs = keyspace.needs(txn, &values);
            if needs.is_empty() {
                return Ok(values);
            }
            places.extend(needs);
            values = self.fetch(keyspace, || places.clone()).await?;
        }
    }

    /// Reads values that left memory; most often there are none.
    async fn fetch(
        &self,
        keyspace: &Keyspace,
        needs: impl FnOnce() -> Vec<Place>,
    ) -> Result<Values, Error> {
        let places = if keyspace.has_outside() { needs() } else { Vec::new() };
        if places.is_empty() {
            return Ok(Values::default());
        }
        self.engine.fetch(&self.name, &places).await.map_err(|error| match error {
            engine::Error::Corrupt { .. } | engine::Error::Newer { .. } => {
                tracing::error!(keyspace = %self.name, %error, "stored value refused");
                Error::Corrupt
            }
            // Nothing was changed for want of a value, and asking again is safe.
            other => {
                tracing::warn!(keyspace = %self.name, error = %other, "value not fetched");
                Error::NotLeader
            }
        })
    }
}
