//! Transactions: compares, operations and what they answered.
//!
//! The checks are those etcd makes before it looks at its data: keys present,
//! no contradictory put, no list longer than [`Txn::OPS_MAX`] on any path
//! through nested transactions.

use kv::{
    Compare, CompareOp, CompareTarget, DeleteRequest, DeleteResponse, Error, Op, OpResponse,
    PutRequest, PutResponse, RangeRequest, Revision, Txn, TxnResponse,
};
use pb_etcd::etcdserverpb::{
    self as pb,
    compare::{CompareResult, CompareTarget as WireTarget, TargetUnion},
    request_op, response_op,
};

use crate::{
    range::{
        self, header_revision, key_range_from_wire, key_range_to_wire, key_value_from_wire,
        key_value_to_wire, lease_from_wire, owned,
    },
    to_i64,
};

// === requests ===

#[must_use]
pub fn request_to_wire(txn: &Txn) -> pb::TxnRequest {
    pb::TxnRequest {
        compare: txn.compares.iter().map(compare_to_wire).collect(),
        success: txn.success.iter().map(op_to_wire).collect(),
        failure: txn.failure.iter().map(op_to_wire).collect(),
    }
}

pub fn request_from_wire(txn: &pb::TxnRequest) -> Result<Txn, Error> {
    request_from_wire_within(txn, Txn::OPS_MAX)
}

/// With another bound on its lists than etcd's default.
pub fn request_from_wire_within(txn: &pb::TxnRequest, ops_max: usize) -> Result<Txn, Error> {
    let mut total = Txn::ops_total_max(ops_max);
    txn_within(txn, ops_max, &mut total)
}

/// etcd's budget: a nested transaction may use what its parent left over; and
/// ours, `total`, of which all share one.
fn txn_within(txn: &pb::TxnRequest, budget: usize, total: &mut usize) -> Result<Txn, Error> {
    let used = txn.compare.len().max(txn.success.len()).max(txn.failure.len());
    let left = budget.checked_sub(used).ok_or(Error::TooManyOps)?;
    let all = txn.compare.len() + txn.success.len() + txn.failure.len();
    *total = total.checked_sub(all).ok_or(Error::TooManyOps)?;
    let mut ops = |ops: &[pb::RequestOp]| -> Result<Vec<Op>, Error> {
        ops.iter().map(|op| op_from_wire(op, left, total)).collect()
    };
    Ok(Txn {
        compares: txn.compare.iter().map(compare_from_wire).collect::<Result<_, Error>>()?,
        success: ops(&txn.success)?,
        failure: ops(&txn.failure)?,
    })
}

fn op_to_wire(op: &Op) -> pb::RequestOp {
    let request = match op {
        Op::Range(request) => request_op::Request::RequestRange(range::request_to_wire(request)),
        Op::Put(request) => request_op::Request::RequestPut(put_to_wire(request)),
        Op::Delete(request) => request_op::Request::RequestDeleteRange(delete_to_wire(request)),
        Op::Txn(txn) => request_op::Request::RequestTxn(request_to_wire(txn)),
    };
    pb::RequestOp { request: Some(request) }
}

fn op_from_wire(op: &pb::RequestOp, budget: usize, total: &mut usize) -> Result<Op, Error> {
    Ok(match op.request.as_ref().ok_or(Error::KeyNotFound)? {
        request_op::Request::RequestRange(request) => {
            let range = range::request_from_wire(request)?;
            // As etcd: alone it reads the newest, but here it is long gone.
            let before_all = (request.revision < 0).then_some(Revision::ZERO);
            Op::Range(RangeRequest { revision: range.revision.or(before_all), ..range })
        }
        request_op::Request::RequestPut(request) => Op::Put(put_from_wire(request)?),
        request_op::Request::RequestDeleteRange(request) => Op::Delete(delete_from_wire(request)?),
        request_op::Request::RequestTxn(txn) => Op::Txn(txn_within(txn, budget, total)?),
    })
}

