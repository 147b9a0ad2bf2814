//! The store's words in the history's.

use checker::history as said;
use kv::{EventKind, KeyRange, OpResponse};

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

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

pub fn row(row: &keyspace::Row) -> said::KeyValue {
    let keyspace::Handle::Inline(value) = &row.value else {
        unreachable!("values are short, and nothing bounds the memory")
    };
    said::KeyValue {
        key: text(&row.key),
        value: text(value),
        created: row.create_revision.0,
        modified: row.mod_revision.0,
        version: row.version,
        lease: row.lease.map(|id| id.0),
    }
}

pub fn range_of(keys: &said::Keys) -> KeyRange {
    let key = keys.key.clone().into_bytes();
    match keys.end.as_deref() {
        None => KeyRange::Key(key.into()),
        Some("\0") => KeyRange::From(key.into()),
        Some(end) => KeyRange::Span { from: key.into(), to: end.to_owned().into() },
    }
}

pub fn range(range: &said::Range) -> kv::RangeRequest {
    kv::RangeRequest {
        revision: range.revision.map(kv::Revision),
        limit: range.limit,
        serializable: range.serializable,
        ..kv::RangeRequest::new(range_of(&range.keys))
    }
}

pub fn ranged(ranged: &kv::RangeResponse) -> said::Ranged {
    said::Ranged {
        revision: ranged.revision.0,
        kvs: ranged.kvs.iter().map(key_value).collect(),
        count: ranged.count,
    }
}

pub fn txn(txn: &said::Txn) -> kv::Txn {
    let ops = |ops: &[said::Op]| ops.iter().map(op).collect();
    let compares = txn.compares.iter().map(compare).collect();
    kv::Txn { compares, success: ops(&txn.success), failure: ops(&txn.failure) }
}

fn compare(compare: &said::Compare) -> kv::Compare {
    let target = match &compare.is {
        said::Is::Modified(revision) => kv::CompareTarget::Mod(kv::Revision(*revision)),
        said::Is::Created(revision) => kv::CompareTarget::Create(kv::Revision(*revision)),
        said::Is::Version(version) => kv::CompareTarget::Version(*version),
        said::Is::Value(value) => kv::CompareTarget::Value(value.clone().into()),
    };
    kv::Compare::new(compare.key.clone(), kv::CompareOp::Equal, target)
}

fn op(op: &said::Op) -> kv::Op {
    match op {
        said::Op::Put { key, value, lease } => kv::Op::Put(kv::PutRequest {
            lease: lease.map(kv::LeaseId),
            ..kv::PutRequest::new(key.clone(), value.clone())
        }),
        said::Op::Delete(keys) => {
            kv::Op::Delete(kv::DeleteRequest { range: range_of(keys), prev_kv: false })
        }
        said::Op::Get(keys) => kv::Op::Range(kv::RangeRequest::new(range_of(keys))),
    }
}

pub fn answer(response: &kv::TxnResponse) -> said::Answer {
    let result = |response: &OpResponse| match response {
        OpResponse::Put(_) => said::OpResult::Put,
        OpResponse::Delete(delete) => said::OpResult::Deleted(delete.deleted),
        OpResponse::Range(range) => said::OpResult::Got(range.kvs.iter().map(key_value).collect()),
        OpResponse::Txn(_) => unreachable!("no client nests transactions"),
    };
    said::Answer {
        revision: response.revision.0,
        succeeded: response.succeeded,
        results: response.responses.iter().map(result).collect(),
    }
}

pub fn event(event: &kv::Event) -> said::Event {
    let change = match event.kind {
        EventKind::Put => said::Change::Put(key_value(&event.kv)),
        EventKind::Delete => said::Change::Delete { key: text(&event.kv.key) },
    };
    let before = event.prev_kv.as_ref().map(key_value);
    said::Event { revision: event.kv.mod_revision.0, change, before }
}

/// The revision that a record of the log makes.
pub fn record(record: &keyspace::Record, at: u64) -> Option<said::Revision> {
    let keyspace::Record::Txn { revision, changes } = record else { return None };
    let change = |change: &keyspace::Change| match change {
        keyspace::Change::Delete { key } => said::Change::Delete { key: text(key) },
        keyspace::Change::Put { key, value, create_revision, version, lease } => {
            said::Change::Put(said::KeyValue {
                key: text(key),
                value: text(value),
                created: create_revision.0,
                modified: revision.0,
                version: *version,
                lease: lease.map(|id| id.0),
            })
        }
    };
    let changes = changes.iter().map(change).collect();
    Some(said::Revision { revision: revision.0, at: Some(at), changes })
}

/// What became of it, for the history.
pub fn outcome(answer: Result<said::Response, kv::Error>) -> said::Outcome {
    match answer {
        Ok(response) => said::Outcome::Ok(response),
        Err(error) if error.is_definite() => said::Outcome::Failed(error.to_string()),
        Err(error) => said::Outcome::Unknown(error.to_string()),
    }
}
