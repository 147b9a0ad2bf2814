//! Where rows lie: keys and the ranges that hold a bucket's or a shard's.
//!
//! Bucket numbers have four digits, so the rows of consecutive buckets lie
//! together, in order.

use bytes::Bytes;
use kv::KeyRange;
use topology::{Bucket, BucketRange, UserId};

use crate::{Currency, Merchant, PaymentId};

/// Kinds of rows, each a folder of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    Fence,
    Account,
    Clearing,
    Equity,
    Payment,
}

pub fn fence(bucket: Bucket) -> Bytes {
    format!("{}{bucket}", Table::Fence.folder()).into()
}

pub fn account(user: &UserId) -> Bytes {
    format!("{}{}/{user}", Table::Account.folder(), user.bucket()).into()
}

pub fn clearing(bucket: Bucket, merchant: &Merchant, currency: Currency) -> Bytes {
    format!("{}{bucket}/{merchant}.{currency}", Table::Clearing.folder()).into()
}

pub fn equity(bucket: Bucket, currency: Currency) -> Bytes {
    format!("{}{bucket}/{currency}", Table::Equity.folder()).into()
}

pub fn payment(id: &PaymentId) -> Bytes {
    format!("{}{}/{id}", Table::Payment.folder(), id.payer.bucket()).into()
}

/// Every row of a table in `range`.
pub fn of_range(table: Table, range: BucketRange) -> KeyRange {
    let from = format!("{}{}", table.folder(), range.first()).into();
    match of_bucket(table, range.last()) {
        KeyRange::Span { to, .. } => KeyRange::Span { from, to },
        // Digits have a byte above them.
        other => other,
    }
}

/// Every row of a table in `bucket`.
pub fn of_bucket(table: Table, bucket: Bucket) -> KeyRange {
    KeyRange::prefix(format!("{}{bucket}", table.folder()))
}

/// Every payment of `payer`.
pub fn payments_of(payer: &UserId) -> KeyRange {
    KeyRange::prefix(format!("{}{}/{payer}.", Table::Payment.folder(), payer.bucket()))
}

/// The part of `range` whose keys are above `key`; none when there is none.
pub fn above(range: KeyRange, key: &[u8]) -> Option<KeyRange> {
    let from = [key, &[0]].concat().into();
    match range {
        KeyRange::Key(_) => None,
        KeyRange::Span { from: start, to } => {
            let from = std::cmp::max(from, start);
            (from < to).then_some(KeyRange::Span { from, to })
        }
        KeyRange::From(start) => Some(KeyRange::From(std::cmp::max(from, start))),
    }
}

/// The key of a name within a bucket.
pub fn of_name(table: Table, bucket: Bucket, name: &[u8]) -> Bytes {
    [format!("{}{bucket}/", table.folder()).as_bytes(), name].concat().into()
}

/// A key taken apart: its table, its bucket and its name.
pub fn split(key: &[u8]) -> Option<(Table, Bucket, &str)> {
    let tables = [Table::Fence, Table::Account, Table::Clearing, Table::Equity, Table::Payment];
    tables.into_iter().find_map(|table| {
        let (bucket, name) = parse(table, key)?;
        Some((table, bucket, name))
    })
}

/// A key taken apart: its bucket, and what follows it without the slash.
pub fn parse(table: Table, key: &[u8]) -> Option<(Bucket, &str)> {
    let rest = std::str::from_utf8(key).ok()?.strip_prefix(table.folder())?;
    let (bucket, name) = rest.split_at_checked(4)?;
    Some((bucket.parse().ok()?, name.strip_prefix('/').unwrap_or(name)))
}

// === impl Table ===

impl Table {
    fn folder(self) -> &'static str {
        match self {
            Table::Fence => "/fence/",
            Table::Account => "/account/",
            Table::Clearing => "/clearing/",
            Table::Equity => "/equity/",
            Table::Payment => "/payment/",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_a_user_lies_in_the_users_shard() {
        let id: PaymentId = "2088001234.k1".parse().expect("an id");
        let bucket = id.payer.bucket();
        let shard = topology::Extent::around(bucket).buckets;
        assert!(of_range(Table::Payment, shard).contains(&payment(&id)));
        assert!(of_bucket(Table::Payment, bucket).contains(&payment(&id)));
        assert!(payments_of(&id.payer).contains(&payment(&id)));
        assert!(of_range(Table::Account, shard).contains(&account(&id.payer)));
        assert_eq!(parse(Table::Payment, &payment(&id)), Some((bucket, "2088001234.k1")));
        assert_eq!(parse(Table::Fence, &fence(bucket)), Some((bucket, "")));
        assert_eq!(parse(Table::Fence, b"/fence/12"), None);
    }

    #[test]
    fn a_range_holds_the_rows_of_its_buckets_and_no_others() {
        let range = of_range(Table::Fence, "4250-4299".parse().expect("buckets"));
        let held = |number: u16| range.contains(&fence(Bucket::new(number).expect("a bucket")));
        assert!(held(4250) && held(4275) && held(4299));
        assert!(!held(4249) && !held(4300));
    }

    #[test]
    fn the_next_page_starts_right_after_the_last_key() {
        let range = KeyRange::prefix("/p/");
        let rest = above(range.clone(), b"/p/5").expect("some is left");
        assert!(!rest.contains(b"/p/5") && rest.contains(b"/p/5a") && !rest.contains(b"/q"));
        assert_eq!(above(range.clone(), b"/q"), None);
        assert_eq!(above(range.clone(), b"/a"), Some(range));
    }

    #[test]
    fn one_users_payments_exclude_those_of_a_longer_id() {
        let short: UserId = "100".parse().expect("an id");
        let range = payments_of(&short);
        let bucket = short.bucket();
        assert!(!range.contains(format!("/payment/{bucket}/1000.k").as_bytes()));
    }
}
