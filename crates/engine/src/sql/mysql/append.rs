//! A batch's transaction.
//!
//! Most batches are one packet: begin, move the head, add to the log, commit.
//! The server carries it out whether or not anybody still waits, so the log row
//! is selected from the head that the update made: if the update found another
//! epoch or seq there is no such head, nothing is added, and an empty
//! transaction is committed. It also means that the head is never locked while
//! a client that may have died is waited for.
//!
//! A Galera node may take a transaction away for another node's between two
//! statements of a packet, and answer the rest, COMMIT included, as if nothing
//! had been (seen with MariaDB 10.11). So there the head is looked at once more after
//! the COMMIT: under our epoch nobody else moves it.

use kv::KeyspaceName;

use super::{
    failure::Broke,
    session::{Answer, Session},
    text::{Arg, Text, escaped_bytes_max},
};
use crate::sql::{Append, Failure};

/// Of a statement around its data.
const STATEMENT_BYTES_MAX: usize = 4096;

/// TiDB's rows are at most 6 MiB; small parts cost nothing.
const PART_BYTES_MAX: usize = 2 * 1024 * 1024;

/// The log holds this seq: it has moved on.
const DUPLICATE: u16 = 1062;

// === impl Session ===

impl Session {
    pub(super) fn part_bytes_max(&self) -> usize {
        PART_BYTES_MAX.min((self.packet_bytes_max - STATEMENT_BYTES_MAX) / 2)
    }

    pub(super) async fn append_batch(
        &mut self,
        keyspace: &KeyspaceName,
        append: &Append,
    ) -> Result<bool, Failure> {
        let parts: Vec<&[u8]> = append.data.chunks(self.part_bytes_max()).collect();
        let whole = escaped_bytes_max(append.data.len()) + STATEMENT_BYTES_MAX * (parts.len() + 1);
        let answered = match whole <= self.packet_bytes_max {
            true => self.append_at_once(keyspace, append, &parts).await,
            false => self.append_in_steps(keyspace, append, &parts).await,
        };
        match answered {
            Ok(applied) => applied,
            Err((broke, _)) if broke.code() == Some(DUPLICATE) => Ok(false),
            Err((broke, Some(commit_at))) => Err(broke.of_commit(commit_at)),
            Err((broke, None)) => Err(broke.before_commit()),
        }
    }

    async fn append_at_once(
        &mut self,
        keyspace: &KeyspaceName,
        append: &Append,
        parts: &[&[u8]],
    ) -> Result<Result<bool, Failure>, (Broke, Option<usize>)> {
        let mut text = Text::default();
        text.say("BEGIN", &[]);
        say_move(&mut text, keyspace, append);
        for (part, data) in parts.iter().enumerate() {
            say_part(&mut text, keyspace, append, part, data);
        }
        let commit_at = text.statements();
        text.say("COMMIT", &[]);
        if self.may_take_away() {
            say_look(&mut text, keyspace, append);
        }
        let answers =
            self.ask_causal(false, text).await.map_err(|broke| (broke, Some(commit_at)))?;
        let stands = answers.get(commit_at + 1).is_none_or(|look| !look.rows.is_empty());
        Ok(is_moved(&answers[1], &answers[2..commit_at], stands))
    }

    async fn append_in_steps(
        &mut self,
        keyspace: &KeyspaceName,
        append: &Append,
        parts: &[&[u8]],
    ) -> Result<Result<bool, Failure>, (Broke, Option<usize>)> {
        let mut text = Text::default();
        text.say("BEGIN", &[]);
        say_move(&mut text, keyspace, append);
        let mut answers = self.ask_causal(false, text).await.map_err(|broke| (broke, None))?;
        let head = answers.remove(1);
        if head.changed != 1 {
            self.ask(statement("ROLLBACK")).await.map_err(|broke| (broke, None))?;
            return Ok(Ok(false));
        }
        let mut added = Vec::new();
        for (part, data) in parts.iter().enumerate() {
            let mut text = Text::default();
            say_part(&mut text, keyspace, append, part, data);
            added.extend(self.ask_much(text).await.map_err(|broke| (broke, None))?);
        }
        let mut text = statement("COMMIT");
        if self.may_take_away() {
            say_look(&mut text, keyspace, append);
        }
        let answers = self.ask(text).await.map_err(|broke| (broke, Some(0)))?;
        let stands = answers.get(1).is_none_or(|look| !look.rows.is_empty());
        Ok(is_moved(&head, &added, stands))
    }
}

fn say_move(text: &mut Text, keyspace: &KeyspaceName, append: &Append) {
    text.say("UPDATE polis_keyspace SET seq = ?", &[Arg::Number(append.seq.0)]);
    if let Some(revision) = append.revision {
        text.go_on(", revision = ?", &[Arg::Number(revision.0)]);
    }
    let before = append.seq.0.wrapping_sub(1);
    text.go_on(
        " WHERE keyspace = ? AND epoch = ? AND seq = ?",
        &[name(keyspace), Arg::Number(append.epoch.0), Arg::Number(before)],
    );
}

fn say_part(text: &mut Text, keyspace: &KeyspaceName, append: &Append, part: usize, data: &[u8]) {
    text.say(
        "INSERT INTO polis_log (keyspace, seq, part, revision, bytes, data) \
         SELECT keyspace, seq, ?, revision, ?, ? FROM polis_keyspace \
         WHERE keyspace = ? AND epoch = ? AND seq = ?",
        &[
            Arg::Number(part as u64),
            Arg::Number(data.len() as u64),
            Arg::Bytes(data),
            name(keyspace),
            Arg::Number(append.epoch.0),
            Arg::Number(append.seq.0),
        ],
    );
}

/// Whether it is where this batch would have moved it to.
fn say_look(text: &mut Text, keyspace: &KeyspaceName, append: &Append) {
    text.say(
        "SELECT 1 FROM polis_keyspace WHERE keyspace = ? AND epoch = ? AND seq = ?",
        &[name(keyspace), Arg::Number(append.epoch.0), Arg::Number(append.seq.0)],
    );
}

/// What the answers come to: the head was moved, all of the batch was added,
/// and the head stands there; or nothing was done.
fn is_moved(head: &Answer, added: &[Answer], stands: bool) -> Result<bool, Failure> {
    let all = |changed| added.iter().all(|answer| answer.changed == changed);
    match head.changed {
        1 if stands && all(1) => Ok(true),
        0 if all(0) => Ok(false),
        _ => Err(Failure::Lost("the transaction was taken away within its packet".to_owned())),
    }
}

pub(super) fn name(keyspace: &KeyspaceName) -> Arg<'_> {
    Arg::Bytes(keyspace.as_str().as_bytes())
}

pub(super) fn statement(sql: &str) -> Text {
    let mut text = Text::default();
    text.say(sql, &[]);
    text
}
