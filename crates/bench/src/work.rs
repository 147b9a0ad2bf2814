//! What clients ask for, message by message.

use std::cell::{Cell, RefCell};

use bytes::Bytes;
use pb_etcd::etcdserverpb::{
    self as pb, compare::CompareResult, compare::CompareTarget, compare::TargetUnion, request_op,
};
use prost::Message as _;
use rt::random::Random;

use crate::{
    Op,
    drive::{self, Window},
    grpc,
    target::Target,
    wire::Connection,
};

pub(crate) const PUT: &str = "/etcdserverpb.KV/Put";
const RANGE: &str = "/etcdserverpb.KV/Range";
const DELETE: &str = "/etcdserverpb.KV/DeleteRange";
const TXN: &str = "/etcdserverpb.KV/Txn";

/// Keys that puts choose from.
const PUT_KEYS: u64 = 100_000;
/// Keys that are there to be read.
const READ_KEYS: u64 = 10_000;
const PAGE_KEYS: u64 = 1000;
/// etcd's bound on a transaction.
const TXN_PUTS: u64 = 128;
const LOADERS: usize = 8;

/// Calls of one kind.
pub(crate) trait Work {
    fn path(&self) -> &'static str;

    /// Appends the next request; false when there is nothing left to ask for.
    fn next(&self, out: &mut Vec<u8>) -> bool;
}

/// Puts, creations, reads and deletions of keys under one prefix.
pub(crate) struct Keys {
    op: Op,
    prefix: String,
    value: Bytes,
    keys: u64,
    next: Cell<u64>,
    random: RefCell<Random>,
}

/// Transactions of many puts, to have keys quickly.
struct Load<'a> {
    prefix: &'a str,
    value: Bytes,
    keys: u64,
    next: Cell<u64>,
}

/// Puts `keys` keys under `prefix`.
pub(crate) async fn load(
    target: &Target,
    prefix: &str,
    keys: u64,
    value_bytes: usize,
) -> anyhow::Result<()> {
    let value = Bytes::from(vec![b'v'; value_bytes]);
    let load = Load { prefix, value, keys, next: Cell::new(0) };
    drive::closed_loop(target, &load, LOADERS, Window::until_done()).await?;
    Ok(())
}

pub(crate) fn key(prefix: &str, number: u64) -> Bytes {
    Bytes::from(format!("{prefix}{number:010}"))
}

// === impl Keys ===

impl Keys {
    /// Prepares what the calls will need. `round` keeps the keys of one round
    /// apart from those of the next.
    pub async fn prepare(
        op: Op,
        target: &Target,
        round: &str,
        value_bytes: usize,
        deletions: u64,
    ) -> anyhow::Result<Keys> {
        let (prefix, keys) = match op {
            Op::Range => ("bench/range/".to_owned(), READ_KEYS),
            Op::Range1000 => ("bench/page/".to_owned(), PAGE_KEYS),
            Op::Delete => (format!("bench/delete/{round}/"), deletions),
            Op::TxnCreate => (format!("bench/create/{round}/"), u64::MAX),
            _ => ("bench/put/".to_owned(), PUT_KEYS),
        };
        let needs_keys = matches!(op, Op::Range | Op::Range1000 | Op::Delete);
        if needs_keys && !exists(target, key(&prefix, 0)).await? {
            load(target, &prefix, keys, value_bytes).await?;
        }
        Ok(Keys { prefix, keys, ..Keys::bare(op, value_bytes) })
    }

    /// Asks a server that has nothing and does nothing.
    pub fn bare(op: Op, value_bytes: usize) -> Keys {
        let value = Bytes::from(vec![b'v'; value_bytes]);
        let random = RefCell::new(Random::seeded(1));
        let prefix = "bench/nothing/".to_owned();
        Keys { op, prefix, value, keys: u64::MAX, next: Cell::new(0), random }
    }

    fn any_key(&self) -> Bytes {
        key(&self.prefix, self.random.borrow_mut().next_u64() % self.keys)
    }
}

impl Work for Keys {
    fn path(&self) -> &'static str {
        match self.op {
            Op::Range | Op::Range1000 => RANGE,
            Op::Delete => DELETE,
            Op::TxnCreate => TXN,
            _ => PUT,
        }
    }

    fn next(&self, out: &mut Vec<u8>) -> bool {
        let number = self.next.replace(self.next.get() + 1);
        if number >= self.keys && matches!(self.op, Op::Delete | Op::TxnCreate) {
            return false;
        }
        let put = |key| pb::PutRequest { key, value: self.value.clone(), ..Default::default() };
        let encoded = match self.op {
            Op::Range => pb::RangeRequest { key: self.any_key(), ..Default::default() }.encode(out),
            Op::Range1000 => pb::RangeRequest {
                key: Bytes::copy_from_slice(self.prefix.as_bytes()),
                range_end: prefix_end(&self.prefix),
                limit: i64::try_from(PAGE_KEYS).expect("a thousand"),
                ..Default::default()
            }
            .encode(out),
            Op::Delete => {
                let key = key(&self.prefix, number);
                pb::DeleteRangeRequest { key, ..Default::default() }.encode(out)
            }
            Op::TxnCreate => create(put(key(&self.prefix, number))).encode(out),
            _ => put(self.any_key()).encode(out),
        };
        encoded.expect("a vector grows");
        true
    }
}

async fn exists(target: &Target, key: Bytes) -> anyhow::Result<bool> {
    let request = pb::RangeRequest { key, ..Default::default() };
    let found: pb::RangeResponse = grpc::ask(target, RANGE, &request).await?;
    Ok(!found.kvs.is_empty())
}

fn create(put: pb::PutRequest) -> pb::TxnRequest {
    let absent = pb::Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Create.into(),
        key: put.key.clone(),
        target_union: Some(TargetUnion::CreateRevision(0)),
        ..Default::default()
    };
    pb::TxnRequest { compare: vec![absent], success: vec![op(put)], failure: Vec::new() }
}

fn op(put: pb::PutRequest) -> pb::RequestOp {
    pb::RequestOp { request: Some(request_op::Request::RequestPut(put)) }
}

/// Every prefix of ours ends in a character that has a next one.
pub(crate) fn prefix_end(prefix: &str) -> Bytes {
    let mut end = prefix.as_bytes().to_vec();
    *end.last_mut().expect("a prefix") += 1;
    end.into()
}

// === impl Load ===

impl Work for Load<'_> {
    fn path(&self) -> &'static str {
        TXN
    }

    fn next(&self, out: &mut Vec<u8>) -> bool {
        let from = self.next.replace(self.next.get() + TXN_PUTS);
        let to = self.keys.min(from + TXN_PUTS);
        let put = |number| {
            let (key, value) = (key(self.prefix, number), self.value.clone());
            op(pb::PutRequest { key, value, ..Default::default() })
        };
        let txn = pb::TxnRequest { success: (from..to).map(put).collect(), ..Default::default() };
        txn.encode(out).expect("a vector grows");
        from < to
    }
}

/// As many connections as etcd's own benchmark is shown with: a hundred for a
/// thousand clients.
pub(crate) async fn connect(target: &Target, clients: usize) -> anyhow::Result<Vec<Connection>> {
    let mut connections = Vec::new();
    for _ in 0..clients.div_ceil(CLIENTS_PER_CONNECTION) {
        connections.push(Connection::open(target).await?);
    }
    Ok(connections)
}

pub(crate) const CLIENTS_PER_CONNECTION: usize = 10;
