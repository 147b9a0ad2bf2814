//! Looks through a store's data and says what is wrong with it.
//!
//! The log and the base have checksums of their own, which the engine looks at
//! while it reads, and so names what is hurt. Beyond that: revisions without a
//! hole, heads where the log ends, rows that can be, keys whose leases exist,
//! and an index that, built as a store builds it, holds what the log says.
//!
//! Everything is read once, in pieces, as of one moment: nothing is written,
//! and a store that others use goes on meanwhile. In memory are the index, as a
//! store has it but without values, and a [`Trace`] for each key.

mod trace;

use std::{collections::BTreeMap, path::Path};

use bytes::Bytes;
use engine::{Embedded, EmbeddedConfig, Engine, Piece, Sql, SqlConfig};
use keyspace::{Fold, Handle, Keyspace, LoadError, Loader, Row, Values, auth::Auth};
use kv::{KeyRange, KeyspaceName, RangeRequest, Revision};
use rt::Millis;

use self::trace::{Trace, Traces};
use crate::store::LOG_FOLDER;

/// Of each kind as many are told; whoever has more has them all to restore.
const FINDINGS_MAX: usize = 20;

/// Values that the index keeps, to be compared; of the others only their place
/// can be wrong.
const VALUES_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Of the index, compared at once.
const PAGE_BYTES: usize = 1024 * 1024;

/// One keyspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    pub keyspace: KeyspaceName,
    pub epoch: u64,
    /// Of the last batch.
    pub seq: u64,
    pub revision: Revision,
    pub compacted: Revision,
    /// Alive at the last revision.
    pub keys: usize,
    pub leases: usize,
    /// What is wrong; nothing, if all is well.
    pub findings: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error("{0}: no store's data folder: it has no `{LOG_FOLDER}`")]
    NoLog(String),
    #[error("the database has no tables of a store's: none was ever started on it")]
    NoTables,
    #[error(transparent)]
    Engine(#[from] engine::Error),
}

/// What the log says, told without the index.
struct Expected {
    rows: Traces,
    /// What the log changed; the base's rows of these keys do not count.
    log: Fold,
    notes: BTreeMap<Bytes, Bytes>,
}

