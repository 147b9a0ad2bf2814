//! Looks through a stopped store's data and says what is wrong with it.
//!
//! The log and the base have checksums of their own, which the engine looks at
//! while it reads, and so names what is hurt. Beyond that: revisions without a
//! hole, heads where the log ends, rows that can be, keys whose leases exist,
//! and an index that, built as a store builds it, holds what the log says.

use std::{collections::BTreeMap, path::Path};

use bytes::Bytes;
use engine::{Embedded, EmbeddedConfig, Engine};
use keyspace::{Base, Fold, Handle, Keyspace, Row, Values, auth::Auth};
use kv::{KeyRange, KeyspaceName, RangeRequest, Revision};
use rt::Millis;

use crate::store::LOG_FOLDER;

/// Of each kind as many are told; whoever has more has them all to restore.
const FINDINGS_MAX: usize = 20;

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
    #[error(transparent)]
    Engine(#[from] engine::Error),
}

/// Every keyspace of a folder that no store is running on. A write that a crash
/// cut short is taken away first, as a start would.
pub async fn verify(data_dir: &Path) -> Result<Vec<Verified>, VerifyError> {
    let log = data_dir.join(LOG_FOLDER);
    if !log.is_dir() {
        return Err(VerifyError::NoLog(data_dir.display().to_string()));
    }
    let engine = Embedded::open(EmbeddedConfig::new(log))?;
    let mut verified = Vec::new();
    for keyspace in engine.keyspaces().await? {
        verified.push(verify_keyspace(&engine, &keyspace).await);
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
    let loaded = match engine.load(keyspace).await {
        Ok(loaded) => loaded,
        Err(error) => {
            verified.findings.push(error.to_string());
            return verified;
        }
    };
    (verified.epoch, verified.seq) = (loaded.epoch.0, loaded.seq.0);
    verified.check_rows(&loaded.base);

    // What the log says, told without the index.
    let mut expected = loaded.base.clone();
    let mut fold = Fold { revision: expected.revision, ..Fold::default() };
    loaded.log.iter().cloned().for_each(|record| fold.add(record));
    expected.apply(fold);

    let rules = keyspace::Config::default();
    match Keyspace::load(rules, loaded.base, loaded.log, Millis::default()) {
        Ok(keyspace) => verified.check_index(&keyspace, expected),
        Err(error) => verified.findings.push(error.to_string()),
    }
    verified
}

// === impl Verified ===

impl Verified {
    fn check_rows(&mut self, base: &Base) {
        for row in &base.rows {
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
    }

    fn check_index(&mut self, keyspace: &Keyspace, expected: Base) {
        self.revision = keyspace.revision();
        self.compacted = keyspace.compacted();
        let leases = keyspace.leases();
        self.leases = leases.len();
        let notes: BTreeMap<_, _> =
            expected.notes.into_iter().map(|note| (note.name, note.value)).collect();
        if let Err(error) = Auth::of_notes(&notes) {
            self.find(error.to_string());
        }
        let mut rows: BTreeMap<Bytes, Row> =
            expected.rows.into_iter().map(|row| (row.key.clone(), row)).collect();
        let everything = RangeRequest::new(KeyRange::prefix(""));
        let found = match keyspace.range(&everything, self.revision, &Values::default()) {
            Ok(found) => found.kvs,
            Err(error) => return self.find(format!("the index cannot be read: {error}")),
        };
        self.keys = found.len();
        for kv in found {
            let row = rows.remove(&kv.key);
            let same = row.is_some_and(|row| {
                row.value == Handle::Inline(kv.value.clone())
                    && row.create_revision == kv.create_revision
                    && row.mod_revision == kv.mod_revision
                    && row.version == kv.version
                    && row.lease == kv.lease
            });
            if !same {
                self.find(format!("key {}: the index differs from the log", shown(&kv.key)));
            }
            if let Some(lease) = kv.lease
                && leases.binary_search(&lease).is_err()
            {
                self.find(format!("key {}: its lease {lease} does not exist", shown(&kv.key)));
            }
        }
        for key in rows.keys() {
            self.find(format!("key {}: in the log, and not in the index", shown(key)));
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

fn shown(key: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(key))
}