#[must_use]
pub fn put_to_wire(put: &PutRequest) -> pb::PutRequest {
    pb::PutRequest {
        key: put.key.clone(),
        value: put.value.clone(),
        lease: put.lease.map_or(0, |lease| lease.0),
        prev_kv: put.prev_kv,
        ignore_value: put.ignore_value,
        ignore_lease: put.ignore_lease,
    }
}

pub fn put_from_wire(put: &pb::PutRequest) -> Result<PutRequest, Error> {
    if put.key.is_empty() {
        return Err(Error::EmptyKey);
    }
    if put.ignore_value && !put.value.is_empty() {
        return Err(Error::ValueProvided);
    }
    if put.ignore_lease && put.lease != 0 {
        return Err(Error::LeaseProvided);
    }
    Ok(PutRequest {
        key: owned(&put.key),
        value: owned(&put.value),
        lease: lease_from_wire(put.lease),
        prev_kv: put.prev_kv,
        ignore_value: put.ignore_value,
        ignore_lease: put.ignore_lease,
    })
}

#[must_use]
pub fn delete_to_wire(delete: &DeleteRequest) -> pb::DeleteRangeRequest {
    let (key, range_end) = key_range_to_wire(&delete.range);
    pb::DeleteRangeRequest { key, range_end, prev_kv: delete.prev_kv }
}

pub fn delete_from_wire(delete: &pb::DeleteRangeRequest) -> Result<DeleteRequest, Error> {
    let range = key_range_from_wire(&delete.key, &delete.range_end)?;
    Ok(DeleteRequest { range, prev_kv: delete.prev_kv })
}

// === compares ===

fn compare_to_wire(compare: &Compare) -> pb::Compare {
    let (key, range_end) = key_range_to_wire(&compare.range);
    let result = match compare.op {
        CompareOp::Equal => CompareResult::Equal,
        CompareOp::NotEqual => CompareResult::NotEqual,
        CompareOp::Greater => CompareResult::Greater,
        CompareOp::Less => CompareResult::Less,
    };
    let (target, union) = match &compare.target {
        CompareTarget::Version(version) => {
            (WireTarget::Version, TargetUnion::Version(to_i64(*version)))
        }
        CompareTarget::Create(revision) => {
            (WireTarget::Create, TargetUnion::CreateRevision(to_i64(revision.0)))
        }
        CompareTarget::Mod(revision) => {
            (WireTarget::Mod, TargetUnion::ModRevision(to_i64(revision.0)))
        }
        CompareTarget::Value(value) => (WireTarget::Value, TargetUnion::Value(value.clone())),
        CompareTarget::Lease(lease) => (WireTarget::Lease, TargetUnion::Lease(*lease)),
    };
    pb::Compare {
        result: result.into(),
        target: target.into(),
        key,
        range_end,
        target_union: Some(union),
    }
}

fn compare_from_wire(compare: &pb::Compare) -> Result<Compare, Error> {
    let unknown =
        |what, number: i32| Error::Other(format!("polis: unknown compare {what} {number}"));
    let result =
        CompareResult::try_from(compare.result).map_err(|_| unknown("result", compare.result))?;
    let target =
        WireTarget::try_from(compare.target).map_err(|_| unknown("target", compare.target))?;
    let op = match result {
        CompareResult::Equal => CompareOp::Equal,
        CompareResult::NotEqual => CompareOp::NotEqual,
        CompareResult::Greater => CompareOp::Greater,
        CompareResult::Less => CompareOp::Less,
    };
    // As etcd: a value of another kind than the target counts as not given.
    let (op, target) = match (target, &compare.target_union) {
        (WireTarget::Version, Some(TargetUnion::Version(n))) => {
            number(op, *n, CompareTarget::Version)
        }
        (WireTarget::Version, _) => (op, CompareTarget::Version(0)),
        (WireTarget::Create, Some(TargetUnion::CreateRevision(n))) => number(op, *n, create),
        (WireTarget::Create, _) => (op, create(0)),
        (WireTarget::Mod, Some(TargetUnion::ModRevision(n))) => number(op, *n, modified),
        (WireTarget::Mod, _) => (op, modified(0)),
        (WireTarget::Value, Some(TargetUnion::Value(value))) => {
            (op, CompareTarget::Value(owned(value)))
        }
        (WireTarget::Value, _) => (op, CompareTarget::Value(kv::Value::new())),
        (WireTarget::Lease, Some(TargetUnion::Lease(lease))) => (op, CompareTarget::Lease(*lease)),
        (WireTarget::Lease, _) => (op, CompareTarget::Lease(0)),
    };
    Ok(Compare { range: key_range_from_wire(&compare.key, &compare.range_end)?, op, target })
}

