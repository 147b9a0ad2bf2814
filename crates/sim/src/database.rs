//! A database behind the wire, with transactions and nothing else: what the SQL
//! engine asks of one, kept in maps.
//!
//! Each call is one transaction, done at one instant. Its answer may be lost,
//! and the transaction may be done long after its session was given up.

use std::{
    collections::BTreeMap,
    ops::{Bound, Range},
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;
use bytes::Bytes;
use engine::{
    Board, Engine as _, Epoch, Head, Replica, ReplicaId, Seq,
    sql::{Append, Cell, Connection, Database, Failure, LogRow, Mark, Piece, Sql, Stand},
};
use kv::{KeyspaceName, Revision};

use crate::{
    Bug, convert,
    recorder::Recorder,
    wire::{Trouble, Wire},
};

/// Cheap to clone; clones are one database.
#[derive(Clone, Default)]
pub struct Tables(Arc<Mutex<State>>);

#[derive(Clone, Default)]
struct State {
    cluster_id: u64,
    replicas: BTreeMap<ReplicaId, Replica>,
    lines: BTreeMap<KeyspaceName, Line>,
    /// Every batch there ever was, also those that were rolled back, and when
    /// it was committed.
    archive: Vec<(KeyspaceName, LogRow, u64)>,
}

#[derive(Clone)]
struct Line {
    head: Head,
    mark: Mark,
    log: BTreeMap<Seq, LogRow>,
    cells: BTreeMap<Bytes, Bytes>,
}

/// The road of one replica to it.
pub struct Road {
    pub tables: Tables,
    pub wire: Wire,
    pub from: usize,
    pub recorder: Recorder,
    pub bug: Option<Bug>,
}

struct Session {
    tables: Tables,
    wire: Wire,
    from: usize,
    recorder: Recorder,
    bug: Option<Bug>,
    /// What this session sees until it ends to read.
    snapshot: Option<Line>,
}

/// Nothing goes wrong on it: for who looks back at the end.
struct Direct(Tables, Recorder);

// === impl Tables ===

impl Tables {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("one thread")
    }

    /// Everything as it is now, to come back to.
    #[must_use]
    pub fn backup(&self) -> Tables {
        let state = State { archive: Vec::new(), ..self.state().clone() };
        Tables(Arc::new(Mutex::new(state)))
    }

    /// As if nothing had happened since; that it did, is not forgotten.
    pub fn roll_back(&self, backup: &Tables) {
        let mut state = self.state();
        let archive = std::mem::take(&mut state.archive);
        *state = State { archive, ..backup.state().clone() };
    }

    pub fn cluster_id(&self) -> u64 {
        self.state().cluster_id
    }

    /// The name of who leads the one keyspace that is used.
    pub fn leader(&self) -> Option<String> {
        let state = self.state();
        let leader = state.lines.get(&KeyspaceName::default())?.head.leader?;
        Some(state.replicas.get(&leader)?.name.clone())
    }

    /// How many batches there ever were.
    #[must_use]
    pub fn batches(&self) -> usize {
        self.state().archive.len()
    }

    /// An engine that nothing happens to, as a person's tools have it.
    pub async fn open(&self, recorder: &Recorder) -> Sql {
        let direct = Direct(self.clone(), recorder.clone());
        Sql::open(Arc::new(direct)).await.expect("nothing goes wrong")
    }

    /// What there is, in the words of the history.
    pub async fn base(&self, recorder: &Recorder) -> checker::history::Base {
        let sql = self.open(recorder).await;
        let loaded = sql.load(&KeyspaceName::default()).await.expect("nothing is damaged");
        let kvs = loaded.base.rows.iter().map(convert::row).collect();
        checker::history::Base { revision: loaded.base.revision.0, kvs }
    }

    /// Every revision that was committed by these batches, in the words of the
    /// history; `start` is where the first of them found the database.
    pub async fn log(
        &self,
        recorder: &Recorder,
        batches: Range<usize>,
        start: &Tables,
    ) -> Vec<checker::history::Revision> {
        let archive = self.state().archive[batches].to_vec();
        let whole = start.backup();
        let mut at = BTreeMap::new();
        {
            let mut state = whole.state();
            for (keyspace, row, stamp) in archive {
                at.insert(row.revision.0, stamp);
                let line = state.line(&keyspace);
                (line.head.seq, line.head.revision) = (row.seq, row.revision);
                line.log.insert(row.seq, row);
            }
        }
        let sql = whole.open(recorder).await;
        let loaded = sql.load(&KeyspaceName::default()).await.expect("nothing is damaged");
        let stamp = |revision: u64| at.range(revision..).next().map_or(0, |(_, stamp)| *stamp);
        let said = |record: &keyspace::Record| convert::record(record, stamp(record.revision()?.0));
        loaded.log.iter().filter_map(said).collect()
    }
}

