//! Reading the books. A read is answered only by the owner: it takes the fence
//! row in the same transaction, so a deposed unit cannot show an old state.

use std::collections::BTreeMap;

use kv::{Op, OpResponse, Revision, Txn};
use tokio::time::{Instant, timeout_at};
use topology::{Bucket, Shard, UserId};

use crate::{
    Audit, Books, Error, PaymentId,
    account::{Account, Version},
    audit::BucketAudit,
    fence::Fence,
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
        let (value, revision) = self.read_row(user.bucket(), place::account(user)).await?;
        let value = value.ok_or_else(|| Error::UnknownAccount { user: user.clone() })?;
        let account = Account::decode(&value)?;
        let opening = after < Version::FIRST;
        let limit = limit - usize::from(opening);
        let kv = self.kv(user.bucket().shard());
        let mut scan = Scan::new([place::payments_of(user)], Some(revision));
        let mut lowest = BTreeMap::new();
        let mut more = false;
        while let Some(row) = scan.next(kv).await? {
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

    /// Where an export of `shard`'s payments starts: only the owner gives one.
    pub async fn export(
        &self,
        shard: Shard,
        after: Option<&PaymentId>,
        deadline: Instant,
    ) -> Result<(Scan, Revision), Error> {
        let revision = self.read_revision(shard, deadline).await?;
        let scan = Scan::new(place::by_bucket(Table::Payment, shard), Some(revision));
        let scan = match after {
            Some(id) => scan.after(&place::payment(id)),
            None => scan,
        };
        Ok((scan, revision))
    }

    /// Checks the shard's books at one revision, bucket by bucket.
    pub async fn audit(&self, shard: Shard, deadline: Instant) -> Result<Audit, Error> {
        let revision = self.read_revision(shard, deadline).await?;
        let kv = self.kv(shard);
        let scan = |table| Scan::new(place::by_bucket(table, shard), Some(revision));
        let mut accounts = scan(Table::Account);
        let mut clearing = scan(Table::Clearing);
        let mut equity = scan(Table::Equity);
        let mut payments = scan(Table::Payment);
        let mut audit = Audit::new(shard, revision);
        for bucket in shard.buckets() {
            let mut books = BucketAudit::new(bucket, &mut audit);
            while let Some((name, row)) = next_of(&mut accounts, kv, Table::Account, bucket).await?
            {
                books.account(&name, &Account::decode(&row.value)?);
            }
            while let Some((name, row)) =
                next_of(&mut clearing, kv, Table::Clearing, bucket).await?
            {
                books.clearing(&name, House::decode(&row.value)?);
            }
            while let Some((name, row)) = next_of(&mut equity, kv, Table::Equity, bucket).await? {
                books.equity(&name, House::decode(&row.value)?);
            }
            while let Some((name, row)) = next_of(&mut payments, kv, Table::Payment, bucket).await?
            {
                let payment = Payment::decode(&row.value)?;
                books.payment(&name, &payment, row.create_revision, row.version);
            }
            books.close();
        }
        Ok(audit)
    }

    /// The newest revision of the shard's keyspace, if the shard is ours.
    async fn read_revision(&self, shard: Shard, deadline: Instant) -> Result<Revision, Error> {
        let first = shard.buckets().next().ok_or_else(|| Error::store("a shard has buckets"))?;
        let read = self.read_row(first, place::fence(first));
        let (_, revision) = timeout_at(deadline, read).await.map_err(|_| Error::Deadline)??;
        Ok(revision)
    }

    /// One row and the revision it was read at, if the bucket is ours.
    async fn read_row(
        &self,
        bucket: Bucket,
        key: bytes::Bytes,
    ) -> Result<(Option<bytes::Bytes>, Revision), Error> {
        let desk = self.desk(bucket.shard());
        let gets = vec![Op::get(place::fence(bucket)), Op::get(key)];
        let response = self.kv(bucket.shard()).txn(Txn::default().then(gets)).await?;
        let revision = response.revision;
        let mut values = response.responses.into_iter().map(|response| match response {
            OpResponse::Range(mut range) => Ok(range.kvs.pop().map(|kv| kv.value)),
            _ => Err(Error::store("a read was not answered as one")),
        });
        let short = || Error::store("a short answer");
        let fence = values.next().ok_or_else(short)??;
        let value = values.next().ok_or_else(short)??;
        let fence = fence.as_deref().map(Fence::decode).transpose()?;
        desk.learn(fence.clone());
        match fence {
            Some(fence) if fence.unit == *self.unit() => Ok((value, revision)),
            fence => Err(Error::Misdirected { shard: bucket.shard(), fence }),
        }
    }
}

pub fn payment_id(key: &[u8]) -> Result<PaymentId, Error> {
    place::parse(Table::Payment, key)
        .and_then(|(_, id)| id.parse().ok())
        .ok_or(Error::RowUnreadable { row: "payment" })
}

async fn next_of(
    scan: &mut Scan,
    kv: &dyn kv::Kv,
    table: Table,
    bucket: Bucket,
) -> Result<Option<(String, kv::KeyValue)>, Error> {
    let row =
        scan.next_if(kv, |key| place::parse(table, key).is_none_or(|(at, _)| at <= bucket)).await?;
    let Some(row) = row else { return Ok(None) };
    match place::parse(table, &row.key) {
        Some((at, name)) if at == bucket => Ok(Some((name.to_owned(), row))),
        _ => Err(Error::RowUnreadable { row: "a key of the books" }),
    }
}