fn create(revision: u64) -> CompareTarget {
    CompareTarget::Create(Revision(revision))
}

fn modified(revision: u64) -> CompareTarget {
    CompareTarget::Mod(Revision(revision))
}

/// What is stored is never negative, so a comparison with a negative number is
/// always or never true: said here with numbers that we do have.
fn number(op: CompareOp, n: i64, target: fn(u64) -> CompareTarget) -> (CompareOp, CompareTarget) {
    match (u64::try_from(n), op) {
        (Ok(n), op) => (op, target(n)),
        (Err(_), CompareOp::Equal | CompareOp::Less) => (CompareOp::Less, target(0)),
        (Err(_), CompareOp::NotEqual | CompareOp::Greater) => {
            (CompareOp::NotEqual, target(u64::MAX))
        }
    }
}

// === responses ===

#[must_use]
pub fn response_to_wire(
    response: TxnResponse,
    header: Option<pb::ResponseHeader>,
) -> pb::TxnResponse {
    let after = response.revision;
    let before = if wrote(&response) { Revision(after.0 - 1) } else { after };
    Inner { after, stands: before }.txn(response, header)
}

/// The answers inside of a transaction. As in etcd each says where the keyspace
/// stood when it had run, and nothing of the cluster; a nested transaction
/// says nothing at all.
struct Inner {
    after: Revision,
    stands: Revision,
}

impl Inner {
    fn txn(
        &mut self,
        response: TxnResponse,
        header: Option<pb::ResponseHeader>,
    ) -> pb::TxnResponse {
        let responses = response.responses.into_iter().map(|response| self.op(response));
        pb::TxnResponse { header, succeeded: response.succeeded, responses: responses.collect() }
    }

    fn op(&mut self, response: OpResponse) -> pb::ResponseOp {
        if is_write(&response) {
            self.stands = self.after;
        }
        let header =
            Some(pb::ResponseHeader { revision: to_i64(self.stands.0), ..Default::default() });
        let response = match response {
            OpResponse::Range(range) => {
                response_op::Response::ResponseRange(range::response_to_wire(range, header))
            }
            OpResponse::Put(put) => {
                response_op::Response::ResponsePut(put_response_to_wire(put, header))
            }
            OpResponse::Delete(delete) => {
                response_op::Response::ResponseDeleteRange(delete_response_to_wire(delete, header))
            }
            OpResponse::Txn(txn) => {
                let header = Some(pb::ResponseHeader::default());
                response_op::Response::ResponseTxn(self.txn(txn, header))
            }
        };
        pb::ResponseOp { response: Some(response) }
    }
}

fn wrote(response: &TxnResponse) -> bool {
    response.responses.iter().any(|response| match response {
        OpResponse::Txn(nested) => wrote(nested),
        other => is_write(other),
    })
}

fn is_write(response: &OpResponse) -> bool {
    match response {
        OpResponse::Put(_) => true,
        OpResponse::Delete(delete) => delete.deleted > 0,
        OpResponse::Range(_) | OpResponse::Txn(_) => false,
    }
}

