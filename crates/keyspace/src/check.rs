//! What can be said about a transaction before looking at any data.
//!
//! The order of checks and what counts as a duplicate are etcd's
//! (`server/etcdserver/api/v3rpc/key.go`): the branches of a nested
//! transaction exclude each other, so both may put one key; deletes of a later
//! sibling do not clash with puts of an earlier one. One deviation: a delete
//! "from this key on" clashes with every put it covers, which etcd overlooks.

use std::collections::HashSet;

use bytes::Bytes;
use kv::{Compare, Error, KeyRange, Op, PutRequest, Txn};

/// Longest key; etcd has no bound of its own but the request's. A key is part
/// of every event and of the names that engines store under, which are bounded
/// to 64 KiB.
pub const KEY_BYTES_MAX: usize = 32 * 1024;

/// Checks limits, empty keys, contradictory options and duplicate keys.
pub(crate) fn check(txn: &Txn, ops_max: usize) -> Result<(), Error> {
    let mut total = Txn::ops_total_max(ops_max);
    check_shape(txn, ops_max, &mut total)?;
    for list in [&txn.success, &txn.failure] {
        if !is_single(list) {
            check_writes(list)?;
        }
    }
    Ok(())
}

/// Most transactions: one operation has nothing to clash with.
fn is_single(ops: &[Op]) -> bool {
    matches!(ops, [] | [Op::Range(_) | Op::Put(_) | Op::Delete(_)])
}

pub(crate) fn check_range(range: &KeyRange) -> Result<(), Error> {
    match range {
        KeyRange::Key(key) if key.is_empty() => Err(Error::EmptyKey),
        KeyRange::Key(_) | KeyRange::Span { .. } | KeyRange::From(_) => Ok(()),
    }
}

/// A nested transaction gets what its parent's longest list leaves over, which
/// also bounds the depth; `total` is what the whole tree has left.
fn check_shape(txn: &Txn, ops_max: usize, total: &mut usize) -> Result<(), Error> {
    let longest = txn.compares.len().max(txn.success.len()).max(txn.failure.len());
    let left = ops_max.checked_sub(longest).ok_or(Error::TooManyOps)?;
    let all = txn.compares.len() + txn.success.len() + txn.failure.len();
    *total = total.checked_sub(all).ok_or(Error::TooManyOps)?;
    for Compare { range, .. } in &txn.compares {
        check_range(range)?;
    }
    for op in txn.success.iter().chain(&txn.failure) {
        match op {
            Op::Range(range) => check_range(&range.range)?,
            Op::Put(put) => check_put(put)?,
            Op::Delete(delete) => check_range(&delete.range)?,
            Op::Txn(nested) => check_shape(nested, left, total)?,
        }
    }
    Ok(())
}

fn check_put(put: &PutRequest) -> Result<(), Error> {
    if put.key.is_empty() {
        return Err(Error::EmptyKey);
    }
    if put.key.len() > KEY_BYTES_MAX {
        return Err(Error::RequestTooLarge);
    }
    if put.ignore_value && !put.value.is_empty() {
        return Err(Error::ValueProvided);
    }
    if put.ignore_lease && put.lease.is_some() {
        return Err(Error::LeaseProvided);
    }
    Ok(())
}

/// What one list of operations writes, whichever branches run.
struct Writes<'a> {
    puts: HashSet<&'a Bytes>,
    deletes: Vec<&'a KeyRange>,
}

fn check_writes(ops: &[Op]) -> Result<Writes<'_>, Error> {
    let deletes = ops.iter().filter_map(|op| match op {
        Op::Delete(delete) => Some(&delete.range),
        Op::Range(_) | Op::Put(_) | Op::Txn(_) => None,
    });
    let mut writes = Writes { puts: HashSet::new(), deletes: deletes.collect() };
    for op in ops {
        if let Op::Txn(nested) = op {
            let success = check_writes(&nested.success)?;
            let failure = check_writes(&nested.failure)?;
            for key in &success.puts {
                writes.put(key)?;
            }
            for key in failure.puts.difference(&success.puts) {
                writes.put(key)?;
            }
            writes.deletes.extend(success.deletes);
            writes.deletes.extend(failure.deletes);
        }
    }
    for op in ops {
        if let Op::Put(put) = op {
            writes.put(&put.key)?;
        }
    }
    Ok(writes)
}

// === impl Writes ===

