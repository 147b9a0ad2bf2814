//! The books in the store: sixteen keyspaces, a bucket's always the same one.
//!
//! A keyspace's transactions come one after the other, so a compare of the
//! fence's value is as good as a change of it.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use kv::{
    Compare, CompareOp, CompareTarget, KeyRange, Kv, Op, OpResponse, RangeRequest, Revision, Txn,
    TxnResponse,
};
use topology::{Bucket, BucketRange};

use crate::{
    Error,
    database::{Change, Cut, Database, Fences, Outcome, Page, Record, Row, Seen, Standing},
    fence::Fence,
    place::{self, Table},
};

/// How many keyspaces the ledgers share. Fixed, and told apart by the hundred of a
/// bucket: its keyspace must never change, and a shard's buckets, which are of one
/// hundred, must be in one, so that a raise is one transaction.
pub const KEYSPACES: usize = 16;

/// Rows of one page of accounts.
const PAGE_ROWS: usize = 512;

pub struct OnKv(Vec<Arc<dyn Kv>>);

// === impl OnKv ===

impl OnKv {
    /// `open` gives the keyspace of a name: `ledger-00` to `ledger-15`.
    pub fn new(mut open: impl FnMut(&str) -> Arc<dyn Kv>) -> OnKv {
        OnKv((0..KEYSPACES).map(|n| open(&format!("ledger-{n:02}"))).collect())
    }

    fn of(&self, bucket: Bucket) -> &dyn Kv {
        &*self.0[usize::from(bucket.shard().number()) % KEYSPACES]
    }

    async fn page(
        &self,
        bucket: Bucket,
        range: KeyRange,
        at: Revision,
        limit: usize,
    ) -> Result<Page, Error> {
        let request = RangeRequest::new(range).limit(limit).at(at);
        let page = self.of(bucket).range(request).await?;
        let record = |row: kv::KeyValue| Record {
            key: row.key,
            value: row.value,
            committed: row.create_revision,
            writes: row.version,
        };
        Ok(Page { rows: page.kvs.into_iter().map(record).collect(), more: page.more })
    }
}

#[async_trait]
impl Database for OnKv {
    async fn ready(&self) -> Result<(), Error> {
        let probe = RangeRequest::new(KeyRange::key("/fence/0000"));
        self.0[0].range(probe).await?;
        Ok(())
    }

    async fn read(&self, bucket: Bucket, keys: &[Bytes]) -> Result<Seen, Error> {
        let txn = Txn::when(Vec::new()).then(gets(bucket, keys));
        seen(self.of(bucket).txn(txn).await?, keys.len())
    }

    async fn commit(&self, change: Change<'_>) -> Result<Outcome, Error> {
        let Change { bucket, fence, keys, rows, puts } = change;
        let mut compares = vec![Compare::value_is(place::fence(bucket), fence.encode())];
        compares.extend(keys.iter().zip(rows).map(|(key, row)| {
            Compare::new(key.clone(), CompareOp::Equal, CompareTarget::Mod(row.modified))
        }));
        let puts = puts.iter().map(|(index, value)| Op::put(keys[*index].clone(), value.clone()));
        let txn = Txn::when(compares).then(puts.collect()).otherwise(gets(bucket, keys));
        let response = self.of(bucket).txn(txn).await?;
        match response.succeeded {
            true => Ok(Outcome::At(response.revision)),
            false => Ok(Outcome::Moved(seen(response, keys.len())?)),
        }
    }

    async fn fence(&self, bucket: Bucket) -> Result<Option<Fence>, Error> {
        let row = RangeRequest::new(KeyRange::key(place::fence(bucket)));
        let row = self.of(bucket).range(row).await?.kvs.pop();
        row.map(|row| Fence::decode(&row.value)).transpose()
    }

    async fn fences(&self, range: BucketRange) -> Result<Fences, Error> {
        let request = RangeRequest::new(place::of_range(Table::Fence, range));
        let stored = self.of(range.first()).range(request).await?;
        let mut rows: Vec<_> = range.iter().map(|bucket| (bucket, None)).collect();
        for row in stored.kvs {
            let at = place::parse(Table::Fence, &row.key)
                .and_then(|(bucket, _)| rows.iter().position(|(known, _)| *known == bucket));
            let at = at.ok_or(Error::RowUnreadable { row: "fence" })?;
            rows[at].1 = Some(Fence::decode(&row.value)?);
        }
        Ok(Fences { rows, at: stored.revision })
    }

    async fn raise(
        &self,
        range: BucketRange,
        seen: &Fences,
        buckets: &[Bucket],
        wanted: &Fence,
    ) -> Result<bool, Error> {
        let unchanged = Compare {
            range: place::of_range(Table::Fence, range),
            op: CompareOp::Less,
            target: CompareTarget::Mod(seen.at.next()),
        };
        let puts = buckets.iter().map(|bucket| Op::put(place::fence(*bucket), wanted.encode()));
        let txn = Txn::when(vec![unchanged]).then(puts.collect());
        Ok(self.of(range.first()).txn(txn).await?.succeeded)
    }

    async fn cut(&self, range: BucketRange) -> Result<(Fences, Cut), Error> {
        let fences = self.fences(range).await?;
        let cut = Cut { revision: fences.at, ..Cut::default() };
        Ok((fences, cut))
    }

    async fn standing(&self, bucket: Bucket, cut: &Cut) -> Result<Standing, Error> {
        let mut rows = Vec::new();
        for table in [Table::Account, Table::Clearing, Table::Equity] {
            let mut rest = Some(place::of_bucket(table, bucket));
            while let Some(range) = rest.take() {
                let page = self.page(bucket, range.clone(), cut.revision, PAGE_ROWS).await?;
                let last = page.rows.last().filter(|_| page.more);
                rest = last.and_then(|last| place::above(range, &last.key));
                rows.extend(page.rows.into_iter().map(|row| (table, row)));
            }
        }
        Ok(Standing { rows, cut: cut.clone() })
    }

    async fn payments(
        &self,
        bucket: Bucket,
        range: &KeyRange,
        cut: &Cut,
        limit: usize,
    ) -> Result<Page, Error> {
        self.page(bucket, range.clone(), cut.revision, limit).await
    }
}

fn gets(bucket: Bucket, keys: &[Bytes]) -> Vec<Op> {
    std::iter::once(place::fence(bucket)).chain(keys.iter().cloned()).map(Op::get).collect()
}

fn seen(response: TxnResponse, keys: usize) -> Result<Seen, Error> {
    let cut = Cut { revision: response.revision, ..Cut::default() };
    let mut rows = response.responses.into_iter().map(|response| match response {
        OpResponse::Range(mut range) => Ok(match range.kvs.pop() {
            Some(kv) => Row { value: Some(kv.value), modified: kv.mod_revision },
            None => Row::ABSENT,
        }),
        _ => Err(Error::store("a read was not answered as one")),
    });
    let first = rows.next().ok_or_else(|| Error::store("an empty answer"))??;
    let fence = first.value.as_deref().map(Fence::decode).transpose()?;
    let rows = rows.collect::<Result<Vec<Row>, Error>>()?;
    if rows.len() == keys {
        Ok(Seen { fence, rows, cut })
    } else {
        Err(Error::store("a short answer"))
    }
}
