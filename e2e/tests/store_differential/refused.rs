//! What is refused, and what changes nothing, counts nowhere: both stand at the
//! same revision before and after it.

use pb_etcd::etcdserverpb::{
    self as pb,
    compare::{CompareResult, CompareTarget, TargetUnion},
    request_op::Request as OpRequest,
};

use crate::pair::{Call, Pair};

fn put(key: &'static str, lease: i64) -> pb::PutRequest {
    pb::PutRequest { key: key.into(), value: "v".into(), lease, ..Default::default() }
}

fn delete(key: &'static str) -> pb::DeleteRangeRequest {
    pb::DeleteRangeRequest { key: key.into(), ..Default::default() }
}

fn ops(ops: Vec<OpRequest>) -> Vec<pb::RequestOp> {
    ops.into_iter().map(|op| pb::RequestOp { request: Some(op) }).collect()
}

/// Runs `then` if `key` is there, and `otherwise` if it is not.
fn txn(key: &'static str, then: Vec<OpRequest>, otherwise: Vec<OpRequest>) -> pb::TxnRequest {
    let is_there = pb::Compare {
        result: CompareResult::Greater.into(),
        target: CompareTarget::Version.into(),
        key: key.into(),
        target_union: Some(TargetUnion::Version(0)),
        ..Default::default()
    };
    pb::TxnRequest { compare: vec![is_there], success: ops(then), failure: ops(otherwise) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_or_changes_nothing_spends_no_revision() {
    let pair = Pair::start("differential-refused").await;
    let now = Call::Range(pb::RangeRequest { key: "a".into(), ..Default::default() });
    let grant = |id, ttl| Call::Grant(pb::LeaseGrantRequest { id, ttl });
    for call in [
        Call::Put(put("a", 0)),
        Call::Put(put("b", 0)),
        grant(1, 1000),
        grant(2, 1000),
        Call::Put(put("leased", 1)),
        Call::Delete(delete("leased")),
        Call::Compact(pb::CompactionRequest { revision: 2, physical: true }),
    ] {
        pair.agree(&call, &[]).await;
    }
    let before = pair.agree(&now, &[]).await;
    assert_eq!(before, 5);
    let (write, nothing) = (OpRequest::RequestPut(put("b", 0)), Vec::new());
    let lost = OpRequest::RequestPut(put("b", 99));
    let none = OpRequest::RequestDeleteRange(delete("none"));
    let ahead = OpRequest::RequestRange(pb::RangeRequest {
        key: "a".into(),
        revision: 1_000,
        ..Default::default()
    });
    let nested = |then: Vec<OpRequest>| OpRequest::RequestTxn(txn("a", then, Vec::new()));
    let without = |ignore_value, ignore_lease| {
        let value = if ignore_value { "" } else { "v" };
        Call::Put(pb::PutRequest {
            value: value.into(),
            ignore_value,
            ignore_lease,
            ..put("none", 0)
        })
    };
    let compact = |revision| Call::Compact(pb::CompactionRequest { revision, physical: false });
    let revoke = |id| Call::Revoke(pb::LeaseRevokeRequest { id });
    let cases = vec![
        (
            "a write in the other branch",
            Call::Txn(txn("none", vec![write.clone()], nothing.clone())),
        ),
        ("a delete of nothing", Call::Delete(delete("none"))),
        ("a delete of nothing in a transaction", Call::Txn(txn("a", vec![none], nothing.clone()))),
        ("an empty transaction", Call::Txn(pb::TxnRequest::default())),
        ("a put with a lease that is not there", Call::Put(put("b", 99))),
        (
            "such a put after one that could be",
            Call::Txn(txn(
                "a",
                vec![OpRequest::RequestPut(put("c", 0)), lost.clone()],
                nothing.clone(),
            )),
        ),
        (
            "such a put in a nested one",
            Call::Txn(txn("a", vec![nested(vec![lost.clone()])], nothing.clone())),
        ),
        (
            "a write, and a nested one that reads the future",
            Call::Txn(txn("a", vec![write.clone(), nested(vec![ahead])], nothing.clone())),
        ),
        (
            "a key twice, once in a nested one",
            Call::Txn(txn("a", vec![write.clone(), nested(vec![write.clone()])], nothing)),
        ),
        ("a value to keep where none is", without(true, false)),
        ("a lease to keep where none is", without(false, true)),
        ("no key", Call::Put(put("", 0))),
        ("a lease that is there already", grant(1, 1000)),
        ("a lease that is too long", grant(3, 9_000_000_001)),
        ("a lease of no keys revoked", revoke(2)),
        ("a lease whose key is gone revoked", revoke(1)),
        ("a lease that is not there revoked", revoke(99)),
        ("a compaction of what is compacted", compact(1)),
        ("a compaction of the future", compact(1_000)),
        ("a compaction", compact(4)),
    ];
    for (what, call) in cases {
        pair.agree(&call, &[]).await;
        assert_eq!(pair.agree(&now, &[]).await, before, "after {what}");
    }
    assert_eq!(pair.agree(&Call::Put(put("b", 0)), &[]).await, before + 1);
}