impl<'a> Writes<'a> {
    fn put(&mut self, key: &'a Bytes) -> Result<(), Error> {
        let deleted = self.deletes.iter().any(|range| range.contains(key));
        if deleted || !self.puts.insert(key) {
            return Err(Error::DuplicateKey);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use kv::DeleteRequest;

    use super::*;

    fn check_default(txn: &Txn) -> Result<(), Error> {
        check(txn, Txn::OPS_MAX)
    }

    fn verdict(success: Vec<Op>) -> Result<(), Error> {
        check_default(&Txn::default().then(success))
    }

    fn nested(success: Vec<Op>, failure: Vec<Op>) -> Op {
        Op::Txn(Txn { compares: Vec::new(), success, failure })
    }

    #[test]
    fn a_key_is_written_once_in_whatever_branches_can_run_together() {
        let put = || Op::put("k", "v");
        let delete = || Op::Delete(DeleteRequest { range: KeyRange::prefix("k"), prev_kv: false });
        assert_eq!(verdict(vec![put(), put()]), Err(Error::DuplicateKey));
        assert_eq!(verdict(vec![put(), delete()]), Err(Error::DuplicateKey));
        assert_eq!(verdict(vec![delete(), put()]), Err(Error::DuplicateKey));
        assert_eq!(verdict(vec![delete(), delete()]), Ok(()));
        assert_eq!(verdict(vec![nested(vec![put()], vec![put()])]), Ok(()));
        assert_eq!(verdict(vec![nested(vec![put()], vec![]), put()]), Err(Error::DuplicateKey));
        assert_eq!(
            verdict(vec![nested(vec![put()], vec![]), nested(vec![], vec![put()])]),
            Err(Error::DuplicateKey)
        );
        // Siblings: what an earlier one puts a later one may delete, not the
        // other way round.
        assert_eq!(
            verdict(vec![nested(vec![put()], vec![]), nested(vec![delete()], vec![])]),
            Ok(())
        );
        assert_eq!(
            verdict(vec![nested(vec![delete()], vec![]), nested(vec![put()], vec![])]),
            Err(Error::DuplicateKey)
        );
        // The two lists of the outermost transaction exclude each other too.
        assert_eq!(check_default(&Txn::default().then(vec![put()]).otherwise(vec![put()])), Ok(()));
    }

    #[test]
    fn nesting_shares_one_budget_of_operations() {
        let puts = |n: usize| (0..n).map(|i| Op::put(format!("k{i}"), "v")).collect::<Vec<_>>();
        assert_eq!(verdict(puts(Txn::OPS_MAX)), Ok(()));
        assert_eq!(verdict(puts(Txn::OPS_MAX + 1)), Err(Error::TooManyOps));
        assert_eq!(verdict(vec![nested(puts(Txn::OPS_MAX - 1), vec![])]), Ok(()));
        assert_eq!(verdict(vec![nested(puts(Txn::OPS_MAX), vec![])]), Err(Error::TooManyOps));
    }

    #[test]
    fn a_broad_tree_of_short_lists_is_bounded_as_a_whole() {
        let gets = |n: usize| (0..n).map(|_| Op::get("k")).collect::<Vec<_>>();
        let tree = |n: usize| (0..32).map(|_| nested(gets(n), vec![])).collect::<Vec<_>>();
        let most = Txn::OPS_TOTAL_MAX / 32 - 1;
        assert_eq!(verdict(tree(most)), Ok(()));
        assert_eq!(verdict(tree(most + 1)), Err(Error::TooManyOps));
    }

    #[test]
    fn contradictions_are_refused_with_etcds_words() {
        assert_eq!(verdict(vec![Op::put("", "v")]), Err(Error::EmptyKey));
        assert_eq!(verdict(vec![Op::put(vec![1; KEY_BYTES_MAX], "v")]), Ok(()));
        let long = Op::put(vec![1; KEY_BYTES_MAX + 1], "v");
        assert_eq!(verdict(vec![long]), Err(Error::RequestTooLarge));
        let put = PutRequest::new("k", "v");
        let both = Op::Put(PutRequest { ignore_value: true, ..put.clone() });
        assert_eq!(verdict(vec![both]), Err(Error::ValueProvided));
        let lease = Op::Put(PutRequest { ignore_lease: true, lease: Some(kv::LeaseId(1)), ..put });
        assert_eq!(verdict(vec![lease]), Err(Error::LeaseProvided));
        assert_eq!(check_default(&Txn::when(vec![Compare::absent("")])), Err(Error::EmptyKey));
    }
}
