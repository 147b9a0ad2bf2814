//! The books of one unit: its name, the keyspaces, a desk for every shard.

use std::sync::Arc;

use kv::{Kv, RangeRequest};
use tokio::time::{Instant, timeout_at};
use topology::{Epoch, Shard, UnitName};

use crate::{
    Error,
    desk::{Desk, Standing},
    fence::Fence,
    place::{self, Table},
    transact::{Operation, transact},
};

/// How many keyspaces the ledgers share. Fixed: a shard's keyspace must never
/// change.
pub const KEYSPACES: usize = 16;

/// Cheap to clone.
#[derive(Clone)]
pub struct Books(Arc<Inner>);

struct Inner {
    unit: UnitName,
    keyspaces: Vec<Arc<dyn Kv>>,
    desks: Vec<Desk>,
}

// === impl Books ===

impl Books {
    /// `open` gives the keyspace of a name: `ledger-00` to `ledger-15`.
    pub fn new(unit: UnitName, mut open: impl FnMut(&str) -> Arc<dyn Kv>) -> Books {
        let keyspaces = (0..KEYSPACES).map(|n| open(&format!("ledger-{n:02}"))).collect();
        let desks = Shard::all().map(Desk::new).collect();
        Books(Arc::new(Inner { unit, keyspaces, desks }))
    }

    #[must_use]
    pub fn unit(&self) -> &UnitName {
        &self.0.unit
    }

    pub fn kv(&self, shard: Shard) -> &dyn Kv {
        &*self.0.keyspaces[usize::from(shard.number()) % KEYSPACES]
    }

    /// The first keyspace, to ask whether the store answers at all.
    pub fn any_kv(&self) -> &dyn Kv {
        &*self.0.keyspaces[0]
    }

    pub fn desk(&self, shard: Shard) -> &Desk {
        &self.0.desks[usize::from(shard.number())]
    }

    pub fn desks(&self) -> impl Iterator<Item = &Desk> {
        self.0.desks.iter()
    }

    /// Refuses at once what the caller's `routed` epoch shows to be misrouted,
    /// without asking the store: during a move every proxy would. A map that
    /// serves a fence has its epoch, so whoever is refused waits for a newer map.
    pub fn admit(&self, shard: Shard, routed: Option<Epoch>) -> Result<(), Error> {
        match (self.desk(shard).standing(), routed) {
            (Standing::Known(fence), Some(routed))
                if routed < fence.epoch
                    || (routed == fence.epoch && fence.unit != *self.unit()) =>
            {
                Err(Error::Misdirected { shard, fence: Some(fence) })
            }
            _ => Ok(()),
        }
    }

    /// The shard's fence, read if it was not seen yet.
    pub async fn fence(&self, shard: Shard, deadline: Instant) -> Result<Option<Fence>, Error> {
        let desk = self.desk(shard);
        if desk.standing() == Standing::Unseen {
            self.look(shard, deadline).await?;
        }
        match desk.standing() {
            Standing::Known(fence) => Ok(Some(fence)),
            Standing::Unseen | Standing::NeverRaised => Ok(None),
        }
    }

    /// Takes the stored fence to the desk. A raise moves all of a shard's rows
    /// at once, so the first stands for all.
    async fn look(&self, shard: Shard, deadline: Instant) -> Result<(), Error> {
        let row = RangeRequest::new(place::of_shard(Table::Fence, shard)).limit(1);
        let read = timeout_at(deadline, self.kv(shard).range(row)).await;
        let row = read.map_err(|_| Error::Deadline)??.kvs.pop();
        self.desk(shard).learn(row.map(|row| Fence::decode(&row.value)).transpose()?);
        Ok(())
    }

    /// Whether a write may start. Asks the store only if we let the shard go
    /// and the map has gone on since.
    async fn admit_write(
        &self,
        shard: Shard,
        routed: Option<Epoch>,
        deadline: Instant,
    ) -> Result<(), Error> {
        let desk = self.desk(shard);
        if routed.is_some_and(|routed| desk.is_behind(routed)) {
            self.look(shard, deadline).await?;
        }
        self.admit(shard, routed)?;
        desk.open()
    }

    /// Runs `operation`, which came `routed` by that epoch of the map, in its
    /// bucket's lane. Before it is sent it can be abandoned by dropping the
    /// future; afterwards it runs to its end, so that the lane never passes on
    /// with a write in flight.
    pub async fn execute<O: Operation>(
        &self,
        operation: O,
        routed: Option<Epoch>,
        deadline: Instant,
    ) -> Result<O::Answer, Error> {
        let bucket = operation.bucket();
        let shard = bucket.shard();
        self.admit_write(shard, routed, deadline).await?;
        let lane = timeout_at(deadline, self.desk(shard).lane(bucket).lock_owned()).await;
        let mut lane = lane.map_err(|_| Error::Deadline)?;
        // The shard may have been closed while we queued.
        self.admit_write(shard, routed, deadline).await?;
        let books = self.clone();
        let work = async move {
            let (kv, desk) = (books.kv(shard), books.desk(shard));
            transact(kv, books.unit(), desk, &mut lane, operation, deadline).await
        };
        let done = rt::spawn(rt::TaskKind::Connection, "transaction", work).await;
        // A panic in the middle of a write leaves its outcome open.
        done.unwrap_or(Err(Error::OutcomeUnknown))
    }
}