// === impl State ===

impl State {
    fn line(&mut self, keyspace: &KeyspaceName) -> &mut Line {
        self.lines.entry(keyspace.clone()).or_insert_with(|| Line {
            head: Head {
                keyspace: keyspace.clone(),
                epoch: Epoch(0),
                leader: None,
                seq: Seq(0),
                revision: Revision::FIRST,
            },
            mark: Mark::default(),
            log: BTreeMap::new(),
            cells: BTreeMap::new(),
        })
    }

    /// If that epoch stands.
    fn led(&mut self, keyspace: &KeyspaceName, epoch: Epoch) -> Option<&mut Line> {
        self.lines.get_mut(keyspace).filter(|line| line.head.epoch == epoch)
    }

    fn board(&self) -> Board {
        Board {
            cluster_id: self.cluster_id,
            replicas: self.replicas.values().cloned().collect(),
            heads: self.lines.values().map(|line| line.head.clone()).collect(),
        }
    }

    fn append(&mut self, keyspace: &KeyspaceName, append: &Append, at: u64, fenced: bool) -> bool {
        let Some(line) = self.lines.get_mut(keyspace) else { return false };
        let fits = line.head.epoch == append.epoch && line.head.seq.next() == append.seq;
        if fenced && !fits {
            return false;
        }
        let head = &mut line.head;
        (head.seq, head.revision) = (append.seq, append.revision.unwrap_or(head.revision));
        let row = LogRow { seq: head.seq, revision: head.revision, data: append.data.clone() };
        line.log.insert(row.seq, row.clone());
        self.archive.push((keyspace.clone(), row, at));
        true
    }
}

// === impl Line ===

impl Line {
    fn tail(&self, after: Seq, bytes_max: usize) -> Vec<LogRow> {
        let mut bytes = 0;
        let rows = self.log.range((Bound::Excluded(after), Bound::Unbounded));
        let fits = |row: &&LogRow| {
            let fits = bytes < bytes_max;
            bytes += row.data.len();
            fits
        };
        rows.map(|(_, row)| row).take_while(fits).cloned().collect()
    }

    fn cells(&self, after: &[u8], bytes_max: usize) -> Vec<Cell> {
        let mut bytes = 0;
        let cells = self.cells.iter().filter(|(name, _)| &name[..] > after);
        let fits = |(name, value): &(&Bytes, &Bytes)| {
            let fits = bytes < bytes_max;
            bytes += name.len() + value.len();
            fits
        };
        let cell =
            |(name, value): (&Bytes, &Bytes)| Cell { name: name.clone(), value: value.clone() };
        cells.take_while(fits).map(cell).collect()
    }

    fn write(&mut self, piece: &Piece) {
        self.mark = piece.mark;
        for (name, value) in &piece.cells {
            match value {
                Some(value) => self.cells.insert(name.clone(), value.clone()),
                None => self.cells.remove(name),
            };
        }
    }
}

// === impl Road ===

