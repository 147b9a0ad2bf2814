//! Behaviour of etcd that clients lean on, one case each.

use std::time::Duration;

use keyspace::{Base, Change, Config, Keyspace, LoadError, Place, Record, Values};
use kv::{
    Compare, DeleteRequest, Error, KeyRange, LeaseId, Op, OpResponse, PutRequest, RangeRequest,
    Revision, Txn, TxnResponse,
};
use rt::Millis;

fn empty() -> Keyspace {
    Keyspace::new(Config::default())
}

fn run(keyspace: &mut Keyspace, ops: Vec<Op>) -> TxnResponse {
    try_run(keyspace, ops).expect("it is allowed")
}

fn try_run(keyspace: &mut Keyspace, ops: Vec<Op>) -> Result<TxnResponse, Error> {
    let txn = Txn::default().then(ops);
    keyspace.apply(&txn, &Values::default()).map(|applied| applied.response)
}

fn everything(keyspace: &Keyspace, visible: Revision) -> Vec<(String, u64)> {
    let request = RangeRequest::new(KeyRange::prefix(""));
    let response = keyspace.range(&request, visible, &Values::default()).expect("it is readable");
    let text = |kv: &kv::KeyValue| String::from_utf8_lossy(&kv.key).into_owned();
    response.kvs.iter().map(|kv| (text(kv), kv.mod_revision.0)).collect()
}

#[test]
fn a_transaction_is_one_revision_and_one_without_effect_is_none() {
    let mut keyspace = empty();
    assert_eq!(keyspace.revision(), Revision(1));
    let both = run(&mut keyspace, vec![Op::put("a", "1"), Op::put("b", "1")]);
    assert_eq!(both.revision, Revision(2));
    let nothing = run(&mut keyspace, vec![Op::delete("nobody"), Op::get("a")]);
    assert_eq!(nothing.revision, Revision(2));
    // Writing what is there already is a write.
    assert_eq!(run(&mut keyspace, vec![Op::put("a", "1")]).revision, Revision(3));
}

#[test]
fn a_transaction_without_effect_leaves_no_record() {
    let mut keyspace = empty();
    let txn = Txn::default().then(vec![Op::delete("nobody")]);
    let applied = keyspace.apply(&txn, &Values::default()).expect("it is allowed");
    assert_eq!(applied.records, []);
}

#[test]
fn what_is_applied_but_not_durable_is_out_of_sight() {
    let mut keyspace = empty();
    run(&mut keyspace, vec![Op::put("a", "1")]);
    let visible = keyspace.revision();
    run(&mut keyspace, vec![Op::delete("a"), Op::put("b", "1")]);
    assert_eq!(everything(&keyspace, visible), [("a".to_owned(), 2)]);
    let ahead = RangeRequest::new(KeyRange::key("b")).at(keyspace.revision());
    assert_eq!(keyspace.range(&ahead, visible, &Values::default()), Err(Error::FutureRevision));
    // And cannot be compacted away either.
    assert_eq!(keyspace.compact(keyspace.revision(), visible), Err(Error::FutureRevision));
}

#[test]
fn the_compacted_revision_itself_stays_readable() {
    let mut keyspace = empty();
    for _ in 0..4 {
        run(&mut keyspace, vec![Op::put("a", "1")]);
    }
    let visible = keyspace.revision();
    let applied = keyspace.compact(Revision(3), visible).expect("it is allowed");
    assert_eq!(applied.records, [Record::Compact { revision: Revision(3) }]);
    let at = |revision| {
        let request = RangeRequest::new(KeyRange::key("a")).at(Revision(revision));
        keyspace.range(&request, visible, &Values::default()).map(|response| response.kvs.len())
    };
    assert_eq!(at(3), Ok(1));
    assert_eq!(at(2), Err(Error::Compacted { compacted: Revision(3) }));
    assert_eq!(at(6), Err(Error::FutureRevision));
    let again = keyspace.compact(Revision(3), visible);
    assert_eq!(again, Err(Error::Compacted { compacted: Revision(3) }));
}

#[test]
fn compaction_leaves_no_trace_of_deleted_keys() {
    let mut keyspace = empty();
    for i in 0..100 {
        run(&mut keyspace, vec![Op::put(format!("k{i}"), "1")]);
        run(&mut keyspace, vec![Op::delete(format!("k{i}"))]);
    }
    run(&mut keyspace, vec![Op::put("last", "1")]);
    let visible = keyspace.revision();
    let _applied = keyspace.compact(visible, visible).expect("it is allowed");
    assert_eq!(keyspace.keys(), 1);
}

#[test]
fn nested_comparisons_look_at_the_state_before_the_transaction() {
    let mut keyspace = empty();
    let nested = Txn::when(vec![Compare::absent("a")])
        .then(vec![Op::put("saw", "absent")])
        .otherwise(vec![Op::put("saw", "present")]);
    let response = run(&mut keyspace, vec![Op::put("a", "1"), Op::Txn(nested)]);
    let OpResponse::Txn(inner) = &response.responses[1] else { panic!("{response:?}") };
    assert!(inner.succeeded);
}

#[test]
fn a_range_inside_a_transaction_sees_what_it_wrote_before() {
    let mut keyspace = empty();
    let response = run(&mut keyspace, vec![Op::get("a"), Op::put("a", "1"), Op::get("a")]);
    let read = |i: usize| match &response.responses[i] {
        OpResponse::Range(range) => (range.revision.0, range.count),
        other => panic!("{other:?}"),
    };
    assert_eq!((read(0), read(2)), ((1, 0), (2, 1)));
}

