//! Histories by hand and at random.
#![allow(dead_code, reason = "each test binary uses a part")]

use checker::{
    History, Violation,
    history::{
        Answer, Change, Compare, Event, Is, Item, KeyValue, Keys, Op, OpResult, Operation, Outcome,
        Range, Ranged, Request, Response, Revision, Said, Txn, Watch,
    },
};

/// `(call, end)`; an end of 0 is "never heard".
pub type Span = (u64, u64);

pub fn kv(key: &str, value: &str, (created, modified, version): (u64, u64, u64)) -> KeyValue {
    KeyValue { key: key.into(), value: value.into(), created, modified, version, lease: None }
}

pub fn operation((call, end): Span, request: Request, outcome: Outcome) -> Operation {
    Operation { client: 1, call, end: (end > 0).then_some(end), request, outcome }
}

fn put_txn(key: &str, value: &str) -> Request {
    let put = Op::Put { key: key.into(), value: value.into(), lease: None };
    Request::Txn(Txn { success: vec![put], ..Txn::default() })
}

pub fn put(span: Span, key: &str, value: &str, revision: u64) -> Operation {
    let answer = Answer { revision, succeeded: true, results: vec![OpResult::Put] };
    operation(span, put_txn(key, value), Outcome::Ok(Response::Txn(answer)))
}

pub fn put_unknown(span: Span, key: &str, value: &str) -> Operation {
    operation(span, put_txn(key, value), Outcome::Unknown("timed out".into()))
}

pub fn put_refused(span: Span, key: &str, value: &str) -> Operation {
    operation(span, put_txn(key, value), Outcome::Failed("no leader".into()))
}

pub fn get(span: Span, revision: u64, key: &str, found: Option<KeyValue>) -> Operation {
    let range = Range { keys: Keys::one(key), revision: None, limit: None, serializable: false };
    let kvs: Vec<_> = found.into_iter().collect();
    let ranged = Ranged { revision, count: kvs.len(), kvs };
    operation(span, Request::Range(range), Outcome::Ok(Response::Range(ranged)))
}

/// Replaces the value if the key was last written at `seen`.
pub fn swap(span: Span, key: &str, seen: u64, value: &str, told: Option<u64>) -> Operation {
    let put = Op::Put { key: key.into(), value: value.into(), lease: None };
    let txn = Txn {
        compares: vec![Compare { key: key.into(), is: Is::Modified(seen) }],
        success: vec![put],
        failure: Vec::new(),
    };
    let answer =
        told.map(|revision| Answer { revision, succeeded: true, results: vec![OpResult::Put] });
    let outcome = match answer {
        Some(answer) => Outcome::Ok(Response::Txn(answer)),
        None => Outcome::Unknown("timed out".into()),
    };
    operation(span, Request::Txn(txn), outcome)
}

pub fn grant(span: Span, lease: i64, ttl_ms: u64) -> Operation {
    let outcome = Outcome::Ok(Response::Lease { ttl_ms });
    operation(span, Request::Grant { lease, ttl_ms }, outcome)
}

pub fn wrote(revision: u64, at: u64, changes: Vec<Change>) -> Revision {
    Revision { revision, at: Some(at), changes }
}

pub fn wrote_put(at: u64, kv: KeyValue) -> Revision {
    wrote(kv.modified, at, vec![Change::Put(kv)])
}

pub fn history(operations: Vec<Operation>, log: Vec<Revision>) -> History {
    History { operations, log, ..History::default() }
}

pub fn watch_all(start: u64, items: Vec<Said>) -> Watch {
    let items = items.into_iter().enumerate();
    Watch {
        client: 1,
        keys: Keys::all(),
        start: Some(start),
        prev_kv: false,
        no_put: false,
        no_delete: false,
        items: items.map(|(at, said)| Item { at: 1000 + at as u64, said }).collect(),
    }
}

pub fn events(kvs: &[KeyValue]) -> Said {
    let event = |kv: &KeyValue| Event {
        revision: kv.modified,
        change: Change::Put(kv.clone()),
        before: None,
    };
    Said::Events(kvs.iter().map(event).collect())
}

/// The rules that were broken, each once.
pub fn rules(violations: &[Violation]) -> Vec<&'static str> {
    let mut rules: Vec<_> = violations.iter().map(|violation| violation.rule).collect();
    rules.sort_unstable();
    rules.dedup();
    rules
}

pub fn check(history: &History, expected: &[&str]) {
    let violations = checker::check(history);
    assert_eq!(rules(&violations), expected, "{violations:#?}");
}