#[must_use]
pub fn put_response_to_wire(
    put: PutResponse,
    header: Option<pb::ResponseHeader>,
) -> pb::PutResponse {
    pb::PutResponse { header, prev_kv: put.prev_kv.map(key_value_to_wire) }
}

#[must_use]
pub fn delete_response_to_wire(
    delete: DeleteResponse,
    header: Option<pb::ResponseHeader>,
) -> pb::DeleteRangeResponse {
    pb::DeleteRangeResponse {
        header,
        deleted: to_i64(delete.deleted),
        prev_kvs: delete.prev_kvs.into_iter().map(key_value_to_wire).collect(),
    }
}

pub fn response_from_wire(response: &pb::TxnResponse) -> Result<TxnResponse, Error> {
    nested_from_wire(response, header_revision(response.header.as_ref()))
}

/// A nested transaction is part of the revision of the whole.
fn nested_from_wire(response: &pb::TxnResponse, revision: Revision) -> Result<TxnResponse, Error> {
    let responses = response.responses.iter();
    Ok(TxnResponse {
        revision,
        succeeded: response.succeeded,
        responses: responses
            .map(|response| op_response_from_wire(response, revision))
            .collect::<Result<_, Error>>()?,
    })
}

fn op_response_from_wire(
    response: &pb::ResponseOp,
    revision: Revision,
) -> Result<OpResponse, Error> {
    let Some(response) = &response.response else {
        // The transaction is done; only what it answered is not known.
        return Err(Error::Unknown("the store left out a response".into()));
    };
    Ok(match response {
        response_op::Response::ResponseRange(range) => {
            OpResponse::Range(range::response_from_wire(range))
        }
        response_op::Response::ResponsePut(put) => {
            OpResponse::Put(PutResponse { prev_kv: put.prev_kv.as_ref().map(key_value_from_wire) })
        }
        response_op::Response::ResponseDeleteRange(delete) => OpResponse::Delete(DeleteResponse {
            deleted: usize::try_from(delete.deleted).unwrap_or(0),
            prev_kvs: delete.prev_kvs.iter().map(key_value_from_wire).collect(),
        }),
        response_op::Response::ResponseTxn(txn) => {
            OpResponse::Txn(nested_from_wire(txn, revision)?)
        }
    })
}

#[cfg(test)]
mod tests {
    use kv::{KeyRange, KeyValue, LeaseId, RangeRequest, RangeResponse};

    use super::*;

    fn everything() -> Txn {
        let compare = |op, target| Compare::new("k", op, target);
        let nested = Txn::when(vec![Compare::absent("x")]).then(vec![Op::get("x")]);
        Txn {
            compares: vec![
                compare(CompareOp::Equal, CompareTarget::Version(3)),
                compare(CompareOp::NotEqual, CompareTarget::Create(Revision(4))),
                compare(CompareOp::Greater, CompareTarget::Mod(Revision(5))),
                compare(CompareOp::Less, CompareTarget::Value("v".into())),
                compare(CompareOp::Equal, CompareTarget::Lease(-6)),
                Compare {
                    range: KeyRange::prefix("p/"),
                    op: CompareOp::Equal,
                    target: CompareTarget::Version(0),
                },
            ],
            success: vec![
                Op::Put(PutRequest {
                    lease: Some(LeaseId(9)),
                    prev_kv: true,
                    ..PutRequest::new("a", "1")
                }),
                Op::Put(PutRequest {
                    ignore_value: true,
                    ignore_lease: true,
                    ..PutRequest::new("b", "")
                }),
                Op::Delete(DeleteRequest { range: KeyRange::From("q".into()), prev_kv: true }),
                Op::Txn(nested),
            ],
            failure: vec![Op::Range(RangeRequest::new(KeyRange::prefix("r")).limit(2))],
        }
    }

    #[test]
    fn a_transaction_with_everything_in_it_comes_back_as_it_went() {
        let txn = everything();
        assert_eq!(request_from_wire(&request_to_wire(&txn)), Ok(txn));
    }

