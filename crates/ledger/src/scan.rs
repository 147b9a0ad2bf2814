//! Payments read bucket after bucket and page by page, as of one moment.
//!
//! The store counts all that is left of a range for every page of it, while
//! the keyspace's payments wait. So a walk of a shard goes bucket by bucket:
//! what a page costs does not grow with the shard.

use std::collections::VecDeque;

use kv::KeyRange;
use topology::{Bucket, BucketRange, UserId};

use crate::{
    Error,
    database::{Cut, Database, Record},
    place::{self, Table},
};

/// Rows per page: about 64 KB of payments, and one round trip for most users.
const PAGE_ROWS: usize = 512;

pub struct Scan {
    /// What is left to read; empty once the last page was read.
    rest: VecDeque<(Bucket, KeyRange)>,
    cut: Cut,
    page: VecDeque<Record>,
}

// === impl Scan ===

impl Scan {
    /// All payments of some buckets, in key order.
    pub fn of_range(range: BucketRange, cut: Cut) -> Scan {
        let of_bucket = |bucket| (bucket, place::of_bucket(Table::Payment, bucket));
        Scan { rest: range.iter().map(of_bucket).collect(), cut, page: VecDeque::new() }
    }

    pub fn of_bucket(bucket: Bucket, cut: Cut) -> Scan {
        let rest = [(bucket, place::of_bucket(Table::Payment, bucket))].into();
        Scan { rest, cut, page: VecDeque::new() }
    }

    pub fn of_payer(payer: &UserId, cut: Cut) -> Scan {
        let rest = [(payer.bucket(), place::payments_of(payer))].into();
        Scan { rest, cut, page: VecDeque::new() }
    }

    /// Only rows whose key is above `key`.
    #[must_use]
    pub fn after(mut self, key: &[u8]) -> Scan {
        let above = |(bucket, range)| Some((bucket, place::above(range, key)?));
        self.rest = self.rest.into_iter().filter_map(above).collect();
        self
    }

    /// The next row; none at the end.
    pub async fn next(&mut self, database: &dyn Database) -> Result<Option<Record>, Error> {
        if self.page.is_empty() {
            self.fetch(database).await?;
        }
        Ok(self.page.pop_front())
    }

    /// The next page that has rows, if there is one.
    async fn fetch(&mut self, database: &dyn Database) -> Result<(), Error> {
        while self.page.is_empty() {
            let Some((bucket, range)) = self.rest.front().cloned() else { break };
            let page = database.payments(bucket, &range, &self.cut, PAGE_ROWS).await?;
            self.rest.pop_front();
            let last = page.rows.last().filter(|_| page.more);
            if let Some(rest) = last.and_then(|last| place::above(range, &last.key)) {
                self.rest.push_front((bucket, rest));
            }
            self.page = page.rows.into();
        }
        Ok(())
    }
}