#[async_trait]
impl Database for Road {
    async fn connect(&self) -> Result<Box<dyn Connection>, Failure> {
        match self.wire.call(self.from, || ()).await {
            Ok(()) => Ok(Box::new(Session {
                tables: self.tables.clone(),
                wire: self.wire.clone(),
                from: self.from,
                recorder: self.recorder.clone(),
                bug: self.bug,
                snapshot: None,
            })),
            Err(_) => Err(Failure::Unavailable("no answer".into())),
        }
    }
}

#[async_trait]
impl Database for Direct {
    async fn connect(&self) -> Result<Box<dyn Connection>, Failure> {
        let Direct(tables, recorder) = self;
        let wire = Wire::direct();
        let (tables, recorder) = (tables.clone(), recorder.clone());
        Ok(Box::new(Session { tables, wire, from: 0, recorder, bug: None, snapshot: None }))
    }
}

// === impl Session ===

impl Session {
    async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut State) -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let tables = self.tables.clone();
        let done = self.wire.call(self.from, move || work(&mut tables.state())).await;
        done.map_err(|trouble| match trouble {
            Trouble::Refused => Failure::Conflict("deadlock".into()),
            Trouble::Lost => Failure::Lost("the connection was lost".into()),
        })
    }
}

#[async_trait]
impl Connection for Session {
    /// Takes its time: nothing else may wait for that.
    async fn bytes(&mut self) -> Result<u64, Failure> {
        std::future::pending().await
    }

    fn row_bytes_max(&self) -> usize {
        1024 * 1024
    }

    async fn found(&mut self, cluster_id: u64) -> Result<u64, Failure> {
        self.ask(move |state| {
            if state.cluster_id == 0 {
                state.cluster_id = cluster_id;
            }
            state.cluster_id
        })
        .await
    }

    async fn raise(
        &mut self,
        keyspace: &KeyspaceName,
        seen: Epoch,
        by: ReplicaId,
    ) -> Result<Stand, Failure> {
        let keyspace = keyspace.clone();
        self.ask(move |state| {
            let head = &mut state.line(&keyspace).head;
            let raised = head.epoch == seen;
            if raised {
                (head.epoch, head.leader) = (seen.next(), Some(by));
            }
            Stand { raised, epoch: head.epoch, leader: head.leader }
        })
        .await
    }

    async fn append(&mut self, keyspace: &KeyspaceName, append: &Append) -> Result<bool, Failure> {
        let (keyspace, append, recorder) =
            (keyspace.clone(), append.clone(), self.recorder.clone());
        let fenced = self.bug != Some(Bug::NoFence);
        let appended =
            self.ask(move |state| state.append(&keyspace, &append, recorder.stamp(), fenced)).await;
        match (appended, self.bug) {
            (Err(Failure::Lost(_)), Some(Bug::LostIsCommitted)) => Ok(true),
            (Err(Failure::Lost(problem)), Some(Bug::LostIsRefused)) => {
                Err(Failure::Unavailable(problem))
            }
            (appended, _) => appended,
        }
    }

    async fn beat(&mut self, me: &Replica) -> Result<Board, Failure> {
        let me = me.clone();
        self.ask(move |state| {
            state.replicas.insert(me.id, me);
            state.board()
        })
        .await
    }

    async fn look(&mut self) -> Result<Board, Failure> {
        self.ask(|state| state.board()).await
    }

    async fn retire(&mut self, replica: ReplicaId) -> Result<(), Failure> {
        self.ask(move |state| drop(state.replicas.remove(&replica))).await
    }

    async fn release(&mut self, keyspace: &KeyspaceName, epoch: Epoch) -> Result<bool, Failure> {
        let keyspace = keyspace.clone();
        let release = move |state: &mut State| {
            state.led(&keyspace, epoch).map(|line| line.head.leader = None).is_some()
        };
        self.ask(release).await
    }

