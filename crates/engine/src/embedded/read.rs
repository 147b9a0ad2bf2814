//! Reading what is stored: all of a keyspace, or single values.

use fjall::{Readable, Snapshot};
use keyspace::{Base, LeaseRow, NoteRow, Place, Record, Row, Values};
use kv::{KeyspaceName, Value};

use super::{
    Disk,
    index::{Line, Site, Stored},
    layout::{
        Head, Id, Mark, batch_name, decode_lease, decode_note, decode_row, lease_prefix, log_key,
        mark_key, note_prefix, row_key, row_prefix,
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
    pub name: &'a KeyspaceName,
    pub head: Head,
    pub mark: Mark,
    /// What was picked of the log after the mark, in order.
    log: Vec<(Seq, Stored)>,
}

// === impl Disk ===

impl Disk {
    pub(super) fn load(&self, name: &KeyspaceName) -> Result<Loaded, Error> {
        let Some(view) = self.view(name, |line| line.batches().collect())? else {
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
        let written = places.iter().map(|place| place.written);
        let view = self.view(name, |line| line.batches_at(written))?;
        let mut values = Values::default();
        // What was written together is read together.
        let mut in_order: Vec<&Place> = places.iter().collect();
        in_order.sort_unstable_by_key(|place| place.written);
        let mut last = None;
        for place in in_order {
            let value = match &view {
                Some(view) => view.value(place, &mut last)?,
                None => None,
            };
            values.insert(place.clone(), value.ok_or_else(|| Error::Gone(place.clone()))?);
        }
        Ok(values)
    }

    /// `None` when nobody has claimed the keyspace.
    pub(super) fn view<'a>(
        &'a self,
        name: &'a KeyspaceName,
        pick: impl FnOnce(&Line) -> Vec<(Seq, Stored)>,
    ) -> Result<Option<View<'a>>, Error> {
        // The log first: what is folded meanwhile is in the base of the
        // snapshot, and passed over in the log.
        let (head, folded, mut log) = {
            let index = self.index();
            let Some(line) = index.line(name) else {
                return Ok(None);
            };
            line.whole(name)?;
            (line.head, line.folded, pick(line))
        };
        let snapshot = self.db.snapshot();
        let stored = snapshot.get(&self.log, mark_key(head.id)).map_err(read_error)?;
        let mark = stored.map(|stored| Mark::decode(&stored)).transpose();
        let mark = mark.map_err(|broken| broken.of(name.as_str(), "its mark"))?.unwrap_or_default();
        if mark.seq < folded {
            return Err(Broken::Misplaced.of(name.as_str(), "its mark"));
        }
        log.retain(|(seq, _)| *seq > mark.seq);
        Ok(Some(View { disk: self, snapshot, name, head, mark, log }))
    }

    /// A batch as it was written.
    pub(super) fn stored(
        &self,
        name: &KeyspaceName,
        id: Id,
        seq: Seq,
        stored: &Stored,
    ) -> Result<Vec<u8>, Error> {
        match &stored.site {
            Site::File { segment, at, length } => {
                segment.read(*at, *length).map_err(|error| Error::Read(error.into()))
            }
            Site::Tree => {
                let found = self.log.get(log_key(id, seq)).map_err(read_error)?;
                let found = found.ok_or_else(|| missing(name, seq))?;
                Ok(found.to_vec())
            }
        }
    }
}

fn missing(name: &KeyspaceName, seq: Seq) -> Error {
    let problem = "it is missing".to_owned();
    Error::Corrupt { keyspace: name.to_string(), what: format!("batch {seq}"), problem }
}

// === impl View ===

impl View<'_> {
    pub(super) fn id(&self) -> Id {
        self.head.id
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.head.epoch
    }

    /// Batches that are not in the base, in order; each with its length and
    /// whether it stands in the tree.
    pub(super) fn batches(
        &self,
    ) -> impl Iterator<Item = Result<(Seq, StoredBatch, usize, bool), Error>> {
        self.log.iter().map(|(seq, stored)| {
            let bytes = self.bytes(*seq, stored)?;
            let batch = self.decode(*seq, &bytes)?;
            Ok((*seq, batch, bytes.len(), matches!(stored.site, Site::Tree)))
        })
    }

    fn log(&self) -> Result<Vec<Record>, Error> {
        let mut records = Vec::new();
        for batch in self.batches() {
            records.extend(batch?.1.records);
        }
        Ok(records)
    }

    /// From the file, or from the tree as it was when this view was taken.
    fn bytes(&self, seq: Seq, stored: &Stored) -> Result<Vec<u8>, Error> {
        if let Site::Tree = stored.site {
            let found = self.snapshot.get(&self.disk.log, log_key(self.id(), seq));
            let found = found.map_err(read_error)?;
            return Ok(found.ok_or_else(|| missing(self.name, seq))?.to_vec());
        }
        self.disk.stored(self.name, self.id(), seq, stored)
    }

    fn decode(&self, seq: Seq, bytes: &[u8]) -> Result<StoredBatch, Error> {
        StoredBatch::decode(&batch_name(seq), bytes)
            .map_err(|broken| broken.of(self.name.as_str(), format!("batch {seq}")))
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

    /// The value written at `place`, unless it was compacted away. `last` is the
    /// batch that was read before.
    fn value(
        &self,
        place: &Place,
        last: &mut Option<(Seq, StoredBatch)>,
    ) -> Result<Option<Value>, Error> {
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
        let position = self.log.partition_point(|(_, stored)| stored.revision < place.written);
        let Some((seq, stored)) = self.log.get(position) else { return Ok(None) };
        let (_, batch) = match last.take() {
            Some(read) if read.0 == *seq => last.insert(read),
            _ => last.insert((*seq, self.decode(*seq, &self.bytes(*seq, stored)?)?)),
        };
        Ok(batch.records.iter().find_map(|record| match record {
            Record::Txn { revision, changes } if *revision == place.written => {
                put_of(changes, place)
            }
            _ => None,
        }))
    }
}

pub(super) fn read_error(error: fjall::Error) -> Error {
    Error::Read(Storage::from(error))
}
