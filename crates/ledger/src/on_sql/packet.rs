//! The statements of each transaction. Pure: text out.
//!
//! A condition that does not hold must stop a packet before its COMMIT. SQL
//! outside of stored procedures has no `if`, so the guard is a scalar subquery
//! that finds a second row then, which every server answers with error 1242.
//!
//! A Galera node may take a transaction away between two statements of a packet,
//! for another node's, and go on with the next statement outside of any, COMMIT
//! included (seen with MariaDB 10.11). So each write asks for the token that
//! this transaction left at the fence, which nobody sees once it is gone, and
//! after the COMMIT it is looked for what should be there. One server alone does
//! not do that; there both would only be work.

use bytes::Bytes;
use engine::sql::{Arg, Text};
use kv::{KeyRange, Revision};
use topology::{Bucket, BucketRange};

use crate::{
    Error,
    database::Change,
    fence::Fence,
    place::{self, Table},
};

/// What a guard that does not hold, and a row that should have been absent, are
/// answered with.
pub const REFUSALS: [u16; 2] = [1242, 1062];

/// Statements before a read's first answer.
pub const SNAPSHOT_STATEMENTS: usize = 2;

/// Where what a commit writes begins.
pub const PUTS_AT: usize = 3;

/// Tables whose rows change.
pub const STANDING: [Table; 3] = [Table::Account, Table::Clearing, Table::Equity];

/// How a commit proves the fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fencing {
    Changed,
    /// The same with time for others between the writes and the COMMIT.
    #[cfg(test)]
    Slowly,
    /// What must not be done: read committed, snapshots and Galera's
    /// certification let such a commit pass beside a raise.
    #[cfg(test)]
    ReadSlowly,
}

/// Whether what a packet wrote must be proven again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The server ends a packet with its transaction.
    Held,
    /// It may go on without one.
    Watched,
}

pub struct Commit {
    pub text: Text,
    pub commit_at: usize,
    /// Which statement's answer ends with the bucket's number of commits.
    pub uses_at: usize,
}

/// Of the guard: after BEGIN and the fence.
const GUARD_AT: usize = 2;

/// A key as a row's place.
struct At<'a> {
    table: &'static str,
    bucket: u64,
    name: &'a [u8],
}

pub fn ready() -> Text {
    let mut text = Text::default();
    text.say("SELECT uses FROM polis_ledger_fence WHERE bucket = 0", &[]);
    text
}

