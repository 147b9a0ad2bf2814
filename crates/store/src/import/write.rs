//! Changes gathered into transactions, in order.

use std::collections::HashSet;

use bytes::Bytes;
use kv::{KeyRange, Kv, Op, Txn};

use super::ImportError;

/// etcd's default `--max-txn-ops` is 128.
const OPS_MAX: usize = 100;
/// etcd takes requests of 1.5 MiB.
const BYTES_MAX: usize = 768 * 1024;

pub(super) struct Writer<'a> {
    to: &'a dyn Kv,
    ops: Vec<Op>,
    /// A transaction changes a key once.
    keys: HashSet<Bytes>,
    bytes: usize,
    written: u64,
}

// === impl Writer ===

impl<'a> Writer<'a> {
    pub fn new(to: &'a dyn Kv) -> Writer<'a> {
        Writer { to, ops: Vec::new(), keys: HashSet::new(), bytes: 0, written: 0 }
    }

    pub fn written(&self) -> u64 {
        self.written
    }

    pub async fn add(&mut self, op: Op) -> Result<(), ImportError> {
        let (key, bytes) = match &op {
            Op::Put(put) => (put.key.clone(), put.key.len() + put.value.len()),
            Op::Delete(delete) => match &delete.range {
                KeyRange::Key(key) => (key.clone(), key.len()),
                range => (range.start().clone(), 0),
            },
            Op::Range(_) | Op::Txn(_) => unreachable!("an import puts and deletes"),
        };
        let full = self.ops.len() >= OPS_MAX || self.bytes + bytes > BYTES_MAX;
        if full || self.keys.contains(&key) {
            self.flush().await?;
        }
        self.keys.insert(key);
        self.bytes += bytes;
        self.ops.push(op);
        Ok(())
    }

    /// Sends it again when it is not known what became of it: every change
    /// says what is to be, so twice is the same as once.
    pub async fn flush(&mut self) -> Result<(), ImportError> {
        const TRIES: usize = 5;
        if self.ops.is_empty() {
            return Ok(());
        }
        let ops = std::mem::take(&mut self.ops);
        self.keys.clear();
        self.bytes = 0;
        self.written += ops.len() as u64;
        let txn = Txn::default().then(ops);
        let mut tries = 0;
        loop {
            tries += 1;
            match self.to.txn(txn.clone()).await {
                Ok(_) => return Ok(()),
                Err(kv::Error::Unknown(_) | kv::Error::NotLeader | kv::Error::Unreachable(_))
                    if tries < TRIES =>
                {
                    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
                }
                Err(error) => return Err(ImportError::Target(error)),
            }
        }
    }
}
