//! The store's words in the history's.

use checker::history as said;
use kv::{EventKind, KeyRange, OpResponse};

pub fn key_value(kv: &kv::KeyValue) -> said::KeyValue {
    said::KeyValue {
        key: text(&kv.key),
        value: text(&kv.value),
        created: kv.create_revision.0,
        modified: kv.mod_revision.0,
        version: kv.version,
        lease: kv.lease.map(|id| id.0),
    }
}

pub fn range(range: &said::Range) -> kv::RangeRequest {
    let key = range.keys.key.clone().into_bytes();
    let keys = match range.keys.end.as_deref() {
        None => KeyRange::Key(key.into()),
        Some("\0") => KeyRange::From(key.into()),
        Some(end) => KeyRange::Span { from: key.into(), to: end.to_owned().into() },
    };
    kv::RangeRequest { serializable: range.serializable, ..kv::RangeRequest::new(keys) }
}

pub fn ranged(ranged: &kv::RangeResponse) -> said::Response {
    said::Response::Range(said::Ranged {
        revision: ranged.revision.0,
        kvs: ranged.kvs.iter().map(key_value).collect(),
        count: ranged.count,
    })
}

pub fn txn(txn: &said::Txn) -> kv::Txn {
    let compare = |compare: &said::Compare| {
        let target = match &compare.is {
            said::Is::Modified(revision) => kv::CompareTarget::Mod(kv::Revision(*revision)),
            other => unreachable!("no client compares {other:?}"),
        };
        kv::Compare::new(compare.key.clone(), kv::CompareOp::Equal, target)
    };
    let op = |op: &said::Op| match op {
        said::Op::Put { key, value, .. } => kv::Op::put(key.clone(), value.clone()),
        said::Op::Delete(keys) => kv::Op::delete(keys.key.clone()),
        said::Op::Get(keys) => kv::Op::get(keys.key.clone()),
    };
    kv::Txn {
        compares: txn.compares.iter().map(compare).collect(),
        success: txn.success.iter().map(op).collect(),
        failure: txn.failure.iter().map(op).collect(),
    }
}

pub fn answer(response: &kv::TxnResponse) -> said::Response {
    let result = |response: &OpResponse| match response {
        OpResponse::Put(_) => said::OpResult::Put,
        OpResponse::Delete(delete) => said::OpResult::Deleted(delete.deleted),
        OpResponse::Range(range) => said::OpResult::Got(range.kvs.iter().map(key_value).collect()),
        OpResponse::Txn(_) => unreachable!("no client nests transactions"),
    };
    said::Response::Txn(said::Answer {
        revision: response.revision.0,
        succeeded: response.succeeded,
        results: response.responses.iter().map(result).collect(),
    })
}

pub fn event(event: &kv::Event) -> said::Event {
    let change = match event.kind {
        EventKind::Put => said::Change::Put(key_value(&event.kv)),
        EventKind::Delete => said::Change::Delete { key: text(&event.kv.key) },
    };
    let before = event.prev_kv.as_ref().map(key_value);
    said::Event { revision: event.kv.mod_revision.0, change, before }
}

pub fn outcome(answer: Result<said::Response, kv::Error>) -> said::Outcome {
    match answer {
        Ok(response) => said::Outcome::Ok(response),
        Err(error) if error.is_definite() => said::Outcome::Failed(error.to_string()),
        Err(error) => said::Outcome::Unknown(error.to_string()),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