/// `token` is that of no other transaction.
pub fn commit(
    change: &Change<'_>,
    token: u64,
    fencing: Fencing,
    trust: Trust,
) -> Result<Commit, Error> {
    let bucket = number(change.bucket);
    let places = change.keys.iter().map(|key| At::of(key)).collect::<Result<Vec<_>, _>>()?;
    let mut text = Text::default();
    text.say("BEGIN", &[]);
    let fence = [
        Arg::Number(bucket),
        Arg::Number(change.fence.epoch.0),
        Arg::Bytes(change.fence.unit.as_str().as_bytes()),
    ];
    // A change of one row, or the fence is not ours. From here on nobody else
    // writes the bucket, so what holds now holds at the commit.
    match fencing {
        #[cfg(test)]
        Fencing::ReadSlowly => {
            text.say(
                "SELECT LAST_INSERT_ID(uses) FROM polis_ledger_fence WHERE bucket = ?",
                &[Arg::Number(bucket)],
            );
            text.say(
                "SELECT (SELECT 1 UNION ALL SELECT 1 FROM DUAL WHERE NOT (EXISTS (SELECT 1 FROM \
                 polis_ledger_fence WHERE bucket = ? AND epoch = ? AND unit = ?)",
                &fence,
            );
        }
        _ => {
            text.say(
                "UPDATE polis_ledger_fence SET uses = LAST_INSERT_ID(uses + 1), token = ? WHERE \
                 bucket = ? AND epoch = ? AND unit = ?",
                &[Arg::Number(token), fence[0], fence[1], fence[2]],
            );
            text.say(
                "SELECT (SELECT 1 UNION ALL SELECT 1 FROM DUAL WHERE NOT (ROW_COUNT() = 1",
                &[],
            );
        }
    }
    for (index, (at, row)) in places.iter().zip(change.rows).enumerate() {
        if row.modified != Revision::ZERO {
            text.go_on(
                &format!(
                    " AND EXISTS (SELECT 1 FROM {} WHERE bucket = ? AND name = ? AND modified = ?)",
                    at.table
                ),
                &[Arg::Number(bucket), Arg::Bytes(at.name), Arg::Number(row.modified.0)],
            );
        } else if !change.puts.iter().any(|(put, _)| *put == index) {
            // Those that are inserted prove it themselves.
            text.go_on(
                &format!(
                    " AND NOT EXISTS (SELECT 1 FROM {} WHERE bucket = ? AND name = ?)",
                    at.table
                ),
                &[Arg::Number(bucket), Arg::Bytes(at.name)],
            );
        }
    }
    text.go_on(")), LAST_INSERT_ID()", &[]);
    let is_watched = trust == Trust::Watched || fencing != Fencing::Changed;
    let token = match fencing {
        // It leaves none.
        #[cfg(test)]
        Fencing::ReadSlowly => Arg::Number(0),
        _ => Arg::Number(token),
    };
    for (index, value) in change.puts {
        let (at, modified) = (&places[*index], change.rows[*index].modified);
        if modified == Revision::ZERO && !is_watched {
            text.say(
                &format!(
                    "INSERT INTO {} (bucket, name, modified, value) VALUES (?, ?, \
                     LAST_INSERT_ID(), ?)",
                    at.table
                ),
                &[Arg::Number(bucket), Arg::Bytes(at.name), Arg::Bytes(value)],
            );
        } else if modified == Revision::ZERO {
            text.say(
                &format!(
                    "INSERT INTO {} (bucket, name, modified, value) SELECT bucket, ?, uses, ? \
                     FROM polis_ledger_fence WHERE bucket = ? AND token = ?",
                    at.table
                ),
                &[Arg::Bytes(at.name), Arg::Bytes(value), Arg::Number(bucket), token],
            );
        } else {
            text.say(
                &format!(
                    "UPDATE {} SET value = ?, modified = LAST_INSERT_ID() WHERE bucket = ? AND \
                     name = ? AND modified = ?",
                    at.table
                ),
                &[
                    Arg::Bytes(value),
                    Arg::Number(at.bucket),
                    Arg::Bytes(at.name),
                    Arg::Number(modified.0),
                ],
            );
            if is_watched {
                text.go_on(
                    " AND EXISTS (SELECT 1 FROM polis_ledger_fence WHERE bucket = ? AND token = ?)",
                    &[Arg::Number(bucket), token],
                );
            }
        }
    }
    #[cfg(test)]
    if fencing != Fencing::Changed {
        text.say("DO SLEEP(0.03)", &[]);
    }
    let commit_at = text.statements();
    text.say("COMMIT", &[]);
    if !is_watched {
        return Ok(Commit { text, commit_at, uses_at: GUARD_AT });
    }
    let (first, value) = change.puts.first().ok_or_else(|| Error::store("nothing to commit"))?;
    let at = &places[*first];
    text.say(
        &format!(
            "SELECT modified FROM {} WHERE bucket = ? AND name = ? AND modified = LAST_INSERT_ID() \
             AND value = ?",
            at.table
        ),
        &[Arg::Number(at.bucket), Arg::Bytes(at.name), Arg::Bytes(value)],
    );
    let uses_at = commit_at + 1;
    Ok(Commit { text, commit_at, uses_at })
}

/// Fence and rows as of one moment.
pub fn read(bucket: Bucket, keys: &[Bytes]) -> Result<Text, Error> {
    let mut text = snapshot();
    text.say(
        "SELECT epoch, unit, uses FROM polis_ledger_fence WHERE bucket = ?",
        &[Arg::Number(number(bucket))],
    );
    for key in keys {
        let at = At::of(key)?;
        text.say(
            &format!("SELECT modified, value FROM {} WHERE bucket = ? AND name = ?", at.table),
            &[Arg::Number(at.bucket), Arg::Bytes(at.name)],
        );
    }
    text.say("COMMIT", &[]);
    Ok(text)
}

pub fn standing(bucket: Bucket) -> Text {
    let mut text = snapshot();
    let args = [Arg::Number(number(bucket))];
    text.say("SELECT uses FROM polis_ledger_fence WHERE bucket = ?", &args);
    for table in STANDING {
        let table = name_of(table);
        text.say(&format!("SELECT name, modified, value FROM {table} WHERE bucket = ?"), &args);
    }
    text.say("COMMIT", &[]);
    text
}

