//! Reading what is stored: all of a keyspace, or single values.

use fjall::{Readable, Snapshot};
use keyspace::{Base, LeaseRow, NoteRow, Place, Record, Row, Values};
use kv::{KeyspaceName, Value};

use super::{
    Disk,
    layout::{
        self, Head, Id, Mark, batch_name, decode_lease, decode_note, decode_row, head_key,
        head_name, lease_prefix, log_key, log_seq, mark_key, note_prefix, row_key, row_prefix,
    },
};
use crate::{
    Epoch, Error, Loaded, Seq, Storage,
    memory::put_of,
    stored::{Broken, StoredBatch},
};

/// One keyspace as of one moment.
pub(super) struct View<'a> {
    disk: &'a Disk,
    snapshot: Snapshot,
    name: &'a KeyspaceName,
    pub head: Head,
    pub mark: Mark,
}

// === impl Disk ===

impl Disk {
    pub(super) fn heads(&self) -> Result<Vec<(KeyspaceName, Head)>, Error> {
        let mut heads = Vec::new();
        for item in self.db.snapshot().prefix(&self.log, layout::HEAD_PREFIX) {
            let (key, stored) = item.into_inner().map_err(read_error)?;
            let text = String::from_utf8_lossy(&key).into_owned();
            let head = Head::decode(&stored).map_err(|broken| broken.of(&text, "its head"))?;
            let name = head_name(&key).ok_or_else(|| Broken::Misplaced.of(&text, "its head"))?;
            heads.push((name, head));
        }
        Ok(heads)
    }

    pub(super) fn load(&self, name: &KeyspaceName) -> Result<Loaded, Error> {
        let Some(view) = self.view(name)? else {
            return Ok(Loaded::default());
        };
        Ok(Loaded {
            epoch: view.head.epoch,
            seq: view.head.seq,
            base: view.base()?,
            log: view.log()?,
        })
    }

    pub(super) fn fetch(&self, name: &KeyspaceName, places: &[Place]) -> Result<Values, Error> {
        let view = self.view(name)?;
        let mut values = Values::default();
        for place in places {
            let value = match &view {
                Some(view) => view.value(place)?,
                None => None,
            };
            values.insert(place.clone(), value.ok_or_else(|| Error::Gone(place.clone()))?);
        }
        Ok(values)
    }

    /// `None` when nobody has claimed the keyspace.
    pub(super) fn view<'a>(&'a self, name: &'a KeyspaceName) -> Result<Option<View<'a>>, Error> {
        let snapshot = self.db.snapshot();
        let Some(stored) = snapshot.get(&self.log, head_key(name)).map_err(read_error)? else {
            return Ok(None);
        };
        let head = Head::decode(&stored).map_err(|broken| broken.of(name.as_str(), "its head"))?;
        let stored = snapshot.get(&self.log, mark_key(head.id)).map_err(read_error)?;
        let mark = stored.map(|stored| Mark::decode(&stored)).transpose();
        let mark = mark.map_err(|broken| broken.of(name.as_str(), "its mark"))?;
        Ok(Some(View { disk: self, snapshot, name, head, mark: mark.unwrap_or_default() }))
    }
}

// === impl View ===

