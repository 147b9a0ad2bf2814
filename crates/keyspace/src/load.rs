//! Building a keyspace from its base and its log.

use bytes::Bytes;
use kv::Revision;
use rt::Millis;

use crate::{
    Base, Change, Config, Handle, Keyspace, LeaseRow, NoteRow, Record, Row,
    auth::DamagedNote,
    history::Version,
    log::{Log, Touched},
};

/// The base and the log do not fit together: nothing may be served from them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    #[error("the log goes from revision {before} to {found}")]
    Gap { before: Revision, found: Revision },
    #[error("the base holds key {key:?} from revision {found}, after its own revision {base}")]
    RowAfterBase { key: Bytes, found: Revision, base: Revision },
    #[error("compacted at revision {compacted}, beyond the last revision {last}")]
    CompactedAhead { compacted: Revision, last: Revision },
    #[error(transparent)]
    Note(#[from] DamagedNote),
}

/// Builds a keyspace from pieces, so that nobody has to hold all of it twice.
/// Leases come before what is bound to them; the rest in any order.
#[derive(Debug)]
pub struct Loader {
    keyspace: Keyspace,
    base: Revision,
    compacted: Revision,
    values_bytes_max: usize,
    log: Vec<Record>,
    now: Millis,
}

// === impl Loader ===

impl Loader {
    /// `base` and `compacted` are the base's. Of its values, those stay in
    /// memory that come to `values_bytes_max`.
    #[must_use]
    pub fn new(
        config: Config,
        base: Revision,
        compacted: Revision,
        values_bytes_max: usize,
        now: Millis,
    ) -> Loader {
        let mut keyspace = Keyspace::new(config);
        keyspace.log = Log::starting_at(base.max(Revision::FIRST).next());
        Loader { keyspace, base, compacted, values_bytes_max, log: Vec::new(), now }
    }

    pub fn lease(&mut self, lease: LeaseRow) {
        self.keyspace.leases.grant(lease.id, lease.ttl, self.now);
    }

    pub fn note(&mut self, note: NoteRow) -> Result<(), LoadError> {
        Ok(self.keyspace.take_in_note(note.name, Some(note.value))?)
    }

    /// A key as it stood at the base.
    pub fn row(&mut self, row: Row) -> Result<(), LoadError> {
        self.keyspace.load_row(row, self.base, self.values_bytes_max)
    }

    /// More of the log; it is applied last.
    pub fn log(&mut self, records: impl IntoIterator<Item = Record>) {
        self.log.extend(records);
    }

    /// Every lease has its whole time to live again.
    pub fn finish(self) -> Result<Keyspace, LoadError> {
        let Loader { mut keyspace, mut compacted, log, now, .. } = self;
        keyspace.index.settle_loaded();
        for record in log {
            compacted = compacted.max(keyspace.take_in(record, now)?.unwrap_or_default());
        }
        keyspace.finish_load(compacted)?;
        Ok(keyspace)
    }
}

// === impl Keyspace ===

impl Keyspace {
    /// Builds a keyspace from what is durable. Every lease has its whole time
    /// to live again, from `now`.
    pub fn load(
        config: Config,
        base: Base,
        log: impl IntoIterator<Item = Record>,
        now: Millis,
    ) -> Result<Keyspace, LoadError> {
        let mut loader = Loader::new(config, base.revision, base.compacted, usize::MAX, now);
        for lease in base.leases {
            loader.lease(lease);
        }
        for row in base.rows {
            loader.row(row)?;
        }
        for note in base.notes {
            loader.note(note)?;
        }
        loader.log(log);
        loader.finish()
    }

    /// Takes in one more batch that another leader made durable.
    pub fn follow(
        &mut self,
        batch: impl IntoIterator<Item = Record>,
        now: Millis,
    ) -> Result<(), LoadError> {
        let mut compacted = self.compacted();
        for record in batch {
            compacted = compacted.max(self.take_in(record, now)?.unwrap_or_default());
        }
        self.finish_load(compacted)
    }

    /// Gives every lease its whole time to live again: whoever begins to lead
    /// does not know who renewed meanwhile.
    pub fn renew_leases(&mut self, now: Millis) {
        let ids: Vec<_> = self.leases.ids().collect();
        for id in ids {
            self.leases.renew(id, now).expect("it was just listed");
        }
    }

    /// A compaction is handed back: it is done once its batch is in.
    fn take_in(&mut self, record: Record, now: Millis) -> Result<Option<Revision>, LoadError> {
        match record {
            Record::Txn { revision, changes } => self.load_txn(revision, changes)?,
            Record::LeaseGranted { id, ttl } => self.leases.grant(id, ttl, now),
            Record::LeaseRevoked { id } => {
                self.leases.remove(id);
            }
            Record::Compact { revision } => return Ok(Some(revision)),
            Record::Note { name, value } => self.take_in_note(name, value)?,
        }
        Ok(None)
    }

    fn finish_load(&mut self, compacted: Revision) -> Result<(), LoadError> {
        let last = self.revision();
        if compacted > last {
            return Err(LoadError::CompactedAhead { compacted, last });
        }
        if compacted > self.compacted() {
            self.forget_before(compacted);
        }
        self.settle(last);
        Ok(())
    }

    fn load_row(
        &mut self,
        row: Row,
        base: Revision,
        values_bytes_max: usize,
    ) -> Result<(), LoadError> {
        if row.mod_revision > base {
            return Err(LoadError::RowAfterBase { key: row.key, found: row.mod_revision, base });
        }
        let Row { key, value, create_revision, mod_revision, sub: _, version, lease } = row;
        let value = match value {
            Handle::Inline(value)
                if value.len() > self.config.inline_bytes_max
                    || self.index.inline_bytes() + value.len() > values_bytes_max =>
            {
                Handle::At(mod_revision)
            }
            handle => handle,
        };
        self.has_outside |= matches!(value, Handle::At(_));
        let version =
            Version { mod_revision, create_revision, version, lease: lease.into(), value };
        // A copy of its own, of the very length; and shared only if need be.
        let key = Bytes::copy_from_slice(&key);
        if let Some(id) = lease {
            self.leases.attach(id, key.clone());
        }
        self.index.load(key, version);
        Ok(())
    }

    fn load_txn(&mut self, revision: Revision, changes: Vec<Change>) -> Result<(), LoadError> {
        if revision != self.log.next() {
            return Err(LoadError::Gap { before: self.revision(), found: revision });
        }
        let mut touched = Vec::with_capacity(changes.len());
        for change in changes {
            let old_lease =
                self.index.live(change.key()).and_then(|(_, version)| version.lease.lease());
            let (key, version, deleted) = match change {
                Change::Put { key, value, create_revision, version, lease } => {
                    let value = Handle::Inline(value);
                    let mod_revision = revision;
                    let lease = lease.into();
                    let put = Version { mod_revision, create_revision, version, lease, value };
                    (key, put, false)
                }
                Change::Delete { key } => (key, Version::deleted(revision), true),
            };
            let new_lease = version.lease.lease();
            let key = self.index.push(&key, version);
            if let Some(id) = old_lease {
                self.leases.detach(id, &key);
            }
            if let Some(id) = new_lease {
                self.leases.attach(id, key.clone());
            }
            touched.push(Touched { key, deleted });
        }
        self.log.push(touched);
        Ok(())
    }
}
