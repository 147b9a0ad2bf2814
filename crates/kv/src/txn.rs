//! Transactions: compare, then one of two lists of operations, as one revision.

use bytes::Bytes;

use crate::{KeyRange, KeyValue, LeaseId, RangeRequest, RangeResponse, Revision, Value};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompareOp {
    Equal,
    NotEqual,
    Greater,
    Less,
}

/// What is compared, with the value it is compared to. A key that does not
/// exist has version, create and mod revision and lease 0, and fails every
/// comparison of its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CompareTarget {
    Version(u64),
    Create(Revision),
    Mod(Revision),
    Value(Value),
    /// 0 compares with "no lease".
    Lease(i64),
}

/// Holds when every key of `range` stands in relation `op` to the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    pub range: KeyRange,
    pub op: CompareOp,
    pub target: CompareTarget,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutRequest {
    pub key: Bytes,
    pub value: Value,
    pub lease: Option<LeaseId>,
    pub prev_kv: bool,
    /// Keep the present value (the key must exist).
    pub ignore_value: bool,
    /// Keep the present lease (the key must exist).
    pub ignore_lease: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteRequest {
    pub range: KeyRange,
    pub prev_kv: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    Range(RangeRequest),
    Put(PutRequest),
    Delete(DeleteRequest),
    Txn(Txn),
}

/// `if all compares hold { success } else { failure }`, atomically.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    pub compares: Vec<Compare>,
    pub success: Vec<Op>,
    pub failure: Vec<Op>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutResponse {
    pub prev_kv: Option<KeyValue>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteResponse {
    pub deleted: usize,
    /// Empty unless asked for.
    pub prev_kvs: Vec<KeyValue>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpResponse {
    Range(RangeResponse),
    Put(PutResponse),
    Delete(DeleteResponse),
    Txn(TxnResponse),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxnResponse {
    /// Where the keyspace stands after it: this transaction's own revision
    /// when it wrote.
    pub revision: Revision,
    pub succeeded: bool,
    /// One for each operation of the list that ran, in order.
    pub responses: Vec<OpResponse>,
}

// === impl Compare ===

impl Compare {
    /// The key does not exist.
    #[must_use]
    pub fn absent(key: impl Into<Bytes>) -> Compare {
        Compare::new(key, CompareOp::Equal, CompareTarget::Create(Revision::ZERO))
    }

    /// The key was last written at `revision`.
    #[must_use]
    pub fn modified_at(key: impl Into<Bytes>, revision: Revision) -> Compare {
        Compare::new(key, CompareOp::Equal, CompareTarget::Mod(revision))
    }

    /// The key exists and holds exactly `value`.
    #[must_use]
    pub fn value_is(key: impl Into<Bytes>, value: impl Into<Value>) -> Compare {
        Compare::new(key, CompareOp::Equal, CompareTarget::Value(value.into()))
    }

    #[must_use]
    pub fn new(key: impl Into<Bytes>, op: CompareOp, target: CompareTarget) -> Compare {
        Compare { range: KeyRange::key(key), op, target }
    }
}

// === impl PutRequest ===

impl PutRequest {
    #[must_use]
    pub fn new(key: impl Into<Bytes>, value: impl Into<Value>) -> PutRequest {
        PutRequest {
            key: key.into(),
            value: value.into(),
            lease: None,
            prev_kv: false,
            ignore_value: false,
            ignore_lease: false,
        }
    }
}

// === impl Op ===

impl Op {
    #[must_use]
    pub fn put(key: impl Into<Bytes>, value: impl Into<Value>) -> Op {
        Op::Put(PutRequest::new(key, value))
    }

    #[must_use]
    pub fn get(key: impl Into<Bytes>) -> Op {
        Op::Range(RangeRequest::new(KeyRange::key(key)))
    }

    #[must_use]
    pub fn delete(key: impl Into<Bytes>) -> Op {
        Op::Delete(DeleteRequest { range: KeyRange::key(key), prev_kv: false })
    }
}

// === impl Txn ===

impl Txn {
    /// etcd's `--max-txn-ops`: bound on each of the three lists, and on each
    /// level of nesting.
    pub const OPS_MAX: usize = 128;
    /// Compares and operations of a transaction with all that are nested in
    /// it. etcd bounds only each path, so that one small request can ask for
    /// hundreds of thousands; API servers use fewer than ten.
    pub const OPS_TOTAL_MAX: usize = 2048;
    /// etcd's `--max-request-bytes`: bound on one encoded request.
    pub const REQUEST_BYTES_MAX: usize = 3 * 1024 * 1024 / 2;

    /// Of a whole tree, where each list may have `ops_max`.
    #[must_use]
    pub fn ops_total_max(ops_max: usize) -> usize {
        Txn::OPS_TOTAL_MAX.max(ops_max.saturating_mul(Txn::OPS_TOTAL_MAX / Txn::OPS_MAX))
    }

    /// Writes `success` only when all compares hold; otherwise runs `failure`.
    #[must_use]
    pub fn when(compares: Vec<Compare>) -> Txn {
        Txn { compares, ..Txn::default() }
    }

    #[must_use]
    pub fn then(self, success: Vec<Op>) -> Txn {
        Txn { success, ..self }
    }

    #[must_use]
    pub fn otherwise(self, failure: Vec<Op>) -> Txn {
        Txn { failure, ..self }
    }
}
