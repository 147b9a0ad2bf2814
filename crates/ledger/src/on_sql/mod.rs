//! The books in a database of the MySQL protocol, with a fence row per bucket.
//!
//! Each transaction is one packet: it changes the fence row of its bucket where
//! epoch and unit are ours, proves that nothing it was decided on has moved,
//! writes by comparison, and commits. The server carries it out whether or not
//! anybody still waits, so a process that died or was paused holds no row, and
//! whatever does not hold makes the packet fail before its COMMIT.
//!
//! Every writer of a bucket changes the bucket's fence row first. That alone
//! puts them one after the other, under read committed and in Galera's
//! certification alike, and its counter `uses` numbers the bucket's commits.

mod packet;
mod schema;
mod sessions;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use engine::sql::{Answer, Mysql, SqlConfig};
use kv::{KeyRange, Revision};
use topology::{Bucket, BucketRange};

#[cfg(test)]
pub use self::packet::Fencing;
#[cfg(not(test))]
use self::packet::Fencing;
use self::sessions::{Asked, Sessions};
use crate::{
    Error,
    database::{Change, Cut, Database, Fences, Outcome, Page, Record, Row, Seen, Standing},
    fence::Fence,
    place::{self, Table},
};

/// The books in a database. The tables are made when it is opened.
pub struct OnSql {
    sessions: Sessions,
    fencing: Fencing,
}

/// A fence row: epoch, unit, uses.
type FenceColumns = (u64, Vec<u8>, u64);

// === impl OnSql ===

impl OnSql {
    /// Connects, and makes the tables if need be.
    pub async fn connect(config: SqlConfig) -> Result<OnSql, Error> {
        let server = Mysql::new(config).map_err(|error| Error::Database(Arc::new(error)))?;
        let sessions = Sessions::new(server);
        schema::found(&sessions).await?;
        Ok(OnSql { sessions, fencing: Fencing::Changed })
    }

    /// For tests of the fence, and for their canary.
    #[cfg(test)]
    pub fn fencing(self, fencing: Fencing) -> OnSql {
        OnSql { fencing, ..self }
    }

    async fn all_fences(
        &self,
        range: BucketRange,
    ) -> Result<Vec<(Bucket, Option<Fence>, u64)>, Error> {
        let mut answers = self.sessions.read(&packet::fences(range)).await?;
        let rows: Vec<(u16, u64, Vec<u8>, u64)> = rows(&mut answers)?;
        let mut found: Vec<_> = range.iter().map(|bucket| (bucket, None, 0)).collect();
        for (number, epoch, unit, uses) in rows {
            let at = found.iter_mut().find(|(bucket, ..)| bucket.number() == number);
            let at = at.ok_or(Error::RowUnreadable { row: "fence" })?;
            (at.1, at.2) = (fence(epoch, &unit)?, uses);
        }
        Ok(found)
    }
}

#[async_trait]
impl Database for OnSql {
    async fn ready(&self) -> Result<(), Error> {
        self.sessions.read(&packet::ready()).await.map(drop)
    }

    async fn read(&self, bucket: Bucket, keys: &[Bytes]) -> Result<Seen, Error> {
        let mut answers = self.sessions.read(&packet::read(bucket, keys)?).await?;
        answers.pop();
        let mut answers = answers.split_off(packet::SNAPSHOT_STATEMENTS);
        let rest = answers.split_off(1);
        let columns = rows::<FenceColumns>(&mut answers)?.pop();
        let (fence, uses) = match columns {
            Some((epoch, unit, uses)) => (fence(epoch, &unit)?, uses),
            None => (None, 0),
        };
        let row = |answer: Answer| -> Result<Row, Error> {
            let row: Option<(u64, Vec<u8>)> = rows(&mut vec![answer])?.pop();
            Ok(row.map_or(Row::ABSENT, |(modified, value)| Row {
                value: Some(value.into()),
                modified: Revision(modified),
            }))
        };
        let rows = rest.into_iter().map(row).collect::<Result<Vec<Row>, Error>>()?;
        Ok(Seen { fence, rows, cut: Cut::of_commits(vec![(bucket, uses)]) })
    }

    async fn commit(&self, change: Change<'_>) -> Result<Outcome, Error> {
        let packet = |trust| packet::commit(&change, token(), self.fencing, trust);
        let (mut answers, uses_at) = match self.sessions.write_as(packet).await? {
            (Asked::Answered(answers), uses_at) => (answers, uses_at),
            (Asked::Refused, _) => {
                return Ok(Outcome::Moved(self.read(change.bucket, change.keys).await?));
            }
        };
        let is_whole =
            answers[packet::PUTS_AT..].iter().take(change.puts.len()).all(|put| put.changed == 1);
        let changed: Vec<u64> = answers.iter().map(|answer| answer.changed).collect();
        answers.truncate(uses_at + 1);
        let found = answers.pop().and_then(uses);
        let (Some(uses), true) = (found, is_whole) else {
            tracing::warn!(?changed, ?found, "a transaction was taken away within its packet");
            // What stands is read again, and compared, before anything is said.
            return Err(Error::Store(kv::Error::Unknown("it was taken away".to_owned())));
        };
        Ok(Outcome::At(Revision(uses)))
    }

