//! What must hold for any bytes: nothing panics, and what is understood is
//! understood the same again after it was written.
//!
//! libFuzzer runs these (`fuzz_targets`); on stable Rust the tests of
//! `crates/sim` run them over seeded random bytes and the corpus.

use bytes::Bytes;
use keyspace::{LeaseRow, NoteRow, Record, Row};
use pb_etcd::etcdserverpb as pb;
use prost::Message;

type Target = fn(&[u8]);

pub const ALL: [(&str, Target); 3] = [("record", record), ("request", request), ("bolt", bolt)];

/// Records and rows of the log.
pub fn record(data: &[u8]) {
    if let Ok(record) = Record::decode(data) {
        let mut encoded = Vec::new();
        record.encode(&mut encoded);
        assert_eq!(Record::decode(&encoded), Ok(record));
    }
    if let Ok(row) = Row::decode(Bytes::from_static(b"key"), data) {
        let mut encoded = Vec::new();
        row.encode(&mut encoded);
        assert_eq!(Row::decode(Bytes::from_static(b"key"), &encoded), Ok(row));
    }
    if let Ok(lease) = LeaseRow::decode(data) {
        let mut encoded = Vec::new();
        lease.encode(&mut encoded);
        assert_eq!(LeaseRow::decode(&encoded), Ok(lease));
    }
    let _ = NoteRow::decode(Bytes::from_static(b"name"), data);
}

/// Requests of etcd clients. An empty range may be written as another one.
pub fn request(data: &[u8]) {
    if let Ok(wire) = pb::RangeRequest::decode(data)
        && let Ok(request) = kv_etcd::range::request_from_wire(&wire)
    {
        let again = kv_etcd::range::request_to_wire(&request);
        let request = kv_etcd::range::request_from_wire(&again).expect("we wrote it");
        assert_eq!(kv_etcd::range::request_to_wire(&request), again);
    }
    if let Ok(wire) = pb::TxnRequest::decode(data)
        && let Ok(txn) = kv_etcd::txn::request_from_wire(&wire)
    {
        let again = kv_etcd::txn::request_to_wire(&txn);
        let txn = kv_etcd::txn::request_from_wire(&again).expect("we wrote it");
        assert_eq!(kv_etcd::txn::request_to_wire(&txn), again);
    }
    if let Ok(wire) = pb::WatchCreateRequest::decode(data) {
        let _ = kv_etcd::watch::request_from_wire(&wire);
    }
}

/// Files in bbolt's format. A walk of one that is damaged ends, with an error.
pub fn bolt(data: &[u8]) {
    const ITEMS_MAX: usize = 10_000;
    let Ok(file) = bolt::Bolt::open(data) else { return };
    for item in file.root().iter().take(ITEMS_MAX) {
        if item.is_err() {
            return;
        }
    }
}
