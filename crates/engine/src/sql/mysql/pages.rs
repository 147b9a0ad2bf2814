//! Reading much, a page at a time. SQL bounds a page by rows and not by bytes,
//! so the lengths are read first.

use bytes::Bytes;
use kv::{KeyspaceName, Revision};
use mysql_async::{FromRowError, Row, prelude::FromRow};

use super::{
    append::name,
    session::{Answer, Session},
    text::{Arg, Text},
};
use crate::{
    Error, Seq,
    sql::{Cell, Failure, LogRow, Mark},
};

/// Lengths read at once.
const ROWS_MAX: u64 = 1024;

/// Rows looked at in one step of a search; four steps find one in a million.
const PROBES: u64 = 32;

// === impl Session ===

impl Session {
    pub(super) async fn log_page(
        &mut self,
        keyspace: &KeyspaceName,
        after: Seq,
        bytes_max: usize,
    ) -> Result<Vec<LogRow>, Failure> {
        let mut text = Text::default();
        text.say(
            "SELECT seq, bytes FROM polis_log WHERE keyspace = ? AND seq > ? ORDER BY seq, part \
             LIMIT ?",
            &[name(keyspace), Arg::Number(after.0), Arg::Number(ROWS_MAX)],
        );
        let lengths: Vec<(u64, u64)> = self.read(text).await?;
        let is_whole = lengths.len() < ROWS_MAX as usize;
        let Some(to) = end_of_page(&lengths, bytes_max, is_whole) else { return Ok(Vec::new()) };
        self.log_rows(keyspace, after.next(), Seq(to)).await
    }

    pub(super) async fn log_rows(
        &mut self,
        keyspace: &KeyspaceName,
        from: Seq,
        to: Seq,
    ) -> Result<Vec<LogRow>, Failure> {
        let mut text = Text::default();
        text.say(
            "SELECT seq, revision, data FROM polis_log WHERE keyspace = ? AND seq >= ? AND \
             seq <= ? ORDER BY seq, part",
            &[name(keyspace), Arg::Number(from.0), Arg::Number(to.0)],
        );
        let parts: Vec<(u64, u64, Vec<u8>)> = self.read(text).await?;
        let mut rows: Vec<LogRow> = Vec::new();
        let mut joined: Vec<u8> = Vec::new();
        for (seq, revision, data) in parts {
            match rows.last_mut().filter(|last| last.seq == Seq(seq)) {
                Some(last) => {
                    joined.extend_from_slice(&last.data);
                    joined.extend_from_slice(&data);
                    last.data = std::mem::take(&mut joined).into();
                }
                None => rows.push(LogRow {
                    seq: Seq(seq),
                    revision: Revision(revision),
                    data: data.into(),
                }),
            }
        }
        Ok(rows)
    }

    pub(super) async fn mark(&mut self, keyspace: &KeyspaceName) -> Result<Mark, Failure> {
        let mut text = Text::default();
        text.say(
            "SELECT seq, revision, compacted FROM polis_mark WHERE keyspace = ?",
            &[name(keyspace)],
        );
        let rows: Vec<(u64, u64, u64)> = self.read(text).await?;
        Ok(rows.first().map_or_else(Mark::default, |(seq, revision, compacted)| Mark {
            seq: Seq(*seq),
            revision: Revision(*revision),
            compacted: Revision(*compacted),
        }))
    }