#[test]
fn a_later_sibling_can_delete_what_an_earlier_one_put() {
    let mut keyspace = empty();
    let nest = |op| Op::Txn(Txn::default().then(vec![op]));
    let response = run(&mut keyspace, vec![nest(Op::put("a", "1")), nest(Op::delete("a"))]);
    assert_eq!(response.revision, Revision(2));
    assert_eq!(everything(&keyspace, Revision(2)), []);
}

#[test]
fn a_refused_transaction_has_changed_nothing() {
    let mut keyspace = empty();
    let keep = PutRequest { ignore_value: true, ..PutRequest::new("none", "") };
    let refused = try_run(&mut keyspace, vec![Op::put("a", "1"), Op::Put(keep)]);
    assert_eq!(refused, Err(Error::KeyNotFound));
    let leased = PutRequest { lease: Some(LeaseId(9)), ..PutRequest::new("b", "1") };
    let refused = try_run(&mut keyspace, vec![Op::put("a", "1"), Op::Put(leased)]);
    assert_eq!(refused, Err(Error::LeaseNotFound));
    let ahead = RangeRequest::new(KeyRange::key("a")).at(Revision(5));
    let refused = try_run(&mut keyspace, vec![Op::put("a", "1"), Op::Range(ahead)]);
    assert_eq!(refused, Err(Error::FutureRevision));
    assert_eq!((keyspace.revision(), everything(&keyspace, Revision(1))), (Revision(1), vec![]));
}

#[test]
fn an_expired_lease_takes_its_keys_in_one_revision() {
    let mut keyspace = empty();
    let ttl = Duration::from_secs(10);
    let _granted = keyspace.lease_grant(LeaseId(7), ttl, Millis(0)).expect("it is allowed");
    for key in ["a", "b", "c"] {
        let put = PutRequest { lease: Some(LeaseId(7)), ..PutRequest::new(key, "1") };
        run(&mut keyspace, vec![Op::Put(put)]);
    }
    // A key put again without the lease is no longer the lease's.
    run(&mut keyspace, vec![Op::put("c", "2")]);
    assert_eq!(keyspace.next_expiry(), Some(Millis(10_000)));
    assert_eq!(keyspace.expire(Millis(9_999)).records, []);
    let expired = keyspace.expire(Millis(10_000));
    let deletes = ["a", "b"].map(|key| Change::Delete { key: key.into() });
    assert_eq!(
        expired.records,
        [
            Record::Txn { revision: Revision(6), changes: deletes.to_vec() },
            Record::LeaseRevoked { id: LeaseId(7) }
        ]
    );
    assert_eq!(keyspace.lease_keep_alive(LeaseId(7), Millis(10_000)), Err(Error::LeaseNotFound));
}

#[test]
fn a_lease_without_keys_ends_without_a_revision() {
    let mut keyspace = empty();
    let tiny = keyspace.lease_grant(LeaseId(1), Duration::ZERO, Millis(0)).expect("granted");
    assert_eq!(tiny.response.ttl, Duration::from_secs(2), "etcd's least");
    let revoked = keyspace.lease_revoke(LeaseId(1)).expect("it is there");
    assert_eq!(revoked.records, [Record::LeaseRevoked { id: LeaseId(1) }]);
    assert_eq!(keyspace.revision(), Revision(1));
    let endless = Duration::from_secs(9_000_000_001);
    assert_eq!(keyspace.lease_grant(LeaseId(1), endless, Millis(0)), Err(Error::LeaseTtlTooLarge));
}

#[test]
fn a_log_with_a_gap_is_refused() {
    let txn = |revision| Record::Txn { revision: Revision(revision), changes: Vec::new() };
    let load = |base, log: Vec<Record>| {
        Keyspace::load(Config::default(), base, log, Millis(0)).map(|keyspace| keyspace.revision())
    };
    assert_eq!(load(Base::default(), vec![txn(2), txn(3)]), Ok(Revision(3)));
    assert_eq!(
        load(Base::default(), vec![txn(2), txn(4)]),
        Err(LoadError::Gap { before: Revision(2), found: Revision(4) })
    );
    let ahead = Base { compacted: Revision(3), ..Base::default() };
    assert_eq!(
        load(ahead, vec![txn(2)]),
        Err(LoadError::CompactedAhead { compacted: Revision(3), last: Revision(2) })
    );
}

#[test]
fn a_limited_range_after_a_delete_finds_its_values() {
    let mut keyspace = Keyspace::new(Config { inline_bytes_max: 0, ..Config::default() });
    run(&mut keyspace, vec![Op::put("a", "1"), Op::put("b", "2")]);
    keyspace.settle(Revision(2));
    // The delete moves "b" under the limit.
    let first = RangeRequest::new(KeyRange::prefix("")).limit(1);
    let delete = DeleteRequest { range: KeyRange::key("a"), prev_kv: false };
    let txn = Txn::default().then(vec![Op::Delete(delete), Op::Range(first)]);
    let mut values = Values::default();
    for place in keyspace.needs(&txn, &values) {
        let value = if place.key == "a" { "1" } else { "2" };
        values.insert(place, value.into());
    }
    let response = keyspace.apply(&txn, &values).expect("it is allowed").response;
    let OpResponse::Range(range) = &response.responses[1] else { panic!("{response:?}") };
    assert_eq!((&range.kvs[0].key[..], &range.kvs[0].value[..]), (&b"b"[..], &b"2"[..]));
    let place = Place { key: "b".into(), written: Revision(2) };
    assert_eq!(
        keyspace.needs(&Txn::default().then(vec![Op::get("b")]), &Values::default()),
        [place]
    );
}
