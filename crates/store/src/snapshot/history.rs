//! Everything durable of a keyspace in the order of its revisions, as of one
//! moment: what is alive at the last compaction, and each change since.

use std::{
    collections::{BTreeMap, HashMap},
    io,
};

use bytes::Bytes;
use engine::{Epoch, Piece, Scan, ScanHead, Seq};
use keyspace::{Change, Handle, LeaseRow, Record, Row};
use kv::{LeaseId, Revision};
use pb_etcd::mvccpb;
use prost::Message as _;

use super::{
    Scratch,
    layout::{At, Entry},
    spool::{Merged, Run, Spool},
};

/// Rows sorted in memory at once.
const SORT_BYTES: usize = 16 * 1024 * 1024;

#[derive(Debug)]
pub(crate) struct History {
    pub epoch: Epoch,
    pub seq: Seq,
    pub revision: Revision,
    pub compacted: Revision,
    pub leases: BTreeMap<LeaseId, LeaseRow>,
    pub notes: BTreeMap<Bytes, Bytes>,
    log: Run,
    rows: Vec<Run>,
    /// The log is folded after a compaction, not with it: until then it still
    /// holds changes from before. Of each key in those, the last one.
    before: HashMap<Bytes, (At, bool)>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum HistoryError {
    #[error(transparent)]
    Engine(#[from] engine::Error),
    #[error("scratch file: {0}")]
    Scratch(#[from] io::Error),
    #[error("the thread that read it ended")]
    Ended,
}

/// Entries in the order of their revisions.
#[derive(Debug)]
pub(crate) struct Entries<'a> {
    history: &'a History,
    merged: Merged,
}

// === impl History ===

impl History {
    /// Reads the scan to its end. Blocks, and must be called where it may.
    pub fn gather(mut scan: Scan, scratch: &Scratch) -> Result<History, HistoryError> {
        let runtime = tokio::runtime::Handle::current();
        let head = scan.head;
        let mut spool = Spool::new(scratch.file()?)?;
        let empty = spool.end_run()?;
        let mut history = History {
            epoch: Epoch::default(),
            seq: Seq::default(),
            revision: Revision::FIRST,
            compacted: Revision::ZERO,
            leases: BTreeMap::new(),
            notes: BTreeMap::new(),
            log: empty,
            rows: Vec::new(),
            before: HashMap::new(),
        };
        let mut sorting = Sorting::default();
        let mut log_ended = false;
        while let Some(piece) = runtime.block_on(scan.next())? {
            match piece {
                Piece::Leases(leases) => {
                    history.leases.extend(leases.into_iter().map(|lease| (lease.id, lease)));
                }
                Piece::Notes(notes) => {
                    history.notes.extend(notes.into_iter().map(|note| (note.name, note.value)));
                }
                Piece::Log(records) => {
                    for record in records {
                        history.take_in(record, &mut spool)?;
                    }
                }
                Piece::Rows(rows) => {
                    if !std::mem::replace(&mut log_ended, true) {
                        history.end_log(head, &mut spool)?;
                    }
                    for row in rows {
                        history.add_row(row, &mut sorting, &mut spool)?;
                    }
                }
            }
        }
        if !log_ended {
            history.end_log(head, &mut spool)?;
        }
        history.rows.extend(sorting.end(&mut spool)?);
        Ok(history)
    }

    /// In order. Can be asked for again.
    pub fn entries(&self) -> Result<Entries<'_>, HistoryError> {
        let merged = Merged::new(self.rows.iter().chain([&self.log]))?;
        Ok(Entries { history: self, merged })
    }

    /// Those of the log alone, after the last compaction.
    pub fn recent(&self) -> impl Iterator<Item = io::Result<Entry>> {
        let compacted = self.compacted.0;
        self.log
            .entries()
            .filter(move |entry| entry.as_ref().map_or(true, |entry| entry.at.main > compacted))
    }

    fn take_in(&mut self, record: Record, spool: &mut Spool) -> Result<(), HistoryError> {
        match record {
            Record::Txn { revision, changes } => {
                self.revision = revision;
                for (sub, change) in (0..).zip(changes) {
                    spool.write(&entry_of(At { main: revision.0, sub }, change))?;
                }
            }
            Record::LeaseGranted { id, ttl } => {
                self.leases.insert(id, LeaseRow { id, ttl });
            }
            Record::LeaseRevoked { id } => {
                self.leases.remove(&id);
            }
            Record::Compact { revision } => self.compacted = self.compacted.max(revision),
            Record::Note { name, value } => {
                match value {
                    Some(value) => self.notes.insert(name, value),
                    None => self.notes.remove(&name),
                };
            }
        }
        Ok(())
    }

    fn end_log(&mut self, head: ScanHead, spool: &mut Spool) -> Result<(), HistoryError> {
        (self.epoch, self.seq) = (head.epoch, head.seq);
        self.compacted = self.compacted.max(head.compacted);
        self.revision = self.revision.max(head.base).max(self.compacted);
        self.log = spool.end_run()?;
        for entry in self.log.entries() {
            let entry = entry?;
            if entry.at.main > self.compacted.0 {
                break;
            }
            self.before.insert(entry.key, (entry.at, entry.deleted));
        }
        Ok(())
    }

    fn add_row(
        &mut self,
        row: Row,
        sorting: &mut Sorting,
        spool: &mut Spool,
    ) -> Result<(), HistoryError> {
        if !self.before.contains_key(&row.key) {
            sorting.entries.push(entry_of_row(row));
            let entry = sorting.entries.last().expect("just pushed");
            sorting.bytes += size_of::<Entry>() + entry.key.len() + entry.value.len();
            if sorting.bytes >= SORT_BYTES {
                self.rows.extend(sorting.end(spool)?);
            }
        }
        Ok(())
    }

    /// Whether an entry is there after the last compaction.
    fn keeps(&self, entry: &Entry) -> bool {
        if entry.at.main > self.compacted.0 {
            return true;
        }
        let last = self.before.get(&entry.key);
        !entry.deleted && last.is_none_or(|(at, deleted)| *at == entry.at && !deleted)
    }
}

fn entry_of(at: At, change: Change) -> Entry {
    match change {
        Change::Put { key, value, create_revision, version, lease } => {
            let kv = mvccpb::KeyValue {
                key: key.clone(),
                create_revision: kv_etcd::to_i64(create_revision.0),
                mod_revision: kv_etcd::to_i64(at.main),
                version: kv_etcd::to_i64(version),
                value,
                lease: lease.map_or(0, |lease| lease.0),
            };
            Entry { at, deleted: false, key, value: kv.encode_to_vec().into() }
        }
        Change::Delete { key } => {
            let kv = mvccpb::KeyValue { key: key.clone(), ..mvccpb::KeyValue::default() };
            Entry { at, deleted: true, key, value: kv.encode_to_vec().into() }
        }
    }
}

fn entry_of_row(row: Row) -> Entry {
    let Row { key, value, create_revision, mod_revision, sub, version, lease } = row;
    let Handle::Inline(value) = value else {
        panic!("a base row holds its value");
    };
    let at = At { main: mod_revision.0, sub: u64::from(sub) };
    entry_of(at, Change::Put { key, value, create_revision, version, lease })
}

/// Rows come by key, and go by revision.
#[derive(Debug, Default)]
struct Sorting {
    entries: Vec<Entry>,
    bytes: usize,
}

// === impl Sorting ===

impl Sorting {
    /// Writes what is gathered as a run, if there is anything.
    fn end(&mut self, spool: &mut Spool) -> io::Result<Option<Run>> {
        if self.entries.is_empty() {
            return Ok(None);
        }
        self.entries.sort_unstable_by_key(|entry| entry.at);
        for entry in self.entries.drain(..) {
            spool.write(&entry)?;
        }
        self.bytes = 0;
        spool.end_run().map(Some)
    }
}

// === impl Entries ===

impl Iterator for Entries<'_> {
    type Item = io::Result<Entry>;

    fn next(&mut self) -> Option<io::Result<Entry>> {
        let history = self.history;
        self.merged.find(|entry| entry.as_ref().map_or(true, |entry| history.keeps(entry)))
    }
}