    #[test]
    fn an_answer_with_everything_in_it_comes_back_as_it_went() {
        let kv = KeyValue {
            key: "k".into(),
            value: "v".into(),
            create_revision: Revision(2),
            mod_revision: Revision(3),
            version: 2,
            lease: Some(LeaseId(1)),
        };
        let range =
            RangeResponse { revision: Revision(9), kvs: vec![kv.clone()], more: true, count: 7 };
        let nested = TxnResponse {
            revision: Revision(9),
            succeeded: false,
            responses: vec![OpResponse::Range(range)],
        };
        let response = TxnResponse {
            revision: Revision(9),
            succeeded: true,
            responses: vec![
                OpResponse::Put(PutResponse { prev_kv: Some(kv.clone()) }),
                OpResponse::Delete(DeleteResponse { deleted: 1, prev_kvs: vec![kv] }),
                OpResponse::Txn(nested),
            ],
        };
        let header = pb::ResponseHeader { revision: 9, ..Default::default() };
        let wire = response_to_wire(response.clone(), Some(header));
        assert_eq!(response_from_wire(&wire), Ok(response));
    }

    #[test]
    fn what_contradicts_itself_is_refused_before_it_is_tried() {
        let check = |op: Op, expected: Error| {
            let wire = request_to_wire(&Txn::default().then(vec![op]));
            assert_eq!(request_from_wire(&wire), Err(expected));
        };
        check(Op::put("", "v"), Error::EmptyKey);
        check(
            Op::Put(PutRequest { ignore_value: true, ..PutRequest::new("k", "v") }),
            Error::ValueProvided,
        );
        check(
            Op::Put(PutRequest {
                ignore_lease: true,
                lease: Some(LeaseId(1)),
                ..PutRequest::new("k", "v")
            }),
            Error::LeaseProvided,
        );
    }

    #[test]
    fn nested_transactions_share_one_budget_of_operations() {
        let list =
            |n: usize| Txn::default().then((0..n).map(|i| Op::get(format!("{i}"))).collect());
        let wire = |txn: &Txn| request_from_wire(&request_to_wire(txn)).map(|_| ());
        assert_eq!(wire(&list(Txn::OPS_MAX)), Ok(()));
        assert_eq!(wire(&list(Txn::OPS_MAX + 1)), Err(Error::TooManyOps));
        let parent = |n| Txn::default().then(vec![Op::Txn(list(n))]);
        assert_eq!(wire(&parent(Txn::OPS_MAX - 1)), Ok(()));
        assert_eq!(wire(&parent(Txn::OPS_MAX)), Err(Error::TooManyOps));
        let tree = |n| Txn::default().then((0..32).map(|_| Op::Txn(list(n))).collect());
        let most = Txn::OPS_TOTAL_MAX / 32 - 1;
        assert_eq!(wire(&tree(most)), Ok(()));
        assert_eq!(wire(&tree(most + 1)), Err(Error::TooManyOps));
    }

    #[test]
    fn a_comparison_with_a_negative_number_is_always_or_never_true() {
        let holds = |result: CompareResult| {
            let wire = pb::Compare {
                result: result.into(),
                target: WireTarget::Mod.into(),
                key: "k".into(),
                target_union: Some(TargetUnion::ModRevision(-1)),
                ..Default::default()
            };
            let compare = compare_from_wire(&wire).expect("a compare");
            let CompareTarget::Mod(Revision(target)) = compare.target else {
                panic!("{compare:?}")
            };
            let stored = 5;
            match compare.op {
                CompareOp::Equal => stored == target,
                CompareOp::NotEqual => stored != target,
                CompareOp::Greater => stored > target,
                CompareOp::Less => stored < target,
            }
        };
        assert!(holds(CompareResult::Greater) && holds(CompareResult::NotEqual));
        assert!(!holds(CompareResult::Less) && !holds(CompareResult::Equal));
    }
}
