//! Random requests: few keys, values and leases, so that they meet, and all the
//! fields, also where they make no sense.
//!
//! Never asked is where we differ on purpose: a transaction that deletes "from
//! this key on" and puts a key beyond it (etcd overlooks that it does both, we
//! refuse it), a sort target without an order (etcd then cuts before it sorts,
//! or does not sort), and a compaction at revision 0 (etcd lets the first one
//! pass).

use pb_etcd::etcdserverpb::{self as pb, compare, request_op::Request as OpRequest};
use prost::bytes::Bytes;
use rt::random::Random;

use crate::pair::Call;

pub struct Source {
    pub random: Random,
    pub revision: i64,
    pub compacted: i64,
}

const KEYS: [&[u8]; 12] =
    [b"a", b"b", b"ab", b"abc", b"b\0", b"c", b"d/1", b"d/2", b"d/3", b"\0", b"\xff", b"\xff\xff"];
const VALUES: [&[u8]; 5] = [b"", b"1", b"2", b"22", b"\xff\0"];
const LEASES: [i64; 5] = [1, 2, 3, 0x7fff_ffff_ffff_ffff, -5];

// === impl Source ===

impl Source {
    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        let at = self.random.below(from.len() as u64);
        from[usize::try_from(at).expect("an index")]
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.random.below(n) == 0
    }

    fn key(&mut self) -> Bytes {
        if self.one_in(60) { Bytes::new() } else { Bytes::from_static(self.pick(&KEYS)) }
    }

    fn range_end(&mut self) -> Bytes {
        match self.random.below(6) {
            0..3 => Bytes::new(),
            3 => Bytes::from_static(b"\0"),
            _ => Bytes::from_static(self.pick(&KEYS)),
        }
    }

    fn value(&mut self) -> Bytes {
        Bytes::from_static(self.pick(&VALUES))
    }

    fn lease(&mut self) -> i64 {
        match self.random.below(4) {
            0..2 => 0,
            2 => self.pick(&LEASES),
            _ => 99,
        }
    }

    /// Mostly one that can be read.
    fn at(&mut self) -> i64 {
        match self.random.below(12) {
            0..6 => 0,
            6 => self.revision + 1,
            7 => -3,
            8 => (self.compacted - 1).max(0),
            9 => self.compacted,
            _ => self.compacted + self.below(self.revision - self.compacted + 1),
        }
    }

    fn below(&mut self, bound: i64) -> i64 {
        let bound = u64::try_from(bound).unwrap_or(0);
        i64::try_from(self.random.below(bound)).expect("below an i64")
    }

    fn bound(&mut self) -> i64 {
        match self.random.below(6) {
            0 => self.below(self.revision + 2),
            1 => -1,
            _ => 0,
        }
    }

    fn range(&mut self) -> pb::RangeRequest {
        let sorted = self.one_in(3);
        let bounded = self.one_in(4);
        let bound = |source: &mut Source| if bounded { source.bound() } else { 0 };
        pb::RangeRequest {
            key: self.key(),
            range_end: self.range_end(),
            limit: self.pick(&[0, 0, 0, 1, 2, 5, 100, -1]),
            revision: self.at(),
            sort_order: if sorted { self.pick(&[1, 2]) } else { 0 },
            sort_target: if sorted { self.pick(&[0, 1, 2, 3, 4]) } else { 0 },
            serializable: self.one_in(4),
            keys_only: self.one_in(5),
            count_only: self.one_in(8),
            min_mod_revision: bound(self),
            max_mod_revision: bound(self),
            min_create_revision: bound(self),
            max_create_revision: bound(self),
        }
    }

    fn put(&mut self) -> pb::PutRequest {
        let ignore_value = self.one_in(8);
        let ignore_lease = self.one_in(8);
        let value = if ignore_value && !self.one_in(6) { Bytes::new() } else { self.value() };
        let lease = if ignore_lease && !self.one_in(6) { 0 } else { self.lease() };
        let prev_kv = self.one_in(2);
        pb::PutRequest { key: self.key(), value, lease, prev_kv, ignore_value, ignore_lease }
    }

    fn delete(&mut self) -> pb::DeleteRangeRequest {
        let prev_kv = self.one_in(2);
        pb::DeleteRangeRequest { key: self.key(), range_end: self.range_end(), prev_kv }
    }

    fn compare(&mut self) -> pb::Compare {
        use compare::TargetUnion;
        let number = self.pick(&[-1, 0, 1, 2, 3, self.revision, self.revision - 1]);
        let union = match self.random.below(6) {
            0 => Some(TargetUnion::Version(number)),
            1 => Some(TargetUnion::CreateRevision(number)),
            2 => Some(TargetUnion::ModRevision(number)),
            3 => Some(TargetUnion::Value(self.value())),
            4 => Some(TargetUnion::Lease(self.lease())),
            _ => None,
        };
        // Mostly the target that the union is for.
        let target = match &union {
            _ if self.one_in(10) => self.pick(&[0, 1, 2, 3, 4]),
            Some(TargetUnion::CreateRevision(_)) => 1,
            Some(TargetUnion::ModRevision(_)) => 2,
            Some(TargetUnion::Value(_)) => 3,
            Some(TargetUnion::Lease(_)) => 4,
            Some(TargetUnion::Version(_)) | None => 0,
        };
        pb::Compare {
            result: self.pick(&[0, 1, 2, 3]),
            target,
            key: self.key(),
            range_end: self.range_end(),
            target_union: union,
        }
    }

    fn txn(&mut self, depth: u64) -> pb::TxnRequest {
        let compares = self.random.below(3);
        pb::TxnRequest {
            compare: (0..compares).map(|_| self.compare()).collect(),
            success: self.ops(depth),
            failure: self.ops(depth),
        }
    }

    fn ops(&mut self, depth: u64) -> Vec<pb::RequestOp> {
        let count = if self.one_in(300) { 129 } else { self.random.below(4) };
        (0..count).map(|_| pb::RequestOp { request: self.op(depth) }).collect()
    }

    fn op(&mut self, depth: u64) -> Option<OpRequest> {
        match self.random.below(24) {
            0 if self.one_in(4) => None,
            0..8 => Some(OpRequest::RequestRange(self.range())),
            8..15 => Some(OpRequest::RequestPut(self.put())),
            15..20 => {
                let delete = self.delete();
                // See above.
                let end =
                    if delete.range_end == b"\0"[..] { Bytes::new() } else { delete.range_end };
                let delete = pb::DeleteRangeRequest { range_end: end, ..delete };
                Some(OpRequest::RequestDeleteRange(delete))
            }
            _ if depth > 0 => Some(OpRequest::RequestTxn(self.txn(depth - 1))),
            _ => Some(OpRequest::RequestRange(self.range())),
        }
    }

    pub fn call(&mut self) -> Call {
        match self.random.below(100) {
            0..26 => Call::Range(self.range()),
            26..32 => Call::Stream(self.range()),
            32..58 => Call::Put(self.put()),
            58..68 => Call::Delete(self.delete()),
            68..86 => Call::Txn(self.txn(3)),
            86..88 => Call::Compact(pb::CompactionRequest {
                revision: match self.random.below(8) {
                    0 => self.revision + 1,
                    1 => self.compacted.max(1),
                    2 => -1,
                    _ => self.compacted + 1 + self.below(self.revision - self.compacted),
                },
                physical: self.one_in(2),
            }),
            88..92 => Call::Grant(pb::LeaseGrantRequest {
                id: self.pick(&LEASES),
                ttl: self.pick(&[1000, 5000, 5000, 9_000_000_001]),
            }),
            92..94 => Call::Revoke(pb::LeaseRevokeRequest { id: self.lease() }),
            94..97 => Call::TimeToLive(pb::LeaseTimeToLiveRequest {
                id: self.lease(),
                keys: self.one_in(2),
            }),
            97..99 => Call::KeepAlive(pb::LeaseKeepAliveRequest { id: self.lease() }),
            _ => Call::Leases,
        }
    }
}