/// Payments of a range that were there after `commits` of the bucket.
pub fn payments(bucket: Bucket, range: &KeyRange, commits: u64, limit: usize) -> Text {
    let start = place::of_name(Table::Payment, bucket, b"");
    let within = |key: &Bytes| key.strip_prefix(&start[..]).map(<[u8]>::to_vec);
    let (from, to) = match range {
        KeyRange::Key(key) => (within(key), within(key).map(|name| [&name[..], &[0]].concat())),
        KeyRange::Span { from, to } => (within(from), within(to)),
        KeyRange::From(from) => (within(from), None),
    };
    let mut text = Text::default();
    text.say(
        "SELECT name, modified, value FROM polis_ledger_payment WHERE bucket = ? AND name >= ?",
        &[Arg::Number(number(bucket)), Arg::Bytes(&from.unwrap_or_default())],
    );
    if let Some(to) = to {
        text.go_on(" AND name < ?", &[Arg::Bytes(&to)]);
    }
    let limit = Arg::Number(limit as u64);
    text.go_on(" AND modified <= ? ORDER BY name LIMIT ?", &[Arg::Number(commits), limit]);
    text
}

pub fn fences(range: BucketRange) -> Text {
    let mut text = Text::default();
    text.say(
        "SELECT bucket, epoch, unit, uses FROM polis_ledger_fence WHERE bucket >= ? AND bucket <= ?",
        &span(range),
    );
    text
}

/// Rows that nobody has raised; those that are there stay as they are. Uses are
/// counted from one, since a row that was written at none would seem absent.
pub fn make_fences(range: BucketRange) -> Text {
    let mut text = Text::default();
    text.say(
        "INSERT IGNORE INTO polis_ledger_fence (bucket, epoch, unit, uses, token) VALUES ",
        &[],
    );
    for (index, bucket) in range.iter().enumerate() {
        let row = if index == 0 { "(?, 0, '', 1, 0)" } else { ", (?, 0, '', 1, 0)" };
        text.go_on(row, &[Arg::Number(number(bucket))]);
    }
    text
}

/// All of the range's fences, or none; and where COMMIT is. After it, how many
/// stand so.
pub fn raise(range: BucketRange, wanted: &Fence) -> (Text, usize) {
    let (epoch, unit) = (Arg::Number(wanted.epoch.0), Arg::Bytes(wanted.unit.as_str().as_bytes()));
    let [first, last] = span(range);
    let mut text = Text::default();
    text.say("BEGIN", &[]);
    text.say(
        "UPDATE polis_ledger_fence SET epoch = ?, unit = ? WHERE bucket >= ? AND bucket <= ? AND \
         epoch < ?",
        &[epoch, unit, first, last, epoch],
    );
    text.say(
        "SELECT (SELECT 1 UNION ALL SELECT 1 FROM DUAL WHERE (SELECT COUNT(*) FROM \
         polis_ledger_fence WHERE bucket >= ? AND bucket <= ? AND epoch = ? AND unit = ?) <> ?)",
        &[first, last, epoch, unit, Arg::Number(range.len() as u64)],
    );
    let commit_at = text.statements();
    text.say("COMMIT", &[]);
    text.say(
        "SELECT COUNT(*) FROM polis_ledger_fence WHERE bucket >= ? AND bucket <= ? AND epoch = ? \
         AND unit = ?",
        &[first, last, epoch, unit],
    );
    (text, commit_at)
}

fn snapshot() -> Text {
    let mut text = Text::default();
    text.say("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", &[]);
    text.say("START TRANSACTION WITH CONSISTENT SNAPSHOT", &[]);
    text
}

fn span(range: BucketRange) -> [Arg<'static>; 2] {
    [Arg::Number(number(range.first())), Arg::Number(number(range.last()))]
}

fn number(bucket: Bucket) -> u64 {
    bucket.number().into()
}

fn name_of(table: Table) -> &'static str {
    match table {
        Table::Fence => "polis_ledger_fence",
        Table::Account => "polis_ledger_account",
        Table::Clearing => "polis_ledger_clearing",
        Table::Equity => "polis_ledger_equity",
        Table::Payment => "polis_ledger_payment",
    }
}

// === impl At ===

impl At<'_> {
    fn of(key: &[u8]) -> Result<At<'_>, Error> {
        let (table, bucket, name) =
            place::split(key).ok_or_else(|| Error::store("a key that is no row's"))?;
        Ok(At { table: name_of(table), bucket: number(bucket), name: name.as_bytes() })
    }
}
