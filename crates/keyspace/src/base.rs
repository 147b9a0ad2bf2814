//! The state at the foot of the log, and how old log is folded into it.
//!
//! A keyspace is `base + log`. When history is compacted, whole batches from
//! the start of the log are folded into the base: last put of each key wins,
//! a deletion removes its row, bookkeeping is carried over. Folding moves a
//! prefix from one side of the sum to the other, so an engine may do it late,
//! in pieces, or again after a crash, as long as each piece is atomic.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use kv::{LeaseId, Revision};

use crate::{Change, Handle, Record};

/// Everything before the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Base {
    /// Every record up to this revision is in here; zero for "none".
    pub revision: Revision,
    /// The highest compaction that is in here; zero for "none".
    pub compacted: Revision,
    /// One for each live key, in any order.
    pub rows: Vec<Row>,
    pub leases: Vec<LeaseRow>,
    pub notes: Vec<NoteRow>,
}

/// A live key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub key: Bytes,
    pub value: Handle,
    pub create_revision: Revision,
    pub mod_revision: Revision,
    /// Which of its transaction's changes wrote it, counted from zero. Only
    /// etcd's own names for versions need it.
    pub sub: u32,
    pub version: u64,
    pub lease: Option<LeaseId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseRow {
    pub id: LeaseId,
    pub ttl: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteRow {
    pub name: Bytes,
    pub value: Bytes,
}

/// What a stretch of log does to the base: rows to write, `None` to remove.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fold {
    pub revision: Revision,
    pub compacted: Revision,
    pub rows: BTreeMap<Bytes, Option<Row>>,
    pub leases: BTreeMap<LeaseId, Option<LeaseRow>>,
    pub notes: BTreeMap<Bytes, Option<NoteRow>>,
}

// === impl Fold ===

impl Fold {
    /// Adds the next record of the log.
    pub fn add(&mut self, record: Record) {
        match record {
            Record::Txn { revision, changes } => {
                self.revision = revision;
                for (sub, change) in (0..).zip(changes) {
                    self.add_change(revision, sub, change);
                }
            }
            Record::LeaseGranted { id, ttl } => {
                self.leases.insert(id, Some(LeaseRow { id, ttl }));
            }
            Record::LeaseRevoked { id } => {
                self.leases.insert(id, None);
            }
            Record::Compact { revision } => self.compacted = self.compacted.max(revision),
            Record::Note { name, value } => {
                let row = value.map(|value| NoteRow { name: name.clone(), value });
                self.notes.insert(name, row);
            }
        }
    }

    /// Looks into a batch that stays in the log, because it reaches `floor` or
    /// goes beyond it: keys that it removes up to there can be read no more, so
    /// the base need not have them either. Who deletes everything and compacts
    /// to that very revision has only such a batch.
    pub fn add_removals(&mut self, records: &[Record], floor: Revision) {
        let mut ahead = Fold::default();
        for record in records {
            if let Record::Txn { revision, .. } = record
                && *revision <= floor
            {
                ahead.add(record.clone());
            }
        }
        self.rows.extend(ahead.rows.into_iter().filter(|(_, row)| row.is_none()));
    }

    fn add_change(&mut self, mod_revision: Revision, sub: u32, change: Change) {
        match change {
            Change::Put { key, value, create_revision, version, lease } => {
                let value = Handle::Inline(value);
                let row = Row {
                    key: key.clone(),
                    value,
                    create_revision,
                    mod_revision,
                    sub,
                    version,
                    lease,
                };
                self.rows.insert(key, Some(row));
            }
            Change::Delete { key } => {
                self.rows.insert(key, None);
            }
        }
    }
}

// === impl Base ===

impl Base {
    /// Applies a fold; for engines that keep their base in memory.
    pub fn apply(&mut self, fold: Fold) {
        self.revision = self.revision.max(fold.revision);
        self.compacted = self.compacted.max(fold.compacted);
        self.rows.retain(|row| !fold.rows.contains_key(&row.key));
        self.rows.extend(fold.rows.into_values().flatten());
        self.leases.retain(|lease| !fold.leases.contains_key(&lease.id));
        self.leases.extend(fold.leases.into_values().flatten());
        self.notes.retain(|note| !fold.notes.contains_key(&note.name));
        self.notes.extend(fold.notes.into_values().flatten());
    }
}