#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error(transparent)]
    Engine(#[from] engine::Error),
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// Every keyspace of a folder that no store is running on. A write that a crash
/// cut short is taken away first, as a start would.
pub async fn verify(data_dir: &Path) -> Result<Vec<Verified>, VerifyError> {
    let log = data_dir.join(LOG_FOLDER);
    if !log.is_dir() {
        return Err(VerifyError::NoLog(data_dir.display().to_string()));
    }
    verify_all(&Embedded::open(EmbeddedConfig::new(log))?).await
}

/// Every keyspace of a database, each as of a moment of its own; stores may be
/// running on it.
pub async fn verify_database(database: SqlConfig) -> Result<Vec<Verified>, VerifyError> {
    let sql = Sql::look_into(database).await?;
    verify_all(&sql.ok_or(VerifyError::NoTables)?).await
}

async fn verify_all(engine: &dyn Engine) -> Result<Vec<Verified>, VerifyError> {
    let mut verified = Vec::new();
    for keyspace in engine.keyspaces().await? {
        verified.push(verify_keyspace(engine, &keyspace).await);
    }
    Ok(verified)
}

/// One keyspace of any engine.
pub async fn verify_keyspace(engine: &dyn Engine, keyspace: &KeyspaceName) -> Verified {
    let mut verified = Verified {
        keyspace: keyspace.clone(),
        epoch: 0,
        seq: 0,
        revision: Revision::ZERO,
        compacted: Revision::ZERO,
        keys: 0,
        leases: 0,
        findings: Vec::new(),
    };
    match verified.read(engine).await {
        Ok((keyspace, expected)) => verified.check_index(&keyspace, expected),
        Err(error) => verified.findings.push(error.to_string()),
    }
    verified
}

// === impl Verified ===

impl Verified {
    async fn read(&mut self, engine: &dyn Engine) -> Result<(Keyspace, Expected), ReadError> {
        let mut scan = engine.scan(&self.keyspace).await?;
        let head = scan.head;
        (self.epoch, self.seq) = (head.epoch.0, head.seq.0);
        let rules = keyspace::Config::default();
        let now = Millis::default();
        let mut loader = Loader::new(rules, head.base, head.compacted, VALUES_BYTES_MAX, now);
        let mut expected = Expected {
            rows: Traces::default(),
            log: Fold { revision: head.base, ..Fold::default() },
            notes: BTreeMap::new(),
        };
        while let Some(piece) = scan.next().await? {
            match piece {
                Piece::Leases(leases) => leases.into_iter().for_each(|lease| loader.lease(lease)),
                Piece::Notes(notes) => {
                    for note in notes {
                        expected.notes.insert(note.name.clone(), note.value.clone());
                        loader.note(note)?;
                    }
                }
                Piece::Log(records) => {
                    records.iter().cloned().for_each(|record| expected.log.add(record));
                    loader.log(records);
                }
                // Their order in a scan: the log has been read by now.
                Piece::Rows(rows) => {
                    for row in rows {
                        self.check_row(&row);
                        if !expected.log.rows.contains_key(&row.key) {
                            expected.rows.add(Trace::of_row(&row));
                        }
                        loader.row(row)?;
                    }
                }
            }
        }
        expected.take_in_log();
        Ok((loader.finish()?, expected))
    }

    fn check_row(&mut self, row: &Row) {
        let Row { create_revision, mod_revision, version, .. } = row;
        let possible = *version > 0 && create_revision <= mod_revision && create_revision.0 > 0;
        if !possible {
            self.find(format!(
                "row {}: created at {create_revision}, changed at {mod_revision}, version \
                 {version}",
                shown(&row.key)
            ));
        }
    }

    fn check_index(&mut self, keyspace: &Keyspace, mut expected: Expected) {
        self.revision = keyspace.revision();
        self.compacted = keyspace.compacted();
        let leases = keyspace.leases();
        self.leases = leases.len();
        if let Err(error) = Auth::of_notes(&expected.notes) {
            self.find(error.to_string());
        }
        let mut from = Bytes::new();
        loop {
            let request = RangeRequest::new(KeyRange::From(from));
            // What is not in memory is given no value, and known by that.
            let outside = keyspace.page_needs(&request, PAGE_BYTES, self.revision);
            let mut values = Values::default();
            outside.iter().for_each(|place| values.insert(place.clone(), Bytes::new()));
            let page = match keyspace.page(&request, PAGE_BYTES, self.revision, &values) {
                Ok(page) => page,
                Err(error) => return self.find(format!("the index cannot be read: {error}")),
            };
            self.keys += page.kvs.len();
            for kv in &page.kvs {
                let is_outside = outside.binary_search_by(|place| place.key.cmp(&kv.key)).is_ok();
                let found = Trace::of_key(kv);
                if !expected.rows.take(&found, is_outside) {
                    self.find(format!(
                        "key {}, at revision {}: the index differs from the log",
                        shown(&kv.key),
                        kv.mod_revision
                    ));
                }
                if let Some(lease) = kv.lease
                    && leases.binary_search(&lease).is_err()
                {
                    self.find(format!("key {}: its lease {lease} does not exist", shown(&kv.key)));
                }
            }
            let Some(last) = page.kvs.last().filter(|_| page.more) else { break };
            from = [&last.key[..], &[0]].concat().into();
        }
        for revision in expected.rows.left().take(FINDINGS_MAX + 1) {
            self.find(format!(
                "a key changed at revision {revision}: in the log, and not in the index"
            ));
        }
    }

    fn find(&mut self, finding: String) {
        match self.findings.len() {
            FINDINGS_MAX => self.findings.push("and more".into()),
            fewer if fewer < FINDINGS_MAX => self.findings.push(finding),
            _ => {}
        }
    }
}

// === impl Expected ===

impl Expected {
    fn take_in_log(&mut self) {
        let Fold { rows, notes, .. } = std::mem::take(&mut self.log);
        for row in rows.into_values().flatten() {
            debug_assert!(matches!(row.value, Handle::Inline(_)), "a change holds its value");
            self.rows.add(Trace::of_row(&row));
        }
        for (name, note) in notes {
            match note {
                Some(note) => drop(self.notes.insert(name, note.value)),
                None => drop(self.notes.remove(&name)),
            }
        }
        self.rows.sort();
    }
}

fn shown(key: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(key))
}
