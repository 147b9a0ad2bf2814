//! Building a keyspace from its base and its log.

use kv::Revision;
use rt::Millis;

use crate::{
    Base, Change, Config, Handle, Keyspace, Record, Row,
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
    RowAfterBase { key: bytes::Bytes, found: Revision, base: Revision },
    #[error("compacted at revision {compacted}, beyond the last revision {last}")]
    CompactedAhead { compacted: Revision, last: Revision },
    #[error(transparent)]
    Note(#[from] DamagedNote),
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
        let mut keyspace = Keyspace::new(config);
        keyspace.log = Log::starting_at(base.revision.max(Revision::FIRST).next());
        for lease in base.leases {
            keyspace.leases.grant(lease.id, lease.ttl, now);
        }
        for row in base.rows {
            keyspace.load_row(row, base.revision)?;
        }
        for note in base.notes {
            keyspace.take_in_note(note.name, Some(note.value))?;
        }
        let mut compacted = base.compacted;
        for record in log {
            compacted = compacted.max(keyspace.take_in(record, now)?.unwrap_or_default());
        }
        keyspace.finish_load(compacted)?;
        Ok(keyspace)
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

    fn load_row(&mut self, row: Row, base: Revision) -> Result<(), LoadError> {
        if row.mod_revision > base {
            return Err(LoadError::RowAfterBase { key: row.key, found: row.mod_revision, base });
        }
        let Row { key, value, create_revision, mod_revision, sub: _, version, lease } = row;
        let value = match value {
            Handle::Inline(value) if value.len() > self.config.inline_bytes_max => {
                Handle::At(mod_revision)
            }
            handle => handle,
        };
        let version = Version { mod_revision, create_revision, version, lease, value };
        let key = self.index.push(&key, version);
        if let Some(id) = lease {
            self.leases.attach(id, key);
        }
        Ok(())
    }

    fn load_txn(&mut self, revision: Revision, changes: Vec<Change>) -> Result<(), LoadError> {
        if revision != self.log.next() {
            return Err(LoadError::Gap { before: self.revision(), found: revision });
        }
        let mut touched = Vec::with_capacity(changes.len());
        for change in changes {
            let old_lease = self.index.live(change.key()).and_then(|(_, version)| version.lease);
            let (key, version, deleted) = match change {
                Change::Put { key, value, create_revision, version, lease } => {
                    let value = Handle::Inline(value);
                    let mod_revision = revision;
                    let put = Version { mod_revision, create_revision, version, lease, value };
                    (key, put, false)
                }
                Change::Delete { key } => (key, Version::deleted(revision), true),
            };
            let new_lease = version.lease;
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