impl View<'_> {
    pub(super) fn id(&self) -> Id {
        self.head.id
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.head.epoch
    }

    /// Batches that are not in the base, in order. A batch that is missing or
    /// hurt is an error: what comes after it must not be served without it.
    pub(super) fn batches(&self) -> impl Iterator<Item = Result<(Seq, StoredBatch, usize), Error>> {
        let id = self.id();
        let range = log_key(id, self.mark.seq.next())..=log_key(id, Seq(u64::MAX));
        let items = self.snapshot.range(&self.disk.log, range);
        let mut due = self.mark.seq;
        let mut batches = items.map(move |item| {
            due = due.next();
            let (key, stored) = item.into_inner().map_err(read_error)?;
            if log_seq(&key) != Some(due) {
                return Err(self.missing(due));
            }
            if due > self.head.seq {
                // Head and batch are written as one, so the head was lost.
                return Err(Broken::Misplaced.of(self.name.as_str(), "its head"));
            }
            let batch = StoredBatch::decode(&batch_name(due), &stored)
                .map_err(|broken| broken.of(self.name.as_str(), format!("batch {due}")))?;
            Ok((due, batch, stored.len()))
        });
        // The last one is checked by whoever reads to the end.
        std::iter::from_fn(move || batches.next())
    }

    fn log(&self) -> Result<Vec<Record>, Error> {
        let mut records = Vec::new();
        let mut last = self.mark.seq;
        for batch in self.batches() {
            let (seq, batch, _) = batch?;
            records.extend(batch.records);
            last = seq;
        }
        // The head is written with each batch, so a log that ends early has
        // lost its end.
        if last != self.head.seq.max(self.mark.seq) {
            return Err(self.missing(last.next()));
        }
        Ok(records)
    }

    pub(super) fn missing(&self, seq: Seq) -> Error {
        let problem = "it is missing".to_owned();
        Error::Corrupt { keyspace: self.name.to_string(), what: format!("batch {seq}"), problem }
    }

    fn base(&self) -> Result<Base, Error> {
        let Mark { revision, compacted, .. } = self.mark;
        let rows = self.rows().collect::<Result<_, _>>()?;
        let (leases, notes) = (self.leases()?, self.notes()?);
        Ok(Base { revision, compacted, rows, leases, notes })
    }

    /// By key.
    pub(super) fn rows(&self) -> impl Iterator<Item = Result<Row, Error>> {
        let prefix = row_prefix(self.id());
        self.snapshot.prefix(&self.disk.rows, prefix).map(move |item| {
            let (stored_key, stored) = item.into_inner().map_err(read_error)?;
            self.row(&stored_key[prefix.len()..], &stored)
        })
    }

    fn row(&self, key: &[u8], stored: &[u8]) -> Result<Row, Error> {
        decode_row(key, stored).map_err(|broken| {
            broken.of(self.name.as_str(), format!("row {:?}", String::from_utf8_lossy(key)))
        })
    }

    pub(super) fn leases(&self) -> Result<Vec<LeaseRow>, Error> {
        let items = self.snapshot.prefix(&self.disk.log, lease_prefix(self.id()));
        items
            .map(|item| {
                let (_, stored) = item.into_inner().map_err(read_error)?;
                decode_lease(&stored).map_err(|broken| broken.of(self.name.as_str(), "a lease"))
            })
            .collect()
    }

    pub(super) fn notes(&self) -> Result<Vec<NoteRow>, Error> {
        let prefix = note_prefix(self.id());
        let items = self.snapshot.prefix(&self.disk.log, &prefix);
        items
            .map(|item| {
                let (key, stored) = item.into_inner().map_err(read_error)?;
                decode_note(&key[prefix.len()..], &stored)
                    .map_err(|broken| broken.of(self.name.as_str(), "a note"))
            })
            .collect()
    }

    /// The value written at `place`, unless it was compacted away.
    fn value(&self, place: &Place) -> Result<Option<Value>, Error> {
        if place.written <= self.mark.revision {
            let stored = self
                .snapshot
                .get(&self.disk.rows, row_key(self.id(), &place.key))
                .map_err(read_error)?;
            let row = stored.map(|stored| self.row(&place.key, &stored)).transpose()?;
            return Ok(row.filter(|row| row.mod_revision == place.written).and_then(
                |row| match row.value {
                    keyspace::Handle::Inline(value) => Some(value),
                    keyspace::Handle::At(_) => None,
                },
            ));
        }
        let batch = self.batch_of(place)?;
        Ok(batch.records.iter().find_map(|record| match record {
            Record::Txn { revision, changes } if *revision == place.written => {
                put_of(changes, place)
            }
            _ => None,
        }))
    }

    /// Revisions rise with seq, so the batch is found by halving.
    fn batch_of(&self, place: &Place) -> Result<StoredBatch, Error> {
        let (mut low, mut high) = (self.mark.seq.next(), self.head.seq);
        while low < high {
            let middle = Seq(low.0 + (high.0 - low.0) / 2);
            if self.batch(middle)?.revision < place.written {
                low = middle.next();
            } else {
                high = middle;
            }
        }
        self.batch(low)
    }

    fn batch(&self, seq: Seq) -> Result<StoredBatch, Error> {
        let stored = self
            .snapshot
            .get(&self.disk.log, log_key(self.id(), seq))
            .map_err(read_error)?
            .ok_or_else(|| self.missing(seq))?;
        StoredBatch::decode(&batch_name(seq), &stored)
            .map_err(|broken| broken.of(self.name.as_str(), format!("batch {seq}")))
    }
}

pub(super) fn read_error(error: fjall::Error) -> Error {
    Error::Read(Storage::from(error))
}
