//! Reading the books. A read is answered only by the owner: it takes the fence
//! row in the same transaction, so a deposed unit cannot show an old state.

use std::collections::BTreeMap;

use kv::Revision;
use tokio::time::{Instant, timeout_at};
use topology::{Bucket, Extent, UserId};

use crate::{
    Audit, Books, Error, PaymentId,
    account::{Account, Version},
    audit::BucketAudit,
    database::{Cut, Record, Row},
    house::House,
    payment::{Committed, Payment},
    place::{self, Table},
    scan::Scan,
};

/// Most entries of a statement in one answer.
pub const ENTRIES_MAX: usize = 500;

/// A part of an account's statement, in order of version.
#[derive(Debug)]
pub struct Statement {
    pub account: Account,
    /// The opening, if it is in this part.
    pub opening: bool,
    pub payments: Vec<(PaymentId, Committed)>,
    /// There are entries after the last one here.
    pub more: bool,
}

// === impl Books ===

impl Books {
    pub async fn account(&self, user: &UserId, deadline: Instant) -> Result<Account, Error> {
        let read = self.read_row(user.bucket(), place::account(user));
        let (value, _) = timeout_at(deadline, read).await.map_err(|_| Error::Deadline)??;
        match value {
            Some(value) => Account::decode(&value),
            None => Err(Error::UnknownAccount { user: user.clone() }),
        }
    }

    pub async fn payment(&self, id: &PaymentId, deadline: Instant) -> Result<Payment, Error> {
        let read = self.read_row(id.payer.bucket(), place::payment(id));
        let (value, _) = timeout_at(deadline, read).await.map_err(|_| Error::Deadline)??;
        match value {
            Some(value) => Payment::decode(&value),
            None => Err(Error::PaymentNotSeen { id: id.clone() }),
        }
    }

    /// Entries of `user` above version `after`, the lowest `limit` of them.
    ///
    /// Payments lie in order of their keys, not of their versions: an index row
    /// would make every payment dearer to make this read cheaper. So all of the
    /// user's payments are walked, and no more than a page and `limit` of them
    /// are held.
    pub async fn statement(
        &self,
        user: &UserId,
        after: Version,
        limit: usize,
        deadline: Instant,
    ) -> Result<Statement, Error> {
        let read = self.read_statement(user, after, limit.clamp(1, ENTRIES_MAX));
        timeout_at(deadline, read).await.map_err(|_| Error::Deadline)?
    }

    async fn read_statement(
        &self,
        user: &UserId,
        after: Version,
        limit: usize,
    ) -> Result<Statement, Error> {
        let (value, cut) = self.read_row(user.bucket(), place::account(user)).await?;
        let value = value.ok_or_else(|| Error::UnknownAccount { user: user.clone() })?;
        let account = Account::decode(&value)?;
        let opening = after < Version::FIRST;
        let limit = limit - usize::from(opening);
        let mut scan = Scan::of_payer(user, cut);
        let mut lowest = BTreeMap::new();
        let mut more = false;
        while let Some(row) = scan.next(self.database()).await? {
            let Payment::Committed(payment) = Payment::decode(&row.value)? else { continue };
            if payment.debit.version <= after {
                continue;
            }
            lowest.insert(payment.debit.version, (payment_id(&row.key)?, payment));
            if lowest.len() > limit {
                lowest.pop_last();
                more = true;
            }
        }
        Ok(Statement { account, opening, payments: lowest.into_values().collect(), more })
    }

    /// Where an export of a shard's payments starts: only the owner gives one.
    pub async fn export(
        &self,
        extent: Extent,
        after: Option<&PaymentId>,
        deadline: Instant,
    ) -> Result<(Scan, Revision), Error> {
        let cut = self.cut(extent, deadline).await?;
        let revision = cut.revision;
        let scan = Scan::of_range(extent.buckets, cut);
        let scan = match after {
            Some(id) => scan.after(&place::payment(id)),
            None => scan,
        };
        Ok((scan, revision))
    }

    /// Checks the shard's books, each bucket as of one moment.
    pub async fn audit(&self, extent: Extent, deadline: Instant) -> Result<Audit, Error> {
        let cut = self.cut(extent, deadline).await?;
        let mut audit = Audit::new(extent, cut.revision);
        for bucket in extent.buckets.iter() {
            let standing = self.database().standing(bucket, &cut).await?;
            let mut books = BucketAudit::new(bucket, &mut audit);
            for (table, row) in standing.rows {
                let name = name_of(table, bucket, &row)?;
                match table {
                    Table::Account => books.account(name, &Account::decode(&row.value)?),
                    Table::Clearing => books.clearing(name, House::decode(&row.value)?),
                    Table::Equity => books.equity(name, House::decode(&row.value)?),
                    Table::Fence | Table::Payment => return Err(Error::store("another table")),
                }
            }
            let mut payments = Scan::of_bucket(bucket, standing.cut);
            while let Some(row) = payments.next(self.database()).await? {
                let name = name_of(Table::Payment, bucket, &row)?;
                let payment = Payment::decode(&row.value)?;
                books.payment(name, &payment, row.committed, row.writes);
            }
            books.close();
        }
        Ok(audit)
    }

    /// The present moment of a shard, if all of it is ours: who asks by an older
    /// map may mean more than the shard still has.
    async fn cut(&self, extent: Extent, deadline: Instant) -> Result<Cut, Error> {
        let asked = timeout_at(deadline, self.database().cut(extent.buckets)).await;
        let (fences, cut) = asked.map_err(|_| Error::Deadline)??;
        self.learn(&fences.rows);
        let others = fences.rows.into_iter();
        let mut others = others
            .filter(|(_, fence)| fence.as_ref().is_none_or(|fence| fence.unit != *self.unit()));
        match others.next() {
            None => Ok(cut),
            Some((bucket, fence)) => Err(Error::Misdirected { bucket, fence }),
        }
    }

    /// One row and the moment it was read at, if the bucket is ours.
    async fn read_row(
        &self,
        bucket: Bucket,
        key: bytes::Bytes,
    ) -> Result<(Option<bytes::Bytes>, Cut), Error> {
        let mut seen = self.database().read(bucket, &[key]).await?;
        let row = seen.rows.pop().unwrap_or(Row::ABSENT);
        self.desk(bucket).learn(seen.fence.clone());
        match seen.fence {
            Some(fence) if fence.unit == *self.unit() => Ok((row.value, seen.cut)),
            fence => Err(Error::Misdirected { bucket, fence }),
        }
    }
}

pub fn payment_id(key: &[u8]) -> Result<PaymentId, Error> {
    place::parse(Table::Payment, key)
        .and_then(|(_, id)| id.parse().ok())
        .ok_or(Error::RowUnreadable { row: "payment" })
}

fn name_of(table: Table, bucket: Bucket, row: &Record) -> Result<&str, Error> {
    match place::parse(table, &row.key) {
        Some((at, name)) if at == bucket => Ok(name),
        _ => Err(Error::RowUnreadable { row: "a key of the books" }),
    }
}
