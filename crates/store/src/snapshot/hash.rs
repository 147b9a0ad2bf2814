//! HashKV: etcd's checksum of a keyspace's history.
//!
//! CRC-32C over the bucket's name and every version's name and value, in order,
//! up to a revision (`server/storage/mvcc/hash.go`). Versions from before the
//! last compaction count only if they are alive at that revision, so that it
//! does not matter how far a compaction has come; unless nothing is alive.

use std::collections::HashMap;

use bytes::Bytes;
use kv::Revision;

use super::{History, history::HistoryError, layout::KEY};
use crate::crc32c::Crc32c;

/// At `revision`, which lies between the last compaction and the end.
pub(crate) fn hash_kv(history: &History, revision: Revision) -> Result<u32, HistoryError> {
    let compacted = history.compacted.0;
    // Of each key that was changed since the compaction: does it live on?
    let mut changed: HashMap<Bytes, bool> = HashMap::new();
    for entry in history.recent() {
        let entry = entry?;
        if entry.at.main > revision.0 {
            break;
        }
        changed.insert(entry.key, !entry.deleted);
    }
    let mut older_alive = false;
    if !changed.values().any(|alive| *alive) {
        for entry in history.entries()? {
            let entry = entry?;
            if entry.at.main > compacted {
                break;
            }
            older_alive |= !changed.contains_key(&entry.key);
            if older_alive {
                break;
            }
        }
    }
    let any_alive = older_alive || changed.values().any(|alive| *alive);

    let mut hash = Crc32c::default();
    hash.add(KEY);
    for entry in history.entries()? {
        let entry = entry?;
        if entry.at.main > revision.0 {
            break;
        }
        if entry.at.main <= compacted && any_alive && changed.contains_key(&entry.key) {
            continue;
        }
        hash.add(&entry.at.key(entry.deleted));
        hash.add(&entry.value);
    }
    Ok(hash.finish())
}
