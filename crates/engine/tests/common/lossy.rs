//! A database whose answers are lost as a test says.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use bytes::Bytes;
use engine::{
    Board, Epoch, Head, Replica, ReplicaId, Seq,
    sql::{Append, Cell, Connection, Database, Failure, LogRow, Mark, Piece, Stand},
};
use kv::{KeyspaceName, Revision};

/// What becomes of the next writing transaction and of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    Applied,
    Never,
    /// It reaches the server when [`Lossy::deliver`] is called.
    Late,
    /// It is refused as if it had lost against another.
    Conflict,
}

/// Over a real one.
pub struct Lossy {
    inner: Arc<dyn Database>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    losses: Mutex<VecDeque<Loss>>,
    late: Mutex<Vec<Late>>,
}

enum Late {
    Append(KeyspaceName, Append),
    Raise(KeyspaceName, Epoch, ReplicaId),
}

struct Session {
    inner: Box<dyn Connection>,
    shared: Arc<Shared>,
}

// === impl Lossy ===

impl Lossy {
    pub fn new(inner: impl Database) -> Lossy {
        Lossy { inner: Arc::new(inner), shared: Arc::default() }
    }

    pub fn handle(&self) -> Lossy {
        Lossy { inner: self.inner.clone(), shared: self.shared.clone() }
    }

    pub fn lose(&self, loss: Loss) {
        self.shared.losses.lock().expect("no holder panics").push_back(loss);
    }

    /// Lets what is late arrive; says for each whether it was applied.
    pub async fn deliver(&self) -> Vec<bool> {
        let late = std::mem::take(&mut *self.shared.late.lock().expect("no holder panics"));
        let mut applied = Vec::new();
        for write in late {
            let mut session = self.inner.connect().await.expect("it accepts");
            applied.push(match write {
                Late::Append(keyspace, append) => {
                    session.append(&keyspace, &append).await.expect("an answer")
                }
                Late::Raise(keyspace, seen, by) => {
                    session.raise(&keyspace, seen, by).await.expect("an answer").raised
                }
            });
        }
        applied
    }
}

#[async_trait]
impl Database for Lossy {
    async fn connect(&self) -> Result<Box<dyn Connection>, Failure> {
        let inner = self.inner.connect().await?;
        Ok(Box::new(Session { inner, shared: self.shared.clone() }))
    }
}

// === impl Session ===

impl Session {
    fn next_loss(&self) -> Option<Loss> {
        self.shared.losses.lock().expect("no holder panics").pop_front()
    }

    fn keep_late(&self, late: Late) {
        self.shared.late.lock().expect("no holder panics").push(late);
    }
}

fn lost<T>() -> Result<T, Failure> {
    Err(Failure::Lost("as the test wants".to_owned()))
}

#[async_trait]
impl Connection for Session {
    fn row_bytes_max(&self) -> usize {
        self.inner.row_bytes_max()
    }

    async fn found(&mut self, cluster_id: u64) -> Result<u64, Failure> {
        self.inner.found(cluster_id).await
    }

    async fn raise(
        &mut self,
        keyspace: &KeyspaceName,
        seen: Epoch,
        by: ReplicaId,
    ) -> Result<Stand, Failure> {
        match self.next_loss() {
            None => self.inner.raise(keyspace, seen, by).await,
            Some(Loss::Applied) => self.inner.raise(keyspace, seen, by).await.and_then(|_| lost()),
            Some(Loss::Never) => lost(),
            Some(Loss::Late) => {
                self.keep_late(Late::Raise(keyspace.clone(), seen, by));
                lost()
            }
            Some(Loss::Conflict) => Err(Failure::Conflict("as the test wants".to_owned())),
        }
    }

    async fn append(&mut self, keyspace: &KeyspaceName, append: &Append) -> Result<bool, Failure> {
        match self.next_loss() {
            None => self.inner.append(keyspace, append).await,
            Some(Loss::Applied) => self.inner.append(keyspace, append).await.and_then(|_| lost()),
            Some(Loss::Never) => lost(),
            Some(Loss::Late) => {
                self.keep_late(Late::Append(keyspace.clone(), append.clone()));
                lost()
            }
            Some(Loss::Conflict) => Err(Failure::Conflict("as the test wants".to_owned())),
        }
    }

    async fn beat(&mut self, me: &Replica) -> Result<Board, Failure> {
        self.inner.beat(me).await
    }

    async fn look(&mut self) -> Result<Board, Failure> {
        self.inner.look().await
    }

    async fn retire(&mut self, replica: ReplicaId) -> Result<(), Failure> {
        self.inner.retire(replica).await
    }

    async fn release(&mut self, keyspace: &KeyspaceName, epoch: Epoch) -> Result<bool, Failure> {
        self.inner.release(keyspace, epoch).await
    }

    async fn tail(
        &mut self,
        keyspace: &KeyspaceName,
        after: Seq,
        bytes_max: usize,
    ) -> Result<(Vec<LogRow>, Mark), Failure> {
        self.inner.tail(keyspace, after, bytes_max).await
    }

    async fn batch_of(
        &mut self,
        keyspace: &KeyspaceName,
        revision: Revision,
    ) -> Result<Option<LogRow>, Failure> {
        self.inner.batch_of(keyspace, revision).await
    }

    async fn cell(
        &mut self,
        keyspace: &KeyspaceName,
        name: &[u8],
    ) -> Result<Option<Bytes>, Failure> {
        self.inner.cell(keyspace, name).await
    }

    async fn begin(&mut self, keyspace: &KeyspaceName) -> Result<Option<(Head, Mark)>, Failure> {
        self.inner.begin(keyspace).await
    }

    async fn cells(
        &mut self,
        keyspace: &KeyspaceName,
        after: &[u8],
        bytes_max: usize,
    ) -> Result<Vec<Cell>, Failure> {
        self.inner.cells(keyspace, after, bytes_max).await
    }

    async fn end(&mut self) -> Result<(), Failure> {
        self.inner.end().await
    }

    async fn fold(
        &mut self,
        keyspace: &KeyspaceName,
        epoch: Epoch,
        piece: &Piece,
    ) -> Result<bool, Failure> {
        match self.next_loss() {
            None => self.inner.fold(keyspace, epoch, piece).await,
            Some(Loss::Applied) => {
                self.inner.fold(keyspace, epoch, piece).await.and_then(|_| lost())
            }
            Some(Loss::Never | Loss::Late) => lost(),
            Some(Loss::Conflict) => Err(Failure::Conflict("as the test wants".to_owned())),
        }
    }

    async fn install(
        &mut self,
        keyspace: &KeyspaceName,
        epoch: Epoch,
        piece: &Piece,
    ) -> Result<bool, Failure> {
        self.inner.install(keyspace, epoch, piece).await
    }

    async fn jump(&mut self, head: &Head) -> Result<bool, Failure> {
        self.inner.jump(head).await
    }

    async fn rename(&mut self, from: u64, to: u64) -> Result<bool, Failure> {
        self.inner.rename(from, to).await
    }
}
