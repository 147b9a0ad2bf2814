//! The mark over tables that are being filled, and emptying them.

use errors::DATABASE_TAKEN;
use kv::{KeyspaceName, Revision};

use super::{
    append::name,
    schema::{NO_SUCH_TABLE, SCHEMA_VERSION},
    session::Session,
    text::{Arg, Text},
};
use crate::{
    Epoch, Error,
    sql::{Failure, Founded},
};

/// Stands where the tables' version stands, so that releases that know nothing
/// of restores refuse it too, as a version that is newer than theirs.
pub(super) const UNFINISHED: u64 = u32::MAX as u64;

/// Rows removed in one transaction: some megabytes, which Galera's other nodes
/// apply in some ten milliseconds.
const LOG_ROWS: u64 = 16;
const CELLS: u64 = 2000;

// === impl Session ===

impl Session {
    pub(super) async fn founded_tables(&mut self) -> Result<Option<Founded>, Failure> {
        let mut text = Text::default();
        text.say("SELECT cluster_id, schema_version FROM polis_meta WHERE one = 1", &[]);
        let mut answers = match self.ask_causal(true, text).await {
            Err(broke) if broke.code() == Some(NO_SUCH_TABLE) => return Ok(None),
            other => other.map_err(|broke| broke.of_read())?,
        };
        let row = answers.pop().and_then(|mut answer| answer.rows.pop());
        let Some((cluster_id, version)) = row.map(mysql_async::from_row::<(u64, u64)>) else {
            return Ok(None);
        };
        if version > SCHEMA_VERSION && version != UNFINISHED {
            return Err(super::schema::newer(version));
        }
        Ok(Some(Founded { cluster_id, is_whole: version != UNFINISHED }))
    }

    pub(super) async fn mark_unfinished(&mut self, from: u64, to: u64) -> Result<bool, Failure> {
        let mut text = Text::default();
        text.say(
            "UPDATE polis_meta SET cluster_id = ?, schema_version = ? WHERE one = 1 AND \
             cluster_id = ? AND (schema_version = ? OR NOT EXISTS (SELECT 1 FROM polis_keyspace))",
            &[Arg::Number(to), Arg::Number(UNFINISHED), Arg::Number(from), Arg::Number(UNFINISHED)],
        );
        self.changes_one(text).await
    }

    pub(super) async fn mark_finished(&mut self, cluster_id: u64) -> Result<bool, Failure> {
        let mut text = Text::default();
        text.say(
            "UPDATE polis_meta SET schema_version = ? WHERE one = 1 AND cluster_id = ? AND \
             schema_version = ?",
            &[Arg::Number(SCHEMA_VERSION), Arg::Number(cluster_id), Arg::Number(UNFINISHED)],
        );
        self.changes_one(text).await
    }

    /// Each statement compares the epoch, which the lock on the head holds.
    pub(super) async fn clear_rows(
        &mut self,
        keyspace: &KeyspaceName,
        epoch: Epoch,
    ) -> Result<bool, Failure> {
        const STANDS: &str =
            "EXISTS (SELECT 1 FROM polis_keyspace WHERE keyspace = ? AND epoch = ?)";
        let (of, at) = (name(keyspace), Arg::Number(epoch.0));
        let mut text = Text::default();
        text.say("BEGIN", &[]);
        text.say(
            "SELECT 1 FROM polis_keyspace WHERE keyspace = ? AND epoch = ? FOR UPDATE",
            &[of, at],
        );
        text.say(
            "UPDATE polis_keyspace SET leader = NULL, seq = 0, revision = ? WHERE keyspace = ? \
             AND epoch = ?",
            &[Arg::Number(Revision::FIRST.0), of, at],
        );
        text.say(
            &format!(
                "UPDATE polis_mark SET seq = 0, revision = 0, compacted = 0 WHERE keyspace = ? \
                 AND {STANDS}"
            ),
            &[of, of, at],
        );
        for (table, rows) in [("polis_log", LOG_ROWS), ("polis_cell", CELLS)] {
            text.say(
                &format!("DELETE FROM {table} WHERE keyspace = ? AND {STANDS} LIMIT ?"),
                &[of, of, at, Arg::Number(rows)],
            );
        }
        let commit_at = text.statements();
        text.say("COMMIT", &[]);
        let answers =
            self.ask_much_causal(text).await.map_err(|broke| broke.of_commit(commit_at))?;
        if answers[1].rows.is_empty() {
            let problem = "another restore has started over".to_owned();
            return Err(Failure::Refused(Error::Database { code: DATABASE_TAKEN, problem }));
        }
        Ok(answers[4].changed == 0 && answers[5].changed == 0)
    }

    /// One autocommitted statement.
    async fn changes_one(&mut self, text: Text) -> Result<bool, Failure> {
        let mut answers = self.ask_causal(true, text).await.map_err(|broke| broke.of_read())?;
        Ok(answers.pop().is_some_and(|answer| answer.changed == 1))
    }
}
