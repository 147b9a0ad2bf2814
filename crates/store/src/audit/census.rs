//! Everything alive at one revision, as a count and a sum: the same from the
//! log, which has it in the order of its revisions, and from the index, which
//! has it in the order of its keys.

use std::collections::HashMap;

use aws_lc_rs::digest;
use bytes::Bytes;
use kv::KeyValue;
use prost::Message as _;

use crate::snapshot::{History, HistoryError};

/// A sum of hashes does not depend on the order. With 128 bits two different
/// sets are the same by chance once in 10^38 times; against intent there is no
/// need, since whoever can choose what is in the log needs no such way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Census {
    pub keys: u64,
    sum: u128,
}

// === impl Census ===

impl Census {
    /// At the end of what the log says.
    pub fn of_history(history: &History) -> Result<Census, HistoryError> {
        // What became last of each key that was changed since the compaction.
        let mut changed: HashMap<Bytes, _> = HashMap::new();
        for entry in history.recent() {
            let entry = entry?;
            changed.insert(entry.key, entry.at);
        }
        let mut census = Census::default();
        for entry in history.entries()? {
            let entry = entry?;
            let is_last = changed.get(&entry.key).is_none_or(|last| *last == entry.at);
            if is_last && !entry.deleted {
                census.add_encoded(&entry.value);
            }
        }
        Ok(census)
    }

    pub fn add(&mut self, kv: KeyValue) {
        self.add_encoded(&kv_etcd::range::key_value_to_wire(kv).encode_to_vec());
    }

    fn add_encoded(&mut self, kv: &[u8]) {
        let hash = digest::digest(&digest::SHA256, kv);
        let half = hash.as_ref()[..16].try_into().expect("SHA-256 has 32 bytes");
        self.keys += 1;
        self.sum = self.sum.wrapping_add(u128::from_le_bytes(half));
    }
}
