//! Random steps of a history, over few keys so that they meet.

use kv::{
    Compare, CompareOp, CompareTarget, DeleteRequest, KeyRange, LeaseId, Op, PutRequest,
    RangeRequest, Revision, RevisionBounds, Sort, SortOrder, SortTarget, Txn, WatchFilter,
    WatchRequest,
};
use proptest::{collection::vec, option, prelude::*, sample::select};

#[derive(Clone, Debug)]
pub enum Step {
    Txn(Txn),
    Range(RangeRequest),
    /// This many revisions before the newest visible one.
    Compact(u64),
    Grant {
        id: i64,
        ttl_s: u64,
    },
    Revoke(i64),
    KeepAlive(i64),
    Info(i64),
    Note {
        name: &'static str,
        value: Option<&'static str>,
    },
    Advance(u64),
    Expire,
    Watch(WatchRequest),
    Poll,
    /// What was applied becomes durable, and visible.
    Settle,
    /// Fold what may be folded, drop everything in memory and load.
    Reload,
}

const KEYS: [&str; 7] = ["a", "aa", "ab", "a\0", "b", "c", "zz"];

pub fn put(key: &'static str) -> Step {
    Step::Txn(Txn::default().then(vec![Op::put(key, "v")]))
}

pub fn put_leased(key: &'static str, id: i64) -> Step {
    let put = PutRequest { lease: Some(LeaseId(id)), ..PutRequest::new(key, "v") };
    Step::Txn(Txn::default().then(vec![Op::Put(put)]))
}

pub fn delete(key: &'static str) -> Step {
    Step::Txn(Txn::default().then(vec![Op::delete(key)]))
}

pub fn watch_all(start: u64) -> WatchRequest {
    let watch = WatchRequest::new(KeyRange::prefix("")).from(Revision(start));
    WatchRequest { prev_kv: true, ..watch }
}

pub fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => txn(2).prop_map(Step::Txn),
        4 => put_op().prop_map(|put| Step::Txn(Txn::default().then(vec![put]))),
        4 => delete_op().prop_map(|delete| Step::Txn(Txn::default().then(vec![delete]))),
        8 => range_request().prop_map(Step::Range),
        2 => (0u64..8).prop_map(Step::Compact),
        2 => (1i64..4, 0u64..6).prop_map(|(id, ttl_s)| Step::Grant { id, ttl_s }),
        1 => (1i64..4).prop_map(Step::Revoke),
        1 => (1i64..4).prop_map(Step::KeepAlive),
        1 => (1i64..4).prop_map(Step::Info),
        1 => (select(&["a/1", "a/2", "b"][..]), option::of(value()))
            .prop_map(|(name, value)| Step::Note { name, value }),
        1 => (0u64..4000).prop_map(Step::Advance),
        1 => Just(Step::Expire),
        3 => watch().prop_map(Step::Watch),
        3 => Just(Step::Poll),
        4 => Just(Step::Settle),
        1 => Just(Step::Reload),
    ]
}

fn key() -> impl Strategy<Value = &'static str> {
    select(&KEYS[..])
}

fn key_range() -> impl Strategy<Value = KeyRange> {
    prop_oneof![
        4 => key().prop_map(KeyRange::key),
        2 => (key(), key()).prop_map(|(from, to)| KeyRange::Span { from: from.into(), to: to.into() }),
        1 => key().prop_map(KeyRange::prefix),
        1 => key().prop_map(|from| KeyRange::From(from.into())),
        1 => Just(KeyRange::prefix("")),
    ]
}

fn value() -> impl Strategy<Value = &'static str> {
    select(&["", "1", "2", "a value that is longer"][..])
}

fn revision() -> impl Strategy<Value = Revision> {
    (0u64..30).prop_map(Revision)
}

fn put_op() -> impl Strategy<Value = Op> {
    (key(), value(), option::weighted(0.3, 1i64..4), any::<bool>(), 0..8).prop_map(
        |(key, value, lease, prev_kv, ignore)| {
            let mut put = PutRequest::new(key, value);
            put.lease = lease.map(LeaseId);
            put.prev_kv = prev_kv;
            put.ignore_value = ignore == 0;
            put.ignore_lease = ignore == 1;
            if put.ignore_value {
                put.value = kv::Value::new();
            }
            if put.ignore_lease {
                put.lease = None;
            }
            Op::Put(put)
        },
    )
}

fn delete_op() -> impl Strategy<Value = Op> {
    (key_range(), any::<bool>())
        .prop_map(|(range, prev_kv)| Op::Delete(DeleteRequest { range, prev_kv }))
}

fn compare() -> impl Strategy<Value = Compare> {
    let op =
        select(&[CompareOp::Equal, CompareOp::NotEqual, CompareOp::Greater, CompareOp::Less][..]);
    let target = prop_oneof![
        (0u64..4).prop_map(CompareTarget::Version),
        revision().prop_map(CompareTarget::Create),
        revision().prop_map(CompareTarget::Mod),
        value().prop_map(|value| CompareTarget::Value(value.into())),
        (0i64..4).prop_map(CompareTarget::Lease),
    ];
    (key_range(), op, target).prop_map(|(range, op, target)| Compare { range, op, target })
}

fn txn(depth: usize) -> BoxedStrategy<Txn> {
    let ops = || vec(op(depth), 0..4);
    (vec(compare(), 0..2), ops(), ops())
        .prop_map(|(compares, success, failure)| Txn { compares, success, failure })
        .boxed()
}

fn op(depth: usize) -> BoxedStrategy<Op> {
    let flat = prop_oneof![
        4 => put_op(),
        2 => delete_op(),
        2 => range_request().prop_map(Op::Range),
    ];
    match depth {
        0 => flat.boxed(),
        _ => prop_oneof![5 => flat, 1 => txn(depth - 1).prop_map(Op::Txn)].boxed(),
    }
}

fn range_request() -> impl Strategy<Value = RangeRequest> {
    let target = select(
        &[
            SortTarget::Key,
            SortTarget::Version,
            SortTarget::Create,
            SortTarget::Mod,
            SortTarget::Value,
        ][..],
    );
    let order = select(&[SortOrder::Ascending, SortOrder::Descending][..]);
    let bound = || option::weighted(0.1, revision());
    (
        key_range(),
        option::weighted(0.3, revision()),
        option::weighted(0.4, 0usize..4),
        option::weighted(0.4, (target, order)),
        (any::<bool>(), prop::bool::weighted(0.1)),
        (bound(), bound(), bound(), bound()),
    )
        .prop_map(|(range, revision, limit, sort, (keys_only, count_only), bounds)| {
            RangeRequest {
                revision,
                limit,
                sort: sort.map(|(target, order)| Sort { target, order }),
                keys_only,
                count_only,
                bounds: RevisionBounds {
                    min_mod: bounds.0,
                    max_mod: bounds.1,
                    min_create: bounds.2,
                    max_create: bounds.3,
                },
                ..RangeRequest::new(range)
            }
        })
}

fn watch() -> impl Strategy<Value = WatchRequest> {
    (key_range(), option::of((1u64..30).prop_map(Revision)), any::<bool>(), 0..6).prop_map(
        |(range, start, prev_kv, filter)| WatchRequest {
            start,
            prev_kv,
            filters: match filter {
                0 => vec![WatchFilter::NoPut],
                1 => vec![WatchFilter::NoDelete],
                _ => Vec::new(),
            },
            ..WatchRequest::new(range)
        },
    )
}