    async fn fence(&self, bucket: Bucket) -> Result<Option<Fence>, Error> {
        Ok(self.read(bucket, &[]).await?.fence)
    }

    async fn fences(&self, range: BucketRange) -> Result<Fences, Error> {
        Ok(fences_of(&self.all_fences(range).await?))
    }

    /// By the epochs themselves: the rows may have been used since.
    async fn raise(
        &self,
        range: BucketRange,
        seen: &Fences,
        _: &[Bucket],
        wanted: &Fence,
    ) -> Result<bool, Error> {
        if seen.rows.iter().any(|(_, fence)| fence.is_none()) {
            self.sessions.read(&packet::make_fences(range)).await?;
        }
        let (text, commit_at) = packet::raise(range, wanted);
        let Asked::Answered(mut answers) = self.sessions.write(&text, commit_at).await? else {
            return Ok(false);
        };
        // What another took since, or took away, is read again.
        let stand: Option<(u64,)> = rows(&mut answers)?.pop();
        Ok(stand == Some((seen.rows.len() as u64,)))
    }

    async fn cut(&self, range: BucketRange) -> Result<(Fences, Cut), Error> {
        let found = self.all_fences(range).await?;
        let commits = found.iter().map(|(bucket, _, uses)| (*bucket, *uses)).collect();
        Ok((fences_of(&found), Cut::of_commits(commits)))
    }

    async fn standing(&self, bucket: Bucket, _: &Cut) -> Result<Standing, Error> {
        let mut answers = self.sessions.read(&packet::standing(bucket)).await?;
        answers.pop();
        let mut found = Vec::new();
        for table in packet::STANDING.into_iter().rev() {
            let columns: Vec<(Vec<u8>, u64, Vec<u8>)> = rows(&mut answers)?;
            found.extend(columns.into_iter().map(|row| (table, record(table, bucket, row))));
        }
        let uses: Option<(u64,)> = rows(&mut answers)?.pop();
        let cut = Cut::of_commits(vec![(bucket, uses.map_or(0, |(uses,)| uses))]);
        Ok(Standing { rows: found, cut })
    }

    async fn payments(
        &self,
        bucket: Bucket,
        range: &KeyRange,
        cut: &Cut,
        limit: usize,
    ) -> Result<Page, Error> {
        let text = packet::payments(bucket, range, cut.commits_of(bucket), limit + 1);
        let mut answers = self.sessions.read(&text).await?;
        let mut found: Vec<(Vec<u8>, u64, Vec<u8>)> = rows(&mut answers)?;
        let more = found.len() > limit;
        found.truncate(limit);
        let rows = found.into_iter().map(|row| record(Table::Payment, bucket, row)).collect();
        Ok(Page { rows, more })
    }
}

fn fences_of(found: &[(Bucket, Option<Fence>, u64)]) -> Fences {
    let rows = found.iter().map(|(bucket, fence, _)| (*bucket, fence.clone())).collect();
    Fences { rows, at: Revision::ZERO }
}

/// For one transaction.
fn token() -> u64 {
    rt::random::Random::from_entropy().next_u64() | 1
}

/// The last column of the only row.
fn uses(mut answer: Answer) -> Option<u64> {
    let mut row = answer.rows.pop()?;
    row.take_opt(row.len().checked_sub(1)?)?.ok()
}

/// The rows of the last answer, which is taken.
fn rows<T: mysql_async::prelude::FromRow>(answers: &mut Vec<Answer>) -> Result<Vec<T>, Error> {
    let answer = answers.pop().ok_or_else(|| Error::store("an answer is missing"))?;
    answer.rows().map_err(sessions::of_read)
}

fn record(
    table: Table,
    bucket: Bucket,
    (name, modified, value): (Vec<u8>, u64, Vec<u8>),
) -> Record {
    let key = place::of_name(table, bucket, &name);
    // Records are inserted and never updated.
    Record { key, value: value.into(), committed: Revision(modified), writes: 1 }
}

/// None for a row that was made and never raised.
fn fence(epoch: u64, unit: &[u8]) -> Result<Option<Fence>, Error> {
    if unit.is_empty() {
        return Ok(None);
    }
    let unit = std::str::from_utf8(unit).ok().and_then(|unit| unit.parse().ok());
    let unit = unit.ok_or(Error::RowUnreadable { row: "fence" })?;
    Ok(Some(Fence { epoch: topology::Epoch(epoch), unit }))
}