    /// The first batch at or beyond `revision`, by narrowing: revisions rise
    /// with seq, and no index is kept for what is looked for so rarely.
    pub(super) async fn find_batch(
        &mut self,
        keyspace: &KeyspaceName,
        revision: Revision,
    ) -> Result<Option<LogRow>, Failure> {
        let mut text = Text::default();
        text.say(
            "SELECT seq FROM polis_mark WHERE keyspace = ? UNION ALL \
             SELECT seq FROM polis_keyspace WHERE keyspace = ?",
            &[name(keyspace), name(keyspace)],
        );
        let ends: Vec<(u64,)> = self.read(text).await?;
        let [(mark,), (head,)] = ends[..] else { return Ok(None) };
        // Beyond `low` it is, at `high` it may be.
        let (mut low, mut high) = (mark.min(head), mark.max(head));
        while high - low > 1 {
            let step = (high - low).div_ceil(PROBES);
            let probes: Vec<String> = (1..)
                .map(|n| low + n * step)
                .take_while(|seq| *seq < high)
                .map(|seq| seq.to_string())
                .collect();
            let mut text = Text::default();
            text.say(
                "SELECT seq, revision FROM polis_log WHERE keyspace = ? AND part = 0",
                &[name(keyspace)],
            );
            text.go_on(&format!(" AND seq IN ({}) ORDER BY seq", probes.join(",")), &[]);
            let found: Vec<(u64, u64)> = self.read(text).await?;
            let (mut next_low, mut next_high) = (low, high);
            for (seq, at) in &found {
                if Revision(*at) < revision {
                    next_low = *seq;
                } else {
                    next_high = *seq;
                    break;
                }
            }
            if found.is_empty() {
                // Folded meanwhile.
                return Ok(None);
            }
            (low, high) = (next_low, next_high);
        }
        let mut rows = self.log_rows(keyspace, Seq(high), Seq(high)).await?;
        Ok(rows.pop())
    }

    pub(super) async fn cell_page(
        &mut self,
        keyspace: &KeyspaceName,
        after: &[u8],
        bytes_max: usize,
    ) -> Result<Vec<Cell>, Failure> {
        let mut text = Text::default();
        text.say(
            "SELECT name, bytes FROM polis_cell WHERE keyspace = ? AND name > ? ORDER BY name \
             LIMIT ?",
            &[name(keyspace), Arg::Bytes(after), Arg::Number(ROWS_MAX)],
        );
        let lengths: Vec<(Vec<u8>, u64)> = self.read(text).await?;
        let Some(to) = end_of_page(&lengths, bytes_max, true) else { return Ok(Vec::new()) };
        let mut text = Text::default();
        text.say(
            "SELECT name, value FROM polis_cell WHERE keyspace = ? AND name > ? AND name <= ? \
             ORDER BY name",
            &[name(keyspace), Arg::Bytes(after), Arg::Bytes(&to)],
        );
        let cells: Vec<(Vec<u8>, Vec<u8>)> = self.read(text).await?;
        let cell =
            |(name, value): (Vec<u8>, Vec<u8>)| Cell { name: name.into(), value: value.into() };
        Ok(cells.into_iter().map(cell).collect())
    }

    pub(super) async fn one_cell(
        &mut self,
        keyspace: &KeyspaceName,
        cell: &[u8],
    ) -> Result<Option<Bytes>, Failure> {
        let mut text = Text::default();
        text.say(
            "SELECT value FROM polis_cell WHERE keyspace = ? AND name = ?",
            &[name(keyspace), Arg::Bytes(cell)],
        );
        let mut values: Vec<(Vec<u8>,)> = self.read(text).await?;
        Ok(values.pop().map(|(value,)| value.into()))
    }

    /// One statement's rows.
    async fn read<T: FromRow>(&mut self, text: Text) -> Result<Vec<T>, Failure> {
        let mut answers = self.ask_much_causal(text).await.map_err(|broke| broke.of_read())?;
        rows(answers.pop().unwrap_or_default())
    }
}

/// The last row of a page; a batch is never split, so one whose parts may go on
/// after the lengths that were read is left out unless it is the only one.
fn end_of_page<K: Clone + PartialEq>(
    lengths: &[(K, u64)],
    bytes_max: usize,
    is_whole: bool,
) -> Option<K> {
    let mut end = lengths.first()?.0.clone();
    let mut bytes = 0;
    let last = &lengths.last()?.0;
    for (key, length) in lengths {
        if *key != end {
            if bytes >= bytes_max as u64 || (!is_whole && key == last) {
                break;
            }
            end = key.clone();
        }
        bytes += length;
    }
    Some(end)
}

pub(super) fn rows<T: FromRow>(answer: Answer) -> Result<Vec<T>, Failure> {
    let row = |row: Row| {
        T::from_row_opt(row).map_err(|FromRowError(_)| {
            Failure::Refused(Error::Database {
                code: errors::DATABASE_UNFIT,
                problem: "a column has an unexpected type".to_owned(),
            })
        })
    };
    answer.rows.into_iter().map(row).collect()
}