    async fn tail(
        &mut self,
        keyspace: &KeyspaceName,
        after: Seq,
        bytes_max: usize,
    ) -> Result<(Vec<LogRow>, Mark), Failure> {
        if let Some(line) = &self.snapshot {
            return Ok((line.tail(after, bytes_max), line.mark));
        }
        let keyspace = keyspace.clone();
        self.ask(move |state| {
            let line = state.line(&keyspace);
            (line.tail(after, bytes_max), line.mark)
        })
        .await
    }

    async fn batch_of(
        &mut self,
        keyspace: &KeyspaceName,
        revision: Revision,
    ) -> Result<Option<LogRow>, Failure> {
        let keyspace = keyspace.clone();
        let find = move |state: &mut State| {
            let mut rows = state.line(&keyspace).log.values();
            rows.find(|row| row.revision >= revision).cloned()
        };
        self.ask(find).await
    }

    async fn cell(
        &mut self,
        keyspace: &KeyspaceName,
        name: &[u8],
    ) -> Result<Option<Bytes>, Failure> {
        let (keyspace, name) = (keyspace.clone(), name.to_vec());
        self.ask(move |state| state.line(&keyspace).cells.get(&name[..]).cloned()).await
    }

    async fn begin(&mut self, keyspace: &KeyspaceName) -> Result<Option<(Head, Mark)>, Failure> {
        let keyspace = keyspace.clone();
        self.snapshot = self.ask(move |state| state.lines.get(&keyspace).cloned()).await?;
        Ok(self.snapshot.as_ref().map(|line| (line.head.clone(), line.mark)))
    }

    async fn cells(
        &mut self,
        keyspace: &KeyspaceName,
        after: &[u8],
        bytes_max: usize,
    ) -> Result<Vec<Cell>, Failure> {
        if let Some(line) = &self.snapshot {
            return Ok(line.cells(after, bytes_max));
        }
        let (keyspace, after) = (keyspace.clone(), after.to_vec());
        self.ask(move |state| state.line(&keyspace).cells(&after, bytes_max)).await
    }

    async fn end(&mut self) -> Result<(), Failure> {
        self.snapshot = None;
        Ok(())
    }

    async fn fold(
        &mut self,
        keyspace: &KeyspaceName,
        epoch: Epoch,
        piece: &Piece,
    ) -> Result<bool, Failure> {
        let (keyspace, piece) = (keyspace.clone(), piece.clone());
        self.ask(move |state| {
            let line = state.led(&keyspace, epoch).filter(|line| line.mark.seq == piece.after);
            let Some(line) = line else { return false };
            line.write(&piece);
            line.log.retain(|seq, _| *seq > piece.mark.seq);
            true
        })
        .await
    }

    async fn install(
        &mut self,
        keyspace: &KeyspaceName,
        epoch: Epoch,
        piece: &Piece,
    ) -> Result<bool, Failure> {
        let (keyspace, piece) = (keyspace.clone(), piece.clone());
        self.ask(move |state| {
            let line = state.led(&keyspace, epoch).filter(|line| line.head.seq == Seq(0));
            let Some(line) = line else { return false };
            line.write(&piece);
            line.head.revision = line.head.revision.max(piece.mark.revision);
            true
        })
        .await
    }

    async fn jump(&mut self, head: &Head) -> Result<bool, Failure> {
        let head = head.clone();
        self.ask(move |state| {
            let line = state.line(&head.keyspace);
            if !line.log.is_empty() {
                return false;
            }
            let Head { seq, revision, .. } = head;
            line.mark = Mark { seq, revision, compacted: revision };
            line.head = Head { leader: None, ..head };
            true
        })
        .await
    }

    async fn rename(&mut self, from: u64, to: u64) -> Result<bool, Failure> {
        self.ask(move |state| {
            let stands = state.cluster_id == from;
            if stands {
                state.cluster_id = to;
            }
            stands
        })
        .await
    }
}
